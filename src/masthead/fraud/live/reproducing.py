"""A decision made again from what was kept of it: what the model saw, the model, and what the decision says of cuts and lists.

Nothing is asked that may have changed since: neither thresholds and lists of today, nor the graph.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import Conflict
from masthead.fraud.live.terms import is_released
from masthead.fraud.store.live_results import Kept
from masthead.fraud.store.vectors import unpack_vector

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel
    from masthead.fraud.scoring.thresholds import Thresholds

__all__ = ["reproduced"]

Json = dict[str, Any]
_PARTS = ("pred_prob", "threshold", "flag", "action", "listed", "released")


def reproduced(kept: Kept, model: "FraudModel", entities: Mapping[str, str | None]) -> Json:
    """Return a decision as it is `stored`, as it is made again (`recomputed`), and whether they are `equal`, scores to the bit.

    What an older version did not write down stands in `not_recorded`; a part that hangs on it is null and not compared.

    Args:
        entities: Relation -> key of the transaction.

    Raises:
        Conflict: The model has other columns than those that were kept.
    """
    told = orjson.loads(kept.body)
    stored = {name: told.get(name) for name in _PARTS}
    vector = unpack_vector(kept.vector)
    if len(vector) != model.layout.width:
        raise Conflict(f"model: expected one of {len(vector)} columns, as was kept, got {model.layout.width}")
    _, probability = model.scorer.score(vector)
    missing: list[str] = []
    cuts = _cuts(told, model, missing)
    action = cuts.action(probability)
    again: Json = dict.fromkeys(_PARTS)
    again |= {"pred_prob": probability, "threshold": cuts.review, "flag": probability >= cuts.review}
    if told.get("listed"):
        again |= _listed(told["listed"], entities)
    elif "block_threshold" in missing and action != "pass":
        again["action"] = None
    else:
        again["action"] = action
        again |= _released(told, action, missing)
    compared = [name for name in _PARTS if name != "action" or again["action"] is not None]
    return {
        "id": told["id"],
        "deployment": kept.alias,
        "shadow": kept.shadow,
        "model": kept.model,
        "equal": kept.score == probability and all(stored[name] == again[name] for name in compared),
        "stored": stored,
        "recomputed": again,
        "not_recorded": missing,
    }


def _cuts(told: Json, model: "FraudModel", missing: list[str]) -> "Thresholds":
    """Return the thresholds that counted: those of the decision, where they were set by hand, else the model's."""
    own = model.thresholds
    if told["threshold"] == own.review and "block_threshold" not in told:
        return own
    if "block_threshold" not in told:
        missing.append("block_threshold")
    return replace(own, review=told["threshold"], block=told.get("block_threshold", own.block))


def _listed(entry: Json, entities: Mapping[str, str | None]) -> Json:
    """Return what an entry of a list makes of a transaction, if it is about one of its entities."""
    if entities.get(entry["relation"]) != entry["value"]:
        return {}
    blocked = entry["list"] == "block"
    return {"flag": blocked, "action": "block" if blocked else "pass", "listed": entry}


def _released(told: Json, action: str, missing: list[str]) -> Json:
    """Return what a draw makes of a would-be review."""
    if action != "review":
        return {}
    if told.get("released") and "release_share" not in told:
        missing.append("release_share")
        return {"action": "pass", "released": True}
    return (
        {"action": "pass", "released": True}
        if is_released(told["id"], told.get("release_share", 0.0))
        else {}
    )
