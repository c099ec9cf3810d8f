"""The story itself: a product is started, told what to watch, fed over MQTT, and asked what it found."""

import contextlib
import itertools
import json
import signal
import socket
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from masthead.base.log import configure_logs
from masthead.base.telemetry import REGISTRY
from masthead.cli.demo import outcome
from masthead.cli.demo.folder import note, prepare
from masthead.cli.demo.listener import AlertListener, Received
from masthead.cli.demo.pace import HeldClock, Pipeline, play
from masthead.cli.demo.stories import ARTICLE_SEVERITY, Story, air, stations
from masthead.cli.demo.telling import Teller
from masthead.cli.installation import settings
from masthead.cli.output import print_json
from masthead.cli.publisher import Door, Publisher, acknowledged
from masthead.metrics.open_intervals import CLOCK_SLACK_S
from masthead.metrics.simulate import SimulatedReading
from masthead.server import Server

_LEARN_S = 60.0
_SETTLE_S = 30.0
_PORT, _AWS_PORT, _MQTT_PORT = 8400, 8401, 8883


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asked for; `factor` None is as fast as the readings can be used."""

    data: Path
    factor: float | None
    leave: bool
    as_json: bool
    port: int | None
    aws_port: int | None
    mqtt_port: int | None
    browser: bool
    chapters: tuple[str, ...] = ("air",)


def run(wishes: Wishes) -> bool:
    """Tell the story; return whether an alert of each planted anomaly arrived.

    Raises:
        Conflict: The folder is not a demonstration's, or is served already, or a chosen port is in use.
    """
    configure_logs(as_json=False, level="error")
    teller = Teller(silent=wishes.as_json)
    with _stoppable():
        removed = prepare(wishes.data)
        if removed:
            teller.say(f"{wishes.data} held an earlier demonstration; beginning anew.")
        try:
            return _run(wishes, teller)
        except KeyboardInterrupt:
            teller.say("Stopped before the end.")
            return False
        finally:
            note(wishes.data)


def _run(wishes: Wishes, teller: Teller) -> bool:
    began = time.monotonic()
    clock = HeldClock(time.time(), wishes.factor)
    chosen = settings(
        wishes.data,
        port=_port(wishes.port, _PORT, "console", teller),
        aws_port=_port(wishes.aws_port, _AWS_PORT, "the AWS wire API", teller),
        mqtt_port=_port(wishes.mqtt_port, _MQTT_PORT, "MQTT over TLS", teller),
    )
    server = Server(chosen, clock=clock)
    with contextlib.ExitStack() as stack:
        told = _Demonstration(server, clock, teller)
        stack.enter_context(told.listener)
        stack.enter_context(server)
        note(wishes.data)
        found: dict[str, Any] = {"ok": True}
        if "air" in wishes.chapters:
            told.greet()
            told.set_up()
            if wishes.browser and sys.stdout.isatty():
                webbrowser.open(told.link)
            told.feed()
            found = told.result(wishes, time.monotonic() - began)
            told.conclude(found)
        if "fraud" in wishes.chapters:
            found["fraud"] = told.payments(wishes)
            found["ok"] = found["ok"] and found["fraud"]["ok"]
        if wishes.as_json:
            print_json({**found, "seconds": round(time.monotonic() - began, 2)})
            sys.stdout.flush()
        if not wishes.leave:
            told.stay()
    return bool(found["ok"])


class _Demonstration:
    """A served product, its stories, and what the webhook heard."""

    def __init__(self, server: Server, clock: HeldClock, teller: Teller) -> None:
        self._server, self._clock, self._teller = server, clock, teller
        now = clock.time()
        self._stories = {story.name: story for story in (air(now), stations(now))}
        self.listener = AlertListener(self._heard)
        self._sent_at: dict[float, float] = {}
        self._told: set[str] = set()
        self._page = "/ui/groups"  # where the story that is told is seen on the console

    @property
    def url(self) -> str:
        """Return the console's address."""
        assert self._server.addresses is not None
        return self._server.addresses.url

    @property
    def link(self) -> str:
        """Return an address that opens the console once, within ten minutes, where the story is seen."""
        return leading_to(self._server.console_link(), self._page)

    # ------------------------------------------------------------------ before

    def greet(self) -> None:
        """Say where everything is."""
        addresses, say = self._server.addresses, self._teller.say
        assert addresses is not None
        say("Masthead: two days of air quality, from the sensor's reading to an alert.", style="bold")
        say(f"  console        {self.link}")
        say(f"  MQTT over TLS  {addresses.host}:{addresses.mqtt_port}   data {self._server.settings.data}")

    def set_up(self) -> None:
        """Make things, a delivery stream, a rule, alert rules and both detectors, and let these learn."""
        masthead = self._server.masthead
        for story in self._stories.values():
            for name in story.things:
                masthead.access.create_thing(name)
        masthead.streams.create_stream(
            {
                "name": "air",
                "destination": "s3://air/",
                "prefix": "!{timestamp:yyyyMMdd'/'HHmm}/",
                "error_prefix": "errors/!{firehose:error-output-type}/",
                "event_time": {
                    "column": "TIMESTAMP",
                    "format": "yyyy-MM-dd HH:mm",
                    "zone": "UTC",
                    "interval": "5m",
                },
            }
        )
        actions = [{"kind": "delivery_stream", "name": "air"}, {"kind": "detector", "name": "air"}]
        masthead.streams.create_rule(
            {"name": "air", "sql": "SELECT * FROM 'sensors/+/air'", "actions": actions}
        )
        self._watch(self._stories["air"], {"rule": "air"})
        self._watch(self._stories["stations"], {"topic": "sensors/+/hourly"})
        masthead.refresh()
        for story in self._stories.values():
            self._learned(story)

    def _watch(self, story: Story, source: dict[str, str]) -> None:
        """Make a story's detector and its alert rule, and let it begin to learn."""
        masthead = self._server.masthead
        history = (self._server.settings.data / "history" / f"{story.name}.jsonl").absolute()
        history.parent.mkdir(exist_ok=True)
        history.write_bytes(story.history)
        masthead.metrics.create_detector(story.detector(history, source))
        masthead.alerts.create_rule(
            {
                "name": story.name,
                "detector": story.name,
                "channel": {"kind": "webhook", "url": self.listener.url},
            }
        )
        masthead.metrics.activate(story.name)

    def _learned(self, story: Story) -> None:
        found = self._server.masthead.metrics.wait(story.name, _LEARN_S)
        rows = story.history.count(b"\n")
        self._teller.say(
            f"  detector {story.name:9} {found.state}: {', '.join(story.measures)} by {story.thing} "
            f"every {story.interval_s // 60} min, learned from {rows:,} earlier readings"
        )

    # ------------------------------------------------------------------ readings

    def feed(self) -> None:
        """Publish every live reading over MQTT, each thing with its own certificate, in the order of time."""
        steps = _steps(self._stories.values())
        first, total = self._stories["air"], sum(len(readings) for _, readings in steps)
        self._teller.say(
            f"Publishing {total} readings; what the file calls {first.original(_iso(first.readings[0].time_s))} is now."
        )
        with contextlib.ExitStack() as stack, self._teller.bar(total):
            doors = {
                name: stack.enter_context(Publisher(name, self._door(name)))
                for story in self._stories.values()
                for name in story.things
            }
            pipeline = Pipeline(_taken)

            def send(number: int) -> int:
                moment, readings = steps[number]
                self._sent_at[moment] = time.monotonic()
                acknowledged(
                    [
                        doors[reading.row[story.thing]].publish(
                            story.topic_of(reading.row), json.dumps(reading.row).encode()
                        )
                        for story, reading in readings
                    ]
                )
                self._teller.move(pipeline.sent, first.original(_iso(moment)))
                return len(readings)

            moments = [(moment, number) for number, (moment, _) in enumerate(steps)]
            play(moments, send, clock=self._clock, pipeline=pipeline)
        self._finish()

    def _finish(self) -> None:
        """Let the clock close the last intervals, and everything arrive."""
        masthead = self._server.masthead
        end_s = max(story.end_s for story in self._stories.values()) + CLOCK_SLACK_S + 1
        self._clock.until(end_s)
        self._clock.wait_for(end_s)
        deadline = time.monotonic() + _SETTLE_S
        while time.monotonic() < deadline:
            closed = all(
                (last := masthead.metrics.get_detector(story.name).last_interval) is not None
                and last.timestamp() >= story.end_s - story.interval_s
                for story in self._stories.values()
            )
            if closed and masthead.streams.flush() and not masthead.alerts.counts()["pending"]:
                break
            time.sleep(0.05)

    def _door(self, name: str) -> Door:
        addresses = self._server.addresses
        assert addresses is not None
        return Door.of(self._server.settings.data / "things" / name, port=addresses.mqtt_port)

    # ------------------------------------------------------------------ alerts

    def _heard(self, received: Received) -> None:
        """Say what the webhook has just been told."""
        told, payload = received.payload["masthead"], received.payload
        story = self._stories.get(told["detector"])
        if story is None or told["stage"] == "closed":
            return
        shares = payload["impactedMetric"]["dimensionContribution"]
        tops = [one["dimensionValueContributions"][0] for one in shares if one["dimensionValueContributions"]]
        parts = [f"{one['dimensionValue']} {one['valueContribution']:g} %" for one in tops]
        article = f" (the article's {ARTICLE_SEVERITY})" if story.name == "air" else ""
        value, expected = told["value"], told["expected"]
        what = (
            told["reason"]
            if value is None
            else f"{value:g}" + (f", expected {expected:.3g}" if expected is not None else "")
        )
        raised = "rose to " if told["group"] in self._told else ""
        self._told.add(told["group"])
        self._teller.say(
            f"  {story.original(told['start'])}  {payload['impactedMetric']['metricName']} {what}: "
            f"{raised}severity {payload['anomalyScore']:.0f}{article}, {', '.join(parts)}; "
            f"webhook {self._delay_s(story, received):.1f} s after the interval closed",
            style="yellow" if story.name == "air" else "cyan",
        )

    def _delay_s(self, story: Story, received: Received) -> float:
        """Return the real seconds from the reading that closed the interval to the alert."""
        start_s = outcome.epoch(received.payload["masthead"]["end"])
        closing = [at for moment, at in self._sent_at.items() if moment >= start_s + story.interval_s]
        return received.at - min(closing, default=received.at)

    # ------------------------------------------------------------------ after

    def result(self, wishes: Wishes, seconds: float) -> dict[str, Any]:
        """Return what happened, as JSON values."""
        heard: dict[str, Received] = {}
        for received in self.listener.received:
            heard.setdefault(received.payload["masthead"]["group"], received)
        found = outcome.gather(
            self._server.masthead,
            self._stories.values(),
            {
                group: self._delay_s(self._stories[one.payload["masthead"]["detector"]], one)
                for group, one in heard.items()
            },
        )
        return {
            **found,
            "speed": wishes.factor or "max",
            "seconds": round(seconds, 2),
            "webhooks": len(self.listener.received),
            "console": self.url,
            "data": str(self._server.settings.data),
        }

    def conclude(self, found: dict[str, Any]) -> None:
        """Say in a few lines how it ended."""
        say = self._teller.say
        for one in found["anomalies"]:
            word = "found and told" if one["alert_after_s"] is not None else "NOT told"
            say(
                f"{word}: {one['what']}, {one['original_start']} to {one['original_end'][-5:]}"
                + ("" if one["severity"] is None else f", severity {one['severity']:.0f}"),
                style="green" if word != "NOT told" else "red",
            )
        for one in found["stations"]:
            if one.get("what") and one["severity"] is not None:
                say(
                    f"also in the data: {one['what']}, {one['measure']} {one['original_start']} to "
                    f"{one['original_end'][-5:]}, severity {one['severity']:.0f}"
                )
        objects = found["objects"]
        others = [f"{group['measure']} {group['original_start']}" for group in found["other_groups"]]
        say(f"other groups at severity 70 or more: {', '.join(others) or 'none'}")
        say(
            f"{objects['published']} readings published by B-101, {objects['records']} in {objects['count']} objects "
            f"under s3://air/, {objects['errors']} in the error place; {found['seconds']:.0f} s in all"
        )

    def payments(self, wishes: Wishes) -> dict[str, Any]:
        """Tell the story of the payments, and return how it came out."""
        from masthead.cli.demo.payments import tell

        server = self._server
        self._clock.run_free()

        def show(path: str) -> None:
            self._page = path
            if wishes.browser and sys.stdout.isatty() and wishes.chapters == ("fraud",):
                webbrowser.open(self.link)
            self._teller.say(f"  console        {self.link}")

        return tell(server.masthead, server.settings.data / "fraud" / "demo", self._teller, show)

    def stay(self) -> None:
        """Serve on until Ctrl-C."""
        self._clock.run_free()
        self._teller.say(
            f"The console stays at {self.url}. Ctrl-C stops it; `masthead demo clean` removes {self._server.settings.data}."
        )
        self._teller.say(
            f"Sign in at {self.link} (once, within ten minutes); "
            f"`masthead console link --data {self._server.settings.data}` prints another."
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
        self._teller.say("Stopping.")


def leading_to(link: str, path: str) -> str:
    """Return a link to sign in that leads to a page; to the overview without one.

    >>> leading_to("http://h/ui/signin?link=abc", "/ui/fraud?space=s-1")
    'http://h/ui/signin?link=abc&next=/ui/fraud%3Fspace%3Ds-1'
    """
    return f"{link}&next={quote(path, safe='/')}" if link and path else link


Step = tuple[float, list[tuple[Story, SimulatedReading]]]


def _steps(stories: Any) -> list[Step]:
    """Return the readings of all stories by moment, in order."""
    timed = sorted(
        ((reading.time_s, story.name, place, story, reading))
        for story in stories
        for place, reading in enumerate(story.readings)
    )
    grouped = itertools.groupby(timed, key=lambda one: one[0])
    return [(moment, [(one[3], one[4]) for one in group]) for moment, group in grouped]


def _taken() -> int:
    return int(REGISTRY.get_sample_value("masthead_readings_taken_total") or 0)


def _iso(moment: float) -> str:
    return outcome.iso(moment)


def _port(chosen: int | None, usual: int, what: str, teller: Teller) -> int:
    """Return the port to use: the chosen one, the usual one, or a free one when that is in use."""
    if chosen is not None:
        return chosen
    for port in (usual, 0):
        with socket.socket(socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found = int(probe.getsockname()[1])
                if found != usual:
                    teller.say(f"Port {usual} is in use; {what} takes {found}.")
                return found
    return 0


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Let SIGTERM end the demonstration as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
