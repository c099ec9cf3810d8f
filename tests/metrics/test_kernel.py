"""What the channels see: one kind of anomaly at a time, beside clean data that must stay quiet."""

import numpy as np
import pytest

from masthead.metrics import SeriesScorer
from masthead.metrics.state import REASONS

DAY = 288


def told(values: np.ndarray, interval_s: int = 300) -> np.ndarray:
    """Return the scores of one series, from a Monday midnight on."""
    times = 4 * 86_400 + float(interval_s) * np.arange(len(values))
    return SeriesScorer(series=1, interval_s=interval_s).score_many(times, values[:, None])[:, 0]


def reasons(scores: np.ndarray, level: float = 50) -> set[str]:
    return {REASONS[code] for code in scores["reason"][scores["severity"] >= level]}


def gauss(steps: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=steps)


def daily(steps: int, seed: int = 1) -> np.ndarray:
    return 50 + 10 * np.sin(2 * np.pi * np.arange(steps) / DAY) + gauss(steps, seed)


def test_a_new_level_is_never_seen() -> None:
    values = gauss(2000)
    values[1500:] += 12
    scores = told(values)
    assert scores["severity"][1500:1510].max() >= 70
    assert reasons(scores[1500:1520]) <= {"value_never_seen", "level_never_seen", "off_course"}


def test_a_known_value_at_the_wrong_moment_is_off_course_or_a_jump() -> None:
    values = np.where(np.arange(3000) // 500 == 1, 30.0, 0.0) + gauss(3000)
    values[2250] = 30.0
    scores = told(values)
    assert scores["undamped"][2250] >= 50
    assert REASONS[scores["reason"][2250]] in ("off_course", "jump")


def test_hours_out_of_season_inside_the_usual_range_are_found() -> None:
    values = daily(4 * DAY + 120)
    night = slice(3 * DAY + 190, 3 * DAY + 230)  # the daily low: hold the value of the morning there
    values[night] = 50 + gauss(40, 3)
    scores = told(values)
    assert scores["severity"][night].max() >= 70
    assert "off_season" in reasons(scores[night])
    assert (scores["severity"][DAY : night.start] < 50).all()


def test_an_hourly_series_knows_its_season_after_three_days() -> None:
    hours = np.arange(4 * 24)
    values = 10 * np.sin(2 * np.pi * hours / 24) + 0.3 * gauss(len(hours))
    values[3 * 24 + 17 : 3 * 24 + 20] = 0.0
    scores = told(values, 3600)
    assert scores["severity"][3 * 24 + 17 : 3 * 24 + 20].max() >= 50
    assert REASONS[scores["reason"][3 * 24 + 17]] == "off_season"


def test_a_daily_series_knows_its_weekdays() -> None:
    days = np.arange(12 * 7)
    values = np.where(days % 7 >= 5, 20.0, 100.0) + gauss(len(days))
    values[11 * 7 + 2] = 21.0  # a Wednesday like a Sunday
    scores = told(values, 86_400)
    assert scores["expected"][11 * 7 + 5] < 40
    assert scores["severity"][11 * 7 + 2] >= 50


def test_a_season_that_does_not_predict_is_hardly_heard() -> None:
    walks = np.cumsum(np.random.default_rng(2).normal(size=(3000, 40)), axis=0)
    scores = SeriesScorer(series=40).score_many(300.0 * np.arange(3000), walks)
    heard = (scores["severity"] >= 50) & (scores["reason"] == REASONS.index("off_season"))
    assert heard.mean() < 5e-4


def test_a_trusted_season_is_what_is_expected() -> None:
    values = daily(6 * DAY)
    scores = told(values)[5 * DAY :]
    clean = 50 + 10 * np.sin(2 * np.pi * np.arange(5 * DAY, 6 * DAY) / DAY)
    assert np.abs(scores["expected"] - clean).mean() < 0.6
    assert ((values[5 * DAY :] > scores["low"]) & (values[5 * DAY :] < scores["high"])).mean() > 0.98


def test_a_sensor_that_sticks_is_flat() -> None:
    values = gauss(1000)
    values[800:] = values[800]
    scores = told(values)
    first = int(np.flatnonzero(scores["reason"] == REASONS.index("flatline"))[0])
    assert 800 < first <= 806
    assert scores["severity"][first] >= 70
    assert (scores["severity"][first + 1 :] < 50).all()


@pytest.mark.parametrize("name", ["constant", "two values", "long runs"])
def test_a_series_that_repeats_itself_is_not_flat(name: str) -> None:
    rng = np.random.default_rng(4)
    values = {
        "constant": np.full(2000, 7.0),
        "two values": rng.integers(0, 2, 2000).astype(float),
        "long runs": np.repeat(rng.normal(size=100), 20),
    }[name]
    assert "flatline" not in reasons(told(values)[200:])


def test_a_repeated_fault_is_found_each_time() -> None:
    values = daily(20 * DAY)
    faults = [DAY * k + 200 for k in range(5, 20, 3)]
    for at in faults:
        values[at] += 9
    scores = told(values)
    assert all(scores["severity"][at] >= 50 for at in faults)


def test_large_offsets_cost_no_precision() -> None:
    # The codebooks hold float32: differences from the first value, as 1e9 + 0.5 has no float32 of its own.
    small, large = gauss(1500), gauss(1500) + 2.0**30
    np.testing.assert_allclose(told(small)["severity"][100:], told(large)["severity"][100:], atol=0.5)


@pytest.mark.parametrize("value", [0.0, 1e15, -1e15, 1e-300])
def test_extreme_values_give_finite_scores(value: float) -> None:
    values = gauss(500)
    values[300] = value
    values[400:420] = 1e15
    scores = told(values)
    assert np.isfinite(scores["severity"]).all()
    assert ((scores["severity"] >= 0) & (scores["severity"] <= 100)).all()


@pytest.mark.parametrize("slope", [0.0, 0.001, 0.01, 0.1, -0.003])
def test_a_trend_does_not_alarm_more_than_stated(slope: float) -> None:
    rng = np.random.default_rng(8)
    values = slope * np.arange(4000)[:, None] + rng.normal(size=(4000, 60))
    severity = SeriesScorer(series=60).update_many(300.0 * np.arange(4000), values)[600:]
    assert (severity >= 50).mean() <= 1e-3
    assert (severity >= 70).mean() <= 1e-4


def test_a_fault_in_a_slow_trend_is_found_also_where_new_highs_keep_coming() -> None:
    rng = np.random.default_rng(5)
    values = 0.001 * np.arange(6000)[:, None] + rng.normal(size=(6000, 20))
    values[5500] += 9.0
    severity = SeriesScorer(series=20).update_many(300.0 * np.arange(6000), values)
    assert (severity[5500] >= 70).all()


def test_a_new_high_is_worth_less_where_new_highs_keep_coming() -> None:
    # The same last values, once behind a trend that ended, once behind values without one.
    rng = np.random.default_rng(6)
    noise = rng.normal(size=(6000, 20))
    ramp = np.minimum(0.002 * np.arange(6000), 8.0)[:, None] - 8.0
    noise[5990] = 4.6
    times = 300.0 * np.arange(6000)
    after_none = SeriesScorer(series=20).update_many(times, noise)[5990]
    after_trend = SeriesScorer(series=20).update_many(times, noise + ramp)[5990]
    assert np.median(after_trend) < np.median(after_none)


def test_a_series_that_alarmed_too_often_must_surprise_more() -> None:
    rng = np.random.default_rng(7)
    calm = rng.normal(size=6000)
    busy = calm.copy()
    busy[500:5800:110] += rng.choice([-1, 1], 49) * rng.uniform(6, 40, 49)
    calm[5900] = busy[5900] = 5.0
    assert 0 < told(busy)["severity"][5900] < told(calm)["severity"][5900]


@pytest.mark.parametrize("week", [False, True])
def test_a_season_does_not_alarm_more_than_stated(week: bool) -> None:
    rng = np.random.default_rng(9)
    t = np.arange(4 * 7 * DAY)[:, None]
    calm = np.where((t // DAY) % 7 >= 5, 0.5, 1.0) if week else 1.0
    values = 10 * calm * np.sin(2 * np.pi * t / DAY) + rng.normal(size=(len(t), 30))
    severity = SeriesScorer(series=30).update_many(300.0 * t[:, 0], values)[7 * DAY :]
    assert (severity >= 50).mean() <= 1e-3
    assert (severity >= 70).mean() <= 1e-4
