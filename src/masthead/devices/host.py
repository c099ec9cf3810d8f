"""The devices' side of Masthead: one thread with one loop that owns nats-server, the doors and the way to `app.take`."""

import asyncio
import concurrent.futures
import contextlib
import shutil
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nats.aio.client import Client
from nats.errors import Error as NatsError

from masthead.access.service import AccessService
from masthead.access.subjects import subject_for
from masthead.alerts.channels import Outcome, Sender
from masthead.alerts.messages import Message
from masthead.base.clock import Clock, VirtualClock
from masthead.base.errors import InvalidInput, LimitReached, MastheadError, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import Journal, get_logger
from masthead.base.secrets import SecretBox
from masthead.base.settings import Settings
from masthead.base.units import format_bytes
from masthead.devices.doors import UnconfirmedDoor, send
from masthead.devices.nats_config import LISTENER_USER, SERVICE_USER, SYSTEM_USER, ServerOptions
from masthead.devices.nats_server import NatsServer, check_port, end_stale, free_port, new_password
from masthead.devices.plain import THING as LOCAL
from masthead.devices.plain import PlainDoor
from masthead.devices.puller import Interrupted
from masthead.devices.readings_log import ReadingsLog
from masthead.devices.telemetry import LAG, LOG_BYTES, RESTARTS, TAKEN
from masthead.devices.unread import RESTORED, put_back, write_unread
from masthead.devices.violations import Violations, connections, things_by_connection
from masthead.streams.readings import Batch, Reading, unpack

_LOG = get_logger("devices")
_STEADY_S = 30.0  # a session that lasted so long starts the back-off anew
_MOST_BACKOFF_S = 5.0
_FAILURES_TO_RESTART = 3
_ROOM_BYTES = 16 << 20  # two blocks of a stream
_STORE_STUCK = ("Critical write error", "out of resources")
_PENDING_BYTES = 64 * 1024 * 1024
_CONNECT_S = 6.0
_MOST_LAST = 10_000
_LAST_BYTES = 2_000
_LOCAL_POLICIES = ("sensor", "alert-listener")


class Alerts(Protocol):
    """Where the host offers its channel."""

    def register_channel(self, kind: str, sender: Sender) -> None:
        """Let the host send for `kind`."""


class Actions(Protocol):
    """Where the host offers to send what rules say."""

    def register_action(self, kind: str, sender: Callable[[Mapping[str, Any], bytes, Reading], None]) -> None:
        """Let the host act for `kind`."""


class Product(Protocol):
    """What the host needs of the application."""

    settings: Settings
    clock: Clock
    folder: DataFolder
    secrets: SecretBox
    journal: Journal
    access: AccessService
    alerts: Alerts
    streams: Actions

    def can_take(self) -> bool:
        """Return whether every sink has room; while not, readings stay in the log."""

    def take(self, batch: Batch) -> None:
        """Give a batch to every sink; one caller at a time."""

    def position(self) -> int | None:
        """Return the sequence that the sinks want next; None: they want what comes from now on."""

    def register_ingest(
        self, ingest: Callable[[Sequence[Reading]], None] | None, behind_s: Callable[[], float | None] = ...
    ) -> None:
        """Name who stores readings of other doors, and who knows how old the oldest waiting reading is."""


class DeviceHost:
    """`start` returns when things may connect; `stop` when everything is at rest."""

    def __init__(self, app: Product) -> None:
        self._app = app
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._taking = concurrent.futures.ThreadPoolExecutor(1, "take")
        self._server: NatsServer | None = None
        self._plain: PlainDoor | None = None
        self._log: ReadingsLog | None = None
        self._client: Client | None = None
        self._violations = Violations(self._record_forbidden)
        self._done: int | None = None
        self._taken = 0
        self._rate = 0.0
        self._behind_s: float | None = None
        self._trouble = ""
        self._store_stuck = False
        self._connected: dict[str, int] = {}
        self._last: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._figures: dict[str, Any] = {}

    # ------------------------------------------------------------------ faces

    def start(self) -> None:
        """Start everything.

        Raises:
            Conflict: A port is in use, or nats-server is missing or does not start.
            LimitReached: nats-server, or the one at `nats_url`, does not answer.
        """
        self._thread = threading.Thread(target=self._run, name="devices", daemon=True)
        self._thread.start()
        try:
            self._started.result()
        except BaseException:
            self._thread.join()
            raise
        self._app.register_ingest(self.ingest, self.behind_s)
        self._app.streams.register_action("subject", self._send_action)
        self._app.alerts.register_channel("subject", self._send_alert)

    def stop(self) -> None:
        """Stop the doors, finish the batch that is being taken, end nats-server."""
        self._app.register_ingest(None)
        if self._loop is not None and self._stopping is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # the loop ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
        self._taking.shutdown(wait=True)

    @property
    def mqtt_port(self) -> int:
        """Return the port of MQTT over TLS; 0 with an external server."""
        return self._server.options.mqtt_port if self._server else 0

    @property
    def plain_port(self) -> int | None:
        """Return the port of plain MQTT, if it is open."""
        return self._plain.port if self._plain else None

    def ingest(self, readings: Sequence[Reading]) -> None:
        """Store readings that came by another door; returns once they are durable. From any thread but the host's.

        Raises:
            LimitReached: The log is full, or not there right now.
        """
        if self._log is None:
            raise LimitReached("ingest: the log of readings is not there right now; try again")
        self._call(self._log.append(readings, door="http"), timeout_s=60)

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

    def behind_s(self) -> float | None:
        """Return the age of the oldest reading that is stored and not taken, seconds; 0 when all are; None: unknown."""
        return self._behind_s if self._client is not None else None

    def state(self) -> dict[str, Any]:
        """Return what a person wants to know of the doors, as JSON values."""
        return {
            "running": self._client is not None,
            "mqtt_port": self.mqtt_port,
            "plain_port": self.plain_port,
            "external": self._app.settings.nats_url or None,
            "sync": self._app.settings.sync,
            "nats_pid": self._server.pid if self._server else None,
            "connected": dict(self._connected),
            "taken": self._taken,
            "rate_per_s": round(self._rate, 1),
            "blocked": self._log.blocked if self._log else "",
            "trouble": self._trouble,
            **self._figures,
        }

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing (or topic, where the thing is unknown): topic, payload text, arrived."""
        return dict(self._last)

    # ----------------------------------------------------------------- thread

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
            else:
                _LOG.error("the devices' side ended", error=repr(error))

    async def _main(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._server = None if self._app.settings.nats_url else NatsServer(self._options(), self._on_line)
        try:
            await self._sessions(self._stopping)
        finally:
            if self._plain:
                await self._plain.close()
            if self._server:
                self._server.stop()

    async def _sessions(self, stopping: asyncio.Event) -> None:
        """Run session after session; the first must succeed, later ones are tried with back-off."""
        delay_s, failures = 0.1, 0
        while not stopping.is_set():
            began = time.monotonic()
            try:
                await self._session(stopping)
            except (NatsError, OSError, TimeoutError, MastheadError, Interrupted) as error:
                self._trouble = f"{type(error).__name__}: {error}"
            if stopping.is_set():
                return
            if not self._started.done():
                raise LimitReached(f"devices: the broker cannot be used: {self._trouble}")
            steady = time.monotonic() - began > _STEADY_S
            delay_s, failures = (0.1, 1) if steady else (min(2 * delay_s, _MOST_BACKOFF_S), failures + 1)
            if failures % _FAILURES_TO_RESTART == 0 and self._server and self._server.pid is not None:
                # JetStream switches itself off when the disk is full and stays off until the process starts anew.
                _LOG.warning("nats-server does not store, it is started anew", reason=self._trouble)
                await asyncio.to_thread(self._server.stop)
            _LOG.warning("the devices' side starts over", reason=self._trouble, after_s=delay_s)
            self._app.journal.write("server", "devices", "starting over", reason=self._trouble)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await stopping.wait()

    async def _session(self, stopping: asyncio.Event) -> None:
        """Connect, prepare, let things in, and work until anything is lost."""
        if self._server and self._server.pid is None:
            if self._started.done():
                RESTARTS.inc()
            # In this thread: its end is the server's end. The first time without things, until a consumer awaits
            # their messages; later a durable one is there from the start. Starting with the things spares a reload:
            # one that comes while a device connects makes that device wait 5 s (measured).
            prepared = self._server.prepared_path.exists()
            try:
                self._server.start(self._app.access.users() if prepared else [])
            except MastheadError as error:
                if not self._started.done():
                    self._started.set_exception(error)
                raise
        lost = asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            client = await self._connect(stack, SERVICE_USER, lost)
            log = ReadingsLog(
                client,
                max_bytes=int(self._app.settings.stream_max_gib * 1024**3),
                sender=self._app.access.sender,
                arrival=clock.at if isinstance(clock := self._app.clock, VirtualClock) else float,
            )
            wanted = await asyncio.to_thread(self._app.position)
            await log.prepare(wanted)
            if restored := await put_back(client, self._app.folder.nats / RESTORED):
                _LOG.info("restored readings are in the log", batches=restored)
            if self._server:
                self._server.prepared_path.touch()
            start = await self._first_wanted(log, wanted)
            jobs: list[Coroutine[Any, Any, None]] = [log.copy(), log.read(start, self._take)]
            if self._server:
                jobs += await self._own_server_jobs(stack, log, lost)
            self._log, self._client, self._trouble = log, client, ""
            try:
                await _until_one_ends(
                    [*jobs, self._watch(log), self._trim(log), _fail_when(lost), _true(stopping)],
                    self._note_started,
                )
            finally:
                self._log = self._client = None

    def _note_started(self) -> None:
        if not self._started.done():
            self._started.set_result(None)

    async def _own_server_jobs(
        self, stack: contextlib.AsyncExitStack, log: ReadingsLog, lost: asyncio.Event
    ) -> list[Coroutine[Any, Any, None]]:
        listener = await self._connect(stack, LISTENER_USER, lost)
        system = await self._connect(stack, SYSTEM_USER, lost)
        door = UnconfirmedDoor(log, self._app.clock)
        await door.open(listener)
        await self._apply_users()
        if self._app.settings.mqtt_plain and self._plain is None:
            self._plain = await self._open_plain()
            await self._apply_users()
        return [
            door.run(),
            self._follow_access(),
            self._tell_violations(system),
            self._watch_child(),
            self._watch_store(),
        ]

    async def _connect(self, stack: contextlib.AsyncExitStack, user: str, lost: asyncio.Event) -> Client:
        async def closed() -> None:
            lost.set()

        async def quiet(error: Exception) -> None:
            _LOG.debug("nats client", error=repr(error))

        how: dict[str, Any] = {"allow_reconnect": False, "max_reconnect_attempts": 0}
        how |= {"closed_cb": closed, "error_cb": quiet, "connect_timeout": 5}
        if self._server:
            how |= {"user": user, "password": self._server.options.password}
        url = self._server.url if self._server else self._app.settings.nats_url
        # The limit is ours as well: nats-py tries an address that refuses for minutes.
        client = Client()
        stack.push_async_callback(_close, client)
        async with asyncio.timeout(_CONNECT_S):
            await client.connect(url, pending_size=_PENDING_BYTES, **how)
        return client

    async def _first_wanted(self, log: ReadingsLog, wanted: int | None) -> int:
        if self._done is not None:
            return self._done + 1
        if wanted is not None:
            return wanted
        return int((await log.info()).state.last_seq) + 1

    # ------------------------------------------------------------------- jobs

    async def _take(self, sequence: int, data: bytes) -> None:
        """Give one message of the log to the sinks; try again for ever, since a reading must not be lost."""
        assert self._loop is not None
        delay_s = 0.5
        while True:
            try:
                await self._loop.run_in_executor(self._taking, self._take_now, sequence, data)
            except Exception as error:
                self._trouble = f"taking: {type(error).__name__}: {error}"
                _LOG.error("a batch could not be taken", sequence=sequence, error=repr(error))
                self._app.journal.write(
                    "server", "devices", "batch not taken", sequence=sequence, error=str(error)
                )
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, 10.0)
            else:
                if self._trouble.startswith("taking:"):
                    self._trouble = ""
                self._done = sequence
                return

    def _take_now(self, sequence: int, data: bytes) -> None:
        while not self._app.can_take():  # bounded by the pull's demand: the log keeps what comes meanwhile
            if self._stopping is not None and self._stopping.is_set():
                raise LimitReached("taking: stopped before the sinks had room")
            time.sleep(0.05)
        try:
            readings = unpack(data)
        except InvalidInput as error:  # not written by us; nothing in it can be a reading
            _LOG.error("a message of the log is no batch", sequence=sequence, error=str(error))
            return
        self._app.take(Batch(sequence, readings))
        self._taken += len(readings)
        TAKEN.inc(len(readings))
        newest = {reading.thing or reading.topic: reading for reading in readings}
        for name, reading in newest.items():
            self._last.pop(name, None)
            self._last[name] = {
                "topic": reading.topic,
                "payload": reading.payload[:_LAST_BYTES].decode(errors="replace"),
                "arrived": reading.arrived,
                "thing": reading.thing,
            }
        while len(self._last) > _MOST_LAST:
            self._last.popitem(last=False)

    async def _watch(self, log: ReadingsLog) -> None:
        before, at = self._taken, time.monotonic()
        while True:
            await asyncio.sleep(2.0)
            now = time.monotonic()
            self._rate, before, at = (self._taken - before) / (now - at), self._taken, now
            await log.clear()
            state = (await log.info()).state
            lag = max(0, state.last_seq - (self._done or state.last_seq)) if state.messages else 0
            LAG.set(lag)
            LOG_BYTES.set(state.bytes)
            oldest = await log.oldest_after(self._done, state)
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
                position = (self._done or 0) + 1
            keep_s = self._app.settings.stream_keep_days * 86_400
            await log.trim(position=position, keep_s=keep_s, now=time.time())
            await asyncio.sleep(15.0)

    async def _follow_access(self) -> None:
        """Tell the broker within half a second when things change, and each minute since certificates end by time."""
        known, looked, checked = -1, 0.0, time.monotonic()
        while True:
            revision = await asyncio.to_thread(self._app.access.revision)
            if revision != known or time.monotonic() - looked > 60:
                known, looked = revision, time.monotonic()
                await self._apply_users()
            if time.monotonic() - checked > 3600:
                checked = time.monotonic()
                if await asyncio.to_thread(self._server_certificate_renewed) and self._server:
                    self._server.reload()
            await asyncio.sleep(0.4)

    async def _apply_users(self) -> None:
        users = await asyncio.to_thread(self._app.access.users)
        self._app.access.forget_senders()
        if self._server and self._server.apply(users):
            _LOG.info("things changed", certificates=len(users))

    async def _tell_violations(self, system: Client) -> None:
        polled = 0.0
        while True:
            counts = self._violations.take()
            if counts:
                things = things_by_connection(await connections(system, closed=True))
                await asyncio.to_thread(self._violations.tell, counts, things)
            if time.monotonic() - polled > 5:
                polled = time.monotonic()
                there = things_by_connection(await connections(system))
                self._connected = {
                    name: list(there.values()).count(name) for name in sorted(set(there.values()))
                }
            await asyncio.sleep(0.5)

    async def _watch_child(self) -> None:
        assert self._server is not None
        while self._server.pid is not None:
            await asyncio.sleep(0.1)
        raise Interrupted("nats-server ended")

    async def _watch_store(self) -> None:
        """Start nats-server anew once there is room again: a write error leaves its stream closed until then."""
        assert self._server is not None
        while True:
            await asyncio.sleep(1.0)
            if not self._store_stuck:
                continue
            free = shutil.disk_usage(self._app.folder.path).free
            self._trouble = (
                f"the disk is full: {format_bytes(free)} free; readings are refused until there is room"
            )
            if free >= _ROOM_BYTES:
                self._store_stuck = False
                await asyncio.to_thread(self._server.stop)
                raise Interrupted("nats-server could not write; it is started anew")

    # ---------------------------------------------------------------- helpers

    def _options(self) -> ServerOptions:
        settings = self._app.settings
        port = settings.mqtt_port or free_port(settings.host)
        folder = self._app.folder.nats.absolute()
        end_stale(folder)  # before the look at the port, which it may hold
        check_port(settings.host, port)
        certificate, key, authority, _ = self._server_certificate()
        return ServerOptions(
            folder=folder,
            host=settings.host,
            mqtt_port=port,
            client_port=free_port(),
            password=new_password(),
            certificate=certificate,
            key=key,
            authority=authority,
            sync=settings.sync,
            stream_bytes=int(1.5 * settings.stream_max_gib * 1024**3),
            encryption_key=self._encryption_key() if settings.encrypt_streams else None,
        )

    def _encryption_key(self) -> str:
        chosen = self._app.settings.stream_key_file
        if chosen is None:
            return "k" + self._app.secrets.derive("jetstream at rest").hex()
        try:
            key = chosen.read_bytes().strip()
        except OSError as error:
            raise InvalidInput(
                f"stream_key_file: expected a readable file, got {chosen}: {error.strerror}"
            ) from error
        if len(key) < 16:
            raise InvalidInput(f"stream_key_file: expected 16 bytes or more, got {len(key)}")
        return "k" + key.hex()

    def _server_certificate(self) -> tuple[Any, Any, Any, bool]:
        settings = self._app.settings
        names = {"localhost", "127.0.0.1", "::1", socket.gethostname()}
        names |= {name.strip() for name in settings.mqtt_names.split(",") if name.strip()}
        if settings.host not in ("0.0.0.0", "::", ""):
            names.add(settings.host)
        return self._app.access.server_certificate(self._app.folder.nats.absolute(), names)

    def _server_certificate_renewed(self) -> bool:
        return self._server_certificate()[3]

    async def _open_plain(self) -> PlainDoor:
        access, settings = self._app.access, self._app.settings
        paths = await asyncio.to_thread(_local_credentials, access, self._app.folder)
        door = PlainDoor(
            port=settings.mqtt_plain_port,
            target_port=self.mqtt_port,
            certificate=paths["certificate"],
            key=paths["key"],
            authority=paths["authority"],
        )
        await door.open()
        return door

    def _on_line(self, level: str, text: str) -> None:
        if self._violations.note(text):
            return
        if any(words in text for words in _STORE_STUCK):
            self._store_stuck = True
        if level in ("ERR", "FTL", "WRN"):
            self._app.journal.write("server", "nats", text, level=level)
            _LOG.warning("nats-server", level=level, text=text)

    def _record_forbidden(self, thing: str, topic: str, count: int) -> None:
        self._app.access.record_forbidden(thing, topic, count=count)

    def _send_action(self, action: Mapping[str, Any], payload: bytes, reading: Reading) -> None:
        """Send what a rule says to a subject (`a.b`) or topic (`a/b`); to raise is to be asked again."""
        name = str(action["name"])
        self.publish_subject(subject_for(name) if "/" in name else name, payload)

    def _send_alert(self, channel: Mapping[str, Any], message: Message) -> Outcome:
        subject = channel.get("subject") or f"masthead.alerts.{message.event.detector}"
        try:
            self.publish_subject(subject, message.body)
        except (MastheadError, TimeoutError) as error:
            return Outcome(False, str(error))
        return Outcome(True, f"published to {subject}")

    def _call(self, work: Coroutine[Any, Any, None], *, timeout_s: float) -> None:
        assert self._loop is not None
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            future.result(timeout_s)
        except (TimeoutError, concurrent.futures.CancelledError, NatsError, OSError) as error:
            future.cancel()
            raise LimitReached("devices: the broker does not answer; try again") from error


def _local_credentials(access: AccessService, folder: DataFolder) -> dict[str, Any]:
    """Return the paths of the thing `local`, made or renewed when need be.

    It may do what any sensor may; whoever wants more through the plain door gives it other policies.
    """
    try:
        thing = access.get_thing(LOCAL)
    except NotFound:
        made = access.create_thing(LOCAL, _LOCAL_POLICIES)
    else:
        home = folder.things / LOCAL
        soon = {expiring.name for expiring in access.expiring()}
        if thing.name not in soon and (home / "private.key").exists():
            return {
                "certificate": home / "certificate.pem",
                "key": home / "private.key",
                "authority": home / "ca.pem",
            }
        made = access.renew_thing(LOCAL)
    return {"certificate": made.certificate_path, "key": made.key_path, "authority": made.authority_path}


async def _fail_when(lost: asyncio.Event) -> None:
    await lost.wait()
    raise Interrupted("connection lost")


async def _true(event: asyncio.Event) -> None:
    await event.wait()


async def _until_one_ends(jobs: Sequence[Coroutine[Any, Any, None]], begun: Callable[[], None]) -> None:
    """Run the jobs until one of them ends, end the others, and raise what the first one raised.

    Cancelled again until it ends: nats-py and Python 3.11's `wait_for` can swallow a cancellation that meets a
    result, and a task group would wait for such a job for ever.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    begun()
    try:
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pending = {task for task in tasks if not task.done()}
        while pending:
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.5)
    for task in done:
        task.result()


async def _close(client: Client) -> None:
    with contextlib.suppress(NatsError, OSError, TimeoutError):
        await client.close()
