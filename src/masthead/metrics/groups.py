"""Anomaly groups: series of one measure that were anomalous together, told as one story.

An *event* of one series opens when its severity reaches the opening bar and lasts while its undamped
severity stays there; a missing value neither extends nor ends it. Events of one measure and kind join
one group when they overlap or when at most two quiet intervals lie between them and their series share
a dimension value. A group closes after three quiet intervals, which is exactly when nothing could join
it any more. Silence and flat lines are kinds of their own, never mixed with values.

Synchronous and pure: no clock, no storage. The same intervals in the same order give the same changes,
also across `to_json` and `from_json`, and whatever the order in which series were registered.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.metrics.causes import MAX_LEAVES, find_causes
from masthead.metrics.contributions import ROLLED_UP, Leaves, SeriesKey, leaves_of
from masthead.metrics.open_groups import Group, GroupSeries, Kind, Member, OpenGroup, related

__all__ = [
    "EVERY_MEASURE",
    "Group",
    "GroupChange",
    "GroupSeries",
    "Grouper",
    "IntervalResult",
    "learning_points",
]

ChangeKind = Literal["opened", "extended", "raised", "closed"]

EVERY_MEASURE = "*"  # measure of the one group told when a source with several measures falls silent
QUIET_INTERVALS = 3
BREADTH_POINTS = 5.0
BREADTH_SERIES = 3
# What begins an hour (of five-minute intervals) later is another story. Without this bound a detector of
# thousands of series, where the opening bar is passed by chance every few intervals, has one endless group.
JOIN_INTERVALS = 12
# A series without data for this long counts as retired, so its silence is no news any more.
RETIRED_INTERVALS = 1000
_STATE_VERSION = 1


def learning_points(interval_s: float) -> tuple[int, int]:
    """Return (points before a first provisional group, points before full confidence) of one series.

    >>> learning_points(300), learning_points(86_400)
    ((100, 300), (4, 14))
    """
    return (4, 14) if interval_s >= 86_400 else (100, 300)


@dataclass(frozen=True, slots=True)
class IntervalResult:
    """One closed and scored interval; all arrays have one entry per series, in registry order.

    Attributes:
        start_s: UTC epoch seconds of the interval's start.
        keys: (measure, dimension values) of each series; grows at the end only.
        values: float64, NaN = missing.
        expected: float64, NaN = unknown.
        severity: 0-100, damped: high once per event.
        undamped: 0-100, as high as the value alone deserves.
        reasons: Why, per series; "" = nothing.
        counts: Records behind each value, the weights of averages; None = 1 each.
        seen: Points each series had so far; None = learned all.
    """

    start_s: float
    keys: Sequence[SeriesKey]
    values: NDArray[np.float64]
    expected: NDArray[np.float64]
    severity: NDArray[np.float32]
    undamped: NDArray[np.float32]
    reasons: Sequence[str]
    counts: NDArray[np.int64] | None = None
    seen: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What an interval did to a group; at most one change per group and interval.

    `raised` = its severity rose; `extended` = it went on, or a series joined, without that.
    """

    kind: ChangeKind
    group: Group


class Grouper:
    """Turns scored intervals into groups that open, extend, rise and close.

    Args:
        series: Keys known so far, in registry order; later ones arrive with the results.
        interval_s: Length of an interval, 86,400 for local days; 0 = every call is the next point.
        dimensions: Names of the dimensions, in the order of the keys' values.
        aggregations: Measure -> aggregation; deviations of `avg` and `ratio` are weighted by counts.
        open_at: Severity from which an event opens.
        first_number: Number of the first group.

    Raises:
        InvalidInput: A bar outside (0, 100], a negative interval, keys that do not fit the dimensions.
    """

    def __init__(
        self,
        series: Sequence[SeriesKey],
        interval_s: float,
        open_at: float = 50,
        *,
        dimensions: Sequence[str] = (),
        aggregations: Mapping[str, str] | None = None,
        first_number: int = 1,
    ) -> None:
        if not 0 < open_at <= 100:
            raise InvalidInput(f"open_at: expected a severity in (0, 100], got {open_at}")
        if not (math.isfinite(interval_s) and interval_s >= 0):
            raise InvalidInput(f"interval_s: expected seconds, 0 or more, got {interval_s}")
        self.interval_s = float(interval_s)
        self.open_at = float(open_at)
        self.dimensions = tuple(dimensions)
        self.aggregations = dict(aggregations or {})
        self._keys: Sequence[SeriesKey] = ()
        self._checked = 0
        self._leaves: dict[str, tuple[int, Leaves]] = {}
        self._open: dict[int, OpenGroup] = {}
        self._next_number = first_number
        self._last_s: float | None = None
        self._step = 0
        self._silent_steps = 0
        self._register(series)

    @property
    def open_groups(self) -> tuple[Group, ...]:
        """The groups that are open now, oldest first."""
        return tuple(self._open[number].told(self.dimensions, closed=False) for number in sorted(self._open))

    def close_interval(self, start_s: float, closed: IntervalResult) -> list[GroupChange]:
        """Return what this interval changed, in order of group number.

        Raises:
            InvalidInput: The time does not rise, or arrays and keys differ in length.
        """
        self._check(closed)
        self._register(closed.keys)
        jumped = self._advance(start_s)
        changes: list[tuple[ChangeKind, OpenGroup]] = []
        if jumped:
            changes += [("closed", group) for group in self._close_after(QUIET_INTERVALS + 1)]
        severity_before = {number: group.severity for number, group in self._open.items()}
        touched = {group.number: group for group in self._extend(start_s, closed)}
        touched.update((group.number, group) for group in self._join(start_s, closed))
        for number in sorted(touched):
            self._account(touched[number], closed)
            if number not in severity_before:
                changes.append(("opened", touched[number]))
            elif touched[number].severity > severity_before[number]:
                changes.append(("raised", touched[number]))
            else:
                changes.append(("extended", touched[number]))
        changes += [("closed", group) for group in self._close_after(QUIET_INTERVALS)]
        changes.sort(key=lambda change: change[1].number)
        return [
            GroupChange(kind=kind, group=group.told(self.dimensions, closed=kind == "closed"))
            for kind, group in changes
        ]

    # --- time and registry -------------------------------------------------------------------------

    def _check(self, closed: IntervalResult) -> None:
        size = len(closed.keys)
        if size < self._checked:
            raise InvalidInput(f"keys: expected at least {self._checked} series, got {size}")
        for name in ("values", "expected", "severity", "undamped", "reasons", "counts", "seen"):
            entries = getattr(closed, name)
            if entries is not None and len(entries) != size:
                raise InvalidInput(f"{name}: expected {size} entries, one per series, got {len(entries)}")

    def _advance(self, start_s: float) -> bool:
        """Count the intervals since the last call; return whether some were left out."""
        passed = 1
        if self.interval_s > 0 and self._last_s is not None:
            # Rounded, because a local day may last 23 or 25 hours.
            passed = round((start_s - self._last_s) / self.interval_s)
            if start_s <= self._last_s or passed < 1:
                raise InvalidInput(f"start_s: expected a time after {self._last_s}, got {start_s}")
        self._last_s = start_s
        self._step += passed
        return passed > 1

    def _register(self, keys: Sequence[SeriesKey]) -> None:
        for _, values in keys[self._checked :]:
            if len(values) != len(self.dimensions):
                raise InvalidInput(
                    f"dimensions: expected names for {len(values)} values, got {self.dimensions}"
                )
        self._keys, self._checked = keys, len(keys)

    def _leaves_of(self, measure: str) -> Leaves:
        """Return the leaves of a measure; built when first asked for after the registry grew."""
        size, leaves = self._leaves.get(measure, (-1, None))
        if leaves is None or size != self._checked:
            leaves = leaves_of(self._keys, measure)
            self._leaves[measure] = (self._checked, leaves)
        return leaves

    # --- events ------------------------------------------------------------------------------------

    def _extend(self, start_s: float, closed: IntervalResult) -> list[OpenGroup]:
        """Let events that go on extend their groups; return those groups."""
        extended = []
        for group in self._open.values():
            goes_on = False
            for member in group.members.values():
                if member.alive and self._goes_on(group.kind, member, closed):
                    self._note(member, start_s, closed)
                    goes_on = True
            if goes_on:
                group.end_s, group.end_step = start_s, self._step
                extended.append(group)
        return extended

    def _goes_on(self, kind: Kind, member: Member, closed: IntervalResult) -> bool:
        """Return whether a live event reaches into this interval; ends it when it is over."""
        index = member.index
        missing = bool(np.isnan(closed.values[index]))
        if kind == "silence":
            member.alive = missing and self._step - member.start_step < RETIRED_INTERVALS
            return member.alive
        if missing:
            return False  # unknown is not over
        member.alive = bool(closed.undamped[index] >= self.open_at) and _kind(closed.reasons[index]) == kind
        return member.alive

    def _join(self, start_s: float, closed: IntervalResult) -> list[OpenGroup]:
        """Open events and put them into groups, one per measure and kind; return the groups they joined."""
        everything = self._source_silent(closed)
        buckets: dict[tuple[str, Kind], list[int]] = {}
        for index in self._new_events(closed):
            kind = _kind(closed.reasons[index])
            measure = self._source_measure() if kind == "silence" and everything else self._keys[index][0]
            buckets.setdefault((measure, kind), []).append(index)
        joined = []
        for (measure, kind), indices in sorted(buckets.items()):
            source = kind == "silence" and everything
            group = self._host(measure, kind, indices, source) or self._begin(measure, kind, start_s, source)
            group.end_s, group.end_step = start_s, self._step
            for index in sorted(indices, key=lambda i: self._keys[i]):
                self._enter(group, index, start_s, closed)
            joined.append(group)
        return joined

    def _new_events(self, closed: IntervalResult) -> list[int]:
        """Return the series whose severity opens an event now and that are in no live event of that kind."""
        hot = closed.severity >= self.open_at
        if closed.seen is not None:
            hot &= closed.seen >= learning_points(self.interval_s)[0]
        live = {
            (group.kind, member.index)
            for group in self._open.values()
            for member in group.members.values()
            if member.alive
        }
        return [i for i in map(int, np.flatnonzero(hot)) if (_kind(closed.reasons[i]), i) not in live]

    def _source_silent(self, closed: IntervalResult) -> bool:
        """Return whether nothing at all has arrived for as long as silence needs to be believed."""
        nothing = bool(np.isnan(closed.values).all())
        self._silent_steps = self._silent_steps + 1 if nothing else 0
        return self._silent_steps >= QUIET_INTERVALS

    def _source_measure(self) -> str:
        measures = {measure for measure, _ in self._keys}
        return measures.pop() if len(measures) == 1 else EVERY_MEASURE

    def _host(self, measure: str, kind: Kind, indices: Sequence[int], source: bool) -> OpenGroup | None:
        """Return the open group that the events belong to: one active now first, else the oldest related."""
        candidates = [
            group
            for group in self._open.values()
            if (group.measure, group.kind, group.source) == (measure, kind, source)
            and (source or self._step - group.start_step <= JOIN_INTERVALS or self._returns(group, indices))
        ]
        candidates.sort(key=lambda group: (group.end_step != self._step, group.number))
        tuples = [self._keys[index][1] for index in indices]
        for group in candidates:
            if source or group.end_step == self._step or related(group.members.values(), tuples):
                return group
        return None

    def _returns(self, group: OpenGroup, indices: Iterable[int]) -> bool:
        """Return whether all these series are in the group already: an event that flared up again."""
        return all(index in group.members for index in indices)

    def _begin(self, measure: str, kind: Kind, start_s: float, source: bool) -> OpenGroup:
        group = OpenGroup(
            number=self._next_number,
            measure=measure,
            kind=kind,
            source=source,
            start_s=start_s,
            end_s=start_s,
            start_step=self._step,
            end_step=self._step,
        )
        self._next_number += 1
        self._open[group.number] = group
        return group

    def _enter(self, group: OpenGroup, index: int, start_s: float, closed: IntervalResult) -> None:
        measure, values = self._keys[index]
        member = group.members.get(index)
        if member is None:
            member = Member(
                index=index,
                measure=measure,
                dimensions=values,
                start_s=start_s,
                end_s=start_s,
                start_step=self._step,
            )
            group.members[index] = member
        member.alive = True
        self._note(member, start_s, closed)

    def _note(self, member: Member, start_s: float, closed: IntervalResult) -> None:
        """Remember the interval in the member; its value and reason only when it is the most severe yet."""
        member.end_s = start_s
        index = member.index
        if float(closed.severity[index]) <= member.severity:
            return
        member.severity = float(closed.severity[index])
        member.value = _number(closed.values[index])
        member.expected = _number(closed.expected[index])
        member.reason = closed.reasons[index]
        member.low = closed.seen is not None and int(closed.seen[index]) < learning_points(self.interval_s)[1]

    def _close_after(self, quiet: int) -> list[OpenGroup]:
        """Take out and return the groups that have been quiet for `quiet` intervals or more."""
        over = [group for group in self._open.values() if self._step - group.end_step >= quiet]
        for group in over:
            del self._open[group.number]
        return over

    # --- what a group tells ------------------------------------------------------------------------

    def _account(self, group: OpenGroup, closed: IntervalResult) -> None:
        """Add this interval's deviations and bring severity and causes up to date."""
        before = group.severity
        group.severity = max(before, self._severity(group))
        if not self.dimensions:
            return
        for measure in sorted({member.measure for member in group.members.values()}):
            leaves = self._leaves_of(measure)
            mask = leaves.covered(m.dimensions for m in group.members.values() if m.measure == measure)
            # Silence and flat lines have no size: each leaf that lies in the group counts one.
            amounts = (
                self._deviation(measure, leaves, closed) if group.kind == "value" else np.ones(len(mask))
            )
            for name, sums in zip(self.dimensions, leaves.sums(amounts, mask), strict=True):
                group.add_deviation(name, sums)
        if group.kind == "value" and len(self.dimensions) > 1 and group.severity > before:
            group.causes = self._causes(group, closed)

    def _severity(self, group: OpenGroup) -> float:
        worst = max(member.severity for member in group.members.values())
        involved = sum(ROLLED_UP not in member.dimensions for member in group.members.values())
        if involved < BREADTH_SERIES:
            return worst
        measures = {member.measure for member in group.members.values()}
        share = involved / sum(len(self._leaves_of(measure).indices) for measure in measures)
        return min(100.0, worst + BREADTH_POINTS * share)

    def _weights(self, measure: str, leaves: Leaves, closed: IntervalResult) -> NDArray[np.float64]:
        if closed.counts is None or self.aggregations.get(measure, "avg") not in ("avg", "ratio"):
            return np.ones(len(leaves.indices))
        return closed.counts[leaves.indices].astype(np.float64)

    def _deviation(self, measure: str, leaves: Leaves, closed: IntervalResult) -> NDArray[np.float64]:
        """Return (leaves,) value minus expected, weighted by counts where it is an average; unknown = 0."""
        gap = closed.values[leaves.indices] - closed.expected[leaves.indices]
        known = np.isfinite(gap)
        return np.where(known, gap, 0.0) * self._weights(measure, leaves, closed)

    def _causes(self, group: OpenGroup, closed: IntervalResult) -> list[dict[str, Any]]:
        """Return the root-cause set among all leaves of the measure in this interval."""
        leaves = self._leaves_of(group.measure)
        weights = self._weights(group.measure, leaves, closed)
        real = closed.values[leaves.indices] * weights
        expected = closed.expected[leaves.indices] * weights
        known = np.isfinite(real) & np.isfinite(expected)
        if not 2 <= int(known.sum()) <= MAX_LEAVES:
            return []
        found = find_causes(leaves.codes[known], real[known], expected[known])
        return [
            {
                "elements": {self.dimensions[d]: leaves.values[d][code] for d, code in cause.elements},
                "share": round(100 * cause.share, 2),
            }
            for cause in found
        ]

    # --- state -------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Return the whole state as JSON values; `from_json` goes on exactly where this stood."""
        return {
            "version": _STATE_VERSION,
            "interval_s": self.interval_s,
            "open_at": self.open_at,
            "dimensions": list(self.dimensions),
            "aggregations": self.aggregations,
            "next_number": self._next_number,
            "last_s": self._last_s,
            "step": self._step,
            "silent_steps": self._silent_steps,
            "open": [group.to_json() for group in self._open.values()],
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any], series: Sequence[SeriesKey] = ()) -> "Grouper":
        """Return the grouper that `to_json` described; series arrive here or with the next interval.

        Raises:
            InvalidInput: Another version of the state, or a field missing.
        """
        if state.get("version") != _STATE_VERSION:
            raise InvalidInput(f"version: expected {_STATE_VERSION}, got {state.get('version')!r}")
        try:
            grouper = cls(
                series,
                state["interval_s"],
                state["open_at"],
                dimensions=state["dimensions"],
                aggregations=state["aggregations"],
                first_number=state["next_number"],
            )
            grouper._last_s = state["last_s"]
            grouper._step = state["step"]
            grouper._silent_steps = state["silent_steps"]
            grouper._open = {entry["number"]: OpenGroup.from_json(entry) for entry in state["open"]}
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"state: expected what to_json wrote, got {error}") from error
        return grouper


_KINDS: Mapping[str, Kind] = {"silence": "silence", "flatline": "flatline"}


def _kind(reason: str) -> Kind:
    return _KINDS.get(reason, "value")


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
