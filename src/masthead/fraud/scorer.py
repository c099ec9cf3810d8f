"""From a vector to a score and a probability: what every kind of model offers to the serving path."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.forest import Forest
from masthead.learn.calibration import Calibration

__all__ = ["ForestScorer", "Scorer"]


class Scorer(Protocol):
    """What answers for one transaction."""

    def score(self, x: NDArray[np.float32]) -> tuple[float, float]:
        """Return the raw score and the probability, strictly rising in it. `x`: (columns,) of the layout."""


class ForestScorer:
    """Trees, then the calibration."""

    def __init__(self, forest: Forest, calibration: Calibration) -> None:
        self._forest = forest
        self._calibration = calibration

    def score(self, x: NDArray[np.float32]) -> tuple[float, float]:
        """Return the sum of leaves, in log-odds, and the calibrated probability."""
        raw = self._forest.raw(x)
        return raw, self._calibration.probability(raw)
