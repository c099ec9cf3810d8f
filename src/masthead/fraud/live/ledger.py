"""What the writer does with a group: compute, score, insert, commit; and the states in memory that follow the log.

A state is a cache of the log. Before a group is written it is brought to the log's head, whoever wrote that; should a
commit fail, the states are ahead of the log: they are rebuilt before the next answer.
"""

import heapq
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, MastheadError, shown
from masthead.base.log import get_logger
from masthead.fraud.data.events import Event
from masthead.fraud.data.schema import Schema
from masthead.fraud.desk.desk import Desk
from masthead.fraud.live.counting import LATE, REBUILD_S, REBUILDS
from masthead.fraud.live.packing import amount_of, body_of, feat_of
from masthead.fraud.live.records import (
    GraphStore,
    Group,
    Head,
    History,
    NewDecision,
    NewLabel,
    NewTransaction,
)
from masthead.fraud.live.replaying import take_history
from masthead.fraud.live.snapshots import Frozen, freeze, read_snapshot, snapshot_path, write_snapshot
from masthead.fraud.live.terms import is_released
from masthead.fraud.live.writer import Job
from masthead.fraud.scoring.state import GraphState

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["Book", "Differs", "Lane", "Ledger", "Mark", "Marking", "Scoring", "Swap"]

SNAPSHOT_EVERY = 100_000  # entries of the log
_DAY_US = 86_400_000_000
_REBUILT_BY = ("failed commit", "taken away")


@dataclass(frozen=True, slots=True)
class Lane:
    """A model under its name; one in shadow scores everything and decides nothing.

    Attributes:
        release_share: Of would-be reviews, how many pass.
    """

    alias: str
    model: "FraudModel"
    shadow: bool = False
    release_share: float = 0.0

    def decide(self, transaction: str, probability: float) -> dict[str, Any]:
        """Return a decision as JSON values."""
        cuts = self.model.thresholds
        return {
            "id": transaction,
            "flag": probability >= cuts.review,
            "pred_prob": probability,
            "threshold": cuts.review,
            "action": cuts.action(probability),
            "model": self.model.id,
            "reasons": [],
        }

    def release(self, told: dict[str, Any]) -> dict[str, Any]:
        """Return a decision as it is told: of would-be reviews a share passes, and says so."""
        if told["action"] == "review" and is_released(told["id"], self.release_share):
            return {**told, "action": "pass", "released": True}
        return told


@dataclass(frozen=True, slots=True)
class Scoring:
    """A request: score these transactions of a space by the model of an alias; "" = the newest that is not in shadow."""

    space: str
    events: Sequence[Event]
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A label: what is said of a transaction, by whom, and when it became known (UTC microseconds; None: now)."""

    id: str
    value: int
    source: str
    arrived_at: int | None = None


@dataclass(frozen=True, slots=True)
class Marking:
    """A request: these labels of a space."""

    space: str
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Swap:
    """A request: serve these spaces from now on, and no others."""

    books: Mapping[str, "Book"]


class Book:
    """One space in memory: the models that serve it and the states that they look at.

    Args:
        lanes: The newest first; models with the same columns share a state.
        snapshots: The folder that keeps what is remembered over a restart; None: the log alone does.
    """

    def __init__(
        self, space: str, schema: Schema, lanes: Sequence[Lane], *, snapshots: Path | None = None
    ) -> None:
        self.snapshot = None if snapshots is None else snapshot_path(snapshots, space)
        self.space, self.schema, self.lanes = space, schema, tuple(lanes)
        self.relations = tuple(relation.name for relation in schema.relations)
        self.last, self.newest, self.epoch = 0, 0, -1
        self.kept = 0  # up to which number a snapshot was made
        self._begin()

    def _begin(self) -> None:
        layouts = list(dict.fromkeys(lane.model.layout for lane in self.lanes))
        self.states = [GraphState(layout) for layout in layouts]
        self.place = {lane.alias: layouts.index(lane.model.layout) for lane in self.lanes}
        self.eids: dict[tuple[str, str], int] = {}
        self.waiting: set[str] = set()  # ids with labels and no transaction yet
        self._keys: dict[int, str] = {}
        self.coming: list[tuple[int, int, int, int]] = []  # labels by arrival

    def rehearse(self) -> None:
        """Go once through everything that is compiled with its first use, so that no transaction waits for it."""
        width = len(self.relations)
        key = ("rehearsal",) * width
        numerics = np.full(len(self.schema.numerics), np.nan)
        event = Event("", 0, 1.0, key, numerics, (None,) * len(self.schema.categoricals))
        for lane in self.lanes:
            state = GraphState(lane.model.layout)
            lane.model.scorer.score(state.observe(1, event))
            state.label(1, 1, 1)
            one = History(
                *(
                    np.array([2], np.int64),
                    np.array([0], np.int64),
                    np.array([1.0]),
                    np.ones((1, width), np.int32),
                ),
                *(
                    np.array([3], np.int64),
                    np.array([2], np.int64),
                    np.array([1], np.int8),
                    np.array([1], np.int64),
                ),
            )
            take_history(state, one, {1: "rehearsal"})

    def rebuild(self, store: GraphStore, head: Head) -> None:
        """Begin anew and take all that the log holds; what a snapshot holds of it is not read again."""
        self.last, self.newest, self.epoch = 0, 0, head.epoch
        self._begin()
        if self.snapshot is not None:
            read_snapshot(self.snapshot, self, store, head)
            self.kept = self.last
        self.follow(store, head.last)

    def thaw(
        self, told: Mapping[str, Any], eids: dict[tuple[str, str], int], coming: NDArray[np.int64]
    ) -> None:
        """Take what a snapshot says of everything but the states."""
        self.last, self.newest = told["last"], told["newest"]
        self.eids, self._keys = eids, {eid: key for (_, key), eid in eids.items()}
        self.waiting = set(told["waiting"])
        self.coming = list(zip(*coming.T.tolist(), strict=True))  # a heap stays one

    def follow(self, store: GraphStore, last: int) -> None:
        """Take what the log holds behind what was taken, up to a number."""
        history = store.replay(self.last + 1, space=self.space, relations=len(self.relations), until=last)
        self.newest = max(self.newest, int(history.ts.max()) if len(history.ts) else 0)
        due = history.arrived_at <= self.newest
        for eid, rel, key in store.entity_keys(space=self.space, from_eid=max(self._keys, default=0) + 1):
            self.eids[rel, key] = eid
            self._keys[eid] = key
        for state in self.states:
            take_history(state, history.told(due), self._keys)
        for place in np.flatnonzero(~due).tolist():
            self.hear(
                int(history.label_seq[place]),
                int(history.labelled[place]),
                int(history.value[place]),
                int(history.arrived_at[place]),
            )
        self.arrive(self.newest)
        self.waiting |= store.waiting_labels(self.space, from_seq=self.last + 1)
        self.last = last

    def hear(self, label_seq: int, seq: int, value: int, arrived_at: int) -> None:
        """Take a label of a transaction that is there; it is known to those that happen when it arrives, or later."""
        heapq.heappush(self.coming, (arrived_at, label_seq, seq, value))

    def arrive(self, now: int) -> None:
        """Make labels known that have arrived by a time, which is that of transactions."""
        while self.coming and self.coming[0][0] <= now:
            at, _, seq, value = heapq.heappop(self.coming)
            for state in self.states:
                state.label(seq, value, at)

    def know(self, made: Mapping[tuple[str, str], int]) -> None:
        """Take new entities, whose numbers rise."""
        self.eids |= made
        self._keys |= {eid: key for (_, key), eid in made.items()}

    def lane(self, alias: str) -> Lane:
        """Return the lane of an alias, "" = the first that decides.

        Raises:
            Conflict: There is none.
        """
        for lane in self.lanes:
            if lane.alias == alias or (not alias and not lane.shadow):
                return lane
        raise Conflict(f"model: no model named {shown(alias)} decides in the space {self.space}; deploy one")


def present(now: int, newest: int) -> int:
    """Return the time at which something said now is known, as transactions count time.

    That is now, but where they happened long ago, as in a replay of an old year: there it is the newest's.
    """
    return now if abs(now - newest) <= _DAY_US or not newest else newest


@dataclass(slots=True)
class _Page:
    """What one group is about to write."""

    seq: int
    now: int
    found: dict[tuple[str, str], NewTransaction] = field(default_factory=dict)
    told: dict[int, bytes] = field(default_factory=dict)
    entities: list[tuple[int, str, str, str]] = field(default_factory=list)
    last_entity: int = -1
    transactions: list[NewTransaction] = field(default_factory=list)
    links: list[tuple[int, int, int]] = field(default_factory=list)
    decisions: list[NewDecision] = field(default_factory=list)
    labels: list[NewLabel] = field(default_factory=list)

    def next(self) -> int:
        self.seq += 1
        return self.seq

    def number(self, group: Group, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return numbers for new entities; they are written at the end, all at once."""
        if self.last_entity < 0:
            self.last_entity = group.last_entity()
        found = {pair: self.last_entity + place for place, pair in enumerate(pairs, start=1)}
        self.last_entity += len(pairs)
        return found


class _Broken(Exception):
    """A job failed in a way that nobody foresaw: the states may be half changed."""

    def __init__(self, job: Job, error: Exception) -> None:
        super().__init__(str(error))
        self.job, self.error = job, error


class Ledger:
    """Writes groups of requests and keeps the states of the served spaces. `work` is for one thread."""

    def __init__(self, store: GraphStore, clock: Clock, desk: Desk | None = None) -> None:
        self._store, self._clock, self._desk = store, clock, desk
        self.books: Mapping[str, Book] = {}
        self._head = Head(0, 0)
        self._dirty = False
        self._keeping: threading.Thread | None = None

    def work(self, jobs: Sequence[Job]) -> None:
        """Answer each job, once everything of all of them is durable."""
        left = list(jobs)
        while left:
            try:
                if self._dirty:
                    self._rebuild(self._store.head(), _REBUILT_BY[0])
                self._write(left)
                return
            except _Broken as broken:
                self._dirty = True
                broken.job.error = broken.error
                left.remove(broken.job)
            except BaseException:
                self._dirty = True
                raise

    def _write(self, jobs: Sequence[Job]) -> None:
        with self._store.group() as group:
            self._catch_up(group.head)
            page = _Page(group.head.last, int(self._clock.time() * 1e6))
            self._look_up(group, jobs, page)
            for job in jobs:
                try:
                    job.found, job.error = self._do(group, job.given, page), None
                except MastheadError as error:
                    job.error = error
                except Exception as error:
                    raise _Broken(job, error) from error
            group.add_entities(page.entities)
            group.add(page.transactions, page.links, page.decisions)
            group.note(page.labels)
        self._head = Head(page.seq, self._head.epoch)
        for book in self.books.values():
            book.last = page.seq
            if page.seq - book.kept >= SNAPSHOT_EVERY and book.snapshot is not None:
                self._keep_beside(book, book.snapshot)

    def _keep_beside(self, book: Book, path: Path) -> None:
        """Let a thread write a snapshot; only the copy in memory holds up the next group."""
        if self._keeping is not None and self._keeping.is_alive():
            return
        book.kept = book.last
        args = (path, freeze(book), self._store)
        self._keeping = threading.Thread(target=_keep_one, args=args, name="fraud-snapshot", daemon=True)
        self._keeping.start()

    def keep(self) -> None:
        """Write a snapshot of every space that has grown. To be called when nothing is written any more."""
        if self._keeping is not None:
            self._keeping.join()
        for book in self.books.values():
            if book.snapshot is not None and book.last > book.kept and not self._dirty:
                _keep_one(book.snapshot, freeze(book), self._store)

    def _catch_up(self, head: Head) -> None:
        """Bring the states to the log's head, when another process has written or something was taken away."""
        if head.epoch != self._head.epoch or head.last < self._head.last:
            self._rebuild(head, _REBUILT_BY[1])
        elif head.last != self._head.last:
            for book in self.books.values():
                book.follow(self._store, head.last)
        self._head = head

    def _rebuild(self, head: Head, why: str) -> None:
        with REBUILD_S.time():
            for book in self.books.values():
                book.rebuild(self._store, head)
        REBUILDS.labels(why).inc()
        self._head, self._dirty = head, False

    def _look_up(self, group: Group, jobs: Sequence[Job], page: _Page) -> None:
        """Find which transactions of a group are there already."""
        wanted: dict[str, list[str]] = {}
        for job in jobs:
            if isinstance(job.given, Scoring):
                wanted.setdefault(job.given.space, []).extend(event.id for event in job.given.events)
            elif isinstance(job.given, Marking):
                wanted.setdefault(job.given.space, []).extend(mark.id for mark in job.given.marks)
        for space, ids in wanted.items():
            page.found |= {(space, id): row for id, row in group.find(space, ids).items()}

    def _do(self, group: Group, given: Any, page: _Page) -> Any:
        if isinstance(given, Scoring):
            book = self.books.get(given.space)
            if book is None:
                raise Conflict(f"model: none is deployed in the space {given.space}; deploy one")
            lane = book.lane(given.alias)
            return [self._one(group, book, lane, event, page) for event in given.events]
        if isinstance(given, Marking):
            return [self._mark(group, given.space, mark, page) for mark in given.marks]
        assert isinstance(given, Swap)
        for book in given.books.values():
            if book.epoch == group.head.epoch:
                book.follow(self._store, group.head.last)
            else:  # something was taken away since it was built
                book.rebuild(self._store, group.head)
        self.books = given.books
        return None

    # ------------------------------------------------------------------ one transaction

    def _one(
        self, group: Group, book: Book, lane: Lane, event: Event, page: _Page
    ) -> tuple[bytes, bool] | MastheadError:
        """Return the decision on one transaction and whether it is new; a Conflict with what is stored as a value."""
        known = page.found.get((book.space, event.id))
        if known is not None:
            return _repeated(group, book, known, event, page)
        seq = page.next()
        ents = self._ents(group, book, event, page)
        book.arrive(event.ts)
        vectors = [state.observe(seq, event) for state in book.states]
        if event.id in book.waiting:
            book.waiting.discard(event.id)
            for label_seq, value, at in group.labels_of(book.space, event.id):
                book.hear(label_seq, seq, value, at)
        answer, score, flagged = b"", 0.0, False
        for one in book.lanes:
            decides = one is lane
            if not (decides or one.shadow):
                continue
            vector = vectors[book.place[one.alias]]
            _, probability = one.model.scorer.score(vector)
            told = one.decide(event.id, probability)
            if self._desk is not None:
                told = self._desk.judge(book.space, one.alias, book.relations, event.keys, told)
            told = one.release(told)
            body = orjson.dumps(told)
            page.decisions.append(
                NewDecision(
                    seq,
                    one.alias,
                    one.model.id,
                    int(not decides),
                    probability,
                    body,
                    zlib.compress(vector.tobytes(), 1),
                )
            )
            if decides:
                answer, score, flagged = body, probability, bool(told["flag"])
        row = NewTransaction(
            seq,
            book.space,
            event.id,
            event.ts,
            amount_of(event),
            np.array(ents, np.int32).tobytes(),
            feat_of(event),
            body_of(event),
            page.now,
            score,
            int(flagged),
        )
        page.transactions.append(row)
        page.links.extend((eid, event.ts, seq) for eid in ents if eid)
        page.found[book.space, event.id], page.told[seq] = row, answer
        if event.ts < book.newest:
            LATE.inc()
        book.newest = max(book.newest, event.ts)
        book.arrive(book.newest)
        return answer, True

    def _ents(self, group: Group, book: Book, event: Event, page: _Page) -> list[int]:
        """Return the numbers of an event's entities, 0 = no edge; those never seen are made."""
        pairs = [
            None if key is None else (rel, key) for rel, key in zip(book.relations, event.keys, strict=True)
        ]
        missing = [pair for pair in pairs if pair is not None and pair not in book.eids]
        if missing:
            book.know(page.number(group, missing))
            page.entities += [(book.eids[pair], book.space, *pair) for pair in missing]
        return [0 if pair is None else book.eids[pair] for pair in pairs]

    def _mark(self, group: Group, space: str, mark: Mark, page: _Page) -> bool:
        """Take one label; return whether its transaction is there."""
        seq, row = page.next(), page.found.get((space, mark.id))
        book = self.books.get(space)
        at = mark.arrived_at
        if at is None:
            at = present(page.now, group.newest(space) if book is None else book.newest)
        page.labels.append(NewLabel(seq, space, mark.id, mark.value, mark.source, at))
        if book is not None:
            if row is None:
                # Its transaction may come in this very group: it must find the label in the table.
                group.note(page.labels)
                page.labels.clear()
                book.waiting.add(mark.id)
            else:
                book.hear(seq, row.seq, mark.value, at)
                book.arrive(book.newest)
        return row is not None


def _keep_one(path: Path, frozen: Frozen, store: GraphStore) -> None:
    try:
        write_snapshot(path, frozen, store)
    except Exception as error:  # a full disk, say: the next start reads the tables
        get_logger("fraud").warning("a snapshot was not written", error=repr(error))


def _repeated(
    group: Group, book: Book, known: NewTransaction, event: Event, page: _Page
) -> tuple[bytes, bool] | MastheadError:
    """Return what was answered to a transaction before; a Conflict when it was another one."""
    ents = [
        0 if key is None else book.eids.get((rel, key), -1)
        for rel, key in zip(book.relations, event.keys, strict=True)
    ]
    given = (event.ts, amount_of(event), np.array(ents, np.int32).tobytes(), feat_of(event), body_of(event))
    stored = (known.ts, known.amount, known.ents, known.feat, known.body)
    if given == stored:
        told = page.told.get(known.seq) or group.decision(known.seq)
        return (told or b"", False)
    names = ("time", "amount", "entities", "numerics", "categories")
    differ = [name for name, a, b in zip(names, given, stored, strict=True) if a != b]
    return Differs(known, event, differ)


class Differs(Conflict):
    """The same id with other content; the service, which may read, says what is stored."""

    def __init__(self, known: NewTransaction, event: Event, differ: Sequence[str]) -> None:
        super().__init__(
            f"id: transaction {shown(event.id)} is stored with other {', '.join(differ)}", field="id"
        )
        self.known, self.event, self.differ = known, event, tuple(differ)
