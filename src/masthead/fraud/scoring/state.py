"""What the graph knows as of now: the past of every entity, in arrays.

A cache: it is rebuilt from the transactions and labels by the same compiled step that served them, and the answers
after that are the same to the bit.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.data.columns import Event, Events, Labels
from masthead.fraud.scoring.features import Encoder, Layout
from masthead.fraud.scoring.kernel import (
    BUCKET,
    CELLS,
    ENTITY,
    ENTRY,
    EVENTS,
    LABELS,
    K,
    Memory,
    Plan,
    Rows,
    observe,
    step,
    take,
    tell,
)
from masthead.fraud.scoring.kernel import replay as replay_rows

__all__ = ["GraphState"]

_ROOMY = 1024  # entities, rows and slots that an empty state has room for


class GraphState:
    """The memory of one model's relations. One thread at a time.

    Args:
        layout: Which relations to remember, which columns to make of them.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._encoder = Encoder(layout)
        self._width = layout.width
        self._ids: list[dict[str, int]] = [{} for _ in layout.tracked]
        self._entities = 1  # record 0 is who has never been seen
        tracked, partners = len(layout.tracked), len(layout.counterparties)
        self._plan = Plan(
            aggregated=np.array([name in layout.aggregated for name in layout.tracked], bool),
            hubs=np.array([name in layout.hubs for name in layout.tracked], bool),
            partners=np.array([layout.tracked.index(name) for name in layout.counterparties], np.int64),
            windows=np.zeros((6, 4)),
            stamps=np.zeros((CELLS + 1, 2), np.int64),
        )
        self._memory = Memory(
            entities=np.zeros(_ROOMY, ENTITY),
            pool=np.zeros(_ROOMY + 64 * tracked, ENTRY),
            partners=np.zeros((_ROOMY + 64 * tracked, partners), np.int32),
            buckets=np.zeros((16 + tracked, 64), BUCKET),
            heap=np.array([4, 0, 0, 0, 1, 0], np.int64),  # place 0 and slab 0 mean none
            seqs=np.zeros(_ROOMY, np.int64),
            members=np.zeros((_ROOMY, tracked), np.int32),
            verdicts=np.zeros(_ROOMY, np.int8),
            arrived=np.zeros(_ROOMY, np.int64),
            confirmed=np.zeros(_ROOMY, np.int64),
        )

    def __len__(self) -> int:
        """Return how many transactions are remembered."""
        return int(self._memory.heap[5])

    @property
    def nbytes(self) -> int:
        """Return the size of all arrays; names of entities come on top."""
        return sum(array.nbytes for array in self._memory)

    def features(self, event: Event) -> NDArray[np.float32]:
        """Return the columns of an event as of its time, (layout.width,) float32; nothing is changed."""
        out = np.empty(self._width, np.float32)
        step(self._plan, self._memory, self._rows(event, make=False), 0, out)
        return out

    def add(self, seq: int, event: Event) -> None:
        """Remember an event; a late one enters at its (time, seq) place.

        Raises:
            InvalidInput: `seq` is not above all before it.
        """
        rows = self._rows(event, make=True)
        self._next(seq)
        take(self._plan, self._memory, rows, 0, seq)

    def observe(self, seq: int, event: Event) -> NDArray[np.float32]:
        """Return the columns of an event, then remember it: `features` and `add` for the price of one.

        Raises:
            InvalidInput: As for `add`.
        """
        out = np.empty(self._width, np.float32)
        rows = self._rows(event, make=True)
        self._next(seq)
        observe(self._plan, self._memory, rows, 0, seq, out)
        return out

    def label(self, seq: int, value: int, arrived_at: int) -> None:
        """Make a label known: 1 fraud, 0 legitimate. The latest arrival of a transaction wins.

        Raises:
            InvalidInput: No transaction has this `seq`, or the value is neither 0 nor 1.
        """
        if value not in (0, 1):
            raise InvalidInput(f"value: expected 1 (fraud) or 0 (legitimate), got {value}")
        row = self._row_of(seq)
        self._make_room()
        tell(self._plan, self._memory, row, int(value), int(arrived_at))

    def met(self, seq: int, ts: int, relation: str, other: str) -> tuple[int, list[tuple[int, int]]]:
        """Return a transaction's own value of a counterparty, and (time, value) of those that its entity of a relation
        had before; 0 = no value.

        Args:
            ts: When the transaction happened.
        """
        m, tracked = self._memory, self.layout.tracked
        members = m.members[self._row_of(seq)]
        slots = self._ring(int(members[tracked.index(relation)]), EVENTS)
        past = m.pool[slots]
        before = (past["seq"] != seq) & (past["ts"] <= ts)
        values = np.maximum(m.partners[slots, self.layout.counterparties.index(other)], 0)
        own = max(0, int(members[tracked.index(other)]))
        return own, list(zip(past["ts"][before].tolist(), values[before].tolist(), strict=True))

    def confirmed(self, seq: int, ts: int, relation: str) -> list[int]:
        """Return when the frauds that an entity had before a transaction were confirmed, the latest first."""
        m = self._memory
        e = int(m.members[self._row_of(seq), self.layout.tracked.index(relation)])
        known = m.pool[self._ring(e, LABELS)]
        known = known[(known["value"] == 1) & (known["ts"] <= ts) & (known["seq"] != seq)]
        return sorted((int(m.confirmed[self._row_of(one)]) for one in known["seq"].tolist()), reverse=True)

    def _ring(self, e: int, line: int) -> NDArray[np.int64]:
        """Return the places of what a line of an entity holds, the oldest first."""
        one = self._memory.entities[max(e, 0)]
        size, room = int(one["size"][line]), max(1, int(one["room"][line]))
        places: NDArray[np.int64] = (
            int(one["start"][line]) + (int(one["head"][line]) + np.arange(size)) % room
        )
        return places

    def replay(
        self,
        events: Events,
        labels: Labels | None = None,
        *,
        until: int | None = None,
        rows: NDArray[np.int64] | None = None,
        seqs: NDArray[np.int64] | None = None,
        before: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Take events in their order, labels by arrival between them; return the features of `rows`.

        Args:
            labels: A label that arrived at the time of an event, or before, is known to it.
            until: Events and labels from this time on are left out. None: all are taken.
            rows: Rows of `events` whose features are wanted. None: none.
            seqs: Sequence number of each event, rising. None: 0, 1, 2, ... after those that are remembered.
            before: Per label how many events came before it, where a log knows. None: by arrival.

        Returns:
            (len(rows), layout.width) float32.
        """
        n = len(events) if until is None else int(np.searchsorted(events.ts, until))
        first = len(self)
        if seqs is None:
            seqs = np.arange(n, dtype=np.int64) + (self._memory.seqs[first - 1] + 1 if first else 0)
        told = self._labels(events, labels, until, before, first, n)
        wanted = np.full(n, -1, np.int64)
        asked = np.empty(0, np.int64) if rows is None else rows
        if len(asked) and asked.max() >= n:
            raise InvalidInput(f"rows: expected rows before {n}, got {asked.max()}")
        wanted[asked] = np.arange(len(asked))
        out = np.empty((len(asked), self._width), np.float32)
        arrays, place = self._encoded(events, whole=rows is not None), np.zeros(2, np.int64)
        arrays = Rows(*(array[:n] for array in arrays))
        while not replay_rows(self._plan, self._memory, arrays, seqs, told, wanted, out, place):
            self._grow()
        return out

    def dump(self) -> dict[str, NDArray[Any]]:
        """Return copies of all that is remembered: bytes of records, and the names of entities as JSON."""
        m = self._memory
        used = dict(zip(Memory._fields, self._used(), strict=True))
        names = [list(ids) for ids in self._ids]
        return {
            "names": np.frombuffer(orjson.dumps(names), np.uint8),
            "numbers": np.array([number for ids in self._ids for number in ids.values()], np.int64),
            "entities_made": np.array(self._entities, np.int64),
            **{
                name: getattr(m, name)[:size].copy().reshape(-1).view(np.uint8) for name, size in used.items()
            },
        }

    def restore(self, dumped: Mapping[str, NDArray[Any]]) -> None:
        """Remember what `dump` returned, instead of anything else."""
        self._entities = int(dumped["entities_made"])
        numbers = iter(dumped["numbers"].tolist())
        self._ids = [
            dict(zip(names, islice(numbers, len(names)), strict=True))
            for names in orjson.loads(dumped["names"].tobytes())
        ]
        arrays = {}
        for name, empty in self._memory._asdict().items():
            given = dumped[name].view(empty.dtype).reshape(-1, *empty.shape[1:])
            room = 0 if name == "heap" else len(empty) + len(given) // 8
            arrays[name] = np.zeros((len(given) + room, *empty.shape[1:]), empty.dtype)
            arrays[name][: len(given)] = given
        self._memory = Memory(**arrays)

    def _used(self) -> tuple[int, ...]:
        """Return how much of each array is in use."""
        slots, slabs, rows = (int(self._memory.heap[place]) for place in (0, 4, 5))
        return (self._entities, slots, slots, slabs, len(self._memory.heap), *(rows,) * 5)

    def compile(self) -> None:
        """Have every compiled function ready: seconds for the first process of a machine, one for the next."""
        spare = GraphState(self.layout)
        names, numbers = self.layout.schema_categoricals, np.full(len(self.layout.schema_numerics), np.nan)
        blank = Event("", 0, float("nan"), ("",) * len(self.layout.relations), numbers, (None,) * len(names))
        spare.features(blank)
        spare.add(0, blank)
        spare.observe(1, blank)
        spare.label(0, 1, 0)
        nothing = np.empty(0, np.int64)
        rows = Rows(*(array[:0] for array in spare._rows(blank, make=False)))
        out, labels = np.empty((0, self._width), np.float32), np.empty((0, 4), np.int64)
        replay_rows(spare._plan, spare._memory, rows, nothing, labels, nothing, out, np.zeros(2, np.int64))

    def _rows(self, event: Event, *, make: bool) -> Rows:
        """Return one event as arrays; its entities are made, or never seen = 0."""
        missing, numerics, categories = self._encoder.of_event(event)
        members = []
        for place, ids in zip(self._encoder.tracked, self._ids, strict=True):
            key = event.keys[place]
            found = -1 if key is None else ids.get(key, 0)
            if make and not found:
                assert key is not None
                found = ids[key] = self._entities
                self._entities += 1
            members.append(found)
        if self._entities > len(self._memory.entities):
            self._room_for_entities(self._entities)
        return Rows(
            np.array([event.ts], np.int64),
            np.array([event.amount], np.float64),
            np.array([members], np.int32),
            np.array([missing], np.int32),
            numerics[None],
            categories[None],
        )

    def _encoded(self, events: Events, *, whole: bool) -> Rows:
        """Return all events as arrays; their entities are made. What only features tell is left out unless `whole`."""
        missing, numerics, categories = (
            self._encoder.of_events(events)
            if whole
            else (np.zeros(len(events), np.int32), *np.empty((2, len(events), 0), np.float32))
        )
        members = np.empty((len(events), len(self._ids)), np.int32)
        for r, (place, ids) in enumerate(zip(self._encoder.tracked, self._ids, strict=True)):
            table = np.empty(len(events.vocabularies[place]) + 1, np.int32)
            table[-1] = -1  # a code of -1 is no value
            for code, key in enumerate(events.vocabularies[place]):
                found = ids.get(key)
                if found is None:
                    found = ids[key] = self._entities
                    self._entities += 1
                table[code] = found
            members[:, r] = table[events.codes[:, place]]
        self._room_for_entities(self._entities)
        amount = np.asarray(events.amount, np.float64)
        return Rows(events.ts, amount, members, missing, numerics, categories)

    def _labels(
        self,
        events: Events,
        labels: Labels | None,
        until: int | None,
        before: NDArray[np.int64] | None,
        first: int,
        n: int,
    ) -> NDArray[np.int64]:
        """Return (labels, 4): events before it, row in memory, value, arrival; a label waits for its transaction."""
        if labels is None:
            return np.empty((0, 4), np.int64)
        when = np.searchsorted(events.ts[:n], labels.arrived_at) if before is None else before
        when = np.maximum(when, labels.rows + 1)
        keep = (labels.rows >= 0) & (labels.rows < n)
        if until is not None:
            keep &= labels.arrived_at < until
        told = np.column_stack([when, labels.rows + first, labels.value, labels.arrived_at]).astype(np.int64)
        told = told[keep]
        return told[np.argsort(told[:, 0], kind="stable")]

    def _row_of(self, seq: int) -> int:
        used = self._memory.seqs[: len(self)]
        row = int(np.searchsorted(used, seq))
        if row == len(used) or used[row] != seq:
            raise InvalidInput(f"seq: expected that of a transaction that was added, got {seq}")
        return row

    def _next(self, seq: int) -> None:
        """Make room for one more transaction, whose number has to be the highest."""
        n = len(self)
        if n and seq <= self._memory.seqs[n - 1]:
            raise InvalidInput(f"seq: expected above {self._memory.seqs[n - 1]}, got {seq}")
        self._make_room()

    def _make_room(self) -> None:
        """Grow until one more transaction or label fits: `has_room`, without handing a compiled function ten arrays."""
        while True:
            m, relations = self._memory, len(self._ids)
            slots, _, _, _, slabs, used = m.heap.tolist()
            if (
                slots + K * relations <= len(m.pool)
                and slabs + relations <= len(m.buckets)
                and used < len(m.seqs)
            ):
                return
            self._grow()

    def _grow(self) -> None:
        """Double the arrays that are nearly full."""
        m, margin = self._memory, len(self._ids)
        grown: dict[str, Any] = {}
        if m.heap[0] + 64 * margin > len(m.pool):
            grown |= {name: _doubled(getattr(m, name)) for name in ("pool", "partners")}
        if m.heap[4] + margin > len(m.buckets):
            grown["buckets"] = _doubled(m.buckets)
        if m.heap[5] >= len(m.seqs):
            names = ("seqs", "members", "verdicts", "arrived", "confirmed")
            grown |= {name: _doubled(getattr(m, name)) for name in names}
        self._memory = m._replace(**grown)

    def _room_for_entities(self, wanted: int) -> None:
        entities = self._memory.entities
        while len(entities) < wanted:
            entities = _doubled(entities)
        self._memory = self._memory._replace(entities=entities)


def _doubled(array: NDArray[Any]) -> NDArray[Any]:
    larger = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
