"""Time as an argument: the system's clock, one that tests turn by hand, and one that runs faster.

All times are UTC. A float is seconds since 1970-01-01T00:00Z; a datetime is aware.
"""

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Protocol

from masthead.base.errors import InvalidInput, shown

DAY_US = 86_400_000_000
FOREVER_US = 2**62
"""A time behind all others, in microseconds; negative, one before them."""


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


def read_time(text: str | None, field: str) -> datetime | None:
    """Return an aware UTC time that was written in `field`, None when nothing was; without an offset it is UTC.

    Raises:
        InvalidInput: The text is no ISO 8601 time.

    >>> read_time("2026-01-02", "start").isoformat()
    '2026-01-02T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{field}: expected an ISO 8601 time, got {shown(text)}") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


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


@dataclass(frozen=True, slots=True)
class Beat:
    """What a demonstration's clock is told.

    Attributes:
        time: Epoch seconds to go on from, forward only; None: from where it is.
        factor: How many times as fast as the machine's it runs from now on; None: as before.
        until: Where it stops and waits for the next beat; None: nowhere.
    """

    time: float | None = None
    factor: float | None = None
    until: float | None = None

    def __post_init__(self) -> None:
        for name in ("time", "factor", "until"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value) and value > 0):
                raise InvalidInput(f"{name}: expected a number above 0, got {shown(value)}")

    def to_json(self) -> dict[str, float | None]:
        """Return the beat as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: object) -> "Beat":
        """Return the beat that `to_json` wrote.

        Raises:
            InvalidInput: It is none.
        """
        if not isinstance(given, Mapping) or set(given) - set(cls.__slots__):
            raise InvalidInput(f"beat: expected time, factor and until, got {shown(given)}")
        return cls(**given)


class VirtualClock:
    """A clock that starts at `start` and runs `factor` times as fast as the machine's.

    Demonstrations use it: at a factor of 1,000 a day passes in 86 seconds. One that was told where to stop waits
    there for the next beat. When none comes for `PATIENCE_S` of real time, whoever gave it is gone, and the clock
    goes on at the machine's pace.
    """

    PATIENCE_S = 60.0

    def __init__(self, start: float, factor: float) -> None:
        if not factor > 0:
            raise InvalidInput(f"factor: expected more than 0, got {factor}")
        self._lock = threading.Lock()
        self._start, self._factor, self._real = float(start), float(factor), time.monotonic()
        self._until: float | None = None

    def time(self) -> float:
        with self._lock:
            return self._shown(time.monotonic() - self._real)

    def now(self) -> datetime:
        return utc(self.time())

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self._factor)

    def at(self, system_s: float) -> float:
        """Return what this clock showed at a time of the system's clock that lies a moment back.

        Not before what it showed at the last beat: how it ran before that is not remembered.
        """
        passed_s = max(0.0, time.time() - system_s)
        with self._lock:
            return self._shown(max(0.0, time.monotonic() - self._real - passed_s))

    def set(self, start: float, factor: float | None = None) -> None:
        """Go on from `start`, forward only, at `factor` if one is given, without a stop."""
        self._go_on(start, factor, None)

    def follow(self, beat: Beat) -> None:
        """Do what a beat says. Time never goes back: not to an earlier `time`, nor to an earlier `until`."""
        self._go_on(beat.time, beat.factor, beat.until)

    def _go_on(self, start: float | None, factor: float | None, until: float | None) -> None:
        now = self.time()
        with self._lock:
            self._start = now if start is None else max(now, float(start))
            self._real, self._until = time.monotonic(), until
            if factor is not None:
                self._factor = float(factor)

    def _shown(self, passed_s: float) -> float:
        """Return what is shown when `passed_s` of real time have passed since the last beat."""
        if self._until is None:
            return self._start + passed_s * self._factor
        led_s = min(passed_s, self.PATIENCE_S)
        led = max(self._start, min(self._start + led_s * self._factor, self._until))
        return led + passed_s - led_s
