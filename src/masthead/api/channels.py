"""`/channels`: channels of alerts that have a name of their own."""

from typing import Annotated

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, page_by_name

router = APIRouter(tags=["channels"])
_EXAMPLE = {"name": "night-shift", "kind": "webhook", "url": "http://127.0.0.1:9000/alert"}


@router.post("/channels", status_code=201)
def create_channel(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Create a named channel; what was told to it in the last 24 hours is delivered now."""
    return masthead.alerts.create_channel(given).to_json()


@router.get("/channels")
def list_channels(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List named channels by name."""
    return page_by_name("channels", masthead.alerts.list_channels(), limit, token)


@router.get("/channels/{name}")
def get_channel(masthead: Product, name: str) -> Json:
    """Return one named channel, its secrets shown as `***`."""
    return masthead.alerts.get_channel(name).to_json()


@router.delete("/channels/{name}", status_code=204)
def delete_channel(masthead: Product, name: str) -> None:
    """Delete a named channel; what rules tell it from now on waits unheard."""
    masthead.alerts.delete_channel(name)
