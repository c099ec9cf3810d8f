"""One live detector: readings in, decisions written down, scores, groups and alerts stored exactly once.

The order that makes a crash harmless: an interval is decided, the decision is on the disk, it is scored, and its
groups, alerts and scores are stored in one transaction together with the number of the log entry. After a crash the
newest snapshot and the log behind it are followed through the same code; entries whose number is already stored
change memory only. Readings of intervals that were open are given again, from `position`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import Counter

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, MastheadError
from masthead.base.folder import DataFolder, write_atomic
from masthead.base.log import Journal
from masthead.base.telemetry import REGISTRY
from masthead.metrics.bounds import Bounds
from masthead.metrics.detection import Decision, Detection, Scored
from masthead.metrics.effects import Alerts, Effects, facts_of, progress_of
from masthead.metrics.feeds import Feeds
from masthead.metrics.intake import RecordLike, arrivals_of, chunks_of, error_lines, format_of, selection_of
from masthead.metrics.log import Entry, IntervalLog
from masthead.metrics.open_intervals import OpenIntervals
from masthead.metrics.quality import judge_arrivals
from masthead.metrics.records import Detector, Feedback, error_place
from masthead.metrics.snapshots import Snapshot, newest_snapshot, write_snapshot
from masthead.store.engine import Database
from masthead.store.objects import Objects

__all__ = ["Bounds", "LiveDetector", "Surroundings", "run_folder"]

INTERVALS = Counter("masthead_detector_intervals", "Intervals closed.", ["detector"], registry=REGISTRY)
RECORDS = Counter("masthead_detector_records", "Records used.", ["detector"], registry=REGISTRY)
REFUSED = Counter(
    "masthead_detector_refused", "Records that could not be used.", ["detector"], registry=REGISTRY
)

SNAPSHOT_INTERVALS = 288
SNAPSHOT_S = 600.0
MARK_S = 30.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every live detector of a process shares."""

    database: Database
    objects: Objects
    alerts: Alerts
    clock: Clock
    journal: Journal
    folder: DataFolder
    bounds: Bounds
    monotonic: Callable[[], float] = time.monotonic
    feeds: Feeds = field(default_factory=Feeds)


def run_folder(folder: DataFolder, detector: str, run: str) -> Path:
    """Return where a run keeps its snapshots and its log."""
    return folder.metrics / detector / run


class LiveDetector:
    """A detector that learns or is active.

    Args:
        detector: Its row; the run names the folder.
        around: What it shares with others.

    Raises:
        Conflict: Its log is damaged, or another version of the kernel wrote its memory.
    """

    def __init__(self, detector: Detector, around: Surroundings) -> None:
        self.name, self.spec, self.run = detector.name, detector.spec, detector.run
        self._around = around
        self._folder = run_folder(around.folder, detector.name, detector.run)
        self._effects = Effects(detector, around.database, around.alerts, around.clock, around.journal)
        self._log = IntervalLog(self._folder / "log")
        self._format = ""
        self._pending: tuple[Entry, Scored | None] | None = None
        self._durable: int | None = None  # sequence from which readings are needed again, as the log has it
        self._mark: Path | None = None  # where that is kept until there is a log
        self._marked: int | None = None
        self._marked_at = -MARK_S
        self._warned = False
        self._files: dict[str, list[str]] = {}  # of folders: what was read already, by interval
        self._news: dict[str, list[str]] = {}  # what of it the log does not tell yet
        self._restore()
        self._told = _shown(self.facts())
        self._snapshot_entry, self._snapshot_at = self._log.last, around.monotonic()

    # ------------------------------------------------------------------ restart

    def _restore(self) -> None:
        snapshot = newest_snapshot(self._folder / "snapshots")
        limits = self._around.bounds.cube
        state: dict[str, Any] = {} if snapshot is None else snapshot.state
        after = 0 if snapshot is None else snapshot.entry
        if snapshot is None:
            self.detection = Detection.fresh(self.spec, limits=limits)
        else:
            self.detection = Detection.restored(self.spec, state["detection"], snapshot.scorer, limits=limits)
        self.intervals = OpenIntervals(self.spec, self.detection.cube)
        self._format = state.get("format", "")
        self._files = state.get("files", {})
        self._learned_before = int(state.get("learned_before", 0))
        last: dict[str, Any] | None = state.get("intervals")
        started = bool(state.get("started", False))
        stored = self._effects.last_entry()
        if self._log.last < after:
            raise Conflict(f"log: expected entries up to {after} in {self._folder}, found {self._log.last}")
        for place, entry in enumerate(self._log.read(after)):
            if entry.number != after + 1 + place:
                raise Conflict(f"snapshot: expected one that the log from entry {entry.number} on continues")
            last, started = entry.data["intervals"], True
            self.intervals.restore(last)
            self._format = entry.data.get("format", self._format)
            self._remember(entry.data.get("files", {}))
            scored = self._apply(entry)
            if entry.number > stored:
                self._store(entry, scored)
        if last is not None:
            self.intervals.restore(last)
        if started and last is not None:
            seen, open_from = int(last["seen"][0]), last["open_from"]
            self._durable = seen if open_from is None else min(seen, int(open_from))

    def _apply(self, entry: Entry) -> Scored | None:
        """Bring the memory on by one entry that was read back."""
        if entry.kind == "interval":
            return self.detection.follow(Decision.from_json(entry.data, entry.values, entry.counts))
        if entry.kind == "feedback":
            self._learn(entry)
        return None

    def _remember(self, files: dict[str, list[str]]) -> None:
        """Take over the names of files that were read."""
        for start, names in files.items():
            known = self._files.setdefault(start, [])
            known += [name for name in names if name not in known]

    # ------------------------------------------------------------------ readings

    def take(self, sequence: int, given: Sequence[RecordLike]) -> None:
        """Use the records of one message of the log; sequences rise, and a message may be given again.

        Raises:
            LimitReached: More series or records than allowed, or a full disk.
        """
        self._settle()
        if self._durable is None:
            self._begin(sequence, given)
        selection = selection_of(self.spec, self._format)
        for first, piece in chunks_of(self.spec, given):
            arrivals, refused = arrivals_of(piece, selection, self.spec, sequence=sequence, first=first)
            if refused:
                REFUSED.labels(self.name).inc(len(refused))
                place = f"{error_place(self.name)}{sequence:020d}-{first:06d}.jsonl"
                self._around.objects.put(place, error_lines(piece, refused, sequence), create_only=True)
            for start_s in self.intervals.add(arrivals):
                self._close(start_s)

    def advance(self, sequence: int) -> None:
        """Learn that nothing up to `sequence` is still to come."""
        if self._durable is not None:
            self.intervals.done = max(self.intervals.done, (sequence + 1, -1))
        elif self._mark is not None and self._around.monotonic() - self._marked_at >= MARK_S:
            write_atomic(self._mark, str(sequence + 1).encode())
            self._marked, self._marked_at = sequence + 1, self._around.monotonic()

    def needed_from(self, sequence: int | None, mark: Path) -> None:
        """Learn where the readings begin that this run needs, and where to keep that until it has a log."""
        self._marked, self._mark = sequence, mark

    def close_by_clock(self, now_s: float) -> None:
        """Close what the clock has passed."""
        self._settle()
        for start_s in self.intervals.due_by_clock(now_s):
            self._close(start_s)

    def position(self) -> int | None:
        """Return the sequence from which readings are needed after a crash; None = none are."""
        if self._durable is None:
            return self._marked
        open_from = self.intervals.open_from()
        return self._durable if open_from is None else min(open_from, self._durable)

    def _begin(self, sequence: int, given: Sequence[RecordLike]) -> None:
        """Write down that from this message on readings are needed, and how their stamps are read."""
        self._format = self._format or format_of(self.spec, given[:1000])
        self.intervals.counted = (sequence, -1)
        self._write("start", {"format": self._format, "intervals": self.intervals.to_json()})

    # ------------------------------------------------------------------ closing

    def _close(self, start_s: int) -> None:
        decision, used, dropped = self.detection.cube.decide(start_s)
        self.intervals.closed(start_s, used, dropped)
        self._warn_of_late(used)
        INTERVALS.labels(self.name).inc()
        RECORDS.labels(self.name).inc(used)
        data = {**decision.to_json(), "intervals": self.intervals.to_json()}
        data |= {"files": self._news, "format": self._format} if self._files else {}
        self._news = {}
        self._pending = (
            Entry(self._log.last + 1, "interval", data, decision.values, decision.counts),
            None,
        )
        self._settle(decision)

    def _warn_of_late(self, used: int) -> None:
        """Say once, before silence is told, that records do come but are too old to be used."""
        counts = self.intervals.counts
        found = judge_arrivals(counts.rows, counts.late, counts.late_in_a_row, self.spec.delay_s)
        if used or found is None or not counts.late_in_a_row:
            self._warned = self._warned and not used
        elif not self._warned:
            self._warned = True
            message, action = found
            self._around.journal.write(
                "detector", self.name, "records are too old", found=message, action=action
            )

    def _write(self, kind: str, data: dict[str, Any]) -> None:
        self._pending = (Entry(self._log.last + 1, kind, data), None)
        self._settle()

    def _settle(self, decided: Decision | None = None) -> None:
        """Finish the entry under way: log, score, store. What failed (a full disk) is tried again at the next call."""
        if self._pending is None:
            return
        entry, scored = self._pending
        if self._log.last < entry.number:
            self._log.append(entry)
            self._durable = int(entry.data["intervals"]["seen"][0])
            if entry.kind == "feedback":
                self._learn(entry)
        if entry.kind == "interval" and scored is None:
            if decided is None:
                decided = Decision.from_json(entry.data, entry.values, entry.counts)
            scored = self.detection.score(decided)
            self._pending = (entry, scored)
        self._store(entry, scored)
        self._pending = None

    def _store(self, entry: Entry, scored: Scored | None) -> None:
        """Store what an entry led to, once."""
        ids = entry.data.get("ids", [])
        self._effects.store(
            entry.number,
            scored,
            counts=self.intervals.counts,
            learned_before=self._learned_before,
            waiting=self.detection.cube.waiting(),
            applied=ids,
        )
        self._told = _shown(self.facts())

    # ------------------------------------------------------------------ what people see meanwhile

    def facts(self) -> dict[str, Any]:
        """Return what was counted so far, open intervals included."""
        progress = progress_of(self.spec, self._learned_before + self.intervals.counts.intervals)
        return facts_of(progress, self.intervals.counts, self.detection.cube.waiting())

    def news(self) -> dict[str, Any] | None:
        """Return the facts if more is late, doubled or refused than was told; None = nothing new."""
        facts = self.facts()
        return None if _shown(facts) == self._told else facts

    def told(self, facts: Mapping[str, Any]) -> None:
        """Learn that these facts are stored."""
        self._told = _shown(facts)

    # ------------------------------------------------------------------ feedback

    def learn(self, waiting: Sequence[Feedback]) -> None:
        """Learn what people said, in the order in which they said it."""
        if not waiting:
            return
        self._settle()
        words = [
            {
                "measure": one.measure,
                "dimensions": [one.dimensions.get(name, "") for name in self.spec.dimensions],
                "value": one.value,
                "is_anomaly": one.is_anomaly,
                "reason": one.reason,
            }
            for one in waiting
            if one.value is not None
        ]
        ids = [one.id for one in waiting]
        self._write("feedback", {"ids": ids, "words": words, "intervals": self.intervals.to_json()})

    def _learn(self, entry: Entry) -> None:
        for word in entry.data["words"]:
            key = (word["measure"], tuple(word["dimensions"]))
            if not self.detection.learn(key, word["value"], word["is_anomaly"], word["reason"]):
                self._around.journal.write("detector", self.name, "feedback on an unknown series", series=key)

    # ------------------------------------------------------------------ snapshots

    def snapshot_if_due(self) -> None:
        """Write a snapshot after 288 intervals, or 10 minutes with something new."""
        new = self._log.last - self._snapshot_entry
        waited = self._around.monotonic() - self._snapshot_at
        if new >= SNAPSHOT_INTERVALS or (new > 0 and waited >= SNAPSHOT_S):
            self.snapshot()

    def snapshot(self) -> None:
        """Write down the memory as it stands after the last entry, and drop the log before it."""
        self._settle()
        state = {
            "detection": self.detection.to_json(),
            "format": self._format,
            "files": self._files,
            "learned_before": self._learned_before,
            "started": self._durable is not None,
            "intervals": self.intervals.to_json(),
        }
        kept = write_snapshot(
            self._folder / "snapshots", Snapshot(self._log.last, state, self.detection.scorer)
        )
        self._log.turn_over(keep_after=kept)
        self._snapshot_entry, self._snapshot_at = self._log.last, self._around.monotonic()

    def close(self) -> None:
        """Bring the detector to rest."""
        try:
            if self._log.last > self._snapshot_entry:
                self.snapshot()
        except (MastheadError, OSError) as error:  # the log has it all: only the next start takes longer
            self._around.journal.write("detector", self.name, "no snapshot", error=str(error))
        self.abandon()

    def abandon(self) -> None:
        """Let go of the files as they are."""
        self._log.close()


def _shown(facts: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the counts whose change people see before the interval closes."""
    return tuple(int(facts[name]) for name in ("late", "duplicates", "refused"))
