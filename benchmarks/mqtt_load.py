"""MQTT 3.1.1 clients over TLS that keep books: what was sent how often, what was acknowledged. For tests and benchmarks.

A raw client, since a library would hide when exactly a PUBACK came, and would cost more than the broker under load.
"""

import asyncio
import contextlib
import ssl
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path


def tls_context(folder: Path) -> ssl.SSLContext:
    """Return a context with the certificate, key and CA that `things create` wrote into `folder`."""
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "certificate.pem", folder / "private.key")
    return context


def _length(number: int) -> bytes:
    parts = bytearray()
    while True:
        number, digit = divmod(number, 128)
        parts.append(digit | (128 if number else 0))
        if not number:
            return bytes(parts)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def connect_packet(client_id: str, *, keep_alive_s: int = 60) -> bytes:
    """Return a CONNECT with a clean session."""
    body = _text("MQTT") + bytes([4, 2]) + struct.pack(">H", keep_alive_s) + _text(client_id)
    return b"\x10" + _length(len(body)) + body


def publish_packet(topic: str, payload: bytes, packet_id: int, *, again: bool = False) -> bytes:
    """Return a PUBLISH at QoS 1."""
    body = _text(topic) + struct.pack(">H", packet_id) + payload
    return bytes([0x32 | (8 if again else 0)]) + _length(len(body)) + body


class Publisher:
    """Publishes numbered readings with a window in flight; after a break it resends what was not acknowledged."""

    def __init__(
        self,
        *,
        name: str,
        context: ssl.SSLContext,
        port: int,
        window: int,
        payload: Callable[[str], bytes],
        topic: str,
    ) -> None:
        self.name, self._context, self.port, self._window = name, context, port, window
        self._payload, self._topic = payload, topic
        self.sent: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        self.breaks = 0
        self._number = 0
        self._unconfirmed: dict[int, tuple[str, bytes]] = {}  # packet id -> id and the very bytes sent
        self._answered = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self, *, rate_per_s: float | None = None) -> None:
        """Publish until `finish`, then until everything is acknowledged."""
        while not (self._stop.is_set() and not self._unconfirmed):
            try:
                await self._session(rate_per_s)
            except (OSError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError):
                self.breaks += 1
                await asyncio.sleep(0.1)

    def finish(self) -> None:
        """Send nothing new from now on."""
        self._stop.set()

    async def _session(self, rate_per_s: float | None) -> None:
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("localhost", self.port, ssl=self._context), 10
        )
        reading: asyncio.Task[None] | None = None
        try:
            writer.write(connect_packet(self.name))
            if (await asyncio.wait_for(reader.readexactly(4), 15))[3]:
                raise OSError("refused")
            again = [self._packet(packet_id, again=True) for packet_id in self._unconfirmed]
            writer.write(b"".join(again))
            reading = asyncio.create_task(self._read(reader))
            await self._write(writer, reading, rate_per_s)
        finally:
            if reading:
                reading.cancel()
                with contextlib.suppress(BaseException):
                    await reading
            writer.transport.abort()

    async def _write(
        self, writer: asyncio.StreamWriter, reading: asyncio.Task[None], rate_per_s: float | None
    ) -> None:
        while not self._stop.is_set():
            if rate_per_s:
                await asyncio.sleep(1 / rate_per_s)
            if room := self._window - len(self._unconfirmed):
                # All that has room leaves in one write, as from a device that reads several sensors.
                fresh = [self._fresh_packet() for _ in range(1 if rate_per_s else room)]
                writer.write(b"".join(fresh))
                await writer.drain()
            await self._await_answer(reading, at_once=bool(rate_per_s))
        while self._unconfirmed:
            await self._await_answer(reading)

    async def _await_answer(self, reading: asyncio.Task[None], *, at_once: bool = False) -> None:
        """Return after a PUBACK. Ten silent seconds are a break: the broker of a full stream never answers.

        Args:
            at_once: Wait only when nothing more may be sent before an answer.
        """
        if not (at_once and len(self._unconfirmed) < self._window):
            self._answered.clear()
            async with asyncio.timeout(10):
                await self._answered.wait()
        if reading.done():
            reading.result()

    def _fresh_packet(self) -> bytes:
        self._number += 1
        packet_id = self._number % 60_000 + 1
        reading_id = f"{self.name}-{self._number}"
        self._unconfirmed[packet_id] = (reading_id, self._payload(reading_id))
        return self._packet(packet_id)

    def _packet(self, packet_id: int, *, again: bool = False) -> bytes:
        reading_id, payload = self._unconfirmed[packet_id]
        self.sent[reading_id] += 1
        return publish_packet(self._topic, payload, packet_id, again=again)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            rest = b""
            while some := await reader.read(65_536):
                rest += some
                whole = len(rest) - len(rest) % 4
                for at in range(0, whole, 4):
                    self._confirm(rest[at : at + 4])
                rest = rest[whole:]
                self._answered.set()
            raise OSError("the broker closed the connection")
        finally:
            self._answered.set()  # who waits looks at this task's end

    def _confirm(self, packet: bytes) -> None:
        if packet[0] != 0x40:
            raise OSError(f"expected PUBACK, got {packet!r}")
        known = self._unconfirmed.pop(struct.unpack(">H", packet[2:])[0], None)
        if known is not None:
            self.acknowledged.add(known[0])
