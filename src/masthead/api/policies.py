"""`/policies`: what things may publish and subscribe to."""

from typing import Annotated

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, only, page_by_name, text

router = APIRouter(tags=["policies"])
_EXAMPLE = {
    "name": "air-sensor",
    "document": {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": "iot:Publish",
                "Resource": "arn:aws:iot:us-east-1:000000000000:topic/air/${iot:Connection.Thing.ThingName}",
            },
        ],
    },
}


@router.post("/policies", status_code=201)
def create_policy(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Keep a policy; one that the broker cannot enforce is refused."""
    only(given, "name", "document")
    return masthead.access.create_policy(text(given, "name"), given.get("document")).to_json()


@router.get("/policies")
def list_policies(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List policies by name, the built-in ones among them."""
    return page_by_name("policies", masthead.access.list_policies(), limit, token)


@router.get("/policies/{name}")
def get_policy(masthead: Product, name: str) -> Json:
    """Return one policy."""
    return masthead.access.get_policy(name).to_json()


@router.delete("/policies/{name}", status_code=204)
def delete_policy(masthead: Product, name: str) -> None:
    """Delete a policy that no thing has."""
    masthead.access.delete_policy(name)


@router.post("/policies/{name}/test")
def test_policy(
    masthead: Product,
    name: str,
    given: Annotated[Json, body({"action": "iot:Publish", "resource": "air/B-101", "thing": "B-101"})],
) -> Json:
    """Say whether this policy alone allows an action."""
    only(given, "action", "resource", "thing")
    action, resource, thing = text(given, "action"), text(given, "resource"), text(given, "thing", "")
    allowed = masthead.access.test_policy(name, action, resource, thing)
    return {"policy": name, "action": action, "resource": resource, "allowed": allowed}
