"""The tables of transactions, their entities, labels and decisions, and the rows that are written to them."""

from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from masthead.store.schema import Blob, UtcDateTime, metadata

__all__ = ["LAST_SEQ", "LIVE", "NewDecision", "NewLabel", "NewTransaction"]

LIVE = "live"
"""The space of real transactions. Simulated ones have spaces of their own, which share nothing with it."""

LAST_SEQ = 2**62
"""A number behind all that the log ever gives."""

_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER is SQLite's own row number

transactions = Table(
    "fraud_transactions",
    metadata,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("space", String(63), nullable=False),
    Column("id", Text, nullable=False),
    Column("ts", BigInteger, nullable=False),  # UTC microseconds
    Column("amount", Float(53)),  # NULL = missing
    Column("ents", Blob, nullable=False),  # int32 per relation of the schema; 0 = no edge
    Column("feat", Blob, nullable=False),  # float32 per numeric of the schema
    Column("body", Blob, nullable=False),  # JSON: the categoricals
    Column("arrived", BigInteger, nullable=False),
    Column("score", Float(53)),  # of the decision; NULL = loaded as history
    Column("flagged", SmallInteger, nullable=False),
    UniqueConstraint("space", "id"),
    Index(None, "space", "ts"),
)
entities = Table(
    "fraud_entities",
    metadata,
    Column("eid", _NUMBER, primary_key=True, autoincrement=False),
    Column("space", String(63), nullable=False),
    Column("rel", Text, nullable=False),
    Column("key", Text, nullable=False),
    UniqueConstraint("space", "rel", "key"),
)
links = Table(
    "fraud_links",
    metadata,
    Column("eid", _NUMBER, primary_key=True, autoincrement=False),
    Column("ts", BigInteger, primary_key=True, autoincrement=False),  # of the first link of a block
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("links", Blob, nullable=False),
    sqlite_with_rowid=False,  # clustered: the newest of an entity are one seek
)
linked = Table(
    "fraud_linked",
    metadata,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),  # transactions of higher numbers have no links yet
    Column("turn", BigInteger, nullable=False),  # rises when somebody begins to link, or takes away
)
labels = Table(
    "fraud_labels",
    metadata,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("space", String(63), nullable=False),
    Column("id", Text, nullable=False),  # of the transaction, which may be yet to come
    Column("value", SmallInteger, nullable=False),
    Column("source", String(32), nullable=False),
    Column("arrived_at", BigInteger, nullable=False),
    Index(None, "space", "id"),
)
decisions = Table(
    "fraud_decisions",
    metadata,
    Column("seq", _NUMBER, primary_key=True, autoincrement=False),
    Column("alias", String(63), primary_key=True),  # which deployment
    Column("model", Text, nullable=False),
    Column("shadow", SmallInteger, nullable=False),
    Column("score", Float(53), nullable=False),
    Column("body", Blob, nullable=False),  # JSON: what was answered
    Column("vector", Blob, nullable=False),  # the columns that the model saw; `vectors.py`
)
spaces = Table(
    "fraud_spaces",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("kind", String(16), nullable=False),  # live, simulation, gone
    Column("schema", Text, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # rises when something was taken away
    Column("created", UtcDateTime, nullable=False),
)


class NewTransaction(NamedTuple):
    """A row to be written; `ents` as numbers that `Group.entities` gave, 0 = no edge."""

    seq: int
    space: str
    id: str
    ts: int
    amount: float | None
    ents: bytes
    feat: bytes
    body: bytes
    arrived: int
    score: float | None
    flagged: int


class NewDecision(NamedTuple):
    """A decision to be written."""

    seq: int
    alias: str
    model: str
    shadow: int
    score: float
    body: bytes
    vector: bytes


class NewLabel(NamedTuple):
    """A label to be written."""

    seq: int
    space: str
    id: str
    value: int
    source: str
    arrived_at: int
