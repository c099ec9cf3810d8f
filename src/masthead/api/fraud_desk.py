"""`/fraud`: what people decide by hand - lists, thresholds, verdicts - and the schema of what is scored."""

from typing import Annotated

from fastapi import APIRouter, Query

from masthead.api.factory import Product
from masthead.api.segments import SegmentRoute
from masthead.api.shapes import Json, body, only, text
from masthead.base.errors import InvalidInput, shown

router = APIRouter(tags=["fraud"], route_class=SegmentRoute)
Space = Annotated[str, Query(description="Where the transactions lie: `live`, or a simulation.")]


@router.get("/fraud/schema")
def schema(masthead: Product, space: Space = "live") -> Json:
    """Return the schema of a space: `schema` as TOML, its name and digest."""
    found = masthead.fraud.schema(space)
    return {"name": found.name, "digest": found.digest(), "schema": found.to_toml()}


@router.get("/fraud/lists")
def lists(masthead: Product, space: Space = "live") -> Json:
    """List the entities whose transactions are blocked, or pass, whatever the model says."""
    return {"items": [one.to_json() for one in masthead.portal.listed(space=space)], "next_token": None}


@router.put("/fraud/lists/{relation}/{value}")
def put_listed(
    masthead: Product,
    relation: str,
    value: str,
    given: Annotated[Json, body({"list": "block", "note": "chargebacks"})],
    space: Space = "live",
) -> Json:
    """Put an entity on the `block` or the `allow` list; it counts from the next transaction on."""
    only(given, "list", "note")
    found = masthead.portal.put_listed(
        text(given, "list"), relation, value, note=text(given, "note", ""), space=space
    )
    return found.to_json()


@router.delete("/fraud/lists/{relation}/{value}", status_code=204)
def remove_listed(masthead: Product, relation: str, value: str, space: Space = "live") -> None:
    """Take an entity off its list."""
    masthead.portal.remove_listed(relation, value, space=space)


@router.get("/fraud/deployments/{name}/thresholds")
def thresholds(masthead: Product, name: str) -> Json:
    """Return the thresholds of a deployment, and the model's own."""
    return masthead.portal.thresholds(name)


@router.put("/fraud/deployments/{name}/thresholds")
def set_thresholds(
    masthead: Product, name: str, given: Annotated[Json, body({"review": 0.3, "block": 0.9})]
) -> Json:
    """Set `review` and `block` from the next decision on; an empty object: the model's own count again."""
    only(given, "review", "block")
    return masthead.portal.set_thresholds(
        name, review=_probability(given, "review"), block=_probability(given, "block")
    )


def _probability(given: Json, name: str) -> float | None:
    if name not in given:
        return None
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(f"{name}: expected a number from 0 to 1, got {shown(value)}", field=name)
    return float(value)


@router.post("/fraud/transactions/{id}/verdict", status_code=204)
def give_verdict(
    masthead: Product, id: str, given: Annotated[Json, body({"verdict": "fraud"})], space: Space = "live"
) -> None:
    """Take an analyst's word: `fraud` and `legit` are labels and change later scores, `unsure` is noted."""
    only(given, "verdict")
    masthead.portal.give_verdict(id, text(given, "verdict"), space=space)
