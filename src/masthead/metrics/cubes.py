"""Rows to one value per series and interval, whatever the order in which the rows arrived.

A *cell* is a tuple of dimension values with `*` where a dimension is rolled up; each cell holds one series
per measure, and the index of a series is never given to another. Values are summed in ascending order,
and new cells of an interval are numbered in the order of their names: neither arrival nor batching can
change a bit or an index. One interval at a time (live) and many at once (files) run the same code.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, LimitReached, shown
from masthead.metrics.aggregates import aggregate
from masthead.metrics.bounds import Limits
from masthead.metrics.cells import Cells
from masthead.metrics.columns import LARGEST, NO_LABEL, join_labels
from masthead.metrics.contributions import ROLLED_UP, SeriesKey
from masthead.metrics.readers import Rows
from masthead.metrics.spec import AGGREGATIONS, Measure

ROLLUPS = ("none", "single", "all")
RETIRED_AFTER = 1000  # intervals without data after which a cell counts as vanished
_VERSION = 1


def columns_of(measure: Measure) -> tuple[str, ...]:
    """Return the columns that must be numbers for a measure; none where it counts rows (`*`).

    >>> columns_of(Measure("CO")), columns_of(Measure("n", "*", "count"))
    (('CO',), ())
    """
    if measure.aggregation == "ratio":
        return measure.numerator, measure.denominator
    return (
        () if measure.aggregation == "count" and measure.column == "*" else (measure.column or measure.name,)
    )


@dataclass(frozen=True, slots=True)
class Block:
    """Closed intervals, one row each.

    Attributes:
        keys: (measure, dimension values) per series, in index order.
        values: (intervals, series) float64, NaN = missing.
        counts: (intervals, series) int64, records behind each value; the denominator's sum for a ratio.
        present: (intervals, series) bool, whether the interval held rows of the cell.
        records: (intervals,) int64, rows used. duplicates: (intervals,) int64, rows dropped as equal.
    """

    keys: Sequence[SeriesKey]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    present: NDArray[np.bool_]
    records: NDArray[np.int64]
    duplicates: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Closed:
    """One closed interval; arrays as in `Block` without their first axis. Leaves are the keys without `*`."""

    start_s: int
    keys: Sequence[SeriesKey]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]
    records: int
    duplicates: int


class Cube:
    """Collects rows per interval and closes intervals to values.

    Args:
        measures: At least one; names unique.
        dimensions: Columns of `Rows.labels`.
        rollups: none; single = also each single value and the total; all = every combination. A roll-up
            with exactly one member would repeat it and is no series until a second one appears.
        dedupe: none; exact = rows equal in key, time, dimensions and measures count once; key = rows with
            an equal, non-empty key count once.

    Raises:
        InvalidInput: An unknown choice or a name used twice. LimitReached: Too many measures or dimensions.
    """

    def __init__(
        self,
        measures: Sequence[Measure],
        dimensions: Sequence[str] = (),
        rollups: str = "single",
        limits: Limits | None = None,
        dedupe: Literal["none", "exact", "key"] = "none",
    ) -> None:
        self.measures, self.dimensions = tuple(measures), tuple(dimensions)
        self.rollups, self.limits = rollups, limits or Limits()
        self.dedupe: Literal["none", "exact", "key"] = dedupe
        self._check()
        self._registry = Cells(self.dimensions, rollups)
        self._closes = 0
        self._last_seen = np.zeros(0, np.int64)  # per cell: the close that last held rows of it
        self._keys: list[SeriesKey] = []
        self._pending: dict[int, list[Rows]] = {}
        self._waiting: dict[int, int] = {}

    @property
    def keys(self) -> Sequence[SeriesKey]:
        """(measure, dimension values) of every series so far, in index order; grows at the end only."""
        return self._keys

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that must be numbers, each once."""
        return tuple(dict.fromkeys(column for measure in self.measures for column in columns_of(measure)))

    def open_intervals(self) -> list[int]:
        """Return the starts of intervals that hold rows and are not closed, in order."""
        return sorted(self._pending)

    def records(self, start_s: int) -> int:
        """Return how many rows wait in an open interval."""
        return self._waiting.get(start_s, 0)

    def retired(self) -> NDArray[np.bool_]:
        """Return (series,) bool: which series had no data for 1,000 intervals; data revives them."""
        return np.repeat(self._closes - 1 - self._last_seen >= RETIRED_AFTER, len(self.measures))

    def add(self, start_s: int, rows: Rows) -> None:
        """Put rows of one interval aside until it is closed.

        Raises:
            LimitReached: More rows than an interval may hold; none of `rows` was taken.
        """
        waiting = self._waiting.get(start_s, 0) + len(rows)
        if waiting > self.limits.records:
            raise LimitReached(
                f"records: expected at most {self.limits.records:,} in one interval, got {waiting:,}"
            )
        self._waiting[start_s] = waiting
        self._pending.setdefault(start_s, []).append(rows)

    def close(self, start_s: int) -> Closed:
        """Return the values of one interval; one without rows gives missing values.

        Raises:
            LimitReached: Its rows need more series than allowed; names the column that grew.
        """
        parts = self._pending.pop(start_s, [])
        self._waiting.pop(start_s, None)
        rows = together(parts)
        block = self.close_block(rows, np.zeros(0 if rows is None else len(rows), np.int64), 1)
        return Closed(
            start_s,
            block.keys,
            block.values[0],
            block.counts[0],
            int(block.records[0]),
            int(block.duplicates[0]),
        )

    def close_block(self, rows: Rows | None, step: NDArray[np.int64], steps: int) -> Block:
        """Return the values of `steps` intervals that follow each other.

        Args:
            rows: In any order. step: (rows,) int64, the interval of each row, 0 to steps - 1.

        Raises:
            LimitReached: More series or records than allowed.
        """
        size = len(self.measures)
        duplicates = np.zeros(steps, np.int64)
        born = np.zeros(0, np.int64)
        leaf = np.zeros(0, np.int64)
        if rows is not None and len(rows):
            self._check_records(np.bincount(step, minlength=steps))
            leaf, born = self._register(rows, step)
            kept = self._distinct(rows, step, leaf)
            if kept is not None:
                duplicates = np.bincount(step, minlength=steps) - np.bincount(step[kept], minlength=steps)
                rows, step, leaf = rows.take(kept), step[kept], leaf[kept]
        cells = len(self._registry.cells)
        records = np.bincount(step, minlength=steps)
        values = np.full((steps, cells, size), np.nan)
        counts = np.zeros((steps, cells, size), np.int64)
        seen = np.zeros((steps, cells), bool)
        for cell_of_leaf in self._registry.levels():
            at = cell_of_leaf[leaf]
            inside = at >= 0
            group = (step * cells + at)[inside]
            seen.reshape(-1)[group] = True
            for place, measure in enumerate(self.measures):
                if rows is not None and len(group):
                    _fill(values[:, :, place], counts[:, :, place], measure, rows, inside, group)
        self._mask_unborn(values, counts, seen, born)
        self._fill_zeros(values, seen, born, records > 0)
        with np.errstate(invalid="ignore"):
            values[np.abs(values) > LARGEST] = np.nan  # a sum or a ratio no double counts in ones any more
        shape = (steps, cells * size)
        present = np.repeat(seen, size, axis=1)
        return Block(self._keys, values.reshape(shape), counts.reshape(shape), present, records, duplicates)

    def keys_after(self, rows: Rows, step: NDArray[np.int64]) -> Sequence[SeriesKey]:
        """Return the keys there will be once these rows are closed; this cube stays as it is.

        Raises:
            LimitReached: They need more series than allowed.
        """
        ahead = copy.deepcopy(self)
        if len(rows):
            ahead._register(rows, step)
        return ahead._keys

    def part(self, rows: Rows) -> "Cube":
        """Return a cube of its own that knows, of this one's series, those that `rows` belong to; it holds no rows."""
        found = Cube(self.measures, self.dimensions, self.rollups, self.limits, self.dedupe)
        texts = [[_escaped(value) for value in rows.labels[name].values] for name in self.dimensions]
        codes = (rows.labels[name].codes.tolist() for name in self.dimensions)
        leaves = sorted(
            {
                tuple(text[place] for text, place in zip(texts, row, strict=True))
                for row in zip(*codes, strict=True)
            }
            if self.dimensions
            else {()}
        )
        found._registry = self._registry.part(leaves)
        found._last_seen = np.zeros(len(found._registry.cells), np.int64)
        found._name_series()
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the registry as JSON values; rows of open intervals are not part of it."""
        return {
            "version": _VERSION,
            "measures": [measure.name for measure in self.measures],
            "dimensions": list(self.dimensions),
            "rollups": self.rollups,
            "leaves": [list(leaf) for leaf in self._registry.leaves],
            "cells": [list(cell) for cell in self._registry.cells],
            "last_seen": self._last_seen.tolist(),
            "closes": self._closes,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over the registry that `to_json` wrote; this cube must be fresh.

        Raises:
            InvalidInput: It was written by a cube of other measures, dimensions or roll-ups.
        """
        mine = (_VERSION, [measure.name for measure in self.measures], list(self.dimensions), self.rollups)
        theirs = tuple(state.get(name) for name in ("version", "measures", "dimensions", "rollups"))
        if theirs != mine or self._keys:
            raise InvalidInput(f"state: expected that of a cube {mine}, got {shown(theirs)}")
        for leaf in state["leaves"]:
            self._registry.add_leaf(tuple(leaf))
        self._registry.restore_cells([tuple(cell) for cell in state["cells"]])
        self._last_seen = np.array(state["last_seen"], np.int64)
        self._closes = int(state["closes"])
        self._name_series()

    # --- checks ----------------------------------------------------------------------------------------

    def _check(self) -> None:
        self.limits.require(measures=len(self.measures), dimensions=len(self.dimensions))
        for name, given in (
            ("measures", [measure.name for measure in self.measures]),
            ("dimensions", list(self.dimensions)),
        ):
            if len(set(given)) < len(given):
                raise InvalidInput(f"{name}: expected different names, got {shown(given)}")
        if not self.measures:
            raise InvalidInput("measures: expected at least one, got none")
        for measure in self.measures:
            if measure.aggregation not in AGGREGATIONS:
                raise InvalidInput(
                    f"aggregation: expected one of {', '.join(AGGREGATIONS)}, got {shown(measure)}"
                )
        if self.rollups not in ROLLUPS:
            raise InvalidInput(f"rollups: expected none, single or all, got {shown(self.rollups)}")
        if self.dedupe not in ("none", "exact", "key"):
            raise InvalidInput(f"dedupe: expected none, exact or key, got {shown(self.dedupe)}")

    def _check_records(self, records: NDArray[np.int64]) -> None:
        if records.max(initial=0) > self.limits.records:
            raise LimitReached(
                f"records: expected at most {self.limits.records:,} in one interval, got {records.max():,}"
            )

    def _check_series(self, more: int) -> None:
        active = int((self._closes - self._last_seen < RETIRED_AFTER).sum())
        wanted = (active + more) * len(self.measures)
        if wanted > self.limits.series:
            column, values = self._registry.widest()
            raise LimitReached(
                f"{column}: expected at most {self.limits.series:,} series, got {wanted:,} or more; "
                f"the column has {values:,} values so far"
            )

    # --- registry --------------------------------------------------------------------------------------

    def _register(self, rows: Rows, step: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (rows,) int64 leaf of each row and (new cells,) int64 step at which each was born."""
        codes = np.zeros(len(rows), np.int64)
        for name in self.dimensions:
            column = rows.labels[name]
            _, codes = np.unique(codes * len(column.values) + column.codes, return_inverse=True)
        # The first row of each tuple, in order of step, so that cells are born when live would bear them.
        order = np.argsort(step, kind="stable")
        unique, first = np.unique(codes[order], return_index=True)
        first = order[first]
        texts = [[_escaped(value) for value in rows.labels[name].values] for name in self.dimensions]
        places = [rows.labels[name].codes[first].tolist() for name in self.dimensions]
        tuples = [
            tuple(text[place] for text, place in zip(texts, row, strict=True))
            for row in zip(*places, strict=True)
        ]
        if not self.dimensions:
            tuples = [()] * len(unique)
        new = [i for i, cell in enumerate(tuples) if cell not in self._registry.leaves]
        self._registry.note_values([tuples[i] for i in new])
        self._check_series(len(new))
        born: list[int] = []
        for i in sorted(new, key=lambda i: (step[first[i]], tuples[i])):
            born.extend([int(step[first[i]])] * self._registry.add_leaf(tuples[i]))
        if born:
            self._last_seen = np.concatenate([self._last_seen, np.full(len(born), self._closes)])
            self._name_series()
            self._check_series(0)
        leaves = np.array([self._registry.leaves[cell] for cell in tuples], np.int64)
        return leaves[codes], np.array(born, np.int64)

    def _name_series(self) -> None:
        for cell in self._registry.cells[len(self._keys) // len(self.measures) :]:
            self._keys.extend((measure.name, cell) for measure in self.measures)

    def _distinct(
        self, rows: Rows, step: NDArray[np.int64], leaf: NDArray[np.int64]
    ) -> NDArray[np.int64] | None:
        """Return the places of rows that are no repetition, None for all."""
        if self.dedupe == "none" or (self.dedupe == "key" and rows.key is None):
            return None
        bits = [_bits(rows.times), *(_bits(rows.numbers[column]) for column in self.columns)]
        key = [rows.key.codes] if rows.key is not None else []
        same = [*key, step] if self.dedupe == "key" else [*bits, *key, leaf, step]
        order = np.lexsort([*bits[::-1], *same])
        repeated = np.ones(len(rows), bool)
        repeated[0] = False
        for column in same:
            repeated[1:] &= np.diff(column[order]) == 0
        if self.dedupe == "key" and rows.key is not None and NO_LABEL in rows.key.values:
            repeated &= rows.key.codes[order] != rows.key.values.index(NO_LABEL)
        return None if not repeated.any() else np.sort(order[~repeated])

    # --- values ----------------------------------------------------------------------------------------

    def _mask_unborn(
        self,
        values: NDArray[np.float64],
        counts: NDArray[np.int64],
        seen: NDArray[np.bool_],
        born: NDArray[np.int64],
    ) -> None:
        """A roll-up that was no series yet has no value there."""
        older = values.shape[1] - len(born)
        for place in np.flatnonzero(born).tolist():
            before = slice(0, int(born[place]))
            values[before, older + place], counts[before, older + place] = np.nan, 0
            seen[before, older + place] = False

    def _fill_zeros(
        self,
        values: NDArray[np.float64],
        seen: NDArray[np.bool_],
        born: NDArray[np.int64],
        delivered: NDArray[np.bool_],
    ) -> None:
        """Sums and counts of a known cell are 0 where the source delivered, but nothing of that cell."""
        steps, cells = seen.shape
        now = self._closes + np.arange(steps)[:, None]
        last = np.maximum.accumulate(np.where(seen, now, self._last_seen[None, :]), axis=0)
        alive = now - last < RETIRED_AFTER
        if len(born):
            alive[:, cells - len(born) :] &= np.arange(steps)[:, None] >= born[None, :]
        for place, measure in enumerate(self.measures):
            if measure.aggregation in ("sum", "count"):
                column = values[:, :, place]
                column[np.isnan(column) & alive & delivered[:, None]] = 0.0
        if steps:
            self._last_seen = last[-1]
        self._closes += steps


def _escaped(value: str) -> str:
    return value if value != ROLLED_UP else f"({ROLLED_UP})"


def together(parts: Sequence[Rows]) -> Rows | None:
    """Return several batches as one; None for none."""
    if len(parts) < 2:
        return parts[0] if parts else None
    first = parts[0]
    keys = [part.key for part in parts if part.key is not None]
    return Rows(
        times=np.concatenate([part.times for part in parts]),
        numbers={name: np.concatenate([part.numbers[name] for part in parts]) for name in first.numbers},
        labels={name: join_labels([part.labels[name] for part in parts]) for name in first.labels},
        key=join_labels(keys) if len(keys) == len(parts) else None,
        files=(),
        file=np.zeros(sum(map(len, parts)), np.int64),
        lines=np.concatenate([part.lines for part in parts]),
    )


def _bits(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bit patterns, with one zero and one NaN, so that equal readings are equal integers."""
    plain = np.where(np.isnan(values), np.nan, values + 0.0)
    return plain.view(np.int64)


def _fill(
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    measure: Measure,
    rows: Rows,
    inside: NDArray[np.bool_],
    group: NDArray[np.int64],
) -> None:
    """Write one measure of the groups ((rows inside,) int64, places in `values` flattened) into `values`."""
    # Adding 0 turns -0.0 into 0.0: the two are equal, so their order would be that of arrival.
    columns = [rows.numbers[column][inside] + 0.0 for column in columns_of(measure)]
    known = np.ones(len(group), bool)
    for column in columns:
        known &= ~np.isnan(column)
    group = group[known]
    columns = [column[known] for column in columns]
    found, count = aggregate(measure.aggregation, columns, rows.times[inside][known], group, values.size)
    cells = values.shape[1]
    here = np.flatnonzero(count)
    values[here // cells, here % cells] = found[here]
    counts[here // cells, here % cells] = count[here]
