"""The public face of the kernel: what a caller may rely on."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.lib.recfunctions as rfn
import pytest

from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.metrics import SeriesScorer
from masthead.metrics.archive import read_archive, write_archive
from masthead.metrics.configuration import DEFAULT, Configuration, configuration_hash
from masthead.metrics.state import FLATLINE, NOTHING, SCORE, SERIES

NAN = float("nan")


def noise(steps: int, series: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(20, 1, (steps, series))


def learnt(steps: int = 400, series: int = 1, **settings: object) -> SeriesScorer:
    """Return a scorer that has seen that many intervals of noise."""
    scorer = SeriesScorer(series=series, interval_s=300, **settings)  # type: ignore[arg-type]
    scorer.update_many(300.0 * np.arange(steps), noise(steps, series))
    return scorer


def test_the_room_alone_loads_no_compiler() -> None:
    code = "import sys, masthead.metrics, masthead.metrics.scorer; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_far_value_surprises_and_says_why() -> None:
    scorer = learnt()
    severity = scorer.update(300 * 400, [60.0])
    assert severity.dtype == np.float32
    assert severity[0] >= 70
    assert scorer.reasons() == ["value_never_seen"]


def test_an_ordinary_value_is_expected_and_lies_in_its_band() -> None:
    scorer = learnt()
    assert scorer.update(300 * 400, [20.3])[0] < 50
    low, high = scorer.band()
    assert low[0] < scorer.expected()[0] < high[0]
    assert 18 < scorer.expected()[0] < 22
    assert scorer.seen().tolist() == [401]


def test_where_there_is_nothing_to_say_no_reason_is_given() -> None:
    values = noise(4000, 30, seed=5)
    values[np.random.default_rng(6).random(values.shape) < 0.002] += 25.0
    values[1000:1030, 3] = NAN
    scores = SeriesScorer(series=30).score_many(300.0 * np.arange(4000), values)
    told = scores["reason"] != NOTHING
    has_value = ~np.isnan(values)
    assert told[scores["severity"] >= 50].all()
    assert not (told & has_value & (scores["undamped"] < 50) & (scores["reason"] != FLATLINE)).any()
    # Told below 50 only while an event that opened goes on, the reason unbroken since.
    for k, i in np.argwhere(told & has_value & (scores["severity"] < 50) & (scores["reason"] != FLATLINE)):
        before = np.flatnonzero(has_value[:k, i])[-1]
        assert scores["in_event"][before, i]
        assert told[before, i]
    assert 0 < told.sum() < 0.01 * told.size


def test_a_surprise_that_a_greater_one_damps_opens_nothing_and_says_nothing() -> None:
    scorer = learnt()
    scorer.update(300 * 400, [90.0])
    for k in range(401, 410):
        scorer.update(300 * k, noise(1, 1, seed=k)[0])
    assert scorer.reasons() == [""]
    severity = scorer.update(300 * 410, [60.0])[0]
    assert severity < 50 <= scorer.undamped()[0]
    assert scorer.reasons() == [""]


def test_an_event_keeps_its_reason_over_missing_values_and_a_restart(tmp_path: Path) -> None:
    scorer = learnt()
    scorer.update(300 * 400, [60.0])
    scorer.update(300 * 401, [NAN])
    assert scorer.reasons() == [""]
    scorer.save(tmp_path / "scorer")
    for one in (scorer, SeriesScorer.load(tmp_path / "scorer")):
        assert one.update(300 * 402, [64.0])[0] < 50
        assert one.undamped()[0] >= 50
        assert one.reasons() != [""]


def test_a_flat_line_says_so_as_long_as_it_lasts() -> None:
    scorer = learnt(2000)
    told = []
    for k in range(2000, 2030):
        scorer.update(300 * k, [20.0])
        told.append(scorer.reasons()[0])
    first = told.index("flatline")
    assert set(told[first:]) == {"flatline"}


def test_a_scorer_saved_before_it_told_of_open_events_goes_on(tmp_path: Path) -> None:
    scorer = learnt()
    scorer.update(300 * 400, [60.0])
    scorer.save(tmp_path / "scorer")
    header, arrays = read_archive(tmp_path / "scorer")
    older = [(name, SCORE[name]) for name in SCORE.names or () if name != "in_event"]
    arrays["scores"] = rfn.require_fields(arrays["scores"], np.dtype(older, align=True))
    write_archive(tmp_path / "scorer", header, arrays)
    loaded = SeriesScorer.load(tmp_path / "scorer")
    assert loaded.reasons() == scorer.reasons()
    assert loaded.update(300 * 401, [64.0]) == scorer.update(300 * 401, [64.0])
    assert loaded.reasons() == scorer.reasons() != [""]


def test_an_event_makes_one_high_point_and_stays_high_undamped() -> None:
    scorer = learnt()
    first = scorer.update(300 * 400, [60.0])[0]
    second = scorer.update(300 * 401, [61.0])[0]
    assert second < 50 <= first
    assert scorer.undamped()[0] > second


def test_a_series_is_scored_alike_alone_and_in_company() -> None:
    times, values = 300.0 * np.arange(300), noise(300, 200)
    together = SeriesScorer(series=200).update_many(times, values)
    for i in (0, 63, 64, 199):
        alone = SeriesScorer(series=1).update_many(times, values[:, i : i + 1])
        np.testing.assert_array_equal(alone[:, 0], together[:, i])


def test_many_intervals_in_one_call_score_as_one_by_one() -> None:
    times, values = 300.0 * np.arange(300), noise(300, 3)
    values[50:60, 1] = NAN
    single, many = SeriesScorer(series=3), SeriesScorer(series=3)
    one_by_one = [single.update(t, v) for t, v in zip(times, values, strict=True)]
    np.testing.assert_array_equal(many.update_many(times, values), one_by_one)
    assert many.reasons() == single.reasons()
    np.testing.assert_array_equal(many.expected(), single.expected())


def test_a_saved_scorer_goes_on_to_the_bit(tmp_path: Path) -> None:
    path = tmp_path / "scorer"
    scorer = learnt(500, 5)
    scorer.save(path)
    loaded = SeriesScorer.load(path)
    assert loaded.reasons() == scorer.reasons()
    assert sorted(os.listdir(tmp_path)) == ["scorer"]
    for k in range(500, 700):
        values = noise(1, 5, seed=k)[0]
        np.testing.assert_array_equal(scorer.update(300 * k, values), loaded.update(300 * k, values))


def test_a_scorer_of_another_kernel_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt(30).save(tmp_path / "scorer")
    monkeypatch.setattr("masthead.metrics.configuration.KERNEL_VERSION", 0)
    with pytest.raises(Conflict, match="path: expected a scorer saved by this kernel"):
        SeriesScorer.load(tmp_path / "scorer")


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "flipped"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "scorer"
    learnt(30, 4).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    told = {"empty": b"", "cut": bytes(data[:-500]), "garbage": b"no archive", "flipped": bytes(data)}[damage]
    path.write_bytes(told)
    with pytest.raises(InvalidInput, match="path: expected a saved scorer"):
        SeriesScorer.load(path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        SeriesScorer.load(tmp_path / "nothing")


def test_a_failed_save_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scorer"
    scorer = learnt(30)
    scorer.save(path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numpy.savez", full)
    with pytest.raises(OSError, match="No space"):
        scorer.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["scorer"]


@pytest.mark.parametrize(
    ("time_s", "values", "field"),
    [
        (300 * 400, [1.0, 2.0], "values"),
        (300 * 400, [float("inf")], "values"),
        (300 * 400, [-2e15], "values"),
        (300 * 400, ["warm"], "values"),
        (300 * 400, [[[1.0]]], "values"),
        (300 * 399, [1.0], "time_s"),
        (300 * 399 + 299, [1.0], "time_s"),
        (NAN, [1.0], "time_s"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(time_s: float, values: list[float], field: str) -> None:
    scorer, twin = learnt(), learnt()
    with pytest.raises(InvalidInput) as caught:
        scorer.update(time_s, values)
    assert caught.value.field == field
    assert scorer.update(300 * 400, [24.0]) == twin.update(300 * 400, [24.0])
    assert scorer._state.tobytes() == twin._state.tobytes()


def test_a_bad_row_refuses_the_whole_call() -> None:
    scorer, twin = learnt(), learnt()
    with pytest.raises(InvalidInput, match="time_s"):
        scorer.update_many([300 * 400, 300 * 401, 300 * 401], noise(3))
    assert scorer._state.tobytes() == twin._state.tobytes()


@pytest.mark.parametrize(
    "settings", [{"series": -1}, {"series": 1, "interval_s": -5}, {"series": 1, "zone": "Atlantis/Center"}]
)
def test_a_scorer_that_cannot_be_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        SeriesScorer(**settings)  # type: ignore[arg-type]


def test_a_missing_value_leaves_the_memory_as_it_was() -> None:
    scorer, twin = learnt(), learnt()
    assert scorer.update(300 * 400, [NAN])[0] == 0
    assert scorer.reasons() == [""]
    assert np.isnan(scorer.expected()[0])
    assert scorer.seen() == twin.seen()
    assert scorer.update(300 * 401, [21.0]) == twin.update(300 * 401, [21.0])


def test_silence_is_told_once_within_three_intervals() -> None:
    scorer = learnt()
    told = [(float(scorer.update(300 * k, [NAN])[0]), scorer.reasons()[0]) for k in range(400, 410)]
    first = next(k for k, (_, reason) in enumerate(told) if reason == "silence")
    assert first <= 3
    assert told[first][0] >= 70
    assert all(severity < 50 for k, (severity, _) in enumerate(told) if k != first)
    assert scorer.undamped()[0] >= 70


def test_silence_can_be_left_to_others() -> None:
    scorer = learnt(silence=False)
    assert all(scorer.update(300 * k, [NAN])[0] == 0 for k in range(400, 430))


def test_random_gaps_are_not_silence() -> None:
    rng = np.random.default_rng(3)
    values = np.where(rng.random((3000, 70)) < 0.2, NAN, rng.normal(size=(3000, 70)))
    scores = SeriesScorer(series=70).score_many(300.0 * np.arange(3000), values)
    assert not (scores["reason"][300:] == 6).any()


def test_intervals_nobody_told_are_missing_for_all() -> None:
    scorer = learnt()
    scorer.update(300 * 410, [NAN])
    assert scorer.reasons() == ["silence"]


def test_the_span_between_history_and_live_is_no_gap() -> None:
    scorer = learnt()
    scorer.pause()
    scorer.update(300 * 4100, [NAN])
    assert scorer.reasons() == [""]


def test_without_an_interval_times_may_repeat_and_fall() -> None:
    scorer = SeriesScorer(series=1, interval_s=0)
    for time_s in (600, 600, 0, 900):
        scorer.update(time_s, [1.0])
    assert scorer.seen() == [4]


def test_a_day_in_a_zone_is_a_local_day() -> None:
    scorer = SeriesScorer(series=1, interval_s=86_400, zone="Europe/London")
    # Midnights of 25 to 27 March 2023: the clocks go forward on the 26th, and the 27th begins at 23:00 UTC.
    for time_s in (1_679_702_400, 1_679_788_800, 1_679_871_600):
        scorer.update(time_s, [1.0])
    assert scorer.seen() == [3]
    assert scorer._state["gap"][0] == 0


def test_new_series_begin_with_nothing_and_disturb_nobody() -> None:
    scorer, twin = learnt(), learnt()
    scorer.grow(3)
    assert scorer.series == 3
    assert scorer.reasons() == ["", "", ""] or scorer.reasons()[1:] == ["", ""]
    assert scorer.update(300 * 400, [22.0, 5.0, NAN])[0] == twin.update(300 * 400, [22.0])[0]
    assert scorer.seen().tolist() == [401, 1, 0]
    with pytest.raises(InvalidInput, match="series: expected 3 or more"):
        scorer.grow(2)


def test_no_series_at_all_is_fine() -> None:
    assert SeriesScorer(series=0).update(0, []).shape == (0,)


def test_what_a_person_calls_normal_is_no_longer_told() -> None:
    scorer, twin = learnt(), learnt()
    before = scorer.update(300 * 400, [40.0])[0]
    twin.update(300 * 400, [40.0])
    scorer.give_feedback(0, 40.0, is_anomaly=False)
    quiet = noise(150, seed=5)
    times = 300.0 * np.arange(401, 551)
    scorer.update_many(times, quiet)
    twin.update_many(times, quiet)
    after, untold = scorer.update(300 * 551, [40.4])[0], twin.update(300 * 551, [40.4])[0]
    assert after < untold < before


def test_what_a_person_calls_an_anomaly_is_told_again() -> None:
    scorer, twin = learnt(), learnt()
    for one in (scorer, twin):
        one.update(300 * 400, [40.0])
    scorer.give_feedback(0, 40.0, is_anomaly=True)
    quiet = noise(150, seed=5)
    times = 300.0 * np.arange(401, 551)
    scorer.update_many(times, quiet)
    twin.update_many(times, quiet)
    assert scorer.update(300 * 551, [40.0])[0] > twin.update(300 * 551, [40.0])[0]
    assert scorer.reasons() == ["value_never_seen"]


@pytest.mark.parametrize(
    ("index", "value", "reason"), [(1, 1.0, ""), (-1, 1.0, ""), (0, NAN, ""), (0, 1.0, "bad luck")]
)
def test_feedback_on_nothing_is_refused(index: int, value: float, reason: str) -> None:
    with pytest.raises(InvalidInput):
        learnt(30).give_feedback(index, value, is_anomaly=True, reason=reason)


def test_the_configuration_is_known_by_its_hash() -> None:
    assert SeriesScorer(series=1).configuration_hash == configuration_hash(DEFAULT)
    other = Configuration(damping=0.5)
    assert SeriesScorer(series=1, configuration=other).configuration_hash != configuration_hash(DEFAULT)


def test_a_series_fits_in_eight_kilobytes() -> None:
    assert SERIES.itemsize <= 8000


@pytest.mark.parametrize("interval_s", [-1, 2.5, "5m", None, True, float("nan")])
def test_an_interval_is_whole_seconds(interval_s: object) -> None:
    with pytest.raises(InvalidInput, match="interval_s: expected whole seconds"):
        SeriesScorer(1, interval_s)  # type: ignore[arg-type]


@pytest.mark.parametrize("series", [-1, 2.5, "3", None, True, float("nan"), float("inf")])
def test_the_number_of_series_is_a_whole_one(series: float) -> None:
    with pytest.raises(InvalidInput, match="series: expected a whole number"):
        SeriesScorer(series=series)  # type: ignore[arg-type]


@pytest.mark.parametrize("series", [2, 2.0, np.int64(2)])
def test_any_type_of_whole_number_counts_series(series: int) -> None:
    assert SeriesScorer(series).series == 2
