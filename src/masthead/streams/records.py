"""What the room keeps: rules, delivery streams, the ledger of objects, positions and counts. The only SQL here."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    String,
    Table,
    Text,
    func,
    select,
    update,
)
from sqlalchemy import delete as delete_from

from masthead.base.errors import Conflict, InvalidInput, NotFound, shown
from masthead.base.ids import check_name
from masthead.base.topics import check_target
from masthead.store.engine import Database
from masthead.store.objects import check_bucket
from masthead.store.schema import Blob, Json, UtcDateTime, metadata
from masthead.streams.eventtime import EventTime, zone_of
from masthead.streams.prefixes import check_prefixes
from masthead.streams.rules import parse_rule
from masthead.streams.works import DECISIONS

ACTION_KINDS = ("delivery_stream", "detector", "fraud", "subject", "webhook")
_MOST_ACTIONS = 10  # as in AWS IoT Core
_ACTION_FIELDS = {
    "delivery_stream": {"name", "separator", "batch"},
    "detector": {"name"},
    "fraud": {"name", "subject", "batch"},
    "subject": {"name"},
    "webhook": {"url", "headers"},
}

topic_rules = Table(
    "topic_rules",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("spec", Json, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)
delivery_streams = Table(
    "delivery_streams",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("spec", Json, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)
stream_objects = Table(
    "stream_objects",
    metadata,
    Column("uri", Text, primary_key=True),
    Column("stream", String(63), nullable=False),
    Column("partition", String(40), nullable=False),
    Column("from_sequence", BigInteger, nullable=False),
    Column("through_sequence", BigInteger, nullable=False),
    Column("instant", Float, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("records", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("made", UtcDateTime, nullable=False),
    Column("digests", Blob),
    Index("ix_stream_objects_stream_made", "stream", "made"),
    Index("ix_stream_objects_through", "stream", "through_sequence"),
)
stream_positions = Table(
    "stream_positions",
    metadata,
    Column("name", String(63), primary_key=True),  # "" is the room itself: rules and their actions
    Column("position", BigInteger, nullable=False),
    Column("counts", Json, nullable=False),
)
stream_applied = Table(
    "stream_applied",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("configuration", Json, nullable=False),
)


@dataclass(frozen=True, slots=True)
class TopicRule:
    """SQL over messages, and what is done with what it selects."""

    name: str
    sql: str
    actions: tuple[dict[str, Any], ...] = ()
    error_action: dict[str, Any] | None = None
    enabled: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON holds it."""
        return _as_json(self)

    @classmethod
    def from_json(cls, value: object) -> "TopicRule":
        """Return a checked rule.

        Raises:
            InvalidInput: The SQL, an action or another field is wrong.
        """
        rule = cls.read(value)
        check_name(rule.name)
        parse_rule(rule.sql)
        if not isinstance(rule.enabled, bool):
            raise InvalidInput(f"enabled: expected true or false, got {shown(rule.enabled)}")
        if len(rule.actions) > _MOST_ACTIONS:
            raise InvalidInput(f"actions: expected at most {_MOST_ACTIONS}, got {len(rule.actions)}")
        for action in rule.actions:
            _check_action(action, "actions")
        if rule.error_action is not None:
            _check_action(rule.error_action, "error_action")
        return rule

    @classmethod
    def read(cls, value: object) -> "TopicRule":
        """Return a rule as it was stored; it may be older than a check, which must not keep the others from being read."""
        given = _checked_fields(cls, value)
        return cls(**{**given, "actions": tuple(_listed(given.get("actions", ()), "actions"))})

    def streams(self) -> set[str]:
        """Return the names of the delivery streams that it feeds."""
        actions = [*self.actions, *([self.error_action] if self.error_action else [])]
        return {action["name"] for action in actions if action["kind"] == "delivery_stream"}


@dataclass(frozen=True, slots=True)
class DeliveryStream:
    """Durable records to objects; see the fields of Firehose's S3 destination for the hints and prefixes.

    `dedupe` is `exact` (a reading that a thing sends twice is kept once), `none`, or "" for `exact` with event
    times and `none` without. `retention_days` and `retention_gib` are 0 for ever and for any size.
    """

    name: str
    destination: str
    prefix: str = ""
    error_prefix: str = ""
    buffer_s: int = 300
    buffer_mib: float = 5
    event_time: dict[str, Any] | None = None
    separator: str = "\n"
    compression: str = "none"
    dedupe: str = ""
    zone: str = "UTC"
    retention_days: float = 0
    retention_gib: float = 0
    version: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the stream as JSON holds it."""
        return _as_json(self)

    @classmethod
    def from_json(cls, value: object) -> "DeliveryStream":
        """Return a checked stream.

        Raises:
            InvalidInput: A hint out of its range, a prefix, a destination or another field is wrong.
        """
        given = _checked_fields(cls, value)
        if ("buffer_s" in given) != ("buffer_mib" in given):
            raise InvalidInput("buffer_s: expected both buffer_s and buffer_mib or neither, got one")
        stream = cls(**given)
        check_name(stream.name)
        for name, least, most in (("buffer_s", 0, 900), ("buffer_mib", 1, 128)):
            _check_number(name, getattr(stream, name), least, most)
        for name in ("retention_days", "retention_gib"):
            _check_number(name, getattr(stream, name), 0, 1e9)
        _check_choices(stream)
        check_prefixes(stream.prefix, stream.error_prefix)
        stream.bucket_and_start()
        if stream.event_time is not None:
            event_time = EventTime.from_json(stream.event_time).to_json()
            stream = replace(stream, event_time=event_time, zone=event_time["zone"])
        if not stream.dedupe:
            stream = replace(stream, dedupe="exact" if stream.event_time else "none")
        return stream

    def bucket_and_start(self) -> tuple[str, str]:
        """Return the bucket of the destination, and "" or the folder in it, ending in a slash."""
        parts = urlsplit(self.destination) if isinstance(self.destination, str) else None
        if parts is None or parts.scheme != "s3" or parts.query or parts.fragment:
            raise InvalidInput(f"destination: expected s3://bucket/, got {shown(self.destination)}")
        start = parts.path.strip("/")
        if any(part in ("", ".", "..") for part in start.split("/")) and start:
            raise InvalidInput(f"destination: expected s3://bucket/folder/, got {shown(self.destination)}")
        return check_bucket(parts.netloc), f"{start}/" if start else ""


def _check_choices(stream: DeliveryStream) -> None:
    if stream.compression not in ("none", "gzip"):
        raise InvalidInput(f"compression: expected none or gzip, got {shown(stream.compression)}")
    if stream.dedupe not in ("", "exact", "none"):
        raise InvalidInput(f"dedupe: expected exact or none, got {shown(stream.dedupe)}")
    if not isinstance(stream.zone, str):
        raise InvalidInput(f"zone: expected an IANA name, got {shown(stream.zone)}")
    zone_of(stream.zone)
    if not isinstance(stream.separator, str) or len(stream.separator) > 16:
        raise InvalidInput(f"separator: expected at most 16 characters, got {shown(stream.separator)}")
    if not isinstance(stream.version, int) or isinstance(stream.version, bool) or stream.version < 1:
        raise InvalidInput(f"version: expected 1 or more, got {shown(stream.version)}")


def _check_number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise InvalidInput(f"{name}: expected {least} to {most:g}, got {shown(value)}")


def _check_action(action: object, name: str) -> None:
    kind = action.get("kind") if isinstance(action, dict) else None
    if not isinstance(action, dict) or kind not in ACTION_KINDS:
        raise InvalidInput(f"{name}: expected a kind of {', '.join(ACTION_KINDS)}, got {shown(action)}")
    unknown = set(action) - _ACTION_FIELDS[kind] - {"kind"}
    if unknown:
        raise InvalidInput(
            f"{name}: expected {', '.join(sorted(_ACTION_FIELDS[kind]))} for {kind}, got {shown(unknown)}"
        )
    if kind in ("delivery_stream", "detector", "fraud"):
        check_name(action.get("name"), name)
    if kind == "fraud" and action.get("subject", "") != "":
        check_target(action["subject"], f"{name}.subject", own=DECISIONS)
    elif kind == "subject":
        check_target(action.get("name"), f"{name}.name")
    elif kind == "webhook" and urlsplit(str(action.get("url"))).scheme not in ("http", "https"):
        raise InvalidInput(f"{name}: expected the url of a webhook, got {shown(action.get('url'))}")


def _checked_fields(noun: type, value: object) -> dict[str, Any]:
    """Return the given fields of a noun, checked for names only."""
    known = {each.name for each in fields(noun)}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{noun.__name__}: expected an object, got {shown(value)}")
    given = {name: each for name, each in value.items() if name != "created"}
    for name in given:
        if name not in known:
            raise InvalidInput(f"{name}: expected one of {', '.join(sorted(known))}", field=str(name))
    missing = ({"name", "sql"} if noun is TopicRule else {"name", "destination"}) - set(given)
    if missing:
        raise InvalidInput(f"{min(missing)}: expected a value, got none")
    return given


def _listed(value: object, name: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{name}: expected a list, got {shown(value)}")
    return list(value)


def _as_json(noun: Any) -> dict[str, Any]:
    found = {each.name: getattr(noun, each.name) for each in fields(noun)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class Configuration:
    """Every rule and stream, as they are applied to readings together."""

    rules: dict[str, TopicRule] = field(default_factory=dict)
    streams: dict[str, DeliveryStream] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"rules": _all_json(self.rules), "streams": _all_json(self.streams)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Configuration":
        rules = [TopicRule.read(each) for each in value["rules"]]
        streams = [DeliveryStream.from_json(each) for each in value["streams"]]
        return cls({rule.name: rule for rule in rules}, {stream.name: stream for stream in streams})


def _all_json(nouns: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [nouns[name].to_json() for name in sorted(nouns)]


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One object of a stream: which sequences of which partition it holds, and whether its put is done."""

    uri: str
    stream: str
    partition: str
    from_sequence: int
    through_sequence: int
    instant: float
    sha256: str
    size: int
    records: int
    done: bool
    made: datetime


_LEDGER = [stream_objects.c[each.name] for each in fields(LedgerRow)]


class Records:
    """The room's rows."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def configuration(self) -> Configuration:
        """Return every rule and stream as users last wrote them."""
        with self.database.read() as connection:
            rules = [row.spec for row in connection.execute(select(topic_rules.c.spec))]
            streams = [row.spec for row in connection.execute(select(delivery_streams.c.spec))]
        return Configuration.from_json({"rules": rules, "streams": streams})

    def born(self, stream: str) -> datetime:
        """Return when a delivery stream was created. Raises NotFound."""
        wanted = select(delivery_streams.c.created).where(delivery_streams.c.name == stream)
        with self.database.read() as connection:
            found: datetime | None = connection.execute(wanted).scalar_one_or_none()
        if found is None:
            raise NotFound(f"name: there is no delivery stream {stream}")
        return found

    def insert(self, noun: TopicRule | DeliveryStream, now: datetime) -> None:
        """Add a rule or stream. Raises Conflict when the name is taken."""
        table, word = _table_of(type(noun))
        row = {"name": noun.name, "spec": noun.to_json(), "created": now}
        with self.database.write() as connection:
            if not self.database.insert_ignore(connection, table, [row]):
                raise Conflict(f"name: there is a {word} {noun.name} already")

    def replace(self, noun: TopicRule | DeliveryStream) -> None:
        """Write a rule or stream over its present one. Raises NotFound when there is none."""
        table, word = _table_of(type(noun))
        with self.database.write() as connection:
            change = update(table).where(table.c.name == noun.name).values(spec=noun.to_json())
            if not connection.execute(change).rowcount:
                raise NotFound(f"name: there is no {word} {noun.name}")

    def delete(self, noun: type[TopicRule] | type[DeliveryStream], name: str) -> None:
        """Remove a rule or stream. Raises NotFound when there is none."""
        table, word = _table_of(noun)
        with self.database.write() as connection:
            if not connection.execute(delete_from(table).where(table.c.name == name)).rowcount:
                raise NotFound(f"name: there is no {word} {name}")

    def applied(self) -> Configuration | None:
        """Return the configuration under which readings were last taken."""
        with self.database.read() as connection:
            found = connection.execute(select(stream_applied.c.configuration)).scalar_one_or_none()
        return None if found is None else Configuration.from_json(found)

    def apply(self, configuration: Configuration, *, fresh: Mapping[str, int], gone: set[str]) -> None:
        """Write down a new configuration, the positions where its new streams begin, and forget `gone` ones."""
        with self.database.write() as connection:
            self.database.upsert(
                connection, stream_applied, {"id": 1, "configuration": configuration.to_json()}
            )
            for name, position in fresh.items():
                row = {"name": name, "position": position, "counts": {}}
                self.database.upsert(connection, stream_positions, row)
            if gone:
                connection.execute(delete_from(stream_positions).where(stream_positions.c.name.in_(gone)))

    def positions(self) -> dict[str, tuple[int, dict[str, Any]]]:
        """Return position and counts by stream; "" is the room itself."""
        with self.database.read() as connection:
            return {
                row.name: (row.position, row.counts) for row in connection.execute(select(stream_positions))
            }

    def set_positions(self, rows: Mapping[str, tuple[int, dict[str, Any]]]) -> None:
        """Write positions and counts down."""
        with self.database.write() as connection:
            for name, (position, counts) in rows.items():
                self._set_position(connection, name, position, counts)

    def _set_position(self, connection: Connection, name: str, position: int, counts: dict[str, Any]) -> None:
        row = {"name": name, "position": position, "counts": counts}
        self.database.upsert(connection, stream_positions, row)

    def plan(self, row: LedgerRow, digests: bytes | None) -> None:
        """Commit that an object will be put; a plan under the same address is replaced."""
        values = {each.name: getattr(row, each.name) for each in fields(LedgerRow)}
        with self.database.write() as connection:
            self.database.upsert(connection, stream_objects, {**values, "digests": digests})

    def done(self, uri: str, stream: str, position: int, counts: dict[str, Any]) -> None:
        """Commit that the object is put, with the stream's position after it."""
        with self.database.write() as connection:
            connection.execute(update(stream_objects).where(stream_objects.c.uri == uri).values(done=True))
            self._set_position(connection, stream, position, counts)

    def forget(self, uris: list[str]) -> None:
        """Remove ledger rows: of deleted objects, or of plans that hold nothing any more."""
        with self.database.write() as connection:
            connection.execute(delete_from(stream_objects).where(stream_objects.c.uri.in_(uris)))

    def ledger(self, stream: str, *, from_sequence: int) -> list[LedgerRow]:
        """Return the rows that a reading at or after `from_sequence` could be in, and all plans; in order."""
        ledger = stream_objects.c
        wanted = (ledger.stream == stream) & ((ledger.through_sequence >= from_sequence) | ~ledger.done)
        with self.database.read() as connection:
            found = connection.execute(
                select(*_LEDGER).where(wanted).order_by(ledger.through_sequence, ledger.uri)
            )
            return [LedgerRow(*row) for row in found]

    def highest_sequence(self) -> int:
        """Return the highest sequence that any object holds; 0 without objects."""
        with self.database.read() as connection:
            return int(connection.execute(select(func.max(stream_objects.c.through_sequence))).scalar() or 0)

    def digests(self, stream: str, *, since: datetime, most: int) -> list[bytes]:
        """Return the digests of the objects put since then, oldest object first, at most about `most`."""
        ledger = stream_objects.c
        wanted = (
            (ledger.stream == stream) & ledger.done & (ledger.made >= since) & ledger.digests.is_not(None)
        )
        found: list[bytes] = []
        count = 0
        with self.database.read() as connection:
            rows = connection.execute(select(ledger.digests).where(wanted).order_by(ledger.made.desc()))
            for (digests,) in rows:
                found.append(bytes(digests))
                count += len(digests) // 16
                if count >= most:
                    break
        return found[::-1]

    def drop_digests(self, before: datetime) -> None:
        """Forget the digests of objects that are older than the window."""
        old = (stream_objects.c.made < before) & stream_objects.c.digests.is_not(None)
        with self.database.write() as connection:
            connection.execute(update(stream_objects).where(old).values(digests=None))

    def oldest_objects(self, stream: str, *, before: datetime | None, limit: int) -> list[LedgerRow]:
        """Return the stream's oldest objects, made before a time if one is given."""
        ledger = stream_objects.c
        wanted = (ledger.stream == stream) & ledger.done
        if before is not None:
            wanted &= ledger.made < before
        with self.database.read() as connection:
            found = connection.execute(
                select(*_LEDGER).where(wanted).order_by(ledger.made, ledger.uri).limit(limit)
            )
            return [LedgerRow(*row) for row in found]

    def stored_bytes(self, stream: str) -> int:
        """Return the size of all the stream's objects."""
        ledger = stream_objects.c
        with self.database.read() as connection:
            total = connection.execute(
                select(func.sum(ledger.size)).where((ledger.stream == stream) & ledger.done)
            )
            return int(total.scalar() or 0)

    def count_objects(self, stream: str) -> int:
        """Return how many objects of the stream the ledger holds."""
        ledger = stream_objects.c
        with self.database.read() as connection:
            wanted = (ledger.stream == stream) & ledger.done
            return int(
                connection.execute(
                    select(func.count()).select_from(stream_objects).where(wanted)
                ).scalar_one()
            )


def _table_of(noun: type) -> tuple[Table, str]:
    return (topic_rules, "rule") if noun is TopicRule else (delivery_streams, "delivery stream")
