"""Generated and replayed readings, and the anomalies planted in them."""

import itertools
import json
import math
import statistics
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.metrics.injections import KINDS, Injection, Injector, parse_injection
from masthead.metrics.simulate import SimulatedReading, Simulation, generate, planted, replay
from masthead.metrics.timestamps import compile_pattern

START_S = 1_700_006_400.0  # a Wednesday, 00:00 UTC
TIMES = compile_pattern("yyyy-MM-dd HH:mm")


def simulation(*injections: str, sensors: int = 1, intervals: int = 300, **more: object) -> Simulation:
    return Simulation(
        sensors=sensors,
        start_s=START_S,
        intervals=intervals,
        seed=7,
        dropout=0,
        injections=[parse_injection(text) for text in injections],
        **more,  # type: ignore[arg-type]
    )


def column(made: Simulation, measure: str) -> list[float | None]:
    return [reading.row.get(measure) for reading in generate(made)]


def differences(*injections: str) -> dict[int, float]:
    """Return interval -> what the injections changed in SO2."""
    calm, moved = column(simulation(), "SO2"), column(simulation(*injections), "SO2")
    return {
        i: round(b - a, 3)
        for i, (a, b) in enumerate(zip(calm, moved, strict=True))
        if a is not None and b is not None and a != b
    }


def test_the_same_seed_gives_the_same_readings_and_another_does_not() -> None:
    made = replace(simulation(sensors=3), dropout=0.05)
    assert list(generate(made)) == list(generate(made))
    assert list(generate(made)) != list(generate(replace(made, seed=8)))


def test_readings_come_in_time_order_one_per_station_and_interval() -> None:
    readings = list(generate(simulation(sensors=4, intervals=10)))
    assert [r.time_s for r in readings] == [START_S + 300 * (i // 4) for i in range(40)]
    assert {r.row["LOCATION_ID"] for r in readings} == {"S-001", "S-002", "S-003", "S-004"}
    assert readings[0].row["TIMESTAMP"] == "2023-11-15T00:00:00+00:00"


def test_days_have_a_cycle_and_weekends_are_cleaner() -> None:
    values = column(simulation(intervals=7 * 288), "NO2")
    numbers = [value for value in values if value is not None]
    evening = statistics.fmean(numbers[day * 288 + 18 * 12] for day in range(3))
    morning = statistics.fmean(numbers[day * 288 + 6 * 12] for day in range(3))
    assert evening > morning + 5
    assert statistics.fmean(numbers[3 * 288 : 5 * 288]) < statistics.fmean(numbers[: 3 * 288])


def test_stations_share_the_weather() -> None:
    readings = list(generate(simulation(sensors=2, intervals=600)))
    first, second = (
        [r.row["SO2"] for r in readings if r.row["LOCATION_ID"] == s] for s in ("S-001", "S-002")
    )
    assert statistics.correlation(first, second) > 0.5


def test_some_readings_are_lost() -> None:
    made = replace(simulation(sensors=10, intervals=200), dropout=0.1)
    assert 1700 < len(list(generate(made))) < 1900


def test_a_spike_lifts_two_intervals_at_that_time_of_day() -> None:
    assert differences("SO2:spike:+60@23:30/2") == {282: 60.0, 283: 60.0}


def test_a_dip_goes_down_whatever_the_sign() -> None:
    assert differences("SO2:dip:20@+5") == {5: -20.0}


def test_a_shock_falls_back_and_a_drift_grows() -> None:
    shock = list(differences("SO2:shock:+60@+10/6").values())
    assert shock == sorted(shock, reverse=True)
    assert (shock[0], len(shock)) == (60, 6)
    assert list(differences("SO2:drift:+60@+10/6").values()) == [10, 20, 30, 40, 50, 60]


def test_a_level_may_be_a_multiple() -> None:
    calm = column(simulation(), "SO2")[20]
    assert calm is not None
    assert differences("SO2:level:x1.5@+20")[20] == pytest.approx(calm / 2, abs=0.002)


def test_a_flat_line_repeats_its_first_value() -> None:
    made = simulation("SO2:flatline@+10/5")
    assert len(set(column(made, "SO2")[10:15])) == 1
    assert column(made, "SO2")[10] == column(simulation(), "SO2")[10]


def test_silence_of_one_measure_leaves_the_others_and_of_all_leaves_nothing() -> None:
    one = list(generate(simulation("SO2:silence@+10/5")))
    assert [i for i, r in enumerate(one) if "SO2" not in r.row] == [10, 11, 12, 13, 14]
    assert all("CO" in r.row for r in one)
    made = simulation("*[S-002]:silence@+10/5", sensors=2)
    injector = made.injector()
    assert len(list(generate(made, injector))) == 600 - 5
    assert {(t.measure, t.dimensions["LOCATION_ID"]) for t in injector.truth()} == {
        (measure, "S-002") for measure in ("CO", "SO2", "NO2")
    }


def test_the_truth_names_series_start_and_end_of_what_was_done() -> None:
    made = simulation("SO2[S-002]:spike:+60@+7/3", sensors=3)
    injector = made.injector()
    list(generate(made, injector))
    (truth,) = injector.truth()
    assert truth.dimensions == {"LOCATION_ID": "S-002"}
    assert (truth.start_s, truth.end_s) == (START_S + 2100, START_S + 2700)
    assert json.loads(json.dumps(truth.to_json()))["end"] == "2023-11-15T00:45:00+00:00"
    assert truth.to_json()["series"] == f"{truth.measure} LOCATION_ID=S-002"


def test_planted_anomalies_are_of_every_kind_and_begin_after_learning() -> None:
    made = simulation(sensors=5, intervals=2000)
    plan = planted(made, anomalies=14, after=500, seed=3)
    assert {one.kind for one in plan} == set(KINDS)
    assert all(int(one.when) >= 500 for one in plan)
    injector = replace(made, injections=plan).injector()
    list(generate(replace(made, injections=plan), injector))
    assert len(injector.truth()) == 14


def test_without_a_number_one_of_each_kind_is_planted_whole_and_apart() -> None:
    made = simulation(sensors=1, intervals=576)
    for seed in range(20):
        plan = planted(made, seed=seed)
        assert sorted(one.kind for one in plan) == sorted(KINDS)
        spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for one in plan:
            first = int(one.when)
            assert 288 <= first <= first + one.length <= 576
            spans.setdefault((one.measure, one.value), []).append((first, first + one.length))
        for series in spans.values():
            assert all(end + 12 <= start for (_, end), (start, _) in itertools.pairwise(sorted(series)))
    assert planted(made, seed=1) == planted(made, seed=1) != planted(made, seed=2)
    assert len(planted(simulation(sensors=5, intervals=5760))) == 70


def test_a_run_too_short_for_a_kind_has_none_of_it_and_a_full_one_takes_no_more() -> None:
    assert {one.kind for one in planted(simulation(sensors=1, intervals=10))} == {"spike", "dip"}
    assert planted(simulation(sensors=1, intervals=1)) == []
    assert planted(simulation(sensors=1, intervals=576), anomalies=0) == []
    assert len(planted(simulation(sensors=1, intervals=576), anomalies=1000)) < 60


@pytest.mark.parametrize(("anomalies", "after"), [(-1, None), (3, 5000)])
def test_a_plan_outside_its_range_is_refused(anomalies: int, after: int | None) -> None:
    with pytest.raises(InvalidInput):
        planted(simulation(intervals=576), anomalies=anomalies, after=after)


ROWS = [
    {"TIMESTAMP": "2022-03-25 00:05", "LOCATION_ID": "B-101", "CO": "3.9"},
    {"TIMESTAMP": "2022-03-24 23:57", "LOCATION_ID": "B-101", "CO": "2.0"},
    {"TIMESTAMP": "2022-03-25 00:00", "LOCATION_ID": "B-101", "CO": "2.6"},
]


def played(**more: object) -> tuple[list[SimulatedReading], Injector]:
    arguments = {"time_column": "TIMESTAMP", "times": TIMES, "interval_s": 300, "measures": ["CO"]}
    return replay(ROWS, **(arguments | {"dimensions": ["LOCATION_ID"]} | more))  # type: ignore[arg-type]


def test_a_file_is_played_in_time_order_with_its_own_values() -> None:
    readings, _ = played()
    assert [r.row["CO"] for r in readings] == ["2.0", "2.6", "3.9"]
    assert readings[0].row["TIMESTAMP"] == "2022-03-24 23:57"


def test_stamps_are_shifted_by_whole_intervals_so_that_the_first_is_the_current_one() -> None:
    readings, _ = played(shift_to_s=START_S + 1234)
    assert readings[0].row["TIMESTAMP"] == "2023-11-15 00:22"  # 00:20 is the current one, 2 minutes into it
    assert [b.time_s - a.time_s for a, b in itertools.pairwise(readings)] == [180, 300]


def test_anomalies_are_placed_by_the_stamps_of_the_file() -> None:
    readings, injector = played(shift_to_s=START_S, injections=[parse_injection("CO:spike:+1.5@00:00/1")])
    assert [float(r.row["CO"]) for r in readings] == [2.0, 4.1, 3.9]
    assert [(t.start_s, t.end_s) for t in injector.truth()] == [(START_S + 300, START_S + 300)]


def test_an_empty_file_plays_nothing() -> None:
    readings, injector = replay([], time_column="T", times=TIMES, interval_s=300)
    assert (readings, injector.truth()) == ([], [])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("SO2", "MEASURE:KIND:SIZE"),
        ("SO2:jump:+6@23:30", "a kind of"),
        ("SO2:spike@23:30", "a size"),
        ("SO2:spike:six@23:30", "a size"),
        ("SO2:silence:+6@23:30", "no size"),
        ("SO2:spike:+6@25:30", "HH:MM"),
        ("SO2:spike:+6@noon", "HH:MM"),
        ("SO2:spike:+6@23:30/0", "a length"),
        ("SO2:spike:+6@23:30/many", "a length"),
        ("*:spike:+6@23:30", "one measure"),
    ],
)
def test_an_injection_that_cannot_be_read_says_which_part(text: str, part: str) -> None:
    with pytest.raises(InvalidInput, match=f"inject: expected {part}"):
        parse_injection(text)


def test_an_unknown_measure_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(InvalidInput, match="inject: expected a measure of CO, SO2, NO2, got 'O3'"):
        simulation("O3:spike:+6@23:30").injector()


@given(st.text(max_size=40))
def test_any_text_is_an_injection_or_a_clear_error(text: str) -> None:
    try:
        assert parse_injection(text).length >= 1
    except InvalidInput as error:
        message = str(error)
        assert message.startswith("inject: expected")


@given(
    st.sampled_from(["spike", "shock", "dip", "level", "drift"]),
    st.sampled_from(["+60", "-3.5", "x2"]),
    st.integers(1, 50),
    st.floats(-1e6, 1e6),
)
def test_a_moved_value_is_finite_and_ends_where_it_should(
    kind: str, size: str, length: int, value: float
) -> None:
    one = Injection("m", kind, size, "+0", length)
    assert all(math.isfinite(one.moved(value, step)) for step in range(length))


@pytest.mark.parametrize(
    ("field", "value"), [("sensors", 0), ("intervals", -1), ("interval_s", 0), ("dropout", 1.0)]
)
def test_a_simulation_outside_its_range_is_refused(field: str, value: float) -> None:
    with pytest.raises(InvalidInput, match=f"{field}: expected"):
        replace(simulation(), **{field: value})
