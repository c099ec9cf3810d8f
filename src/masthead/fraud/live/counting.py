"""What is counted of transactions, for Prometheus. Simulated ones are counted apart."""

from prometheus_client import Counter, Histogram

from masthead.base.telemetry import REGISTRY

__all__ = ["FLAGGED", "LABELS", "LATE", "LATENCY", "REBUILDS", "REBUILD_S", "TRANSACTIONS"]

TRANSACTIONS = Counter(
    "masthead_fraud_transactions",
    "Transactions by kind of space (live, simulation) and outcome (scored, repeated, conflict).",
    ["kind", "outcome"],
    registry=REGISTRY,
)
FLAGGED = Counter(
    "masthead_fraud_flagged", "Transactions at or above the review threshold.", ["kind"], registry=REGISTRY
)
LABELS = Counter("masthead_fraud_labels", "Labels by who said so.", ["source"], registry=REGISTRY)
LATE = Counter(
    "masthead_fraud_late", "Transactions older than the newest one before them.", registry=REGISTRY
)
LATENCY = Histogram(
    "masthead_fraud_latency_seconds",
    "From a request to its durable answer.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
    registry=REGISTRY,
)
REBUILDS = Counter(
    "masthead_fraud_rebuilds",
    "States that were rebuilt from the tables, and why.",
    ["why"],
    registry=REGISTRY,
)
REBUILD_S = Histogram(
    "masthead_fraud_rebuild_seconds",
    "How long that took.",
    buckets=(0.1, 0.5, 1, 2, 5, 15, 60),
    registry=REGISTRY,
)
