"""The first schema: things, rules, streams, detectors, groups, scores, alerts."""

import sqlalchemy as sa
from alembic import op

from masthead.store.schema import Json, UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "access_revisions",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_access_revisions")),
    )
    op.create_table(
        "alert_conditions",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("grp", sa.String(length=120), nullable=False),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("since", UtcDateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert_conditions")),
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("rule", sa.String(length=63), nullable=False),
        sa.Column("grp", sa.String(length=120), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("measure", sa.String(length=256), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("event", Json(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due", UtcDateTime(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("reached", Json(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("delivered_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_deliveries")),
        sa.UniqueConstraint("rule", "grp", "stage", name=op.f("uq_alert_deliveries_rule_grp_stage")),
    )
    op.create_index("ix_alert_deliveries_created", "alert_deliveries", ["created"], unique=False)
    op.create_index("ix_alert_deliveries_grp", "alert_deliveries", ["grp"], unique=False)
    op.create_index("ix_alert_deliveries_state_due", "alert_deliveries", ["state", "due"], unique=False)
    op.create_table(
        "alert_rules",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert_rules")),
    )
    op.create_table(
        "anomaly_groups",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("start", UtcDateTime(), nullable=False),
        sa.Column("end", UtcDateTime(), nullable=False),
        sa.Column("severity", sa.Float(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("confidence", sa.String(length=10), nullable=False),
        sa.Column("contributions", Json(), nullable=False),
        sa.Column("causes", Json(), nullable=False),
        sa.Column("series", Json(), nullable=False),
        sa.Column("series_count", sa.Integer(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("acknowledged", sa.Boolean(), nullable=False),
        sa.Column("muted_until", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anomaly_groups")),
    )
    op.create_index("ix_anomaly_groups_detector_start", "anomaly_groups", ["detector", "start"], unique=False)
    op.create_index("ix_anomaly_groups_start_id", "anomaly_groups", ["start", "id"], unique=False)
    op.create_table(
        "authorities",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("certificate", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_authorities")),
    )
    op.create_table(
        "delivery_streams",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("spec", Json(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_delivery_streams")),
    )
    op.create_table(
        "detector_executions",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("started", UtcDateTime(), nullable=False),
        sa.Column("ended", UtcDateTime(), nullable=True),
        sa.Column("done", sa.Float(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_detector_executions")),
    )
    op.create_index(
        op.f("ix_detector_executions_detector"), "detector_executions", ["detector"], unique=False
    )
    op.create_table(
        "detector_progress",
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("entry", sa.BigInteger(), nullable=False),
        sa.Column("last_interval", UtcDateTime(), nullable=True),
        sa.Column("facts", Json(), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_detector_progress")),
    )
    op.create_index(op.f("ix_detector_progress_detector"), "detector_progress", ["detector"], unique=False)
    op.create_table(
        "detector_quality",
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("quality", Json(), nullable=False),
        sa.PrimaryKeyConstraint("detector", name=op.f("pk_detector_quality")),
    )
    op.create_table(
        "detector_results",
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("run", "chunk", "start", name=op.f("pk_detector_results")),
    )
    op.create_index(op.f("ix_detector_results_detector"), "detector_results", ["detector"], unique=False)
    op.create_index("ix_detector_results_start", "detector_results", ["start"], unique=False)
    op.create_table(
        "detector_series",
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("dimensions", Json(), nullable=False),
        sa.PrimaryKeyConstraint("run", "number", name=op.f("pk_detector_series")),
    )
    op.create_index(op.f("ix_detector_series_detector"), "detector_series", ["detector"], unique=False)
    op.create_table(
        "detectors",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("failure", sa.Text(), nullable=False),
        sa.Column("spec", Json(), nullable=False),
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("updated", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_detectors")),
    )
    op.create_table(
        "forbidden_publishes",
        sa.Column("thing", sa.String(length=63), nullable=False),
        sa.Column("topic", sa.String(length=1100), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", UtcDateTime(), nullable=False),
        sa.Column("last_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("thing", "topic", name=op.f("pk_forbidden_publishes")),
    )
    op.create_table(
        "group_feedback",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("group", sa.String(length=60), nullable=False),
        sa.Column("detector", sa.String(length=63), nullable=False),
        sa.Column("run", sa.String(length=40), nullable=False),
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("dimensions", Json(), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("is_anomaly", sa.Boolean(), nullable=False),
        sa.Column("given", UtcDateTime(), nullable=False),
        sa.Column("applied", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_group_feedback")),
    )
    op.create_index(op.f("ix_group_feedback_group"), "group_feedback", ["group"], unique=False)
    op.create_table(
        "stream_applied",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("configuration", Json(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream_applied")),
    )
    op.create_table(
        "stream_objects",
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("stream", sa.String(length=63), nullable=False),
        sa.Column("partition", sa.String(length=40), nullable=False),
        sa.Column("from_sequence", sa.BigInteger(), nullable=False),
        sa.Column("through_sequence", sa.BigInteger(), nullable=False),
        sa.Column("instant", sa.Float(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.Integer(), nullable=False),
        sa.Column("done", sa.Boolean(), nullable=False),
        sa.Column("made", UtcDateTime(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("uri", name=op.f("pk_stream_objects")),
    )
    op.create_index("ix_stream_objects_stream_made", "stream_objects", ["stream", "made"], unique=False)
    op.create_index(
        "ix_stream_objects_through", "stream_objects", ["stream", "through_sequence"], unique=False
    )
    op.create_table(
        "stream_positions",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("counts", Json(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_stream_positions")),
    )
    op.create_table(
        "thing_certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("thing", sa.String(length=63), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("issued", UtcDateTime(), nullable=False),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.Column("ends", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_thing_certificates")),
    )
    op.create_index(op.f("ix_thing_certificates_thing"), "thing_certificates", ["thing"], unique=False)
    op.create_table(
        "thing_policies",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("document", Json(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_thing_policies")),
    )
    op.create_table(
        "things",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("policies", Json(), nullable=False),
        sa.Column("attributes", Json(), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("revoked", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_things")),
    )
    op.create_table(
        "topic_rules",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("spec", Json(), nullable=False),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_topic_rules")),
    )
