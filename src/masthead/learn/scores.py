"""How well a ranking finds the positives. Arrays in, numbers out; ties count as they should."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["average_precision", "confusion", "curve", "gain_error", "pr_auc", "precision_at", "roc_auc"]

_RESAMPLES = 200


def roc_auc(y: ArrayLike, s: ArrayLike) -> float | None:
    """Return the chance that a positive scores above a negative, ties as half; None without both classes.

    Args:
        y: (n,) 0 or 1.
        s: (n,) scores, higher = more positive.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    true, false = curve(y, s)
    if not _has_both(true, false):
        return None
    t, f = np.concatenate([[0], true]), np.concatenate([[0], false])
    return float(np.sum(np.diff(f) * (t[1:] + t[:-1])) / (2.0 * t[-1] * f[-1]))


def average_precision(y: ArrayLike, s: ArrayLike) -> float | None:
    """Return the mean precision over the steps of recall; None without both classes.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    true, false = curve(y, s)
    if not _has_both(true, false):
        return None
    gained = np.diff(np.concatenate([[0], true]))
    return float(np.sum(gained * (true / (true + false))) / true[-1])


def pr_auc(y: ArrayLike, s: ArrayLike) -> float | None:
    """Return the area under precision over recall by trapezoids, from precision 1 at recall 0; None as above.

    >>> round(pr_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.7917
    """
    true, false = curve(y, s)
    if not _has_both(true, false):
        return None
    precision = np.concatenate([[1.0], true / (true + false)])
    recall = np.concatenate([[0.0], true / true[-1]])
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def precision_at(k: int, y: ArrayLike, s: ArrayLike, groups: ArrayLike) -> float | None:
    """Return the share of positives among the `k` highest of each group, all groups together; None if empty.

    Ties go to who comes first. A group of fewer gives all it has.

    >>> precision_at(1, [1, 0, 0, 1], [0.9, 0.1, 0.8, 0.7], [1, 1, 2, 2])
    0.5
    """
    truth, score, group = np.asarray(y), np.asarray(s, np.float64), np.asarray(groups)
    if not len(truth):
        return None
    order = np.lexsort((np.arange(len(truth)), -score, group))
    new = np.concatenate([[True], np.diff(group[order]) != 0])
    first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    chosen = order[np.arange(len(order)) - first < k]
    return float(np.mean(truth[chosen]))


def gain_error(y: ArrayLike, before: ArrayLike, after: ArrayLike, groups: ArrayLike, *, seed: int) -> float:
    """Return the standard error of what average precision gains from one ranking to another: groups are drawn anew.

    Rows of one group, say of a day, belong together, so they are drawn together. Infinite where there is one group, or
    hardly a draw has both classes.
    """
    truth, group = np.asarray(y), np.asarray(groups)
    scores = [np.asarray(one, np.float64) for one in (before, after)]
    places = [np.flatnonzero(group == one) for one in np.unique(group)]
    chance, gains = np.random.default_rng(seed), []
    for _ in range(_RESAMPLES if len(places) > 1 else 0):
        rows = np.concatenate([places[k] for k in chance.integers(0, len(places), len(places))])
        drawn = [average_precision(truth[rows], one[rows]) for one in scores]
        if drawn[0] is not None and drawn[1] is not None:
            gains.append(drawn[1] - drawn[0])
    return float(np.std(gains)) if len(gains) > 1 else float("inf")


def confusion(y: ArrayLike, flagged: ArrayLike) -> dict[str, int]:
    """Return how many are truly and falsely flagged and passed: tp, fp, fn, tn.

    >>> confusion([1, 0, 1, 0], [True, True, False, False])
    {'tp': 1, 'fp': 1, 'fn': 1, 'tn': 1}
    """
    truth, said = np.asarray(y).astype(bool), np.asarray(flagged).astype(bool)
    return {
        "tp": int(np.sum(truth & said)),
        "fp": int(np.sum(~truth & said)),
        "fn": int(np.sum(truth & ~said)),
        "tn": int(np.sum(~truth & ~said)),
    }


def curve(y: ArrayLike, s: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the positives and the negatives at or above each different score, from the highest down."""
    truth, score = np.asarray(y).astype(np.int64), np.asarray(s, np.float64)
    order = np.argsort(-score, kind="stable")
    truth, score = truth[order], score[order]
    last = np.concatenate([np.diff(score) != 0, [True]])[: len(score)]
    return np.cumsum(truth)[last], np.cumsum(1 - truth)[last]


def _has_both(true: NDArray[np.int64], false: NDArray[np.int64]) -> bool:
    return len(true) > 0 and true[-1] > 0 and false[-1] > 0
