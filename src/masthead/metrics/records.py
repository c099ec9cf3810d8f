"""What the room keeps: detectors and their progress, groups, feedback, jobs and quality. With `results`, the only SQL.

Ground state: specifications and feedback. Groups, progress and scores can be made again from the data.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from functools import cache, lru_cache
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    RowMapping,
    String,
    Table,
    Text,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from masthead.base.errors import LimitReached, NotFound, shown
from masthead.metrics.related import Span
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database
from masthead.store.schema import Json, UtcDateTime, metadata

ERRORS = "s3://errors/detectors"
STATES = (
    "created",
    "activating",
    "learning",
    "active",
    "deactivating",
    "stopped",
    "failed",
    "backtesting",
    "backtested",
    "deleting",
)
RUNNING = ("activating", "learning", "active")
TO_VALIDATE = "to be validated"  # the progress of a job whose asker has not looked at the data
TESTING = "testing"  # how the progress of a back-test begins once it has learned

detectors = Table(
    "detectors",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("failure", Text, nullable=False),
    Column("spec", Json, nullable=False),
    Column("run", String(40), nullable=False),  # one activation or backtest; "" before the first
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
)
detector_progress = Table(
    "detector_progress",
    metadata,
    Column("run", String(40), primary_key=True),
    Column("detector", String(63), nullable=False, index=True),
    Column("entry", BigInteger, nullable=False),  # last entry of the interval log whose effects are stored
    Column("last_interval", UtcDateTime),
    Column("facts", Json, nullable=False),  # counts and learning, as the interval log has them
)
anomaly_groups = Table(
    "anomaly_groups",
    metadata,
    Column("id", String(60), primary_key=True),
    Column("detector", String(63), nullable=False),
    Column("run", String(40), nullable=False),
    Column("measure", Text, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("start", UtcDateTime, nullable=False),
    Column("end", UtcDateTime, nullable=False),
    Column("severity", Float, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("state", String(10), nullable=False),
    Column("confidence", String(10), nullable=False),
    Column("contributions", Json, nullable=False),
    Column("causes", Json, nullable=False),
    Column("series", Json, nullable=False),
    Column("series_count", Integer, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("acknowledged", Boolean, nullable=False),
    Column("muted_until", UtcDateTime),
    Index("ix_anomaly_groups_start_id", "start", "id"),
    Index("ix_anomaly_groups_detector_start", "detector", "start"),
)
group_feedback = Table(
    "group_feedback",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("group", String(60), nullable=False, index=True),
    Column("detector", String(63), nullable=False),
    Column("run", String(40), nullable=False),
    Column("measure", Text, nullable=False),
    Column("dimensions", Json, nullable=False),
    Column("value", Float),
    Column("reason", String(40), nullable=False),
    Column("is_anomaly", Boolean, nullable=False),
    Column("given", UtcDateTime, nullable=False),
    Column("applied", Boolean, nullable=False),
)
detector_executions = Table(
    "detector_executions",
    metadata,
    Column("id", String(60), primary_key=True),
    Column("detector", String(63), nullable=False, index=True),
    Column("kind", String(20), nullable=False),
    Column("state", String(20), nullable=False),
    Column("started", UtcDateTime, nullable=False),
    Column("ended", UtcDateTime),
    Column("done", Float, nullable=False),
    Column("text", Text, nullable=False),
    Column("failure", Text, nullable=False),
)
detector_quality = Table(
    "detector_quality",
    metadata,
    Column("detector", String(63), primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("quality", Json, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a detector has learned: `seen` of `needed` intervals, the seconds to go, and a sentence."""

    seen: int = 0
    needed: int = 0
    eta_s: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Detector:
    """One data set watched.

    Attributes:
        state: created, activating, learning, active, deactivating, stopped, failed, backtesting, backtested or
            deleting.
        failure: Why it failed; "" otherwise.
        late: Records that came after their interval had closed; `late_by_thing` the same by sender.
        duplicates: Records that were dropped because they had come before.
        refused: Records that could not be used; they lie in the error place with their reasons.
        last_interval: Start of the interval closed last.
        run: Id of the present or last activation or backtest; "" before the first.
        error_place: Where what a live source sent and could not be used lies; "" for a backtest.
    """

    name: str
    state: str
    failure: str
    spec: DetectorSpec
    created: datetime
    updated: datetime
    progress: Progress = field(default_factory=Progress)
    late: int = 0
    duplicates: int = 0
    refused: int = 0
    last_interval: datetime | None = None
    late_by_thing: dict[str, int] = field(default_factory=dict)
    run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the detector as JSON values; times in ISO 8601 with offset."""
        found = _plain(self)
        found["progress"] = _plain(self.progress)
        found["spec"] = self.spec.to_json()
        found["error_place"] = self.error_place
        return found

    @property
    def error_place(self) -> str:
        """Return the address below which refused records lie, each with its reason."""
        return error_place(self.name) if self.spec.mode == "continuous" else ""


def error_place(detector: str) -> str:
    """Return where a running detector puts what it cannot use.

    >>> error_place("air")
    's3://errors/detectors/air/'
    """
    return f"{ERRORS}/{detector}/"


@dataclass(frozen=True, slots=True)
class AnomalyGroup:
    """Series of one measure that were anomalous together.

    Attributes:
        measure: Name; `*` when a source with several measures fell silent.
        kind: value, silence or flatline.
        end: Start of its last interval.
        severity: 0 to 100.
        confidence: low while the detector is young.
        contributions: Dimension -> value -> percent; each dimension sums to 100.
        causes: `{"elements": {dimension: value}, "share": percent}`, the best explanation first.
        series: The most severe ones: `{"measure", "dimensions", "value", "expected", "severity", "reason", "start",
            "end"}`; `series_count` counts all.
    """

    id: str
    detector: str
    measure: str
    kind: str
    start: datetime
    end: datetime
    severity: float
    reason: str
    state: str
    confidence: str
    contributions: dict[str, dict[str, float]]
    causes: list[dict[str, Any]]
    series: list[dict[str, Any]]
    series_count: int
    created: datetime
    acknowledged: bool = False
    muted_until: datetime | None = None
    run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the group as JSON values; times in ISO 8601 with offset."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class Feedback:
    """A person's word on one series of a group; `applied` once the detector has learned it."""

    id: int
    group: str
    detector: str
    measure: str
    dimensions: dict[str, str]
    value: float | None
    reason: str
    is_anomaly: bool
    given: datetime
    applied: bool
    run: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the feedback as JSON values."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class Execution:
    """One long job of a detector: `kind` activation or backtest; `state` running, finished, failed or cancelled.

    Its id is also that of the job and of the detector's run. Where intervals are asked for too, one that was scored
    is `kind` interval, and `started` is its start.
    """

    id: str
    detector: str
    kind: str
    state: str
    started: datetime
    ended: datetime | None = None
    done: float = 0.0
    text: str = ""
    failure: str = ""

    @property
    def is_testing(self) -> bool:
        """Whether it is a back-test that runs, has learned and tests now."""
        return self.kind == "backtest" and self.state == "running" and self.text.startswith(TESTING)

    def to_json(self) -> dict[str, Any]:
        """Return the execution as JSON values; `done` is the share from 0 to 1."""
        return _plain(self)


def _plain(record: Any) -> dict[str, Any]:
    found = {entry.name: getattr(record, entry.name) for entry in fields(record)}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()
    }


# --- detectors ---------------------------------------------------------------------------------------------


def put_detector(database: Database, connection: Connection, detector: Detector) -> None:
    """Store a detector's row; its progress is stored apart."""
    row = {
        name: getattr(detector, name) for name in ("name", "state", "failure", "run", "created", "updated")
    }
    database.upsert(connection, detectors, row | {"spec": detector.spec.to_json()})


def find_detector(connection: Connection, name: str) -> Detector | None:
    """Return a detector with its progress, or None."""
    found = connection.execute(_one_by_name(), {"wanted": name}).mappings().first()
    return None if found is None else _detector(found)


def require_detector(connection: Connection, name: str) -> Detector:
    """Return a detector.

    Raises:
        NotFound: There is none of that name.
    """
    found = find_detector(connection, name)
    if found is None:
        raise NotFound(f"detector: there is none named {shown(name)}", field="detector")
    return found


def all_detectors(connection: Connection) -> list[Detector]:
    """Return every detector by name."""
    return [
        _detector(row) for row in connection.execute(_with_progress().order_by(detectors.c.name)).mappings()
    ]


@cache  # to build it takes longer than to run it, and this is the most asked question of all
def _one_by_name() -> Any:
    return _with_progress().where(detectors.c.name == bindparam("wanted"))


def _with_progress() -> Any:
    join = detectors.outerjoin(detector_progress, detectors.c.run == detector_progress.c.run)
    return select(detectors, detector_progress.c.last_interval, detector_progress.c.facts).select_from(join)


def _detector(row: RowMapping) -> Detector:
    facts = row["facts"] or {}
    return Detector(
        **{name: row[name] for name in ("name", "state", "failure", "run", "created", "updated")},
        spec=_spec(orjson.dumps(row["spec"])),
        progress=Progress(**facts.get("progress", {})),
        last_interval=row["last_interval"],
        **{name: facts.get(name, 0) for name in ("late", "duplicates", "refused")},
        late_by_thing=facts.get("late_by_thing", {}),
    )


@lru_cache(maxsize=1024)  # a specification is frozen; the same text is the same one
def _spec(text: bytes) -> DetectorSpec:
    return DetectorSpec.read(orjson.loads(text))


def set_state(
    connection: Connection,
    name: str,
    state: str,
    *,
    now: datetime,
    failure: str = "",
    only: Sequence[str] = STATES,
    run: str | None = None,
) -> bool:
    """Change a detector's state if it is in one of `only` (and in that `run`); return whether it was."""
    statement = (
        update(detectors)
        .where(detectors.c.name == name, detectors.c.state.in_(only))
        .values(state=state, failure=failure, updated=now)
    )
    if run is not None:
        statement = statement.where(detectors.c.run == run)
    return connection.execute(statement).rowcount > 0


def require_room(connection: Connection, most: int) -> None:
    """Refuse one detector more than `most`.

    Raises:
        LimitReached: There are as many already.
    """
    if int(connection.execute(select(func.count()).select_from(detectors)).scalar_one()) >= most:
        raise LimitReached(f"detectors: expected at most {most:,}")


def remove_detector(connection: Connection, name: str) -> None:
    """Delete a detector and all that was derived for it."""
    for table in (detector_progress, anomaly_groups, group_feedback, detector_executions, detector_quality):
        connection.execute(delete(table).where(table.c.detector == name))
    connection.execute(delete(detectors).where(detectors.c.name == name))


# --- progress ----------------------------------------------------------------------------------------------


def last_entry(connection: Connection, run: str) -> int:
    """Return the number of the log entry whose effects were stored last; 0 = none."""
    statement = select(detector_progress.c.entry).where(detector_progress.c.run == run)
    return int(connection.execute(statement).scalar() or 0)


def put_progress(
    database: Database,
    connection: Connection,
    *,
    run: str,
    detector: str,
    entry: int,
    last_interval: datetime | None,
    facts: Mapping[str, Any],
) -> None:
    """Store how far a run is, in the transaction of its effects; a `last_interval` of None leaves the stored one."""
    row = {"run": run, "detector": detector, "entry": entry, "facts": facts}
    if last_interval is not None:
        row["last_interval"] = last_interval
    database.upsert(connection, detector_progress, row)


def update_facts(connection: Connection, run: str, facts: Mapping[str, Any]) -> None:
    """Tell what was counted since the last entry; a run without a row has nothing to tell."""
    statement = update(detector_progress).where(detector_progress.c.run == run)
    connection.execute(statement.values(facts=dict(facts)))


def find_facts(connection: Connection, run: str) -> dict[str, Any]:
    """Return the counts of a run as they were stored last; empty = none yet."""
    statement = select(detector_progress.c.facts).where(detector_progress.c.run == run)
    return dict(connection.execute(statement).scalar() or {})


# --- groups ------------------------------------------------------------------------------------------------


def put_group(connection: Connection, group: AnomalyGroup) -> AnomalyGroup:
    """Store what a detector says of a group and return it; what people said of it (acknowledged, muted) stays."""
    row = {entry.name: getattr(group, entry.name) for entry in fields(group)}
    told = {
        name: value
        for name, value in row.items()
        if name not in ("id", "created", "acknowledged", "muted_until")
    }
    changed = connection.execute(update(anomaly_groups).where(anomaly_groups.c.id == group.id).values(told))
    if changed.rowcount:
        return require_group(connection, group.id)
    connection.execute(insert(anomaly_groups).values(row))
    return group


def require_group(connection: Connection, group: str) -> AnomalyGroup:
    """Return a group.

    Raises:
        NotFound: There is none of that id.
    """
    statement = select(anomaly_groups).where(anomaly_groups.c.id == group)
    found = connection.execute(statement).mappings().first()
    if found is None:
        raise NotFound(f"group: there is none with the id {shown(group)}", field="group")
    return AnomalyGroup(**found)


def update_group(connection: Connection, group: str, **changes: Any) -> AnomalyGroup:
    """Change what people said of a group and return it."""
    connection.execute(update(anomaly_groups).where(anomaly_groups.c.id == group).values(changes))
    return require_group(connection, group)


def find_groups(
    connection: Connection,
    *,
    detector: str | None = None,
    min_severity: float = 0.0,
    start: datetime | None = None,
    end: datetime | None = None,
    measure: str | None = None,
    state: str | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[AnomalyGroup]:
    """Return groups, the latest start first; `start` and `end` (excluded) bound the time they overlap."""
    table = anomaly_groups.c
    statement = select(anomaly_groups).where(table.severity >= min_severity)
    if detector is not None:
        statement = statement.where(table.detector == detector)
    if measure is not None:
        statement = statement.where(table.measure == measure)
    if state is not None:
        statement = statement.where(table.state == state)
    if start is not None:
        statement = statement.where(table.end >= start)
    if end is not None:
        statement = statement.where(table.start < end)
    if after is not None:
        before = and_(table.start == after[0], table.id < after[1])
        statement = statement.where(or_(table.start < after[0], before))
    statement = statement.order_by(table.start.desc(), table.id.desc()).limit(limit)
    return [AnomalyGroup(**row) for row in connection.execute(statement).mappings()]


def find_spans(connection: Connection, detector: str, *, start: datetime, limit: int = 2_000) -> list[Span]:
    """Return when a detector's latest groups were, for what is told of their company."""
    table = anomaly_groups.c
    statement = (
        select(table.id, table.measure, table.start, table.end)
        .where(table.detector == detector, table.start >= start)
        .order_by(table.start.desc(), table.id.desc())
        .limit(limit)
    )
    return [
        Span(id, measure, start.timestamp(), end.timestamp())
        for id, measure, start, end in connection.execute(statement)
    ]


def count_groups(connection: Connection, detector: str, min_severity: float = 0.0) -> int:
    """Return how many groups a detector has."""
    table = anomaly_groups.c
    statement = select(func.count()).where(table.detector == detector, table.severity >= min_severity)
    return int(connection.execute(statement).scalar_one())


def count_by_measure(connection: Connection, detector: str, min_severity: float = 0.0) -> dict[str, int]:
    """Return measure -> groups of a detector, by measure."""
    table = anomaly_groups.c
    statement = (
        select(table.measure, func.count())
        .where(table.detector == detector, table.severity >= min_severity)
        .group_by(table.measure)
        .order_by(table.measure)
    )
    return {measure: int(count) for measure, count in connection.execute(statement)}


def close_groups(connection: Connection, run: str) -> None:
    """Close what a run left open, when it ends."""
    open_ones = and_(anomaly_groups.c.run == run, anomaly_groups.c.state == "open")
    connection.execute(update(anomaly_groups).where(open_ones).values(state="closed"))


def remove_groups(connection: Connection, run: str) -> None:
    """Delete the groups of a run that is done again from its beginning."""
    connection.execute(delete(anomaly_groups).where(anomaly_groups.c.run == run))


# --- feedback ----------------------------------------------------------------------------------------------


def add_feedback(connection: Connection, feedback: Feedback) -> Feedback:
    """Store a person's word and return it with its id."""
    row = {entry.name: getattr(feedback, entry.name) for entry in fields(feedback) if entry.name != "id"}
    key = connection.execute(insert(group_feedback).values(row)).inserted_primary_key
    return replace(feedback, id=int(key[0] if key else 0))


def find_feedback(
    connection: Connection, *, detector: str | None = None, group: str | None = None, waiting: bool = False
) -> list[Feedback]:
    """Return feedback in the order in which it was given; `waiting` = not learned yet."""
    table = group_feedback.c
    statement = select(group_feedback).order_by(table.id)
    if detector is not None:
        statement = statement.where(table.detector == detector)
    if group is not None:
        statement = statement.where(table.group == group)
    if waiting:
        statement = statement.where(table.applied.is_(False))
    return [Feedback(**row) for row in connection.execute(statement).mappings()]


def mark_applied(connection: Connection, ids: Sequence[int]) -> None:
    """Remember that feedback has been learned."""
    if ids:
        connection.execute(update(group_feedback).where(group_feedback.c.id.in_(ids)).values(applied=True))


# --- executions and quality --------------------------------------------------------------------------------


def put_execution(database: Database, connection: Connection, execution: Execution) -> None:
    """Store one execution's row."""
    row = {entry.name: getattr(execution, entry.name) for entry in fields(execution)}
    database.upsert(connection, detector_executions, row)


def update_execution(connection: Connection, id: str, **changes: Any) -> None:
    """Change an execution that still runs."""
    table = detector_executions.c
    statement = update(detector_executions).where(table.id == id, table.state == "running").values(changes)
    connection.execute(statement)


def execution_state(connection: Connection, id: str) -> str:
    """Return an execution's state; "" = there is none of that id."""
    statement = select(detector_executions.c.state).where(detector_executions.c.id == id)
    return str(connection.execute(statement).scalar() or "")


def is_to_be_validated(connection: Connection, id: str) -> bool:
    """Return whether nobody has looked at the data of an execution yet."""
    statement = select(detector_executions.c.text).where(detector_executions.c.id == id)
    return connection.execute(statement).scalar() == TO_VALIDATE


def is_running(connection: Connection, id: str) -> bool:
    """Return whether an execution has begun and not ended."""
    return execution_state(connection, id) == "running"


def detector_of(connection: Connection, run: str) -> str | None:
    """Return whose execution `run` is, or None."""
    statement = select(detector_executions.c.detector).where(detector_executions.c.id == run)
    found = connection.execute(statement).scalar()
    return None if found is None else str(found)


def other_runs(connection: Connection, detector: str, run: str) -> list[str]:
    """Return a detector's runs before `run`."""
    table = detector_executions.c
    statement = select(table.id).where(table.detector == detector, table.id != run)
    return [str(id) for id in connection.execute(statement).scalars()]


def find_executions(
    connection: Connection,
    detector: str,
    *,
    limit: int = 100,
    after: tuple[datetime, str] | None = None,
    span: tuple[datetime, datetime] | None = None,
) -> list[Execution]:
    """Return a detector's executions, the latest first, those that began within `span` (its end excluded)."""
    table = detector_executions.c
    statement = select(detector_executions).where(table.detector == detector)
    if after is not None:
        before = and_(table.started == after[0], table.id < after[1])
        statement = statement.where(or_(table.started < after[0], before))
    if span is not None:
        statement = statement.where(table.started >= span[0], table.started < span[1])
    statement = statement.order_by(table.started.desc(), table.id.desc()).limit(limit)
    return [Execution(**row) for row in connection.execute(statement).mappings()]


def put_quality(
    database: Database, connection: Connection, detector: str, quality: Mapping[str, Any], *, now: datetime
) -> None:
    """Store what was found about a detector's data."""
    database.upsert(connection, detector_quality, {"detector": detector, "at": now, "quality": quality})


def find_quality(connection: Connection, detector: str) -> dict[str, Any]:
    """Return what was stored about a detector's data; empty = nothing yet."""
    statement = select(detector_quality.c.quality).where(detector_quality.c.detector == detector)
    return dict(connection.execute(statement).scalar() or {})
