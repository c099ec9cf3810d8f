"""`/objects`: what delivery streams write and detectors read, by bucket and key."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from masthead.api.factory import Product
from masthead.api.shapes import Json, Limit, Token, raw_body
from masthead.base.errors import Conflict, NotFound
from masthead.base.pages import check_limit, decode_token, encode_token

router = APIRouter(tags=["objects"])
_ANY: Json = {"content": {"application/octet-stream": {}}}


@router.get("/objects/{bucket}")
def list_objects(
    masthead: Product, bucket: str, prefix: str = "", limit: Limit = 100, token: Token = None
) -> Json:
    """List the objects of a bucket whose key begins with `prefix`, by key."""
    check_limit(limit)
    after = str((decode_token("objects", token) or [""])[0]) if token else ""
    rest = [one for one in masthead.objects.list(f"s3://{bucket}/{prefix}") if one.uri > after]
    items = [{"uri": one.uri, "size": one.size, "modified": one.modified.isoformat()} for one in rest[:limit]]
    following = encode_token("objects", [rest[limit - 1].uri]) if len(rest) > limit else None
    return {"items": items, "next_token": following}


@router.get("/objects/{bucket}/{key:path}", response_class=Response, responses={200: _ANY})
def get_object(masthead: Product, bucket: str, key: str) -> Response:
    """Return an object's bytes."""
    # Never a page of our own origin, whatever somebody stored.
    headers = {"content-disposition": "attachment", "x-content-type-options": "nosniff"}
    content = masthead.objects.get(f"s3://{bucket}/{key}")
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.put("/objects/{bucket}/{key:path}", status_code=201, openapi_extra={"requestBody": _ANY})
def put_object(
    masthead: Product,
    bucket: str,
    key: str,
    content: Annotated[bytes, Depends(raw_body)],
    create_only: Annotated[bool, Query(description="Answer 409 if there is one.")] = False,
) -> Json:
    """Store an object whole."""
    uri = f"s3://{bucket}/{key}"
    if not masthead.objects.put(uri, content, create_only=create_only):
        raise Conflict(f"uri: there is an object {uri} already")
    return {"uri": uri, "size": len(content)}


@router.delete("/objects/{bucket}/{key:path}", status_code=204)
def delete_object(masthead: Product, bucket: str, key: str) -> None:
    """Delete an object."""
    uri = f"s3://{bucket}/{key}"
    if not masthead.objects.exists(uri):
        raise NotFound(f"uri: there is no object {uri}")
    masthead.objects.delete(uri)
