"""Which events become one group, how long it lasts and what it tells."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.metrics.contributions import SeriesKey
from masthead.metrics.groups import Group, GroupChange, Grouper, IntervalResult, learning_points
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.timestamps import compile_pattern

START_S = 1_700_000_100.0
INTERVAL_S = 300


@dataclass(frozen=True)
class Point:
    """One series in one interval; severities 0 unless told."""

    value: float = 10.0
    severity: float = 0.0
    undamped: float | None = None
    reason: str = ""
    expected: float = 10.0
    count: int = 1
    seen: int = 1000


QUIET = Point()
SILENT = Point(value=float("nan"), severity=80, reason="silence")
MISSING = Point(value=float("nan"))


def spike(value: float = 20.0, severity: float = 80.0, **more: object) -> Point:
    return Point(value=value, severity=severity, reason="value_never_seen", **more)  # type: ignore[arg-type]


def lasting(value: float = 20.0, undamped: float = 60.0) -> Point:
    return Point(value=value, severity=10, undamped=undamped, reason="value_never_seen")


def result(start_s: float, points: Mapping[SeriesKey, Point], keys: Sequence[SeriesKey]) -> IntervalResult:
    row = [points.get(key, QUIET) for key in keys]
    return IntervalResult(
        start_s=start_s,
        keys=keys,
        values=np.array([p.value for p in row]),
        expected=np.array([p.expected for p in row]),
        severity=np.array([p.severity for p in row], np.float32),
        undamped=np.array([p.severity if p.undamped is None else p.undamped for p in row], np.float32),
        reasons=[p.reason for p in row],
        counts=np.array([p.count for p in row], np.int64),
        seen=np.array([p.seen for p in row], np.int64),
    )


@dataclass
class Watch:
    """Feeds intervals one after another and keeps what was told."""

    keys: list[SeriesKey]
    dimensions: tuple[str, ...] = ("LOCATION_ID",)
    aggregations: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, int]] = field(default_factory=list)
    last: dict[int, Group] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.grouper = Grouper(
            self.keys, INTERVAL_S, dimensions=self.dimensions, aggregations=self.aggregations
        )
        self.now_s = START_S - INTERVAL_S

    def close(self, points: Mapping[SeriesKey, Point] = {}, skip: int = 0) -> list[GroupChange]:
        self.now_s += INTERVAL_S * (1 + skip)
        changes = self.grouper.close_interval(self.now_s, result(self.now_s, points, list(self.keys)))
        self.told += [(change.kind, change.group.number) for change in changes]
        self.last.update((change.group.number, change.group) for change in changes)
        return changes


CO, SO2 = ("CO", ("B-101",)), ("SO2", ("B-101",))
A, B, C = ("CO", ("A",)), ("CO", ("B",)), ("CO", ("C",))


def test_a_second_lower_reading_extends_the_group_and_raises_nothing() -> None:
    watch = Watch([CO, SO2])
    watch.close({SO2: spike(120, 89, expected=65)})
    watch.close({SO2: lasting(125)})
    for _ in range(4):
        watch.close()
    assert watch.told == [("opened", 1), ("extended", 1), ("closed", 1)]
    group = watch.last[1]
    assert (group.start_s, group.end_s, group.severity) == (START_S, START_S + 300, 89)
    assert group.contributions == {"LOCATION_ID": {"B-101": 100.0}}
    assert (group.series[0].value, group.series[0].expected) == (120, 65)
    assert (group.state, group.confidence, group.causes) == ("closed", "full", ())


def test_measures_have_groups_of_their_own() -> None:
    watch = Watch([CO, SO2])
    watch.close({SO2: spike(), CO: spike()})
    assert watch.told == [("opened", 1), ("opened", 2)]
    assert [watch.last[n].measure for n in (1, 2)] == ["CO", "SO2"]


def test_a_value_under_the_bar_opens_nothing_and_a_lasting_one_alone_neither() -> None:
    watch = Watch([CO])
    watch.close({CO: spike(severity=49.9)})
    watch.close({CO: lasting(undamped=90)})
    assert watch.told == []


def test_an_event_ends_when_its_undamped_severity_falls_and_does_not_come_back_by_itself() -> None:
    watch = Watch([CO])
    watch.close({CO: spike()})
    watch.close()
    watch.close({CO: lasting()})
    assert watch.last[1].end_s == START_S


def test_a_missing_value_neither_ends_nor_extends_an_event() -> None:
    watch = Watch([CO])
    watch.close({CO: spike()})
    watch.close({CO: MISSING})
    assert watch.last[1].end_s == START_S
    watch.close({CO: lasting()})
    assert watch.last[1].end_s == START_S + 600


def test_a_group_closes_after_three_quiet_intervals_and_the_next_event_is_a_new_one() -> None:
    watch = Watch([CO])
    watch.close({CO: spike()})
    for _ in range(3):
        watch.close()
    assert watch.told[-1] == ("closed", 1)
    watch.close({CO: spike()})
    assert watch.told[-1] == ("opened", 2)


def test_an_event_after_two_quiet_intervals_belongs_to_the_same_group() -> None:
    watch = Watch([CO])
    watch.close({CO: spike(severity=80)})
    watch.close()
    watch.close()
    watch.close({CO: spike(severity=85)})
    assert watch.told == [("opened", 1), ("raised", 1)]


def test_series_of_one_measure_in_one_interval_are_one_group_whatever_their_dimensions() -> None:
    watch = Watch([A, B, C])
    watch.close({A: spike(), C: spike(severity=90)})
    assert watch.told == [("opened", 1)]
    assert [one.dimensions for one in watch.last[1].series] == [{"LOCATION_ID": "C"}, {"LOCATION_ID": "A"}]


def test_a_later_series_without_a_common_value_joins_only_while_the_event_lasts() -> None:
    watch = Watch([A, B])
    watch.close({A: spike()})
    watch.close({A: lasting(), B: spike(severity=70)})
    assert watch.told == [("opened", 1), ("extended", 1)]
    other = Watch([A, B])
    other.close({A: spike()})
    other.close({B: spike()})
    assert other.told == [("opened", 1), ("opened", 2)]


def test_a_later_series_with_a_common_value_joins_within_two_quiet_intervals() -> None:
    ax, ay, bz = ("m", ("a", "x")), ("m", ("a", "y")), ("m", ("b", "z"))
    watch = Watch([ax, ay, bz], dimensions=("city", "kind"))
    watch.close({ax: spike()})
    watch.close()
    watch.close()
    watch.close({ay: spike(), bz: spike()})
    assert watch.told == [("opened", 1), ("raised", 1)]
    assert watch.last[1].series_count == 3


def test_nothing_joins_a_group_that_began_long_ago() -> None:
    watch = Watch([A, B])
    watch.close({A: spike()})
    for _ in range(13):
        watch.close({A: lasting()})
    watch.close({A: lasting(), B: spike()})
    assert watch.told[-2:] == [("extended", 1), ("opened", 2)]


def test_breadth_counts_only_from_three_series_on() -> None:
    watch = Watch([A, B, C, ("CO", ("D",))])
    watch.close({A: spike(severity=80), B: spike(severity=60)})
    assert watch.last[1].severity == 80
    watch.close({A: lasting(), B: lasting(), C: spike(severity=60)})
    assert watch.told[-1] == ("raised", 1)
    assert watch.last[1].severity == 80 + 5 * 3 / 4


def test_severity_never_passes_one_hundred() -> None:
    watch = Watch([A, B, C])
    watch.close(dict.fromkeys((A, B, C), spike(severity=99.5)))
    assert watch.last[1].severity == 100


def test_a_roll_up_is_listed_but_contributions_come_from_leaves() -> None:
    leaf_a, leaf_b, total = ("m", ("a", "x")), ("m", ("b", "x")), ("m", ("*", "*"))
    watch = Watch([leaf_a, leaf_b, total], dimensions=("city", "kind"), aggregations={"m": "sum"})
    watch.close(
        {leaf_a: spike(40, expected=10), leaf_b: Point(20, expected=10), total: spike(60, expected=20)}
    )
    group = watch.last[1]
    assert group.series_count == 2
    assert group.series[0].dimensions == {"city": "a", "kind": "x"}
    assert group.contributions == {"city": {"a": 75.0, "b": 25.0}, "kind": {"x": 100.0}}


def test_averages_contribute_by_their_counts_and_sums_by_themselves() -> None:
    points = {A: spike(20, count=30), B: spike(20, count=10)}
    average = Watch([A, B], aggregations={"CO": "avg"})
    average.close(points)
    assert average.last[1].contributions == {"LOCATION_ID": {"A": 75.0, "B": 25.0}}
    total = Watch([A, B], aggregations={"CO": "sum"})
    total.close(points)
    assert total.last[1].contributions == {"LOCATION_ID": {"A": 50.0, "B": 50.0}}


def test_a_root_cause_comes_with_a_group_of_two_dimensions() -> None:
    keys: list[SeriesKey] = [("m", (f"c{i}", f"k{j}")) for i in range(8) for j in range(6)]
    watch = Watch(keys, dimensions=("city", "kind"), aggregations={"m": "sum"})
    rng = np.random.default_rng(1)
    points = {key: Point(100 + float(rng.normal()), expected=100) for key in keys}
    points |= {key: spike(30, 90, expected=100) for key in keys if key[1][0] == "c3"}
    watch.close(points)
    assert [cause["elements"] for cause in watch.last[1].causes] == [{"city": "c3"}]
    assert watch.last[1].causes[0]["share"] > 95


def test_silence_is_a_kind_of_its_own_and_lasts_until_data_come_back() -> None:
    watch = Watch([A, B])
    watch.close({A: SILENT})
    for _ in range(5):
        watch.close({A: MISSING})
    group = watch.last[1]
    assert (group.kind, group.reason, group.measure, group.end_s) == ("silence", "silence", "CO", watch.now_s)
    assert group.contributions == {"LOCATION_ID": {"A": 100.0}}
    for _ in range(3):
        watch.close()
    assert watch.told[-1] == ("closed", 1)


def test_a_silent_source_is_one_group_not_one_per_measure() -> None:
    watch = Watch([CO, SO2, A])
    for _ in range(3):
        watch.close(dict.fromkeys(watch.keys, MISSING))
    watch.close({CO: SILENT, SO2: SILENT, A: MISSING})
    watch.close({CO: MISSING, SO2: MISSING, A: SILENT})
    assert {number for _, number in watch.told} == {1}
    group = watch.last[1]
    assert (group.measure, group.reason, group.kind, group.series_count) == (
        "*",
        "source_silent",
        "silence",
        3,
    )


def test_one_silent_measure_is_not_a_silent_source() -> None:
    watch = Watch([CO, SO2])
    for _ in range(4):
        watch.close({CO: SILENT})
    assert watch.told[0] == ("opened", 1)
    assert (watch.last[1].measure, watch.last[1].reason) == ("CO", "silence")


def test_a_series_that_left_for_good_does_not_keep_its_group_open_for_ever() -> None:
    watch = Watch([A, B])
    watch.close({A: SILENT})
    for _ in range(1003):
        watch.close({A: MISSING})
    assert watch.told[-1] == ("closed", 1)


def test_a_flat_line_does_not_join_a_group_of_values() -> None:
    watch = Watch([A, B])
    watch.close({A: spike(), B: Point(severity=70, reason="flatline")})
    assert sorted(group.kind for group in watch.last.values()) == ["flatline", "value"]


def test_confidence_is_low_until_three_hundred_points_and_nothing_is_told_before_one_hundred() -> None:
    watch = Watch([A])
    watch.close({A: spike(seen=99)})
    assert watch.told == []
    watch.close({A: spike(seen=299)})
    assert watch.last[1].confidence == "low"
    watch.close({A: spike(severity=90, seen=300)})
    assert watch.last[1].confidence == "full"
    assert learning_points(86_400)[1] == 14


def test_a_jump_in_time_closes_what_was_open() -> None:
    watch = Watch([A])
    watch.close({A: spike()})
    watch.close({A: spike()}, skip=3)
    assert watch.told == [("opened", 1), ("closed", 1), ("opened", 2)]
    watch.close({A: spike(severity=85)}, skip=2)
    assert watch.told[-1] == ("raised", 2)


def test_a_day_of_twenty_three_hours_is_one_interval() -> None:
    grouper = Grouper([A], 86_400, dimensions=("LOCATION_ID",))
    grouper.close_interval(0, result(0, {A: spike()}, [A]))
    change = grouper.close_interval(82_800, result(82_800, {A: lasting()}, [A]))
    assert [one.kind for one in change] == ["extended"]


def test_without_an_interval_every_call_is_the_next_point() -> None:
    grouper = Grouper([A], 0, dimensions=("LOCATION_ID",))
    kinds = [
        [change.kind for change in grouper.close_interval(7.0, result(7.0, {A: point}, [A]))]
        for point in (spike(), lasting(), QUIET, QUIET, QUIET)
    ]
    assert kinds == [["opened"], ["extended"], [], [], ["closed"]]


def test_a_series_may_appear_later() -> None:
    watch = Watch([A])
    watch.close()
    watch.keys.append(B)
    watch.close({B: spike()})
    assert watch.last[1].contributions == {"LOCATION_ID": {"B": 100.0}}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Grouper([A], 300), "dimensions: expected names for 1 values"),
        (lambda: Grouper([], 300, 0), "open_at: expected a severity"),
        (lambda: Grouper([], -1), "interval_s: expected seconds"),
        (lambda: Grouper.from_json({"version": 99}), "version: expected 1"),
        (lambda: Grouper.from_json({"version": 1}), "state: expected"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidInput, match=message):
        call()


def test_time_must_rise_and_arrays_must_fit() -> None:
    watch = Watch([A])
    watch.close({A: spike()})
    with pytest.raises(InvalidInput, match="start_s: expected a time after"):
        watch.grouper.close_interval(START_S, result(START_S, {}, [A]))
    with pytest.raises(InvalidInput, match="keys: expected at least 1"):
        watch.grouper.close_interval(START_S + 300, result(START_S, {}, []))
    broken = result(START_S, {}, [A])
    with pytest.raises(InvalidInput, match="values: expected 2 entries"):
        watch.grouper.close_interval(
            START_S + 300,
            IntervalResult(**{**_fields(broken), "keys": [A, B]}),  # type: ignore[arg-type]
        )


def _fields(closed: IntervalResult) -> dict[str, object]:
    return {name: getattr(closed, name) for name in IntervalResult.__slots__}


KEYS: list[SeriesKey] = [
    (measure, (city, kind))
    for measure in ("m", "n")
    for city, kind in [("a", "x"), ("a", "y"), ("b", "x"), ("c", "z"), ("a", "*"), ("*", "x"), ("*", "*")]
]
points = st.builds(
    Point,
    value=st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6)),
    severity=st.one_of(st.just(0.0), st.floats(0, 100)),
    undamped=st.floats(0, 100),
    reason=st.sampled_from(["jump", "value_never_seen", "silence", "flatline"]),
    expected=st.floats(-1e6, 1e6),
    count=st.integers(0, 9),
    seen=st.integers(90, 310),
)
intervals = st.lists(
    st.tuples(st.integers(1, 3), st.dictionaries(st.sampled_from(KEYS), points, max_size=6)), max_size=25
)


def run(
    grouper: Grouper, steps: Sequence[tuple[int, Mapping[SeriesKey, Point]]], keys: list[SeriesKey]
) -> list[GroupChange]:
    now_s, told = grouper.to_json()["last_s"] or 0.0, []
    for passed, told_points in steps:
        now_s += passed * INTERVAL_S
        told += grouper.close_interval(now_s, result(now_s, told_points, keys))
    return told


def fresh(keys: list[SeriesKey]) -> Grouper:
    return Grouper(keys, INTERVAL_S, dimensions=("city", "kind"), aggregations={"m": "sum", "n": "avg"})


@given(intervals, st.permutations(KEYS))
@settings(max_examples=60, deadline=None)
def test_groups_do_not_depend_on_the_order_of_the_series(
    steps: list[tuple[int, dict[SeriesKey, Point]]], shuffled: list[SeriesKey]
) -> None:
    assert run(fresh(KEYS), steps, KEYS) == run(fresh(shuffled), steps, shuffled)


@given(intervals, intervals)
@settings(max_examples=60, deadline=None)
def test_a_state_written_and_read_goes_on_exactly_where_it_stood(
    before: list[tuple[int, dict[SeriesKey, Point]]], after: list[tuple[int, dict[SeriesKey, Point]]]
) -> None:
    grouper = fresh(KEYS)
    run(grouper, before, KEYS)
    twin = Grouper.from_json(json.loads(json.dumps(grouper.to_json(), allow_nan=False)))
    assert run(grouper, after, KEYS) == run(twin, after, KEYS)
    assert json.dumps(grouper.to_json()) == json.dumps(twin.to_json())


@given(intervals)
@settings(max_examples=60, deadline=None)
def test_every_story_opens_once_closes_at_most_once_and_sums_to_one_hundred(
    steps: list[tuple[int, dict[SeriesKey, Point]]],
) -> None:
    changes = run(fresh(KEYS), steps, KEYS)
    for number in {change.group.number for change in changes}:
        kinds = [change.kind for change in changes if change.group.number == number]
        assert kinds[0] == "opened"
        assert kinds.count("opened") == 1
        assert "closed" not in kinds[:-1]
        severities = [change.group.severity for change in changes if change.group.number == number]
        assert severities == sorted(severities)
    for change in changes:
        for values in change.group.contributions.values():
            assert sum(round(100 * percent) for percent in values.values()) == 10_000
        assert Group.from_json(json.loads(json.dumps(change.group.to_json()))) == change.group


def article_rows() -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Return the article's history and live rows."""
    folder = files("masthead") / "samples" / "air"
    history = (folder / "historic_data.json").read_text("utf-8-sig").splitlines()
    live = (folder / "live_data_sample.csv").read_text().splitlines()
    names = ("TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2")
    return [json.loads(line) for line in history if line], list(csv.DictReader(live, names))


def test_the_two_anomalies_planted_in_the_articles_file_are_two_groups() -> None:
    measures, times = ("CO", "SO2", "NO2"), compile_pattern("yyyy-MM-dd HH:mm")
    keys: list[SeriesKey] = [(measure, ("B-101",)) for measure in measures]
    scorer = SeriesScorer(series=3, interval_s=INTERVAL_S, silence=False)
    grouper = Grouper(keys, INTERVAL_S, dimensions=("LOCATION_ID",))
    history, live = article_rows()
    past = {times.parse(row["TIMESTAMP"]): [float(row[m]) for m in measures] for row in history}
    now = {times.parse(row["TIMESTAMP"]): [float(row[m]) for m in measures] for row in live}
    scorer.update_many(sorted(past), [past[at] for at in sorted(past)])
    told: dict[int, Group] = {}
    for at in sorted(now):
        severity = scorer.update(at, now[at])
        closed = IntervalResult(
            start_s=at,
            keys=keys,
            values=np.array(now[at]),
            expected=scorer.expected(),
            severity=severity,
            undamped=scorer.undamped(),
            reasons=scorer.reasons(),
            seen=scorer.seen(),
        )
        told |= {change.group.number: change.group for change in grouper.close_interval(at, closed)}
    found = [group for group in told.values() if group.severity >= 70]
    assert [(group.measure, times.format(group.start_s), times.format(group.end_s)) for group in found] == [
        ("SO2", "2022-03-24 23:30", "2022-03-24 23:35"),
        ("CO", "2022-03-24 23:45", "2022-03-24 23:50"),
    ]
    assert all(group.contributions == {"LOCATION_ID": {"B-101": 100.0}} for group in found)
    assert [group.series[0].value for group in found] == [120, 4.8]
