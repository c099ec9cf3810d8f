"""The registry of what Masthead counts about itself, served at `/metrics` in Prometheus' text form.

Each room makes its own counters on `REGISTRY`, beside the code that counts.
"""

from prometheus_client import CollectorRegistry, generate_latest

REGISTRY = CollectorRegistry()


def exposition() -> bytes:
    """Return every counter in Prometheus' text format 0.0.4."""
    return generate_latest(REGISTRY)
