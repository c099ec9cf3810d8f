"""The demonstration's time: a fast clock that never runs ahead of the readings."""

import threading
import time
from collections.abc import Callable, Sequence

from masthead.base.clock import VirtualClock
from masthead.base.errors import InvalidInput

_AT_ONCE = 1e9  # so fast that every wait is over as soon as it begins
_POLL_S = 0.002
_PIPELINE_S = 60.0


class HeldClock(VirtualClock):
    """A virtual clock that stops at a bar and goes on when the bar is moved; none of the time between is lost."""

    def __init__(self, start: float, factor: float | None) -> None:
        """Begin, standing still; `factor` None runs as fast as the bar moves."""
        super().__init__(start, factor or _AT_ONCE)
        self._moving = threading.RLock()
        self._bar = start

    def time(self) -> float:
        with self._moving:
            return min(super().time(), self._bar)

    def at(self, system_s: float) -> float:
        """Return the present: the bar sees to it that no reading is more than two steps old."""
        return self.time()

    def until(self, bar: float) -> None:
        """Let time run on to `bar`."""
        with self._moving:
            if super().time() > self._bar:
                self.set(self._bar)
            self._bar = max(self._bar, bar)

    def run_free(self) -> None:
        """Go on at the pace of the real world."""
        with self._moving:
            self.set(self.time(), 1.0)
            self._bar = float("inf")

    def wait_for(self, moment: float) -> None:
        """Return when the clock shows `moment`."""
        while (left := moment - self.time()) > 0:
            self.sleep(min(left, 86_400.0))


class Pipeline:
    """Knows how many readings have reached the detectors, so that nobody sends faster than they are used.

    Args:
        taken: Returns the count of readings used so far.
    """

    def __init__(self, taken: Callable[[], int]) -> None:
        self._taken, self._before = taken, taken()
        self.sent = 0

    def wait_for(self, count: int, *, timeout_s: float = _PIPELINE_S) -> None:
        """Return when `count` of the readings sent have been used.

        Raises:
            InvalidInput: They are not within `timeout_s`; nothing is lost, they lie in the stream.
        """
        deadline = time.monotonic() + timeout_s
        while self._taken() - self._before < count:
            if time.monotonic() > deadline:
                raise InvalidInput(
                    f"speed: {count - (self._taken() - self._before)} readings still wait after {timeout_s:g} s"
                )
            time.sleep(_POLL_S)


def play(
    steps: Sequence[tuple[float, int]],
    send: Callable[[int], int],
    *,
    clock: HeldClock,
    pipeline: Pipeline,
) -> None:
    """Call `send` for each step when the clock shows its time; the clock waits while the pipeline is behind.

    One step may be on its way while the next is sent, never two: an interval is closed by the clock only 30 s after
    its end, so nothing that was sent in order can come too late.

    Args:
        steps: (time, number for `send`), times rising.
        send: Sends a step, returns once it is stored durably, and says how many readings it was.
    """
    before = 0
    for moment, number in steps:
        pipeline.wait_for(before)
        before = pipeline.sent
        clock.until(moment)
        clock.wait_for(moment)
        pipeline.sent += send(number)
    pipeline.wait_for(pipeline.sent)
