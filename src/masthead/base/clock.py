"""Time as an argument: the system's clock, one that tests turn by hand, and one that runs faster.

All times are UTC. A float is seconds since 1970-01-01T00:00Z; a datetime is aware.
"""

import threading
import time
from datetime import UTC, datetime
from typing import Protocol

from masthead.base.errors import InvalidInput


class Clock(Protocol):
    """What tells the time to everything below the faces."""

    def time(self) -> float:
        """Return the seconds since the epoch."""

    def now(self) -> datetime:
        """Return the present as an aware UTC datetime."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock's time."""


def utc(seconds: float) -> datetime:
    """Return an aware UTC datetime for epoch `seconds`.

    >>> utc(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(seconds, UTC)


class SystemClock:
    """The machine's own clock."""

    def time(self) -> float:
        return time.time()

    def now(self) -> datetime:
        return utc(self.time())

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that stands still until `advance` is called; `sleep` advances it."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._time = float(start)
        self._lock = threading.Lock()

    def time(self) -> float:
        return self._time

    def now(self) -> datetime:
        return utc(self._time)

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds` (0 or more)."""
        if seconds < 0:
            raise InvalidInput(f"seconds: expected 0 or more, got {seconds}")
        with self._lock:
            self._time += seconds


class VirtualClock:
    """A clock that starts at `start` and runs `factor` times as fast as the machine's.

    Demonstrations use it: at a factor of 1,000 a day passes in 86 seconds.
    """

    def __init__(self, start: float, factor: float) -> None:
        if not factor > 0:
            raise InvalidInput(f"factor: expected more than 0, got {factor}")
        self._lock = threading.Lock()
        self._start, self._factor, self._real = float(start), float(factor), time.monotonic()

    def time(self) -> float:
        with self._lock:
            return self._start + (time.monotonic() - self._real) * self._factor

    def now(self) -> datetime:
        return utc(self.time())

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._factor)

    def at(self, system_s: float) -> float:
        """Return what this clock showed at a time of the system's clock that lies a moment back."""
        passed_s = max(0.0, time.time() - system_s)
        return self.time() - passed_s * self._factor

    def set(self, start: float, factor: float | None = None) -> None:
        """Go on from `start`, forward only, at `factor` if one is given."""
        now = self.time()
        with self._lock:
            self._start, self._real = max(now, float(start)), time.monotonic()
            if factor is not None:
                self._factor = float(factor)
