"""Scores, calibration and model folders: against definitions written out, and against damage."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput, NotFound
from masthead.learn.calibration import Calibration
from masthead.learn.cards import read_folder, require_place, write_folder
from masthead.learn.scores import average_precision, gain_error, pr_auc, precision_at, roc_auc

rankings = st.lists(st.tuples(st.booleans(), st.integers(0, 9)), min_size=1, max_size=40)


@settings(deadline=None, max_examples=100)
@given(rankings)
def test_the_area_under_roc_is_the_share_of_pairs_in_order(ranking):
    up, down = [s for y, s in ranking if y], [s for y, s in ranking if not y]
    found = roc_auc([y for y, _ in ranking], [s for _, s in ranking])
    if not up or not down:
        assert found is None
        return
    pairs = [(a > b) + 0.5 * (a == b) for a in up for b in down]
    assert found == pytest.approx(sum(pairs) / len(pairs))


@settings(deadline=None, max_examples=100)
@given(rankings)
def test_average_precision_is_the_sum_over_steps_of_recall(ranking):
    y, s = np.array([y for y, _ in ranking]), np.array([s for _, s in ranking])
    found = average_precision(y, s)
    if y.all() or not y.any():
        assert found is None
        return
    total, recall = 0.0, 0.0
    for cut in sorted(set(s.tolist()), reverse=True):
        above = s >= cut
        now = y[above].sum() / y.sum()
        total += (now - recall) * y[above].mean()
        recall = now
    assert found == pytest.approx(total)
    assert 0 < pr_auc(y, s) <= 1


def test_precision_at_counts_the_highest_of_each_day_and_all_of_a_small_one():
    assert precision_at(2, [1, 0, 1, 1], [3, 2, 1, 5], [1, 1, 1, 2]) == pytest.approx(2 / 3)
    assert precision_at(2, [], [], []) is None


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000))
def test_calibrated_probabilities_rise_with_the_score_and_meet_the_rates(seed):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(-3, 2, 400), 1)
    y = rng.random(400) < 1 / (1 + np.exp(-(0.5 * scores + 0.3)))
    calibration = Calibration.learn(scores, y)
    asked = np.unique(np.concatenate([scores, rng.uniform(-20, 20, 200)]))
    p = calibration.probabilities(asked)
    assert (np.diff(p) > 0).all()
    assert ((p > 0) & (p < 1)).all()
    if 0 < y.sum() < 400:
        assert abs(calibration.probabilities(scores).mean() - y.mean()) < 0.05
        middle = float(np.median(asked))
        assert calibration.score_of(calibration.probability(middle)) == pytest.approx(middle, abs=1e-6)


def test_a_single_outcome_teaches_no_calibration():
    assert Calibration.learn([1.0, 2.0], [0, 0]) == Calibration()
    with pytest.raises(InvalidInput, match="both rising"):
        Calibration((1.0, 0.0), (0.0, 1.0))


def test_a_model_folder_tells_what_is_missing_or_changed(tmp_path):
    folder = tmp_path / "model"
    write_folder(folder, {"a.txt": b"one", "b.txt": b"two"}, {"id": "x"})
    write_folder(folder, {"a.txt": b"one", "b.txt": b"three"}, {"id": "y"})
    card, files = read_folder(folder)
    assert (card["id"], files["b.txt"]) == ("y", b"three")
    (folder / "a.txt").write_bytes(b"One")
    with pytest.raises(InvalidInput, match=r"a\.txt with SHA-256"):
        read_folder(folder)
    (folder / "a.txt").unlink()
    with pytest.raises(InvalidInput, match=r"the file a\.txt, it is missing"):
        read_folder(folder)
    text = (folder / "card.json").read_text()
    (folder / "card.json").write_text(text.replace('"y"', '"z"'))
    with pytest.raises(InvalidInput, match="it was changed"):
        read_folder(folder)
    (folder / "card.json").write_text(text[:20])
    with pytest.raises(InvalidInput, match=r"card\.json as it was written"):
        read_folder(folder)
    with pytest.raises(NotFound, match="expected a folder"):
        read_folder(tmp_path / "nowhere")


def test_a_model_never_replaces_a_folder_of_something_else(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    with pytest.raises(InvalidInput, match="a new or empty folder"):
        write_folder(tmp_path / "letters", {}, {})
    for path in (Path("/proc/x/y"), tmp_path / "letters" / "dear.txt" / "y"):
        with pytest.raises(InvalidInput, match="model: expected a folder that can be made"):
            require_place(path)


def test_the_error_of_a_gain_falls_with_the_number_of_groups_and_one_group_tells_nothing():
    rng = np.random.default_rng(2)

    def error(days: int) -> float:
        day = np.repeat(np.arange(days), 60)
        y = rng.random(len(day)) < 0.2
        before, after = (y + rng.normal(0, spread, len(day)) for spread in (1.0, 0.7))
        return gain_error(y, before, after, day, seed=1)

    assert error(1) == float("inf")
    assert 1.4 < error(40) / error(160) < 2.9  # with four times the days: half
    y, day = np.array([1, 0, 1, 0]), np.array([1, 1, 2, 2])
    score = np.array([0.9, 0.1, 0.8, 0.2])
    assert gain_error(y, score, score, day, seed=0) == 0.0
