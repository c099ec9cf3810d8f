"""`/things`: devices, their certificates, what they were forbidden."""

from typing import Annotated

from fastapi import APIRouter

from masthead.access.service import THING_DAYS
from masthead.access.thing_policies import allows
from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, only, page_by_name, table, text, texts
from masthead.base.errors import InvalidInput, shown

router = APIRouter(tags=["things"])
_CHANGES = {"attributes": {"site": "south"}}
_EXAMPLE = {"name": "B-101", "policies": ["sensor"], "attributes": {"site": "north"}}


@router.post("/things", status_code=201)
def create_thing(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Create a thing. The answer holds its private key: it is kept nowhere else but in the data folder."""
    only(given, "name", "policies", "attributes", "days")
    made = masthead.access.create_thing(
        text(given, "name"), texts(given, "policies"), table(given, "attributes"), days=_days(given)
    )
    return made.to_json()


@router.get("/things")
def list_things(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List things by name."""
    return page_by_name("things", masthead.access.list_things(), limit, token)


@router.get("/things/{name}")
def get_thing(masthead: Product, name: str) -> Json:
    """Return one thing."""
    return masthead.access.get_thing(name).to_json()


@router.patch("/things/{name}")
def update_thing(masthead: Product, name: str, given: Annotated[Json, body(_CHANGES)]) -> Json:
    """Change policies or attributes; what is not given stays."""
    only(given, "policies", "attributes")
    changed = masthead.access.update_thing(name, texts(given, "policies"), table(given, "attributes"))
    return changed.to_json()


@router.delete("/things/{name}", status_code=204)
def delete_thing(masthead: Product, name: str) -> None:
    """Delete a thing and its files."""
    masthead.access.delete_thing(name)


@router.post("/things/{name}/revoke")
def revoke_thing(masthead: Product, name: str) -> Json:
    """Refuse a thing for ever."""
    return masthead.access.revoke_thing(name).to_json()


@router.post("/things/{name}/renew", status_code=201)
def renew_thing(masthead: Product, name: str) -> Json:
    """Make a new key and certificate; the former certificate works for a day more."""
    return masthead.access.renew_thing(name).to_json()


@router.get("/things/{name}/forbidden")
def forbidden(masthead: Product, name: str) -> Json:
    """List publishes that the thing's policies forbid."""
    masthead.access.get_thing(name)
    return {"items": [one.to_json() for one in masthead.access.forbidden(name)], "next_token": None}


@router.post("/things/{name}/test")
def test_thing(
    masthead: Product,
    name: str,
    given: Annotated[Json, body({"action": "iot:Publish", "resource": "B-101/air"})],
) -> Json:
    """Say whether the thing's policies, taken together, allow an action."""
    thing = masthead.access.get_thing(name)
    action, resource = text(given, "action"), text(given, "resource")
    permissions = masthead.access.compiled_permissions()[name]
    allowed = allows(permissions, action=action, resource=resource)
    return {
        "thing": name,
        "action": action,
        "resource": resource,
        "allowed": allowed,
        "revoked": thing.revoked,
    }


def _days(given: Json) -> int:
    days = given.get("days", THING_DAYS)
    if isinstance(days, bool) or not isinstance(days, int):
        raise InvalidInput(f"days: expected 1 to 3650, got {shown(days)}")
    return days
