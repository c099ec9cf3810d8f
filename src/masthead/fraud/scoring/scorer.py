"""From a vector to a score and a probability: what every kind of model offers to the serving path."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.scoring.engines import Engine
from masthead.learn.calibration import Calibration

__all__ = ["CalibratedScorer", "Scorer"]


class Scorer(Protocol):
    """What answers for one transaction."""

    def score(self, x: NDArray[np.float32]) -> tuple[float, float]:
        """Return the raw score and the probability, strictly rising in it. `x`: (columns,) of the layout."""


class CalibratedScorer:
    """An engine, then the calibration."""

    def __init__(self, engine: Engine, calibration: Calibration) -> None:
        self._engine = engine
        self._calibration = calibration

    def score(self, x: NDArray[np.float32]) -> tuple[float, float]:
        """Return the score in log-odds and the calibrated probability."""
        raw = self._engine.raw(x)
        return raw, self._calibration.probability(raw)
