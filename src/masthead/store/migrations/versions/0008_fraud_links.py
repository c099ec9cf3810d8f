"""Links of transactions as blocks, written behind the transactions, in place of a row for each."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables anew; links follow from the transactions, and the next decision or load begins to write them."""
    op.drop_table("fraud_edges")
    op.create_table(
        "fraud_links",
        sa.Column("eid", _NUMBER, autoincrement=False, nullable=False),
        sa.Column("ts", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("links", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("eid", "ts", "seq", name=op.f("pk_fraud_links")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fraud_linked",
        sa.Column("one", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("one", name=op.f("pk_fraud_linked")),
    )
