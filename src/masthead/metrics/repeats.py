"""How many rows of an open interval repeat an earlier one, known while they come.

What counts is decided when the interval closes, from the rows themselves. This is for people who look before: each
row is looked at once and kept as 64 bits, so a look costs what is new since the last one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masthead.metrics.columns import NO_LABEL, Labels
from masthead.metrics.readers import Rows

__all__ = ["Repeats"]

_NOTHING = np.zeros(0, np.uint64)


class Repeats:
    """Counts the repeated rows of one interval.

    Args:
        columns, dimensions: The numbers and labels that belong to a row.
        by_key: Rows of an equal, non-empty key are the same; else those equal in key, time, dimensions and numbers.

    Attributes:
        count: Rows that repeat an earlier one, of those looked at.
    """

    def __init__(self, columns: Sequence[str], dimensions: Sequence[str], *, by_key: bool) -> None:
        self._columns, self._dimensions, self._by_key = tuple(columns), tuple(dimensions), by_key
        self._seen = _NOTHING
        self._looked = 0
        self.count = 0

    def look(self, parts: Sequence[Rows]) -> int:
        """Return `count` after looking at what is new: the parts hold the rows of all earlier looks first."""
        new = sum(map(len, parts)) - self._looked
        self._looked += new
        for part in reversed(parts):
            if new <= 0:
                break
            size = min(new, len(part))
            new -= size
            self._add(part if size == len(part) else part.take(np.arange(len(part) - size, len(part))))
        return self.count

    def _add(self, rows: Rows) -> None:
        prints = self._prints(rows)
        fresh = np.unique(prints)
        at = np.searchsorted(self._seen, fresh)
        known = np.append(self._seen, np.uint64(0))[at] == fresh
        known &= at < len(self._seen)
        self.count += len(prints) - int((~known).sum())
        self._seen = np.insert(self._seen, at[~known], fresh[~known])

    def _prints(self, rows: Rows) -> NDArray[np.uint64]:
        """Return 64 bits for each row that can be a repetition: equal for equal rows, different for nearly all others."""
        keys = [] if rows.key is None else [_hashed(rows.key)]
        if self._by_key:
            if rows.key is None:
                return _NOTHING
            named = np.ones(len(rows), bool)
            if NO_LABEL in rows.key.values:
                named = rows.key.codes != rows.key.values.index(NO_LABEL)
            return _mixed(keys)[named]
        numbers = [rows.times, *(rows.numbers[column] for column in self._columns)]
        return _mixed(
            [*map(_bits, numbers), *keys, *(_hashed(rows.labels[name]) for name in self._dimensions)]
        )


def _bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the bit patterns, with one zero and one NaN."""
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)


def _hashed(column: Labels) -> NDArray[np.uint64]:
    """Return the hash of each row's label; it differs between processes, so it must not be kept."""
    return np.array([hash(value) for value in column.values], np.int64).view(np.uint64)[column.codes]


def _mixed(parts: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Return one well-mixed number a row. Source: the finaliser of splitmix64 (S. Vigna, 2015)."""
    found = np.zeros(len(parts[0]), np.uint64)
    for part in parts:
        found ^= part
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            found = (found ^ (found >> np.uint64(shift))) * np.uint64(factor)
        found ^= found >> np.uint64(31)
    return found
