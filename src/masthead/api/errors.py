"""Every error in one shape: `{"error": {"code", "message", "field"}}`."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from masthead.api.middleware import error_response
from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError, NotFound, shown
from masthead.base.log import get_logger

_STATUS = {InvalidInput: 400, NotFound: 404, Conflict: 409, LimitReached: 429}
_HTTP_CODES = {404: "NotFound", 405: "InvalidInput", 413: "LimitReached"}
_LOG = get_logger("api")


class Unavailable(MastheadError):
    """What is asked cannot be done by this process right now; answered with 503."""

    code = "LimitReached"


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the one shape."""
    app.add_exception_handler(MastheadError, _masthead)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


async def _masthead(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MastheadError)
    status = 503 if isinstance(error, Unavailable) else _STATUS.get(type(error), 500)
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
    message = f"{field}: {first.get('msg', 'cannot be read')}, got {shown(first.get('input'))}"
    return error_response(400, InvalidInput.code, message, field)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _HTTP_CODES.get(error.status_code, "Error")
    answer = error_response(error.status_code, code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unexpected(request: Request, error: Exception) -> Response:
    _LOG.error("a request failed", path=request.url.path, error=repr(error), exc_info=error)
    return error_response(500, "Error", "an internal error; the server's log has it")
