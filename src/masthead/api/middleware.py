"""What happens to every request before a route sees it: whose name it calls, how large it is, what is counted and logged.

Plain ASGI, so that streams, uploads and the console's sockets pass through untouched.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.responses import Response

from masthead.base.log import get_logger
from masthead.base.telemetry import REGISTRY

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_QUIET = ("/healthz", "/readyz", "/metrics", "/ui")
_LOG = get_logger("api")

_REQUESTS = Counter(
    "masthead_http_requests", "Requests answered.", ["method", "route", "status"], registry=REGISTRY
)
_SECONDS = Histogram(
    "masthead_http_seconds",
    "Time from a request's head to its answer's end.",
    ["method", "route"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5, 10, 60),
    registry=REGISTRY,
)


def error_body(code: str, message: str, field: str | None = None) -> bytes:
    """Return the one shape of every error."""
    return orjson.dumps({"error": {"code": code, "message": message, "field": field}})


def error_response(status: int, code: str, message: str, field: str | None = None) -> Response:
    """Return an answer in the one shape of every error."""
    return Response(error_body(code, message, field), status_code=status, media_type="application/json")


class HostGuard:
    """Refuses requests by a foreign name.

    On loopback a request's Host must be loopback's: a page whose name was rebound to 127.0.0.1 still sends its own.
    Which pages may call is told by keys, so the doorkeeper looks after them.
    """

    def __init__(self, app: App, *, loopback: bool) -> None:
        self._app, self._loopback = app, loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 403."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        reason = self._refusal(scope)
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": reason[:120]})
        else:
            await error_response(403, "Forbidden", reason, "host")(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        host = host_name(Headers(scope=scope).get("host", ""))
        if self._loopback and host not in LOOPBACK:
            return f"host: expected localhost or 127.0.0.1, got {host[:100]!r}"
        return None


def host_name(header: str) -> str:
    """Return the name in a Host header, without port and brackets, in lower case.

    >>> host_name("LocalHost:8400"), host_name("[::1]:8400"), host_name("::1")
    ('localhost', '::1', '::1')
    """
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text if text.count(":") > 1 else text.partition(":")[0]


class BodyLimit:
    """Answers 413 before a body over the limit is read; one of unknown length is cut off when it passes it."""

    def __init__(self, app: App, *, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdigit() or int(stated) > self._most:
            await self._refuse(scope, receive, send)
            return
        read, begun = 0, False

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except _TooLarge:
            if not begun:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = f"body: expected at most {self._most} bytes (max_body_mib)"
        answer = error_response(413, "LimitReached", message, "body")
        answer.headers["connection"] = "close"  # what the client still sends is not read
        await answer(scope, receive, send)


class _TooLarge(Exception):
    """The body passed the limit while it was read."""


class RequestLog:
    """Counts every request by route, and logs those of the API."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note how it was answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"]
        route = getattr(scope.get("route"), "path", None) or ("/ui" if path.startswith("/ui") else "other")
        _REQUESTS.labels(scope["method"], route, str(status)).inc()
        _SECONDS.labels(scope["method"], route).observe(seconds)
        if not path.startswith(_QUIET) or status >= 500:
            client = scope.get("client") or ("", 0)
            _LOG.info(
                "request",
                method=scope["method"],
                path=path,
                status=status,
                ms=round(seconds * 1000, 1),
                client=client[0],
            )
