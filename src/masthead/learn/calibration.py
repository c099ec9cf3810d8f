"""From a score to a probability, without losing the order.

Isotonic regression alone makes ties, and ties cost average precision. So the blocks' means are joined by straight
lines between the blocks' centres, in log-odds; beyond the outermost ones the line goes on with slope 1.

Source: B. Zadrozny and C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates",
KDD 2002; pool adjacent violators.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from masthead.base.errors import InvalidInput

__all__ = ["Calibration"]

_PRIOR = 4.0  # events of the mean rate that each block is given, so that few events never make a certainty


@dataclass(frozen=True, slots=True)
class Calibration:
    """A strictly rising map from a score in log-odds to a probability.

    Attributes:
        scores, odds: Knots, both strictly rising; odds are logarithms. None at all: the score is the log-odds.
    """

    scores: tuple[float, ...] = ()
    odds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        rising = all(
            np.all(np.diff(knots) > 0) and np.all(np.isfinite(knots)) for knots in (self.scores, self.odds)
        )
        if len(self.scores) != len(self.odds) or not rising:
            raise InvalidInput("calibration: expected as many scores as odds, both rising, got others")

    @staticmethod
    def learn(scores: ArrayLike, y: ArrayLike) -> "Calibration":
        """Return the calibration for scores (n,) in log-odds with outcomes `y` (n,) 0 or 1.

        With a single class there is nothing to learn: the score stays the log-odds.
        """
        s, truth = np.asarray(scores, np.float64), np.asarray(y, np.float64)
        if not len(s) or truth.min() == truth.max():
            return Calibration()
        order = np.argsort(s, kind="stable")
        different, start = np.unique(s[order], return_index=True)
        weight = np.diff(np.append(start, len(s))).astype(np.float64)
        means = np.add.reduceat(truth[order], start) / weight
        centre, mean, weight = _pooled(different, means, weight)
        smooth = (mean * weight + truth.mean() * _PRIOR) / (weight + _PRIOR)
        centre, mean, _ = _pooled(centre, smooth, weight)
        odds = np.log(mean) - np.log1p(-mean)
        keep = np.concatenate([[True], (np.diff(centre) > 1e-9) & (np.diff(odds) > 1e-9)])
        return Calibration(tuple(centre[keep].tolist()), tuple(odds[keep].tolist()))

    def probability(self, score: float) -> float:
        """Return the probability of one score."""
        odds = self._odds(score)
        return 1.0 / (1.0 + exp(-odds)) if odds > -700 else exp(odds)

    def probabilities(self, scores: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each score, equal to `probability` to the bit."""
        return np.array([self.probability(float(score)) for score in scores], np.float64)

    def _odds(self, score: float) -> float:
        s, o = self.scores, self.odds
        if not s:
            return score
        if score <= s[0]:
            return o[0] + (score - s[0])
        if score >= s[-1]:
            return o[-1] + (score - s[-1])
        i = bisect_right(s, score)
        return o[i - 1] + (o[i] - o[i - 1]) * ((score - s[i - 1]) / (s[i] - s[i - 1]))

    def score_of(self, probability: float) -> float:
        """Return the score that has this probability, in (0, 1)."""
        odds = log(probability) - log(1 - probability)
        s, o = self.scores, self.odds
        if not s:
            return odds
        if odds <= o[0] or odds >= o[-1]:
            end = 0 if odds <= o[0] else -1
            return s[end] + (odds - o[end])
        return float(np.interp(odds, o, s))


def _pooled(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centres, means and weights of the blocks whose means rise strictly (pool adjacent violators)."""
    blocks: list[list[float]] = []
    for one in zip((x * weight).tolist(), (y * weight).tolist(), weight.tolist(), strict=True):
        block = list(one)
        while blocks and blocks[-1][1] * block[2] >= block[1] * blocks[-1][2]:
            last = blocks.pop()
            block = [a + b for a, b in zip(last, block, strict=True)]
        blocks.append(block)
    sums = np.array(blocks)
    return sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2], sums[:, 2]
