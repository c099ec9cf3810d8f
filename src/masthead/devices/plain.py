"""MQTT without TLS, on 127.0.0.1 only: bytes are carried to the TLS door under the certificate of the thing `local`.

For tools that cannot speak TLS. Whoever can open a socket on this machine speaks as `local` then, under its
policies; so it is off by default.
"""

import asyncio
import contextlib
import ssl
from pathlib import Path

from masthead.base.errors import Conflict

THING = "local"
_MOST = 200
_PIECE = 65_536


class PlainDoor:
    """Listens on 127.0.0.1 and forwards each connection; both directions keep the other's pace."""

    def __init__(self, *, port: int, target_port: int, certificate: Path, key: Path, authority: Path) -> None:
        self._port, self._target = port, target_port
        self._context = ssl.create_default_context(cafile=str(authority))
        self._context.load_cert_chain(certificate, key)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Return the port that is open."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Listen.

        Raises:
            Conflict: The port cannot be used.
        """
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        except OSError as error:
            raise Conflict(
                f"mqtt_plain_port: cannot listen on 127.0.0.1:{self._port}: {error.strerror}"
            ) from error

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= _MOST:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # either side may leave at any time, and closing this door cuts them
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(
            "localhost", self._target, ssl=self._context, server_hostname="localhost"
        )
        try:
            ways = [
                asyncio.ensure_future(_carry(reader, inner_writer)),
                asyncio.ensure_future(_carry(inner_reader, writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            inner_writer.close()
            with contextlib.suppress(OSError):
                await inner_writer.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_PIECE):
        writer.write(data)
        await writer.drain()
