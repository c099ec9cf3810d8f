"""Transactions replayed as they happened: one after another at a pace, labels when they arrive, scores held against the truth.

The time of the data is compressed: whatever lies between two transactions, they are sent `1 / rate` seconds apart, and a
label goes out when the transactions have reached the time at which it arrived. Where the transactions go is not known
here: a target takes them.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from masthead.base.clock import DAY_US, utc
from masthead.base.errors import InvalidInput, MastheadError
from masthead.fraud.data.columns import Event, Events, Labels, day_minus
from masthead.fraud.data.events import read_events, read_labels
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema

__all__ = ["SHARE", "Material", "Plan", "Simulation", "Target", "generated", "message_of", "read_material"]

MOST_RATE, MOST_DURATION_S, MOST_CONCURRENT = 2_000.0, 3_600.0, 64
SHARE = 0.035  # of fraud in generated transactions, as in those of IEEE-CIS
_TRIES = 3  # at generating as many as are wanted: near the end there may be few frauds
HISTORY = 10_000  # transactions before the first one, so that the graph is not empty
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How to replay.

    Attributes:
        rate: Transactions a second.
        duration_s: How long.
        concurrent: Requests at once.
        fraud_share: Of those sent; None = `SHARE` of generated ones, and as it is in files.
        seed: Of what is generated.
        history: How many transactions are stored before the first is sent.
    """

    rate: float = 50.0
    duration_s: float = 300.0
    concurrent: int = 8
    fraud_share: float | None = None
    seed: int = 1
    history: int = HISTORY

    def __post_init__(self) -> None:
        bounds: tuple[tuple[str, float | None, float, float], ...] = (
            ("rate", self.rate, 0.1, MOST_RATE),
            ("duration", self.duration_s, 1, MOST_DURATION_S),
            ("concurrent", self.concurrent, 1, MOST_CONCURRENT),
            ("fraud_share", self.fraud_share, 0.001, 0.5),
            ("history", self.history, 0, 1_000_000),
        )
        for name, value, least, most in bounds:
            if value is not None and not least <= value <= most:
                raise InvalidInput(f"{name}: expected {least:g} to {most:g}, got {value:g}", field=name)

    @property
    def transactions(self) -> int:
        """Return how many are sent."""
        return max(1, round(self.rate * self.duration_s))


@dataclass(frozen=True, slots=True)
class Material:
    """Transactions in the order of time, and what is true of them.

    Attributes:
        first: The row from which they are sent; those before are history.
        truth: (n,) int8: 1 fraud, 0 legitimate, -1 unknown.
        rings: (n,) int64: which ring, below 0 = none.
    """

    schema: Schema
    events: Events
    labels: Labels
    first: int
    truth: NDArray[np.int8]
    rings: NDArray[np.int64]

    def write_history(self, folder: Path) -> tuple[Path, Path] | None:
        """Write what happened before the first one, and the labels that had arrived; return both files, None: nothing."""
        if not self.first:
            return None
        rows = [self.message(row) for row in range(self.first)]
        names = dict.fromkeys(name for row in rows for name in row)
        pq.write_table(
            pa.table({name: [row.get(name) for row in rows] for name in names}), folder / "history.parquet"
        )
        told = [
            (row, place) for place, row in enumerate(self.labels.rows.tolist()) if self._is_past(row, place)
        ]
        pq.write_table(
            pa.table(
                {
                    self.schema.id: pa.array([self.events.ids[row] for row, _ in told], pa.string()),
                    "value": pa.array([int(self.labels.value[place]) for _, place in told], pa.int8()),
                    "arrived_at": pa.array(
                        [utc(int(self.labels.arrived_at[place]) / 1e6).isoformat() for _, place in told],
                        pa.string(),
                    ),
                }
            ),
            folder / "history-labels.parquet",
        )
        return folder / "history.parquet", folder / "history-labels.parquet"

    def _is_past(self, row: int, place: int) -> bool:
        return 0 <= row < self.first and int(self.labels.arrived_at[place]) < int(self.events.ts[self.first])

    def message(self, row: int) -> Json:
        """Return a transaction as it is sent."""
        given = self.events.raw_times[row].as_py()
        return message_of(
            self.schema, self.events.event(row), given.isoformat() if isinstance(given, datetime) else given
        )

    def steps(self) -> "Iterator[tuple[int, list[int]]]":
        """Yield each row to be sent, with the places of the labels that go out before it."""
        arrived, rows = self.labels.arrived_at.tolist(), self.labels.rows.tolist()
        place = 0
        for row in range(self.first, len(self.events)):
            due: list[int] = []
            while place < len(arrived) and arrived[place] <= int(self.events.ts[row]):
                if rows[place] >= 0 and not self._is_past(rows[place], place) and rows[place] < row:
                    due.append(place)
                place += 1
            yield row, due


def message_of(schema: Schema, event: Event, time_given: object) -> Json:
    """Return the flat message that parses to this event."""
    found: Json = {schema.id: event.id, schema.time.column: time_given}
    for relation, key in zip(schema.relations, event.keys, strict=True):
        if key is not None:
            parts = orjson.loads(key) if len(relation.columns) > 1 else [key]
            for name, part in zip(relation.columns, parts, strict=True):
                _put(schema, found, name, part, event.ts)
    for name, text in zip(schema.categoricals, event.categories, strict=True):
        _put(schema, found, name, text, event.ts)
    for name, number in zip(schema.numerics, event.numerics.tolist(), strict=True):
        _put(schema, found, name, None if math.isnan(number) else number, event.ts)
    if schema.amount is not None and not math.isnan(event.amount):
        found.setdefault(schema.amount, event.amount)
    return found


def _put(schema: Schema, into: Json, name: str, value: Any, ts: int) -> None:
    """Set the column that a value came from; a difference of days is its own inverse."""
    derived = schema.derive.get(name)
    if value is None:
        return
    if derived is None:
        into.setdefault(name, value)
    elif derived.op == "day_minus":
        into.setdefault(derived.column, day_minus(ts, float(value)))
    else:
        into.setdefault(derived.column, value)


def generated(plan: Plan, folder: Path) -> Material:
    """Return made-up transactions with rings in them; the tables are written into the folder."""
    share = SHARE if plan.fraud_share is None else plan.fraud_share
    plan = replace(plan, fraud_share=share)
    # Frauds or others are left out until the share is right, so more are made than are sent; and a fourteenth for luck.
    more = 1.07 * max(share / SHARE, (1 - share) / (1 - SHARE))
    wanted = math.ceil((plan.transactions * more + plan.history) * 1.03) + 100
    for _ in range(_TRIES):
        generate(wanted, plan.seed, folder)
        found = read_material(Schema.read(folder / "schema.toml"), [folder], folder / "labels.csv", plan)
        if found.first >= plan.history and len(found.events) - found.first >= plan.transactions:
            break
        wanted += wanted // 2
    return found


def read_material(schema: Schema, paths: list[Path], labels: Path | None, plan: Plan) -> Material:
    """Return the last transactions of files: as many as are sent, and the history before them.

    Raises:
        InvalidInput: The files cannot be read, or hold no transaction.
    """
    tables = [
        path / name for path in paths if path.is_dir() for name in _GENERATED if (path / name).is_file()
    ]
    events = read_events(schema, tables or paths)
    marks = read_labels(schema, events, labels)
    if not len(events):
        raise InvalidInput("source: expected at least one usable transaction, got none")
    truth = np.full(len(events), -1, np.int8)
    known = marks.rows >= 0
    truth[marks.rows[known]] = marks.value[known]
    rings = _rings(paths, events)
    # Made-up rings that would go on beyond the last day all pay in its last minutes: nobody would believe that.
    whole = events.ts < int(events.ts[-1]) - DAY_US if tables else np.ones(len(events), bool)
    kept, first = _chosen(truth, whole, plan)
    place = np.full(len(events), -1, np.int64)
    place[kept] = np.arange(len(kept))
    there = known & (place[marks.rows] >= 0)
    ours = Labels(
        rows=place[marks.rows[there]],
        ids=[marks.ids[one] for one in np.flatnonzero(there).tolist()],
        value=marks.value[there],
        arrived_at=marks.arrived_at[there],
    )
    return Material(schema, events.take(kept), ours, first, truth[kept], rings[kept])


_GENERATED = ("train_transaction.csv", "train_identity.csv")


def _chosen(truth: NDArray[np.int8], whole: NDArray[np.bool_], plan: Plan) -> tuple[NDArray[np.int64], int]:
    """Return the rows of history and those sent, and how many are history.

    Those sent have the wished share of fraud: of the shortest last stretch of time that has enough of both, as many as
    are wanted are drawn. What is before it is history as it is.
    """
    rows = np.flatnonzero(whole)
    frauds, others = np.flatnonzero(whole & (truth == 1)), np.flatnonzero(whole & (truth != 1))
    share = plan.fraud_share
    if share is None or not len(frauds) or not len(others):
        kept = rows[-(plan.transactions + plan.history) :]
        return kept, max(0, len(kept) - plan.transactions)
    total = min(plan.transactions, len(frauds) / share, len(others) / (1 - share))
    bad = max(1, round(share * total))
    good = max(1, round(total) - bad)
    start = min(frauds[-bad], others[-good])
    rng = np.random.default_rng([plan.seed, 2])
    sent = np.sort(
        np.concatenate(
            [
                rng.choice(one[one >= start], count, replace=False)
                for one, count in ((frauds, bad), (others, good))
            ]
        )
    )
    before = rows[rows < start][-plan.history :] if plan.history else rows[:0]
    return np.concatenate([before, sent]), len(before)


def _rings(paths: list[Path], events: Events) -> NDArray[np.int64]:
    """Return the ring of each transaction where the generator has told them; -1 = none or nobody knows."""
    found = np.full(len(events), -1, np.int64)
    path = next((one / "rings.csv" for one in paths if (one / "rings.csv").is_file()), None)
    if path is not None:
        lines = (line.split(",") for line in path.read_text().splitlines()[1:])
        told = {identity: int(ring) for identity, ring in lines}
        found[:] = [told.get(identity, -1) for identity in events.ids]
    return found


# ---------------------------------------------------------------------------------------------- the run


class Target(Protocol):
    """Takes what is replayed. Called from several threads."""

    def score(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the decision on a transaction; raises MastheadError."""

    def label(self, id: str, value: int, arrived_at: int) -> None:
        """Tell what became known of a transaction, UTC microseconds."""


@dataclass(slots=True)
class _Tally:
    """Decisions against the truth."""

    sent: int = 0
    failed: int = 0
    labels: int = 0
    hits: int = 0
    alarms: int = 0
    frauds: int = 0
    seconds: list[float] = field(default_factory=list)
    scores: list[tuple[float, int]] = field(default_factory=list)
    seen: dict[int, int] = field(default_factory=dict)
    caught: dict[int, int] = field(default_factory=dict)
    problem: str = ""


class Simulation:
    """One replay. `run` goes to the end; the other verbs may be called meanwhile."""

    def __init__(self, material: Material, plan: Plan) -> None:
        self.material, self.plan = material, plan
        self._tally, self._lock = _Tally(), threading.Lock()
        self._stopped = threading.Event()
        self._began = self._ended = 0.0

    def run(self, target: Target, *, told: Callable[[Json], None] = lambda found: None) -> Json:
        """Send everything when it is due; return how it came out, as `progress` does.

        Args:
            told: Is given the progress twice a second.
        """
        self._began = time.monotonic()
        next_word = self._began
        waiting: set[Future[None]] = set()
        with ThreadPoolExecutor(self.plan.concurrent, thread_name_prefix="simulate") as pool:
            for number, (row, due) in enumerate(self.material.steps()):
                at = self._began + number / self.plan.rate
                while (now := time.monotonic()) < at and not self._stopped.is_set():
                    self._stopped.wait(min(at - now, 0.25))
                if self._stopped.is_set():
                    break
                waiting = {one for one in waiting if not one.done()}
                while (
                    len(waiting) >= 2 * self.plan.concurrent
                ):  # a slow server is not given more than it can take
                    time.sleep(0.002)
                    waiting = {one for one in waiting if not one.done()}
                waiting.add(pool.submit(self._send, target, row, due))
                if time.monotonic() >= next_word:
                    next_word = time.monotonic() + 0.5
                    told(self.progress())
        self._ended = time.monotonic()
        found = self.progress()
        told(found)
        return found

    def stop(self) -> None:
        """End before the time."""
        self._stopped.set()

    def _send(self, target: Target, row: int, due: list[int]) -> None:
        labels = self.material.labels
        try:
            for place in due:
                target.label(labels.ids[place], int(labels.value[place]), int(labels.arrived_at[place]))
            began = time.perf_counter()
            decision = target.score(self.material.message(row))
            seconds = time.perf_counter() - began
        except (MastheadError, OSError) as error:
            with self._lock:
                self._tally.failed += 1
                self._tally.problem = str(error)
            return
        with self._lock:
            self._count(row, decision, seconds, len(due))

    def _count(self, row: int, decision: Mapping[str, Any], seconds: float, labels: int) -> None:
        tally, truth, ring = self._tally, int(self.material.truth[row]), int(self.material.rings[row])
        flagged = bool(decision["flag"])
        tally.sent += 1
        tally.labels += labels
        tally.frauds += truth == 1
        tally.hits += flagged and truth == 1
        tally.alarms += flagged and truth != -1
        tally.seconds.append(seconds)
        if truth >= 0:
            tally.scores.append((float(decision["pred_prob"]), truth))
        if ring >= 0:
            tally.seen[ring] = tally.seen.get(ring, 0) + 1
            if flagged:
                tally.caught.setdefault(ring, tally.seen[ring])

    def progress(self) -> Json:
        """Return counts, precision and recall of what was flagged, average precision, rings and latency."""
        with self._lock:
            tally = self._tally
            took = np.sort(np.array(tally.seconds)) * 1e3
            scores = np.array(tally.scores[-20_000:]).reshape(-1, 2)
            found: Json = {
                "sent": tally.sent,
                "failed": tally.failed,
                "problem": tally.problem,
                "total": len(self.material.events) - self.material.first,
                "labels": tally.labels,
                "frauds": tally.frauds,
                "flagged": tally.alarms,
                "caught": tally.hits,
                "precision": _share(tally.hits, tally.alarms),
                "recall": _share(tally.hits, tally.frauds),
                "rings": sum(1 for count in tally.seen.values() if count >= 2),
                "rings_caught": sum(1 for ring in tally.caught if tally.seen[ring] >= 2),
                "caught_at": [[ring, place] for ring, place in tally.caught.items() if tally.seen[ring] >= 2],
            }
        ended = self._ended or time.monotonic()
        seconds = max(1e-9, ended - self._began) if self._began else 0.0
        return {
            **found,
            "average_precision": _average_precision(scores),
            "seconds": round(seconds, 2),
            "per_second": round(found["sent"] / seconds, 1) if seconds else 0.0,
            "p50_ms": _at(took, 0.5),
            "p99_ms": _at(took, 0.99),
            "state": "finished" if self._ended else ("running" if self._began else "preparing"),
        }


def _average_precision(scores: NDArray[np.float64]) -> float | None:
    from masthead.learn.scores import average_precision

    found = average_precision(scores[:, 1].astype(np.int8), scores[:, 0])
    return None if found is None else round(found, 4)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _at(took: NDArray[np.float64], share: float) -> float | None:
    return round(float(took[min(len(took) - 1, int(share * len(took)))]), 2) if len(took) else None
