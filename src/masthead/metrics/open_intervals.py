"""Which interval of a live detector is open, and when it closes: by event time, or by clock when nothing comes.

Pure: readings in, decisions out. Rows are used one by one in the order of arrival, so how they were cut into batches
cannot change what is decided. A row of a closed interval is late: counted, never scored again.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.metrics.contributions import OTHER
from masthead.metrics.detection import LoggedCube
from masthead.metrics.intervals import interval_start, interval_starts, next_start
from masthead.metrics.readers import Rows
from masthead.metrics.spec import DetectorSpec

__all__ = ["CLOCK_SLACK_S", "Arrivals", "Counts", "OpenIntervals", "Place", "oldest_first_s"]

Place = tuple[int, int]
"""(sequence in the log of readings, place of the record in it)."""

CLOCK_SLACK_S = 30.0  # what a record may still be on its way after its interval's end and delay
# Until a first interval was closed, a row so many intervals older than its arrival (beyond delay and slack) is late:
# one old reading must not open a world in the past whose gap to the present counts as silence.
_OLDEST_FIRST = 3
# After a longer hole the empty intervals between are not closed one by one: nothing was watched there.
MOST_EMPTY = 1_000
MOST_THINGS = 200
BEFORE_ALL: Place = (0, -1)
_PLAIN = ("rows", "intervals", "empty", "late", "duplicates", "late_in_a_row")


@dataclass(slots=True)
class Counts:
    """What was met so far.

    Attributes:
        rows: Rows used. empty: Intervals without any. intervals: Intervals with some.
        late, duplicates: Rows not used. refused: Records that could not be used, by reason.
        late_in_a_row: Late rows since the last one that was not.
    """

    rows: int = 0
    intervals: int = 0
    empty: int = 0
    late: int = 0
    duplicates: int = 0
    late_in_a_row: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    late_by_thing: Counter[str] = field(default_factory=Counter)

    @property
    def closed(self) -> int:
        """Intervals closed so far."""
        return self.intervals + self.empty

    def add_interval(self, used: int, dropped: int) -> None:
        """Count a closed interval."""
        self.rows += used
        self.duplicates += dropped
        self.intervals += used > 0
        self.empty += used == 0

    def add_late(self, thing: str | None) -> None:
        """Count a late row; senders beyond the first `MOST_THINGS` are counted together."""
        self.late += 1
        self.late_in_a_row += 1
        name = thing or ""
        if name not in self.late_by_thing and len(self.late_by_thing) >= MOST_THINGS:
            name = OTHER
        self.late_by_thing[name] += 1

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return plain | {"refused": dict(self.refused), "late_by_thing": dict(self.late_by_thing)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Counts":
        """Return what `to_json` wrote."""
        counters = {name: Counter(found.get(name, {})) for name in ("refused", "late_by_thing")}
        return cls(**{**found, **counters})


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Rows of one message of the log, in the order of arrival.

    Attributes:
        rows: The usable ones; `lines` are places in the message, from 1.
        things: Who sent each record of the message.
        old: (rows,) bool: which came too long after their event time to open the first interval.
        refused: (place, reason) of what cannot be used, by place.
        sequence: Of the message. first: Place of its first record among all of that sequence. size: Records in it.
    """

    rows: Rows
    things: Sequence[str | None]
    old: NDArray[np.bool_]
    refused: Sequence[tuple[int, str]]
    sequence: int
    first: int
    size: int


class OpenIntervals:
    """The open intervals of one detector.

    Args:
        spec: Interval, zone and delay are taken from it.
        cube: Collects the rows of open intervals.
        floor_s: Rows before this are late from the start: a history has told of them.

    Attributes:
        watermark_s: Largest event time seen; minus infinity before the first.
        next_s: Start of the interval to close next; None before the first row.
        done: Last record used in this life.
        counted: Last record whose effects on the counts were written down in an earlier life.
    """

    def __init__(self, spec: DetectorSpec, cube: LoggedCube, *, floor_s: float = -np.inf) -> None:
        self._interval_s, self._zone, self._delay_s = spec.interval_s, spec.zone, spec.delay_s
        self._cube, self._floor_s = cube, floor_s
        self._firsts: dict[int, int] = {}
        self.watermark_s = -np.inf
        self.next_s: int | None = None
        self.counts = Counts()
        self.done: Place = BEFORE_ALL
        self.counted: Place = BEFORE_ALL

    # ------------------------------------------------------------------ rows

    def add(self, arrivals: Arrivals) -> Iterator[int]:
        """Use rows; yield each interval that must be closed before the next row is used.

        The caller closes it before going on. When that fails, the same arrivals may be given again: what has
        been used is passed over.

        Raises:
            LimitReached: More rows than an interval may hold.
        """
        rows = arrivals.rows
        starts = (
            interval_starts(rows.times, self._interval_s, self._zone) if len(rows) else np.zeros(0, np.int64)
        )
        row = int(
            np.searchsorted(arrivals.first + rows.lines - 1, self._used_of(arrivals.sequence), side="right")
        )
        while row < len(rows):
            end = row + self._run(rows.times[row:], starts[row:], arrivals.old[row:])
            if end > row:
                self._use(arrivals, starts, row, end)
            else:
                self.watermark_s = max(self.watermark_s, float(rows.times[row]))
                yield from self.due_by_watermark()
            row = end
        if arrivals.size:
            self._reach(arrivals, arrivals.size - 1)

    def _used_of(self, sequence: int) -> float:
        """Return the last place of a message that was used in this life, -1 for none."""
        return -1 if sequence > self.done[0] else np.inf if sequence < self.done[0] else self.done[1]

    def _run(self, times: NDArray[np.float64], starts: NDArray[np.int64], old: NDArray[np.bool_]) -> int:
        """Return how many of the next rows can be used before an interval must be closed; 0 = one must be first."""
        # Nothing is late before the first close but what is old, so an older row moves the beginning back.
        may_begin = (starts >= self._floor_s) & ~old
        if not self.counts.closed:
            fresh = np.flatnonzero(may_begin)
            if len(fresh) and (self.next_s is None or starts[fresh[0]] < self.next_s):
                if fresh[0] > 0:
                    return int(fresh[0])
                self.next_s = int(starts[0])
        stops = times >= self._bar()
        if not self.counts.closed and self.next_s is not None:
            stops |= (starts < self.next_s) & may_begin
        return int(np.argmax(stops)) if stops.any() else len(times)

    def _bar(self) -> float:
        """Return the event time at which the next interval closes; infinity while none is known."""
        if self.next_s is None:
            return np.inf
        return next_start(self.next_s, self._interval_s, self._zone) + self._delay_s

    def _use(self, arrivals: Arrivals, starts: NDArray[np.int64], first: int, end: int) -> None:
        """Put rows `first` to before `end` into their intervals; those of closed ones are late."""
        rows, inside = arrivals.rows, starts[first:end]
        late = inside < (np.inf if self.next_s is None else self.next_s)
        for start in np.unique(inside[~late]).tolist():
            self._cube.add(start, rows.take(first + np.flatnonzero(inside == start)))
            self._firsts.setdefault(start, arrivals.sequence)
        self.watermark_s = max(self.watermark_s, float(rows.times[first:end].max()))
        for row in (first + np.flatnonzero(late | _ends(~late))).tolist():
            place = int(rows.lines[row]) - 1
            if (arrivals.sequence, arrivals.first + place) <= self.counted:
                continue
            if late[row - first]:
                self.counts.add_late(arrivals.things[place])
            else:
                self.counts.late_in_a_row = 0
        self._reach(arrivals, int(rows.lines[end - 1]) - 1)

    def _reach(self, arrivals: Arrivals, place: int) -> None:
        """Count what was refused up to a record, and remember that all up to it was used."""
        last = (arrivals.sequence, arrivals.first + place)
        for refused, reason in arrivals.refused:
            if max(self.done, self.counted) < (arrivals.sequence, arrivals.first + refused) <= last:
                self.counts.refused[reason] += 1
        self.done = max(self.done, last)

    # ------------------------------------------------------------------ closing

    def due_by_watermark(self) -> Iterator[int]:
        """Yield intervals whose end and delay the watermark has passed, in order; each must be closed in turn."""
        while self.next_s is not None and self.watermark_s >= self._bar():
            yield self.next_s

    def due_by_clock(self, now_s: float) -> Iterator[int]:
        """Yield intervals whose end, delay and slack the clock has passed: what makes silence visible."""
        while self.next_s is not None and now_s >= self._bar() + CLOCK_SLACK_S:
            if not self._firsts and now_s - self.next_s > MOST_EMPTY * self._interval_s:
                past = now_s - CLOCK_SLACK_S - self._delay_s - self._interval_s
                self.next_s = max(self.next_s, interval_start(past, self._interval_s, self._zone))
            yield self.next_s

    def closed(self, start_s: int, used: int, dropped: int) -> None:
        """Go on to the interval after `start_s`, which had `used` rows; a hole beyond the bound is jumped over."""
        self.counts.add_interval(used, dropped)
        self._firsts.pop(start_s, None)
        following = next_start(start_s, self._interval_s, self._zone)
        waiting = min(self._firsts, default=None)
        if waiting is None and np.isfinite(self.watermark_s):
            waiting = interval_start(self.watermark_s, self._interval_s, self._zone)
        if waiting is not None and waiting - following > MOST_EMPTY * self._interval_s:
            following = waiting
        self.next_s = following

    def floor(self) -> int:
        """Return the start of the first interval that is not of the past; 0 without a history."""
        return int(self._floor_s) if np.isfinite(self._floor_s) else 0

    def open_from(self) -> int | None:
        """Return the smallest sequence that an open interval holds rows of; None without any."""
        return min(self._firsts.values(), default=None)

    # ------------------------------------------------------------------ state

    def to_json(self) -> dict[str, Any]:
        """Return what must outlive a crash; rows of open intervals are read again from the log of readings."""
        return {
            "floor": self._floor_s if np.isfinite(self._floor_s) else None,
            "watermark": self.watermark_s if np.isfinite(self.watermark_s) else None,
            "next": self.next_s,
            "seen": list(max(self.done, self.counted)),
            "open_from": self.open_from(),
            "counts": self.counts.to_json(),
        }

    def restore(self, found: Mapping[str, Any]) -> None:
        """Take over what `to_json` wrote."""
        self._floor_s = -np.inf if found["floor"] is None else float(found["floor"])
        self.watermark_s = -np.inf if found["watermark"] is None else float(found["watermark"])
        self.next_s = found["next"]
        self.counted = (int(found["seen"][0]), int(found["seen"][1]))
        self.counts = Counts.from_json(found["counts"])


def oldest_first_s(spec: DetectorSpec) -> float:
    """Return how long after its event time a row may arrive and still open the first interval, in seconds.

    >>> oldest_first_s(DetectorSpec("air", interval="5m", delay_s=60))
    990.0
    """
    return _OLDEST_FIRST * spec.interval_s + spec.delay_s + CLOCK_SLACK_S


def _ends(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the last of each run of chosen places."""
    found = chosen.copy()
    found[:-1] &= ~chosen[1:]
    return found
