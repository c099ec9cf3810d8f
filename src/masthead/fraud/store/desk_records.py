"""The tables of what people decide by hand. SQL like `records.py`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Float, String, Table, Text, delete, insert, select, text

from masthead.store.schema import UtcDateTime, metadata

__all__ = [
    "Cut",
    "Listed",
    "cuts",
    "forget",
    "listed",
    "put_cut",
    "put_listed",
    "put_verdict",
    "remove_cut",
    "remove_listed",
    "verdict",
]

_listed = Table(
    "fraud_listed",
    metadata,
    Column("space", String(63), primary_key=True),
    Column("rel", String(255), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("kind", String(16), nullable=False),  # block, allow
    Column("note", Text, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)
_cuts = Table(
    "fraud_cuts",
    metadata,
    Column("alias", String(63), primary_key=True),
    Column("model", Text, nullable=False),
    Column("review", Float(53), nullable=False),
    Column("block", Float(53), nullable=False),
    Column("updated", UtcDateTime, nullable=False),
)
_verdicts = Table(
    "fraud_verdicts",
    metadata,
    Column("space", String(63), primary_key=True),
    Column("id", Text, primary_key=True),
    Column("verdict", String(16), nullable=False),  # fraud, legit, unsure
    Column("given", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Listed:
    """An entity whose transactions are blocked, or let pass, whatever the model says."""

    space: str
    relation: str
    value: str
    kind: str
    note: str
    created: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "space": self.space,
            "relation": self.relation,
            "value": self.value,
            "list": self.kind,
            "note": self.note,
            "created": self.created.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Cut:
    """Thresholds that somebody has set for a deployment of a model."""

    alias: str
    model: str
    review: float
    block: float


def listed(connection: Connection) -> list[Listed]:
    """Return every list's entries."""
    rows = connection.execute(select(_listed).order_by(_listed.c.space, _listed.c.rel, _listed.c.key))
    return [Listed(*row) for row in rows]


def put_listed(connection: Connection, one: Listed) -> None:
    """Write an entry in the place of an earlier one of the same entity."""
    remove_listed(connection, one.space, one.relation, one.value)
    connection.execute(
        insert(_listed).values(
            space=one.space,
            rel=one.relation,
            key=one.value,
            kind=one.kind,
            note=one.note,
            created=one.created,
        )
    )


def remove_listed(connection: Connection, space: str, relation: str, value: str) -> int:
    """Take an entry away; return how many went."""
    where = (_listed.c.space == space) & (_listed.c.rel == relation) & (_listed.c.key == value)
    return connection.execute(delete(_listed).where(where)).rowcount


def cuts(connection: Connection) -> list[Cut]:
    """Return the thresholds that were set by hand."""
    return [Cut(*row[:4]) for row in connection.execute(select(_cuts))]


def put_cut(connection: Connection, one: Cut, now: datetime) -> None:
    """Write thresholds in the place of earlier ones."""
    remove_cut(connection, one.alias)
    connection.execute(
        insert(_cuts).values(
            alias=one.alias, model=one.model, review=one.review, block=one.block, updated=now
        )
    )


def remove_cut(connection: Connection, alias: str) -> None:
    """Let the model's own thresholds count again."""
    connection.execute(delete(_cuts).where(_cuts.c.alias == alias))


def verdict(connection: Connection, space: str, id: str) -> str:
    """Return what an analyst said last of a transaction, "" = nothing."""
    where = (_verdicts.c.space == space) & (_verdicts.c.id == id)
    return str(connection.execute(select(_verdicts.c.verdict).where(where)).scalar() or "")


def put_verdict(connection: Connection, space: str, id: str, said: str, now: datetime) -> None:
    """Write what an analyst says."""
    connection.execute(delete(_verdicts).where((_verdicts.c.space == space) & (_verdicts.c.id == id)))
    connection.execute(insert(_verdicts).values(space=space, id=id, verdict=said, given=now))


def forget(connection: Connection, space: str) -> None:
    """Take away verdicts of a space whose transactions are gone, and its lists when it is gone as a whole."""
    connection.execute(
        text(
            "DELETE FROM fraud_verdicts WHERE space = :space AND NOT EXISTS (SELECT 1 FROM fraud_transactions t "
            "WHERE t.space = fraud_verdicts.space AND t.id = fraud_verdicts.id)"
        ),
        {"space": space},
    )
    connection.execute(
        text(
            "DELETE FROM fraud_listed WHERE space = :space AND EXISTS "
            "(SELECT 1 FROM fraud_spaces s WHERE s.name = :space AND s.kind = 'gone')"
        ),
        {"space": space},
    )
