"""The detectors that run in this process: begun, fed, timed and brought to rest as their rows say.

Nothing runs until `take`, `tick` or `position` is called, so a command that only changes rows may share the folder
with a server. One lock orders everything but the long jobs, which run in threads and hand their result over under it.
"""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from masthead.base.clock import Clock, utc
from masthead.base.errors import Conflict, LimitReached, MastheadError
from masthead.base.folder import DataFolder, write_atomic
from masthead.base.ids import new_id
from masthead.base.log import Journal, get_logger
from masthead.metrics import records, results
from masthead.metrics.bounds import Bounds
from masthead.metrics.effects import Alerts
from masthead.metrics.feeds import Feeds
from masthead.metrics.intake import RecordLike
from masthead.metrics.live import LiveDetector, Surroundings, run_folder
from masthead.metrics.paths import PathDetector
from masthead.metrics.records import Detector, Execution
from masthead.store.engine import Database
from masthead.store.objects import Objects

__all__ = ["Bounds", "Runner"]

_TRIM_S = 600.0
_REPORT_S = 0.5
_BUSY = ("activating", "backtesting", "deactivating")


class _Ended(Exception):
    """The process comes to rest: the job is begun anew at the next start."""


@dataclass(slots=True)
class _Job:
    """A long job of one run, and the readings that wait for its end."""

    detector: Detector
    thread: threading.Thread | None = None
    ended: bool = False
    waiting: list[tuple[int, Sequence[RecordLike]]] = field(default_factory=list)
    records: int = 0


class Runner:
    """Runs what the rows of the database say should run."""

    def __init__(
        self,
        database: Database,
        objects: Objects,
        alerts: Alerts,
        clock: Clock,
        journal: Journal,
        folder: DataFolder,
        bounds: Bounds,
        monotonic: Callable[[], float] = time.monotonic,
        feeds: Feeds | None = None,
    ) -> None:
        self._around = Surroundings(
            database, objects, alerts, clock, journal, folder, bounds, monotonic, feeds or Feeds()
        )
        self._database, self._journal, self._folder = database, journal, folder
        self._monotonic = monotonic
        self._changed = threading.Condition(threading.RLock())
        self._live: dict[str, LiveDetector] = {}
        self._jobs: dict[str, _Job] = {}
        self._is_here = self._stopping = False
        self._dirty = True
        self._arrived: float | None = None  # when the latest reading came, by the product's clock
        self._taken_at: float | None = None  # when it was given to us, by the real clock
        self._began_at = monotonic()
        self._trimmed_at = monotonic()

    # ------------------------------------------------------------------ readings

    def take(self, name: str, sequence: int, given: Sequence[RecordLike]) -> None:
        """Give the records of one message to a detector; of one that does not run they are dropped.

        Raises:
            LimitReached: The disk is full; give the message again later.
        """
        with self._changed:
            self._follow()
            if given:
                self._note_arrival(max(record.arrived for record in given))
            while (job := self._jobs.get(name)) is not None and job.detector.state == "activating":
                if job.records < self._around.bounds.waiting_records:
                    self._put_aside(job, sequence, given)
                    return
                self._changed.wait(
                    0.5
                )  # its history is still being learned: let the log of readings hold the rest
                self._follow()
            live = self._live.get(name)
            if live is not None and not isinstance(live, PathDetector):
                self._guarded(live, lambda: live.take(sequence, given))

    def advance(self, sequence: int, arrived: float | None) -> None:
        """Learn that all readings up to `sequence` have been given; `arrived` is when the last of them came."""
        with self._changed:
            if arrived is not None:
                self._note_arrival(arrived)
            for live in self._live.values():
                live.advance(sequence)

    def position(self) -> int | None:
        """Return the sequence from which readings are needed after a crash; None: none are."""
        with self._changed:
            self._follow()
            places = [live.position() for live in self._live.values()]
            places += [_waiting_from(self._folder, job.detector) for job in self._jobs.values()]
            return min((place for place in places if place is not None), default=None)

    def _note_arrival(self, arrived: float) -> None:
        self._arrived = max(arrived, self._arrived or arrived)
        self._taken_at = self._monotonic()

    def _put_aside(self, job: _Job, sequence: int, given: Sequence[RecordLike]) -> None:
        if not job.waiting and _waiting_from(self._folder, job.detector) is None:
            write_atomic(_mark(self._folder, job.detector), str(sequence).encode())
        job.waiting.append((sequence, given))
        job.records += len(given)

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Do what is due at `now`."""
        with self._changed:
            dirty = self._dirty
            self._follow()
            closing = self._closing_time(now)
            for live in list(self._live.values()):
                self._guarded(live, lambda live=live: self._turn(live, now, closing, learn=dirty))  # type: ignore[misc]
            if self._monotonic() - self._trimmed_at >= _TRIM_S:
                self._trimmed_at = self._monotonic()
                self._trim(now)

    def _turn(self, live: LiveDetector, now: float, closing: float | None, *, learn: bool) -> None:
        if learn:
            with self._database.read() as connection:
                waiting = records.find_feedback(connection, detector=live.name, waiting=True)
            live.learn(waiting)
        if isinstance(live, PathDetector):
            live.poll(now)
        elif closing is not None:
            live.close_by_clock(closing)
        live.snapshot_if_due()

    def _closing_time(self, now: float) -> float | None:
        """Return the time by which intervals are closed by clock; None = not yet.

        While readings flow, their time of arrival is the time: what they wait for behind us must not be late because
        we are. After a start the readings that came meanwhile get a moment to arrive.
        """
        bounds, at = self._around.bounds, self._monotonic()
        if self._taken_at is not None:
            flowing = at - self._taken_at < bounds.drain_s
            return min(now, self._arrived) if flowing and self._arrived is not None else now
        waiting = at - self._began_at < bounds.start_s and any(
            live.position() is not None for live in self._live.values()
        )
        return None if waiting else now

    def _trim(self, now: float) -> None:
        bounds = self._around.bounds
        try:
            with self._database.write() as connection:
                results.trim_results(
                    connection, before=utc(now - bounds.results_keep_s), most_bytes=bounds.results_bytes
                )
        except MastheadError as error:
            get_logger("metrics").warning("results not trimmed", error=str(error))

    def _guarded(self, live: LiveDetector, work: Callable[[], None]) -> None:
        """Do work for a detector; an error of its data ends it, a full disk is the caller's to hear."""
        try:
            work()
        except LimitReached as error:
            if error.field == "disk":
                raise
            self._fail(live.name, error)
        except (MastheadError, ValueError, ArithmeticError, LookupError, TypeError) as error:
            self._fail(live.name, error)

    # ------------------------------------------------------------------ rows

    def wake(self) -> None:
        """Look at the rows at the next occasion."""
        self._dirty = True

    def is_here(self) -> bool:
        """Return whether this process runs detectors."""
        return self._is_here

    def _follow(self) -> None:
        """Bring what runs in line with the rows."""
        self._is_here = True
        if not self._dirty or self._stopping:
            return
        self._dirty = False
        with self._database.read() as connection:
            rows = {found.name: found for found in records.all_detectors(connection)}
        for name in [*self._live]:
            row = rows.get(name)
            if (
                row is None
                or row.run != self._live[name].run
                or row.state not in ("learning", "active", "deactivating")
            ):
                self._live.pop(name).close()
        for row in rows.values():
            if row.state in ("learning", "active", "deactivating") and row.name not in self._live:
                self._open(row)
            if row.state == "deactivating":
                self._rest(row)
            if row.state in ("activating", "backtesting") and row.name not in self._jobs:
                self._start(row)

    def _open(self, row: Detector) -> None:
        try:
            kind = (
                PathDetector
                if row.spec.source is not None and row.spec.source.kind == "path"
                else LiveDetector
            )
            self._live[row.name] = kind(row, self._around)
            mark = _mark(self._folder, row)
            self._live[row.name].needed_from(_waiting_from(self._folder, row), mark)
        except Conflict as error:
            # Another kernel, or a damaged log: what was learned cannot be repeated, the history can.
            self._journal.write("detector", row.name, "learns again from its history", reason=str(error))
            again = replace(row, state="activating", run=new_id("run"), updated=self._around.clock.now())
            with self._database.write() as connection:
                records.close_groups(connection, row.run)
                records.put_detector(self._database, connection, again)
            self._dirty = True
        except (MastheadError, ValueError, LookupError, TypeError, OSError) as error:
            self._fail(row.name, error)

    def _rest(self, row: Detector) -> None:
        """Bring a detector to rest: its groups end, its memory stays on the disk."""
        live = self._live.pop(row.name, None)
        if live is not None:
            live.close()
        now = self._around.clock.now()
        with self._database.write() as connection:
            records.close_groups(connection, row.run)
            records.set_state(connection, row.name, "stopped", now=now, only=("deactivating",))
        self._journal.write("detector", row.name, "stopped")

    def _fail(self, name: str, error: BaseException) -> None:
        live = self._live.pop(name, None)
        if live is not None:
            live.abandon()
        text = str(error) or type(error).__name__
        with self._database.write() as connection:
            records.set_state(connection, name, "failed", now=self._around.clock.now(), failure=text)
        self._journal.write("detector", name, "failed", reason=text)
        get_logger("metrics").error("detector failed", detector=name, reason=text)

    def stop(self, name: str) -> None:
        """Bring a detector whose row says `deactivating` to rest now."""
        with self._changed:
            with self._database.read() as connection:
                row = records.find_detector(connection, name)
            if row is not None and row.state == "deactivating":
                self._rest(row)

    def forget(self, name: str) -> None:
        """Remove the files of a detector that is no more."""
        with self._changed:
            live = self._live.pop(name, None)
            if live is not None:
                live.abandon()
            shutil.rmtree(self._folder.metrics / name, ignore_errors=True)

    # ------------------------------------------------------------------ jobs

    def _start(self, row: Detector) -> None:
        job = _Job(row)
        self._jobs[row.name] = job
        job.thread = threading.Thread(
            target=self._work, args=(job,), name=f"masthead-{row.state}-{row.name}", daemon=True
        )
        job.thread.start()

    def _work(self, job: _Job) -> None:
        from masthead.metrics import flows  # pulls in numpy's readers: not before a job needs them

        row = job.detector
        reported = 0.0
        execution = Execution(row.run, row.name, _kind(row), "running", self._around.clock.now())

        def report(done: float, text: str) -> None:
            nonlocal reported
            if self._stopping:
                raise _Ended
            if self._monotonic() - reported >= _REPORT_S:
                reported = self._monotonic()
                self._put(replace(execution, done=round(done, 4), text=text))

        try:
            report(0.0, "begun")
            if row.state == "activating":
                warmth = flows.warm_start(row, self._around, report)
                state, quality = warmth.state, warmth.quality
            else:
                state, quality = "backtested", flows.backtest(row, self._around, report)
        except _Ended:
            return
        except Exception as error:
            text = str(error) if isinstance(error, MastheadError) else f"{type(error).__name__}: {error}"
            self._end(job, replace(execution, state="failed", failure=text), "failed", {})
        else:
            self._end(job, replace(execution, state="finished", done=1.0, text="done"), state, quality)

    def _end(self, job: _Job, execution: Execution, state: str, quality: dict[str, Any]) -> None:
        """Hand a job's result over: the row changes, and what waited is given to the new detector."""
        now, row = self._around.clock.now(), job.detector
        with self._changed:
            with self._database.write() as connection:
                records.put_execution(self._database, connection, replace(execution, ended=now))
                records.set_state(
                    connection, row.name, state, now=now, failure=execution.failure, only=(row.state,)
                )
                if quality:
                    records.put_quality(self._database, connection, row.name, quality, now=now)
            self._journal.write(
                "detector", row.name, state, **({"reason": execution.failure} if execution.failure else {})
            )
            del self._jobs[row.name]
            self._clear_old(row)
            self._dirty = True
            self._follow()
            live = self._live.get(row.name)
            if live is not None:
                for sequence, given in job.waiting:
                    self._guarded(live, lambda s=sequence, g=given: live.take(s, g))  # type: ignore[misc]
            job.ended = True
            self._changed.notify_all()

    def _clear_old(self, row: Detector) -> None:
        """Remove the memories of earlier runs; their groups and scores stay."""
        folder = self._folder.metrics / row.name
        for old in folder.glob("run-*") if folder.is_dir() else ():
            if old.is_dir() and old.name != row.run:
                shutil.rmtree(old, ignore_errors=True)

    def _put(self, execution: Execution) -> None:
        with self._database.write() as connection:
            records.put_execution(self._database, connection, execution)

    def wait(self, name: str, timeout_s: float) -> Detector:
        """Return the detector once it is neither activating, backtesting nor deactivating.

        Raises:
            LimitReached: It still is after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self._changed:
                self._dirty = True
                self._follow()
                with self._database.read() as connection:
                    found = records.require_detector(connection, name)
                if found.state not in _BUSY:
                    return found
                if time.monotonic() >= deadline:
                    raise LimitReached(f"timeout_s: {name} is still {found.state} after {timeout_s} s")
                self._changed.wait(0.05)

    def close(self) -> None:
        """Bring everything to rest; jobs are begun anew at the next start."""
        with self._changed:
            self._stopping = True
            jobs = [job.thread for job in self._jobs.values() if job.thread is not None]
        for thread in jobs:
            thread.join(10)
        with self._changed:
            for live in self._live.values():
                live.close()
            self._live.clear()


def _kind(row: Detector) -> str:
    return "activation" if row.state == "activating" else "backtest"


def _mark(folder: DataFolder, row: Detector) -> Any:
    return run_folder(folder, row.name, row.run) / "needed-from"


def _waiting_from(folder: DataFolder, row: Detector) -> int | None:
    """Return the sequence of the first reading that a run was given before it had a log of its own."""
    try:
        return int(_mark(folder, row).read_text())
    except (OSError, ValueError):
        return None
