"""What can be said about data before anything is learned from it: gaps, duplicates, order, refusals."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import utc
from masthead.metrics.intervals import interval_range, interval_starts
from masthead.metrics.problems import Problem, Problems
from masthead.metrics.readers import Rows

_LISTED_GAPS = 20
_LATE_IN_A_ROW = 10  # a few stragglers at the end of an interval are nobody's fault
_LATE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Gap:
    """Intervals without any row between two that have some; both ends belong to the gap."""

    start: str
    end: str
    intervals: int


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Counts over the rows of a data set.

    Attributes:
        rows: Usable rows. refused: What was not, whole rows and single values, with `refused_by_reason`.
        filtered: Rows that the filters left out.
        first, last: Event times, ISO 8601. time_format: The form they were read by.
        intervals_expected, intervals_present, intervals_empty: From the first row to the last; 0 without an interval.
        gaps: The longest 20.
        duplicates: Rows equal to an earlier one in time, dimensions and measures.
        duplicate_stamps: Rows whose time and dimensions an earlier one had.
        out_of_order: Rows whose time lies before that of the row above, in the same file.
        repeated_hour, moved_hour: Stamps of the two odd nights of a zone with summer time.
        missing: Measure column -> rows without a value.
        series: Tuples of dimension values. labels: Dimension -> different values.
        records_per_interval: min, median and max over the intervals with rows.
        problems: The first 1,000. notes: What was read in spite of a flaw, by reason.
    """

    rows: int
    refused: int
    refused_by_reason: dict[str, int]
    filtered: int
    first: str | None
    last: str | None
    time_format: str
    intervals_expected: int
    intervals_present: int
    intervals_empty: int
    gaps: tuple[Gap, ...]
    duplicates: int
    duplicate_stamps: int
    out_of_order: int
    repeated_hour: int
    moved_hour: int
    missing: dict[str, int]
    series: int
    labels: dict[str, int]
    records_per_interval: dict[str, float]
    problems: tuple[Problem, ...]
    notes: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return asdict(self)


def measure_quality(rows: Rows, problems: Problems, *, interval_s: int, zone: str = "UTC") -> DataQuality:
    """Return the quality of rows in the order in which they were read.

    Args:
        interval_s: Length of an interval; 0 = no intervals to count.
    """
    times = rows.times
    starts = interval_starts(times, interval_s, zone) if interval_s and len(rows) else np.zeros(0, np.int64)
    present, per_interval = np.unique(starts, return_counts=True)
    expected = (
        interval_range(int(present[0]), int(present[-1]), interval_s, zone) if len(present) else present
    )
    same_tuple, duplicates = _repetitions(rows)
    back = (np.diff(times) < 0) & (np.diff(rows.file) == 0)
    return DataQuality(
        rows=len(rows),
        refused=len(problems),
        refused_by_reason=dict(problems.by_reason.most_common()),
        filtered=rows.filtered,
        first=utc(float(times.min())).isoformat() if len(rows) else None,
        last=utc(float(times.max())).isoformat() if len(rows) else None,
        time_format=rows.time_format,
        intervals_expected=len(expected),
        intervals_present=len(present),
        intervals_empty=len(expected) - len(present),
        gaps=_gaps(expected, present),
        duplicates=duplicates,
        duplicate_stamps=same_tuple,
        out_of_order=int(back.sum()),
        repeated_hour=rows.repeated,
        moved_hour=rows.moved,
        missing={name: int(np.isnan(values).sum()) for name, values in rows.numbers.items()},
        series=len(np.unique(_tuple_codes(rows))),
        labels={name: len(np.unique(column.codes)) for name, column in rows.labels.items()},
        records_per_interval=_spread(per_interval),
        problems=tuple(problems.kept),
        notes=dict(problems.notes.most_common()),
    )


def judge_arrivals(rows: int, late: int, late_in_a_row: int, delay_s: int) -> tuple[str, str] | None:
    """Return what is wrong with the times of a live source's records and what to do; None = nothing.

    Args:
        rows: Records used. late: Of closed intervals, not used. late_in_a_row: The latest of these, none used since.
        delay_s: How long intervals wait for their records now.

    >>> judge_arrivals(0, 1204, 1204, 0)[0]
    '1,204 of 1,204 records are older than the open interval: they are counted late and never scored'
    """
    if late_in_a_row >= _LATE_IN_A_ROW or (late_in_a_row and late > rows):
        since = "" if late_in_a_row == late else f", the last {late_in_a_row:,} without exception"
        message = (
            f"{late:,} of {late + rows:,} records are older than the open interval{since}: "
            "they are counted late and never scored"
        )
        return (
            message,
            "publish with current time stamps (check clock and zone), or score old rows in a backtest",
        )
    if late > _LATE_SHARE * (late + rows):
        message = f"{late:,} of {late + rows:,} records came after their interval was closed"
        return message, f"raise delay_s (now {delay_s:,} s) to what senders need"
    return None


def describe(quality: DataQuality) -> list[str]:
    """Return what a person should know, one sentence each; empty when nothing is odd."""
    lines = []
    if quality.refused:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in quality.refused_by_reason.items())
        lines.append(f"{quality.refused:,} refused: {reasons}")
    lines += [
        f"{reason} ({count:,}): bytes that are none are read as \ufffd"
        for reason, count in quality.notes.items()
    ]
    if quality.intervals_empty:
        longest = quality.gaps[0]
        lines.append(
            f"{quality.intervals_empty:,} of {quality.intervals_expected:,} intervals are empty, "
            f"the longest gap from {longest.start} to {longest.end}"
        )
    if quality.out_of_order:
        lines.append(f"{quality.out_of_order:,} rows stand before an earlier one; they were sorted")
    if quality.duplicate_stamps:
        lines.append(
            f"{quality.duplicate_stamps:,} rows repeat a time, {quality.duplicates:,} of them wholly"
        )
    if quality.repeated_hour or quality.moved_hour:
        lines.append(
            f"{quality.repeated_hour + quality.moved_hour:,} stamps lie in an hour that summer time repeats or skips"
        )
    return lines


def _spread(counts: NDArray[np.int64]) -> dict[str, float]:
    if not len(counts):
        return {}
    return {"min": int(counts.min()), "median": float(np.median(counts)), "max": int(counts.max())}


def _gaps(expected: NDArray[np.int64], present: NDArray[np.int64]) -> tuple[Gap, ...]:
    """Return the longest runs of empty intervals, longest first."""
    empty = np.flatnonzero(~np.isin(expected, present))
    if not len(empty):
        return ()
    breaks = np.flatnonzero(np.diff(empty) > 1)
    firsts, lasts = np.concatenate(([0], breaks + 1)), np.append(breaks, len(empty) - 1)
    runs = sorted(
        ((int(empty[a]), int(empty[b])) for a, b in zip(firsts, lasts, strict=True)),
        key=lambda run: (run[0] - run[1], run[0]),
    )
    return tuple(
        Gap(utc(int(expected[a])).isoformat(), utc(int(expected[b])).isoformat(), b - a + 1)
        for a, b in runs[:_LISTED_GAPS]
    )


def _tuple_codes(rows: Rows) -> NDArray[np.int64]:
    codes = np.zeros(len(rows), np.int64)
    for column in rows.labels.values():
        _, codes = np.unique(codes * len(column.values) + column.codes, return_inverse=True)
    return codes


def _repetitions(rows: Rows) -> tuple[int, int]:
    """Return how many rows repeat time and dimensions of another, and how many repeat the measures too."""
    if len(rows) < 2:
        return 0, 0
    numbers: Sequence[NDArray[np.float64]] = [
        np.nan_to_num(values, nan=1e300) for values in rows.numbers.values()
    ]
    codes = _tuple_codes(rows)
    order = np.lexsort([*numbers, codes, rows.times])
    stamps = (np.diff(rows.times[order]) == 0) & (np.diff(codes[order]) == 0)
    whole = stamps.copy()
    for values in numbers:
        whole &= np.diff(values[order]) == 0
    return int(stamps.sum()), int(whole.sum())
