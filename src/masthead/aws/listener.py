"""The bytes of port 8401: uvicorn's parser with bounds of its own, and each answer in one write.

uvicorn's httptools protocol bounds neither the head of a request nor the time it takes, and writes head and body of an
answer one after the other: two small segments, which cost a client 48 ms where acknowledgements are delayed.
"""

import asyncio
import logging
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from masthead.aws.gateway import MOST_HEADERS, READ_S

_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


_LOG = logging.Logger("masthead.aws.wire", logging.ERROR)  # not in the tree: its level is its own


class Wire(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        # Anybody can send garbage; a line for each would be a way to fill the log.
        self.logger = _LOG
        self._read_s: float = getattr(self.config.app, "read_s", READ_S)
        self._head_bytes = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(cast(asyncio.Transport, _Joined(transport, self.loop)))
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the timer."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a head that does not end is cut off."""
        waiting = self._in_head
        super().data_received(data)
        if waiting and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEADERS and not self.transport.is_closing():
                self.transport.write(_TOO_LONG)
                self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._arm()

    def on_headers_complete(self) -> None:
        """Note that it has ended. A request to change the protocol is refused: what follows it would be lost."""
        self._in_head = False
        self._disarm()
        if self.parser.should_upgrade():
            raise ValueError("upgrade: expected none")
        super().on_headers_complete()

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self._read_s, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class _Joined:
    """A transport that joins what is written within one turn of the loop."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._parts:
            joined, self._parts = b"".join(self._parts), []
            self._transport.write(joined)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
