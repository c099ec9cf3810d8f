"""The broker that is ours: its options, what it is told of things, what its log tells, and its health."""

import asyncio
import contextlib
import shutil
import socket
import time
from collections.abc import Coroutine
from typing import Any

from nats.aio.client import Client

from masthead.access.service import AccessService
from masthead.base.errors import InvalidInput, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import get_logger
from masthead.base.units import format_bytes
from masthead.devices.doors import UnconfirmedDoor
from masthead.devices.jobs import connect
from masthead.devices.nats_config import LISTENER_USER, SYSTEM_USER, ServerOptions
from masthead.devices.nats_server import NatsServer, check_port, end_stale, free_port, new_password
from masthead.devices.plain import THING as LOCAL
from masthead.devices.plain import PlainDoor
from masthead.devices.product import Product
from masthead.devices.puller import Interrupted
from masthead.devices.readings_log import ReadingsLog
from masthead.devices.takeovers import Takeovers
from masthead.devices.telemetry import RESTARTS
from masthead.devices.violations import Violations, connections, things_by_connection

_LOG = get_logger("devices")
_ROOM_BYTES = 16 << 20  # two blocks of a stream
_STORE_STUCK = ("Critical write error", "out of resources")
_LOCAL_POLICIES = ("sensor", "alert-listener")


class OwnBroker:
    """nats-server as our child, with the things' doors.

    Attributes:
        server: The child process. plain: The door without TLS, once it is open.
        connected: Number of connections by thing. trouble: Why nothing is stored, or "".
    """

    def __init__(self, app: Product) -> None:
        """Prepare the broker of an installation.

        Raises:
            Conflict: The port of MQTT is in use. InvalidInput: `stream_key_file` cannot be used.
        """
        self._app = app
        self._violations = Violations(self._record_forbidden)
        self._takeovers = Takeovers(self._record_takeover)
        self._store_stuck = self._started = False
        self.plain: PlainDoor | None = None
        self.connected: dict[str, int] = {}
        self.trouble = ""
        self.server = NatsServer(self._options(), self._on_line)

    def start(self) -> None:
        """Start the child if it does not run. To be called in the thread whose end is the server's end.

        Raises:
            Conflict, LimitReached: It does not start.
        """
        if self.server.pid is not None:
            return
        if self._started:
            RESTARTS.inc()
        # The first time without things, until a consumer awaits their messages; later a durable one is there from
        # the start. Starting with the things spares a reload: one that comes while a device connects makes that
        # device wait 5 s (measured).
        prepared = self.server.prepared_path.exists()
        self.server.start(self._app.access.users() if prepared else [])
        self._started, self.trouble = True, ""

    async def close(self) -> None:
        """Close the doors and end the child."""
        if self.plain:
            await self.plain.close()
        self.server.stop()

    def note_reserved(self, thing: str | None, topic: str) -> None:
        """Tell the owner of a publish to a topic of the broker's own, which was not taken."""
        self._violations.note_reserved(thing, topic)

    async def connect(self, stack: contextlib.AsyncExitStack, user: str, lost: asyncio.Event) -> Client:
        """Return a client under one of our own names."""
        return await connect(stack, self.server.url, lost, user=user, password=self.server.options.password)

    async def jobs(
        self, stack: contextlib.AsyncExitStack, log: ReadingsLog, lost: asyncio.Event
    ) -> list[Coroutine[Any, Any, None]]:
        """Let things in; return the loops that serve them."""
        self.server.prepared_path.touch()
        listener = await self.connect(stack, LISTENER_USER, lost)
        system = await self.connect(stack, SYSTEM_USER, lost)
        door = UnconfirmedDoor(log, self._app.clock)
        await door.open(listener)
        await self.apply_users()
        if self._app.settings.mqtt_plain and self.plain is None:
            self.plain = await self._open_plain()
            await self.apply_users()
        return [
            door.run(),
            self._follow_access(),
            self._tell_owners(system),
            self._watch_child(),
            self._watch_store(),
        ]

    # ------------------------------------------------------------------- jobs

    async def _follow_access(self) -> None:
        """Tell the broker within half a second when things change, and each minute since certificates end by time."""
        known, looked, checked = -1, 0.0, time.monotonic()
        while True:
            revision = await asyncio.to_thread(self._app.access.revision)
            if revision != known or time.monotonic() - looked > 60:
                known, looked = revision, time.monotonic()
                await self.apply_users()
            if time.monotonic() - checked > 3600:
                checked = time.monotonic()
                if await asyncio.to_thread(self._server_certificate_renewed):
                    self.server.reload()
            await asyncio.sleep(0.4)

    async def apply_users(self) -> None:
        """Tell the broker which things there are; returns once it knows."""
        users = await asyncio.to_thread(self._app.access.users)
        self._app.access.forget_senders()
        if self.server.apply(users):
            _LOG.info("things changed", certificates=len(users))
        await asyncio.to_thread(self.server.await_reload)

    async def _tell_owners(self, system: Client) -> None:
        polled = 0.0
        while True:
            counts, ended = self._violations.take(), self._takeovers.take()
            things = things_by_connection(await connections(system, closed=True)) if counts or ended else {}
            if counts or self._violations.waits():
                await asyncio.to_thread(self._violations.tell, counts, things)
            if ended:
                await asyncio.to_thread(self._takeovers.tell, ended, things)
            if time.monotonic() - polled > 5:
                polled = time.monotonic()
                there = things_by_connection(await connections(system))
                self.connected = {
                    name: list(there.values()).count(name) for name in sorted(set(there.values()))
                }
            await asyncio.sleep(0.5)

    async def _watch_child(self) -> None:
        while self.server.pid is not None:
            await asyncio.sleep(0.1)
        raise Interrupted("nats-server ended")

    async def _watch_store(self) -> None:
        """Start nats-server anew once there is room again: a write error leaves its stream closed until then."""
        while True:
            await asyncio.sleep(1.0)
            if not self._store_stuck:
                continue
            free = shutil.disk_usage(self._app.folder.path).free
            self.trouble = (
                f"the disk is full: {format_bytes(free)} free; readings are refused until there is room"
            )
            if free >= _ROOM_BYTES:
                self._store_stuck = False
                await asyncio.to_thread(self.server.stop)
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
            target_port=self.server.options.mqtt_port,
            certificate=paths["certificate"],
            key=paths["key"],
            authority=paths["authority"],
        )
        await door.open()
        return door

    def _on_line(self, level: str, text: str) -> None:
        if self._violations.note(text):
            return
        self._takeovers.note(text)
        if any(words in text for words in _STORE_STUCK):
            self._store_stuck = True
        if level in ("ERR", "FTL", "WRN"):
            self._app.journal.write("server", "nats", text, level=level)
            _LOG.warning("nats-server", level=level, text=text)

    def _record_forbidden(self, thing: str, topic: str, count: int) -> None:
        self._app.access.record_forbidden(thing, topic, count=count)

    def _record_takeover(self, client_id: str, thing: str, other: str, count: int) -> None:
        self._app.access.record_takeover(client_id, thing, other, count=count)


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
