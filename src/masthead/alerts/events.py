"""What a capability tells the alerts room: one thing worth telling people, at one stage of its life."""

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from masthead.base.errors import InvalidInput, shown

Stage = Literal["open", "raised", "closed", "test"]

STAGES: tuple[Stage, ...] = ("open", "raised", "closed", "test")

MOST_SERIES = 50  # series, and values of one dimension, in an alert: a phone's gateway is no data pipe

SELF = "masthead"
"""The detector name under which Masthead reports on itself."""


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """One anomaly group, or one condition of Masthead itself, at one stage.

    The caller sends an event at every change of a group: `open` when it appears, `raised` whenever its
    severity rises, `closed` at its end. Which of these a person hears is the rules' business: a rule
    with a threshold of 90 speaks for the first time when a `raised` event passes 90.

    Attributes:
        detector: Name of the detector; `masthead` for Masthead's own condition.
        group: Id of the anomaly group; one alert per rule, group and stage is ever sent.
        stage: `open`, `raised`, `closed` or `test`.
        measure: Name of the measure.
        severity: 0 to 100.
        start: Start of the group's first interval, aware UTC.
        end: Start of its last interval so far, aware UTC.
        value: What was measured at the worst point; None when nothing arrived (silence).
        expected: What was expected there.
        reason: Why, as the detector says it (`spike`, `silence`); a full sentence for a self-watch condition.
        contributions: Dimension -> value -> percent; each dimension sums to 100.
        series: The anomalous series, worst first: `{"dimensions": {..}, "value": x, "expected": y, "severity": z}`.
        related: Groups beside it: `{"group": id, "measure": m, "text": "started 10 min earlier, ..."}`.
        interval_s: Length of the detector's interval; 0 for a self-watch condition.
        confidence: `full`, or `low` while the detector is still young.
        zone: IANA name of the zone in which people of this detector read times.
        muted: The group is muted: nothing is sent.
        kind: `value`, `silence` or `flatline`; `condition` for a self-watch condition.
    """

    detector: str
    group: str
    stage: Stage
    measure: str
    severity: float
    start: datetime
    end: datetime
    value: float | None = None
    expected: float | None = None
    reason: str = ""
    contributions: dict[str, dict[str, float]] = field(default_factory=dict)
    series: tuple[dict[str, Any], ...] = ()
    related: tuple[dict[str, Any], ...] = ()
    interval_s: int = 300
    confidence: str = "full"
    zone: str = "UTC"
    muted: bool = False
    kind: str = "value"

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise InvalidInput(f"stage: expected one of {', '.join(STAGES)}, got {shown(self.stage)}")
        if not 0 <= self.severity <= 100:
            raise InvalidInput(f"severity: expected 0 to 100, got {self.severity}")
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise InvalidInput("start: expected times with a zone, got one without")

    def shortened(self, most: int = MOST_SERIES) -> "AlertEvent":
        """Return the event with at most `most` series and values per dimension: as much as a message shows."""
        contributions = {
            name: values
            if len(values) <= most  # in their order they sum to exactly 100
            else dict(sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:most])
            for name, values in self.contributions.items()
        }
        return dataclasses.replace(self, series=self.series[:most], contributions=contributions)

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON values; times in ISO 8601 with offset."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        times = {"start": self.start.isoformat(), "end": self.end.isoformat()}
        return fields | times | {"series": list(self.series), "related": list(self.related)}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> "AlertEvent":
        """Return the event that `to_json` wrote; fields of a later version are ignored.

        Raises:
            InvalidInput: A field is missing or outside its domain.
        """
        known = {name: found[name] for name in cls.__slots__ if name in found}
        try:
            times = {name: datetime.fromisoformat(known[name]) for name in ("start", "end")}
            lists = {name: tuple(known.get(name, ())) for name in ("series", "related")}
            return cls(**(known | times | lists))
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"event: expected an alert event, got {shown(found)}") from error
