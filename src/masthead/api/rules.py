"""`/rules`: SQL over messages, and the actions that take what it selects."""

from typing import Annotated

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, only, page_by_name, text

router = APIRouter(tags=["rules"])
_EXAMPLE = {
    "name": "all-air",
    "sql": "SELECT * FROM 'air/#'",
    "actions": [{"kind": "delivery_stream", "name": "air"}],
    "enabled": True,
}
_MESSAGE = {"topic": "air/B-101", "message": '{"CO": 2.4}', "thing": "B-101"}


@router.post("/rules", status_code=201)
def create_rule(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Create a topic rule."""
    return masthead.streams.create_rule(given).to_json()


@router.get("/rules")
def list_rules(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List topic rules by name."""
    return page_by_name("rules", masthead.streams.list_rules(), limit, token)


@router.post("/rules/test")
def test_sql(masthead: Product, given: Annotated[Json, body({"sql": _EXAMPLE["sql"], **_MESSAGE})]) -> Json:
    """Show what a statement makes of a message; nothing is kept or done."""
    only(given, "sql", "topic", "message", "thing")
    return _tried(masthead, text(given, "sql") + " ", given)


@router.get("/rules/{name}")
def get_rule(masthead: Product, name: str) -> Json:
    """Return one topic rule."""
    return masthead.streams.get_rule(name).to_json()


@router.put("/rules/{name}")
def update_rule(masthead: Product, name: str, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Replace a topic rule."""
    return masthead.streams.update_rule({**given, "name": name}).to_json()


@router.delete("/rules/{name}", status_code=204)
def delete_rule(masthead: Product, name: str) -> None:
    """Delete a topic rule."""
    masthead.streams.delete_rule(name)


@router.post("/rules/{name}/test")
def test_rule(masthead: Product, name: str, given: Annotated[Json, body(_MESSAGE)]) -> Json:
    """Show what a rule makes of a message; nothing is done with it."""
    only(given, "topic", "message", "thing")
    masthead.streams.get_rule(name)
    return _tried(masthead, name, given)


def _tried(masthead: Product, name_or_sql: str, given: Json) -> Json:
    thing = text(given, "thing", "") or None
    topic, message = text(given, "topic", "test"), text(given, "message")
    return masthead.streams.test_rule(name_or_sql, topic, message, thing)
