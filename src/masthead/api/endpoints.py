"""`/endpoints`: the models that answer, under which name, and what is counted of their calls."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Response

from masthead.api.factory import Product, shown_key
from masthead.api.shapes import Json, Limit, Token, page_by_name, raw_body

router = APIRouter(tags=["endpoints"])
_READINGS: Json = {
    "requestBody": {
        "required": True,
        "description": "What the model takes; a detector: readings with its own columns.",
        "content": {
            "application/json": {
                "schema": {},
                "example": {
                    "instances": [{"TIMESTAMP": "2022-03-24 23:30", "LOCATION_ID": "B-101", "CO": 4.8}]
                },
            },
            "text/csv": {"schema": {"type": "string"}},
            "application/jsonlines": {"schema": {"type": "string"}},
        },
    }
}


@router.get("/endpoints")
def list_endpoints(masthead: Product, limit: Limit = 100, token: Token = None) -> Json:
    """List endpoints by name: model, calls, errors and how long they took."""
    return page_by_name("endpoints", masthead.list_endpoints(), limit, token)


@router.get("/endpoints/{name}")
def describe_endpoint(masthead: Product, name: str) -> Json:
    """Return one endpoint: what is served, by which model, and what was counted per key."""
    return masthead.get_endpoint(name).to_json()


@router.delete("/endpoints/{name}", status_code=204)
def delete_endpoint(masthead: Product, name: str) -> None:
    """Delete an endpoint: it is not found from now on, and its memory is free."""
    masthead.endpoints.delete(name)


@router.post("/endpoints/{name}/invocations", response_class=Response, openapi_extra=_READINGS)
def invoke_endpoint(
    masthead: Product,
    name: str,
    key: Annotated[str, Depends(shown_key)],
    content: Annotated[bytes, Depends(raw_body)],
    content_type: Annotated[str, Header(description="Of the body; absent: JSON.")] = "",
    accept: Annotated[str, Header(description="Of the answer; absent or `*/*`: JSON.")] = "",
    explain: Annotated[bool, Query(description="Also say why.")] = False,
) -> Response:
    """Return what the model answers to one body; 424 when the model refuses or fails."""
    found = masthead.endpoints.invoke(
        name, content, content_type=content_type, accept=accept, explain=explain, key=key
    )
    headers = {"x-amzn-invoked-production-variant": found.variant}
    return Response(found.body, media_type=found.content_type, headers=headers)
