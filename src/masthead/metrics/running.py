"""The detectors that run in this process: begun, fed, timed and brought to rest as their rows say.

Nothing runs until `take`, `tick` or `position` is called, so a command that only changes rows may share the folder
with a server. One lock orders everything but the long jobs, which run in threads and hand their result over under it.
"""

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from masthead.base.clock import Clock, utc
from masthead.base.errors import Conflict, LimitReached, MastheadError, NotFound
from masthead.base.folder import DataFolder, write_atomic
from masthead.base.ids import new_id
from masthead.base.log import Journal, get_logger
from masthead.flows.run import Run, Stopping
from masthead.flows.service import Flows
from masthead.metrics import flows, records, results
from masthead.metrics.bounds import Bounds
from masthead.metrics.effects import Alerts
from masthead.metrics.feeds import Feeds
from masthead.metrics.intake import RecordLike
from masthead.metrics.live import LiveDetector, Surroundings, run_folder
from masthead.metrics.paths import PathDetector
from masthead.metrics.records import Detector, Execution
from masthead.metrics.work import Work, is_awaited
from masthead.store.engine import Database
from masthead.store.objects import Objects

__all__ = ["Bounds", "Runner", "erase"]

_TRIM_S = 600.0
_TELL_S = 1.0  # how soon counts of an open interval are stored, for people who look at them
_BUSY = ("activating", "backtesting", "deactivating", "deleting")
_ENDING = ("deactivating", "deleting")


@dataclass(slots=True)
class _Job:
    """A long job of one run, and the readings that wait for its end."""

    detector: Detector
    thread: threading.Thread | None = None
    cancelled: bool = False
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
        jobs: Flows | None = None,
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
        self._trimmed_at = self._told_at = monotonic()
        self._own_flows = jobs is None
        self._flows = jobs or Flows(None, journal)
        for name, function in ((flows.ACTIVATION, flows.activation), (flows.BACKTEST, flows.backtest)):
            self._flows.register(name, self._with_work(function), ended=self._ended)

    def _with_work(self, function: Callable[[Work], Any]) -> Callable[[Run, dict[str, Any]], Any]:
        return lambda run, args: function(Work(run, args, self._around, self._hand_over))

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
            if self._monotonic() - self._told_at >= _TELL_S:
                self._told_at = self._monotonic()
                self._tell_counts()
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

    def _tell_counts(self) -> None:
        """Store what was late, doubled or refused since the last interval closed: one transaction for all detectors.

        Only the shown counts change. The number of the last entry does not, so what a restart follows stays the same.
        """
        self._store_facts(
            [(live, facts) for live in self._live.values() if (facts := live.news()) is not None]
        )

    def _store_facts(self, news: Sequence[tuple[LiveDetector, Mapping[str, Any]]]) -> None:
        if not news:
            return
        try:
            with self._database.write() as connection:
                for live, facts in news:
                    records.update_facts(connection, live.run, facts)
        except MastheadError as error:  # nobody waits for it: it is tried again in a second
            get_logger("metrics").warning("counts not stored", error=str(error))
            return
        for live, facts in news:
            live.told(facts)

    def _trim(self, now: float) -> None:
        bounds = self._around.bounds
        try:
            with self._database.write() as connection:
                rows = records.all_detectors(connection)
                results.trim_results(
                    connection,
                    before=utc(now - bounds.results_keep_s),
                    most_bytes=bounds.results_bytes,
                    keep=[row.run for row in rows if row.spec.mode == "backtest"],
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
                or row.state not in ("learning", "active", *_ENDING)
            ):
                self._live.pop(name).close()
        for row in rows.values():
            if row.state in _ENDING and self._has_job(row):
                self._cancel(row)
                continue
            if row.state in ("learning", "active", "deactivating") and row.name not in self._live:
                self._open(row)
            if row.state == "deactivating":
                self._rest(row)
            if row.state == "deleting":
                self._erase(row)
            if row.state in ("activating", "backtesting") and row.name not in self._jobs:
                self._start(row)

    def _open(self, row: Detector) -> None:
        try:
            source = row.spec.source
            if source is not None:
                source.check()  # a row may be older than a check
            kind = PathDetector if source is not None and source.kind == "path" else LiveDetector
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
                execution = Execution(again.run, again.name, "activation", "running", again.updated)
                records.put_execution(self._database, connection, execution)
            self._dirty = True
        except (MastheadError, ValueError, LookupError, TypeError, OSError) as error:
            self._fail(row.name, error)

    def _rest(self, row: Detector) -> None:
        """Bring a detector to rest: its groups end, its memory stays on the disk."""
        live = self._live.pop(row.name, None)
        if live is not None:
            self._store_facts([(live, live.facts())])
            live.close()
        now = self._around.clock.now()
        with self._database.write() as connection:
            records.close_groups(connection, row.run)
            records.set_state(connection, row.name, "stopped", now=now, only=("deactivating",))
        self._journal.write("detector", row.name, "stopped")

    def _erase(self, row: Detector) -> None:
        """Remove a detector that was to be deleted while it ran."""
        with self._database.write() as connection:
            erase(connection, self._around.alerts, row.name)
        self.forget(row.name)
        self._journal.delete("detector", row.name)

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
        """Bring a detector whose row says `deactivating` to rest now, or remove one that says `deleting`."""
        with self._changed:
            with self._database.read() as connection:
                row = records.find_detector(connection, name)
            if row is not None and row.state in _ENDING:
                if self._has_job(row):
                    self._cancel(row)
                else:
                    (self._rest if row.state == "deactivating" else self._erase)(row)

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
        # In a thread: the first flow of a process loads DBOS, and readings must not wait for that.
        job.thread = threading.Thread(target=self._launch, args=(job,), name=f"start-{row.run}", daemon=True)
        job.thread.start()

    def _launch(self, job: _Job) -> None:
        """Start the job's flow, or find it under way or ended: the run's id is the flow's, so it is one for ever."""
        row, args = job.detector, {"detector": job.detector.name}
        name = flows.ACTIVATION if row.state == "activating" else flows.BACKTEST
        # Without a history there is nothing to keep: it takes less than loading DBOS.
        brief = row.state == "activating" and row.spec.history is None
        try:
            found = (self._flows.start_brief if brief else self._flows.start)(name, row.run, args)
            if job.cancelled:
                found = self._flows.cancel(row.run)
        except (Exception, Stopping) as error:
            if not (self._stopping or self._flows.closing):
                self._ended(row.run, args, "failed", str(error) or type(error).__name__)
            return
        if not brief and found.state in ("done", "failed", "cancelled"):
            # It ended in an earlier life, and the row was not told.
            self._ended(row.run, args, found.state, found.error)

    def _hand_over(
        self, row: Detector, state: str, quality: Mapping[str, Any], store: Callable[[Connection], None]
    ) -> None:
        """Change the row with all that a job stores, and give what waited to the new detector."""
        with self._changed:
            job = self._jobs.get(row.name)
            if not self._close_run(row, state, "finished", store=store, quality=quality):
                return
            if job is not None and job.detector.run == row.run:
                del self._jobs[row.name]
            self._clear_old(row)
            self._dirty = True
            self._follow()
            live = self._live.get(row.name)
            if live is not None and job is not None:
                for sequence, given in job.waiting:
                    self._guarded(live, lambda s=sequence, g=given: live.take(s, g))  # type: ignore[misc]
            self._changed.notify_all()

    def _ended(self, run: str, args: Mapping[str, Any], state: str, error: str) -> None:
        """Hear of a flow's end. What it did is in the row already; what failed or was cancelled is not."""
        name = str(args["detector"])
        with self._changed:
            job = self._jobs.get(name)
            if job is not None and job.detector.run == run:
                del self._jobs[name]
            with self._database.read() as connection:
                row = records.find_detector(connection, name)
            if row is not None and row.state == "deleting":
                self._erase(row)
            elif row is not None and is_awaited(row, run) and self._has_job(row):
                if row.state == "deactivating" or state == "cancelled":
                    self._close_run(row, "stopped", "cancelled")
                else:
                    text = error or "its job ended before the detector heard of it; begin again"
                    self._close_run(row, "failed", "failed", failure=text)
                self._forget_run(row)
            self._dirty = True
            self._changed.notify_all()

    def _close_run(
        self,
        row: Detector,
        state: str,
        execution: str,
        *,
        failure: str = "",
        quality: Mapping[str, Any] | None = None,
        store: Callable[[Connection], None] = lambda connection: None,
    ) -> bool:
        """Store how a run's job ended, in one transaction and only while the detector waits for it; return whether."""
        now = self._around.clock.now()
        # What was finished while somebody stopped it is stopped.
        only = ("activating", "backtesting") + (() if execution == "finished" else ("deactivating",))
        with self._database.write() as connection:
            if not records.set_state(
                connection, row.name, state, now=now, failure=failure, only=only, run=row.run
            ):
                return False
            store(connection)
            text: dict[str, Any] = {"done": 1.0, "text": "done"} if execution == "finished" else {}
            records.update_execution(connection, row.run, state=execution, failure=failure, ended=now, **text)
            if quality:
                records.put_quality(self._database, connection, row.name, quality, now=now)
        self._journal.write("detector", row.name, state, **({"reason": failure} if failure else {}))
        return True

    def _has_job(self, row: Detector) -> bool:
        with self._database.read() as connection:
            return records.is_running(connection, row.run)

    def _forget_run(self, row: Detector) -> None:
        """Remove what a job left that came to nothing."""
        shutil.rmtree(run_folder(self._folder, row.name, row.run), ignore_errors=True)
        with self._database.write() as connection:
            results.remove_results(connection, run=row.run)
            records.remove_groups(connection, row.run)

    def _cancel(self, row: Detector) -> None:
        """End the job of a run; its row follows when the job has heard of it."""
        job = self._jobs.get(row.name)
        if job is not None and job.cancelled:
            return
        with contextlib.suppress(NotFound, Conflict):  # it has not begun, or has just ended
            self._flows.cancel(row.run)
        if job is None:
            self._ended(row.run, {"detector": row.name}, "cancelled", "")
        else:
            job.cancelled = True

    def _clear_old(self, row: Detector) -> None:
        """Remove the memories of earlier runs and the job's own files; groups and scores stay."""
        folder = self._folder.metrics / row.name
        for old in folder.glob("run-*") if folder.is_dir() else ():
            if old.is_dir() and old.name != row.run:
                shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(run_folder(self._folder, row.name, row.run) / "job", ignore_errors=True)

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
        if self._own_flows:
            self._flows.close(wait_s=10)
        with self._changed:
            self._store_facts([(live, live.facts()) for live in self._live.values()])
            for live in self._live.values():
                live.close()
            self._live.clear()


def erase(connection: Connection, alerts: Alerts, name: str) -> None:
    """Delete a detector with its groups, scores and alert rules, in the caller's transaction."""
    alerts.delete_rules_of(connection, name)
    records.remove_detector(connection, name)
    results.remove_results(connection, detector=name)


def _mark(folder: DataFolder, row: Detector) -> Any:
    return run_folder(folder, row.name, row.run) / "needed-from"


def _waiting_from(folder: DataFolder, row: Detector) -> int | None:
    """Return the sequence of the first reading that a run was given before it had a log of its own."""
    try:
        return int(_mark(folder, row).read_text())
    except (OSError, ValueError):
        return None
