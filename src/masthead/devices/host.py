"""The devices' side of Masthead: one thread with one loop that owns the broker, the doors and the way to `app.take`."""

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from nats.aio.client import Client
from nats.errors import Error as NatsError

from masthead.access.subjects import subject_for
from masthead.alerts.channels import SUBJECTS, Outcome
from masthead.alerts.messages import Message
from masthead.base.clock import Beat, VirtualClock
from masthead.base.errors import LimitReached, MastheadError
from masthead.base.log import get_logger
from masthead.base.topics import check_subject, check_target
from masthead.devices import external
from masthead.devices.beats import Beats
from masthead.devices.doors import send
from masthead.devices.intakes import Intakes
from masthead.devices.jobs import connect, fail_when, true, until_one_ends
from masthead.devices.nats_config import SERVICE_USER
from masthead.devices.own_broker import OwnBroker
from masthead.devices.place import KnownLog, PlaceNote
from masthead.devices.product import Product
from masthead.devices.puller import Interrupted
from masthead.devices.readings_log import ReadingsLog
from masthead.devices.taking import Taking
from masthead.devices.telemetry import LAG, LOG_BYTES
from masthead.devices.unread import RESTORED, put_back, write_unread
from masthead.streams.readings import Reading
from masthead.streams.works import DECISIONS

_Found = TypeVar("_Found")
_LOG = get_logger("devices")
_STEADY_S = 30.0  # a session that lasted so long starts the back-off anew
_SLOW_STARTS = 3
_MOST_BACKOFF_S = 5.0
_FAILURES_TO_RESTART = 3
_SETTLE_S = 10.0
_POLL_S = 0.003
COPIED_NOTE = "copied"  # in the broker's folder
KNOWN_LOG = "readings-log.json"  # in the data folder


class DeviceHost:
    """`start` returns when things may connect; `stop` when everything is at rest."""

    def __init__(self, app: Product) -> None:
        self._app = app
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._taking = Taking(app)
        self._own: OwnBroker | None = None
        self._log: ReadingsLog | None = None
        self._client: Client | None = None
        self._beats: Beats | None = None
        self._intakes: Intakes | None = None
        self._begun = 1
        self._rate = 0.0
        self._behind_s: float | None = None
        self._trouble = ""
        self._notes = [external.limits(url)] if (url := app.settings.nats_url) else []
        self._figures: dict[str, Any] = {}

    # ------------------------------------------------------------------ faces

    def start(self) -> None:
        """Start everything.

        Raises:
            InvalidInput: The settings ask an external server for a door that it does not have.
            Conflict: A port is in use, or nats-server is missing or does not start.
            LimitReached: nats-server, or the one at `nats_url`, does not answer.
        """
        external.check_settings(self._app.settings)
        # Before the first reading: what a rule publishes at once would find nobody who sends it.
        self._app.streams.register_action("subject", self._send_action)
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise
        self._app.register_ingest(self.ingest, self.behind_s)
        self._app.alerts.register_channel("subject", self._send_alert)

    def stop(self) -> None:
        """Stop the doors, finish the batch that is being taken, end nats-server."""
        self._app.register_ingest(None)
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            self._taking.stop()
            with contextlib.suppress(RuntimeError):  # the loop ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._taking.close()

    @property
    def mqtt_port(self) -> int:
        """Return the port of MQTT over TLS; 0 with an external server."""
        return self._own.server.options.mqtt_port if self._own else 0

    @property
    def plain_port(self) -> int | None:
        """Return the port of plain MQTT, if it is open."""
        return self._own.plain.port if self._own and self._own.plain else None

    def ingest(self, readings: Sequence[Reading], *, partly: bool = False) -> list[int]:
        """Store readings that came by another door; return their sequences once they are durable.

        From any thread but the host's.

        Args:
            partly: Return those of the first ones when the others cannot be stored.

        Raises:
            LimitReached: The log is full, or not there right now; with `partly`: none was stored.
        """
        if self._log is None:
            raise LimitReached("ingest: the log of readings is not there right now; try again")
        return self._call(self._log.append(readings, door="http", partly=partly), timeout_s=60)

    def write_unread(self, first: int, path: Path) -> int:
        """Write what the log holds from sequence `first` on to a file, for a backup; return how many batches.

        Raises:
            LimitReached: The log is full, or not there right now.
        """
        if self._client is None or self._loop is None:
            raise LimitReached("backup: the log of readings is not there right now; try again")
        return asyncio.run_coroutine_threadsafe(write_unread(self._client, first, path), self._loop).result(
            600
        )

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message to the things that subscribe to `topic` (with `/`). It does not become a reading.

        Raises:
            InvalidInput: The topic cannot be published to.
            LimitReached: The broker is not there right now.
        """
        self.publish_subject(subject_for(topic), payload)

    def publish_subject(self, subject: str, payload: bytes) -> None:
        """Do the same by NATS subject (with `.`); for MQTT, `masthead.alerts.air` is the topic `masthead/alerts/air`."""
        if self._client is None:
            raise LimitReached("publish: the broker is not there right now; try again")
        self._call(send(self._client, subject, payload), timeout_s=15)

    def beat(self, beat: Beat) -> None:
        """Move a demonstration's clock, once every reading that is acknowledged by now has been taken.

        Raises:
            LimitReached: Readings wait, or the broker is not there right now; the clock was not moved.
        """
        if self._beats is None or self._log is None:
            raise LimitReached("clock: the broker is not there right now; try again")
        self._call(self._beat(self._beats, self._log, beat), timeout_s=_SETTLE_S + 10)

    def follow(self) -> None:
        """Return once the broker knows the things as they are now; without this it does within half a second.

        Raises:
            LimitReached: It does not answer.
        """
        if self._own is not None and self._log is not None:
            self._call(self._own.apply_users(), timeout_s=10)

    def behind_s(self) -> float | None:
        """Return the age of the oldest reading that is stored and not taken, seconds; 0 when all are; None: unknown."""
        return self._behind_s if self._client is not None else None

    def state(self) -> dict[str, Any]:
        """Return what a person wants to know of the doors, as JSON values."""
        return {
            "running": self._client is not None,
            "mqtt_port": self.mqtt_port,
            "plain_port": self.plain_port,
            "external": external.shown_url(self._app.settings.nats_url) or None,
            "sync": self._app.settings.sync,
            "nats_pid": self._own.server.pid if self._own else None,
            "connected": dict(self._own.connected) if self._own else {},
            "taken": self._taking.count,
            "rate_per_s": round(self._rate, 1),
            "blocked": self._log.blocked if self._log else "",
            "trouble": self._trouble or (self._own.trouble if self._own else "") or self._taking.trouble,
            "notes": list(self._notes),
            "intakes": self._intakes.state() if self._intakes else {},
            **self._figures,
        }

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing (or topic, where the thing is unknown): topic, payload text, arrived."""
        return dict(self._taking.last)

    # ----------------------------------------------------------------- thread

    def _run(self) -> None:
        try:
            uvloop.run(self._main())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                _LOG.error("the devices' side ended", error=repr(error))

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._own = None if self._app.settings.nats_url else OwnBroker(self._app)
        try:
            await self._sessions(self._stopping)
        finally:
            if self._own:
                await self._own.close()

    async def _sessions(self, stopping: asyncio.Event) -> None:
        """Run session after session; the first must succeed, later ones are tried with back-off.

        A broker that is slow to answer is no wrong one: the first is tried up to three times then.
        """
        delay_s, failures, slow = 0.1, 0, 0
        while not stopping.is_set():
            began, was_slow = time.monotonic(), False
            try:
                await self._session(stopping)
            except (NatsError, OSError, TimeoutError, MastheadError, Interrupted) as error:
                self._trouble = external.reason(error, self._app.settings.nats_url)
                was_slow = isinstance(error, TimeoutError)
                slow += was_slow
            if stopping.is_set():
                return
            if not self._started.done() and not (was_slow and slow < _SLOW_STARTS):
                raise LimitReached(f"devices: the broker cannot be used: {self._trouble}")
            steady = time.monotonic() - began > _STEADY_S
            delay_s, failures = (0.1, 1) if steady else (min(2 * delay_s, _MOST_BACKOFF_S), failures + 1)
            if failures % _FAILURES_TO_RESTART == 0 and self._own and self._own.server.pid is not None:
                # JetStream switches itself off when the disk is full and stays off until the process starts anew.
                _LOG.warning("nats-server does not store, it is started anew", reason=self._trouble)
                await asyncio.to_thread(self._own.server.stop)
            _LOG.warning("the devices' side starts over", reason=self._trouble, after_s=delay_s)
            self._app.journal.write("server", "devices", "starting over", reason=self._trouble)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await stopping.wait()

    async def _session(self, stopping: asyncio.Event) -> None:
        """Connect, prepare, let things in, and work until anything is lost."""
        if self._own:
            try:
                self._own.start()  # in this thread: its end is the server's end
            except MastheadError as error:
                if not self._started.done():
                    self._started.set_exception(error)
                raise
        lost = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            client = await self._connect(stack, lost)
            log = ReadingsLog(
                client,
                max_bytes=int(self._app.settings.stream_max_gib * 1024**3),
                sender=self._app.access.sender,
                note=PlaceNote(self._app.folder.nats / COPIED_NOTE),
                on_reserved=self._own.note_reserved if self._own else lambda thing, topic: None,
                arrival=clock.at if isinstance(clock := self._app.clock, VirtualClock) else float,
            )
            self._begun = start = await self._prepare(client, log)
            beats = await self._open_beats(client)
            intakes = Intakes(client, self._app)
            jobs: list[Coroutine[Any, Any, None]] = [log.copy(), log.read(start, self._taking.take)]
            jobs.append(intakes.run())
            if self._own:
                jobs += await self._own.jobs(stack, log, lost)
            self._log, self._client, self._beats, self._trouble = log, client, beats, ""
            self._intakes = intakes
            try:
                await until_one_ends(
                    [*jobs, self._watch(log), self._trim(log), fail_when(lost), true(stopping)],
                    self._note_started,
                )
            finally:
                self._log = self._client = self._beats = self._intakes = None

    async def _prepare(self, client: Client, log: ReadingsLog) -> int:
        """Make the log ready; return the sequence to read it from."""
        wanted = await asyncio.to_thread(self._app.position)
        await log.prepare()
        path = self._app.folder.nats / RESTORED
        restoring = path.exists()
        if restored := await put_back(client, path):
            _LOG.info("restored readings are in the log", batches=restored)
        before = (await log.info()).state.last_seq
        known = KnownLog.read(self._app.folder.path / KNOWN_LOG)
        lost, found = await log.go_on_behind(wanted, known)
        state = (await log.info()).state
        if lost and not restoring:
            self._tell_lost(f"it ended at {before}, the sinks want {wanted}, it goes on at {state.first_seq}")
        if found != known:
            found.write(self._app.folder.path / KNOWN_LOG)
        if self._taking.done is not None:
            wanted = self._taking.done + 1
        return int(state.last_seq + 1 if wanted is None else max(wanted, state.first_seq))

    def _tell_lost(self, where: str) -> None:
        """Say that readings are gone: in the log, in the journal, and in `/readyz` until the next start."""
        text = (
            "the log of readings was deleted or lost its end; what was stored there and not settled is gone"
        )
        self._notes.append(f"{text}: {where}")
        _LOG.error(text, where=where)
        self._app.journal.write("server", "devices", text, where=where)

    def _note_started(self) -> None:
        if not self._started.done():
            self._started.set_result(None)

    async def _connect(self, stack: contextlib.AsyncExitStack, lost: asyncio.Event) -> Client:
        if self._own:
            return await self._own.connect(stack, SERVICE_USER, lost)
        return await connect(stack, self._app.settings.nats_url, lost)

    async def _open_beats(self, client: Client) -> Beats | None:
        clock = self._app.clock
        if not (self._app.settings.virtual_clock and isinstance(clock, VirtualClock)):
            return None
        beats = Beats(client, clock)
        await beats.open()
        return beats

    # ------------------------------------------------------------------- jobs

    async def _beat(self, beats: Beats, log: ReadingsLog, beat: Beat) -> None:
        try:
            async with asyncio.timeout(_SETTLE_S):
                await log.copied(_POLL_S)
                last = (await log.info()).state.last_seq
                while max(self._begun - 1, self._taking.done or 0) < last:
                    await asyncio.sleep(_POLL_S)
        except TimeoutError as error:
            raise LimitReached(f"clock: readings still wait to be taken after {_SETTLE_S:g} s") from error
        await beats.say(beat)

    async def _watch(self, log: ReadingsLog) -> None:
        before, at = self._taking.count, time.monotonic()
        while True:
            await asyncio.sleep(2.0)
            now = time.monotonic()
            self._rate, before, at = (self._taking.count - before) / (now - at), self._taking.count, now
            await log.clear()
            state = (await log.info()).state
            lag = max(0, state.last_seq - (self._taking.done or state.last_seq)) if state.messages else 0
            LAG.set(lag)
            LOG_BYTES.set(state.bytes)
            oldest = await log.oldest_after(self._taking.done, state)
            self._behind_s = 0.0 if oldest is None else max(0.0, time.time() - oldest)
            self._figures = {
                "lag_batches": lag,
                "behind_s": round(self._behind_s, 1),
                "log_bytes": state.bytes,
                "log_messages": state.messages,
                "log_first": state.first_seq,
                "log_last": state.last_seq,
                "waiting_for_copy": await log.waiting(),
                "refused": log.refused,
            }

    async def _trim(self, log: ReadingsLog) -> None:
        while True:
            position = await asyncio.to_thread(self._app.position)
            if position is None:
                position = (self._taking.done or 0) + 1
            keep_s = self._app.settings.stream_keep_days * 86_400
            await log.trim(position=position, keep_s=keep_s, now=time.time())
            await asyncio.sleep(15.0)

    # ---------------------------------------------------------------- helpers

    def _send_action(self, action: Mapping[str, Any], payload: bytes, reading: Reading) -> None:
        """Send what a rule says to a subject (`a.b`) or topic (`a/b`); to raise is to be asked again.

        Raises:
            InvalidInput: Nobody may be let publish there; a stored rule may be older than the check.
            LimitReached: The broker is not there right now.
        """
        name = check_target(action["name"], "name", own=DECISIONS)
        self.publish_subject(subject_for(name) if "/" in name else name, payload)

    def _send_alert(self, channel: Mapping[str, Any], message: Message) -> Outcome:
        subject = channel.get("subject") or SUBJECTS + message.event.detector
        try:
            check_subject(subject, "channel.subject", own=SUBJECTS)
            self.publish_subject(subject, message.body)
        except (MastheadError, TimeoutError) as error:
            return Outcome(False, str(error))
        return Outcome(True, f"published to {subject}")

    def _call(self, work: Coroutine[Any, Any, _Found], *, timeout_s: float) -> _Found:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except (TimeoutError, concurrent.futures.CancelledError, NatsError, OSError) as error:
            future.cancel()
            raise LimitReached("devices: the broker does not answer; try again") from error
