"""`/streams`: delivery streams, which make objects of readings."""

from typing import Annotated

from fastapi import APIRouter

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, body, only, page_by_name, text

router = APIRouter(tags=["streams"])
_EXAMPLE = {
    "name": "air",
    "destination": "s3://air/",
    "prefix": "!{timestamp:yyyyMMdd}/!{timestamp:HHmm}/",
    "error_prefix": "errors/!{firehose:error-output-type}/",
    "buffer_s": 60,
    "buffer_mib": 5,
    "event_time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm", "zone": "UTC", "interval": "5m"},
}


@router.post("/streams", status_code=201)
def create_stream(masthead: Product, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Create a delivery stream; it takes what arrives from now on."""
    return masthead.streams.create_stream(given).to_json()


@router.get("/streams")
def list_streams(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List delivery streams by name."""
    return page_by_name("streams", masthead.streams.list_streams(), limit, token)


@router.get("/streams/{name}")
def get_stream(masthead: Product, name: str) -> Json:
    """Return one delivery stream."""
    return masthead.streams.get_stream(name).to_json()


@router.put("/streams/{name}")
def update_stream(masthead: Product, name: str, given: Annotated[Json, body(_EXAMPLE)]) -> Json:
    """Replace a delivery stream's settings; what it holds is delivered as it was taken."""
    return masthead.streams.update_stream({**given, "name": name}).to_json()


@router.delete("/streams/{name}", status_code=204)
def delete_stream(masthead: Product, name: str) -> None:
    """Delete a delivery stream; what it holds is delivered first, its objects stay."""
    masthead.streams.delete_stream(name)


@router.get("/streams/{name}/state")
def stream_state(masthead: Product, name: str) -> Json:
    """Return what a delivery stream has delivered and what it holds."""
    return masthead.streams.stream_state(name).to_json()


@router.post("/streams/{name}/test")
def test_stream(
    masthead: Product,
    name: str,
    given: Annotated[Json, body({"message": '{"TIMESTAMP": "2022-03-24 23:30", "CO": 2.4}'})],
) -> Json:
    """Show where a record would go; nothing is put."""
    only(given, "message", "thing")
    return masthead.streams.test_stream(name, text(given, "message"), text(given, "thing", "") or None)
