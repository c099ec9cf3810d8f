"""One writer for all transactions: what waits is written together, committed once, then answered.

A lone request is written at once. While a commit is under way others gather; when there are several, the writer waits
at most 2 ms for as many as came the last time, or for 64, since a commit costs the same for one as for all of them.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from prometheus_client import Histogram

from masthead.base.errors import Conflict, LimitReached
from masthead.base.log import get_logger
from masthead.base.telemetry import REGISTRY

__all__ = ["MOST_TOGETHER", "MOST_WAITING", "Job", "Writer"]

MOST_TOGETHER = 64
MOST_WAITING = 4_096
GATHER_S = 0.002
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
        found: The answer, once `done` is free; or `error`, which is raised to the caller.
    """

    given: Any
    found: Any = None
    error: BaseException | None = None
    done: threading.Lock = field(default_factory=_locked)


class Writer:
    """Gives groups of jobs to `work`, one group at a time, in a thread of its own.

    Args:
        work: Fills `found` or `error` of each job; what it raises is every job's error.
    """

    def __init__(self, work: Callable[[Sequence[Job]], None], *, most_waiting: int = MOST_WAITING) -> None:
        self._work, self._most = work, most_waiting
        self._queue: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._last = 1

    def submit(self, given: Any) -> Any:
        """Return the answer to one request, once it is durable.

        Raises:
            LimitReached: Too many wait already. Conflict: The writer has ended.
        """
        if self._queue.qsize() >= self._most:
            raise LimitReached(
                f"transactions: expected at most {self._most:,} requests waiting; come again in a second"
            )
        job = Job(given)
        with self._lock:
            if self._closed:
                raise Conflict("transactions: this process ends")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fraud-writer", daemon=True)
                self._thread.start()
            self._queue.put(job)
        job.done.acquire()
        if job.error is not None:
            raise job.error
        return job.found

    def close(self) -> None:
        """Write what waits, then end."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._queue.put(None)
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group = self._gathered(first)
            ends = group[-1] is None
            jobs = [job for job in group if job is not None]
            GROUP.observe(len(jobs))
            try:
                self._work(jobs)
            except BaseException as error:
                get_logger("fraud").error("a group was not written", error=repr(error), exc_info=error)
                for job in jobs:
                    job.error = job.error or error
            finally:
                for job in jobs:
                    job.done.release()
            if ends:
                return

    def _gathered(self, first: Job) -> list[Job | None]:
        """Return the next group; None at its end says that it is the last."""
        group: list[Job | None] = [first]
        until = time.monotonic() + GATHER_S
        while len(group) < MOST_TOGETHER and group[-1] is not None:
            try:
                group.append(self._queue.get_nowait())
                continue
            except Empty:
                pass
            left = until - time.monotonic()
            if len(group) == 1 or len(group) >= self._last or left <= 0:
                break
            try:
                group.append(self._queue.get(timeout=left))
            except Empty:
                break
        self._last = len(group)
        return group
