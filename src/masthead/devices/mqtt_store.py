"""The MQTT door's own stream, `$MQTT_msgs`: made by us before nats-server makes it, read in order, cleared in bulk.

nats-server would make it with interest retention: a message is stored only while a consumer is interested and
removed when the last one acknowledges it, one flush each. Made with limits retention, every publish is stored
before its PUBACK, whoever is interested, and what was copied goes by one purge. nats-server takes the stream as it
finds it (measured, 2.15.1).
"""

import json
import secrets
import time

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    ConsumerInfo,
    DeliverPolicy,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import NotFoundError

from masthead.base.log import get_logger

_LOG = get_logger("devices")

MQTT_STREAM = "$MQTT_msgs"
MQTT_PREFIX = "$MQTT.msgs."
OWN_CONSUMER = "copier-"
_BACK = 50_000
"""How many copied messages a new run looks at again: a broker that lost its last second in a power failure gives
their numbers to new messages, which their times tell apart. Seven seconds at 7,000 a second."""
_CLEAR_EVERY_S = 2.0
_CLEAR_LEAST = 2_000  # a purge rewrites the block in which it ends
_TIMEOUT_S = 10.0


async def ensure_stream(js: JetStreamContext, name: str, subject: str, max_bytes: int) -> None:
    """Make a stream that refuses what does not fit, or give an existing one these bounds."""
    wanted = StreamConfig(
        name=name,
        subjects=[subject],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        max_bytes=max_bytes,
        discard=DiscardPolicy.NEW,
    )
    try:
        found = (await js.stream_info(name)).config
    except NotFoundError:
        await js.add_stream(wanted)
        return
    have = (found.retention, found.max_bytes, found.discard)
    if have != (wanted.retention, wanted.max_bytes, wanted.discard):
        found.retention, found.max_bytes, found.discard = wanted.retention, wanted.max_bytes, wanted.discard
        await js.update_stream(found)


async def purge(client: Client, stream: str, first: int) -> None:
    """Remove what lies before `first`; in a stream that ends earlier, the next sequence becomes `first`."""
    await client.request(
        f"$JS.API.STREAM.PURGE.{stream}", json.dumps({"seq": first}).encode(), timeout=_TIMEOUT_S
    )


class MqttStore:
    """What the copier does with `$MQTT_msgs`."""

    def __init__(self, client: Client, *, max_bytes: int) -> None:
        self._client, self._js = client, client.jetstream(timeout=_TIMEOUT_S)
        self._max_bytes = max_bytes
        self._cleared = 0.0

    async def prepare(self) -> str:
        """Make the stream; afterwards things may connect. Return when it was made, which tells it from a later one."""
        await ensure_stream(self._js, MQTT_STREAM, f"{MQTT_PREFIX}>", self._max_bytes)
        return str((await self._js.stream_info(MQTT_STREAM)).created.isoformat())

    async def consumer(self, copied: int) -> str:
        """Return a consumer that begins somewhat before the message after `copied`; it goes when nobody reads."""
        made = await self._js.add_consumer(
            MQTT_STREAM,
            ConsumerConfig(
                name=OWN_CONSUMER + secrets.token_hex(6),
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(1, copied + 1 - _BACK),
                mem_storage=True,
                inactive_threshold=60.0,
            ),
        )
        return str(made.name)

    async def waiting(self, copied: int) -> int:
        """Return how many messages were not copied yet."""
        return max(0, await self.last() - copied)

    async def last(self) -> int:
        """Return the sequence of the last message."""
        return int((await self._js.stream_info(MQTT_STREAM)).state.last_seq)

    async def stored_after(self, copied: int) -> float | None:
        """Return when the message after `copied` was stored, epoch seconds; None when there is none."""
        try:
            found = await self._js.get_msg(MQTT_STREAM, copied + 1)
        except NotFoundError:
            return None
        return found.time.timestamp() if found.time else None

    async def clear(self, copied: int) -> None:
        """Remove what was copied, now and then, but not what a thing's subscription still has to hear.

        When sleeping things hold back half of the bound, readings come first and the sleepers lose.
        """
        if time.monotonic() - self._cleared < _CLEAR_EVERY_S:
            return
        self._cleared = time.monotonic()
        state = (await self._js.stream_info(MQTT_STREAM)).state
        target = min(copied, state.last_seq) + 1
        crowded = state.bytes >= self._max_bytes // 2
        if not crowded:
            # Listed after `copied` was known: a consumer without anything pending has all messages up to there.
            floors = [one.ack_floor.stream_seq + 1 for one in await self._held_back() if one.ack_floor]
            target = min([target, *floors])
        elif target > state.first_seq and await self._held_back():
            _LOG.warning("sleeping subscriptions lose messages to make room", before=target)
        # A few large messages crowd it as well as many small ones.
        if target - state.first_seq >= (1 if crowded else _CLEAR_LEAST):
            await purge(self._client, MQTT_STREAM, target)

    async def _held_back(self) -> list[ConsumerInfo]:
        """Return the subscriptions of things, QoS 1 and 2, that have something to hear."""
        found: list[ConsumerInfo] = []
        seen = 0
        while page := await self._js.consumers_info(MQTT_STREAM, offset=seen):
            seen += len(page)
            found += [one for one in page if one.num_pending or one.num_ack_pending]
        return [one for one in found if not one.name.startswith(OWN_CONSUMER)]
