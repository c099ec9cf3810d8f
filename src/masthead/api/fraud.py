"""`/fraud`: transactions scored as they happen, what was decided, what was said of them later, and who scores them."""

from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query

from masthead.api.factory import Product
from masthead.api.segments import SegmentRoute
from masthead.api.shapes import Json, Limit, Token, body, flag, only, page_by_name, raw_body, read_time, text
from masthead.base.clock import FOREVER_US
from masthead.base.errors import InvalidInput, MastheadError, shown

router = APIRouter(tags=["fraud"], route_class=SegmentRoute)
Space = Annotated[str, Query(description="Where the transactions lie: `live`, or a simulation.")]
Start = Annotated[str | None, Query(description="ISO 8601; from this time on.")]
End = Annotated[str | None, Query(description="ISO 8601; before this time.")]
_EVENT: Json = {
    "transaction_data": [{"TransactionID": 3663549, "TransactionDT": 18403224, "TransactionAmt": 31.95}],
    "identity_data": [{"TransactionID": 3663549, "id_19": 266, "id_20": 325}],
}
_EVENTS: Json = {
    "requestBody": {
        "required": True,
        "description": "One transaction, flat or in the two parts of its tables; or an array of them.",
        "content": {"application/json": {"schema": {}, "example": _EVENT}},
    }
}


@router.post("/fraud/transactions", openapi_extra=_EVENTS)
def score(
    masthead: Product,
    content: Annotated[bytes, Depends(raw_body)],
    space: Space = "live",
    endpoint: Annotated[str, Query(description="Which deployment decides; absent: the newest.")] = "",
    explain: Annotated[bool, Query(description="Say why also where it is not flagged.")] = False,
) -> Json:
    """Return the decision on a transaction once it is durable; the same one again gets the first decision.

    Of an array each gets its own: `{"items": [...]}`, where what is wrong with one stands as its `error`.
    """
    given = _parsed(content)
    if isinstance(given, list):
        found = masthead.fraud.score_many(given, space=space, alias=endpoint, explain=explain)
        return {"items": [_told(one) for one in found]}
    return masthead.fraud.score(given, space=space, alias=endpoint, explain=explain)


def _parsed(content: bytes) -> Any:
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"body: expected JSON: {error}") from error
    if not isinstance(found, dict | list):
        raise InvalidInput(f"body: expected a transaction or an array of them, got {shown(found)}")
    return found


def _told(one: Json | MastheadError) -> Json:
    if not isinstance(one, MastheadError):
        return one
    return {"error": {"code": one.code, "message": one.message, "field": one.field}}


@router.get("/fraud/transactions")
def find(
    masthead: Product,
    flagged: Annotated[bool | None, Query(description="Only flagged ones, or only others.")] = None,
    start: Start = None,
    end: End = None,
    limit: Limit = 100,
    token: Token = None,
    explain: Annotated[bool, Query(description="Give flagged ones their reasons.")] = True,
    space: Space = "live",
) -> Json:
    """List transactions, newest first; flagged ones with their reasons. A page ends behind 100 of these."""
    after, before = read_window(start, end)
    page = masthead.fraud.find(
        space=space, flagged=flagged, start=after, end=before, limit=limit, token=token, explain=explain
    )
    return {"items": list(page.items), "next_token": page.next_token}


@router.get("/fraud/transactions/{id}")
def get(masthead: Product, id: str, space: Space = "live") -> Json:
    """Return a transaction, its decision and its labels."""
    return masthead.fraud.get(id, space=space)


@router.get("/fraud/stats")
def stats(masthead: Product, start: Start = None, end: End = None, space: Space = "live") -> Json:
    """Return `totalCount`, `totalAmount`, `fraudCount` and `totalFraudAmount` of a window; fraud = flagged."""
    after, before = read_window(start, end)
    return masthead.fraud.stats(space=space, start=after, end=before)


def read_window(start: str | None, end: str | None) -> tuple[int, int]:
    """Return a window in UTC microseconds."""
    after, before = read_time(start, "start"), read_time(end, "end")
    return (
        0 if after is None else round(after.timestamp() * 1e6),
        FOREVER_US if before is None else round(before.timestamp() * 1e6),
    )


@router.post("/fraud/labels")
def label(
    masthead: Product,
    given: Annotated[Json, body({"id": "3663549", "value": "fraud", "source": "analyst"})],
    space: Space = "live",
) -> Json:
    """Take what was said of a transaction: `value` fraud or legit, `source` chargeback, analyst or import.

    It counts for the next score. `known` is false when the transaction is yet to come: it will find the label.
    """
    only(given, "id", "value", "source", "arrived_at")
    arrived = read_time(text(given, "arrived_at"), "arrived_at") if given.get("arrived_at") else None
    return masthead.fraud.label(
        given.get("id"),
        given.get("value"),
        text(given, "source", "analyst"),
        arrived_at=None if arrived is None else round(arrived.timestamp() * 1e6),
        space=space,
    )


@router.get("/fraud/models")
def models(masthead: Product) -> Json:
    """List the models that were deployed once, and where they are now."""
    return {"items": masthead.fraud.models(), "next_token": None}


@router.delete("/fraud/models/{id}", status_code=204)
def delete_model(
    masthead: Product,
    id: str,
    force: Annotated[bool, Query(description="Also where it has made decisions.")] = False,
) -> None:
    """Delete a model that is not deployed; the decisions that it made stay, without reasons."""
    masthead.fraud.delete_model(id, force=force)


@router.post("/fraud/deployments", status_code=201)
def deploy(
    masthead: Product, given: Annotated[Json, body({"name": "cards", "model": "/models/cards"})]
) -> Json:
    """Deploy a model's folder under a name: it decides from now on, or scores along with `"shadow": true`.

    With `challenges`, another deployment, it scores along until it has proved better, and then takes that one's place.
    `subject` is a subject of NATS whose messages are scored, `decisions` where they are answered, `release_share` how
    many of would-be reviews pass; what is not given stays as the deployment of that name has it.
    """
    names = ("name", "model", "space", "shadow", "challenges", "subject", "decisions", "release_share")
    share = only(given, *names).get("release_share")
    if share is not None and (isinstance(share, bool) or not isinstance(share, int | float)):
        raise InvalidInput(f"release_share: expected 0 to 1, got {shown(share)}", field="release_share")
    model = Path(text(given, "model"))
    if not model.is_absolute():  # from where, nobody who asks over HTTP knows
        raise InvalidInput(f"model: expected an absolute path, got {shown(str(model))}", field="model")
    found = masthead.fraud.deploy(
        text(given, "name"),
        model,
        space=text(given, "space", "live"),
        shadow=flag(given, "shadow", False),
        subject=text(given, "subject") if "subject" in given else None,
        decisions=text(given, "decisions") if "decisions" in given else None,
        release_share=share,
        challenges=text(given, "challenges", ""),
    )
    return found.to_json()


@router.get("/fraud/deployments")
def deployments(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List deployments by name."""
    return page_by_name("deployments", masthead.fraud.deployments(), limit, token)


@router.delete("/fraud/deployments/{name}", status_code=204)
def undeploy(masthead: Product, name: str) -> None:
    """Take a deployment away; its model and its decisions stay."""
    masthead.fraud.undeploy(name)


@router.get("/fraud/deployments/{name}/drift")
def drift(
    masthead: Product,
    name: str,
    days: Annotated[int, Query(description="Of the window before the newest transaction.")] = 7,
) -> Json:
    """Return how far the newest transactions have moved from those that taught the model, and how it still ranks."""
    return masthead.fraud.drift(name, days=days)


@router.post("/fraud/deployments/{name}/promote")
def promote(masthead: Product, name: str, given: Annotated[Json, body({"if_better": True})]) -> Json:
    """Let the challenger of a deployment take its place; with `"if_better": true` only if it ranks better by far enough.

    `challenger` names one in shadow; absent: the newest that challenges this deployment.
    """
    return masthead.fraud.promote(
        name, challenger=text(given, "challenger", ""), if_better=flag(given, "if_better", False)
    )


@router.post("/fraud/deployments/{name}/retrain", status_code=201)
def retrain(
    masthead: Product,
    name: str,
    trials: Annotated[int, Query(description="How many of the learner's parameters are tried.")] = 0,
) -> Json:
    """Begin a run of the pipeline that learns from what is stored; its model becomes NAME`-challenger`."""
    return masthead.pipelines.retrain(name, trials=trials)


@router.post("/fraud/erase")
def erase(
    masthead: Product,
    given: Annotated[Json, body({"relation": "card1", "value": "13926"})],
    space: Space = "live",
) -> Json:
    """Erase every transaction of an entity, say of one customer, with its decisions and labels."""
    return masthead.fraud.erase(text(given, "relation"), text(given, "value"), space=space)


@router.get("/fraud/spaces")
def spaces(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List where transactions lie: `live`, what was made by a load or a deployment, and simulations."""
    return page_by_name("spaces", masthead.fraud.spaces(counted=True), limit, token)


@router.delete("/fraud/spaces/{name}")
def delete_space(masthead: Product, name: str) -> Json:
    """Delete a space with all of its transactions; never `live`, nor one that a deployment scores."""
    return {"deleted": name, "transactions": masthead.fraud.delete_space(name)}


@router.get("/fraud/simulations")
def simulations(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List simulations, with how many transactions each has."""
    found = [one for one in masthead.fraud.spaces(counted=True) if one.kind == "simulation"]
    return page_by_name("simulations", found, limit, token)


@router.post("/fraud/simulations", status_code=201)
def create_simulation(masthead: Product) -> Json:
    """Make a space for simulated transactions: the live models score them, on a graph of their own."""
    return masthead.fraud.create_simulation().to_json()


@router.delete("/fraud/simulations/{name}")
def delete_simulation(masthead: Product, name: str) -> Json:
    """Delete a simulation with all of its transactions; real ones are not touched."""
    return {"deleted": name, "transactions": masthead.fraud.delete_simulation(name)}
