"""Pages of browsers that may call: the origins of a key, answered as browsers ask (Fetch Standard, CORS protocol)."""

from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING

from masthead.access.gate import Refusal
from masthead.aws.protocol import Request, Response
from masthead.base.errors import shown

if TYPE_CHECKING:
    from masthead.access.keys import Key

_METHODS = "GET, POST, PUT, DELETE"
_REMEMBER_S = 600
ANY = "*"


def preflight(request: Request, origins: Container[str], request_id: str) -> Response:
    """Return the answer to a browser that asks before it calls: yes if the page's origin is one of any key's.

    The call itself is signed, and is refused when the origin is not one of that very key.
    """
    origin = request.headers.get("origin", "")
    if origin not in origins and ANY not in origins:
        return Response(403, (("x-amzn-RequestId", request_id), ("Content-Length", "0")), b"")
    headers = (
        ("x-amzn-RequestId", request_id),
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Methods", _METHODS),
        ("Access-Control-Allow-Headers", request.headers.get("access-control-request-headers", "*")),
        ("Access-Control-Max-Age", str(_REMEMBER_S)),
        ("Vary", "Origin"),
    )
    return Response(204, headers, b"")


def allowed_headers(request: Request, response: Response, key: "Key | None") -> Response:
    """Return an answer that the calling page may read, if its origin is one of the key's."""
    origin = request.headers["origin"]
    if key is None or not _is_of(key, origin):
        return response
    # Each that it has, those of the model's outputs included, and `Date`, which the listener adds.
    readable = ("Date", *(name for name, _ in response.headers))
    added = (
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Expose-Headers", ", ".join(readable)),
        ("Vary", "Origin"),
    )
    return replace(response, headers=(*response.headers, *added))


def refusal_of(request: Request, key: "Key") -> Refusal | None:
    """Return why a page may not call with this key; None when it may, or when no page calls."""
    origin = request.headers.get("origin")
    if origin is None or _is_of(key, origin):
        return None
    return Refusal("denied", f"origin: expected one of this key's origins, got {shown(origin, 100)}")


def _is_of(key: "Key", origin: str) -> bool:
    return origin in key.origins or ANY in key.origins
