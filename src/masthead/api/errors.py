"""Every error in one shape: `{"error": {"code", "message", "field"}}`."""

import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from masthead.access.visit import Refused
from masthead.api.doorkeeper import AUDITED, Audited, refused_response
from masthead.api.middleware import error_response
from masthead.base.errors import (
    Conflict,
    InvalidInput,
    LimitReached,
    MastheadError,
    NotFound,
    Unavailable,
    shown,
)
from masthead.base.log import get_logger
from masthead.learn.models import ModelFailure

_STATUS = {
    InvalidInput: 400,
    NotFound: 404,
    Conflict: 409,
    ModelFailure: 424,
    Unavailable: 503,
    LimitReached: 429,
}
_HTTP_CODES = {404: "NotFound", 405: "InvalidInput", 413: "LimitReached"}
_DOMAINS = {  # by the beginning of pydantic's type of an error
    "dict_": "an object",
    "list_": "a list",
    "string_": "a text",
    "bool_": "true or false",
    "int_": "a whole number",
    "float_": "a number",
    "missing": "a value",
}
_LOG = get_logger("api")


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the one shape."""
    app.add_exception_handler(MastheadError, _masthead)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _masthead(request: Request, error: Exception) -> Response:
    assert isinstance(error, MastheadError)
    told = request.scope.get(AUDITED) or Audited()
    if isinstance(error, Refused):
        return refused_response(told, error.refusal)
    told.code = error.code
    status = next((_STATUS[kind] for kind in type(error).mro() if kind in _STATUS), 500)
    answer = error_response(status, error.code, error.message, error.field)
    if status in (429, 503):
        answer.headers["retry-after"] = "5"
    return answer


async def _validation(_request: Request, error: Exception) -> Response:
    """Say which part of the request could not be read; FastAPI's own form lists all of them."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    parts = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path", "header")]
    if first.get("type") == "json_invalid":
        reason = first.get("ctx", {}).get("error", "broken")
        return error_response(400, InvalidInput.code, f"body: expected JSON: {reason}", "body")
    if not parts and isinstance(first.get("input"), bytes):
        message = "body: expected JSON with the header content-type: application/json"
        return error_response(400, InvalidInput.code, message, "body")
    field = ".".join(parts) or "body"
    got = "none" if first.get("type") == "missing" else shown(first.get("input"))
    return error_response(400, InvalidInput.code, f"{field}: expected {_domain(first)}, got {got}", field)


def _domain(error: dict[str, Any]) -> str:
    """Return what was expected, in our words: pydantic's are `Input should be ...`."""
    kind = str(error.get("type"))
    known = next((words for beginning, words in _DOMAINS.items() if kind.startswith(beginning)), None)
    return known or str(error.get("msg", "another value")).removeprefix("Input should be ")


async def _http(request: Request, error: Exception) -> Response:
    """Answer what the router refuses: a path or a method that does not exist, with those that do."""
    assert isinstance(error, HTTPException)
    code, message, field = _HTTP_CODES.get(error.status_code, "Error"), str(error.detail), None
    if error.status_code == 404 and message == "Not Found":
        field, message = "path", f"path: expected one below {_nouns(request)}, got {shown(request.url.path)}"
    elif error.status_code == 405:
        field, message = "method", f"method: expected {_methods(request)}, got {request.method}"
    answer = error_response(error.status_code, code, message, field)
    answer.headers.update(error.headers or {})
    return answer


def _nouns(request: Request) -> str:
    """Return the first parts of the documented paths, in their order; `/docs` shows what is below."""
    paths = request.app.openapi()["paths"]
    return " ".join(dict.fromkeys("/" + path.split("/")[1] for path in paths)) + " (see /docs)"


def _methods(request: Request) -> str:
    """Return the documented methods of a path."""
    paths, found = request.app.openapi()["paths"], set[str]()
    for part in ("[^/]+", ".+"):  # keys of objects and topics hold slashes
        for path, methods in paths.items():
            if re.fullmatch(re.sub(r"\\{\w+\\}", part, re.escape(path)), request.url.path):
                found |= {method.upper() for method in methods}
        if found:
            break
    return ", ".join(sorted(found)) or "another one"


async def _unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("a request failed", path=request.url.path, error=repr(error), exc_info=error)
    return error_response(500, "Error", "an internal error; the server's log has it")
