"""Client ids that two things share."""

import sqlalchemy as sa
from alembic import op

from masthead.store.schema import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "shared_client_ids",
        sa.Column("client_id", sa.String(length=200), nullable=False),
        sa.Column("thing", sa.String(length=63), nullable=False),
        sa.Column("other", sa.String(length=63), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "thing", "other", name=op.f("pk_shared_client_ids")),
    )
    op.create_index(op.f("ix_shared_client_ids_last_at"), "shared_client_ids", ["last_at"])
