"""The compiled half of the temporal network: one vector to one state, the same bits alone as among others.

Matrix libraries add in another order for one row than for many. Columns that trees read must not depend on that, so
training's embeddings and those of serving come from this one loop.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

from typing import Any, NamedTuple

import numpy as np

from masthead.learn.compiled import compiled

__all__ = ["Wires", "embed_row", "embed_rows"]

Array = Any

MOST = 10.0  # deviations, beyond which a value says no more


class Wires(NamedTuple):
    """A network as flat arrays."""

    centre: Array  # (columns,) float32
    scale: Array  # (columns,) float32
    own: Array  # (own,) int64: places of the transaction's numbers
    categoricals: Array  # (categoricals,) int64: places of its codes
    codes: Array  # (categoricals,) int64: how many each has
    places: Array  # int64: places of all relations' columns
    starts: Array  # (relations + 1,) int64: where each relation's begin
    own_w: Array  # (own + all codes, hidden) float32
    own_b: Array  # (hidden,) float32
    block_w: Array  # (places, hidden) float32
    block_b: Array  # (relations, hidden) float32
    between: Array  # (relations, hidden, hidden) float32
    mix_w: Array  # (2 hidden, hidden) float32
    mix_b: Array  # (hidden,) float32


@compiled
def put(n: Wires, x: Array, c: int) -> Any:
    """Return a column in deviations from its mean over training rows, 0 where it is missing."""
    value = x[c]
    if value != value:
        return np.float32(0)
    size = np.log1p(np.abs(value))
    found = ((size if value >= 0 else -size) - n.centre[c]) / n.scale[c]
    return np.float32(min(max(found, np.float32(-MOST)), np.float32(MOST)))


@compiled
def add(out: Array, w: Array, value: Any) -> None:
    """Add a row of weights times a value."""
    for j in range(len(out)):
        out[j] += value * w[j]


@compiled
def hear(n: Wires, x: Array, out: Array) -> None:
    """Fill `out` (hidden,) with what all relations say before it is bent."""
    state = np.empty_like(out)
    for r in range(len(n.starts) - 1):
        first, end = n.starts[r], n.starts[r + 1]
        there = False
        for i in range(first, end):
            value = x[n.places[i]]
            there = there or value == value
        if not there:
            continue
        state[:] = n.block_b[r]
        for i in range(first, end):
            value = put(n, x, n.places[i])
            if value != 0:
                add(state, n.block_w[i], value)
        for j in range(len(state)):
            if state[j] > 0:
                add(out, n.between[r, j], state[j])


@compiled
def embed_row(n: Wires, x: Array, out: Array) -> None:
    """Fill `out` (hidden,) float32 with the state of one vector. `x`: (columns,) float32."""
    hidden = len(out)
    heard, said = np.zeros_like(out), n.own_b.copy()
    hear(n, x, heard)
    for i in range(len(n.own)):
        value = put(n, x, n.own[i])
        if value != 0:
            add(said, n.own_w[i], value)
    first = len(n.own)
    for i in range(len(n.categoricals)):
        code = x[n.categoricals[i]]
        if code == code and 0 <= code < n.codes[i]:
            add(said, n.own_w[first + int(code)], np.float32(1))
        first += n.codes[i]
    out[:] = n.mix_b
    for j in range(hidden):
        if heard[j] > 0:
            add(out, n.mix_w[j], heard[j])
        if said[j] > 0:
            add(out, n.mix_w[hidden + j], said[j])
    for j in range(hidden):
        out[j] = max(out[j], np.float32(0))


@compiled
def embed_rows(n: Wires, x: Array, out: Array) -> None:
    """Fill `out` (n, hidden) with the states of many vectors."""
    for i in range(len(x)):
        embed_row(n, x[i], out[i])
