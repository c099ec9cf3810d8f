"""Known frauds by entity, in memory: what paths lead to. A cache of the tables that follows their log.

Only transactions that were ever called fraud are in it, with all that was said of them, so that it can tell what was
known at any moment: 3.5 % of all, about 400 bytes each.
"""

import bisect
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.store.link_records import LinkRows, Moment
from masthead.fraud.store.log import Head

__all__ = ["Evidence", "Fraud"]


@dataclass(slots=True)
class Fraud:
    """A transaction that was called fraud.

    Attributes:
        marks: (arrival, number, value) of all that was said of it, sorted: the last one holds.
    """

    seq: int
    id: str
    ts: int
    ents: tuple[int, ...]
    marks: list[tuple[int, int, int]]

    def confirmed(self, moment: Moment) -> int:
        """Return when what made it a fraud had arrived; 0 = it was none at that moment."""
        if self.seq >= moment.seq or self.ts > moment.ts:
            return 0
        for at, told, value in reversed(self.marks):
            if at <= moment.ts and told < moment.told:
                return at if value == 1 else 0
        return 0


class Evidence:
    """The frauds of one space. May be asked from any thread.

    Args:
        hubs: Per relation of the schema whether it is a hub.
    """

    def __init__(self, space: str, hubs: Sequence[bool]) -> None:
        self._space, self._hubs = space, tuple(hubs)
        self._lock = threading.Lock()
        self._head = Head(0, -1)
        self._by_seq: dict[int, Fraud] = {}
        self._by_entity: dict[int, list[int]] = {}
        self._rare = np.zeros(1, bool)  # by entity

    def follow(self, rows: LinkRows, head: Head) -> None:
        """Take what the tables hold that is new; all of it anew when something was taken away."""
        with self._lock:
            # Another thread may have seen more already: what it took does no harm, as each moment has its end.
            if head.epoch < self._head.epoch or (
                head.epoch == self._head.epoch and head.last <= self._head.last
            ):
                return
            if head.epoch != self._head.epoch:
                self._by_seq, self._by_entity, self._rare = {}, {}, np.zeros(1, bool)
                self._head = Head(0, head.epoch)
            for mark in rows.marks(self._space, self._head.last + 1):
                known = self._by_seq.get(mark.seq)
                if known is None:
                    known = self._by_seq[mark.seq] = Fraud(mark.seq, mark.id, mark.ts, mark.ents, [])
                    for eid, hub in zip(mark.ents, self._hubs, strict=True):
                        if eid:
                            bisect.insort(self._by_entity.setdefault(eid, []), mark.seq)
                            if not hub:
                                self._note(eid)
                entry = (mark.arrived_at, mark.told, mark.value)
                if entry not in known.marks:
                    bisect.insort(known.marks, entry)
            self._head = head

    def _note(self, eid: int) -> None:
        if eid >= len(self._rare):
            wider = np.zeros(2 * eid, bool)
            wider[: len(self._rare)] = self._rare
            self._rare = wider
        self._rare[eid] = True

    def among(self, ents: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which entities ever had one and are of no hub."""
        rare = self._rare
        found: NDArray[np.bool_] = rare[np.minimum(ents, len(rare) - 1)] & (ents < len(rare))
        return found

    def of(self, eid: int, moment: Moment) -> Iterator[tuple[Fraud, int]]:
        """Yield the frauds of an entity that were known at a moment, the latest accepted first, and their arrivals."""
        with self._lock:
            seqs = list(self._by_entity.get(eid, ()))
        for seq in reversed(seqs):
            fraud = self._by_seq.get(seq)
            if fraud is not None and (at := fraud.confirmed(moment)):
                yield fraud, at
