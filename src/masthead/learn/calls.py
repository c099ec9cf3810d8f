"""What is counted of an endpoint's calls: at once in Prometheus, every few seconds in the database, per key."""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from prometheus_client import Counter, Histogram

from masthead.base.clock import Clock
from masthead.base.errors import MastheadError
from masthead.base.log import get_logger
from masthead.base.telemetry import REGISTRY
from masthead.learn import records
from masthead.learn.latencies import class_of
from masthead.learn.records import Endpoint, Usage
from masthead.store.engine import Database

__all__ = ["OUTCOMES", "Calls", "forget_counters"]

OUTCOMES = ("answered", "refused", "failed", "timeout", "busy")
MOST_KEYS = 1_000  # per endpoint, counted by themselves; calls of further keys are counted as ""
FLUSH_S = 5.0

CALLS = Counter(
    "masthead_endpoint_calls", "Calls of an endpoint.", ["endpoint", "outcome"], registry=REGISTRY
)
SECONDS = Histogram(
    "masthead_endpoint_latency_seconds",
    "Time from a call's body to its answer.",
    ["endpoint"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
    registry=REGISTRY,
)


class Calls:
    """Counts calls per endpoint and key; several processes add to the same rows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock
        self._lock = threading.Lock()
        # By name, birth and key: what was counted for an endpoint that is no more is not its successor's.
        self._pending: dict[tuple[str, str, str], Usage] = {}
        self._flushed_at = time.monotonic()

    def note(self, row: Endpoint, key: str, outcome: str, seconds: float) -> None:
        """Count one call; `outcome` is one of `OUTCOMES`."""
        CALLS.labels(row.name, outcome).inc()
        SECONDS.labels(row.name).observe(seconds)
        one = Usage(key, 1, int(outcome != "answered"), {class_of(seconds): 1}, self._clock.now())
        place = (row.name, row.created.isoformat(), key)
        with self._lock:
            if place not in self._pending and len(self._pending) >= MOST_KEYS:
                place, one = (*place[:2], ""), replace(one, key="")
            self._add(place, one)
        self.flush_if_due()

    def flush_if_due(self) -> None:
        """Write counts down when five seconds have passed since the last time."""
        with self._lock:
            due = bool(self._pending) and time.monotonic() - self._flushed_at >= FLUSH_S
        if due:
            self.flush()

    def flush(self) -> None:
        """Write down what was counted since the last time; what cannot be written is kept."""
        with self._lock:
            self._flushed_at = time.monotonic()
            pending, self._pending = self._pending, {}
        if not pending:
            return
        try:
            self._write(pending)
        except MastheadError as error:
            get_logger("learn").warning("calls not counted yet", error=error.message)
            with self._lock:
                for place, more in pending.items():
                    self._add(place, more)

    def _write(self, pending: dict[tuple[str, str, str], Usage]) -> None:
        with self._database.write() as connection:
            born = {one.name: one.created.isoformat() for one in records.all_endpoints(connection)}
            keys = {name: {one.key for one in found} for name, found in records.all_usage(connection).items()}
            for (name, created, _), more in pending.items():
                if born.get(name) != created:  # deleted meanwhile
                    continue
                known = keys.setdefault(name, set())
                if more.key not in known and len(known) >= MOST_KEYS:
                    more = replace(more, key="")
                known.add(more.key)
                records.add_usage(self._database, connection, name, more)

    def of(self, found: Endpoint, stored: Sequence[Usage]) -> tuple[Usage, ...]:
        """Return what is stored of an endpoint with what this process has not written down yet, most calls first."""
        usage = {one.key: one for one in stored}
        with self._lock:
            waiting = [
                more
                for (name, created, _), more in self._pending.items()
                if name == found.name and created == found.created.isoformat()
            ]
        for more in waiting:
            known = usage.get(more.key)
            usage[more.key] = more if known is None else records.together(more.key, [known, more])
        return tuple(sorted(usage.values(), key=lambda one: (-one.calls, one.key)))

    def _add(self, place: tuple[str, str, str], more: Usage) -> None:
        known = self._pending.get(place)
        self._pending[place] = more if known is None else records.together(more.key, [known, more])


def forget_counters(name: str) -> None:
    """Take an endpoint that is no more out of what Prometheus is told."""
    for outcome in OUTCOMES:
        with contextlib.suppress(KeyError):
            CALLS.remove(name, outcome)
    with contextlib.suppress(KeyError):
        SECONDS.remove(name)
