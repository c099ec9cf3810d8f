"""Where an interval starts: on multiples in UTC up to an hour and beyond, on local midnight for whole days.

All times are UTC epoch seconds. A day in a zone with summer time lasts 23 or 25 hours twice a year, so an
interval of days has no fixed length: ask `next_start`, never add. Pure arithmetic on arrays.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import LimitReached
from masthead.metrics.zones import DAY_S, check_interval, zone_of

# Days are counted from a Monday, so that an interval of 7 days is a calendar week.
_MONDAY = 4 * DAY_S  # 1970-01-05T00:00Z
_EPOCH = datetime(1970, 1, 1)
_MAX_INTERVALS = 50_000_000


def interval_start(time_s: float, interval_s: int, zone: str = "UTC") -> int:
    """Return the start of the interval that holds `time_s`.

    >>> interval_start(1_648_164_899, 300) == 1_648_164_600
    True
    """
    return int(interval_starts(np.array([time_s]), interval_s, zone)[0])


def interval_starts(times: NDArray[np.float64], interval_s: int, zone: str = "UTC") -> NDArray[np.int64]:
    """Return (rows,) int64: the start of the interval of each of `times` ((rows,) finite seconds)."""
    check_interval(interval_s)
    whole = np.floor(times).astype(np.int64)
    if interval_s % DAY_S or zone_of(zone) is UTC:
        origin = 0 if interval_s % DAY_S else _MONDAY
        return whole - (whole - origin) % interval_s
    local = whole + utc_offsets(whole, zone)
    days = local - (local - _MONDAY) % interval_s
    unique, places = np.unique(days, return_inverse=True)
    return np.array([_first_instant(day, zone) for day in unique.tolist()], np.int64)[places]


def next_start(start_s: int, interval_s: int, zone: str = "UTC") -> int:
    """Return the start of the interval after the one that starts at `start_s`."""
    if interval_s % DAY_S or zone_of(zone) is UTC:
        return start_s + interval_s
    # Half a day beyond is inside the next interval, whatever the length of the days between.
    return interval_start(start_s + interval_s + DAY_S // 2, interval_s, zone)


def interval_range(first_s: int, last_s: int, interval_s: int, zone: str = "UTC") -> NDArray[np.int64]:
    """Return the starts from `first_s` to `last_s`, both included; empty when `last_s` lies before.

    Raises:
        LimitReached: More than 50 million intervals, which one wrong year in a file can ask for.
    """
    if (last_s - first_s) // interval_s > _MAX_INTERVALS:
        raise LimitReached(
            f"time: expected at most {_MAX_INTERVALS:,} intervals, got {(last_s - first_s) // interval_s:,}"
        )
    if interval_s % DAY_S or zone_of(zone) is UTC:
        return np.arange(first_s, last_s + 1, interval_s, dtype=np.int64)
    middles = np.arange(first_s + DAY_S // 2, last_s + DAY_S, interval_s, dtype=np.float64)
    starts = np.unique(interval_starts(middles, interval_s, zone))
    return starts[(starts >= first_s) & (starts <= last_s)]


def utc_offsets(times: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return (rows,) int64: seconds that local time is ahead of UTC at each of `times` (UTC)."""
    return _by_day(times, zone, lambda second: _offset_at(second, zone))


def utc_of_local(
    local: NDArray[np.int64], zone: str, series: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], int, int]:
    """Return (UTC seconds, stamps that were ambiguous, stamps that did not exist) for local clock readings.

    A stamp in the repeated autumn hour takes its first reading unless the row before it, of the same
    series, has already reached that; one in the spring gap moves forward by the gap.

    Args:
        local: (rows,) int64, seconds since 1970-01-01T00:00 on the local clock, in row order.
        series: (rows,) int64, which series a row belongs to; None = all rows are one.
    """
    if zone_of(zone) is UTC or len(local) == 0:
        return local, 0, 0
    first = local - _by_day(local, zone, lambda second: _local_offset(second, zone, fold=0), margin_s=DAY_S)
    second = local - _by_day(local, zone, lambda stamp: _local_offset(stamp, zone, fold=1), margin_s=DAY_S)
    twice, moved = np.flatnonzero(second > first), int((second < first).sum())
    result = first.copy()
    rows = _rows_before(series, len(local))
    for row in twice.tolist():
        before = result[rows[row]] if rows[row] >= 0 else first[row] - 1
        # Without known series an equal stamp is more likely another series than another hour. Beyond the
        # repeated hour the row before says nothing: the file is out of order there.
        passed = before > first[row] or (series is not None and before == first[row])
        if passed and before < 2 * second[row] - first[row]:
            result[row] = second[row]
    return result, len(twice), moved


def local_seconds(moment: datetime) -> int:
    """Return seconds since 1970-01-01T00:00 on the clock that shows the naive `moment`; its fraction is cut."""
    return (moment - _EPOCH) // timedelta(seconds=1)


def _rows_before(series: NDArray[np.int64] | None, rows: int) -> NDArray[np.int64]:
    """Return (rows,) int64: the row before each one in its series, -1 for the first."""
    if series is None:
        return np.arange(-1, rows - 1)
    order = np.argsort(series, kind="stable")
    before = np.full(rows, -1, np.int64)
    same = series[order[1:]] == series[order[:-1]]
    before[order[1:][same]] = order[:-1][same]
    return before


def _by_day(
    times: NDArray[np.int64], zone: str, at: Callable[[int], int], margin_s: int = 0
) -> NDArray[np.int64]:
    """Return at(time) for each time, asked once per day where the zone's offset does not change.

    A year of readings holds two days with a change, so a million rows cost a few hundred questions.
    """
    if zone_of(zone) is UTC:
        return np.zeros(len(times), np.int64)
    days, places = np.unique(times // DAY_S, return_inverse=True)
    calm, offsets = _calm_days(days.tolist(), zone, margin_s)
    result = np.array(offsets, np.int64)[places]
    rough = np.flatnonzero(~np.array(calm, bool)[places])
    if len(rough):
        unique, where = np.unique(times[rough], return_inverse=True)
        result[rough] = np.array([at(second) for second in unique.tolist()], np.int64)[where]
    return result


def _calm_days(days: Sequence[int], zone: str, margin_s: int) -> tuple[list[bool], list[int]]:
    """Return per day whether one offset holds all day (and `margin_s` around it), and that offset."""
    calm, offsets = [], []
    for day in days:
        steps = range(day * DAY_S - margin_s, (day + 1) * DAY_S + margin_s + 1, DAY_S // 4)
        seen = {_offset_at(second, zone) for second in steps}
        calm.append(len(seen) == 1)
        offsets.append(seen.pop())
    return calm, offsets


@lru_cache(maxsize=65_536)
def _offset_at(second: int, zone: str) -> int:
    moment = (_EPOCH + timedelta(seconds=second)).replace(tzinfo=UTC).astimezone(zone_of(zone))
    return _seconds(moment.utcoffset())


def _local_offset(second: int, zone: str, *, fold: int) -> int:
    moment = (_EPOCH + timedelta(seconds=second)).replace(tzinfo=zone_of(zone), fold=fold)
    return _seconds(moment.utcoffset())


def _first_instant(local_midnight: int, zone: str) -> int:
    """Return the UTC second at which a local day starts; one without midnight starts when the gap ends."""
    return local_midnight - _local_offset(local_midnight, zone, fold=0)


def _seconds(offset: timedelta | None) -> int:
    return int(offset.total_seconds()) if offset is not None else 0
