"""Named channels of alerts."""

import sqlalchemy as sa
from alembic import op

from masthead.store.schema import Json, UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "alert_channels",
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("channel", Json(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert_channels")),
    )
