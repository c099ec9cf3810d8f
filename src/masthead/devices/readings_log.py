"""The durable log of readings: streams, the copy out of the MQTT door, other doors' appends, and the way back out.

    device --QoS 1--> $MQTT_msgs --copier--> READINGS --reader--> app.take

`$MQTT_msgs` is the broker's own stream; a PUBACK means that the message lies in it, as long as a consumer is
interested. The copier packs a chunk of it into one message of READINGS, whose headers say how far the copy has
come; the place and the copy are thus one write, and no crash can part them. docs/decisions/0002-readings-log.md
has the reasoning and the measurements.
"""

import asyncio
import contextlib
import json
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamInfo,
    StreamState,
)
from nats.js.errors import APIError, NotFoundError

from masthead.access.subjects import topic_for
from masthead.base.errors import LimitReached
from masthead.base.log import get_logger
from masthead.devices.puller import Interrupted, Pulled, Puller
from masthead.devices.telemetry import STORED
from masthead.streams.readings import Reading, pack

_LOG = get_logger("devices")

MQTT_STREAM = "$MQTT_msgs"
MQTT_PREFIX = "$MQTT.msgs."
READINGS = "READINGS"
SUBJECT = "masthead.readings."
FROM_MQTT = SUBJECT + "mqtt"
OWN = "Masthead-Own"
"""Header of messages that we send to things: they are not readings."""

_LAST, _TIME = "Masthead-Mqtt-Last", "Masthead-Mqtt-Time"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_COPIER = "copier-"
_ACK_WAIT_S = 3600  # a run never waits for redelivery, so it must not be disturbed by one
_AHEAD = 8_000
_MOST_READINGS = 4_000
CHUNK_BYTES = 1_000_000
MOST_PAYLOAD_BYTES = 4_000_000  # below nats-server's max_payload of 8 MB, so that a chunk of one fits
_LINGER_S = 0.02
_PUBLISH_S = 10.0
# A person or a program waits at the other doors: an answer, even a no, within 10 s.
_DOOR_TRIES, _DOOR_S = 2, 4.0
_WRONG_PLACE = {10070, 10071, 10164}


@dataclass(frozen=True, slots=True)
class Place:
    """How far the copy has come: the last message of `$MQTT_msgs`, and the message of READINGS that holds it."""

    sequence: int = 0
    time_ns: int = 0
    log_sequence: int = 0

    def has(self, message: Pulled) -> bool:
        """Return whether a message was copied already.

        Sequence alone would do, if the broker never forgot one. After a power failure with `sync = interval` it
        may have, and then it gives the number again, to a message with a later time.
        """
        return message.sequence <= self.sequence and message.time_ns <= self.time_ns


class ReadingsLog:
    """The streams and what may be done to them, over one connection; used from its loop only."""

    def __init__(
        self,
        client: Client,
        *,
        max_bytes: int,
        sender: Callable[[str], str | None],
        arrival: Callable[[float], float] = float,
    ) -> None:
        """Prepare; `arrival` turns the broker's time of a message (epoch s) into the product's."""
        self._client, self._js = client, client.jetstream(timeout=_PUBLISH_S)
        self._max_bytes, self.sender, self._arrival = max_bytes, sender, arrival
        self.place = Place()
        self._consumer = ""
        self.blocked = ""
        self.refused = 0

    async def prepare(self, position: int | None) -> None:
        """Make both streams and the copier's consumer; afterwards things may connect.

        Args:
            position: The sequence that the sinks want next. A log that lost its end, or was deleted, goes on
                from there, since its sinks would ignore smaller numbers.
        """
        # Half for the door, half for the log: `discard new` makes a full stream refuse, and a refused publish
        # gets no PUBACK.
        await self._ensure(MQTT_STREAM, f"{MQTT_PREFIX}>", RetentionPolicy.INTEREST, self._max_bytes // 2)
        await self._ensure(READINGS, f"{SUBJECT}>", RetentionPolicy.LIMITS, self._max_bytes)
        state = (await self.info()).state
        if position is not None and state.last_seq + 1 < position:
            _LOG.warning("the log lost its end; going on", last=state.last_seq, position=position)
            await self._purge(position)
        self._consumer = await self._new_consumer()

    async def copy(self) -> None:
        """Copy for ever; any doubt starts over from the place that READINGS itself states.

        Raises:
            Interrupted: The connection is lost.
        """
        while True:
            try:
                await self._copy_run()
            except (Interrupted, NatsError, OSError, TimeoutError) as error:
                if not self._client.is_connected:
                    raise Interrupted("connection lost") from error
                _LOG.info("the copy starts over", reason=f"{type(error).__name__}: {error}")
                await asyncio.sleep(0.3)

    async def append(self, readings: Sequence[Reading], *, door: str) -> None:
        """Store readings of another door; returns when they are durable.

        Raises:
            LimitReached: The log is full.
        """
        for chunk in _chunks(readings):
            headers = {"Nats-Msg-Id": secrets.token_hex(16)}  # a repeat within two minutes is stored once
            for _ in range(_DOOR_TRIES):
                try:
                    await self._js.publish(
                        SUBJECT + door,
                        pack(chunk),
                        timeout=_DOOR_S,
                        stream=READINGS,
                        headers=dict(headers),
                    )
                    break
                except APIError as error:
                    raise LimitReached(
                        f"ingest: the log of readings takes no more: {error.description}"
                    ) from error
                except (NatsError, OSError, TimeoutError):
                    await asyncio.sleep(0.5)
            else:
                raise LimitReached(
                    "ingest: the log of readings does not answer, which a full disk may cause; try again"
                )
            STORED.labels(door).inc(len(chunk))

    async def read(self, start: int, take: Callable[[int, bytes], Awaitable[None]]) -> None:
        """Give every message of the log from sequence `start` on to `take`, in order, for ever.

        No acknowledgements: the sinks own their places. An interruption goes on behind the last message taken.

        Raises:
            Interrupted: The connection is lost.
        """
        done = start - 1
        while True:
            try:
                name = await self._reader(done + 1)
                async with Puller(self._client, stream=READINGS, consumer=name, ahead=16) as puller:
                    while True:
                        for message in await puller.next(linger_s=0, most=16):
                            if message.sequence > done:
                                await take(message.sequence, message.data)
                                done = message.sequence
            except (Interrupted, NatsError, OSError, TimeoutError) as error:
                if not self._client.is_connected:
                    raise Interrupted("connection lost") from error
                _LOG.info("the reader starts over", reason=f"{type(error).__name__}: {error}", after=done)
                await asyncio.sleep(0.3)

    async def info(self) -> StreamInfo:
        """Return configuration and state of READINGS."""
        return await self._js.stream_info(READINGS)

    async def oldest_after(self, done: int | None, state: StreamState) -> float | None:
        """Return when the oldest reading behind `done` was stored, epoch seconds; None when there is none."""
        stream, sequence = READINGS, max(state.first_seq, (done or 0) + 1)
        if done is None or sequence > state.last_seq:
            door = (await self._js.stream_info(MQTT_STREAM)).state
            stream, sequence = MQTT_STREAM, door.first_seq
            if not door.messages:
                return None
        try:
            found = await self._js.get_msg(stream, sequence)
        except NotFoundError:  # copied or taken meanwhile
            return None
        return found.time.timestamp() if found.time else None

    async def waiting(self) -> int:
        """Return how many messages of `$MQTT_msgs` wait for the copy."""
        return int((await self._js.stream_info(MQTT_STREAM)).state.messages)

    async def trim(self, *, position: int, keep_s: float, now: float) -> int:
        """Remove what every sink has and what is older than `keep_s` or fills the log; return how many messages went.

        Never what a sink still needs, and never the message that states the copier's place.
        """
        state = (await self.info()).state
        until = min(position, self.place.log_sequence or position)
        if state.messages == 0 or until <= state.first_seq:
            return 0
        target = await self._first_after(state.first_seq, until, now - keep_s)
        if state.bytes > 0.8 * self._max_bytes:
            share = 1 - 0.6 * self._max_bytes / state.bytes
            target = max(target, state.first_seq + int((state.last_seq - state.first_seq) * share))
        target = min(target, until)
        if target > state.first_seq:
            await self._purge(target)
        return int(max(0, target - state.first_seq))

    async def _copy_run(self) -> None:
        consumer, self._consumer = self._consumer or await self._new_consumer(), ""
        async with Puller(self._client, stream=MQTT_STREAM, consumer=consumer, ahead=_AHEAD) as puller:
            while True:
                messages = await puller.next(linger_s=_LINGER_S, most=_MOST_READINGS)
                for part in _by_size(messages):
                    await self._copy_part(part)

    async def _copy_part(self, messages: list[Pulled]) -> None:
        readings = [self._reading(message) for message in messages if self._wanted(message)]
        last = messages[-1]
        if readings:
            headers = {
                _LAST: str(last.sequence),
                _TIME: str(last.time_ns),
                # Only one writer can be next, so neither a late repeat of ours nor a stale process stores twice.
                _EXPECTED: str(self.place.log_sequence),
            }
            stored = await self._publish(pack(readings), headers)
            self.place = Place(last.sequence, last.time_ns, stored)
            STORED.labels("mqtt").inc(len(readings))
        await self._client.publish(last.reply, b"+ACK")

    async def _publish(self, data: bytes, headers: dict[str, str]) -> int:
        """Store a chunk; wait while the log is full, so that the door fills and its PUBACKs stop."""
        while True:
            try:
                answer = await self._js.publish(FROM_MQTT, data, timeout=_PUBLISH_S, headers=dict(headers))
            except APIError as error:
                if error.err_code in _WRONG_PLACE:
                    raise Interrupted("another write came first") from error
                if not self.blocked:
                    _LOG.warning("the log takes no readings", reason=error.description)
                self.blocked = f"{error.err_code} {error.description}"
                await asyncio.sleep(1.0)
            else:
                self.blocked = ""
                return int(answer.seq)

    def _wanted(self, message: Pulled) -> bool:
        if self.place.has(message) or (message.headers and OWN in message.headers):
            return False
        if len(message.data) > MOST_PAYLOAD_BYTES:
            self.refused += 1
            _LOG.error("a reading is too large", bytes=len(message.data), topic=message.subject[:200])
            return False
        return True

    def _reading(self, message: Pulled) -> Reading:
        subject = message.subject[len(MQTT_PREFIX) :]
        arrived = self._arrival(message.time_ns / 1e9)
        return Reading(topic_for(subject), message.data, arrived, self.sender(subject))

    async def _new_consumer(self) -> str:
        """Return a fresh consumer of `$MQTT_msgs` and end the earlier ones, in this order: interest never lapses."""
        self.place = await self._stated_place()
        name = _COPIER + secrets.token_hex(6)
        await self._js.add_consumer(
            MQTT_STREAM,
            ConsumerConfig(
                durable_name=name,
                ack_policy=AckPolicy.ALL,
                ack_wait=_ACK_WAIT_S,
                deliver_policy=DeliverPolicy.ALL,
                max_ack_pending=4 * _AHEAD,
                filter_subject=f"{MQTT_PREFIX}>",
            ),
        )
        # A power failure must not find the old one gone and the new one not yet on disk.
        await asyncio.to_thread(os.sync)
        for other in await self._copiers():
            if other != name:
                with contextlib.suppress(NotFoundError):
                    await self._js.delete_consumer(MQTT_STREAM, other)
        return name

    async def _copiers(self) -> list[str]:
        """Return our consumers of `$MQTT_msgs`; each QoS 1 subscription of a thing is one there as well."""
        found: list[str] = []
        seen = 0
        while page := await self._js.consumers_info(MQTT_STREAM, offset=seen):
            seen += len(page)
            found += [consumer.name for consumer in page if consumer.name.startswith(_COPIER)]
        return found

    async def _stated_place(self) -> Place:
        try:
            found = await self._js.get_last_msg(READINGS, FROM_MQTT)
        except NotFoundError:
            return Place()
        headers = found.headers or {}
        return Place(int(headers[_LAST]), int(headers[_TIME]), int(found.seq or 0))

    async def _reader(self, start: int) -> str:
        made = await self._js.add_consumer(
            READINGS,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(1, start),
                mem_storage=True,
                inactive_threshold=60.0,
            ),
        )
        return str(made.name)

    async def _ensure(self, name: str, subject: str, retention: RetentionPolicy, max_bytes: int) -> None:
        wanted = StreamConfig(
            name=name,
            subjects=[subject],
            retention=retention,
            storage=StorageType.FILE,
            max_bytes=max_bytes,
            discard=DiscardPolicy.NEW,
        )
        try:
            found = (await self._js.stream_info(name)).config
        except NotFoundError:
            await self._js.add_stream(wanted)
            return
        if found.max_bytes != max_bytes or found.discard != DiscardPolicy.NEW:
            found.max_bytes, found.discard = max_bytes, DiscardPolicy.NEW
            await self._js.update_stream(found)

    async def _purge(self, first: int) -> None:
        """Remove what lies before `first`; on a log that ends earlier, the next sequence becomes `first`."""
        await self._client.request(
            f"$JS.API.STREAM.PURGE.{READINGS}", json.dumps({"seq": first}).encode(), timeout=_PUBLISH_S
        )

    async def _first_after(self, first: int, end: int, time_s: float) -> int:
        """Return the first sequence in [first, end) stored after `time_s`, by halving; `end` when there is none."""
        low, high = first, end
        while low < high:
            middle = (low + high) // 2
            try:
                found = await self._js.get_msg(READINGS, middle)
                young = found.time is not None and found.time.timestamp() > time_s
            except NotFoundError:
                young = False
            low, high = (low, middle) if young else (middle + 1, high)
        return low


def _by_size(messages: list[Pulled]) -> Iterable[list[Pulled]]:
    """Yield the messages in parts of at most `CHUNK_BYTES`, or of one message."""
    part: list[Pulled] = []
    size = 0
    for message in messages:
        if part and size + len(message.data) > CHUNK_BYTES:
            yield part
            part, size = [], 0
        part.append(message)
        size += len(message.data) + len(message.subject)
    if part:
        yield part


def _chunks(readings: Sequence[Reading]) -> Iterable[list[Reading]]:
    part: list[Reading] = []
    size = 0
    for reading in readings:
        if len(reading.payload) > MOST_PAYLOAD_BYTES:
            raise LimitReached(
                f"payload: expected at most {MOST_PAYLOAD_BYTES} bytes, got {len(reading.payload)}"
            )
        if part and (size + len(reading.payload) > CHUNK_BYTES or len(part) >= _MOST_READINGS):
            yield part
            part, size = [], 0
        part.append(reading)
        size += len(reading.payload) + len(reading.topic)
    if part:
        yield part
