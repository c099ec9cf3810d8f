"""Messages that pass beside the store: QoS 0 readings in, and alerts and commands out to things."""

import asyncio

from nats.aio.client import Client
from nats.aio.msg import Msg

from masthead.access.subjects import topic_for
from masthead.base.clock import Clock
from masthead.base.errors import LimitReached
from masthead.devices.mqtt_store import MQTT_PREFIX
from masthead.devices.readings_log import MOST_PAYLOAD_BYTES, OWN, ReadingsLog
from masthead.devices.telemetry import DROPPED
from masthead.streams.readings import Reading

QOS = "Nmqtt-Pub"
"""The header in which nats-server keeps the quality of service of an MQTT publish."""

_MOST_WAITING = 20_000
_LINGER_S = 0.1


class UnconfirmedDoor:
    """QoS 0: no PUBACK was promised, so readings may be dropped, and are counted when they are.

    The broker passes QoS 1 and 2 by here as well; those are in its store and come by the copier, once.
    """

    def __init__(self, log: ReadingsLog, clock: Clock) -> None:
        self._log, self._clock = log, clock
        self._waiting: list[Reading] = []
        self._arrived = asyncio.Event()

    async def open(self, listener: Client) -> None:
        """Subscribe, as the user that hears things and nothing else."""
        await listener.subscribe(">", cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0)

    async def run(self) -> None:
        """Store what comes, for ever."""
        while True:
            await self._arrived.wait()
            await asyncio.sleep(_LINGER_S)
            self._arrived.clear()
            readings, self._waiting = self._waiting, []
            try:
                await self._log.append(readings, door="qos0")
            except LimitReached:
                DROPPED.inc(len(readings))

    async def _receive(self, message: Msg) -> None:
        if not message.headers or message.headers.get(QOS) != "0" or OWN in message.headers:
            return
        if self._log.is_reserved(message.subject):
            return
        if len(self._waiting) >= _MOST_WAITING or len(message.data) > MOST_PAYLOAD_BYTES:
            DROPPED.inc()
            return
        self._waiting.append(
            Reading(
                topic_for(message.subject),
                message.data,
                self._clock.time(),
                self._log.sender(message.subject),
            )
        )
        self._arrived.set()


async def send(client: Client, subject: str, payload: bytes) -> None:
    """Give a message to every thing that subscribes: now to those at QoS 0, durably to those at QoS 1 and 2.

    The two publishes and the header are what a member of a NATS cluster does with a QoS 1 publish of its own
    clients; a subscription hears one of them. The mark keeps the message out of the readings.
    """
    headers = {QOS: "1", OWN: "1"}
    await client.jetstream(timeout=5).publish(MQTT_PREFIX + subject, payload, headers=dict(headers))
    await client.publish(subject, payload, headers=dict(headers))
    await client.flush(5)
