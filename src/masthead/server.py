"""`masthead serve`: one process that holds the data folder, opens the doors and does what time asks for.

    with Server(settings) as server:            # returns when every listener is up
        print(server.addresses.url)

Order of start: lock of the folder, ports of HTTP, database with its migrations, HTTP (so that `/healthz` answers),
devices and sinks. Order of stop: HTTP drains, readers stop, sinks write their snapshots, the broker ends.
"""

import asyncio
import contextlib
import importlib.util
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, cast

import orjson
import uvicorn
from fastapi import FastAPI
from prometheus_client import Counter, Gauge, ProcessCollector
from starlette.responses import RedirectResponse

from masthead.access.credentials import keep_credentials
from masthead.access.keys import NewKey
from masthead.api.doorkeeper import SIGN_IN
from masthead.api.factory import Runtime, create_api
from masthead.api.middleware import LOOPBACK
from masthead.app import Masthead
from masthead.aws.serving import listener_config
from masthead.base.addresses import read_networks
from masthead.base.clock import Beat, Clock, SystemClock, VirtualClock
from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.base.folder import ADDRESSES, DataFolder, write_atomic
from masthead.base.log import get_logger
from masthead.base.settings import Settings
from masthead.base.telemetry import REGISTRY
from masthead.devices.host import DeviceHost
from masthead.devices.product import Product
from masthead.store.archive import write_archive
from masthead.streams.readings import Batch

_TICK_S = 0.25
_LOOK_S = 0.5
_DRAIN_S = 5
_NOTE_S = 1.0
_REGION = "us-east-1"  # any will do: one Masthead is one place
_SHORT_SECRET = 20  # characters; a shorter secret is for one's own machine
_CLOCK = "clock"  # what a demonstration's clock showed last, epoch seconds
_LOG = get_logger("server")
_INSECURE = (
    "HTTP without TLS beyond this machine: signatures protect integrity, not secrecy; "
    "who sees the traffic reads all of it, with the keys that the API and the console are shown"
)
_TICK_ERRORS = Counter("masthead_tick_errors", "Ticks that failed; see the log.", registry=REGISTRY)
ProcessCollector(registry=REGISTRY)
_INFO = Gauge("masthead_info", "The running version.", ["version"], registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running server listens; a port is 0 when that door is not open."""

    url: str
    host: str
    port: int
    aws_port: int
    mqtt_port: int
    mqtt_plain_port: int
    data: str
    pid: int

    def to_json(self) -> dict[str, Any]:
        """Return the addresses as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate and key files of the HTTP port; both empty: issued by the installation's own authority."""

    certificate: str = ""
    key: str = ""


class Served(Masthead):
    """The product while it is served: readings and ticks take turns, so that a backup can hold both still."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self.turn = threading.RLock()
        super().__init__(settings, clock=clock)

    def take(self, batch: Batch) -> None:
        """Give a batch to every sink, in turn."""
        with self.turn:
            super().take(batch)

    def tick(self, now: float) -> None:
        """Do what is due, in turn."""
        with self.turn:
            super().tick(now)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Hold every sink still: nothing is taken or ticked inside."""
        with self.turn:
            yield


class Server:
    """One running installation. `start` returns when it is ready; `stop` when everything is at rest."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, tls: Tls | None = None) -> None:
        """Prepare a server.

        Raises:
            InvalidInput: The host is not loopback and neither TLS nor `insecure_http` was chosen, or a role, a trusted
                proxy or the preset key cannot be used.
        """
        self.settings, self._tls = settings, tls
        self.roles = settings.role_set
        read_networks(settings.trusted_proxies)
        if settings.host not in LOOPBACK and tls is None and not settings.insecure_http:
            raise InvalidInput(
                f"host: {settings.host} is not loopback; give --tls-cert and --tls-key, --tls auto, "
                "or --insecure-http if the network itself is safe"
            )
        self._preset = _checked_preset(settings)
        self._virtual = VirtualClock(_last_time(settings.data), 1.0) if settings.virtual_clock else None
        self._clock = clock or self._virtual or SystemClock()
        self._cleanup = contextlib.ExitStack()
        self._waiting = {"http": "starting"}
        self._resting = threading.Event()
        self._backing_up = threading.Lock()
        self._following = threading.Lock()
        self._token = secrets.token_urlsafe(32)
        self._masthead: Served | None = None
        self._devices: DeviceHost | None = None
        self._ticker: threading.Thread | None = None
        self._http: list[_Http] = []
        self._http_thread: threading.Thread | None = None
        self.addresses: Addresses | None = None
        self.first_key: NewKey | None = None

    @property
    def masthead(self) -> Masthead:
        """Return the product that is served.

        Raises:
            Conflict: The server does not run.
        """
        if self._masthead is None:
            raise Conflict("server: it does not run")
        return self._masthead

    def console_link(self) -> str:
        """Return an address that opens one session of the console within ten minutes; "" without a console.

        Raises:
            NotFound: No key that works has the policy `admin`.
            Conflict: The server does not run.
        """
        if "console" not in self.roles or self.addresses is None:
            return ""
        return f"{self.addresses.url}{SIGN_IN}?link={self.masthead.keys.make_link()}"

    # ------------------------------------------------------------------ life

    def start(self) -> Addresses:
        """Start everything and return the addresses once every listener is up.

        Raises:
            Conflict: The folder is served already, or a port is in use.
            LimitReached: The broker does not answer.
        """
        with self._cleanup:
            found = self._start(self._cleanup)
            self._cleanup = self._cleanup.pop_all()
        return found

    def stop(self) -> None:
        """Stop everything, in order."""
        self._cleanup.close()
        self._masthead = self._devices = self.addresses = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _start(self, stack: contextlib.ExitStack) -> Addresses:
        folder = DataFolder(self.settings.data)
        stack.enter_context(folder.lock())
        if self.settings.host not in LOOPBACK and self._tls is None:
            _LOG.warning(_INSECURE, host=self.settings.host)
        listener = stack.enter_context(_listen(self.settings.host, self.settings.port, "port"))
        wire = None
        if "aws" in self.roles:
            wire = stack.enter_context(_listen(self.settings.host, self.settings.aws_port, "aws_port"))
        self._masthead = masthead = Served.open(self.settings, clock=self._clock)
        stack.callback(masthead.close)
        self.first_key = masthead.keys.first_key(self._preset)
        _INFO.labels(version("masthead")).set(1)
        if "devices" in self.roles:
            self._devices = DeviceHost(cast(Product, masthead))
            self._waiting["devices"] = "starting"
        # What stops first is entered last, whatever starts first. The broker's process ends with the devices: what a
        # thing publishes from then on is not acknowledged, and what was acknowledged lies in its log.
        stack.callback(self._note_time)
        stack.callback(self._stop_ticker)
        stack.callback(self._stop_devices)
        stack.callback(self._stop_http)
        self._start_http(masthead, listener, wire)
        self._start_ticker(masthead)
        if self._devices is not None:
            self._devices.start()
            self._waiting["devices"] = ""
        self.addresses = found = self._addresses(_port(listener), _port(wire) if wire else 0)
        self._keep_credentials(masthead, found.aws_port or self.settings.aws_port)
        path = folder.path / ADDRESSES
        stack.callback(path.unlink, missing_ok=True)
        write_atomic(path, orjson.dumps({**found.to_json(), "token": self._token}), mode=0o600)
        masthead.journal.write("server", "serve", "ready", **found.to_json())
        return found

    def _keep_credentials(self, masthead: Served, aws_port: int) -> None:
        """Write the file by which AWS's clients find the key of a first start, or the preset one."""
        keep_credentials(
            masthead.folder.credentials,
            masthead.keys,
            self.first_key,
            region=self.settings.aws_region or _REGION,
            endpoint_url=f"{'https' if self._tls else 'http'}://{self._shown_host()}:{aws_port}",
        )

    def _start_ticker(self, masthead: Served) -> None:
        if self.roles & {"devices", "worker"}:
            self._waiting["sinks"] = "starting"
            masthead.start()
            self._ticker = threading.Thread(target=self._tick, args=(masthead,), name="ticker", daemon=True)
            self._ticker.start()
            self._waiting["sinks"] = ""

    def _stop_ticker(self) -> None:
        self._resting.set()
        if self._ticker is not None:
            self._ticker.join()

    def _stop_devices(self) -> None:
        if self._devices is not None:
            self._devices.stop()

    def _start_http(self, masthead: Served, listener: socket.socket, wire: socket.socket | None) -> None:
        """Open console, native API and AWS wire: two servers in one loop."""
        runtime = Runtime(
            ready=self._ready,
            devices=self._state,
            notes=lambda: [*(self._state() or {}).get("notes", []), *masthead.fraud.notes()],
            backup=self._backup,
            set_clock=self._move_clock if self._virtual else None,
            follow=self._follow_now,
            token=self._token,
        )
        console = "console" in self.roles
        native = "api" in self.roles
        api = create_api(masthead, host=self.settings.host, native=native, console=console, process=runtime)
        if console:
            _mount_console(api, masthead, self._devices)
        certificate, key = self._tls_files()
        config = uvicorn.Config(
            api,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_S,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        opened = [(_Http(config), listener)]
        if wire is not None:
            aws = listener_config(masthead, certificate=certificate, key=key, drain_s=_DRAIN_S)
            opened.append((_Http(aws), wire))
        self._http = [http for http, _ in opened]
        self._http_thread = thread = threading.Thread(
            target=_serve_all, args=(opened,), name="http", daemon=True
        )
        thread.start()
        while not all(http.started for http in self._http):
            if not thread.is_alive():
                raise LimitReached("http: the server did not start; its log says why")
            thread.join(0.01)
        self._waiting["http"] = ""

    def _stop_http(self) -> None:
        for http in self._http:
            http.should_exit = True
        if self._http_thread is not None:
            self._http_thread.join()

    # ------------------------------------------------------------------ inside

    def _tick(self, masthead: Served) -> None:
        """Do what time asks for, and follow what other processes change, until the server rests.

        Not ready from a failure on until all that was to be done has succeeded: a change that could not be followed
        is tried again at each tick.
        """
        known, ticks = masthead.database.version(), 0
        while not self._resting.wait(_TICK_S):
            ticks += 1
            look = bool(self._waiting["sinks"]) or ticks % round(_LOOK_S / _TICK_S) == 0
            try:
                masthead.tick(self._clock.time())
                if look and (seen := masthead.database.version()) != known:
                    self._follow()
                    known = seen
                if ticks % round(_NOTE_S / _TICK_S) == 0:
                    self._note_time()
                self._waiting["sinks"] = ""
            except Exception as error:
                _TICK_ERRORS.inc()
                trouble = f"{type(error).__name__}: {error}"
                if trouble != self._waiting["sinks"]:  # four lines a second would tell no more
                    _LOG.error("a tick failed", error=repr(error), exc_info=error)
                self._waiting["sinks"] = trouble

    def _follow(self) -> None:
        """Follow what other processes have changed. A server that runs no sinks reads the database each time anyway."""
        if self.roles & {"devices", "worker"}:
            with self._following:
                self.masthead.refresh()

    def _follow_now(self) -> None:
        """Follow what a command has changed before it returns: a thing that it made may connect at once."""
        self._follow()
        if self._devices is not None:
            self._devices.follow()

    def _move_clock(self, beat: Beat) -> float:
        """Let every server that follows this broker's beats go on as a beat says; return what the clock shows then.

        Raises:
            LimitReached: Readings wait to be taken, or the broker is away: the clock was not moved.
        """
        assert self._virtual is not None
        if self._devices is not None:
            self._devices.beat(beat)
        else:
            self._virtual.follow(beat)
        return self._virtual.time()

    def _note_time(self) -> None:
        """Write down what a demonstration's clock shows, so that time does not go back when the server starts again."""
        if self._virtual is not None and (shown := self._virtual.time()) > SystemClock().time() + 1:
            write_atomic(self.settings.data / _CLOCK, f"{shown}\n".encode())

    def _ready(self) -> dict[str, str]:
        parts = dict(self._waiting)
        state = self._state()
        if state is not None and not parts["devices"] and not state["running"]:
            parts["devices"] = state.get("trouble") or "the broker is away"
        return parts

    def _state(self) -> dict[str, Any] | None:
        return None if self._devices is None else self._devices.state()

    def _backup(self, path: str) -> dict[str, Any]:
        """Write an archive. Readings are stored meanwhile; the sinks hold still while their state is copied.

        The log's own files are not copied, since the broker writes to them: what the sinks have not settled is read
        from it instead, from the place where a restored installation will begin to read.
        """
        target, masthead = Path(path), self.masthead
        if not target.is_absolute():
            raise InvalidInput(f"path: expected an absolute path, got {path!r}")
        if self.settings.flows_url:
            raise InvalidInput("flows_url: a backup does not cover it; use the database's own tools")

        def unread(file: Path) -> int:
            first = masthead.position()
            return self._devices.write_unread(first, file) if self._devices and first is not None else 0

        with self._backing_up:
            found = write_archive(
                masthead.folder,
                target,
                version=version("masthead"),
                now=SystemClock().now(),
                still=cast(Served, masthead).still(),
                unread=unread,
                database=masthead.database if self.settings.database_url else None,
            )
        masthead.journal.write("server", "serve", "backup", path=path, **asdict(found))
        return asdict(found)

    def _shown_host(self) -> str:
        """Return the host as an address of this machine has it."""
        host = self.settings.host
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        return f"[{shown}]" if ":" in shown else shown

    def _addresses(self, port: int, aws_port: int) -> Addresses:
        scheme = "https" if self._tls else "http"
        return Addresses(
            url=f"{scheme}://{self._shown_host()}:{port}",
            host=self.settings.host,
            port=port,
            aws_port=aws_port,
            mqtt_port=self._devices.mqtt_port if self._devices else 0,
            mqtt_plain_port=(self._devices.plain_port or 0) if self._devices else 0,
            data=str(self.settings.data.absolute()),
            pid=os.getpid(),
        )

    def _tls_files(self) -> tuple[str | None, str | None]:
        if self._tls is None:
            return None, None
        if self._tls.certificate:
            return self._tls.certificate, self._tls.key
        names = {"localhost", "127.0.0.1", "::1", socket.gethostname(), self.settings.host} - {
            "0.0.0.0",
            "::",
        }
        folder = (self.settings.data / "https").absolute()
        certificate, key, _, _ = self.masthead.access.server_certificate(folder, names)
        return str(certificate), str(key)


class _Http(uvicorn.Server):
    """uvicorn without signal handlers of its own: it runs beside the main thread and stops when told."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _serve_all(opened: Sequence[tuple[_Http, socket.socket]]) -> None:
    """Run servers in one loop until each has stopped; when one ends, the others follow."""

    async def run() -> None:
        tasks = [asyncio.create_task(http.serve(sockets=[listener])) for http, listener in opened]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for http, _ in opened:
            http.should_exit = True
        await asyncio.gather(*tasks)

    with asyncio.Runner(loop_factory=opened[0][0].config.get_loop_factory()) as runner:
        runner.run(run())


def _port(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def serve(
    settings: Settings,
    *,
    tls: Tls | None = None,
    announce: Callable[[Addresses, NewKey | None, str], None] = lambda addresses, first_key, link: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then stop in order; a second signal ends the process at once.

    Raises:
        InvalidInput: A setting cannot be used.
        Conflict: The folder is served already, or a port is in use.
        LimitReached: The broker does not answer.
    """
    asked = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        asked.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    server = Server(settings, tls=tls)
    try:
        found = server.start()
        first = server.first_key
        announce(found, first, server.console_link() if first and not first.preset else "")
        server.first_key = None  # told once
        while not asked.wait(3600):
            pass
        _LOG.info("stopping")
    finally:
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def _checked_preset(settings: Settings) -> tuple[str, str] | None:
    """Return the preset key.

    Raises:
        InvalidInput: One half is missing, or the secret is too short for a host that others reach.
    """
    found = settings.preset_key
    if found and len(found[1]) < _SHORT_SECRET and settings.host not in LOOPBACK:
        raise InvalidInput(
            f"secret_access_key: expected at least {_SHORT_SECRET} characters where the host is not loopback, "
            f"got {len(found[1])}"
        )
    return found


def _last_time(data: Path) -> float:
    """Return the present, or what the folder's clock showed last when that is later."""
    now = SystemClock().time()
    try:
        return max(now, float((data / _CLOCK).read_text()))
    except (OSError, ValueError):
        return now


def _listen(host: str, port: int, setting: str) -> socket.socket:
    """Return a listening socket; `setting` names the port in an error.

    Raises:
        Conflict: The port is in use or may not be used; InvalidInput: The host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(2048)
    except socket.gaierror as error:
        listener.close()
        raise InvalidInput(f"host: expected an address of this machine, got {host!r}") from error
    except OSError as error:
        listener.close()
        raise Conflict(
            f"{setting}: cannot listen on {host}:{port}: {error.strerror}; "
            f"choose another with --{setting.replace('_', '-')}"
        ) from error
    return listener


def _mount_console(api: FastAPI, masthead: Masthead, devices: DeviceHost | None) -> None:
    if importlib.util.find_spec("masthead.console") is None:
        return
    from masthead.console.shell import PREFIX, mount

    @api.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/")

    mount(api, masthead, devices)
