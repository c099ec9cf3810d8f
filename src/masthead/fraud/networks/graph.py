"""A graph of target nodes and entities as arrays, and the sums over neighbours that everything here is made of.

A relation links two node types. It is used in both directions, each a `Direction` with rows of receivers in
compressed form (CSR), so that a sum over neighbours is one pass over memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Direction",
    "Edges",
    "Graph",
    "Rows",
    "directions",
    "empty_direction",
    "rows_of",
    "with_attributes",
]

_CHUNK = 1 << 19  # edges whose messages are in memory at once: 130 MB at 64 numbers a message

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of one relation.

    Attributes:
        source, target: Node types. sources, targets: (edges,) places in the node lists of these types.
        attributes: (edges, names) float32, NaN = missing. clocks: Those of the names that are times, in seconds.
    """

    name: str
    source: str
    target: str
    sources: Places
    targets: Places
    names: tuple[str, ...] = ()
    attributes: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))
    clocks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Graph:
    """Target nodes with features and labels, entities, and the relations between them.

    Attributes:
        target: Type of the target nodes.
        ids: Node ids of each type, as text; a place is an index into these.
        features: (targets, columns) float32, NaN = missing. columns: Their names.
        times: (targets,) seconds, NaN = unknown; None without a time column.
        labels: (targets,) 1, 0 or -1 = unlabelled. held_out: (targets,) the targets of `test.csv`.
        notes: What a person should know of the files.
    """

    target: str
    ids: dict[str, list[str]]
    features: Floats
    columns: tuple[str, ...]
    relations: tuple[Edges, ...]
    labels: NDArray[np.int8]
    held_out: NDArray[np.bool_]
    times: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids[self.target])

    def with_notes(self, *notes: str) -> "Graph":
        """Return the same graph with further notes."""
        return replace(self, notes=(*self.notes, *notes))


@dataclass(frozen=True, slots=True)
class Rows:
    """A sparse matrix by rows: row i holds `weights[starts[i]:starts[i + 1]]` at the columns `places[...]`."""

    starts: Places
    places: Places
    weights: Floats
    width: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def counts(self) -> Places:
        """Return how many entries each row has."""
        return np.diff(self.starts)

    def times(self, values: NDArray[Any]) -> Floats:
        """Return the product with `values`: (width, n) -> (rows, n) float32."""
        found = np.zeros((len(self), values.shape[1]), np.float32)
        for first, last in self._chunks():
            begin, end = self.starts[first], self.starts[last]
            messages = values[self.places[begin:end]] * self.weights[begin:end, None]
            filled = np.flatnonzero(self.starts[first + 1 : last + 1] > self.starts[first:last])
            if len(filled):
                found[first + filled] = np.add.reduceat(messages, self.starts[first + filled] - begin, axis=0)
        return found

    def transposed(self) -> "Rows":
        """Return the matrix with rows and columns exchanged."""
        row = np.repeat(np.arange(len(self)), self.counts())
        return rows_of(self.places, row, self.weights, (self.width, len(self)))

    def averaging(self) -> "Rows":
        """Return the matrix whose rows take the mean of what this one's sum."""
        counts = np.maximum(self.counts(), 1)
        return replace(self, weights=np.repeat((1 / counts).astype(np.float32), self.counts()))

    def _chunks(self) -> Iterator[tuple[int, int]]:
        first, rows = 0, len(self)
        while first < rows:
            last = int(np.searchsorted(self.starts, self.starts[first] + _CHUNK, "right")) - 1
            last = min(max(last, first + 1), rows)
            yield first, last
            first = last


def rows_of(rows: Places, columns: Places, weights: Floats, shape: tuple[int, int]) -> Rows:
    """Return a sparse matrix of entries in any order; entries at one place stay apart, as parallel edges do."""
    order = np.argsort(rows, kind="stable")
    starts = np.zeros(shape[0] + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=shape[0]), out=starts[1:])
    return Rows(starts, columns[order].astype(np.int64), weights[order], shape[1])


@dataclass(frozen=True, slots=True)
class Direction:
    """One relation in one direction.

    Attributes:
        name: The relation's, with `>` before it (along) or `<` (against).
        sender, receiver: Node types.
        rows: (receivers, senders), a one for each edge.
        attributes: (receivers, names) float32, what its edges carry at the mean; NaN where there is no edge.
        totals, largest: The same as sums and maxima. Of a time: how long before the last edge they are at the mean,
            from first to last, and from one to the next; a date itself would mean nothing after training.
    """

    name: str
    relation: str
    sender: str
    receiver: str
    rows: Rows
    names: tuple[str, ...]
    attributes: Floats
    totals: Floats
    largest: Floats


def directions(graph: Graph) -> list[Direction]:
    """Return every relation in both directions, in the order of the relations."""
    found = []
    for edges in graph.relations:
        found.append(_direction(graph, edges, f">{edges.name}", along=True))
        found.append(_direction(graph, edges, f"<{edges.name}", along=False))
    return found


def _direction(graph: Graph, edges: Edges, name: str, *, along: bool) -> Direction:
    """Return one direction; `along` sends from source to target."""
    sender, receiver = (edges.source, edges.target) if along else (edges.target, edges.source)
    senders, receivers = (edges.sources, edges.targets) if along else (edges.targets, edges.sources)
    shape = (len(graph.ids[receiver]), len(graph.ids[sender]))
    ones = np.ones(len(senders), np.float32)
    mean, total, largest = _carried(edges, receivers, shape[0])
    rows = rows_of(receivers, senders, ones, shape)
    return Direction(name, edges.name, sender, receiver, rows, edges.names, mean, total, largest)


def _carried(edges: Edges, receivers: Places, count: int) -> tuple[Floats, Floats, Floats]:
    """Return mean, sum and maximum of the edges' attributes at each receiver; missing values count nowhere."""
    width = len(edges.names)
    mean, total, largest = (np.full((count, width), np.nan, np.float32) for _ in range(3))
    for column in range(width):
        values = edges.attributes[:, column].astype(np.float64)
        there = ~np.isnan(values)
        at, values = receivers[there], values[there]
        seen = np.bincount(at, minlength=count)
        sums = np.bincount(at, values, minlength=count)
        top = np.full(count, -np.inf)
        np.maximum.at(top, at, values)
        some = seen > 0
        mean[some, column] = sums[some] / seen[some]
        total[some, column] = sums[some]
        largest[some, column] = top[some]
        if edges.names[column] in edges.clocks:
            first = np.full(count, np.inf)
            np.minimum.at(first, at, values)
            span = np.maximum(top[some] - first[some], 0)
            mean[some, column] = np.log1p(np.maximum(top[some] - sums[some] / seen[some], 0))
            total[some, column] = np.log1p(span)
            largest[some, column] = np.log1p(span / np.maximum(seen[some] - 1, 1))
    return mean, total, largest


def empty_direction(name: str, sender: str, receiver: str, names: tuple[str, ...], count: int) -> Direction:
    """Return a direction without edges to `count` receivers."""
    rows = Rows(np.zeros(count + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), 1)
    nothing = np.full((count, len(names)), np.nan, np.float32)
    return Direction(name, name[1:], sender, receiver, rows, names, nothing, nothing, nothing)


def with_attributes(direction: Direction, names: tuple[str, ...]) -> Direction:
    """Return a direction whose edges tell the attributes `names`: further ones left out, unknown ones NaN."""
    if direction.names == names:
        return direction
    places = [direction.names.index(name) if name in direction.names else -1 for name in names]

    def chosen(values: Floats) -> Floats:
        with_missing = np.column_stack([values, np.full(len(values), np.nan, np.float32)])
        return with_missing[:, places].astype(np.float32)

    carried = [chosen(one) for one in (direction.attributes, direction.totals, direction.largest)]
    return replace(direction, names=names, attributes=carried[0], totals=carried[1], largest=carried[2])
