"""Values of groups to one value each: the same bits for any order of the rows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_QUANTILE = {"p50": 0.5, "p95": 0.95}


def aggregate(
    aggregation: str,
    columns: Sequence[NDArray[np.float64]],
    times: NDArray[np.float64],
    group: NDArray[np.int64],
    size: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (size,) float64 aggregates and (size,) int64 counts per group; groups without rows count 0."""
    count = np.bincount(group, minlength=size)
    if aggregation == "count":
        return count.astype(np.float64), count
    if aggregation == "ratio":
        upper, lower = (_sums(column, group, size) for column in columns)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            found = np.where(lower != 0, upper / lower, np.nan)
        return found, np.where(count > 0, np.maximum(np.rint(np.abs(lower)), 1), 0).astype(np.int64)
    column = columns[0]
    if aggregation in ("sum", "avg"):
        total = _sums(column, group, size)
        return (total if aggregation == "sum" else total / np.maximum(count, 1)), count
    if aggregation in _QUANTILE:
        return _quantiles(column, group, count, _QUANTILE[aggregation]), count
    # Of several assignments to one place the last stays: ascending order leaves the largest.
    order = np.lexsort([column, times]) if aggregation == "last" else np.argsort(column, kind="stable")
    order = order[::-1] if aggregation == "min" else order
    found = np.zeros(size)
    found[group[order]] = column[order]
    return found, count


def _sums(column: NDArray[np.float64], group: NDArray[np.int64], size: int) -> NDArray[np.float64]:
    """Return (size,) sums per group, added one by one in ascending order: the same bits for any order of rows."""
    order = np.argsort(column, kind="stable")
    return np.bincount(group[order], weights=column[order], minlength=size).astype(np.float64, copy=False)


def _quantiles(
    column: NDArray[np.float64], group: NDArray[np.int64], count: NDArray[np.int64], share: float
) -> NDArray[np.float64]:
    """Return (groups,) quantiles, interpolated between neighbours; 0 for groups without rows."""
    ordered = column[np.lexsort([column, group])]
    if not len(ordered):
        return np.zeros(len(count))
    starts = np.cumsum(count) - count
    place: NDArray[np.float64] = share * np.maximum(count - 1, 0)
    below = np.floor(place).astype(np.int64)
    last = len(ordered) - 1
    low = ordered[np.minimum(starts + below, last)]
    high = ordered[np.minimum(starts + np.minimum(below + 1, np.maximum(count - 1, 0)), last)]
    found: NDArray[np.float64] = low + (place - below) * (high - low)
    return found
