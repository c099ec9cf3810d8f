"""What explanations ask the tables of transactions: who shares what with whom, as of a moment. SQL like `records.py`.

A moment is a pair (time, number): of what was accepted before the number, what had happened by the time. It stays
true: whatever is written later has a higher number, so the same question a month later has the same answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from masthead.base.errors import NotFound, shown
from masthead.fraud.store.link_blocks import Links
from masthead.fraud.store.links import LinkReader
from masthead.fraud.store.records import LAST_SEQ

__all__ = ["SUSPECTED", "Around", "Decided", "LinkRows", "Linked", "MarkRow", "Moment", "Recent"]


class Moment(NamedTuple):
    """Until when explanations look.

    Attributes:
        ts: UTC microseconds, inclusive, of transactions and of the arrival of labels.
        seq: Transactions with lower numbers.
        told: Labels with lower numbers.
    """

    ts: int
    seq: int
    told: int


@dataclass(frozen=True, slots=True)
class Decided:
    """A stored transaction with what its model saw.

    Attributes:
        ents: Number of its entity per relation of the schema; 0 = no edge.
        model: Id; "" = no decision was made.
        score: Calibrated probability. vector: As `vectors.py` packs it.
    """

    seq: int
    id: str
    ts: int
    amount: float | None
    ents: tuple[int, ...]
    feat: bytes
    body: bytes
    model: str
    score: float
    vector: bytes

    @property
    def moment(self) -> Moment:
        """Return the moment of its decision; of one without, the moment at which it happened."""
        return Moment(self.ts, self.seq, self.seq if self.model else LAST_SEQ)


class Linked(NamedTuple):
    """A transaction as its neighbours see it; `ents` as in `Decided`."""

    seq: int
    id: str
    ts: int
    amount: float | None
    flagged: bool
    ents: tuple[int, ...]


class Around(NamedTuple):
    """The transactions of an entity as arrays, the newest first; `ents` is (transactions, relations) of entities."""

    seq: NDArray[np.int64]
    ts: NDArray[np.int64]
    ents: NDArray[np.int32]


class MarkRow(NamedTuple):
    """A label of a transaction that was once called fraud, with the transaction."""

    seq: int
    id: str
    ts: int
    ents: tuple[int, ...]
    arrived_at: int
    told: int
    value: int


class Recent(NamedTuple):
    """A transaction, or a label of one (`told` is its number), in the order of acceptance.

    Attributes:
        flagged: With a probability of at least `SUSPECTED`.
    """

    number: int
    seq: int
    ts: int
    amount: float | None
    flagged: bool
    ents: tuple[int, ...]
    told: bool = False
    value: int = 0


class LinkRows:
    """Questions over one connection: by the driver's own cursor, since SQLAlchemy's costs each statement 50 us."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.connection.cursor()
        self._is_sqlite = connection.dialect.name == "sqlite"
        self._links = LinkReader(connection)
        self._near: dict[tuple[int, Moment], tuple[int, Links]] = {}

    def _rows(self, statement: str, values: Sequence[Any]) -> list[Any]:
        self._cursor.execute(statement if self._is_sqlite else statement.replace("?", "%s"), values)
        found: list[Any] = self._cursor.fetchall()
        return found

    def decided(self, space: str, id: str) -> Decided:
        """Return one transaction.

        Raises:
            NotFound: There is none of that id.
        """
        found = self._rows(_DECIDED, (space, id))
        if not found:
            raise NotFound(f"id: there is no transaction {shown(id)}", field="id")
        seq, id, ts, amount, ents, feat, body, model, score, vector = found[0]
        return Decided(
            *(seq, id, ts, amount, _numbers(ents), bytes(feat), bytes(body)),
            *(model or "", float(score or 0), bytes(vector or b"")),
        )

    def names(self, eids: Iterable[int]) -> dict[int, str]:
        """Return the keys of entities by their numbers."""
        wanted = list(dict.fromkeys(eids))
        rows = self._rows(f"SELECT eid, key FROM fraud_entities WHERE eid IN ({_marks(wanted)})", wanted)
        return dict(map(tuple, rows))

    def degree(self, eid: int, moment: Moment, most: int) -> int:
        """Return how many transactions an entity had; `most` + 1 = more than that."""
        return min(len(self._newest(eid, moment, most + 1).seq), most + 1)

    def linked(self, eid: int, moment: Moment, limit: int) -> list[Linked]:
        """Return the newest transactions that an entity had, the newest first."""
        wanted = self._newest(eid, moment, limit).seq[-limit:][::-1].tolist()
        rows = {one.seq: one for one in self.transactions(wanted)}
        return [rows[seq] for seq in wanted if seq in rows]

    def around(self, eid: int, moment: Moment, limit: int) -> Around:
        """Return what `linked` does as arrays, which is a fraction of its price where most are passed over."""
        links = self._newest(eid, moment, limit).taken(slice(-limit, None))
        seqs = links.seq.tolist()
        rows = dict(self._rows(f"{_ENTS} ({_marks(seqs)})", seqs))
        there = [place for place in range(len(seqs) - 1, -1, -1) if seqs[place] in rows]
        ents = np.frombuffer(b"".join([rows[seqs[place]] for place in there]), np.int32)
        width = len(ents) // max(len(there), 1)
        return Around(links.seq[there], links.ts[there], ents.reshape(len(there), width))

    def look(self, eids: Iterable[int], moment: Moment, limit: int) -> None:
        """Have at hand what will be asked of these entities: together they cost a fraction of one after another."""
        wanted = [eid for eid in dict.fromkeys(eids) if self._near.get((eid, moment), (0,))[0] < limit]
        if wanted:
            found = self._links.newest_of(wanted, until=moment.ts, below=moment.seq, limit=limit)
            self._near |= {(eid, moment): (limit, links) for eid, links in found.items()}

    def _newest(self, eid: int, moment: Moment, limit: int) -> Links:
        """Return at least so many of an entity's links; explanations ask for its degree first, then for the last ones."""
        self.look([eid], moment, limit)
        return self._near[eid, moment][1]

    def transactions(self, seqs: Iterable[int]) -> list[Linked]:
        """Return transactions by their numbers, in their order."""
        wanted = list(seqs)
        rows = self._rows(f"{_BY_NUMBER} ({_marks(wanted)}) ORDER BY seq", wanted)
        return [_linked(*row) for row in rows]

    def labels(self, space: str, ids: Iterable[str], moment: Moment) -> dict[str, tuple[int, int]]:
        """Return (value, arrived_at) of the label that held for each transaction that had one."""
        found = {}
        for id in ids:
            rows = self._rows(_LABEL, (space, id, moment.ts, moment.told))
            if rows:
                found[id] = (int(rows[0][0]), int(rows[0][1]))
        return found

    def marks(self, space: str, first: int) -> list[MarkRow]:
        """Return all labels of the transactions that were ever called fraud and of which something is new since a
        number; from 0 on: of all."""
        rows = self._rows(_ALL_MARKS, (space,)) if first <= 1 else self._rows(_NEW_MARKS, (space, first) * 2)
        return [
            MarkRow(seq, id, ts, _numbers(ents), at, told, value)
            for seq, id, ts, ents, at, told, value in rows
        ]

    def recent(self, space: str, since: int, first: int) -> list[Recent]:
        """Return transactions later than a time, and their labels: what is new since a number, in its order.

        The time of a label is that of its arrival.
        """
        if first <= 1:
            rows, marks = self._rows(_RECENT, (space, since)), self._rows(_RECENT_LABELS, (space, since))
        else:
            rows = self._rows(_NEW, (first, space, since))
            marks = self._rows(_NEW_LABELS, (first, space, since) * 2)
        found = [
            Recent(seq, seq, ts, amount, bool(flagged), _numbers(ents))
            for seq, ts, amount, flagged, ents in rows
        ]
        found += [Recent(told, seq, at, None, False, (), True, value) for told, seq, at, value in marks]
        return sorted(found)


_DECIDED = (
    "SELECT t.seq, t.id, t.ts, t.amount, t.ents, t.feat, t.body, d.model, d.score, d.vector "
    "FROM fraud_transactions t LEFT JOIN fraud_decisions d ON d.seq = t.seq AND d.shadow = 0 "
    "WHERE t.space = ? AND t.id = ?"
)
_BY_NUMBER = "SELECT seq, id, ts, amount, flagged, ents FROM fraud_transactions WHERE seq IN"
_ENTS = "SELECT seq, ents FROM fraud_transactions WHERE seq IN"
_LABEL = (
    "SELECT value, arrived_at FROM fraud_labels WHERE space = ? AND id = ? AND arrived_at <= ? AND seq < ? "
    "ORDER BY arrived_at DESC, seq DESC LIMIT 1"
)
_MARK = (
    "SELECT DISTINCT t.seq, t.id, t.ts, t.ents, l.arrived_at, l.seq AS told, l.value FROM {touched} w "
    "JOIN fraud_labels f ON f.space = w.space AND f.id = w.id AND f.value = 1 "
    "JOIN fraud_transactions t ON t.space = w.space AND t.id = w.id "
    "JOIN fraud_labels l ON l.space = w.space AND l.id = w.id ORDER BY told"
)
_ALL_MARKS = _MARK.format(
    touched="(SELECT DISTINCT space, id FROM fraud_labels WHERE space = ? AND value = 1)"
)
# What is new is found by its number; `space || ''` keeps the engines from walking through the whole space instead.
_NEW_MARKS = _MARK.format(
    touched="(SELECT space, id FROM fraud_labels WHERE space || '' = ? AND seq >= ? "
    "UNION SELECT space, id FROM fraud_transactions WHERE space || '' = ? AND seq >= ?)"
)
SUSPECTED = 0.1
"""From this probability on a flagged transaction may belong to a ring."""
_SUSPECT = f"CASE WHEN score >= {SUSPECTED} THEN flagged ELSE 0 END"
_RECENT = f"SELECT seq, ts, amount, {_SUSPECT}, ents FROM fraud_transactions WHERE space = ? AND ts > ?"
_RECENT_LABELS = (
    "SELECT l.seq, t.seq, l.arrived_at, l.value FROM fraud_transactions t "
    "JOIN fraud_labels l ON l.space = t.space AND l.id = t.id WHERE t.space = ? AND t.ts > ?"
)
_NEW = (
    f"SELECT seq, ts, amount, {_SUSPECT}, ents FROM fraud_transactions "
    "WHERE seq >= ? AND space || '' = ? AND ts + 0 > ?"
)
_NEW_LABELS = (
    "SELECT l.seq, t.seq, l.arrived_at, l.value FROM fraud_labels l "
    "JOIN fraud_transactions t ON t.space = l.space AND t.id = l.id "
    "WHERE l.seq >= ? AND l.space || '' = ? AND t.ts + 0 > ? UNION "
    "SELECT l.seq, t.seq, l.arrived_at, l.value FROM fraud_transactions t "
    "JOIN fraud_labels l ON l.space = t.space AND l.id = t.id "
    "WHERE t.seq >= ? AND t.space || '' = ? AND t.ts + 0 > ?"
)


def _marks(values: Sequence[int]) -> str:
    """Return as many `?` as there are values; NULL, which nothing equals, for none."""
    return ", ".join("?" * len(values)) or "NULL"


def _linked(seq: int, id: str, ts: int, amount: float | None, flagged: int, ents: Any) -> Linked:
    return Linked(seq, id, ts, amount, bool(flagged), _numbers(ents))


def _numbers(ents: Any) -> tuple[int, ...]:
    return tuple(memoryview(ents).cast("i"))  # in half the time of an array
