"""The second story: made-up payments teach a model, then others stream through it while rings appear and are caught."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masthead.base.errors import LimitReached
from masthead.cli.demo.telling import Teller

if TYPE_CHECKING:
    from masthead.app import Masthead

_TAUGHT, _BEFORE = 14_000, 6_000
_RATE, _STREAM_S, _SHARE = 40.0, 25.0, 0.08
_TEACHER, _STREAM = 2026, 7  # seeds: what streams was never taught
_REVIEW, _REVIEWS = 10.0, 8  # what a review costs, and how many people can do on a day, of 100 payments
_PATIENCE_S = 300.0
_LOOK_S = 0.5


def tell(masthead: "Masthead", folder: Path, teller: Teller, show: Callable[[str], None]) -> dict[str, Any]:
    """Tell the story in a served product; return how it came out, as JSON values.

    Args:
        folder: Holds the tables and the model while they are made.
        show: Says where on the console something is to be seen.

    Raises:
        LimitReached: The stream has not ended within five minutes.
    """
    began = time.monotonic()
    teller.say(
        f"Payments: {_TAUGHT:,} made-up ones with rings of thieves in them teach a model.", style="bold"
    )
    card = _teach(masthead, folder)
    taught_s = time.monotonic() - began
    figures = card["validation"]
    teller.say(
        f"  model {card['id']}: {taught_s:.0f} s, AUC {figures['roc_auc']:.3f} and average precision "
        f"{figures['average_precision']:.3f} on later payments"
    )
    space = masthead.portal.start_simulation(
        rate=_RATE, duration_s=_STREAM_S, fraud_share=_SHARE, seed=_STREAM, history=_BEFORE
    )
    teller.say(
        f"Other payments come, {_RATE:g} a second for {_STREAM_S:g} s; {_BEFORE:,} before them make the graph."
    )
    show(page_of(space))
    found = _watched(masthead, space, teller)
    ok = bool(
        found["sent"] == found["total"]
        and found["rings_caught"]
        and 2 * found["rings_caught"] >= found["rings"]
        and (found["recall"] or 0) >= 0.5
    )
    _conclude(masthead, space, found, teller, ok=ok)
    return {"ok": ok, "model": card["id"], "taught_s": round(taught_s, 1), "space": space, **found}


def page_of(space: str) -> str:
    """Return the path of the console's page on which a simulation is seen.

    >>> page_of("sim-1")
    '/ui/fraud?space=sim-1'
    """
    return f"/ui/fraud?space={space}"


def _teach(masthead: "Masthead", folder: Path) -> dict[str, Any]:
    from masthead.fraud.data.generate import generate
    from masthead.fraud.scoring.model import FraudModel
    from masthead.fraud.scoring.thresholds import Costs

    generate(_TAUGHT, _TEACHER, folder)
    tables = [folder / "train_transaction.csv", folder / "train_identity.csv"]
    # One thread: on a busy machine several wait for each other.
    model = FraudModel.train(
        folder / "schema.toml",
        tables,
        folder / "labels.csv",
        threads=1,
        costs=Costs(review=_REVIEW, capacity=_REVIEWS),
        out=folder / "model",
    )
    masthead.fraud.deploy("payments", folder / "model")
    shutil.rmtree(folder)
    return model.card


def _watched(masthead: "Masthead", space: str, teller: Teller) -> dict[str, Any]:
    """Follow the stream to its end, and say when a ring is caught."""
    told: set[int] = set()
    ends = time.monotonic() + _PATIENCE_S
    while True:
        found = next(one for one in masthead.portal.simulations() if one["name"] == space)
        for ring, place in found.get("caught_at", ()):
            if ring not in told:
                told.add(ring)
                teller.say(f"  ring {ring}: caught at the {_ordinal(place)} of its payments", style="yellow")
        if found["state"] in ("finished", "failed"):
            break
        if time.monotonic() > ends:
            raise LimitReached(f"simulation: expected its end within {_PATIENCE_S:g} s")
        time.sleep(_LOOK_S)
    if found["state"] == "failed":
        raise LimitReached(f"simulation: {found['problem']}")
    return {name: value for name, value in found.items() if name not in _LEFT_OUT}


_LEFT_OUT = ("name", "kind", "schema", "created", "state", "problem")


def _ordinal(place: int) -> str:
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def _conclude(masthead: "Masthead", space: str, found: dict[str, Any], teller: Teller, *, ok: bool) -> None:
    rings = masthead.fraud.rings(space=space, limit=3)
    teller.say(
        f"{found['sent']:,} payments scored, {found['frauds']:,} of them fraud: {found['flagged']:,} flagged, precision "
        f"{found['precision'] or 0:.2f}, recall {found['recall'] or 0:.2f}; {found['rings_caught']} of "
        f"{found['rings']} rings caught; p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms",
        style="green" if ok else "red",
    )
    for ring in rings:
        tied = ", ".join(one["text"] for one in ring["entities"][:3])
        teller.say(
            f"  on the page of rings: {ring['size']} payments, {ring['amount']:,.2f} in all, tied by {tied} ..."
        )
