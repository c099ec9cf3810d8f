"""The durable log of readings: streams, the copy out of the MQTT door, other doors' appends, and the way back out.

    device --QoS 1--> $MQTT_msgs --copier--> READINGS --reader--> app.take

A PUBACK means that the message lies in `$MQTT_msgs` (mqtt_store.py). The copier packs a chunk of it into one
message of READINGS, whose headers say how far the copy has come; the place and the copy are thus one write, and no
crash can part them. docs/decisions/0002-readings-log.md has the reasoning and the measurements.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    StreamInfo,
    StreamState,
)
from nats.js.errors import APIError, NotFoundError

from masthead.access.subjects import topic_for
from masthead.access.thing_policies import reserved
from masthead.base.errors import LimitReached
from masthead.base.log import get_logger
from masthead.devices.mqtt_store import MQTT_PREFIX, MQTT_STREAM, MqttStore, ensure_stream, purge
from masthead.devices.place import KnownLog, Place, PlaceNote
from masthead.devices.puller import Interrupted, Pulled, Puller
from masthead.devices.telemetry import STORED
from masthead.streams.readings import Reading, pack

_LOG = get_logger("devices")

READINGS = "READINGS"
SUBJECT = "masthead.readings."
FROM_MQTT = SUBJECT + "mqtt"
OWN = "Masthead-Own"
"""Header of messages that we send to things: they are not readings."""

COPIED = "Masthead-Mqtt-Last"
"""Header of a copied chunk: the sequence of the last message of `$MQTT_msgs` that it holds."""

_TIME = "Masthead-Mqtt-Time"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_FAR = 1 << 32  # messages of 64 bytes, the least that one takes, would be 256 GiB
_MOST_READINGS = 4_000
CHUNK_BYTES = 1_000_000
MOST_PAYLOAD_BYTES = 4_000_000  # below nats-server's max_payload of 8 MB, so that a chunk of one fits
_PAUSE_S = 0.02
_PUBLISH_S = 10.0
# A person or a program waits at the other doors: an answer, even a no, within 10 s.
_DOOR_TRIES, _DOOR_S = 2, 4.0
_WRONG_PLACE = {10070, 10071, 10164}


class ReadingsLog:
    """The streams and what may be done to them, over one connection; used from its loop only."""

    def __init__(
        self,
        client: Client,
        *,
        max_bytes: int,
        sender: Callable[[str], str | None],
        on_reserved: Callable[[str | None, str], None],
        note: PlaceNote,
        arrival: Callable[[float], float] = float,
    ) -> None:
        """Prepare.

        Args:
            max_bytes: Bound of READINGS; half of it is the door's.
            sender: Returns the thing that alone may publish to a subject.
            note: Keeps the copier's place beside the log.
            on_reserved: Told thing and topic of each publish that is not taken since its topic begins with `$`.
            arrival: Turns the broker's time of a message (epoch s) into the product's.
        """
        self._client, self._js = client, client.jetstream(timeout=_PUBLISH_S)
        self._max_bytes, self.sender, self._arrival = max_bytes, sender, arrival
        self._on_reserved, self._note = on_reserved, note
        self._door = MqttStore(client, max_bytes=max_bytes // 2)
        self.place = Place()
        self.blocked = ""
        self.refused = 0

    async def prepare(self) -> None:
        """Make both streams; afterwards things may connect."""
        # Half for the door, half for the log: `discard new` makes a full stream refuse, and a refused publish
        # gets no PUBACK.
        self._note.of_door(await self._door.prepare())
        await ensure_stream(self._js, READINGS, f"{SUBJECT}>", self._max_bytes)

    async def go_on_behind(self, position: int | None, known: KnownLog) -> tuple[bool, KnownLog]:
        """Return whether the log was deleted or has lost its end, and the log as it is now.

        Such a log goes on behind all that a sink may have: its numbers would begin anew, and sinks pass over numbers
        that they know. `position` is the smallest of their places; no other is further from it, or from the first
        sequence of the log that was, than the messages that a log can hold.
        """
        info = await self.info()
        state, created = info.state, info.created.isoformat()
        another = known.created not in ("", created) and state.messages == 0
        lost = another or (position is not None and state.last_seq + 1 < position)
        if not lost:
            return False, known if known.created == created else KnownLog(created, max(1, state.first_seq))
        first = max(position or 1, known.first) + _FAR
        self._note.write(await self._stated_place())  # the message that states it goes
        await purge(self._client, READINGS, first)
        return True, KnownLog(created, first)

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

    async def append(self, readings: Sequence[Reading], *, door: str, partly: bool = False) -> list[int]:
        """Store readings of another door; return the sequence of each when they are durable.

        Args:
            partly: Return those of the first ones when the others cannot be stored.

        Raises:
            LimitReached: The log is full, or does not answer; with `partly`: none was stored.
        """
        stored: list[int] = []
        for chunk in _chunks(readings):
            try:
                sequence = await self._append_chunk(chunk, door)
            except LimitReached:
                if partly and stored:
                    break
                raise
            stored += [sequence] * len(chunk)
        return stored

    async def _append_chunk(self, chunk: Sequence[Reading], door: str) -> int:
        headers = {"Nats-Msg-Id": secrets.token_hex(16)}  # a repeat within two minutes is stored once
        for _ in range(_DOOR_TRIES):
            try:
                found = await self._js.publish(
                    SUBJECT + door,
                    pack(chunk),
                    timeout=_DOOR_S,
                    stream=READINGS,
                    headers=dict(headers),
                )
            except APIError as error:
                raise LimitReached(
                    f"ingest: the log of readings takes no more: {error.description}"
                ) from error
            except (NatsError, OSError, TimeoutError):
                await asyncio.sleep(0.5)
                continue
            STORED.labels(door).inc(len(chunk))
            return int(found.seq)
        raise LimitReached(
            "ingest: the log of readings does not answer, which a full disk may cause; try again"
        )

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
                        for message in await puller.next(most=16):
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
        sequence = max(state.first_seq, (done or 0) + 1)
        if done is None or sequence > state.last_seq:
            return await self._door.stored_after(self.place.sequence)
        try:
            found = await self._js.get_msg(READINGS, sequence)
        except NotFoundError:  # taken and trimmed meanwhile
            return None
        return found.time.timestamp() if found.time else None

    async def waiting(self) -> int:
        """Return how many messages of `$MQTT_msgs` wait for the copy."""
        return await self._door.waiting(self.place.sequence)

    async def copied(self, poll_s: float) -> None:
        """Return once all that the MQTT door has acknowledged by now lies in the log."""
        last = await self._door.last()
        while self.place.sequence < last:
            await asyncio.sleep(poll_s)

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
            await purge(self._client, READINGS, target)
        return int(max(0, target - state.first_seq))

    async def clear(self) -> None:
        """Remove what was copied from the door's stream, also while nothing comes: a full one takes nothing until then."""
        await self._door.clear(self.place.sequence)

    async def _copy_run(self) -> None:
        self.place = await self._stated_place()
        consumer = await self._door.consumer(self.place.sequence)
        async with Puller(
            self._client, stream=MQTT_STREAM, consumer=consumer, ahead=_MOST_READINGS
        ) as puller:
            while True:
                messages = await puller.burst(pause_s=_PAUSE_S)
                fresh = [message for message in messages if not self.place.has(message)]
                for part in _by_size(fresh):
                    await self._copy_part(part)
                await self._door.clear(self.place.sequence)

    async def _copy_part(self, messages: list[Pulled]) -> None:
        """Store one chunk. One that holds nothing to be taken is stored too: it states the place."""
        readings = [self._reading(message) for message in messages if self._wanted(message)]
        last = messages[-1]
        headers = {
            COPIED: str(last.sequence),
            _TIME: str(last.time_ns),
            # Only one writer can be next, so neither a late repeat of ours nor a stale process stores twice.
            _EXPECTED: str(self.place.log_sequence),
        }
        stored = await self._publish(pack(readings), headers)
        self.place = Place(last.sequence, last.time_ns, stored)
        self._note.write(self.place)
        STORED.labels("mqtt").inc(len(readings))

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

    def is_reserved(self, subject: str) -> bool:
        """Return whether a publish is not to be taken since its topic is the broker's own; its owner is told."""
        if not reserved(subject):
            return False
        self._on_reserved(self.sender(subject), topic_for(subject))
        return True

    def _wanted(self, message: Pulled) -> bool:
        if message.headers and OWN in message.headers:
            return False
        if self.is_reserved(message.subject[len(MQTT_PREFIX) :]):
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

    async def _stated_place(self) -> Place:
        try:
            found = await self._js.get_last_msg(READINGS, FROM_MQTT)
        except NotFoundError:
            return self._note.read()
        headers = found.headers or {}
        return Place(int(headers[COPIED]), int(headers[_TIME]), int(found.seq or 0))

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
