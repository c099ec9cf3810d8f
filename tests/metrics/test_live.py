"""One live detector: when intervals close, what is late, and what a restart must not change."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from masthead.alerts.events import AlertEvent
from masthead.base.clock import ManualClock, utc
from masthead.base.errors import LimitReached
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.metrics import records, results
from masthead.metrics.detection import cube_of
from masthead.metrics.intake import arrivals_of, selection_of
from masthead.metrics.live import Bounds, LiveDetector, Surroundings
from masthead.metrics.log import Entry, IntervalLog
from masthead.metrics.open_intervals import MOST_EMPTY, OpenIntervals
from masthead.metrics.records import Detector
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database
from masthead.store.objects import Objects

T0 = 1_700_000_100  # on a multiple of 300 s


@dataclass(frozen=True)
class Record:
    fields: dict[str, Any]
    arrived: float
    thing: str | None = "b-101"
    raw: bytes = b"{}"


class Alerts:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []

    def notify(self, connection: Connection, event: AlertEvent) -> int:
        self.events.append(event)
        return 1

    def wake(self) -> None:
        pass

    def delete_rules_of(self, connection: Connection, detector: str) -> int:
        return 0


def _spec(**changes: Any) -> DetectorSpec:
    plain = {
        "name": "air",
        "time": {"column": "t", "format": "epoch_s"},
        "measures": ["CO"],
        "dimensions": ["at"],
        "source": {"kind": "stream", "topic": "air/#"},
    }
    return DetectorSpec.from_json({**plain, **changes})


def _record(
    second: float, value: float = 1.0, at: str = "B-101", arrived: float | None = None, **more: Any
) -> Record:
    time = T0 + second
    return Record({"t": time, "CO": value, "at": at}, time if arrived is None else arrived, **more)


def _around(database: Database, folder: DataFolder, clock: ManualClock) -> Surroundings:
    return Surroundings(
        database,
        Objects(folder.objects),
        Alerts(),
        clock,
        Journal(folder.logs),
        folder,
        Bounds(),
        lambda: 0.0,
    )


@pytest.fixture
def around(database: Database, folder: DataFolder) -> Surroundings:
    return _around(database, folder, ManualClock(float(T0)))


def _open(around: Surroundings, spec: DetectorSpec | None = None) -> LiveDetector:
    now = utc(T0)
    row = Detector("air", "learning", "", spec or _spec(), now, now, run="run-1")
    with around.database.write() as connection:
        if records.find_detector(connection, "air") is None:
            records.put_detector(around.database, connection, row)
    return LiveDetector(row, around)


def _entries(around: Surroundings) -> list[Entry]:
    return list(IntervalLog(around.folder.metrics / "air" / "run-1" / "log").read())


def _closed(around: Surroundings) -> list[tuple[int, list[float]]]:
    found = [entry for entry in _entries(around) if entry.kind == "interval"]
    return [(entry.data["start"] - T0, entry.values.tolist()) for entry in found]


# --- closing by event time -----------------------------------------------------------------------------


def _decisions(spec: DetectorSpec, messages: Sequence[Sequence[Record]]) -> list[tuple[int, bytes]]:
    """Return (start, values) of every interval that event time closes."""
    cube = cube_of(spec)
    intervals, found = OpenIntervals(spec, cube), []
    for sequence, message in enumerate(messages, start=1):
        arrivals, _ = arrivals_of(message, selection_of(spec), spec, sequence=sequence, first=0)
        for start in intervals.add(arrivals):
            decision, used, dropped = cube.decide(start)
            intervals.closed(start, used, dropped)
            found.append((start, decision.values.tobytes()))
    return found


def test_an_interval_closes_before_the_reading_that_passes_its_end_and_delay_is_used() -> None:
    spec = _spec(delay_s=60)
    readings = [
        _record(10, 1.0),
        _record(310, 9.0),
        _record(359, 9.0),
        _record(20, 3.0),
        _record(360, 9.0),
        _record(30, 99.0),
    ]
    found = _decisions(spec, [[reading] for reading in readings])
    assert [(start - T0, np.frombuffer(values).tolist()) for start, values in found] == [(0, [2.0])]


@settings(max_examples=60, deadline=None)
@given(
    seconds=st.lists(st.integers(0, 3000), min_size=1, max_size=60),
    cuts=st.sets(st.integers(1, 59), max_size=10),
    delay_s=st.sampled_from([0, 120]),
)
def test_how_readings_were_cut_into_messages_changes_nothing(
    seconds: list[int], cuts: set[int], delay_s: int
) -> None:
    spec = _spec(delay_s=delay_s)
    readings = [
        _record(second, 1 / (place + 3), at=f"B-{second % 3}", arrived=T0 + 4000)
        for place, second in enumerate(seconds)
    ]
    places = [0, *sorted(cut for cut in cuts if cut < len(readings)), len(readings)]
    messages = [readings[a:b] for a, b in itertools.pairwise(places)]
    assert _decisions(spec, messages) == _decisions(spec, [[reading] for reading in readings])


def test_rows_older_than_the_first_one_are_not_late_before_anything_closed() -> None:
    found = _decisions(_spec(), [[_record(610), _record(10)], [_record(1300)]])
    assert [(start - T0) for start, _ in found] == [0, 300, 600, 900]


def test_a_hole_beyond_the_bound_is_jumped_over() -> None:
    far = 300 * (MOST_EMPTY + 50)
    found = _decisions(_spec(), [[_record(0)], [_record(far)], [_record(far + 300)]])
    assert [(start - T0) for start, _ in found] == [0, far]


def test_what_a_history_has_told_is_late_from_the_start() -> None:
    spec, cube = _spec(), cube_of(_spec())
    intervals = OpenIntervals(spec, cube, floor_s=T0 + 300)
    arrivals, _ = arrivals_of(
        [_record(0), _record(10), _record(320)], selection_of(spec), spec, sequence=1, first=0
    )
    assert list(intervals.add(arrivals)) == []
    assert (intervals.counts.late, intervals.next_s) == (2, T0 + 300)


def test_an_old_reading_opens_no_world_in_the_past() -> None:
    now, old = 400 * 86_400.0, _record(0, arrived=T0 + 400 * 86_400.0)
    spec, cube = _spec(), cube_of(_spec())
    intervals = OpenIntervals(spec, cube)
    messages = [[old], [_record(now), old], [old, _record(now - 300, arrived=T0 + now)]]
    for sequence, message in enumerate(messages, start=1):
        arrivals, _ = arrivals_of(message, selection_of(spec), spec, sequence=sequence, first=0)
        assert list(intervals.add(arrivals)) == []
    assert (intervals.counts.late, intervals.next_s) == (
        3,
        T0 + now - 300,
    )  # the second moves the beginning back


@pytest.mark.parametrize(("waited_s", "late"), [(990.0, 0), (991.0, 1)])
def test_a_first_reading_may_be_three_intervals_the_delay_and_the_slack_old(
    waited_s: float, late: int
) -> None:
    spec = _spec(delay_s=60)
    intervals = OpenIntervals(spec, cube_of(spec))
    arrivals, _ = arrivals_of(
        [_record(0, arrived=T0 + waited_s)], selection_of(spec), spec, sequence=1, first=0
    )
    assert list(intervals.add(arrivals)) == []
    assert (intervals.counts.late, intervals.next_s is None) == (late, bool(late))


# --- what is refused -----------------------------------------------------------------------------------


def test_a_clock_in_2038_does_not_close_the_world(around: Surroundings) -> None:
    live = _open(around)
    live.take(
        1, [_record(0), Record({"t": 2_147_483_000, "CO": 1.0, "at": "B-9"}, float(T0 + 1)), _record(20)]
    )
    live.take(2, [_record(301)])
    assert _closed(around) == [(0, [1.0])]
    assert dict(live.intervals.counts.refused) == {"time is more than one interval in the future": 1}


def test_what_cannot_be_used_lies_in_the_error_place_with_its_reason(around: Surroundings) -> None:
    live = _open(around)
    bad = [
        Record({"t": "yesterday", "CO": 1.0}, float(T0), raw=b"a"),
        Record({"CO": 1.0}, float(T0), raw=b"b"),
        Record({"t": T0, "CO": "high", "at": "B-101"}, float(T0), raw=b"c"),
        Record({}, float(T0), raw=b"no json"),
        Record({"t": T0, "CO": float("inf"), "at": "B-101"}, float(T0), raw=b"d"),
    ]
    live.take(7, [*bad, _record(1, 5.0)])
    live.take(8, [_record(300)])
    (info,) = around.objects.list("s3://errors/detectors/air/")
    lines = around.objects.get(info.uri).splitlines()
    assert len(lines) == 5
    assert b'"sequence":7' in lines[0]
    assert sum(live.intervals.counts.refused.values()) == 5
    assert _closed(around) == [(0, [5.0])]


def test_repeated_records_of_a_stream_count_once(around: Surroundings) -> None:
    live = _open(around)
    live.take(1, [_record(0, 2.0), _record(0, 2.0), _record(0, 2.0, thing="other"), _record(5, 8.0)])
    live.take(2, [_record(0, 2.0), _record(300)])
    assert _closed(around) == [(0, [4.0])]
    assert live.intervals.counts.duplicates == 2


# --- closing by clock ----------------------------------------------------------------------------------


def test_silence_shows_by_the_clock_alone(around: Surroundings) -> None:
    live = _open(around)
    live.take(1, [_record(0)])
    live.close_by_clock(T0 + 329.9)
    assert _closed(around) == []
    live.close_by_clock(T0 + 330)
    live.close_by_clock(T0 + 930)
    assert [start for start, _ in _closed(around)] == [0, 300, 600]


def test_a_silent_source_is_one_group(around: Surroundings) -> None:
    live = _open(around)
    for step in range(130):
        live.take(step + 1, [_record(300 * step, float(step % 7), at=f"B-{place}") for place in range(5)])
    live.close_by_clock(T0 + 300 * 140)
    events = [event for event in around.alerts.events if event.kind == "silence"]  # type: ignore[attr-defined]
    assert {event.group for event in events} == {events[0].group}
    assert events[0].stage == "open"
    assert events[0].value is None


# --- late, again, and after a restart --------------------------------------------------------------------


def test_late_readings_are_counted_by_thing_and_change_nothing(around: Surroundings) -> None:
    live = _open(around)
    live.take(1, [_record(0), _record(400)])
    live.take(2, [_record(10, 99.0), _record(20, 99.0, thing="slow")])
    live.take(3, [_record(700)])
    assert dict(live.intervals.counts.late_by_thing) == {"b-101": 1, "slow": 1}
    found = _entries(around)[-1].data["intervals"]["counts"]
    assert (found["late"], found["rows"]) == (2, 2)


def test_readings_given_again_after_a_restart_are_not_counted_twice(around: Surroundings) -> None:
    messages = [
        [_record(0), Record({}, float(T0))],
        [_record(100), _record(400)],
        [_record(10), _record(500), Record({}, float(T0))],
        [_record(900), _record(20)],
        [_record(1000), _record(1300)],
    ]
    live = _open(around)
    for sequence, message in enumerate(messages[:4], start=1):
        live.take(sequence, message)
    position = live.position()
    assert position is not None
    live.abandon()
    again = _open(around)
    assert again.position() == position
    for sequence in range(position, 6):
        again.take(sequence, messages[sequence - 1])
    counts = again.intervals.counts
    assert (counts.late, sum(counts.refused.values()), counts.rows) == (2, 2, 6)
    assert [start for start, _ in _closed(around)] == [0, 300, 600, 900]


def test_a_message_given_again_in_one_life_has_no_second_effect(around: Surroundings) -> None:
    live = _open(around)
    for message in ([_record(0)], [_record(10), _record(400)]):
        for sequence in (1, 2) if len(message) > 1 else (1,):
            live.take(sequence, message if sequence == 2 else [_record(0)])
    live.take(1, [_record(0)])
    live.take(3, [_record(800)])
    assert live.intervals.counts.late == 0
    assert live.intervals.counts.rows == 3


def test_readings_are_needed_from_the_oldest_open_interval_on(around: Surroundings) -> None:
    live = _open(around)
    assert live.position() is None
    live.take(5, [_record(0)])
    assert live.position() == 5
    live.take(6, [_record(290), _record(310)])
    live.take(7, [_record(320)])
    assert live.position() == 6
    live.abandon()
    assert _open(around).position() == 6


def test_a_full_disk_is_told_and_the_work_goes_on_where_it_stopped(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = _open(around)
    live.take(1, [_record(0)])

    def full(self: IntervalLog, entry: Entry) -> None:
        raise LimitReached("disk: no space left for the interval log; free some")

    message = [_record(100, 5.0), _record(310), _record(50, 9.0), _record(620)]
    with monkeypatch.context() as patched:
        patched.setattr(IntervalLog, "append", full)
        with pytest.raises(LimitReached):
            live.take(2, message)
        with pytest.raises(LimitReached):
            live.take(2, message)
    live.take(2, message)
    live.take(3, [_record(930)])
    assert _closed(around) == [(0, [3.0]), (300, [1.0]), (600, [1.0])]
    assert live.intervals.counts.late == 1


def test_feedback_is_learned_once_and_again_when_the_log_is_followed(around: Surroundings) -> None:
    def fed(live: LiveDetector, first: int, last: int) -> None:
        for step in range(first, last):
            value = 50.0 if step in (200, 330) else float(np.sin(step) + step % 5)
            live.take(step + 1, [_record(300 * step, value)])

    def severity(around: Surroundings) -> float:
        with around.database.read() as connection:
            _, found = results.find_results(
                connection, "run-1", 0, start_s=T0 + 300 * 330, end_s=1e12, limit=5
            )
        return float(found["severity"][0])

    live = _open(around)
    fed(live, 0, 202)
    word = records.Feedback(
        1, "g", "air", "CO", {"at": "B-101"}, 50.0, "value_never_seen", False, utc(T0), False
    )
    live.learn([word])
    live.abandon()
    live = _open(around)
    fed(live, 202, 332)
    assert severity(around) < 50


def test_snapshots_shorten_the_log_and_lose_nothing(around: Surroundings, tmp_path: Path) -> None:
    live = _open(around)
    for step in range(10):
        live.take(step + 1, [_record(300 * step, float(step))])
        if step in (3, 6):
            live.snapshot()
    assert min(entry.number for entry in _entries(around)) > 3
    last = live.detection.to_json()
    live.abandon()
    again = _open(around)
    assert again.detection.to_json() == last
    assert again.intervals.counts == live.intervals.counts
