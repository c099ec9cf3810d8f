"""An entity's links as blocks of bytes: who was in which transactions, in the order of (time, number).

A block holds up to 128 links, so that SQLite keeps it within a page. Its first one stands in the table's key, so a
block of one link, the most frequent, is empty. For each further link there follow two variable-length integers, 7 bits
a byte, the lowest first: how much later it happened, in the largest unit in which all of the block can be said, and how
much higher its number is (zigzag: a late transaction has a lower one). On cards' transactions a link takes 4 to 5 bytes,
where a row of a table takes 22.
"""

# mypy: disable-error-code="no-any-return, return-value"
# Annotations of what is compiled are for the reader; numba infers the machine types.

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from masthead.learn.compiled import compiled

__all__ = ["MOST", "NONE", "Block", "Links", "latest", "pack", "unpack"]

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


NONE = Links(*(np.empty(0, np.int64) for _ in range(3)))
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
    blocks: Sequence[Sequence[Any]], tail: Links, eid: int, *, until: int, below: int, linked: int
) -> tuple[Links, int]:
    """Return an entity's ordered links by a time, with lower numbers than one; and how many are from blocks.

    Args:
        blocks: Of this entity, the oldest first. tail: Links of many entities, in the order of their numbers.
        linked: Links with higher numbers are taken from the tail alone.
    """
    data, sizes, first = _arrays(blocks)
    out, stored = _latest(data, sizes, first, _UNITS, tail.eid, tail.ts, tail.seq, eid, until, below, linked)
    return Links(out[0], out[1], out[2]), stored


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
    data: Array, sizes: Array, first: Array, units: Array, t_eid: Array, t_ts: Array, t_seq: Array,
    eid: int, until: int, below: int, linked: int,
) -> tuple[Array, int]:  # fmt: skip
    """Return (3, links), and how many came from blocks."""
    newer = 0
    for one in range(len(t_eid)):
        newer += t_eid[one] == eid
    out = np.empty((3, len(sizes) + len(data) + newer), np.int64)
    found = 0
    for one in range(_unpack(data, sizes, first, units, out)):
        ts, seq = out[1, one], out[2, one]
        if ts <= until and seq < below and seq <= linked:
            out[1, found], out[2, found] = ts, seq
            found += 1
    stored = found
    for one in range(len(t_eid) if newer else 0):
        if t_eid[one] == eid and t_ts[one] <= until and t_seq[one] < below and t_seq[one] > linked:
            place = found  # one that came late stands before others
            while place and (out[1, place - 1], out[2, place - 1]) > (t_ts[one], t_seq[one]):
                out[1, place], out[2, place] = out[1, place - 1], out[2, place - 1]
                place -= 1
            out[1, place], out[2, place] = t_ts[one], t_seq[one]
            found += 1
    out[0, :found] = eid
    return out[:, :found], stored
