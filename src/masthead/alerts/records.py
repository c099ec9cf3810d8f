"""Alert rules, deliveries (the outbox) and open conditions; the only file of the room with SQL.

A delivery is inserted in the caller's transaction, together with the change that it reports, so that neither is
ever without the other. `(rule, grp, stage)` is unique: that is the deduplication.
"""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal, cast

import orjson
from sqlalchemy import (
    Column,
    Connection,
    CursorResult,
    Float,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    update,
)

from masthead.alerts.events import SELF, AlertEvent
from masthead.alerts.rules import AlertRule
from masthead.store.engine import Database
from masthead.store.schema import Blob, Json, UtcDateTime, metadata

State = Literal["pending", "delivered", "undelivered", "unheard"]

STATES: tuple[State, ...] = ("pending", "delivered", "undelivered", "unheard")

alert_rules = Table(
    "alert_rules",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("detector", String(63), nullable=False),
    Column("rule", Text, nullable=False),  # text, so that one parse serves many reads
    Column("secret", Blob),
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("rule", String(63), nullable=False),
    Column("grp", String(120), nullable=False),  # `group` is a word of SQL
    Column("stage", String(20), nullable=False),
    Column("detector", String(63), nullable=False),
    Column("measure", String(256), nullable=False),
    Column("channel", String(20), nullable=False),
    Column("severity", Float, nullable=False),
    Column("event", Json, nullable=False),
    Column("state", String(12), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", UtcDateTime, nullable=False),
    Column("last_error", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("reached", Json, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("delivered_at", UtcDateTime),
    UniqueConstraint("rule", "grp", "stage"),
    Index("ix_alert_deliveries_state_due", "state", "due"),
    Index("ix_alert_deliveries_grp", "grp"),
    Index("ix_alert_deliveries_created", "created"),
)

alert_conditions = Table(
    "alert_conditions",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("grp", String(120), nullable=False),
    Column("severity", Float, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One alert on its way to one rule's channel.

    Attributes:
        id: The key: same at every try; `Idempotency-Key` and the end of `alertEventId`.
        rule: Name of the rule.
        group: Id of the anomaly group or condition.
        stage: `open`, `raised`, `raised-2`..., `closed` or `test`.
        state: `pending`, `delivered`, `undelivered`, or `unheard`: its named channel does not exist.
        tries: How many times the channel was asked.
        due: When it is tried next, while pending.
        last_error: Why the last try failed; empty after success.
        note: What the channel said at success (bounded output of a command, say).
        reached: Receivers that took it so far.
    """

    id: str
    rule: str
    group: str
    stage: str
    detector: str
    measure: str
    channel: str
    severity: float
    state: State
    tries: int
    due: datetime
    last_error: str
    note: str
    reached: tuple[str, ...]
    created: datetime
    delivered_at: datetime | None
    event: AlertEvent

    def to_json(self) -> dict[str, Any]:
        """Return the delivery as JSON values, without the event."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "event"}
        return fields | {
            "reached": list(self.reached),
            "due": self.due.isoformat() if self.state == "pending" else None,
            "created": self.created.isoformat(),
            "delivered_at": self.delivered_at.isoformat() if self.delivered_at else None,
        }


@dataclass(frozen=True, slots=True)
class OpenCondition:
    """A condition of Masthead itself that was told and is not over."""

    name: str
    group: str
    severity: float
    since: datetime
    reason: str


def delivery_id(rule: str, group: str, stage: str) -> str:
    """Return the key of one alert: the same for the same rule, group and stage, always.

    >>> delivery_id("night", "group-1", "open")
    'fc9d799d4154760be471ae7fe7479d72'
    """
    return hashlib.sha256("\0".join((rule, group, stage)).encode()).hexdigest()[:32]


def put_rule(database: Database, connection: Connection, rule: AlertRule, secret: bytes | None) -> None:
    """Insert or replace a rule."""
    text = orjson.dumps(rule.to_json()).decode()
    row = {"name": rule.name, "detector": rule.detector, "rule": text, "secret": secret}
    database.upsert(connection, alert_rules, row)


def get_rule(connection: Connection, name: str) -> tuple[AlertRule, bytes | None] | None:
    """Return a rule and its sealed secrets, or None."""
    query = select(alert_rules.c.rule, alert_rules.c.secret).where(alert_rules.c.name == name)
    row = connection.execute(query).one_or_none()
    return (_parsed(row.rule), row.secret) if row else None


def all_rules(connection: Connection) -> list[AlertRule]:
    """Return every rule by name."""
    query = select(alert_rules.c.rule).order_by(alert_rules.c.name)
    return [_parsed(text) for text in connection.execute(query).scalars()]


def remove_rules(connection: Connection, names: Collection[str]) -> int:
    """Delete rules and what they had not yet told or nobody heard; return how many rules there were."""
    pending = (alert_deliveries.c.rule.in_(names)) & alert_deliveries.c.state.in_(["pending", "unheard"])
    connection.execute(delete(alert_deliveries).where(pending))
    return _count(connection.execute(delete(alert_rules).where(alert_rules.c.name.in_(names))))


def names_of_detector(connection: Connection, detector: str) -> list[str]:
    """Return the names of the rules bound to one detector."""
    query = select(alert_rules.c.name).where(alert_rules.c.detector == detector)
    return list(connection.execute(query).scalars())


def told(connection: Connection, group: str) -> dict[str, dict[str, float]]:
    """Return rule -> stage -> severity of what was told about a group."""
    table = alert_deliveries.c
    query = select(table.rule, table.stage, table.severity).where(table.grp == group)
    found: dict[str, dict[str, float]] = {}
    for rule, stage, severity in connection.execute(query):
        found.setdefault(rule, {})[stage] = severity
    return found


def add_delivery(
    database: Database,
    connection: Connection,
    rule: AlertRule,
    event: AlertEvent,
    *,
    stage: str,
    now: datetime,
    due: datetime,
    state: State = "pending",
) -> str | None:
    """Insert a delivery; return its id, or None when this rule told this stage before."""
    key = delivery_id(rule.name, event.group, stage)
    row = {
        "id": key,
        "rule": rule.name,
        "grp": event.group,
        "stage": stage,
        "detector": event.detector,
        "measure": event.measure,
        "channel": rule.channel["kind"],
        "severity": float(event.severity),
        "event": _stored(event),
        "state": state,
        "tries": 0,
        "due": due,
        "last_error": "",
        "note": "",
        "reached": [],
        "created": now,
        "delivered_at": None,
    }
    return key if database.insert_ignore(connection, alert_deliveries, [row]) else None


def due_deliveries(
    connection: Connection, now: datetime, *, besides: Collection[str], limit: int
) -> list[Delivery]:
    """Return pending deliveries whose time has come, the longest due first, not of the rules `besides`."""
    table = alert_deliveries.c
    query = (
        select(alert_deliveries)
        .where(table.state == "pending", table.due <= now, table.rule.not_in(besides))
        .order_by(table.due, table.created, table.id)
        .limit(limit)
    )
    return [_delivery(row) for row in connection.execute(query)]


def next_due(connection: Connection, *, besides: Collection[str]) -> datetime | None:
    """Return when the next pending delivery of another rule than `besides` is due."""
    table = alert_deliveries.c
    query = select(func.min(table.due)).where(table.state == "pending", table.rule.not_in(besides))
    return cast("datetime | None", connection.execute(query).scalar_one())


def put_result(
    connection: Connection,
    key: str,
    *,
    state: State,
    due: datetime,
    error: str,
    note: str,
    reached: Sequence[str],
    now: datetime,
) -> None:
    """Record how a try ended. A delivery whose rule was deleted meanwhile is gone: nothing happens."""
    values = {
        "state": state,
        "tries": alert_deliveries.c.tries + 1,
        "due": due,
        "last_error": error,
        "note": note,
        "reached": list(reached),
        "delivered_at": now if state == "delivered" else None,
    }
    connection.execute(update(alert_deliveries).where(alert_deliveries.c.id == key).values(values))


def postpone(connection: Connection, key: str, due: datetime) -> None:
    """Move a pending delivery to a later time without counting a try."""
    connection.execute(update(alert_deliveries).where(alert_deliveries.c.id == key).values(due=due))


def start_again(connection: Connection, key: str, now: datetime) -> bool:
    """Make an undelivered or waiting delivery due now, with all its tries; False when it was delivered."""
    here = (alert_deliveries.c.id == key) & (alert_deliveries.c.state != "delivered")
    statement = update(alert_deliveries).where(here).values(state="pending", tries=0, due=now)
    return _count(connection.execute(statement)) == 1


def get_delivery(connection: Connection, key: str) -> Delivery | None:
    """Return one delivery, or None."""
    row = connection.execute(select(alert_deliveries).where(alert_deliveries.c.id == key)).one_or_none()
    return _delivery(row) if row else None


def find_deliveries(
    connection: Connection,
    *,
    rule: str | None,
    state: str | None,
    group: str | None,
    limit: int,
    before: tuple[datetime, str] | None,
) -> list[Delivery]:
    """Return deliveries, newest first, from the place `before` (created, id) on."""
    table = alert_deliveries.c
    query = select(alert_deliveries).order_by(table.created.desc(), table.id.desc()).limit(limit)
    for column, value in ((table.rule, rule), (table.state, state), (table.grp, group)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        created, key = before
        query = query.where((table.created < created) | ((table.created == created) & (table.id < key)))
    return [_delivery(row) for row in connection.execute(query)]


def count_states(connection: Connection) -> dict[tuple[str, str], int]:
    """Return (channel, state) -> deliveries; tests do not count."""
    table = alert_deliveries.c
    query = (
        select(table.channel, table.state, func.count())
        .where(table.stage != "test")
        .group_by(table.channel, table.state)
    )
    return {(channel, state): count for channel, state, count in connection.execute(query)}


def troubled_rules(connection: Connection, tries: int) -> dict[str, tuple[int, bool, str]]:
    """Return rule -> (alerts not delivered after `tries` tries, whether one was given up, last error).

    A rule whose channel delivered something after its last failure is well again. What Masthead says about
    itself does not count: a broken channel must not breed alerts about alerts.
    """
    table = alert_deliveries.c
    stuck = (table.state == "undelivered") | ((table.state == "pending") & (table.tries >= tries))
    failed = (
        select(table.rule, table.state, table.last_error, table.due)
        .join(alert_rules, alert_rules.c.name == table.rule)
        .where(table.stage != "test", table.detector != SELF, stuck)
        .order_by(table.created, table.id)
    )
    latest = select(table.rule, func.max(table.delivered_at).label("at")).group_by(table.rule)
    rows = connection.execute(failed).all()
    success = {row.rule: row.at for row in connection.execute(latest)} if rows else {}
    found: dict[str, tuple[int, bool, str]] = {}
    for row in rows:
        well_since = success.get(row.rule)
        given_up = row.state == "undelivered"
        if given_up and well_since is not None and well_since > row.due:
            continue
        count, before, _ = found.get(row.rule, (0, False, ""))
        found[row.rule] = (count + 1, before or given_up, row.last_error)
    return found


def trim_deliveries(connection: Connection, before: datetime) -> int:
    """Delete deliveries made before `before` that are not pending; return how many."""
    old = (alert_deliveries.c.created < before) & (alert_deliveries.c.state != "pending")
    return _count(connection.execute(delete(alert_deliveries).where(old)))


def open_conditions(connection: Connection) -> dict[str, OpenCondition]:
    """Return the conditions of Masthead itself that are not over, by name."""
    rows = connection.execute(select(alert_conditions))
    return {row.name: OpenCondition(row.name, row.grp, row.severity, row.since, row.reason) for row in rows}


def put_condition(connection: Connection, condition: OpenCondition) -> None:
    """Insert or replace an open condition."""
    remove_condition(connection, condition.name)
    row = {
        "name": condition.name,
        "grp": condition.group,
        "severity": condition.severity,
        "since": condition.since,
        "reason": condition.reason,
    }
    connection.execute(insert(alert_conditions).values(row))


def remove_condition(connection: Connection, name: str) -> None:
    """Forget a condition that is over."""
    connection.execute(delete(alert_conditions).where(alert_conditions.c.name == name))


def _stored(event: AlertEvent) -> Any:
    """Return the event's JSON, no longer than messages show; numpy numbers become plain ones, NaN becomes null."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.loads(orjson.dumps(event.shortened().to_json(), option=options))


def _delivery(row: Row[Any]) -> Delivery:
    fields = dict(row._mapping)
    fields["group"] = fields.pop("grp")
    fields["reached"] = tuple(fields["reached"])
    fields["event"] = AlertEvent.from_json(fields["event"])
    return Delivery(**fields)


@lru_cache(maxsize=1024)  # a rule is frozen; the same text is the same rule
def _parsed(text: str) -> AlertRule:
    return AlertRule.from_json(orjson.loads(text))


def _count(result: CursorResult[Any]) -> int:
    return result.rowcount
