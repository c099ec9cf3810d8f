"""A score once told stays true: what comes later changes nothing, in any channel."""

import numpy as np
import pytest

from masthead.metrics import SeriesScorer
from masthead.metrics.state import REASONS, SCORE

STEPS = 6 * 288


def eventful(seed: int) -> np.ndarray:
    """Return a series in which every channel has its say: season, spikes, levels, a stuck sensor, gaps."""
    rng = np.random.default_rng(seed)
    t = np.arange(STEPS)
    values = 50 + 10 * np.sin(2 * np.pi * t / 288) + rng.normal(size=STEPS)
    values[rng.integers(300, STEPS, 5)] += rng.choice((-1, 1), 5) * rng.uniform(8, 40, 5)
    values[3 * 288 + 200 : 3 * 288 + 230] = 50 + rng.normal(size=30)
    values[1200:1260] += 25
    values[1400:1440] = values[1400]
    values[rng.random(STEPS) < 0.02] = np.nan
    values[1500:1530] = np.nan
    return values


def returning(seed: int) -> np.ndarray:
    """Return a series that runs quickly to a level it has known: off its course, and nothing else about it is new."""
    values = 40 + np.random.default_rng(seed).normal(size=STEPS)
    values[400:530] += np.concatenate([np.linspace(0, 20, 30), np.full(70, 20.0), np.linspace(20, 0, 30)])
    values[1300:1310] += [7, 14, *[20] * 8]
    return values


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    return np.stack([eventful(seed) for seed in range(24)] + [returning(seed) for seed in range(6)], axis=1)


@pytest.fixture(scope="module")
def whole(matrix: np.ndarray) -> np.ndarray:
    return SeriesScorer(series=matrix.shape[1]).score_many(300.0 * np.arange(STEPS), matrix)


def test_every_reason_occurs(whole: np.ndarray) -> None:
    assert {REASONS[code] for code in np.unique(whole["reason"])} == set(REASONS)


@pytest.mark.parametrize("steps", [100, 700, 1210, 1525])
def test_scores_of_a_prefix_are_the_prefix_of_the_scores(
    matrix: np.ndarray, whole: np.ndarray, steps: int
) -> None:
    part = SeriesScorer(series=matrix.shape[1]).score_many(300.0 * np.arange(steps), matrix[:steps])
    for name in SCORE.names or ():
        np.testing.assert_array_equal(part[name], whole[name][:steps])


@pytest.mark.parametrize("interval_s", [0, 600, 3600, 86_400])
def test_this_holds_for_other_intervals(matrix: np.ndarray, interval_s: int) -> None:
    times = (interval_s or 300) * np.arange(STEPS, dtype=float)
    scores = SeriesScorer(series=matrix.shape[1], interval_s=interval_s).update_many(times, matrix)
    part = SeriesScorer(series=matrix.shape[1], interval_s=interval_s).update_many(times[:900], matrix[:900])
    np.testing.assert_array_equal(part, scores[:900])
