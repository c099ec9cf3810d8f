"""A deployed detector: what it answers is what the live one would have said, and neither disturbs the other."""

import contextlib
import csv
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from masthead.app import Masthead
from masthead.base.clock import ManualClock, utc
from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.base.settings import Settings
from masthead.learn.models import ModelFailure
from masthead.metrics import endpoint as room
from masthead.metrics.open_intervals import CLOCK_SLACK_S
from masthead.streams.readings import Batch, Reading

T0 = 1_700_000_100  # on a multiple of 300 s
SITES = ("north", "south", "west")
SPEC: dict[str, Any] = {
    "name": "air",
    "time": {"column": "t", "format": "epoch_s"},
    "measures": ["CO", {"name": "total", "column": "CO", "aggregation": "sum"}],
    "dimensions": ["at"],
    "source": {"kind": "stream", "topic": "air/#"},
}
Row = dict[str, Any]


@dataclass
class House:
    masthead: Masthead
    clock: ManualClock
    sequence: int = 0

    def watch(self, **changes: Any) -> None:
        """Make a detector and let it run."""
        self.masthead.metrics.create_detector({**SPEC, **changes})
        self.masthead.metrics.activate("air")
        self.masthead.metrics.wait("air")
        self.masthead.refresh()

    def feed(self, rows: Sequence[Row]) -> None:
        """Give readings to what runs, those of one time in one message."""
        for at, together in itertools.groupby(rows, key=lambda row: float(row.get("t", self.clock.time()))):
            self.sequence += 1
            self.clock.advance(max(0.0, at - self.clock.time()))
            now = self.clock.time()
            readings = tuple(Reading("air/x", json.dumps(row).encode(), now, "x") for row in together)
            self.masthead.take(Batch(self.sequence, readings))

    def close_until(self, step: int) -> None:
        """Let the clock close every interval before number `step`."""
        self.clock.advance(max(0.0, T0 + 300 * step + CLOCK_SLACK_S - self.clock.time()))
        self.masthead.metrics._runner._taken_at = None
        self.masthead.metrics._runner._began_at = -1e9
        self.masthead.tick(self.clock.time())

    def ask(self, rows: Sequence[Row], *, name: str = "air", **options: Any) -> list[Row]:
        body = json.dumps({"instances": rows}).encode()
        found: list[Row] = json.loads(self.masthead.endpoints.invoke(name, body, **options).body)[
            "predictions"
        ]
        return found


def rows(first: int, last: int, *, odd: int = -1) -> list[Row]:
    """Return the readings of three sites in some intervals; in `odd` the north leaps."""
    return [
        {
            "t": T0 + 300 * step,
            "CO": 400.0 if step == odd and place == 0 else float((7 * step + 3 * place) % 11),
            "at": at,
        }
        for step in range(first, last)
        for place, at in enumerate(SITES)
    ]


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[House]:
    clock = ManualClock(float(T0))
    with Masthead.open(Settings(data=folder), clock=clock) as masthead:
        masthead.start()
        yield House(masthead, clock)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with opened(tmp_path / "data") as found:
        yield found


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose detector has learned 150 intervals."""
    folder = tmp_path_factory.mktemp("learned") / "data"
    with opened(folder) as house:
        house.watch()
        house.feed(rows(0, 150))
        house.close_until(150)
    return folder


@pytest.fixture
def taught(learned: Path, tmp_path: Path) -> Iterator[House]:
    shutil.copytree(learned, tmp_path / "data")
    with opened(tmp_path / "data") as found:
        found.sequence = 1_000
        found.close_until(150)
        yield found


def failure(house: House, body: bytes, **options: Any) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        house.masthead.endpoints.invoke("air", body, **options)
    return caught.value


# --- the same as live ----------------------------------------------------------------------------------


def test_a_batch_is_answered_as_the_live_detector_judges_it_a_moment_later(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    new = rows(150, 160, odd=155)
    found = taught.ask(new)
    taught.feed(new)
    taught.close_until(160)
    live = {}
    for series in taught.masthead.metrics.series("air"):
        chart = taught.masthead.metrics.chart("air", series["measure"], series["dimensions"])
        for place, at in enumerate(chart.times):
            key = (at.isoformat(), series["measure"], series["dimensions"]["at"])
            live[key] = tuple(
                getattr(chart, name)[place] for name in ("values", "expected", "severity", "reason")
            )
    assert len(found) == 10 * 2 * 4  # ten intervals, two measures, three sites and their total
    for one in found:
        value, expected, severity, reason = live[one["time"], one["measure"], one["dimensions"]["at"]]
        assert (one["value"], one["expected"], one["reason"]) == (value, pytest.approx(expected), reason)
        assert one["severity"] == pytest.approx(float(severity), abs=0.006)
    worst = max(found, key=lambda one: one["severity"])
    assert (worst["dimensions"], worst["value"], worst["time"]) == (
        {"at": "north"},
        400.0,
        utc(T0 + 155 * 300).isoformat(),
    )
    assert worst["severity"] > 50


def test_the_same_call_gets_the_same_answer_and_the_live_detector_is_untouched(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    before = taught.masthead.metrics.get_detector("air").to_json()
    batch = rows(150, 155, odd=153)
    first = taught.ask(batch)
    assert taught.ask(rows(150, 400))  # teaches nothing
    assert taught.ask(batch) == first
    assert taught.masthead.metrics.get_detector("air").to_json() == before
    taught.feed(rows(150, 300))
    taught.close_until(300)
    assert taught.ask(batch) == first
    taught.masthead.metrics.deploy("air")
    assert taught.ask(batch) != first  # brought up to date


def test_each_series_is_judged_alone_whatever_else_the_batch_holds(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    whole = taught.ask(rows(150, 155, odd=152))
    north = [row for row in rows(150, 155, odd=152) if row["at"] == "north"]

    def of_north(found: list[Row]) -> list[Row]:
        return [one for one in found if one["dimensions"]["at"] == "north"]

    assert of_north(taught.ask(north)) == of_north(whole)
    assert {one["dimensions"]["at"] for one in taught.ask(north)} == {"north", "*"}


def test_the_order_of_rows_and_gaps_between_intervals_change_nothing_that_they_should_not(
    taught: House,
) -> None:
    taught.masthead.metrics.deploy("air")
    batch = rows(150, 155)
    assert taught.ask(batch[::-1]) == taught.ask(batch)
    far = taught.ask([batch[0], batch[0] | {"t": batch[0]["t"] + 300 * 2_000_000}])
    assert all(one["reason"] != "silence" for one in far)
    assert len(far) == 8


def test_an_unknown_series_is_answered_without_an_opinion(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    found = taught.ask([{"t": T0 + 150 * 300, "CO": 1e9, "at": "moon"}])
    moon = [one for one in found if one["dimensions"]["at"] == "moon"]
    assert [(one["severity"], one["expected"], one["reason"]) for one in moon] == [(0.0, None, "")] * 2


def test_a_stopped_detector_can_be_deployed_and_its_endpoint_outlives_it(taught: House) -> None:
    metrics = taught.masthead.metrics
    metrics.deploy("air")
    batch = rows(150, 152, odd=151)
    first = taught.ask(batch)
    metrics.deactivate("air")
    metrics.deploy("air", "air-2")
    assert taught.ask(batch, name="air-2") == first
    metrics.delete_detector("air")
    assert taught.ask(batch) == first
    taught.masthead.endpoints.delete("air")
    taught.masthead.endpoints.delete("air-2")
    assert [*taught.masthead.folder.models.iterdir()] == []


def test_another_process_deploys_what_the_log_holds(taught: House) -> None:
    with Masthead.open(taught.masthead.settings) as other:
        made = other.metrics.deploy("air")
    assert made.about["learned_until"] == utc(T0 + 150 * 300).isoformat()
    assert made.about["series"] == 8
    taught.masthead.metrics.deploy("air", "here")
    assert taught.ask(rows(150, 153)) == taught.ask(rows(150, 153), name="here")


def test_feedback_is_part_of_what_is_copied(taught: House) -> None:
    taught.feed(rows(150, 156, odd=152))
    taught.close_until(156)
    metrics = taught.masthead.metrics
    group = metrics.list_groups("air", min_severity=50).items[0]
    metrics.deploy("air", "before")
    metrics.give_feedback(group.id, is_anomaly=True)
    taught.masthead.tick(taught.clock.time())
    metrics.deploy("air", "after")
    again = rows(156, 280, odd=279)  # the last event no longer damps it
    after, before = (
        max(one["severity"] for one in taught.ask(again, name=name)) for name in ("after", "before")
    )
    assert after > before  # it counts as never seen, so its repeat is news


# --- what is refused -----------------------------------------------------------------------------------


def test_a_detector_that_has_learned_nothing_is_not_deployed(house: House) -> None:
    house.masthead.metrics.create_detector(SPEC)
    with pytest.raises(Conflict, match="has learned nothing yet"):
        house.masthead.metrics.deploy("air")
    with pytest.raises(NotFound):
        house.masthead.metrics.deploy("none")


def test_one_that_was_changed_since_is_not_deployed(taught: House) -> None:
    metrics = taught.masthead.metrics
    metrics.deactivate("air")
    for change in ({"interval": "1h"}, {"interval": "5m", "dimensions": []}):
        metrics.update_detector("air", change)
        with pytest.raises(Conflict, match="changed after it learned"):
            metrics.deploy("air")


def test_an_endpoint_of_another_detector_is_not_taken(taught: House) -> None:
    taught.masthead.metrics.deploy("air", "mine")
    taught.masthead.metrics.create_detector({**SPEC, "name": "water"})
    with pytest.raises(Conflict, match="mine serves detector air"):
        taught.masthead.metrics.deploy("water", "mine")
    with pytest.raises(InvalidInput, match="endpoint: expected"):
        taught.masthead.metrics.deploy("air", "not_mine")


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"t": "yesterday 4711", "CO": 1}, "instances[0].t: time is not epoch_s"),
        ({"CO": 1, "at": "north"}, "instances[0].t: time missing"),
        ({"t": T0, "CO": "4711x"}, "instances[0].CO: not a number"),
        ({"t": T0, "CO": 1e300}, "instances[0].CO: infinite or beyond 1e15"),
        ({"t": T0, "CO": {"deep": 4711}}, "instances[0].CO: not a number"),
        ({"t": T0, "C0": 4711}, "instances[0]: expected one of the columns CO"),
        ({"t": 1e300, "CO": 1}, "instances[0].t: time is not epoch_s"),
    ],
)
def test_readings_that_cannot_be_used_are_told_by_place_and_not_quoted(
    taught: House, reading: Row, message: str
) -> None:
    taught.masthead.metrics.deploy("air")
    told = failure(taught, json.dumps({"instances": [reading]}).encode())
    assert (told.status, told.reason) == (400, message)
    assert "4711" not in told.message


def test_a_batch_too_wide_to_score_at_once_is_refused(taught: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_MOST_CELLS", 79)
    taught.masthead.metrics.deploy("air")
    told = failure(taught, json.dumps(rows(150, 160)).encode())
    assert told.status == 400
    assert "send smaller batches" in told.reason
    monkeypatch.setattr(room, "_MOST_CELLS", 80)
    assert len(taught.ask(rows(150, 160))) == 80


def test_a_copy_of_another_version_says_what_to_do(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    [place] = taught.masthead.folder.models.iterdir()
    (place / "model.json").write_text("{}")
    told = failure(taught, b"[{}]")
    assert (told.status, "deploy the detector again" in told.reason) == (500, True)


# --- formats -------------------------------------------------------------------------------------------


def test_rows_come_and_go_as_json_lines_and_csv(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    batch = rows(150, 152, odd=151)
    expected = taught.ask(batch)
    lines = "".join(json.dumps(row) + "\n" for row in batch).encode()
    table = "t,CO,at\n" + "".join(f"{row['t']},{row['CO']},{row['at']}\n" for row in batch)
    endpoints = taught.masthead.endpoints
    found = endpoints.invoke(
        "air", lines, content_type="application/jsonlines", accept="application/jsonlines"
    )
    assert [json.loads(line) for line in found.body.splitlines()] == expected
    found = endpoints.invoke("air", table.encode(), content_type="text/csv", accept="text/csv")
    read = list(csv.DictReader(found.body.decode().splitlines()))
    assert list(read[0]) == ["time", "measure", "at", "value", "expected", "severity", "reason"]
    assert [(one["at"], float(one["severity"])) for one in read] == [
        (one["dimensions"]["at"], one["severity"]) for one in expected
    ]


def test_a_measure_without_a_value_gets_no_prediction(house: House) -> None:
    house.watch(measures=["CO", "SO2", {"name": "all", "column": "SO2", "aggregation": "sum"}], dimensions=[])
    house.feed([{"t": T0 + 300 * step, "CO": step % 5, "SO2": step % 7} for step in range(110)])
    house.close_until(110)
    house.masthead.metrics.deploy("air")
    found = house.ask([{"t": T0 + 110 * 300, "CO": 1}, {"t": T0 + 110 * 300, "CO": None, "SO2": None}])
    assert [(one["measure"], one["value"]) for one in found] == [("CO", 1.0)]


def test_an_explanation_adds_what_would_have_been_usual(taught: House) -> None:
    taught.masthead.metrics.deploy("air")
    plain, told = taught.ask(rows(150, 151)), taught.ask(rows(150, 151), explain=True)
    assert [{key: value for key, value in one.items() if key not in ("low", "high")} for one in told] == plain
    assert all(one["low"] <= one["expected"] <= one["high"] for one in told)


def test_readings_without_a_time_belong_to_the_interval_after_the_last(house: House) -> None:
    house.watch(time={}, dimensions=[], measures=["CO"])
    for step in range(120):
        house.clock.advance(max(0.0, T0 + 300 * step + 5 - house.clock.time()))
        house.feed([{"CO": float(step % 5)}])
    house.close_until(120)
    house.masthead.metrics.deploy("air")
    found = house.ask([{"CO": 2.0}, {"CO": 4.0}])
    assert [(one["time"], one["value"]) for one in found] == [(utc(T0 + 120 * 300).isoformat(), 3.0)]


def test_rows_that_the_filters_leave_out_are_not_answered(house: House) -> None:
    house.watch(filters={"at": ["north"]})
    house.feed(rows(0, 120))
    house.close_until(120)
    house.masthead.metrics.deploy("air")
    assert {one["dimensions"]["at"] for one in house.ask(rows(120, 121))} == {"north"}
    assert house.ask([{"t": T0, "CO": 1, "at": "south"}]) == []
