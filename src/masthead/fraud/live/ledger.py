"""What the writer does with a group: compute, score, insert, commit; and the states in memory that follow the log.

A state is a cache of the log. Before a group is written it is brought to the log's head, whoever wrote that; should a
commit fail, the states are ahead of the log: they are rebuilt before the next answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, MastheadError, shown
from masthead.base.log import get_logger
from masthead.fraud.data.events import Event
from masthead.fraud.live.book import Book, Lane, present
from masthead.fraud.live.counting import LATE, REBUILD_S, REBUILDS
from masthead.fraud.live.desk import Desk
from masthead.fraud.live.snapshots import Frozen, freeze, write_snapshot
from masthead.fraud.live.writer import Job
from masthead.fraud.store.aside import Aside
from masthead.fraud.store.links import EVERY, link
from masthead.fraud.store.log import Group, Head, TransactionLog
from masthead.fraud.store.packing import amount_of, body_of, differing, ents_of, feat_of
from masthead.fraud.store.records import NewDecision, NewLabel, NewTransaction
from masthead.fraud.store.results import horizon, is_gone, known_labels, spelled
from masthead.fraud.store.vectors import pack_vector

__all__ = ["Differs", "Ledger", "Mark", "Marking", "Scoring", "Swap"]

SNAPSHOT_EVERY = 100_000  # entries of the log
_REBUILT_BY = ("failed commit", "taken away")


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
    decisions: list[NewDecision] = field(default_factory=list)
    labels: list[NewLabel] = field(default_factory=list)
    # Of labels: space, source, id, value, arrival.
    said: set[tuple[str, str, str, int, int]] = field(default_factory=set)

    def next(self) -> int:
        self.seq += 1
        return self.seq

    def number(self, group: Group, space: str, relation: str, key: str) -> int:
        """Return a number for a new entity; all of them are written at the end, at once."""
        if self.last_entity < 0:
            self.last_entity = group.last_entity()
        self.last_entity += 1
        self.entities.append((self.last_entity, space, relation, key))
        return self.last_entity


class _Broken(Exception):
    """A job failed in a way that nobody foresaw: the states may be half changed."""

    def __init__(self, job: Job, error: Exception) -> None:
        super().__init__(str(error))
        self.job, self.error = job, error


class Ledger:
    """Writes groups of requests and keeps the states of the served spaces. `work` is for one thread."""

    def __init__(self, store: TransactionLog, clock: Clock, desk: Desk | None = None) -> None:
        self._store, self._clock, self._desk = store, clock, desk
        self.books: Mapping[str, Book] = {}
        self._head = Head(0, 0)
        self._dirty = False
        self._linked = 0  # the links are begun up to here
        self._keeping, self._linking = Aside("fraud-snapshot"), Aside("fraud-links")

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
            self._catch_up(group)
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
            group.add(page.transactions, page.decisions)
            group.note(page.labels)
        self._head = Head(page.seq, self._head.epoch)
        for book in self.books.values():
            book.last = page.seq
            if page.seq - book.kept >= SNAPSHOT_EVERY and book.snapshot is not None and self._keeping.is_free:
                book.kept = book.last  # only the copy in memory holds up the next group
                self._keeping.start(_keep_one, book.snapshot, freeze(book), self._store)
        if page.seq - self._linked >= EVERY and self._linking.is_free:
            self._linked = page.seq
            self._linking.start(_link, self._store)

    def rest(self) -> None:
        """Wait for what goes on beside the writing. To be called when nothing is written any more."""
        self._keeping.wait()
        self._linking.wait()

    def keep(self) -> None:
        """Write a snapshot of every space that has grown. To be called when nothing is written any more."""
        self.rest()
        for book in self.books.values():
            if book.snapshot is not None and book.last > book.kept and not self._dirty:
                _keep_one(book.snapshot, freeze(book), self._store)

    def _catch_up(self, group: Group) -> None:
        """Bring the states to the log's head, when another process has written or something was taken away."""
        head = group.head
        if head.epoch != self._head.epoch or head.last < self._head.last:
            self.books = {name: book for name, book in self.books.items() if not is_gone(group, name)}
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
        """Find which transactions and labels of a group are there already."""
        wanted: dict[str, list[str]] = {}
        dated: dict[tuple[str, str], list[str]] = {}
        for job in jobs:
            if isinstance(job.given, Scoring):
                wanted.setdefault(job.given.space, []).extend(event.id for event in job.given.events)
            elif isinstance(job.given, Marking):
                wanted.setdefault(job.given.space, []).extend(mark.id for mark in job.given.marks)
                for mark in job.given.marks:
                    if mark.arrived_at is not None:
                        dated.setdefault((job.given.space, mark.source), []).append(mark.id)
        for (space, source), ids in dated.items():
            page.said |= {(space, source, *one) for one in known_labels(group, space, source, ids)}
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
        if event.ts < book.newest:
            LATE.inc()
        book.see(event.ts, page.now)
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
                    pack_vector(vector),
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
            ents_of(ents),
            feat_of(event),
            body_of(event),
            page.now,
            score,
            int(flagged),
        )
        page.transactions.append(row)
        page.found[book.space, event.id], page.told[seq] = row, answer
        return answer, True

    def _ents(self, group: Group, book: Book, event: Event, page: _Page) -> list[int]:
        """Return the numbers of an event's entities, 0 = no edge; those never seen are made."""
        found = book.numbers(event.keys)
        if -1 in found:
            for place, key in enumerate(event.keys):
                if found[place] < 0:
                    assert key is not None
                    found[place] = page.number(group, book.space, book.relations[place], key)
                    book.know(place, key, found[place])
        return found

    def _mark(self, group: Group, space: str, mark: Mark, page: _Page) -> bool:
        """Take one label, once however often it is said of one moment; return whether its transaction is there."""
        row = page.found.get((space, mark.id))
        book = self.books.get(space)
        at = mark.arrived_at
        if at is None:
            newest = group.newest(space, until=horizon(page.now)) if book is None else book.newest
            at = present(page.now, newest)
        said = (space, mark.source, mark.id, mark.value, at)
        if (
            mark.arrived_at is not None and said in page.said
        ):  # without one, it may take back what came between
            return row is not None
        page.said.add(said)
        seq = page.next()
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


def _link(store: TransactionLog) -> None:
    try:
        link(store, gently=True)
    except Exception as error:  # a full disk, say: readers look into the transactions until the next time
        get_logger("fraud").warning("links were not written", error=repr(error))


def _keep_one(path: Path, frozen: Frozen, store: TransactionLog) -> None:
    try:
        write_snapshot(path, frozen, store)
    except Exception as error:  # a full disk, say: the next start reads the tables
        get_logger("fraud").warning("a snapshot was not written", error=repr(error))


def _repeated(
    group: Group, book: Book, known: NewTransaction, event: Event, page: _Page
) -> tuple[bytes, bool] | MastheadError:
    """Return what was answered to a transaction before; a Conflict when it was another one."""
    ents = ents_of(book.numbers(event.keys))
    given = (event.ts, amount_of(event), ents, feat_of(event), body_of(event))
    stored = (known.ts, known.amount, known.ents, known.feat, known.body)
    differ = "" if given == stored else _differ(group, book, known, event, page)
    if differ:
        name = book.schema.id
        return Differs(f"{name}: {shown(event.id)} is stored with other content: {differ}", field=name)
    told = page.told.get(known.seq) or group.decision(known.seq)
    return (told or b"", False)


def _differ(group: Group, book: Book, known: NewTransaction, event: Event, page: _Page) -> str:
    new = {eid: key for eid, _, _, key in page.entities}  # of this very group: not in the table yet

    def keys(eids: Sequence[int]) -> Mapping[int, str]:
        return {**new, **spelled(group, [one for one in eids if one not in new])}

    return differing(book.schema, known, event, keys)


class Differs(Conflict):
    """The same id with other content; both are shown."""
