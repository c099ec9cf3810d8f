"""An entity's links as blocks of bytes: who was in which transactions, in the order of (time, number).

A block holds up to 128 links, so that SQLite keeps it within a page. Its first one stands in the table's key, so a
block of one link, the most frequent, is empty. For each further link there follow two variable-length integers, 7 bits
a byte, the lowest first: how much later it happened, in the largest unit in which all of the block can be said, and how
much higher its number is (zigzag: a late transaction has a lower one). On cards' transactions a link takes 4 to 5 bytes,
where a row of a table takes 22.
"""

# mypy: disable-error-code="no-any-return, return-value"
# Annotations of what is compiled are for the reader; numba infers the machine types.

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from masthead.learn.compiled import compiled

__all__ = ["MOST", "Block", "Links", "latest", "pack", "unpack"]

MOST = 128
_UNITS = np.array([1, 1_000, 1_000_000], np.int64)  # microseconds; the first byte of a block says which
_WIDEST = 20  # bytes of two integers

Array = Any


class Block(NamedTuple):
    """A row of the table; `ts` and `seq` are those of its first link."""

    eid: int
    ts: int
    seq: int
    links: bytes


class Links(NamedTuple):
    """Links as arrays: entity, UTC microseconds, number of the transaction."""

    eid: NDArray[np.int64]
    ts: NDArray[np.int64]
    seq: NDArray[np.int64]

    def taken(self, which: Any) -> "Links":
        """Return some of them, as an array is indexed."""
        return Links(self.eid[which], self.ts[which], self.seq[which])

    def ordered(self) -> "Links":
        """Return each link once, in the order of the table."""
        order = np.lexsort((self.seq, self.ts, self.eid))
        found = self.taken(order)
        again = np.ones(max(len(order) - 1, 0), bool)
        for column in found:
            again &= column[1:] == column[:-1]
        return found.taken(np.append(True, ~again)[: len(order)]) if again.any() else found


_NO_BLOCKS = np.frombuffer(b"", np.uint8), np.empty(0, np.int64), np.empty((0, 3), np.int64)


def pack(links: Links) -> list[Block]:
    """Return ordered links as blocks.

    >>> pack(Links(np.array([7, 7, 8]), np.array([60_000_000, 65_000_000, 9]), np.array([3, 2, 4])))
    [Block(eid=7, ts=60000000, seq=3, links=b'\\x02\\x05\\x01'), Block(eid=8, ts=9, seq=4, links=b'')]
    """
    if not len(links.eid):
        return []
    entities = np.flatnonzero(np.diff(links.eid, prepend=links.eid[0] - 1))
    place = np.arange(len(links.eid)) - np.repeat(entities, np.diff(entities, append=len(links.eid)))
    starts = np.flatnonzero(place % MOST == 0)
    ends = np.append(starts[1:], len(links.eid))
    out = np.empty(len(links.eid) * _WIDEST + len(starts), np.uint8)
    cuts = np.zeros(len(starts) + 1, np.int64)
    _pack(links.ts, links.seq, starts, ends, _UNITS, out, cuts)
    whole, edges = out[: cuts[-1]].tobytes(), cuts.tolist()
    columns = zip(*(column[starts].tolist() for column in links), strict=True)
    return [
        Block(eid, ts, seq, whole[edges[at] : edges[at + 1]]) for at, (eid, ts, seq) in enumerate(columns)
    ]


def unpack(blocks: Sequence[Sequence[Any]]) -> Links:
    """Return the links of blocks, given as rows of the table, in their order."""
    data, sizes, first = _arrays(blocks)
    out = np.empty((3, len(blocks) + len(data)), np.int64)
    count = _unpack(data, sizes, first, _UNITS, out)
    return Links(out[0, :count], out[1, :count], out[2, :count])


def latest(
    blocks: Mapping[int, Sequence[Sequence[Any]]],
    newer: Mapping[int, Sequence[tuple[int, int]]],
    *,
    until: int,
    below: int,
    linked: int,
) -> dict[int, tuple[Links, int]]:
    """Return each entity's ordered links by a time, with lower numbers than one; and how many are from blocks.

    Args:
        blocks: By entity, the oldest first. newer: (time, number) of links that are in no block for sure, by entity.
        linked: Links with higher numbers are taken from these alone.
    """
    data, sizes, first = _arrays([block for some in blocks.values() for block in some])
    tails = [newer.get(eid, ()) for eid in blocks]
    tail = np.array([link for some in tails for link in some], np.int64).reshape(-1, 2)
    counts = np.array([(len(blocks[eid]), len(some)) for eid, some in zip(blocks, tails, strict=True)])
    out, bounds = _latest(data, sizes, first, _UNITS, tail, counts.reshape(-1, 2), until, below, linked)
    found = {}
    for eid, (start, end, stored) in zip(blocks, bounds.tolist(), strict=True):
        own = out[:, start:end]
        own[0] = eid
        found[eid] = (Links(*own), stored)
    return found


def _arrays(blocks: Sequence[Sequence[Any]]) -> tuple[Array, Array, Array]:
    """Return the bytes of blocks behind one another, how many each has, and the first link of each."""
    if not blocks:
        return _NO_BLOCKS
    data = np.frombuffer(b"".join([block[3] for block in blocks]), np.uint8)
    return data, np.array([len(block[3]) for block in blocks]), np.array([block[:3] for block in blocks])


@compiled
def _put(value: int, out: Array, at: int) -> int:
    """Write one integer; return the place behind it."""
    while value >= 128:
        out[at] = (value & 127) | 128
        value >>= 7
        at += 1
    out[at] = value
    return at + 1


@compiled
def _pack(ts: Array, seq: Array, starts: Array, ends: Array, units: Array, out: Array, cuts: Array) -> None:
    """Write the blocks behind one another into `out`; `cuts` gets where each begins and the last one ends."""
    at = 0
    for block in range(len(starts)):
        start, end = starts[block], ends[block]
        if end - start > 1:
            unit = 2
            for link in range(start + 1, end):
                while (ts[link] - ts[link - 1]) % units[unit]:
                    unit -= 1
            out[at] = unit
            at += 1
            for link in range(start + 1, end):
                at = _put((ts[link] - ts[link - 1]) // units[unit], out, at)
                higher = seq[link] - seq[link - 1]
                at = _put((higher << 1) ^ (higher >> 63), out, at)
        cuts[block + 1] = at


@compiled
def _unpack(data: Array, sizes: Array, first: Array, units: Array, out: Array) -> int:
    """Fill the three columns; return how many links there are."""
    eid, ts, seq = out[0], out[1], out[2]
    end, count = 0, 0
    for block in range(len(sizes)):
        at = end
        end = at + sizes[block]
        eid[count], ts[count], seq[count] = first[block, 0], first[block, 1], first[block, 2]
        count += 1
        unit = 1
        if at < end:
            unit = units[min(data[at], 2)]
            at += 1
        while at < end:
            later, at = _get(data, at)
            higher, at = _get(data, at)
            eid[count] = eid[count - 1]
            ts[count] = ts[count - 1] + later * unit
            seq[count] = seq[count - 1] + ((higher >> 1) ^ -(higher & 1))
            count += 1
    return count


@compiled
def _get(data: Array, at: int) -> tuple[int, int]:
    """Return the integer at a place, and the place behind it; never one from behind the end, whatever lies there."""
    value, shift = np.int64(0), 0
    while at < len(data):
        value |= np.int64(data[at] & 127) << shift
        shift = min(shift + 7, 63)
        at += 1
        if data[at - 1] < 128:
            break
    return value, at


@compiled
def _latest(
    data: Array, sizes: Array, first: Array, units: Array, tail: Array, counts: Array,
    until: int, below: int, linked: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Return (3, links), and per entity where its own begin and end, and how many came from blocks.

    Args:
        counts: (entities, 2) how many blocks, and links of the tail, each has.
    """
    out = np.empty((3, len(sizes) + len(data) + len(tail)), np.int64)
    bounds = np.empty((len(counts), 3), np.int64)
    block = at = link = end = 0
    for entity in range(len(counts)):
        start, blocks, links = end, block + counts[entity, 0], link + counts[entity, 1]
        size = np.sum(sizes[block:blocks])
        own = out[:, start:]
        count = _unpack(data[at : at + size], sizes[block:blocks], first[block:blocks], units, own)
        for one in range(count):
            ts, seq = own[1, one], own[2, one]
            if ts <= until and seq < below and seq <= linked:
                out[1, end], out[2, end] = ts, seq
                end += 1
        bounds[entity, 2] = end - start
        for one in range(link, links):
            ts, seq = tail[one, 0], tail[one, 1]
            if ts <= until and seq < below:
                place = end  # one that came late stands before others
                while place > start and (out[1, place - 1], out[2, place - 1]) > (ts, seq):
                    out[1, place], out[2, place] = out[1, place - 1], out[2, place - 1]
                    place -= 1
                out[1, place], out[2, place] = ts, seq
                end += 1
        bounds[entity, 0], bounds[entity, 1] = start, end
        block, at, link = blocks, at + size, links
    return out, bounds
