"""What the devices' doors count about themselves."""

from prometheus_client import Counter, Gauge

from masthead.base.telemetry import REGISTRY

STORED = Counter("masthead_readings_stored_total", "Readings stored in the log.", ["door"], registry=REGISTRY)
TAKEN = Counter("masthead_readings_taken_total", "Readings given to rules and detectors.", registry=REGISTRY)
FORBIDDEN = Counter(
    "masthead_forbidden_publishes_total",
    "Publishes that a thing's policies forbid.",
    ["thing"],
    registry=REGISTRY,
)
TAKEOVERS = Counter(
    "masthead_client_id_takeovers_total",
    "Sessions of a thing that another thing ended by connecting under the same client id.",
    ["thing"],
    registry=REGISTRY,
)
RESTARTS = Counter("masthead_nats_restarts_total", "Restarts of nats-server.", registry=REGISTRY)
LAG = Gauge("masthead_ingest_lag_batches", "Stored batches that were not taken yet.", registry=REGISTRY)
LOG_BYTES = Gauge("masthead_readings_log_bytes", "Bytes of the log of readings.", registry=REGISTRY)
INTAKES = Counter(
    "masthead_intake_messages_total",
    "Messages of subjects that are scored: answered, refused, repeated = told before.",
    ["name", "outcome"],
    registry=REGISTRY,
)
DROPPED = Counter(
    "masthead_qos0_readings_dropped_total",
    "QoS 0 readings dropped because the log was full or slow.",
    registry=REGISTRY,
)
