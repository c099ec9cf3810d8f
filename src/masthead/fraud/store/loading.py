"""History into the tables, thousands of transactions a commit. No model is needed; served states follow by themselves.

A load bears being done again: what is there with the same content counts as repeated, transactions and labels alike.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from masthead.base.errors import Conflict, InvalidInput
from masthead.fraud.data.events import Events, Labels, read_events, read_labels
from masthead.fraud.data.neptune import is_neptune, read_neptune
from masthead.fraud.data.schema import Schema
from masthead.fraud.store.links import link
from masthead.fraud.store.log import Group, TransactionLog
from masthead.fraud.store.packing import CONTENT, MOST_TEXT, differing
from masthead.fraud.store.records import NewLabel, NewTransaction
from masthead.fraud.store.results import has_labels, is_gone, known_labels, spelled

__all__ = ["Loaded", "Loading", "load_events", "load_labels", "loading", "read_transactions"]

AT_ONCE = 5_000  # a commit holds back others for about 0.2 s
LABELS_AT_ONCE = 20_000
_LINKED_AT_ONCE = 100_000  # transactions; until then readers walk through them
MOST_TOLD = 1_000
_WRITTEN_AT_ONCE = 10_000
_LABELS_SHARE = 0.1  # of the time
_PROBLEM = pa.schema(
    [
        ("row", pa.int64()),
        ("file", pa.string()),
        ("column", pa.string()),
        ("id", pa.string()),
        ("reason", pa.string()),
    ]
)


class ProblemFile:
    """Every problem of a load, as a Parquet file that is made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None

    def add(self, problem: dict[str, Any]) -> None:
        """Take one."""
        self._waiting.append(problem)
        if len(self._waiting) >= _WRITTEN_AT_ONCE:
            self._write()

    def _write(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, _PROBLEM)
        self._writer.write_table(pa.Table.from_pylist(self._waiting, _PROBLEM))
        self._waiting.clear()

    def close(self) -> None:
        """Write what waits; the file is whole then."""
        if self._waiting:
            self._write()
        if self._writer is not None:
            self._writer.close()


@dataclass(slots=True)
class Loaded:
    """What a load did.

    Attributes:
        total: Rows that were read: loaded, repeated or refused in the end.
        repeated: Were there already, with the same content, or earlier in the same files.
        refused: Could not be taken.
        labels: Were stored. labels_repeated: Were there already. labels_refused: Could not be taken.
        problems: The first thousand of rows, and of values and labels without which a row was taken: row, file,
            column, id, reason.
        kept: Takes all of them.
    """

    total: int = 0
    loaded: int = 0
    repeated: int = 0
    refused: int = 0
    labels: int = 0
    labels_repeated: int = 0
    labels_refused: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)
    kept: ProblemFile | None = None

    @property
    def done(self) -> int:
        """How many rows are dealt with."""
        return self.loaded + self.repeated + self.refused

    def note(self, **problem: Any) -> None:
        """Keep a problem: row, file, column, id, reason."""
        if len(self.problems) < MOST_TOLD:
            self.problems.append(problem)
        if self.kept is not None:
            self.kept.add(problem)

    def note_all(self, problems: pa.Table) -> None:
        """Keep what a reader could not use."""
        for row in problems.sort_by([("file", "ascending"), ("row", "ascending")]).to_pylist():
            self.note(row=row["row"], file=row["file"], column=row["column"], id="", reason=row["reason"])

    def refuse(self, events: Events, row: int, column: str, reason: str) -> None:
        """Count a transaction that cannot be taken, and tell where it stands."""
        self.refused += 1
        file, number = ("", row + 1) if events.source is None else events.source.place(row)
        self.note(row=number, file=file, column=column, id=events.ids[row][:80], reason=reason)

    def to_json(self, most: int = MOST_TOLD) -> dict[str, Any]:
        """Return the counts and the first problems as JSON values."""
        counts = {name: getattr(self, name) for name in self.__slots__ if name not in ("problems", "kept")}
        return {**counts, "problems": self.problems[:most]}


Loading = Iterator[tuple[Loaded, float | None, str]]
"""Gives, again and again, what was done so far, which share that is of all, and what goes on."""


def loading(
    store: TransactionLog,
    space: str,
    schema: Schema,
    paths: Sequence[Path],
    labels: Path | None,
    *,
    now_us: int,
    problems: Path | None = None,
) -> Loading:
    """Store the transactions of files and what is said of them; yield how far that is.

    Args:
        labels: A file of them; None: those in the data.
        problems: A file for all problems.

    Raises:
        InvalidInput: The files cannot be read. Conflict: The space is deleted meanwhile.
    """
    found = Loaded(kept=None if problems is None else ProblemFile(problems))
    try:
        yield found, None, "reading"
        events = read_transactions(schema, paths)
        marks = read_labels(schema, events, labels)
        assert events.source is not None
        found.total, found.repeated, found.refused = (
            events.source.read,
            events.source.copies,
            events.source.refused,
        )
        found.labels_refused = marks.problems.num_rows
        found.note_all(events.problems)
        found.note_all(marks.problems)
        for done in _storing(store, space, schema, events, found, now_us=now_us, at_once=AT_ONCE):
            yield found, (1 - _LABELS_SHARE) * done / len(events), f"{found.done:,} of {found.total:,} rows"
        for done, stored in _noting(store, space, marks, source="import", at_once=LABELS_AT_ONCE):
            found.labels, found.labels_repeated = stored, done - stored
            yield found, 1 - _LABELS_SHARE * (1 - done / len(marks)), f"{done:,} of {len(marks):,} labels"
    finally:
        if found.kept is not None:
            found.kept.close()


def read_transactions(schema: Schema, paths: Sequence[Path]) -> Events:
    """Return the transactions of tables, or of one folder that holds them as Neptune's CSV.

    Raises:
        InvalidInput: As `read_events` and `read_neptune`; or both kinds are given.
    """
    if not any(is_neptune(path) for path in paths):
        return read_events(schema, paths)
    if len(paths) > 1:
        raise InvalidInput(f"data: expected a folder of Neptune's CSV alone, got {len(paths)} paths")
    return read_neptune(schema, paths[0])


class _Loader:
    """Entities' numbers by code, kept from one commit to the next."""

    def __init__(self, space: str, schema: Schema, events: Events) -> None:
        self.space, self.events = space, events
        self.relations = [relation.name for relation in schema.relations]
        self.epoch, self.last, self._alone = -1, -1, False
        self._tables: list[NDArray[np.int32]] = []
        self._last_entity = 0  # of those that stand in the tables
        self._words = [  # of each categorical as they stand in JSON; a code of -1 takes the last
            np.array([*map(orjson.dumps, values), b"null"], object) for values in events.category_values
        ]

    def begin(self, group: Group) -> bool:
        """Return whether all that is stored was written here, so that no id can be there already."""
        self._alone = group.head.last == 0 or (self._alone and group.head.last == self.last)
        if group.head.epoch != self.epoch:  # entities may be gone
            self._tables = [np.zeros(len(one) + 1, np.int32) for one in self.events.vocabularies]
            self.epoch, self._last_entity = group.head.epoch, 0
        return self._alone

    def ents(self, group: Group, rows: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return (rows, relations) numbers of entities, 0 = no edge; those that are not there are made."""
        found = np.zeros((len(rows), len(self.relations)), np.int32)
        for r, (rel, table) in enumerate(zip(self.relations, self._tables, strict=True)):
            codes = self.events.codes[rows, r]
            there = codes >= 0
            unknown = np.unique(codes[there & (table[codes] == 0)]).tolist()
            if unknown:
                vocabulary = self.events.vocabularies[r]
                pairs = [(rel, vocabulary[code]) for code in unknown]
                # Where all entities were written here, none of these can be there.
                foreign = group.last_entity() != self._last_entity
                known = group.entities(self.space, pairs) if foreign else {}
                known |= group.new_entities(self.space, [pair for pair in pairs if pair not in known])
                table[unknown] = [known[pair] for pair in pairs]
                self._last_entity = -1 if foreign else group.last_entity()
            found[there, r] = table[codes[there]]
        return found

    def transactions(
        self, rows: NDArray[np.int64], ents: NDArray[np.int32], first: int, now_us: int
    ) -> Iterator[NewTransaction]:
        """Yield rows as they are stored, numbered from `first`."""
        events = self.events
        columns = (
            range(first, first + len(rows)),
            repeat(self.space),
            map(events.ids.__getitem__, rows.tolist()),
            events.ts[rows].tolist(),
            [None if one != one else one for one in events.amount[rows].tolist()],
            _pieces(ents),
            _pieces(np.asarray(events.numerics[rows], "<f4")),
            self._bodies(rows),
            *map(repeat, (now_us, None, 0)),  # history has no decision
        )
        return map(NewTransaction._make, zip(*columns, strict=False))

    def _bodies(self, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the categoricals of each row as they are stored, the bytes of `body_of`."""
        codes = self.events.category_codes[rows]
        columns = [known[codes[:, j]].tolist() for j, known in enumerate(self._words)]
        if not columns:
            return repeat(b"[]", len(rows))
        return (b"[%b]" % b",".join(words) for words in zip(*columns, strict=True))


def _pieces(rows: NDArray[Any]) -> list[bytes]:
    """Return the bytes of each row."""
    whole, width = np.ascontiguousarray(rows).tobytes(), rows.shape[1] * rows.itemsize
    return (
        [whole[start : start + width] for start in range(0, len(rows) * width, width)]
        if width
        else [b""] * len(rows)
    )


def load_events(
    store: TransactionLog,
    space: str,
    schema: Schema,
    events: Events,
    *,
    now_us: int,
    told: Callable[[int], None] = lambda done: None,
    at_once: int = AT_ONCE,
) -> Loaded:
    """Store transactions that are history: without decisions, idempotent on their ids; return what was done.

    Args:
        told: Is given how many rows are done, after each commit.
    """
    found = Loaded(total=len(events))
    for done in _storing(store, space, schema, events, found, now_us=now_us, at_once=at_once):
        told(done)
    return found


def _storing(
    store: TransactionLog,
    space: str,
    schema: Schema,
    events: Events,
    found: Loaded,
    *,
    now_us: int,
    at_once: int,
) -> Iterator[int]:
    """Store transactions, counting in `found`; yield after each commit how many were looked at."""
    loader = _Loader(space, schema, events)
    usable = _usable(schema, events, found)
    unlinked = 0
    for start in range(0, len(usable), at_once):
        rows = usable[start : start + at_once]
        with store.group() as group:
            _check_there(group, space)
            alone = loader.begin(group)
            ents = loader.ents(group, rows)
            known = {} if alone else group.find(space, [events.ids[row] for row in rows.tolist()])
            given = loader.transactions(rows, ents, group.head.last + 1, now_us)
            keys = partial(spelled, group)
            made: list[NewTransaction] = [] if known else list(given)  # then nothing is left for the loop
            for place, one in enumerate(given):
                if one.id in known:
                    differ = _differs(one, known[one.id]) and differing(
                        schema, known[one.id], events.event(int(rows[place])), keys
                    )
                    if differ:
                        found.refuse(events, int(rows[place]), schema.id, f"{schema.id}: {differ}")
                    else:
                        found.repeated += 1
                else:
                    made.append(one._replace(seq=group.head.last + 1 + len(made)))
            group.add(made)
        loader.last = group.head.last + len(made)
        found.loaded += len(made)
        unlinked += len(made)
        if unlinked >= _LINKED_AT_ONCE or start + at_once >= len(usable):
            link(store)
            unlinked = 0
        yield start + len(rows)


def _differs(given: NewTransaction, stored: NewTransaction) -> bool:
    """Return whether two transactions of one id have other content."""
    return any(getattr(given, name) != getattr(stored, name) for name in CONTENT)


def _usable(schema: Schema, events: Events, found: Loaded) -> NDArray[np.int64]:
    """Return the rows whose texts both engines can hold."""
    bad = {row: schema.id for row, text in enumerate(events.ids) if _unfit(text)}
    for r, known in enumerate(events.vocabularies):
        wrong = np.array([_unfit(text) for text in known] + [False])
        if wrong.any():
            for row in np.flatnonzero(wrong[events.codes[:, r]]).tolist():
                bad.setdefault(row, schema.relations[r].name)
    for row in sorted(bad):
        reason = f"expected texts of at most {MOST_TEXT:,} characters without NUL"
        found.refuse(events, row, bad[row], reason)
    return np.setdiff1d(np.arange(len(events)), np.array(list(bad), np.int64))


def _unfit(text: str) -> bool:
    return len(text) > MOST_TEXT or "\0" in text


def _check_there(group: Group, space: str) -> None:
    if is_gone(group, space):
        raise Conflict(
            f"space: {space} was deleted while files were loaded into it; load them into another one"
        )


def load_labels(
    store: TransactionLog, space: str, labels: Labels, *, source: str, at_once: int = LABELS_AT_ONCE
) -> int:
    """Store labels in the order of their arrival; return how many were not there already.

    A label is there when one of its source says the same of the same transaction, since the same moment.
    """
    told = [0]
    told += (stored for _, stored in _noting(store, space, labels, source=source, at_once=at_once))
    return told[-1]


def _noting(
    store: TransactionLog, space: str, labels: Labels, *, source: str, at_once: int
) -> Iterator[tuple[int, int]]:
    """Store labels; yield after each commit how many were looked at, and how many of them stored."""
    rows = list(
        dict.fromkeys(zip(labels.ids, labels.value.tolist(), labels.arrived_at.tolist(), strict=True))
    )
    last, stored, copies = -1, 0, len(labels) - len(rows)
    for start in range(0, len(rows), at_once):
        given = rows[start : start + at_once]
        with store.group() as group:
            _check_there(group, space)
            # Where all labels were written here none can be there; to look each of them up would take longer.
            alone = group.head.last == last or (start == 0 and not has_labels(group, space))
            known = set() if alone else known_labels(group, space, source, [id for id, _, _ in given])
            made = [
                NewLabel(group.head.last + place, space, id, value, source, at)
                for place, (id, value, at) in enumerate((one for one in given if one not in known), start=1)
            ]
            group.note(made)
            last = group.head.last + len(made) if alone else -1
        stored += len(made)
        yield copies + start + len(given), stored
