"""Rings: transactions that are confirmed or strongly suspected as fraud and share rare cards, devices, addresses, in 30 days.

Nearly all transactions of a month hang together over the entities that they share by chance. So only suspicious ones are
members: confirmed as fraud, or flagged with a probability of `SUSPECTED` or more, since a review that costs little is
asked for far below that. They hang together over an entity that identifies somebody (a counterparty of the schema, where
it names any), has at most 50 transactions, and at least two thirds of them suspicious. `benchmarks/fraud_rings.py`
counts what that finds.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from masthead.base.clock import DAY_US
from masthead.fraud.data.schema import Schema
from masthead.fraud.store.link_records import Recent

__all__ = ["WINDOW_US", "Ring", "Rings"]

WINDOW_US = 30 * DAY_US
RARE = 50
_CONFIRMED, _FLAGGED = 2, 3


@dataclass(frozen=True, slots=True)
class Ring:
    """One ring, as numbers of the tables.

    Attributes:
        members: Transactions in the order of time. entities: What links them, most members first.
        first, last: UTC microseconds.
    """

    members: tuple[int, ...]
    entities: tuple[int, ...]
    confirmed: int
    flagged: int
    amount: float
    first: int
    last: int


class _Member(NamedTuple):
    ts: int
    seq: int
    amount: float
    flagged: bool
    ents: tuple[int, ...]


class Rings:
    """The rings of a window: transactions and labels are taken as they are accepted, a union at each.

    A union is never undone: where a label or the end of the window parts what was joined, `stale` asks for a new one.
    """

    def __init__(self, schema: Schema) -> None:
        names = [relation.name for relation in schema.relations]
        wanted = schema.counterparties or tuple(one.name for one in schema.relations if not one.hub)
        hubs = {one.name for one in schema.relations if one.hub}
        self._places = [names.index(name) for name in wanted if name not in hubs]
        self.newest, self.stale = 0, False
        self._rows: dict[int, _Member] = {}
        self._counts: dict[int, int] = {}
        self._suspects: dict[int, list[int]] = {}  # entity -> suspicious transactions
        self._parents: dict[int, int] = {}
        self._verdicts: dict[int, tuple[int, int, int]] = {}  # transaction -> (arrival, number, value)
        self._coming: list[tuple[int, int, int, int]] = []

    def take(self, given: Sequence[Recent]) -> None:
        """Take transactions and labels in the order of acceptance; a label counts when it has arrived."""
        new = []
        for one in given:
            if one.told:
                heapq.heappush(self._coming, (one.ts, one.number, one.seq, one.value))
            elif one.seq not in self._rows:
                row = _Member(one.ts, one.seq, one.amount or 0.0, one.flagged, one.ents)
                self._count(row)
                new.append(row)
        for row in new:  # once all of them are counted
            if self._is_suspicious(row.seq):
                self._suspect(row)
        while self._coming and self._coming[0][0] <= self.newest:
            at, number, seq, value = heapq.heappop(self._coming)
            self._hear(seq, (at, number, value))

    def _count(self, row: _Member) -> None:
        self._rows[row.seq] = row
        self.newest = max(self.newest, row.ts)
        for place in self._places:
            if eid := row.ents[place]:
                self._counts[eid] = self._counts.get(eid, 0) + 1

    def _is_suspicious(self, seq: int) -> bool:
        verdict = self._verdicts.get(seq)
        return self._rows[seq].flagged if verdict is None else verdict[2] == 1

    def _hear(self, seq: int, verdict: tuple[int, int, int]) -> None:
        row, before = self._rows.get(seq), self._verdicts.get(seq)
        was = row is not None and self._is_suspicious(seq)
        if before is None or before < verdict:
            self._verdicts[seq] = verdict
        if row is not None and self._is_suspicious(seq) != was:
            if was:
                self.stale = True
            else:
                self._suspect(row)

    def _suspect(self, row: _Member) -> None:
        """Join a transaction to the suspicious ones of its entities."""
        self._parents.setdefault(row.seq, row.seq)
        for place in self._places:
            eid = row.ents[place]
            if not eid:
                continue
            suspects = self._suspects.setdefault(eid, [])
            suspects.append(row.seq)
            if self._links(eid):
                for other in suspects[:-1]:
                    self._join(row.seq, other)

    def _links(self, eid: int) -> bool:
        count = self._counts[eid]
        return count <= RARE and 3 * len(self._suspects[eid]) >= 2 * count

    def _root(self, seq: int) -> int:
        while (parent := self._parents[seq]) != seq:
            self._parents[seq] = self._parents[parent]
            seq = self._parents[seq]
        return seq

    def _join(self, a: int, b: int) -> None:
        a, b = self._root(a), self._root(b)
        if a != b:
            self._parents[max(a, b)] = min(a, b)

    def found(self) -> list[Ring]:
        """Return the rings with at least 2 confirmed or 3 flagged transactions, the largest first."""
        groups: dict[int, list[_Member]] = {}
        for seq in self._parents:
            groups.setdefault(self._root(seq), []).append(self._rows[seq])
        rings = [self._ring(sorted(members)) for members in groups.values()]
        wanted = [one for one in rings if one.confirmed >= _CONFIRMED or one.flagged >= _FLAGGED]
        return sorted(wanted, key=lambda one: (-len(one.members), one.members[0]))

    def _ring(self, members: list[_Member]) -> Ring:
        shared: dict[int, int] = {}
        for one in members:
            for place in self._places:
                if (eid := one.ents[place]) and self._links(eid):
                    shared[eid] = shared.get(eid, 0) + 1
        entities = sorted((eid for eid in shared if shared[eid] > 1), key=lambda eid: (-shared[eid], eid))
        confirmed = sum(self._verdicts.get(one.seq, (0, 0, 0))[2] for one in members)
        return Ring(
            members=tuple(one.seq for one in members),
            entities=tuple(entities),
            confirmed=confirmed,
            flagged=sum(one.flagged for one in members),
            amount=sum(one.amount for one in members),
            first=members[0].ts,
            last=members[-1].ts,
        )
