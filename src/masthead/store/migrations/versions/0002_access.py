"""Keys of programs with their use, links and sessions of the console, tags and notes of resources."""

import sqlalchemy as sa
from alembic import op

from masthead.store.schema import Json, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "access_keys",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("secret_box", sa.LargeBinary(), nullable=False),
        sa.Column("policies", Json(), nullable=False),
        sa.Column("rate", sa.Float(), nullable=True),
        sa.Column("burst", sa.Integer(), nullable=True),
        sa.Column("quota", sa.BigInteger(), nullable=True),
        sa.Column("window", sa.String(length=5), nullable=False),
        sa.Column("allow", Json(), nullable=False),
        sa.Column("deny", Json(), nullable=False),
        sa.Column("origins", Json(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("last_used", UtcDateTime(), nullable=True),
        sa.Column("expires", UtcDateTime(), nullable=True),
        sa.Column("revoked", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_keys")),
    )
    op.create_table(
        "access_usage",
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("window", sa.String(length=5), nullable=False),
        sa.Column("start", UtcDateTime(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", "window", "start", name=op.f("pk_access_usage")),
    )
    op.create_table(
        "console_links",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("ends", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_console_links")),
    )
    op.create_table(
        "console_sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("seen", UtcDateTime(), nullable=False),
        sa.Column("ends", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_console_sessions")),
    )
    op.create_table(
        "resource_tags",
        sa.Column("resource", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.String(length=256), nullable=False),
        sa.Column("born", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "name", name=op.f("pk_resource_tags")),
    )
    op.create_table(
        "resource_notes",
        sa.Column("resource", sa.String(length=200), nullable=False),
        sa.Column("born", UtcDateTime(), nullable=False),
        sa.Column("note", Json(), nullable=False),
        sa.PrimaryKeyConstraint("resource", name=op.f("pk_resource_notes")),
    )
