"""Transactions, their entities and edges, labels, decisions, and the spaces in which they lie."""

import sqlalchemy as sa
from alembic import op

from masthead.store.schema import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables of the room fraud."""
    op.create_table(
        "fraud_transactions",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("space", sa.String(length=63), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.Float(53), nullable=True),
        sa.Column("ents", sa.LargeBinary(), nullable=False),
        sa.Column("feat", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("arrived", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Float(53), nullable=True),
        sa.Column("flagged", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fraud_transactions")),
        sa.UniqueConstraint("space", "id", name=op.f("uq_fraud_transactions_space_id")),
    )
    op.create_index(op.f("ix_fraud_transactions_space_ts"), "fraud_transactions", ["space", "ts"])
    op.create_table(
        "fraud_entities",
        sa.Column("eid", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("space", sa.String(length=63), nullable=False),
        sa.Column("rel", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("eid", name=op.f("pk_fraud_entities")),
        sa.UniqueConstraint("space", "rel", "key", name=op.f("uq_fraud_entities_space_rel_key")),
    )
    op.create_table(
        "fraud_edges",
        sa.Column("eid", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("eid", "ts", "seq", name=op.f("pk_fraud_edges")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fraud_labels",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("space", sa.String(length=63), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("value", sa.SmallInteger(), nullable=False),
        sa.Column("source", sa.String(length=32), nullable=False),
        sa.Column("arrived_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_fraud_labels")),
    )
    op.create_index(op.f("ix_fraud_labels_space_id"), "fraud_labels", ["space", "id"])
    op.create_table(
        "fraud_decisions",
        sa.Column("seq", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("alias", sa.String(length=63), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("shadow", sa.SmallInteger(), nullable=False),
        sa.Column("score", sa.Float(53), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", "alias", name=op.f("pk_fraud_decisions")),
    )
    op.create_table(
        "fraud_spaces",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=80), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_fraud_spaces")),
    )
