"""Messages on subjects of NATS that a room answers: taken, answered, told, acknowledged, in this order.

    publisher --subject--> stream --durable consumer--> app.answer --> stream --answers--> whoever listens

A message is acknowledged once its answer is durable and stored under the subject of answers. Whatever dies in
between, it is delivered again and gets the answer that is stored; what was told already is not told again, by the key
of the answer, which the stream of answers remembers as well.
"""

import asyncio
import contextlib
import functools
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    Header,
    RetentionPolicy,
    StreamConfig,
)
from nats.js.errors import BadRequestError, NotFoundError

from masthead.base.errors import InvalidInput
from masthead.base.log import get_logger
from masthead.base.topics import check_subject
from masthead.devices.jobs import end_all
from masthead.devices.product import Product
from masthead.devices.puller import Interrupted, Pulled, Puller
from masthead.devices.telemetry import INTAKES
from masthead.streams.works import DECISIONS, Intake, Outcome, outcomes_of

__all__ = ["Intakes"]

_LOG = get_logger("devices")
_TOGETHER = 64  # as many as one commit takes
_IN_FLIGHT = 2 * _TOGETHER
_ACK_S = 5.0  # so long after a death its messages come again, before any later one
_TAIL = 8 * _IN_FLIGHT  # of the answers, that are looked through for those that a death left unacknowledged
_REMEMBERED = 100_000  # keys
_IN_BYTES, _OUT_BYTES, _OUT_S = 512 << 20, 256 << 20, 7 * 86_400.0
_SAME_S = 600.0  # in which the stream of answers knows a key again
_FOLLOW_S, _AGAIN_S, _TIMEOUT_S = 1.0, 2.0, 10.0
_SHOWN = 100_000  # of a payload that cannot be used
_NAME_TAKEN = 10058


class Intakes:
    """The intakes of one session, each with a consumer of its own. `run` is a job of the host."""

    def __init__(self, client: Client, app: Product) -> None:
        self._client, self._app = client, app
        self._serving: dict[Intake, tuple[_Consumer, asyncio.Task[None]]] = {}

    async def run(self) -> None:
        """Serve the intakes that there are, for ever; what comes and goes is followed each second.

        Raises:
            Interrupted: The connection is lost.
        """
        try:
            while True:
                wanted = self._app.intakes()
                await self._end([one for one in self._serving if one not in wanted])
                for one in wanted:
                    if one not in self._serving:
                        consumer = _Consumer(self._client, self._app, one)
                        self._serving[one] = (consumer, asyncio.create_task(consumer.serve()))
                for _, task in self._serving.values():
                    if task.done():
                        task.result()
                await asyncio.sleep(_FOLLOW_S)
        finally:
            await self._end(list(self._serving))

    def state(self) -> dict[str, str]:
        """Return of each intake why it does not take anything now, "" = it does."""
        return {one.name: consumer.trouble for one, (consumer, _) in self._serving.items()}

    async def _end(self, gone: Iterable[Intake]) -> None:
        ended = [self._serving.pop(one) for one in gone]
        for consumer, _ in ended:
            consumer.stop()
        await end_all(task for _, task in ended)


class _Consumer:
    """The durable consumer of one intake.

    Attributes:
        trouble: Why nothing is taken, or "".
    """

    def __init__(self, client: Client, app: Product, intake: Intake) -> None:
        self._client, self._app, self._intake = client, app, intake
        self._js = client.jetstream(timeout=_TIMEOUT_S)
        self._stopping = threading.Event()
        self._thread = ThreadPoolExecutor(1, "intake")
        self._told: OrderedDict[str, None] = OrderedDict()
        self.trouble = ""

    def stop(self) -> None:
        """Let messages that wait for room go; they are delivered again."""
        self._stopping.set()
        self._thread.shutdown(wait=False)

    async def serve(self) -> None:
        """Take and answer for ever.

        Raises:
            Interrupted: The connection is lost.
        """
        while True:
            try:
                await self._run()
            except (Interrupted, NatsError, OSError, TimeoutError, InvalidInput) as error:
                if not self._client.is_connected or self._stopping.is_set():
                    raise Interrupted("connection lost") from error
                reason = f"{type(error).__name__}: {error}"
                if reason != self.trouble:
                    _LOG.warning("a subject is not taken", subject=self._intake.subject, reason=reason)
                    self._app.journal.write("server", "devices", "subject not taken", reason=reason)
                self.trouble = reason
                await asyncio.sleep(_AGAIN_S)

    async def _run(self) -> None:
        source, stream = await self._prepare()
        self._remember(await self._tail(stream))
        made = await self._js.add_consumer(
            source,
            ConsumerConfig(
                durable_name=_named(self._intake, "consumer"),
                ack_policy=AckPolicy.EXPLICIT,
                deliver_policy=DeliverPolicy.ALL,
                ack_wait=_ACK_S,
                max_ack_pending=_IN_FLIGHT,
                filter_subject=self._intake.subject,
            ),
        )
        if made.num_ack_pending:  # later ones would overtake those that are still with a consumer that died
            await asyncio.sleep(_ACK_S + 0.5)
        async with Puller(
            self._client,
            stream=source,
            consumer=_named(self._intake, "consumer"),
            ahead=_TOGETHER,
            again=True,
        ) as puller:
            self.trouble = ""
            while True:
                await self._settle(await puller.next(most=_TOGETHER), source)

    # ------------------------------------------------------------------ streams

    async def _prepare(self) -> tuple[str, str]:
        """Return the streams of messages and of answers: those that their owner has made, else our own."""
        one = self._intake
        check_subject(
            one.answers, "decisions", own=DECISIONS
        )  # a stored deployment may be older than the check
        source = await self._stream(
            StreamConfig(
                name=_named(one, "in"),
                subjects=[one.subject],
                retention=RetentionPolicy.WORK_QUEUE,  # what is acknowledged goes
                discard=DiscardPolicy.NEW,  # a publisher is refused rather than a message lost
                max_bytes=_IN_BYTES,
            )
        )
        stream = await self._stream(
            StreamConfig(
                name=_named(one, "out"),
                subjects=[one.answers, one.refused],
                discard=DiscardPolicy.OLD,
                max_bytes=_OUT_BYTES,
                max_age=_OUT_S,
                duplicate_window=_SAME_S,
            )
        )
        return source, stream

    async def _stream(self, wanted: StreamConfig) -> str:
        subject = (wanted.subjects or [""])[0]
        try:
            found: str = await self._js.find_stream_name_by_subject(subject)
        except NotFoundError:
            found = ""
        if found and found != wanted.name:
            return found
        try:
            await self._js.add_stream(wanted)
        except BadRequestError as error:
            if error.err_code != _NAME_TAKEN:
                raise
            await self._js.update_stream(wanted)  # ours, of other subjects
        return str(wanted.name)

    async def _tail(self, stream: str) -> list[str]:
        """Return the keys of what was told last: the answers that a death left unacknowledged are among them."""
        info = await self._js.stream_info(stream)
        if not info.state.messages:
            return []
        made = await self._js.add_consumer(
            stream,
            ConsumerConfig(
                ack_policy=AckPolicy.NONE,
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(1, info.state.last_seq + 1 - _TAIL),
                headers_only=True,
                mem_storage=True,
                inactive_threshold=30.0,
            ),
        )
        found: list[Pulled] = []
        async with (
            asyncio.timeout(_TIMEOUT_S),  # what was counted may be gone
            Puller(self._client, stream=stream, consumer=str(made.name), ahead=_TAIL) as puller,
        ):
            while len(found) < (made.num_pending or 0):
                found += await puller.next(most=_TAIL)
        return [(one.headers or {}).get(Header.MSG_ID.value, "") for one in found]

    # ------------------------------------------------------------------ messages

    async def _settle(self, messages: list[Pulled], source: str) -> None:
        """Answer messages, tell the answers, acknowledge."""
        worker = functools.partial(self._app.answer, self._intake)
        payloads = [one.data for one in messages]
        outcomes = await asyncio.get_running_loop().run_in_executor(
            self._thread, outcomes_of, worker, payloads, self._stopping
        )
        if outcomes is None:
            raise Interrupted("stopping")
        await asyncio.gather(
            *(self._tell(one, outcome, source) for one, outcome in zip(messages, outcomes, strict=True))
        )
        for one in messages:
            await self._client.publish(one.reply, b"+ACK")

    async def _tell(self, message: Pulled, outcome: Outcome, source: str) -> None:
        """Store an answer under its subject, or why there is none, once."""
        one = self._intake
        if outcome.reason:
            subject, payload = one.refused, _refusal(message, outcome.reason)
            key = f"{source}:{message.sequence}"
        else:
            subject, payload = outcome.subject, outcome.payload
            # A key is text of somebody else's, which a header must not hold.
            key = f"{one.name}:{hashlib.sha256(outcome.key.encode(errors='replace')).hexdigest()[:32]}"
        known = key in self._told
        if not known:
            headers: dict[str, Any] = {Header.MSG_ID.value: key}
            await self._js.publish(subject, payload, headers=headers, timeout=_TIMEOUT_S)
            self._remember([key])
        INTAKES.labels(one.name, "repeated" if known else "refused" if outcome.reason else "answered").inc()

    def _remember(self, keys: Iterable[str]) -> None:
        self._told |= dict.fromkeys(keys)
        while len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)


def _named(one: Intake, what: str) -> str:
    return f"masthead-{one.name}-{what}"


def _refusal(message: Pulled, reason: str) -> bytes:
    told: dict[str, Any] = {"error": reason, "subject": message.subject, "sequence": message.sequence}
    with contextlib.suppress(ValueError, RecursionError):
        if len(message.data) <= _SHOWN:
            return json.dumps({**told, "payload": json.loads(message.data)}).encode()
    return json.dumps({**told, "payload": message.data[:_SHOWN].decode(errors="replace")}).encode()
