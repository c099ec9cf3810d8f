"""How good a ranking is: area under the ROC curve, average precision, area under the precision-recall curve."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision", "pr_auc", "roc_auc"]


def roc_auc(y: NDArray[Any], s: NDArray[Any]) -> float | None:
    """Return the share of (positive, negative) pairs that the scores order rightly; ties count half.

    None without both classes.

    >>> roc_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    found = _steps(y, s)
    if found is None:
        return None
    hits, alarms = found
    return float(np.trapezoid(np.r_[0, hits] / hits[-1], np.r_[0, alarms] / alarms[-1]))


def average_precision(y: NDArray[Any], s: NDArray[Any]) -> float | None:
    """Return the sum of precision times gained recall over all thresholds (the step sum); None without both classes.

    >>> round(average_precision(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
    0.8333
    """
    found = _steps(y, s)
    if found is None:
        return None
    hits, alarms = found
    return float(np.sum(np.diff(np.r_[0, hits]) / hits[-1] * hits / (hits + alarms)))


def pr_auc(y: NDArray[Any], s: NDArray[Any]) -> float | None:
    """Return the area under the precision-recall curve by trapezoids; None without both classes.

    Straight lines between the points are too kind: it is printed because others print it.

    >>> round(pr_auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
    0.7917
    """
    found = _steps(y, s)
    if found is None:
        return None
    hits, alarms = found
    precision, recall = np.r_[1.0, hits / (hits + alarms)], np.r_[0.0, hits / hits[-1]]
    return float(np.trapezoid(precision, recall))


def _steps(y: NDArray[Any], s: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return true and false positives at each distinct score, from the highest down."""
    truth, scores = np.asarray(y, np.float64), np.asarray(s, np.float64)
    positives = truth.sum()
    if not len(truth) or positives in (0, len(truth)):
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(order) - 1]
    hits = np.cumsum(truth[order])[last]
    return hits, last + 1 - hits
