"""Detectors that read folders of objects: who fills these, when they are read, and what comes too late."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from fresh import fresh

from masthead.app import Masthead
from masthead.base.clock import ManualClock, utc
from masthead.base.settings import Settings
from masthead.metrics.feeds import feeding
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.validation import Finding
from masthead.streams.feeds import feed_of
from masthead.streams.readings import Batch, Reading
from masthead.streams.records import DeliveryStream

T0 = 1_648_164_600  # 2022-03-24T23:30Z
EVENT_TIME = {"column": "t", "format": "epoch_s", "interval": "5m"}
STREAM: dict[str, Any] = {
    "name": "lake",
    "destination": "s3://air/",
    "prefix": "in/!{timestamp:yyyyMMdd'/'HHmm}/",
    "error_prefix": "bad/!{firehose:error-output-type}/",
    "buffer_s": 60,
    "buffer_mib": 1,
}
DETECTOR: dict[str, Any] = {
    "name": "air",
    "time": {"column": "t", "format": "epoch_s"},
    "measures": ["CO"],
    "dimensions": ["at"],
    "source": {"kind": "path", "template": "s3://air/in/{{yyyyMMdd}}/{{HHmm}}"},
}
RULE = {
    "name": "all",
    "sql": "SELECT * FROM 'air/#'",
    "actions": [{"kind": "delivery_stream", "name": "lake"}],
}


@dataclass
class Product:
    """The whole product over one folder, and a clock that is turned by hand."""

    masthead: Masthead
    clock: ManualClock
    sequence: int = 0

    def send(self, *stamps: float, co: float = 2.0) -> None:
        self.sequence += 1
        at = self.clock.time()
        payloads = [orjson.dumps({"t": stamp, "CO": co, "at": "B-101"}) for stamp in stamps]
        self.masthead.take(
            Batch(self.sequence, tuple(Reading("air/b", each, at, "b-101") for each in payloads))
        )

    def wait(self, seconds: float, step: float = 1.0) -> None:
        """Let time go by, as the server does: a tick each `step`."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            self.masthead.tick(self.clock.time())

    def watch(self, **changes: Any) -> None:
        metrics = self.masthead.metrics
        metrics.create_detector({**DETECTOR, **changes})
        metrics.activate("air")
        metrics.wait("air")
        self.masthead.refresh()
        self.masthead.tick(self.clock.time())

    def findings(self, **changes: Any) -> list[Finding]:
        found = self.masthead.metrics.validate({**DETECTOR, **changes}).findings
        return [finding for finding in found if finding.field == "source.template"]

    def put(self, folder: str, name: str, *stamps: float) -> None:
        lines = b"\n".join(orjson.dumps({"t": stamp, "CO": 2, "at": "B-101"}) for stamp in stamps)
        self.masthead.objects.put(f"s3://air/in/{folder}/{name}.json", lines)

    @property
    def values(self) -> list[float | None]:
        chart = self.masthead.metrics.chart("air", "CO", {"at": "B-101"})
        return list(chart.values)

    @property
    def last(self) -> float | None:
        found = self.masthead.metrics.get_detector("air").last_interval
        return None if found is None else found.timestamp()

    @property
    def late(self) -> int:
        return self.masthead.metrics.get_detector("air").late


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    clock = ManualClock(float(T0))
    with Masthead.open(Settings(data=fresh(tmp_path / "data")), clock=clock) as masthead:
        masthead.start()
        yield Product(masthead, clock)


# --- folders that nobody opens ---------------------------------------------------------------------------


def test_folders_named_after_the_minute_of_arrival_are_warned_of(product: Product) -> None:
    product.masthead.streams.create_stream(STREAM)
    named, *_ = product.findings()
    assert named.level == "warning"
    assert "lake names folders after the minute in which records arrive" in named.message
    assert "288 of the 1,440 minutes" in named.message
    assert 'event_time = { column = "t", format = "epoch_s", zone = "UTC", interval = "5m" }' in named.action


def test_the_files_themselves_show_that_rows_lie_where_nobody_looks(product: Product) -> None:
    for minute in range(5):  # the article's buffers: 60 s each, in a folder named by arrival
        product.put(f"20220324/233{minute}", "a", T0 + 60 * minute)
    (found,) = product.findings()
    assert (found.level, found.message.partition(",")[0]) == (
        "warning",
        "4 of 5 rows lie in another folder than that of their interval",
    )
    assert (
        "s3://air/in/20220324/2331/a.json holds rows that are looked for in s3://air/in/20220324/2330/"
        in (found.message)
    )
    assert "event_time" in found.action
    assert product.findings(mode="backtest") == []


def test_the_articles_delivery_stream_is_seen_through_end_to_end(product: Product) -> None:
    product.masthead.streams.create_stream(STREAM)  # 60 s buffers, folders named HHmm by arrival
    product.masthead.streams.create_rule(RULE)
    product.watch()
    for minute in range(15):
        product.send(T0 + 60 * minute + 1)
        product.wait(60, step=10)
    product.wait(120, step=10)
    assert product.masthead.metrics.get_detector("air").last_interval is not None
    assert product.values.count(None) < len(product.values)
    by_stream, by_files = product.findings()
    assert "288 of the 1,440 minutes" in by_stream.message
    assert "12 of 15 rows lie in another folder than that of their interval" in by_files.message


def test_a_stream_by_event_time_is_the_folders_right_source(product: Product) -> None:
    product.masthead.streams.create_stream({**STREAM, "event_time": EVENT_TIME})
    for step in range(3):
        product.put(f"20220324/23{30 + 5 * step}", "a", T0 + 300 * step, T0 + 300 * step + 299)
    (found,) = product.findings()
    assert (found.level, found.action) == ("info", "")
    assert "tells when an interval is complete" in found.message


@pytest.mark.parametrize(
    ("stream", "share"),
    [({"interval": "10m"}, "720 of the 1,440"), ({"zone": "Europe/Rome"}, "0 of the 1,440")],
)
def test_another_interval_or_zone_of_the_stream_is_warned_of(
    product: Product, stream: dict[str, str], share: str
) -> None:
    product.masthead.streams.create_stream({**STREAM, "event_time": {**EVENT_TIME, **stream}})
    found, *_ = product.findings()
    assert (found.level, found.action) == ("warning", 'set interval = "5m" and zone = "UTC" in both')
    assert share in found.message


@pytest.mark.parametrize(
    ("template", "prefix", "feeds"),
    [
        ("s3://air/in/{{yyyyMMdd}}/{{HHmm}}", "in/!{timestamp:yyyyMMdd/HHmm}/", True),
        ("s3://air/in/{{yyyyMMdd}}/{{HHmm}}/", "in/!{timestamp:yyyyMMdd/HHmm}/co/", True),
        ("s3://air/in/{{yyyyMMdd'/'HHmm}}", "in/!{timestamp:yyyyMMdd/HHmm}/", True),
        ("s3://air/in/{{yyyy-MMM-dd}}", "in/!{timestamp:yyyy-MMM-dd}/", True),
        ("s3://air/in/{{yyyyMMdd}}/{{HHmm}}", "in/!{timestamp:yyyyMMdd}/", False),
        ("s3://air/in/{{yyyyMMdd}}/{{HHmm}}", "out/!{timestamp:yyyyMMdd/HHmm}/", False),
        ("s3://water/in/{{yyyyMMdd}}/{{HHmm}}", "in/!{timestamp:yyyyMMdd/HHmm}/", False),
        ("s3://air/{{yyyy}}/{{MM}}/{{dd}}/{{HH}}", "", True),
    ],
)
def test_a_stream_feeds_a_template_when_its_folders_have_that_shape(
    template: str, prefix: str, feeds: bool
) -> None:
    spec = DetectorSpec.from_json({**DETECTOR, "source": {"kind": "path", "template": template}})
    feed = feed_of(DeliveryStream.from_json({**STREAM, "prefix": prefix}))
    assert bool(feeding(spec, [feed])) is feeds


# --- when a folder is read ---------------------------------------------------------------------------------


def test_a_sealed_interval_is_read_at_once_and_whole(product: Product) -> None:
    product.masthead.streams.create_stream({**STREAM, "event_time": EVENT_TIME})
    product.masthead.streams.create_rule(RULE)
    product.watch()
    for step in range(6):
        for second in (0, 100, 200, 295):
            product.send(T0 + 300 * step + second, co=step)
            product.wait(100 if second < 200 else 5 if second == 295 else 95)
        assert product.last == (T0 + 300 * (step - 1) if step else None)
    product.send(T0 + 1800)
    product.wait(1)
    assert product.last == T0 + 1500
    assert product.values == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert product.late == 0


def test_a_detectors_delay_also_delays_the_seal(product: Product) -> None:
    product.masthead.streams.create_stream({**STREAM, "event_time": EVENT_TIME})
    product.masthead.streams.create_rule(RULE)
    product.watch(delay_s=60)
    product.send(T0, co=1)
    product.wait(310)
    product.send(T0 + 310)
    product.send(T0 + 200, co=5)  # comes 110 s after it happened
    product.wait(49)
    assert product.last is None
    product.wait(2)
    product.send(T0 + 361)
    product.wait(1)
    assert (product.last, product.values, product.late) == (T0, [3.0], 0)


def test_without_a_seal_a_folder_is_read_when_its_buffers_are_surely_put(product: Product) -> None:
    product.masthead.streams.create_stream({**STREAM, "event_time": EVENT_TIME})
    product.masthead.streams.create_rule(RULE)
    product.watch()
    product.wait(290)
    product.send(T0 + 290)  # the last reading there ever is: put 50 s after the interval's end
    product.wait(99)
    assert product.last is None
    product.wait(2)
    assert (product.last, product.values) == (T0, [2.0])


# --- files that come too late -------------------------------------------------------------------------------


def test_files_of_the_last_day_that_come_late_are_counted_once(product: Product) -> None:
    product.watch()
    product.wait(40 * 300, step=60)
    product.put("20220324/2330", "late", T0, T0 + 1)
    product.wait(60, step=60)
    product.put("20220325/0010", "late", T0 + 2400)
    product.wait(600, step=60)
    assert product.late == 3
    product.wait(25 * 3600, step=60)
    product.put("20220324/2330", "later", T0)  # older than a day: nobody looks there any more
    product.wait(600, step=60)
    assert product.late == 3


def test_folders_beside_each_other_take_turns(product: Product) -> None:
    product.watch(source={"kind": "path", "template": "s3://air/in/{{yyyyMMddHHmm}}"}, interval="1m")
    product.wait(250 * 60, step=60)
    for minute in (0, 120, 240):
        at = T0 + 60 * minute
        product.put(f"{utc(at):%Y%m%d%H%M}", "late", at)
    product.wait(300, step=60)
    assert product.late == 3


@pytest.mark.parametrize("clean", [True, False])  # from a snapshot, and from the log alone
def test_what_was_counted_late_is_not_counted_again_after_a_restart(product: Product, clean: bool) -> None:
    product.watch()
    product.wait(10 * 300, step=60)
    product.put("20220324/2330", "late", T0)
    product.wait(360, step=60)
    assert product.late == 1
    if clean:
        product.masthead.metrics.close()
    with Masthead.open(product.masthead.settings, clock=product.clock) as again:
        again.start()
        second = Product(again, product.clock)
        second.wait(900, step=60)
        second.put("20220324/2335", "late", T0 + 300)
        second.wait(400, step=60)
        assert second.late == 2


# --- a detector that reads a rule ----------------------------------------------------------------------------


def test_a_detector_reads_a_rule_that_does_not_name_it(product: Product) -> None:
    rule = {"name": "high", "sql": "SELECT t, CO * 2 AS CO, at FROM 'air/#' WHERE CO > 1"}
    product.masthead.streams.create_rule(rule)
    product.watch(source={"kind": "stream", "rule": "high"})
    product.send(T0 + 1, T0 + 2, co=1.0)
    product.send(T0 + 3, co=3.0)
    product.wait(300)
    product.send(T0 + 300, co=9.0)
    product.wait(3)
    assert product.values == [6.0]
