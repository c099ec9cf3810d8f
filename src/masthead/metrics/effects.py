"""What a scored interval does to the world: groups, alerts, scores and progress, in one transaction, once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from prometheus_client import Counter
from sqlalchemy import Connection

from masthead.alerts.events import AlertEvent, Stage
from masthead.base.clock import Clock, utc
from masthead.base.log import Journal
from masthead.base.telemetry import REGISTRY
from masthead.base.units import format_duration
from masthead.metrics import records, results
from masthead.metrics.detection import Scored
from masthead.metrics.groups import GroupChange, learning_points
from masthead.metrics.open_groups import Group
from masthead.metrics.open_intervals import Counts
from masthead.metrics.records import AnomalyGroup, Detector, Progress
from masthead.metrics.related import Span, find_related
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database

__all__ = ["Alerts", "Effects", "group_of", "progress_of"]

GROUPS = Counter(
    "masthead_anomaly_groups", "Groups opened, of any severity.", ["detector", "kind"], registry=REGISTRY
)

_STAGES: dict[str, Stage] = {"opened": "open", "raised": "raised", "closed": "closed"}
_TOLD_SERIES = 10
_PAST = timedelta(days=400)


class Alerts(Protocol):
    """What this room asks of the alerts."""

    def notify(self, connection: Connection, event: AlertEvent) -> int:
        """Put what the rules want told into the outbox, in the caller's transaction."""

    def wake(self) -> None:
        """Deliver now."""

    def delete_rules_of(self, connection: Connection, detector: str) -> int:
        """Delete the rules bound to a detector, in the caller's transaction."""


class Effects:
    """The stored side of one run of a detector."""

    def __init__(
        self, detector: Detector, database: Database, alerts: Alerts, clock: Clock, journal: Journal
    ) -> None:
        self.name, self.spec, self.run = detector.name, detector.spec, detector.run
        self._database, self._alerts, self._clock, self._journal = database, alerts, clock, journal
        self._learning = detector.state == "learning"

    def last_entry(self) -> int:
        """Return the number of the log entry whose effects were stored last; 0 = none."""
        with self._database.read() as connection:
            return records.last_entry(connection, self.run)

    def store(
        self,
        entry: int,
        scored: Scored | None,
        *,
        counts: Counts,
        learned_before: int = 0,
        waiting: tuple[int, int] = (0, 0),
        applied: Sequence[int] = (),
    ) -> None:
        """Store what a log entry led to.

        Args:
            entry: Its number; storing it again is the caller's mistake.
            scored: Of an interval; None for other entries.
            counts: As they stand after it.
            learned_before: Intervals of the history.
            waiting: Rows in intervals that are still open, and how many of them are repetitions.
            applied: Ids of feedback that has been learned.
        """
        told, learned = 0, learned_before + counts.intervals
        progress = progress_of(self.spec, learned)
        with self._database.write() as connection:
            if scored is not None:
                known = results.count_series(connection, self.run)
                results.put_series(connection, self.run, self.name, scored.new_keys, first=known)
                if len(scored.results):
                    results.put_results(
                        connection, self.run, self.name, [scored.start_s], scored.results[None, :]
                    )
                for change in scored.changes:
                    told += self._change(connection, change)
            records.mark_applied(connection, applied)
            records.put_progress(
                self._database,
                connection,
                run=self.run,
                detector=self.name,
                entry=entry,
                last_interval=None if scored is None else utc(scored.start_s),
                facts=facts_of(progress, counts, waiting),
            )
            if self._learning and learned >= learning_points(self.spec.interval_s)[1]:
                records.set_state(connection, self.name, "active", now=self._clock.now(), only=("learning",))
                self._learning = False
        if told:
            self._alerts.wake()
        for change in () if scored is None else scored.changes:
            self._note(change)

    def _note(self, change: GroupChange) -> None:
        """Count a change, and write it into the detector's own log."""
        group = change.group
        if change.kind == "opened":
            GROUPS.labels(self.name, group.kind).inc()
        if change.kind in _STAGES:
            self._journal.write(
                "detector",
                self.name,
                f"group {change.kind}",
                group=group_id(self.run, group.number),
                measure=group.measure,
                severity=round(group.severity, 2),
                reason=group.reason,
            )

    def _change(self, connection: Connection, change: GroupChange) -> int:
        """Store a group as it stands and tell the alerts; return how many were told."""
        now = self._clock.now()
        stored = records.put_group(
            connection, group_of(change.group, detector=self.name, run=self.run, now=now)
        )
        stage = _STAGES.get(change.kind)
        if stage is None:
            return 0
        muted = stored.muted_until is not None and stored.muted_until > now
        related = self._related(connection, stored) if stage == "open" else ()
        return self._alerts.notify(
            connection, event_of(stored, stage, self.spec, muted=muted, related=related)
        )

    def _related(self, connection: Connection, group: AnomalyGroup) -> tuple[dict[str, Any], ...]:
        if len(self.spec.measures) < 2:
            return ()
        others = records.find_spans(connection, self.name, start=group.start - _PAST)
        span = Span(group.id, group.measure, group.start.timestamp(), group.end.timestamp())
        found = find_related(span, others, interval_s=float(self.spec.interval_s))
        return tuple({"group": one.id, "measure": one.measure, "text": one.text} for one in found[:3])


def group_id(run: str, number: int) -> str:
    """Return the id of a group: the same whenever a run is followed again.

    >>> group_id("run-01abc", 7)
    'group-01abc-7'
    """
    return f"group-{run.removeprefix('run-')}-{number}"


def group_of(group: Group, *, detector: str, run: str, now: Any) -> AnomalyGroup:
    """Return a group of the grouper as it is stored."""
    series = [
        {
            "measure": one.measure,
            "dimensions": one.dimensions,
            "value": one.value,
            "expected": one.expected,
            "severity": round(one.severity, 2),
            "reason": one.reason,
            "start": utc(one.start_s).isoformat(),
            "end": utc(one.end_s).isoformat(),
        }
        for one in group.series
    ]
    return AnomalyGroup(
        id=group_id(run, group.number),
        detector=detector,
        measure=group.measure,
        kind=group.kind,
        start=utc(group.start_s),
        end=utc(group.end_s),
        severity=round(group.severity, 2),
        reason=group.reason,
        state=group.state,
        confidence=group.confidence,
        contributions=group.contributions,
        causes=list(group.causes),
        series=series,
        series_count=group.series_count,
        created=now,
        run=run,
    )


def event_of(
    group: AnomalyGroup,
    stage: Stage,
    spec: DetectorSpec,
    *,
    muted: bool = False,
    related: Sequence[dict[str, Any]] = (),
) -> AlertEvent:
    """Return what the alerts are told of a group."""
    worst: dict[str, Any] = group.series[0] if group.series else {}
    told = [
        {name: one[name] for name in ("measure", "dimensions", "value", "expected", "severity")}
        for one in group.series[:_TOLD_SERIES]
    ]
    return AlertEvent(
        detector=group.detector,
        group=group.id,
        stage=stage,
        measure=group.measure,
        severity=group.severity,
        start=group.start,
        end=group.end,
        value=worst.get("value"),
        expected=worst.get("expected"),
        reason=group.reason,
        contributions=group.contributions,
        series=tuple(told),
        related=tuple(related),
        interval_s=spec.interval_s,
        confidence=group.confidence,
        zone=spec.zone,
        muted=muted,
        kind=group.kind,
    )


def progress_of(spec: DetectorSpec, learned: int) -> Progress:
    """Return how far a detector with `learned` intervals of data is.

    >>> progress_of(DetectorSpec("air"), 41).text
    '41 of 100 intervals, about 4 h 55 min to go'
    """
    first, full = learning_points(spec.interval_s)
    if learned >= full:
        return Progress(learned, full, 0.0, "learned")
    needed = first if learned < first else full
    eta_s = float((needed - learned) * spec.interval_s)
    text = f"{learned} of {needed} intervals, about {format_duration(eta_s)} to go"
    return Progress(learned, needed, eta_s, text)


def facts_of(progress: Progress, counts: Counts, waiting: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Return what the detector's row shows of its progress, repetitions in open intervals included."""
    plain = counts.to_json()
    return {
        **plain,
        "waiting": waiting[0],
        "duplicates": counts.duplicates + waiting[1],
        "refused": sum(counts.refused.values()),
        "refused_by_reason": plain["refused"],
        "progress": {name: getattr(progress, name) for name in ("seen", "needed", "eta_s", "text")},
    }
