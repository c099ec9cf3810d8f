"""Which groups of other measures came together with a group, how often before, and which came first.

A statement about time, never about cause: "NO2 started 10 minutes earlier; together in 7 of 9 past
groups". Pure: spans in, statements out.
"""

import math
import statistics
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from masthead.base.units import format_duration

__all__ = ["Order", "Related", "Span", "find_related"]

# As in grouping: at most two quiet intervals between them, so the starts of the last interval of one
# and the first of the other lie three intervals apart at most.
NEAR_INTERVALS = 3
# With fewer past groups a ratio of small counts says nothing.
LEAST_PAST = 3


Order = Literal["before", "together", "after"]


@dataclass(frozen=True, slots=True)
class Span:
    """When a group was: `end_s` is the start of its last interval (UTC epoch seconds)."""

    id: str
    measure: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Related:
    """A group of another measure that lies beside the asked one.

    Attributes:
        lead_s: Seconds by which it started before the asked group; negative = after.
        order: `before`, `together` or `after`, by `lead_s`.
        together: Past groups of the asked measure that had one of this measure beside them.
        past: Past groups of the asked measure.
        lift: How many times more often than chance; None below `LEAST_PAST` past groups.
        usual_lead_s: Median lead in those past groups; None without any.
        text: The same as a sentence.
    """

    id: str
    measure: str
    lead_s: float
    order: Order
    together: int
    past: int
    lift: float | None
    usual_lead_s: float | None
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the statement as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def find_related(
    group: Span, others: Iterable[Span], *, interval_s: float, watched_from_s: float | None = None
) -> list[Related]:
    """Return what came beside `group`, the most surprising company first.

    Args:
        group: The group asked about.
        others: Groups of the same detector, any order, of any measure; itself may be among them. Those
            that started before `group` are its past.
        interval_s: Length of an interval; above 0.
        watched_from_s: When the detector's past begins; default: the first group's start.
    """
    near_s = NEAR_INTERVALS * interval_s
    spans = sorted((one for one in others if one.id != group.id), key=lambda one: (one.start_s, one.id))
    past = [one for one in spans if one.start_s < group.start_s]
    same = [one for one in past if one.measure == group.measure]
    begin_s = (
        watched_from_s if watched_from_s is not None else min([group.start_s, *(o.start_s for o in past)])
    )
    answer = []
    for measure in sorted({one.measure for one in spans} - {group.measure}):
        beside = [one for one in spans if one.measure == measure and _near(group, one, near_s)]
        if not beside:
            continue
        nearest = min(beside, key=lambda one: (abs(one.start_s - group.start_s), one.id))
        company = [one for one in past if one.measure == measure]
        leads = _leads(same, company, near_s)
        chance = _chance(same, company, near_s, interval_s, group.start_s - begin_s)
        lift = None
        if len(same) >= LEAST_PAST and chance > 0:
            lift = round(len(leads) / len(same) / chance, 2)
        answer.append(_statement(group, nearest, leads, len(same), lift))
    return sorted(answer, key=lambda one: (-(one.lift or 0.0), -one.together, abs(one.lead_s), one.measure))


def _near(left: Span, right: Span, near_s: float) -> bool:
    return max(left.start_s - right.end_s, right.start_s - left.end_s) <= near_s


def _leads(same: Sequence[Span], company: Sequence[Span], near_s: float) -> list[float]:
    """Return for each group that had company by how much the nearest started before it; both sorted by start."""
    starts = [one.start_s for one in company]
    latest = list(accumulate((one.end_s for one in company), max))
    leads = []
    for one in same:
        last = bisect_right(starts, one.end_s + near_s)
        gaps = []
        # Backwards until nothing earlier can reach this group any more.
        while last > 0 and latest[last - 1] >= one.start_s - near_s:
            last -= 1
            if _near(one, company[last], near_s):
                gaps.append(one.start_s - starts[last])
        if gaps:
            leads.append(min(gaps, key=abs))
    return leads


def _chance(
    same: Sequence[Span], company: Sequence[Span], near_s: float, interval_s: float, watched_s: float
) -> float:
    """Return how likely a group of usual length finds company when both fall anywhere in the past."""
    if not same or not company or watched_s <= 0:
        return 0.0
    length_s = statistics.fmean(one.end_s - one.start_s for one in same)
    covered_s, reach = 0.0, -math.inf
    for one in company:  # where such a group may start and still be near, united
        first, last = one.start_s - near_s - length_s, one.end_s + near_s + interval_s
        covered_s += max(0.0, last - max(first, reach))
        reach = max(reach, last)
    return min(1.0, covered_s / watched_s)


def _statement(group: Span, other: Span, leads: Sequence[float], past: int, lift: float | None) -> Related:
    lead_s = group.start_s - other.start_s
    order: Order = "together"
    when = "started in the same interval"
    if lead_s:
        order = "before" if lead_s > 0 else "after"
        when = f"started {format_duration(abs(lead_s))} {'earlier' if lead_s > 0 else 'later'}"
    history = f"together in {len(leads)} of {past} past groups" if past else "no past groups to compare"
    return Related(
        id=other.id,
        measure=other.measure,
        lead_s=lead_s,
        order=order,
        together=len(leads),
        past=past,
        lift=lift,
        usual_lead_s=statistics.median(leads) if leads else None,
        text=f"{other.measure} {when}; {history}",
    )
