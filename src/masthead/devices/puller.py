"""One ordered run of messages out of a JetStream consumer: bounded demand, and any doubt ends the run.

A run ends by `Interrupted`, and its owner starts a fresh one from a place that it knows. So nothing here has to
reason about redelivery: within a run, sequences rise.
"""

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from nats.aio.client import Client
from nats.aio.msg import Msg

_EXPIRES_S = 5.0


class Interrupted(Exception):
    """The run cannot go on: connection lost, consumer gone, or silence where the server owes an answer."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """One message of a stream. `time_ns` is when the server stored it, nanoseconds since the epoch."""

    subject: str
    data: bytes
    headers: dict[str, str] | None
    sequence: int
    time_ns: int
    reply: str


class Puller:
    """Messages of one consumer as they come; at most `ahead` wait here.

    Args:
        again: Give also what is delivered again, of a consumer whose messages are acknowledged.
    """

    def __init__(
        self, client: Client, *, stream: str, consumer: str, ahead: int, again: bool = False
    ) -> None:
        self._client, self._ahead, self._again = client, ahead, again
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._waiting: list[Pulled] = []
        self._arrived = asyncio.Event()
        self._demand = 0
        self._flowing = False
        self._last = 0
        self._trouble: str | None = None
        self._subscription: Any = None

    async def __aenter__(self) -> Self:
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(
            self._inbox, cb=self._receive, pending_msgs_limit=0, pending_bytes_limit=0
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client.is_connected:
            await self._subscription.unsubscribe()

    async def next(self, *, most: int) -> list[Pulled]:
        """Return 1 to `most` messages, as soon as there is one.

        Raises:
            Interrupted: See the class.
        """
        while not self._waiting:
            await self._ask()
            await self._wait()
        found, self._waiting = self._waiting[:most], self._waiting[most:]
        if self._trouble is None:
            await self._ask()
        return found

    async def burst(self, *, pause_s: float) -> list[Pulled]:
        """Return 1 to `ahead` messages: those that lie ready `pause_s` after the first of them came.

        They are asked for together, so they come in few packets. Message by message, both processes would wake for
        each: a fifth more CPU for every reading.

        Raises:
            Interrupted: See the class.
        """
        while True:
            while not (self._flowing or self._waiting):
                if self._demand == 0:
                    await self._request(1)
                await self._wait()
            await asyncio.sleep(pause_s)
            await self._request(self._ahead - len(self._waiting), at_once=True)
            while self._demand > 0 and self._trouble is None:
                await self._wait()
            found, self._waiting = self._waiting, []
            self._flowing = len(found) > 1
            if found:
                return found

    async def _wait(self) -> None:
        """Return when something came since the last call; at times nothing did, so callers ask in a loop."""
        try:
            async with asyncio.timeout(_EXPIRES_S + 2.0):
                await self._arrived.wait()
        except TimeoutError:
            raise Interrupted("the server owes an answer") from None
        self._arrived.clear()
        if self._trouble and not self._waiting:
            raise Interrupted(self._trouble)

    async def _ask(self) -> None:
        """Keep the demand near `ahead`; ask in halves, so that a request is rare and large."""
        room = self._ahead - len(self._waiting) - self._demand
        if room >= self._ahead // 2 or self._demand == 0 < room:
            await self._request(room)

    async def _request(self, count: int, *, at_once: bool = False) -> None:
        if self._trouble:
            raise Interrupted(self._trouble)
        if not self._client.is_connected:
            raise Interrupted("not connected")
        self._demand += count
        until = {"no_wait": True} if at_once else {"expires": int(_EXPIRES_S * 1e9)}
        request = {"batch": count, **until}
        await self._client.publish(self._subject, json.dumps(request).encode(), reply=self._inbox)

    async def _receive(self, message: Msg) -> None:
        if not message.reply:
            self._note_status(message.headers or {})
        else:
            # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>
            words = message.reply.split(".")
            sequence = int(words[5])
            self._demand -= 1
            if (
                sequence <= self._last and not self._again
            ):  # delivered again after the acknowledgement took too long
                return
            self._last = sequence
            self._waiting.append(
                Pulled(message.subject, message.data, message.headers, sequence, int(words[7]), message.reply)
            )
        self._arrived.set()

    def _note_status(self, headers: dict[str, str]) -> None:
        status = headers.get("Status", "")
        if status in (
            "404",
            "408",
        ):  # nothing there, or the request expired: `Nats-Pending-Messages` were not sent
            self._demand = max(0, self._demand - int(headers.get("Nats-Pending-Messages", self._demand)))
        else:
            self._trouble = (
                f"{status} {headers.get('Description', '')}".strip() or "an answer of unknown form"
            )
