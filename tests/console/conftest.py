"""One installation with real readings in it, served to one headless Chromium for all console tests."""

import csv
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import nicegui
import pytest
import uvicorn
from keyed import session_of
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from masthead.api.doorkeeper import cookie_name
from masthead.api.factory import create_api
from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.settings import Settings
from masthead.console.shell import mount
from masthead.streams.readings import Batch, Reading

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(
    timeout=15_000
)  # as long as for a click: a crowded machine takes 5 s to save, activate and draw
STEP = timedelta(minutes=5)
LATER = 24  # live rows kept back, for the tests that watch something arrive


class Door:
    """What the pages ask of the devices' door, told by hand: these tests run no broker."""

    def __init__(self) -> None:
        self.last: dict[str, dict[str, Any]] = {}
        self.rate_per_s = 12.4

    def state(self) -> dict[str, Any]:
        """Return figures as a running door has them."""
        return {
            "running": True,
            "mqtt_port": 8883,
            "plain_port": None,
            "external": None,
            "sync": "always",
            "nats_pid": 4711,
            "connected": {"B-101": 1},
            "taken": 576,
            "rate_per_s": self.rate_per_s,
            "blocked": "",
            "trouble": "",
            "lag_batches": 3,
            "log_bytes": 5_400_000,
            "log_messages": 1234,
            "log_first": 1,
            "log_last": 1234,
            "waiting_for_copy": 0,
            "refused": 0,
        }

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing."""
        return dict(self.last)


@dataclass
class World:
    """The installation under test, and the hand that feeds it."""

    masthead: Masthead
    door: Door
    folder: Path
    history: Path
    rows: list[tuple[datetime, dict[str, Any]]]
    clock: ManualClock
    url: str = ""
    received: list[bytes] = field(default_factory=list)
    hook: str = ""
    sequence: int = 0
    faults: list[Exception] = field(default_factory=list)

    def let_in(self, context: BrowserContext, *policies: str | tuple[str, object]) -> None:
        """Give a browser a session of a new key; by default one that may do everything."""
        token = session_of(self.masthead, policies or ("admin",))
        name = cookie_name(int(self.url.split(":")[2].partition("/")[0]))
        kept = {"name": name, "value": token, "url": self.url, "httpOnly": True, "sameSite": "Strict"}
        context.add_cookies([kept])

    def feed(self, count: int) -> None:
        """Give the next `count` live rows to the product, as one message of the log each."""
        now, self.rows = self.rows[:count], self.rows[count:]
        for at, row in now:
            self.sequence += 1
            self.clock.advance(max(0.0, at.timestamp() + 1 - self.clock.time()))
            reading = Reading("sensors/B-101/air", json.dumps(row).encode(), self.clock.time(), "B-101")
            self.masthead.take(Batch(self.sequence, (reading,)))
            self.door.last["B-101"] = {
                "topic": reading.topic,
                "payload": reading.payload.decode(),
                "arrived": reading.arrived,
                "thing": "B-101",
            }


def until(found: Callable[[], Any], *, within_s: float = 30.0) -> Any:
    """Return what `found` finds once it is true."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        if answer := found():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {within_s:g} s")


def shifted_samples(folder: Path) -> tuple[Path, list[tuple[datetime, dict[str, Any]]]]:
    """Return the published history as a file, and the live rows in order, both moved so that the last is now."""
    air = files("masthead.samples") / "air"
    history = [json.loads(line) for line in (air / "historic_data.json").read_text("utf-8-sig").splitlines()]
    names = ("TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2")
    live = [
        dict(zip(names, row, strict=True))
        for row in csv.reader((air / "live_data_sample.csv").read_text().splitlines())
    ]
    live.sort(key=lambda row: row["TIMESTAMP"])
    last = datetime.fromisoformat(live[-1]["TIMESTAMP"]).replace(tzinfo=UTC)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    move = now - timedelta(minutes=now.minute % 5) - last

    def moved(row: dict[str, Any]) -> tuple[datetime, dict[str, Any]]:
        at = datetime.fromisoformat(row["TIMESTAMP"]).replace(tzinfo=UTC) + move
        numbers = {name: float(row[name]) for name in names[2:]}
        return at, row | numbers | {"TIMESTAMP": at.strftime("%Y-%m-%d %H:%M")}

    path = folder / "history.json"
    path.write_text("".join(json.dumps(moved(row)[1]) + "\n" for row in history))
    return path, [moved(row) for row in live]


def air_detector(history: Path, name: str = "air") -> dict[str, Any]:
    """Return the specification of the article's detector."""
    return {
        "name": name,
        "interval": "5m",
        "dimensions": ["LOCATION_ID"],
        "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
        "measures": [{"name": each, "column": each, "aggregation": "avg"} for each in ("CO", "SO2", "NO2")],
        "source": {"kind": "stream", "topic": "sensors/+/air"},
        "history": {"paths": [str(history)]},
    }


def furnish(world: World) -> None:
    """Make one of everything through the services, and feed the article's readings."""
    masthead = world.masthead
    masthead.access.create_thing("B-101", ["sensor"], {"site": "north"})
    masthead.access.create_thing("B-102", ["sensor"], days=12)
    masthead.access.record_forbidden("B-102", "sensors/B-101/air", count=7)
    masthead.access.record_takeover("pump", "B-101", "B-102", count=41)
    masthead.access.create_policy(
        "north-only",
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Action": "iot:Publish",
                    "Resource": "arn:aws:iot:*:*:topic/north/${iot:Connection.Thing.ThingName}/*",
                }
            ],
        },
    )
    masthead.streams.create_stream(
        {
            "name": "air-to-objects",
            "destination": "s3://readings/",
            "prefix": "air/!{timestamp:yyyyMMdd}/!{timestamp:HHmm}/",
            "error_prefix": "errors/!{firehose:error-output-type}/",
            "buffer_s": 60,
            "buffer_mib": 5,
            "event_time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm", "interval": "5m"},
        }
    )
    masthead.streams.create_rule(
        {
            "name": "keep-air",
            "sql": "SELECT * FROM 'sensors/+/air'",
            "actions": [{"kind": "delivery_stream", "name": "air-to-objects"}],
        }
    )
    masthead.metrics.create_detector(air_detector(world.history))
    masthead.alerts.create_rule(
        {"name": "tell-the-night", "channel": {"kind": "webhook", "url": world.hook}, "detector": "air"}
    )
    masthead.metrics.activate("air")
    masthead.metrics.wait("air", 180)
    masthead.refresh()
    world.feed(len(world.rows) - LATER)
    until(lambda: masthead.metrics.list_groups("air").items)
    until(lambda: masthead.alerts.counts()["delivered"])


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everything, served."""
    folder = tmp_path_factory.mktemp("console")
    with serving(folder) as found:
        yield found


class serving:  # noqa: N801 - used as `with serving(folder) as world`
    """Serve a furnished installation in a folder."""

    def __init__(self, folder: Path, *, furnished: bool = True) -> None:
        self._folder, self._furnished = folder, furnished

    def __enter__(self) -> World:
        history, rows = shifted_samples(self._folder)
        clock = ManualClock(rows[0][0].timestamp())
        masthead = Masthead.open(Settings(data=self._folder / "data"), clock=clock)
        self.world = world = World(masthead, Door(), self._folder, history, rows, clock)
        self._hook = _hook(world)
        masthead.start()
        self._resting = threading.Event()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        self._ticking.start()
        if self._furnished:
            furnish(world)
        api = create_api(masthead, console=True)
        mount(api, masthead, world.door)
        nicegui.app.on_exception(world.faults.append)
        self._server = uvicorn.Server(
            uvicorn.Config(api, port=0, log_config=None, timeout_graceful_shutdown=2)
        )
        self._http = threading.Thread(target=self._server.run, daemon=True)
        self._http.start()
        until(lambda: self._server.started)
        world.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}/ui"
        return world

    def _tick(self) -> None:
        while not self._resting.wait(0.25):
            self.world.masthead.tick(self.world.clock.time())

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._http.join(10)
        self._resting.set()
        self._ticking.join()
        self._hook.shutdown()
        self._hook.server_close()
        self.world.masthead.close()


def _hook(world: World) -> ThreadingHTTPServer:
    """A webhook's receiver on loopback that keeps what it is told."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            world.received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    world.hook = f"http://127.0.0.1:{server.server_address[1]}/alerts"
    return server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium with a fresh profile."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("Chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield found
        found.close()


@dataclass
class Visit:
    """One page of the console in a browser, with everything that it asked for and complained of."""

    page: Page
    world: World
    requested: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str, heading: str) -> Page:
        """Open a page and wait for its heading."""
        self.page.goto(self.world.url + path)
        expect(self.page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        return self.page


@pytest.fixture(scope="session")
def context(browser: Browser, world: World) -> Iterator[BrowserContext]:
    found = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme="light")
    found.set_default_timeout(15_000)
    world.let_in(found)
    yield found
    found.close()


@pytest.fixture(scope="session")
def standing_tab(context: BrowserContext) -> Page:
    """The tab in which all pages are opened: a new one would be a new process that compiles all scripts again."""
    return context.new_page()


@pytest.fixture
def visit(standing_tab: Page, world: World) -> Iterator[Visit]:
    """Pages in one tab; at the end nothing may have left the machine and nothing may have gone wrong in them."""
    found = Visit(standing_tab, world)
    heard: dict[str, Callable[..., Any]] = {
        "request": lambda request: found.requested.append(request.url),
        "pageerror": lambda error: found.complaints.append(str(error)),
        "console": lambda line: found.complaints.append(line.text) if line.type == "error" else None,
    }
    for event, handler in heard.items():
        standing_tab.on(event, handler)  # type: ignore[call-overload]
    yield found
    for event, handler in heard.items():
        standing_tab.remove_listener(event, handler)
    away = [
        url
        for url in found.requested
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:"))
    ]
    assert away == []
    assert found.complaints == []
    assert world.faults == []
