"""Masthead watching itself: facts in, conditions out, each told once and again when it is over. Pure.

Every condition has two limits: it begins beyond the one and ends inside the other, so that a value at the edge does
not ring twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from masthead.alerts.events import SELF, AlertEvent
from masthead.alerts.records import OpenCondition
from masthead.alerts.rules import RISE
from masthead.base.units import format_bytes, format_duration

BEHIND_S, CAUGHT_UP_S = 60.0, 10.0
DISK_CLEAR = 1.25  # times the warning level
STUCK_TRIES = 5  # tries over 10 minutes: then a person should know
EXPIRY_DAYS, URGENT_DAYS = 30.0, 7.0
DRIFT_CLEAR = 0.8  # times the index from which something has moved


@dataclass(frozen=True, slots=True)
class Drifted:
    """How far the transactions of a deployment have moved from what its model learned.

    Attributes:
        score: Population stability index of the score, None where it is unknown. limit: From which something has moved.
        column, index: The column that moved most, and how far. moved: How many columns moved.
    """

    score: float | None
    column: str
    index: float
    moved: int
    transactions: int
    limit: float


@dataclass(frozen=True, slots=True)
class Facts:
    """What the app knows about the running system; None: unknown, the condition stays as it is.

    Attributes:
        ingest_behind_s: Age of the oldest reading that is stored and not yet counted, seconds.
        disk_free_bytes: Free bytes where the data folder lies.
        disk_warn_bytes: The setting below which to warn.
        certificates: Name -> end of validity, aware; revoked ones left out.
        troubled: Rule -> (alerts stuck, whether one was given up, last error).
        drifts: Deployment -> how far it has drifted; a value of None: too little is known of that one.
    """

    ingest_behind_s: float | None = None
    disk_free_bytes: float | None = None
    disk_warn_bytes: float = 0.0
    certificates: Mapping[str, datetime] | None = None
    troubled: Mapping[str, tuple[int, bool, str]] = field(default_factory=dict)
    drifts: Mapping[str, Drifted | None] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition that holds now."""

    name: str
    measure: str
    severity: float
    reason: str
    value: float | None = None
    expected: float | None = None


def findings(
    facts: Facts, opened: Mapping[str, OpenCondition], now: datetime
) -> tuple[list[Finding], set[str]]:
    """Return the conditions that hold, and the names of open ones that nothing is known about.

    Args:
        facts: The present.
        opened: Conditions that were told: they end at the inner limit.
        now: Aware.
    """
    found: list[Finding] = []
    unknown: set[str] = set()
    if facts.ingest_behind_s is None:
        unknown.add("ingest-behind")
    elif facts.ingest_behind_s >= (CAUGHT_UP_S if "ingest-behind" in opened else BEHIND_S):
        found.append(_behind(facts.ingest_behind_s))
    if facts.disk_free_bytes is None:
        unknown.add("disk-nearly-full")
    elif facts.disk_free_bytes < facts.disk_warn_bytes * (DISK_CLEAR if "disk-nearly-full" in opened else 1):
        found.append(_disk(facts.disk_free_bytes, facts.disk_warn_bytes))
    for rule, (count, given_up, error) in facts.troubled.items():
        found.append(_stuck(rule, count, given_up, error))
    if facts.certificates is None:
        unknown |= {name for name in opened if name.startswith("certificate-expiring:")}
    else:
        found += [
            _expiring(name, end, now)
            for name, end in facts.certificates.items()
            if _days(end, now) < EXPIRY_DAYS
        ]
    drifting, untold = _drifts(facts, opened)
    return found + drifting, unknown | untold


def _drifts(facts: Facts, opened: Mapping[str, OpenCondition]) -> tuple[list[Finding], set[str]]:
    if facts.drifts is None:
        return [], {name for name in opened if name.startswith("fraud-drift:")}
    found, unknown = [], set()
    for deployment, one in facts.drifts.items():
        name = f"fraud-drift:{deployment}"
        if one is None:
            unknown.add(name)
        elif max(one.score or 0.0, one.index) >= one.limit * (DRIFT_CLEAR if name in opened else 1):
            found.append(_drifting(name, deployment, one))
    return found, unknown


def changes(
    facts: Facts, opened: Mapping[str, OpenCondition], now: datetime
) -> list[tuple[AlertEvent, OpenCondition | None]]:
    """Return the events to tell, each with what to remember: the open condition, or None when it is over."""
    found, unknown = findings(facts, opened, now)
    out: list[tuple[AlertEvent, OpenCondition | None]] = []
    for one in found:
        before = opened.get(one.name)
        if before is None:
            group = f"{SELF}-{one.name}-{int(now.timestamp())}"[:120]
            state = OpenCondition(one.name, group, one.severity, now, one.reason)
            out.append((_event(one, state, "open", now), state))
        elif one.severity >= before.severity + RISE:
            state = OpenCondition(one.name, before.group, one.severity, before.since, one.reason)
            out.append((_event(one, state, "raised", now), state))
    still = {one.name for one in found} | unknown
    for name, before in opened.items():
        if name not in still:
            gone = Finding(name, name.partition(":")[0], before.severity, before.reason)
            out.append((_event(gone, before, "closed", now), None))
    return out


def _event(finding: Finding, condition: OpenCondition, stage: str, now: datetime) -> AlertEvent:
    return AlertEvent(
        detector=SELF,
        group=condition.group,
        stage=stage,  # type: ignore[arg-type]  # one of STAGES, checked there
        measure=finding.measure,
        severity=finding.severity,
        start=condition.since,
        end=now.astimezone(UTC),
        value=finding.value,
        expected=finding.expected,
        reason=finding.reason,
        interval_s=0,
        kind="condition",
    )


def _behind(behind_s: float) -> Finding:
    severity = 80.0 if behind_s < 10 * BEHIND_S else 92.0
    reason = (
        f"Readings are counted {format_duration(behind_s)} late: more arrive than this machine works off."
    )
    return Finding("ingest-behind", "ingest-behind", severity, reason, behind_s, 0.0)


def _disk(free: float, warn: float) -> Finding:
    severity = 80.0 if free >= warn / 4 else 95.0
    reason = (
        f"Only {format_bytes(max(free, 0))} of disk are free (warning below {format_bytes(warn)}). "
        "When it is full, sensors' readings are no longer acknowledged."
    )
    return Finding("disk-nearly-full", "disk-nearly-full", severity, reason, free, warn)


def _stuck(rule: str, count: int, given_up: bool, error: str) -> Finding:
    alerts = "1 alert" if count == 1 else f"{count} alerts"
    how = "given up after 24 hours" if given_up else f"not taken after {STUCK_TRIES} tries"
    reason = f"Rule {rule}: {alerts} {how}. Last error: {error or 'none'}"
    return Finding(
        f"alert-undelivered:{rule}", "alert-undelivered", 92.0 if given_up else 80.0, reason, float(count)
    )


def _expiring(name: str, end: datetime, now: datetime) -> Finding:
    days = _days(end, now)
    severity = 96.0 if days <= 0 else 85.0 if days < URGENT_DAYS else 75.0
    when = (
        f"expired on {end:%Y-%m-%d}"
        if days <= 0
        else f"expires on {end:%Y-%m-%d}, in {max(int(days), 0)} days"
    )
    reason = f"The certificate of {name} {when}. Renew it before the device is refused."
    return Finding(f"certificate-expiring:{name}", "certificate-expiring", severity, reason, days)


def _drifting(name: str, deployment: str, one: Drifted) -> Finding:
    by_score = one.score is not None and one.score >= one.limit
    columns = "1 column has" if one.moved == 1 else f"{one.moved} columns have"
    score = "unknown" if one.score is None else f"{one.score:.2f}"
    reason = (
        f"{deployment}: of {one.transactions:,} transactions {columns} moved by {one.limit:g} or more from what the "
        f"model learned, most of all {one.column} by {one.index:.2f}; the score by {score} (population stability index)."
    )
    value = max(one.score or 0.0, one.index)
    return Finding(name, "fraud-drift", 90.0 if by_score else 75.0, reason, value, one.limit)


def _days(end: datetime, now: datetime) -> float:
    return (end - now).total_seconds() / 86_400
