"""The outbox worker: sends what is due, at once, one at a time per rule, and tries again with patience.

State lives in the outbox alone. A try that a kill -9 interrupts is repeated at the next start under the same key:
at least once, and the receiver can tell. One worker per database: the server that holds the data folder runs it.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from masthead.alerts.channels import Outcome
from masthead.alerts.records import Delivery, due_deliveries, next_due, postpone, put_result
from masthead.base.clock import Clock
from masthead.base.log import get_logger
from masthead.store.engine import Database

# Tries at 0, 5, 30 s, 2, 10 min, then hourly for 24 h: the pauses between them, seconds.
PAUSES_S: tuple[float, ...] = (5, 25, 90, 480) + (3600,) * 24
WORKERS = 16  # sixteen channels may hang for their whole time limit before another rule waits
_LOOK_S = 30.0  # a look without a wake-up: for rows that another process wrote
_RECORD_PAUSE_S = 2.0


class Carries(Protocol):
    """What the worker asks of the room: send one delivery, say until when it must wait, hear how it ended."""

    def send(self, delivery: Delivery) -> Outcome: ...

    def held_until(self, delivery: Delivery, now: datetime) -> datetime | None: ...

    def ended(self, delivery: Delivery, outcome: Outcome, *, final: bool) -> None: ...


def next_try(tries: int, now: datetime) -> datetime | None:
    """Return when to try again after `tries` failed tries, or None when it is given up."""
    return now + timedelta(seconds=PAUSES_S[tries - 1]) if tries <= len(PAUSES_S) else None


class DeliveryWorker:
    """Sends the outbox. `start` makes its thread; `wake` tells it that something is due."""

    def __init__(self, database: Database, clock: Clock, carrier: Carries, *, workers: int = WORKERS) -> None:
        self._database, self._clock, self._carrier = database, clock, carrier
        self._places = threading.BoundedSemaphore(workers)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()  # rules with a try under way
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to send, starting with what an earlier run left."""
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="alert-delivery", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Look at the outbox now."""
        self._wake.set()

    def stop(self, *, wait_s: float = 5.0) -> None:
        """Begin no further try, and give those under way `wait_s` to end; the rest is repeated at the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(wait_s)
            self._thread = None
        deadline = time.monotonic() + wait_s
        while self._busy and time.monotonic() < deadline:
            time.sleep(0.01)

    def deliver_due(self) -> int:
        """Send all that is due in the calling thread, without the worker's own; return how many tries were made."""
        count = 0
        while waiting := self._due(limit=1):
            self._busy.add(waiting[0].rule)
            count += self._deliver(waiting[0])
        return count

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                pause_s = self._begin_due()
            except Exception as error:  # the outbox must outlive a full disk or a lost database
                get_logger("alerts").error("outbox not readable", error=str(error))
                pause_s = _RECORD_PAUSE_S
            self._wake.wait(pause_s)

    def _begin_due(self) -> float:
        """Begin every try that is due; return the seconds until the next one."""
        while not self._stop.is_set():
            waiting = self._due(limit=4 * WORKERS)
            fresh = [one for one in waiting if self._take(one.rule)]
            if not fresh:
                break
            for delivery in fresh:
                self._places.acquire()
                threading.Thread(target=self._deliver_and_free, args=(delivery,), daemon=True).start()
        with self._database.read() as connection:
            due = next_due(connection, besides=self._busy_now())
        if due is None:
            return _LOOK_S
        return min(max((due - self._clock.now()).total_seconds(), 0.0), _LOOK_S)

    def _due(self, *, limit: int) -> list[Delivery]:
        with self._database.read() as connection:
            return due_deliveries(connection, self._clock.now(), besides=self._busy_now(), limit=limit)

    def _busy_now(self) -> set[str]:
        with self._lock:
            return set(self._busy)

    def _take(self, rule: str) -> bool:
        with self._lock:
            if rule in self._busy:
                return False
            self._busy.add(rule)
            return True

    def _deliver_and_free(self, delivery: Delivery) -> None:
        try:
            self._deliver(delivery)
        finally:
            self._places.release()
            self._wake.set()

    def _deliver(self, delivery: Delivery) -> bool:
        try:
            return self.attempt(delivery)
        finally:
            with self._lock:
                self._busy.discard(delivery.rule)

    def attempt(self, delivery: Delivery) -> bool:
        """Make one try here and now and record how it ended; return False when quiet hours held it."""
        held = self._carrier.held_until(delivery, self._clock.now())
        if held is not None:
            self._record(lambda: self._postpone(delivery, held))
            return False
        try:
            outcome = self._carrier.send(delivery)
        except Exception as error:  # a sender of another room; its fault is a failed try, no more
            outcome = Outcome(False, f"{type(error).__name__}: {error}"[:500], delivery.reached)
        self._record(lambda: self._put(delivery, outcome))
        return True

    def _record(self, write: Callable[[], None]) -> None:
        """Write until it holds: while the result is unknown to the database, the rule stays busy.

        Otherwise a full disk would send the same alert again and again.
        """
        while True:
            try:
                return write()
            except Exception as error:
                get_logger("alerts").error("delivery not recorded", error=str(error))
                if self._stop.wait(_RECORD_PAUSE_S):
                    return None

    def _postpone(self, delivery: Delivery, until: datetime) -> None:
        with self._database.write() as connection:
            postpone(connection, delivery.id, until)

    def _put(self, delivery: Delivery, outcome: Outcome) -> None:
        now = self._clock.now()
        again = None if delivery.stage == "test" else next_try(delivery.tries + 1, now)
        final = outcome.delivered or again is None
        with self._database.write() as connection:
            put_result(
                connection,
                delivery.id,
                state="delivered" if outcome.delivered else "pending" if again else "undelivered",
                due=now if outcome.delivered or again is None else again,
                error="" if outcome.delivered else outcome.note,
                note=outcome.note if outcome.delivered else "",
                reached=outcome.reached,
                now=now,
            )
        with contextlib.suppress(Exception):  # counting must not undo what was recorded
            self._carrier.ended(delivery, outcome, final=final)
