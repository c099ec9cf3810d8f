"""When an interval is: its number, its place in the day and the week, and how many went by untold."""

import math
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.metrics.parameters import slots_per_day
from masthead.metrics.state import MOMENT

__all__ = ["Moments"]

_DAY_S = 86_400
_BLOCK_S = 6 * 3600
# The first of January 1970 was a Thursday; weeks here begin on Monday.
_THURSDAY = 3


class Moments:
    """Turns interval starts into `MOMENT` records, remembering the last one.

    Args:
        interval_s: Length of an interval; 0: every call is the next point, times may repeat or fall.
        zone: IANA name of the zone whose days and weeks are the season's; None: UTC.
        last_s: Start of the interval told last, None before the first.
    """

    def __init__(self, interval_s: int, zone: str | None, last_s: float | None = None) -> None:
        self.interval_s = interval_s
        self.last_s = last_s
        self._zone = ZoneInfo(zone) if zone else None
        self._slots = slots_per_day(interval_s)

    def following(self, times: NDArray[np.float64]) -> tuple[NDArray[np.void], float | None]:
        """Return one record per time and the last time, to be kept in `last_s` once the records are used.

        Raises:
            InvalidInput: A time is not finite, or not in a later interval than the one before.
        """
        records = np.empty(len(times), MOMENT)
        last = self.last_s
        for k, time_s in enumerate(times.tolist()):
            if not math.isfinite(time_s) or abs(time_s) > 1e11:
                raise InvalidInput(f"time_s: expected UTC epoch seconds, got {time_s}")
            local = time_s + self._offset_s(time_s)
            time_s = self._floored(time_s, local)
            records[k] = self._record(time_s, last, local)
            last = time_s
        return records, last

    def _offset_s(self, time_s: float) -> float:
        """Return how far the zone's clocks are ahead of UTC."""
        if self._zone is None:
            return 0.0
        from datetime import datetime

        offset = datetime.fromtimestamp(time_s, self._zone).utcoffset()
        return offset.total_seconds() if offset else 0.0

    def _floored(self, time_s: float, local: float) -> float:
        """Return the interval start: cut in UTC, but days in local time (23 or 25 hours twice a year)."""
        if self.interval_s == 0:
            return time_s
        if self.interval_s % _DAY_S == 0:
            return local // self.interval_s * self.interval_s
        return time_s // self.interval_s * self.interval_s

    def _record(self, time_s: float, last: float | None, local: float) -> tuple[float, float, int, int]:
        """Return slot, share, block, skipped of one interval."""
        skipped, elapsed = 0, float(self.interval_s)
        if self.interval_s and last is not None:
            if time_s <= last:
                raise InvalidInput(
                    f"time_s: expected an interval after {last:.0f}, got one that starts at {time_s:.0f}"
                )
            skipped = round((time_s - last) / self.interval_s) - 1
            elapsed = time_s - last
        elif self.interval_s == 0:
            elapsed = time_s - last if last is not None and 0 < time_s - last < _DAY_S else 300.0
        # A day's mean of daily values would be the value itself: it spans 16 intervals at least.
        share = min(1 - 0.5 ** (elapsed / _DAY_S), 1 - 0.5 ** (1 / 16))
        second = local % _DAY_S
        slot = second / _DAY_S * self._slots if self._slots else -1.0
        block = int((local // _DAY_S + _THURSDAY) % 7) * 4 + int(second // _BLOCK_S)
        return slot, share, block, skipped
