"""What the pages of transactions share: their navigation, the choice of a space, rows, words for money and scores."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from nicegui import ui

from masthead.base.errors import MastheadError, NotFound, shown
from masthead.console.parts import iso_time
from masthead.console.shell import Console
from masthead.console.tables import Row

LIVE = "live"
SECTIONS = (
    ("Overview", ""),
    ("Rings", "/rings"),
    ("Models", "/models"),
    ("Pipelines", "/pipelines"),
    ("Lists", "/lists"),
)
_OF_ALL = ("Models", "Pipelines")  # they belong to no space
COLUMNS = (
    ("id", "Transaction"),
    ("time", "Time (UTC)"),
    ("amount", "Amount"),
    ("score", "Probability"),
    ("action", "Action"),
    ("label", "Known"),
)


def spaces_of(console: Console) -> dict[str, str]:
    """Return the spaces by name with what people call them; real transactions first."""
    found = {LIVE: "real transactions"}
    for one in console.masthead.fraud.spaces():
        if one.name != LIVE:
            found[one.name] = f"simulation {one.name[4:12]}" if one.kind == "simulation" else one.name
    return found


def require_space(console: Console, space: str) -> None:
    """Return if there is such a space; that of real transactions is one also before the first deployment.

    Raises:
        NotFound: There is none.
    """
    if space not in spaces_of(console):
        raise NotFound(
            f"There is no such space of transactions: {shown(space)}. A simulation that was deleted is gone; choose "
            "another space above."
        )


def sections(console: Console, here: str, space: str) -> None:
    """Draw the links between the pages of transactions, and the choice of the space."""
    with ui.row().classes("items-center w-full").style("gap: 6px 14px"):
        for text, path in SECTIONS:
            kept = "" if space == LIVE or text in _OF_ALL else f"?space={quote(space)}"
            ui.link(text, f"/fraud{path}{kept}").classes(
                "mh-link" + (" text-weight-bold" if text == here else "")
            )
        if here in _OF_ALL:
            return
        ui.space()
        known = spaces_of(console)
        path = dict(SECTIONS).get(here, "")
        ui.select(
            known | ({} if space in known else {space: space}),
            value=space,
            label="Transactions",
            on_change=lambda event: ui.navigate.to(f"/fraud{path}?space={quote(event.value)}"),
        ).style("min-width: 190px")


def transaction_path(id: str, space: str) -> str:
    """Return the path of a transaction's page."""
    return f"/fraud/transactions/{quote(id, safe='')}" + ("" if space == LIVE else f"?space={quote(space)}")


def entity_path(relation: str, value: str, space: str) -> str:
    """Return the path of an entity's page."""
    kept = "" if space == LIVE else f"&space={quote(space)}"
    return f"/fraud/entity?relation={quote(relation)}&value={quote(value, safe='')}{kept}"


def entity_name(relation: str, value: str) -> str:
    """Return what people call an entity, as reasons and graphs do."""
    from masthead.fraud.scoring.words import entity_text  # brings the tables

    return entity_text(relation, value)


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LARGE = 1e12  # more digits than this has nobody counts


def money(value: float | None) -> str:
    """Return an amount; nothing for nothing.

    >>> money(1234.5), money(-2e308), money(None), money(1.5e300)
    ('1,234.50', 'beyond all numbers', '', '1.50 × 10³⁰⁰')
    """
    if value is None:
        return ""
    if not math.isfinite(value):
        return "beyond all numbers"
    if abs(value) < _LARGE:
        return f"{value:,.2f}"
    number, power = f"{value:.2e}".split("e+")
    return f"{number} × 10{power.lstrip('0').translate(_RAISED)}"


def probability(value: float | None) -> str:
    """Return a probability in three digits, and in as many more as it takes to tell it from 0 and from 1.

    >>> probability(0.5), probability(0.014753982), probability(0.00003), probability(0.99996), probability(0.0)
    ('0.500', '0.0148', '0.00003', '0.99996', '0.000')
    """
    if value is None:
        return ""
    apart = min(value, 1 - value)
    if not 0 < apart < 0.1:
        return f"{value:.3f}"
    digits = min(2 - math.floor(math.log10(apart)), _DIGITS)
    whole, _, rest = f"{value:.{digits}f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(3, '0')}"


_DIGITS = 9


def rate(value: float | None) -> str:
    """Return a figure between 0 and 1 that is no probability, in three digits."""
    return "" if value is None else f"{value:.3f}"


def transaction_row(one: Mapping[str, Any], space: str, prefix: str) -> Row:
    """Return a transaction as a row of `COLUMNS`.

    Args:
        one: As `FraudService.find` gives it.
        prefix: Of links in plain HTML.
    """
    decision = one["decision"] or {}
    return {
        "id": str(one["id"]),
        "time": iso_time(one["time"]),
        "amount": money(one.get("amount")),
        "score": probability(decision.get("pred_prob")),
        "action": action_text(decision),
        "label": "" if one["label"] == "unknown" else one["label"],
        "href": prefix + transaction_path(str(one["id"]), space),
    }


def action_text(decision: Mapping[str, Any]) -> str:
    """Return what was done, and that a list said so, or that a would-be review was let pass."""
    if not decision:
        return "history"
    listed = decision.get("listed")
    if decision.get("released"):
        return f"{decision['action']} (released, not reviewed)"
    return str(decision["action"]) + (f" ({listed['list']} list)" if listed else "")


def deciding_cuts(console: Console, space: str) -> tuple[float, float] | None:
    """Return from where the deployment that decides in a space reviews and blocks; None without one, or where it is not told."""
    try:
        kinds = {one.name: one.kind for one in console.masthead.fraud.spaces()}
        served = LIVE if kinds.get(space) == "simulation" else space
        found = [
            one
            for one in console.masthead.fraud.deployments()
            if one.source["space"] == served and not one.source["shadow"]
        ]
        if not found:
            return None
        cuts = console.masthead.portal.thresholds(max(found, key=lambda one: one.updated).name)
    except MastheadError:  # damaged, or not for who looks: the page says the rest all the same
        return None
    return cuts["review"], cuts["block"]


def block_cut(console: Console, decision: Mapping[str, Any]) -> float | None:
    """Return from where a decision would have blocked; None where that is not known any more.

    A decision keeps both where they were set by hand, else its cut of review; then the cut of block is that which a
    deployment of its model has beside the same one.
    """
    if "block_threshold" in decision:
        return float(decision["block_threshold"])
    try:
        for one in console.masthead.fraud.deployments():
            if one.source["model"] != decision["model"]:
                continue
            now = console.masthead.portal.thresholds(one.name)
            for cuts in (now, now["own"]):
                if cuts["review"] == decision["threshold"]:
                    return float(cuts["block"])
    except MastheadError:  # as above
        pass
    return None
