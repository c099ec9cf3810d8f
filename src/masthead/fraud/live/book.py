"""One space in memory: the models that serve it, and the states that they look at.

A state is a cache of the log: it follows what is written, whoever wrote it, and is rebuilt when something was taken
away.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import DAY_US, Clock, SystemClock
from masthead.base.errors import Conflict, shown
from masthead.fraud.data.columns import Event
from masthead.fraud.data.schema import Schema
from masthead.fraud.live.replaying import take_history
from masthead.fraud.live.snapshots import read_snapshot, snapshot_path
from masthead.fraud.live.terms import is_released
from masthead.fraud.scoring.state import GraphState
from masthead.fraud.store.log import Head, History, TransactionLog
from masthead.fraud.store.results import horizon
from masthead.fraud.store.vectors import pack_vector, unpack_vector

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["Book", "Lane", "present"]


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
        if told["action"] != "review" or not self.release_share:
            return told
        told = {**told, "release_share": self.release_share}  # so that the draw can be made again
        if is_released(told["id"], self.release_share):
            return {**told, "action": "pass", "released": True}
        return told


class Book:
    """One space in memory: the models that serve it and the states that they look at.

    Args:
        lanes: The newest first; models with the same columns share a state.
        snapshots: The folder that keeps what is remembered over a restart; None: the log alone does.
        clock: Tells whose clock is wrong: see `newest`.
    """

    def __init__(
        self,
        space: str,
        schema: Schema,
        lanes: Sequence[Lane],
        *,
        snapshots: Path | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self.snapshot = None if snapshots is None else snapshot_path(snapshots, space)
        self.space, self.schema, self.lanes = space, schema, tuple(lanes)
        self.relations = tuple(relation.name for relation in schema.relations)
        self.last, self.near, self.far, self.epoch = 0, 0, 0, -1
        self.kept = 0  # up to which number a snapshot was made
        self._begin()

    def _begin(self) -> None:
        layouts = list(dict.fromkeys(lane.model.layout for lane in self.lanes))
        self.states = [GraphState(layout) for layout in layouts]
        self.place = {lane.alias: layouts.index(lane.model.layout) for lane in self.lanes}
        self.eids: tuple[dict[str, int], ...] = tuple({} for _ in self.relations)
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
            vector = state.observe(1, event)
            lane.model.scorer.score(vector)
            unpack_vector(pack_vector(vector))
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

    def rebuild(self, store: TransactionLog, head: Head) -> None:
        """Begin anew and take all that the log holds; what a snapshot holds of it is not read again."""
        self.last, self.near, self.far, self.epoch = 0, 0, 0, head.epoch
        self._begin()
        if self.snapshot is not None:
            read_snapshot(self.snapshot, self, store, head)
            self.kept = self.last
        self.follow(store, head.last)

    def thaw(
        self, told: Mapping[str, Any], eids: Sequence[dict[str, int]], coming: NDArray[np.int64]
    ) -> None:
        """Take what a snapshot says of everything but the states."""
        self.last, (self.near, self.far) = told["last"], told["newest"]
        self.eids = tuple(eids)
        self._keys = {eid: key for known in eids for key, eid in known.items()}
        self.waiting = set(told["waiting"])
        self.coming = list(zip(*coming.T.tolist(), strict=True))  # a heap stays one

    def follow(self, store: TransactionLog, last: int) -> None:
        """Take what the log holds behind what was taken, up to a number."""
        history = store.replay(self.last + 1, space=self.space, relations=len(self.relations), until=last)
        near = history.ts[history.ts <= horizon(int(self._clock.time() * 1e6))]
        self.near = max(self.near, int(near.max(initial=0)))
        self.far = max(self.far, int(history.ts.max(initial=0)))
        due = history.arrived_at <= self.newest
        places = {name: place for place, name in enumerate(self.relations)}
        for eid, rel, key in store.entity_keys(space=self.space, from_eid=max(self._keys, default=0) + 1):
            self.know(places[rel], key, eid)
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

    @property
    def newest(self) -> int:
        """The time of the newest transaction, UTC microseconds; 0 = none. As `results.newest` has it."""
        return self.near or self.far

    def see(self, ts: int, now: int) -> None:
        """Take the time of a transaction that comes now: labels that had arrived by the newest one are known to it."""
        self.far = max(self.far, ts)
        if ts <= horizon(now):
            self.near = max(self.near, ts)
        self.arrive(self.newest)

    def hear(self, label_seq: int, seq: int, value: int, arrived_at: int) -> None:
        """Take a label of a transaction that is there; it is known to those that happen when it arrives, or later."""
        heapq.heappush(self.coming, (arrived_at, label_seq, seq, value))

    def arrive(self, now: int) -> None:
        """Make labels known that have arrived by a time, which is that of transactions."""
        while self.coming and self.coming[0][0] <= now:
            at, _, seq, value = heapq.heappop(self.coming)
            for state in self.states:
                state.label(seq, value, at)

    def know(self, place: int, key: str, eid: int) -> None:
        """Take a new entity of the relation at a place of the schema."""
        self.eids[place][key] = eid
        self._keys[eid] = key

    def numbers(self, keys: Sequence[str | None]) -> list[int]:
        """Return the numbers of a transaction's entities, one per relation: 0 = no edge, -1 = never seen."""
        return [0 if key is None else known.get(key, -1) for known, key in zip(self.eids, keys, strict=True)]

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
    return now if abs(now - newest) <= DAY_US or not newest else newest
