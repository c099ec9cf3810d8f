"""Group commit: what waits is written together, committed once, then answered.

There is no thread of its own: whoever finds nobody writing writes, for himself and for all who wait by then. A lone
request thus goes through in the thread that brought it; two changes of thread cost it as much as its score. When a
group is done, the first of those who came meanwhile writes the next one. If there were several the last time, he waits
at most 2 ms for as many, or for 64, since a commit costs the same for one as for all of them.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Histogram

from masthead.base.errors import Conflict, LimitReached
from masthead.base.log import get_logger
from masthead.base.telemetry import REGISTRY

__all__ = ["MOST_TOGETHER", "MOST_WAITING", "Job", "Writer"]

MOST_TOGETHER = 64
MOST_WAITING = 4_096
GATHER_S = 0.002
_LOOK_S = 0.000_2
GROUP = Histogram(
    "masthead_fraud_group_size",
    "Requests that were written by one commit.",
    buckets=(1, 2, 4, 8, 16, 32, 64),
    registry=REGISTRY,
)


def _locked() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


@dataclass(slots=True, eq=False)
class Job:
    """What one caller waits for.

    Attributes:
        given: What is to be written.
        found: The answer, once `woken` is free; or `error`, which is raised to the caller.
        leads: Its caller was woken to write the next group.
    """

    given: Any
    found: Any = None
    error: BaseException | None = None
    leads: bool = False
    woken: threading.Lock = field(default_factory=_locked)


class Writer:
    """Gives groups of jobs to `work`, one group at a time, in the thread of one of their callers.

    Args:
        work: Fills `found` or `error` of each job; what it raises is every job's error.
    """

    def __init__(self, work: Callable[[Sequence[Job]], None], *, most_waiting: int = MOST_WAITING) -> None:
        self._work, self._most = work, most_waiting
        self._waiting: deque[Job] = deque()
        self._lock = threading.Condition()
        self._busy = self._closed = False
        self._last = 1

    @property
    def waiting(self) -> int:
        """Return how many requests no group has taken yet."""
        return len(self._waiting)

    def submit(self, given: Any) -> Any:
        """Return the answer to one request, once it is durable.

        Raises:
            LimitReached: Too many wait already. Conflict: The writer has ended.
        """
        job = Job(given)
        with self._lock:
            if self._closed:
                raise Conflict("transactions: this process ends")
            if len(self._waiting) >= self._most:
                raise LimitReached(
                    f"transactions: expected at most {self._most:,} requests waiting; come again in a second"
                )
            self._waiting.append(job)
            job.leads, self._busy = not self._busy, True
        if not job.leads:
            self._wait(job)
        if job.leads:
            self._lead(job)
        if job.error is not None:
            raise job.error
        return job.found

    def close(self) -> None:
        """Take no more; return when what waits is written."""
        with self._lock:
            self._closed = True
            self._lock.wait_for(lambda: not self._busy)

    def _wait(self, job: Job) -> None:
        try:
            job.woken.acquire()
        except BaseException:  # Ctrl-C: whoever leaves must not take the turn with him
            with self._lock:
                if job in self._waiting:
                    self._waiting.remove(job)
                if job.leads:
                    self._hand_over()
            raise

    def _lead(self, own: Job) -> None:
        """Write the next group, of which the caller's own job is the first, then wake who waits for it."""
        group = [own]
        try:
            group = self._gathered()
            GROUP.observe(len(group))
            self._work(group)
        except BaseException as error:
            get_logger("fraud").error("a group was not written", error=repr(error), exc_info=error)
            for job in group:
                job.error = job.error or _of_others(error, job is own)
        finally:
            with self._lock:
                if own in self._waiting:  # it never came to a group
                    self._waiting.remove(own)
                self._hand_over()
            for job in group:
                job.woken.release()

    def _hand_over(self) -> None:
        """Let the first of those who wait write the next group; under the lock."""
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].woken.release()
        else:
            self._busy = False
            self._lock.notify_all()

    def _gathered(self) -> list[Job]:
        """Return the next group: of those who wait the first ones, and whom it is worth to wait for."""
        wanted, until = min(self._last, MOST_TOGETHER), time.monotonic() + GATHER_S
        while 1 < len(self._waiting) < wanted and time.monotonic() < until:
            time.sleep(_LOOK_S)
        with self._lock:
            group = [self._waiting.popleft() for _ in range(min(len(self._waiting), MOST_TOGETHER))]
        self._last = len(group)
        return group


def _of_others(error: BaseException, own: bool) -> BaseException:
    """Return what a caller is told: an interruption of the thread that wrote is nobody else's."""
    if own or isinstance(error, Exception):
        return error
    return Conflict("transactions: the group was interrupted, nothing of it is stored; send it again")
