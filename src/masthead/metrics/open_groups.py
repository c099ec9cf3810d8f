"""What a group is while it is open, and what is told of it.

The grouping itself (which event joins what, and when a group closes) is in `groups`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from masthead.metrics.contributions import ROLLED_UP, contributions

__all__ = ["Group", "GroupSeries", "Kind", "Member", "OpenGroup", "related"]

Kind = Literal["value", "silence", "flatline"]

LISTED_SERIES = 100


@dataclass(frozen=True, slots=True)
class GroupSeries:
    """One series of a group at its most severe interval; `end_s` is the start of its last interval."""

    measure: str
    dimensions: dict[str, str]
    value: float | None
    expected: float | None
    severity: float
    reason: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Group:
    """What is known of a group after an interval; `number` is unique within a `Grouper` and never reused.

    `end_s` is the start of the last interval that belongs to it. `series` holds the most severe
    `LISTED_SERIES`, leaves before roll-ups; `series_count` counts all. `causes` names the dimension
    values that explain the deviation best: `{"elements": {dimension: value}, "share": percent}`.
    """

    number: int
    measure: str
    kind: Kind
    start_s: float
    end_s: float
    severity: float
    reason: str
    state: Literal["open", "closed"]
    confidence: Literal["low", "full"]
    contributions: dict[str, dict[str, float]]
    causes: tuple[dict[str, Any], ...]
    series: tuple[GroupSeries, ...]
    series_count: int

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON values."""
        return {**asdict(self), "causes": list(self.causes), "series": [asdict(one) for one in self.series]}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Group":
        """Return the group that `to_json` wrote."""
        series = tuple(GroupSeries(**one) for one in entry["series"])
        return cls(**{**entry, "causes": tuple(entry["causes"]), "series": series})


@dataclass(slots=True)
class Member:
    """A series inside an open group; its values are those of its most severe interval.

    `alive` = its event still goes on. `low` = it had few points then, so confidence is low.
    """

    index: int
    measure: str
    dimensions: tuple[str, ...]
    start_s: float
    end_s: float
    start_step: int
    severity: float = -1.0
    value: float | None = None
    expected: float | None = None
    reason: str = ""
    alive: bool = True
    low: bool = False

    def told(self, names: Sequence[str]) -> GroupSeries:
        """Return the member under its dimensions' names."""
        return GroupSeries(
            measure=self.measure,
            dimensions=dict(zip(names, self.dimensions, strict=True)),
            value=self.value,
            expected=self.expected,
            severity=self.severity,
            reason=self.reason,
            start_s=self.start_s,
            end_s=self.end_s,
        )


@dataclass(slots=True)
class OpenGroup:
    """An open group's state.

    Attributes:
        source: It tells that the whole source is silent.
        start_step, end_step: As `start_s` and `end_s`, counted in intervals.
        members: By the series' index.
        deviation: Dimension -> value -> signed deviation of the covered leaves, summed so far.
    """

    number: int
    measure: str
    kind: Kind
    source: bool
    start_s: float
    end_s: float
    start_step: int
    end_step: int
    severity: float = 0.0
    members: dict[int, Member] = field(default_factory=dict)
    deviation: dict[str, dict[str, float]] = field(default_factory=dict)
    causes: list[dict[str, Any]] = field(default_factory=list)

    def add_deviation(self, dimension: str, sums: Mapping[str, float]) -> None:
        """Add one interval's deviation per value of a dimension."""
        target = self.deviation.setdefault(dimension, {})
        for value, amount in sums.items():
            target[value] = target.get(value, 0.0) + amount

    def told(self, names: Sequence[str], *, closed: bool) -> Group:
        """Return what is known of the group now; `names` are those of the dimensions."""
        worst = sorted(
            self.members.values(),
            key=lambda m: (-m.severity, m.dimensions.count(ROLLED_UP), m.measure, m.dimensions),
        )
        direction = _direction(worst) if self.kind == "value" else 1.0
        return Group(
            number=self.number,
            measure=self.measure,
            kind=self.kind,
            start_s=self.start_s,
            end_s=self.end_s,
            severity=self.severity,
            reason="source_silent" if self.source else worst[0].reason,
            state="closed" if closed else "open",
            confidence="low" if worst[0].low else "full",
            contributions=contributions(self.deviation, direction=direction),
            causes=tuple(self.causes),
            series=tuple(member.told(names) for member in worst[:LISTED_SERIES]),
            series_count=len(worst),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        members = [{**asdict(m), "dimensions": list(m.dimensions)} for m in self.members.values()]
        return {**asdict(self), "members": members}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "OpenGroup":
        """Return the group that `to_json` wrote."""
        members = [
            Member(**{**member, "dimensions": tuple(member["dimensions"])}) for member in entry["members"]
        ]
        return cls(**{**entry, "members": {member.index: member for member in members}})


def _direction(worst: Sequence[Member]) -> float:
    """Return the sign of the most severe member that has a direction; up when none has."""
    for member in worst:
        if member.value is not None and member.expected is not None and member.value != member.expected:
            return member.value - member.expected
    return 1.0


def related(members: Iterable[Member], tuples: Sequence[tuple[str, ...]]) -> bool:
    """Return whether a member and a tuple share a dimension value, or one of them covers the other.

    Sets per dimension first: comparing every member with every tuple would be slow for thousands.
    """
    ours, theirs = [member.dimensions for member in members], list(tuples)
    for left, right in zip(zip(*ours, strict=True), zip(*theirs, strict=True), strict=True):
        if (set(left) & set(right)) - {ROLLED_UP}:
            return True
    return any(_covers(a, b) or _covers(b, a) for a in ours for b in theirs if ROLLED_UP in a + b or not a)


def _covers(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    """Return whether every place of `wide` is a roll-up or equal.

    >>> _covers(("a", "*"), ("a", "x")), _covers(("a", "x"), ("a", "*")), _covers((), ())
    (True, False, True)
    """
    return all(a in (ROLLED_UP, b) for a, b in zip(wide, narrow, strict=True))
