"""The listener's ASGI callable: admits, reads a bounded body, hands the request to the core in a thread, answers.

No framework routes here: frameworks route on decoded paths, and the `%2F` of an ARN must not become a separator. The
path is `scope["raw_path"]`; under uvicorn it carries no query, which a test pins.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from masthead.aws.core import Core
from masthead.aws.errors import TOO_LARGE, UNAVAILABLE
from masthead.aws.protocol import Request, Response
from masthead.base.addresses import Network, client_address

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

IN_FLIGHT = 64
MOST_HEADERS = 16 * 1024
BODY_BYTES = {"sagemaker-runtime": 6_291_456, "firehose": 8 * 2**20}
OTHER_BODY_BYTES = 2**20
READ_S = 60.0
WAIT_S = 5.0  # for a free place; AWS's clients come again after a 503


class Gateway:
    """Serves one core. At most 64 requests are worked on at once; what waits longer than 5 s is sent away."""

    def __init__(self, core: Core, *, trusted: Sequence[Network] = (), read_s: float = READ_S) -> None:
        self._core, self._trusted, self.read_s = core, trusted, read_s
        self._places = asyncio.Semaphore(IN_FLIGHT)
        self._threads = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="aws")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return
        request = self._request(scope)
        try:
            # Not `wait_for`: it makes a task of what is nearly always done at once.
            async with asyncio.timeout(WAIT_S):
                await self._places.acquire()
        except TimeoutError:
            await _answer(send, self._core.refuse(request, UNAVAILABLE, "too many requests at once"))
            return
        try:
            response = await self._work(scope, request, receive)
        finally:
            self._places.release()
        if response is not None:
            await _answer(send, response)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _work(self, scope: Scope, request: Request, receive: Receive) -> Response | None:
        """Return the answer; None when nobody waits for it any more."""
        size = sum(len(name) + len(value) + 4 for name, value in scope["headers"])
        size += len(scope["raw_path"]) + len(scope["query_string"])
        if size > MOST_HEADERS:
            return self._core.refuse(request, TOO_LARGE, f"headers: expected at most {MOST_HEADERS} bytes")
        most = BODY_BYTES.get(self._core.service_of(request.headers, request.path), OTHER_BODY_BYTES)
        too_large = f"body: expected at most {most} bytes"
        stated = request.headers.get("content-length", "0")
        if not stated.isdecimal() or int(stated[:20]) > most:
            return self._core.refuse(request, TOO_LARGE, too_large)
        try:
            async with asyncio.timeout(self.read_s):
                body = await _read(receive, most)
        except TimeoutError:
            return self._core.refuse(request, UNAVAILABLE, f"body: expected within {self.read_s:g} s")
        except _TooLarge:
            return self._core.refuse(request, TOO_LARGE, too_large)
        if body is None:
            return None
        whole = Request(
            method=request.method,
            path=request.path,
            query=request.query,
            headers=request.headers,
            body=body,
            address=request.address,
            secure=request.secure,
        )
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._core.handle, whole)

    def _request(self, scope: Scope) -> Request:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        peer = (scope.get("client") or ("", 0))[0]
        return Request(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=b"",
            address=client_address(peer, headers.get("x-forwarded-for", ""), self._trusted),
            secure=scope["scheme"] == "https",
        )


class _TooLarge(Exception):
    """A body passed its bound while it was read."""


async def _read(receive: Receive, most: int) -> bytes | None:
    """Return a body of at most `most` bytes; None when the client went away."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _TooLarge
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def _answer(send: Send, response: Response) -> None:
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in response.headers]
    if response.close:
        headers.append((b"connection", b"close"))  # what the client still sends is not read
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
