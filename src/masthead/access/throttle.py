"""How often a key may come: a rate in a moving window, and a quota of a day, week or month.

Source: the moving window of the library `limits`; AWS API Gateway's usage plans for rate, burst and quota.
"""

import math
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from masthead.access.key_records import Key, KeyRecords
from masthead.access.refusals import Refusal
from masthead.base.clock import Clock
from masthead.base.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Left:
    """What a key has left; None where it is not bounded.

    Attributes:
        rate: Requests that could come at once now.
        quota: Requests until the window ends.
        resets: When the quota begins anew.
    """

    rate: int | None
    quota: int | None
    resets: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return what is left as JSON values."""
        return {
            "rate": self.rate,
            "quota": self.quota,
            "resets": self.resets.isoformat() if self.resets else None,
        }


class Throttle:
    """Counts in memory, or in the store that `limits_url` names; quotas are written down by `flush`."""

    def __init__(self, records: KeyRecords, clock: Clock, limits_url: str = "") -> None:
        """Open the store.

        Raises:
            InvalidInput: The URL names no store that can be used here.
        """
        from limits.errors import ConfigurationError
        from limits.storage import storage_from_string
        from limits.strategies import MovingWindowRateLimiter

        self._records, self._clock = records, clock
        self._lock = threading.Lock()
        self._base: dict[tuple[str, str, datetime], int] = {}
        self._new: Counter[tuple[str, str, datetime]] = Counter()
        self._last: dict[str, datetime] = {}
        try:
            self._window = MovingWindowRateLimiter(storage_from_string(limits_url or "memory://"))
        except (ConfigurationError, NotImplementedError) as error:
            raise InvalidInput(
                f"limits_url: expected memory:// or redis://HOST:PORT with its library installed: {error}"
            ) from error

    def admit(self, key: Key) -> Refusal | None:
        """Count a request of a key; return why it may not come now, and then it does not count."""
        now = self._clock.now()
        if key.quota is not None:
            start, end = window_of(now, key.window)
            if self._used(key, start) >= key.quota:
                wait_s = (end - now).total_seconds()
                told = f"{key.quota} requests a {key.window} are spent until {end.isoformat()}"
                return Refusal("quota", f"Quota of key {key.id} exceeded: {told}", wait_s)
        if key.rate is not None:
            item = _item(key)
            if not self._window.hit(item, key.id):
                # The oldest of the window must leave before another may come.
                wait_s = self._window.get_window_stats(item, key.id).reset_time - _real_time()
                return Refusal(
                    "throttled", f"Rate exceeded: key {key.id} may come {key.plan}", max(0.05, wait_s)
                )
        with self._lock:
            self._last[key.id] = now
            if key.quota is not None:
                self._new[key.id, key.window, start] += 1
        return None

    def left(self, key: Key) -> Left:
        """Return what a key has left now."""
        now = self._clock.now()
        rate = None if key.rate is None else self._window.get_window_stats(_item(key), key.id).remaining
        if key.quota is None:
            return Left(rate, None, None)
        start, end = window_of(now, key.window)
        return Left(rate, max(0, key.quota - self._used(key, start)), end)

    def flush(self) -> None:
        """Write use down, and learn what other processes have counted. What cannot be written is kept for the next."""
        with self._lock:
            new, last = Counter(self._new), dict(self._last)
        if not new and not last:
            return
        totals = self._records.add_use([(*place, count) for place, count in new.items()], last)
        with self._lock:
            self._new = Counter({place: count - new[place] for place, count in self._new.items()})
            self._new = +self._new  # without the zeros
            self._last = {key: at for key, at in self._last.items() if at != last.get(key)}
            newest = {place[:2]: place for place in [*self._base, *totals]}
            self._base = {place: totals.get(place, self._base.get(place, 0)) for place in newest.values()}

    def _used(self, key: Key, start: datetime) -> int:
        place = (key.id, key.window, start)
        base = self._base.get(place)
        if base is None:
            base = self._records.used(*place)
            with self._lock:
                self._base[place] = base
        return base + self._new[place]


def _item(key: Key) -> Any:
    """Return the rate as hits in a window: `floor(rate x T)` in `T = ceil(burst / rate)` seconds."""
    from limits import RateLimitItemPerSecond

    rate, burst = key.rate or 1.0, key.burst or 1
    seconds = max(1, math.ceil(burst / rate))
    return RateLimitItemPerSecond(max(1, math.floor(rate * seconds + 1e-9)), seconds)


def _real_time() -> float:
    """Return the time by which `limits` counts: the machine's."""
    import time

    return time.time()


def window_of(now: datetime, window: str) -> tuple[datetime, datetime]:
    """Return begin and end of the UTC day, week (from Monday) or month around `now`.

    >>> from datetime import UTC
    >>> begin, end = window_of(datetime(2026, 11, 29, 16, 20, tzinfo=UTC), "week")
    >>> begin.isoformat(), end.isoformat()
    ('2026-11-23T00:00:00+00:00', '2026-11-30T00:00:00+00:00')
    """
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    if window == "day":
        return day, day + timedelta(days=1)
    if window == "week":
        begin = day - timedelta(days=day.weekday())
        return begin, begin + timedelta(days=7)
    begin = day.replace(day=1)
    return begin, (begin + timedelta(days=32)).replace(day=1)
