"""What people decide about transactions by hand: block and allow lists, thresholds, verdicts."""

import sqlalchemy as sa
from alembic import op

from masthead.store.schema import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of the desk."""
    op.create_table(
        "fraud_listed",
        sa.Column("space", sa.String(length=63), nullable=False),
        sa.Column("rel", sa.String(length=255), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("space", "rel", "key", name=op.f("pk_fraud_listed")),
    )
    op.create_table(
        "fraud_cuts",
        sa.Column("alias", sa.String(length=63), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("review", sa.Float(53), nullable=False),
        sa.Column("block", sa.Float(53), nullable=False),
        sa.Column("updated", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("alias", name=op.f("pk_fraud_cuts")),
    )
    op.create_table(
        "fraud_verdicts",
        sa.Column("space", sa.String(length=63), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("given", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("space", "id", name=op.f("pk_fraud_verdicts")),
    )
