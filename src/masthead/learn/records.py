"""What the room keeps: endpoints, and what was counted of their calls per key. The only SQL here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, RowMapping, String, Table, delete, select

from masthead.learn.latencies import merged, percentile_ms
from masthead.store.engine import Database
from masthead.store.schema import Json, UtcDateTime, metadata

endpoints = Table(
    "endpoints",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("revision", String(40), nullable=False),
    Column("source", Json, nullable=False),  # what the kind's loader needs
    Column("about", Json, nullable=False),  # what the model says of itself
    Column("created", UtcDateTime, nullable=False),
    Column("updated", UtcDateTime, nullable=False),
)
endpoint_calls = Table(
    "endpoint_calls",
    metadata,
    Column("endpoint", String(63), primary_key=True),
    Column("key", String(128), primary_key=True),  # id of the caller's key; "" = a session, or none
    Column("calls", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("latencies", Json, nullable=False),  # class of duration -> calls
    Column("last", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Usage:
    """What was counted of the calls that one key made.

    Attributes:
        key: Its id; "" = a session of the console, or no key.
        errors: Calls that did not end with an answer of the model.
        latencies: Class of duration -> calls, see `latencies`.
        name: The key's name, when asked for.
        left: What the key has left of its quota, when it has one and it is asked for.
    """

    key: str
    calls: int = 0
    errors: int = 0
    latencies: Mapping[int, int] = field(default_factory=dict)
    last: datetime | None = None
    name: str = ""
    left: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the counts and two percentiles as JSON values."""
        return {
            "key": self.key,
            "name": self.name,
            "calls": self.calls,
            "errors": self.errors,
            "p50_ms": percentile_ms(self.latencies, 0.50),
            "p99_ms": percentile_ms(self.latencies, 0.99),
            "last_called": None if self.last is None else self.last.isoformat(),
            "left": None if self.left is None else dict(self.left),
        }


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name under which a model answers.

    Attributes:
        revision: Changes with each deployment.
        source: What the kind's loader needs.
        about: What the model says of itself.
        usage: Calls per key since the endpoint was created.
    """

    name: str
    kind: str
    revision: str
    source: Mapping[str, Any]
    about: Mapping[str, Any]
    created: datetime
    updated: datetime
    usage: tuple[Usage, ...] = ()

    @property
    def total(self) -> Usage:
        """Return the calls of all keys together."""
        return together("", self.usage)

    def to_json(self) -> dict[str, Any]:
        """Return the endpoint as JSON values: what is served, by which model, and what was counted."""
        counted = self.total.to_json()
        return {
            "name": self.name,
            "kind": self.kind,
            "model": self.about.get("model", ""),
            "created": self.created.isoformat(),
            "updated": self.updated.isoformat(),
            **{name: counted[name] for name in ("calls", "errors", "p50_ms", "p99_ms", "last_called")},
            "about": dict(self.about),
            "keys": [one.to_json() for one in self.usage],
        }


def together(key: str, parts: Iterable[Usage]) -> Usage:
    """Return several counts as one."""
    found = list(parts)
    return Usage(
        key,
        sum(one.calls for one in found),
        sum(one.errors for one in found),
        merged(one.latencies for one in found),
        max((one.last for one in found if one.last is not None), default=None),
    )


def all_endpoints(connection: Connection) -> list[Endpoint]:
    """Return every endpoint by name, without usage."""
    rows = connection.execute(select(endpoints).order_by(endpoints.c.name)).mappings()
    return [Endpoint(**row) for row in rows]


def put_endpoint(database: Database, connection: Connection, found: Endpoint) -> None:
    """Store an endpoint, new or in place of the one of its name."""
    names = ("name", "kind", "revision", "source", "about", "created", "updated")
    row = {name: getattr(found, name) for name in names}
    database.upsert(connection, endpoints, row)


def remove_endpoint(connection: Connection, name: str) -> None:
    """Remove an endpoint and its counts."""
    connection.execute(delete(endpoint_calls).where(endpoint_calls.c.endpoint == name))
    connection.execute(delete(endpoints).where(endpoints.c.name == name))


def all_usage(connection: Connection) -> dict[str, list[Usage]]:
    """Return endpoint -> counts per key, those with the most calls first."""
    rows = connection.execute(select(endpoint_calls).order_by(endpoint_calls.c.calls.desc())).mappings()
    found: dict[str, list[Usage]] = {}
    for row in rows:
        found.setdefault(row["endpoint"], []).append(_usage(row))
    return found


def add_usage(database: Database, connection: Connection, endpoint: str, more: Usage) -> None:
    """Add to what was counted; of several processes each adds its own."""
    table = endpoint_calls
    known = (
        connection.execute(
            select(table).where(table.c.endpoint == endpoint, table.c.key == more.key).with_for_update()
        )
        .mappings()
        .first()
    )
    whole = more if known is None else together(more.key, [_usage(known), more])
    latencies = {str(place): count for place, count in sorted(whole.latencies.items())}
    row = {"endpoint": endpoint, "key": more.key, "calls": whole.calls, "errors": whole.errors}
    database.upsert(connection, table, row | {"latencies": latencies, "last": whole.last})


def _usage(row: RowMapping) -> Usage:
    latencies = {int(place): count for place, count in row["latencies"].items()}
    return Usage(row["key"], row["calls"], row["errors"], latencies, row["last"])
