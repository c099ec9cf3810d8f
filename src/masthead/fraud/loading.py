"""History into the tables, thousands of transactions a commit. No model is needed; served states follow by themselves."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.fraud.events import Events, Labels
from masthead.fraud.packing import MOST_TEXT
from masthead.fraud.records import GraphStore, Group, NewLabel, NewTransaction
from masthead.fraud.schema import Schema

__all__ = ["Loaded", "load_events", "load_labels"]

AT_ONCE = 5_000  # a commit holds back others for about 0.2 s
MOST_TOLD = 1_000
_MOST_BODIES = 100_000


@dataclass(slots=True)
class Loaded:
    """What a load did.

    Attributes:
        repeated: Were there already, with the same content.
        refused: Could not be taken; the first thousand in `problems`: row, id, reason.
    """

    total: int = 0
    loaded: int = 0
    repeated: int = 0
    refused: int = 0
    labels: int = 0
    problems: list[dict[str, Any]] = field(default_factory=list)

    def refuse(self, row: int, id: str, reason: str) -> None:
        """Count a row that cannot be taken."""
        self.refused += 1
        if len(self.problems) < MOST_TOLD:
            self.problems.append({"row": row, "id": id, "reason": reason})

    def to_json(self) -> dict[str, Any]:
        """Return the counts and the first problems as JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


class _Loader:
    """Entities' numbers by code, kept from one commit to the next."""

    def __init__(self, space: str, schema: Schema, events: Events) -> None:
        self.space, self.events = space, events
        self.relations = [relation.name for relation in schema.relations]
        self.epoch, self.last, self._alone = -1, -1, False
        self._tables: list[NDArray[np.int32]] = []
        self._bodies: dict[tuple[int, ...], bytes] = {}

    def begin(self, group: Group) -> bool:
        """Return whether all that is stored was written here, so that no id can be there already."""
        self._alone = group.head.last == 0 or (self._alone and group.head.last == self.last)
        if group.head.epoch != self.epoch:  # entities may be gone
            self._tables = [np.zeros(len(one) + 1, np.int32) for one in self.events.vocabularies]
            self.epoch = group.head.epoch
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
                known = group.entities(self.space, pairs)
                known |= group.new_entities(self.space, [pair for pair in pairs if pair not in known])
                table[unknown] = [known[pair] for pair in pairs]
            found[there, r] = table[codes[there]]
        return found

    def transactions(
        self, rows: NDArray[np.int64], ents: NDArray[np.int32], first: int, now_us: int
    ) -> Iterator[NewTransaction]:
        """Yield rows as they are stored, numbered from `first`."""
        events = self.events
        amounts = [None if one != one else one for one in events.amount[rows].tolist()]
        columns = zip(
            rows.tolist(),
            events.ts[rows].tolist(),
            amounts,
            _pieces(ents),
            _pieces(np.asarray(events.numerics[rows], "<f4")),
            events.category_codes[rows].tolist(),
            strict=True,
        )
        for seq, (row, ts, amount, links, feat, codes) in enumerate(columns, start=first):
            body = self._body(tuple(codes))
            yield NewTransaction(
                seq, self.space, events.ids[row], ts, amount, links, feat, body, now_us, None, 0
            )

    def _body(self, codes: tuple[int, ...]) -> bytes:
        """Return the categoricals as they are stored; the same ones come again and again."""
        found = self._bodies.get(codes)
        if found is None:
            values = zip(codes, self.events.category_values, strict=True)
            found = orjson.dumps([known[code] if code >= 0 else None for code, known in values])
            if len(self._bodies) < _MOST_BODIES:
                self._bodies[codes] = found
        return found


def _pieces(rows: NDArray[Any]) -> list[bytes]:
    """Return the bytes of each row."""
    whole, width = np.ascontiguousarray(rows).tobytes(), rows.shape[1] * rows.itemsize
    return (
        [whole[start : start + width] for start in range(0, len(rows) * width, width)]
        if width
        else [b""] * len(rows)
    )


def load_events(
    store: GraphStore,
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
    found, loader = Loaded(total=len(events)), _Loader(space, schema, events)
    usable = _usable(events, found)
    for start in range(0, len(usable), at_once):
        rows = usable[start : start + at_once]
        with store.group() as group:
            alone = loader.begin(group)
            ents = loader.ents(group, rows)
            known = {} if alone else group.find(space, [events.ids[row] for row in rows.tolist()])
            new = np.ones(len(rows), bool)
            made: list[NewTransaction] = []
            for place, one in enumerate(loader.transactions(rows, ents, group.head.last + 1, now_us)):
                if one.id in known:
                    _count_known(found, int(rows[place]), one, known[one.id])
                    new[place] = False
                else:
                    made.append(one._replace(seq=group.head.last + 1 + len(made)) if known else one)
            group.add(made, _links(ents[new], events.ts[rows[new]], group.head.last + 1))
        loader.last = group.head.last + len(made)
        found.loaded += len(made)
        told(start + len(rows))
    return found


def _links(ents: NDArray[np.int32], ts: NDArray[np.int64], first: int) -> list[tuple[int, int, int]]:
    """Return the edges of transactions numbered from `first`, in the order of the table: a third of the time."""
    row, relation = np.nonzero(ents)
    eid, when = ents[row, relation], ts[row]
    order = np.lexsort((row, when, eid))
    columns = (eid[order].tolist(), when[order].tolist(), (row[order] + first).tolist())
    return list(zip(*columns, strict=True))


def _count_known(found: Loaded, row: int, given: NewTransaction, stored: NewTransaction) -> None:
    names = ("ts", "amount", "ents", "feat", "body")
    differ = [name for name in names if getattr(given, name) != getattr(stored, name)]
    if not differ:
        found.repeated += 1
        return
    words = {"ts": "time", "ents": "entities", "feat": "numerics", "body": "categories"}
    told = ", ".join(words.get(name, name) for name in differ)
    found.refuse(row, given.id, f"id: is stored with other {told}")


def _usable(events: Events, found: Loaded) -> NDArray[np.int64]:
    """Return the rows whose texts both engines can hold."""
    bad = [_unfit(text) for text in events.ids]
    for r, known in enumerate(events.vocabularies):
        wrong = np.array([_unfit(text) for text in known] + [False])
        if wrong.any():
            for row in np.flatnonzero(wrong[events.codes[:, r]]).tolist():
                bad[row] = True
    for row in np.flatnonzero(bad).tolist():
        found.refuse(
            row, events.ids[row][:80], f"expected texts of at most {MOST_TEXT:,} characters without NUL"
        )
    return np.flatnonzero(~np.array(bad, bool))


def _unfit(text: str) -> bool:
    return len(text) > MOST_TEXT or "\0" in text


def load_labels(store: GraphStore, space: str, labels: Labels, *, source: str, at_once: int = 20_000) -> int:
    """Store labels in the order of their arrival; return how many."""
    rows = list(zip(labels.ids, labels.value.tolist(), labels.arrived_at.tolist(), strict=True))
    for start in range(0, len(rows), at_once):
        with store.group() as group:
            group.note(
                [
                    NewLabel(group.head.last + place, space, id, value, source, at)
                    for place, (id, value, at) in enumerate(rows[start : start + at_once], start=1)
                ]
            )
    return len(rows)
