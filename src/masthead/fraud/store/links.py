"""Who was in which transactions, written behind the decisions: for explanations and neighbours, never for a score.

Links follow from the transactions' own rows, so they need not be durable with them. `link` takes what is new since the
last time, some hundred transactions at once, and puts it into the blocks of its entities (`link_blocks`); a table says
up to which number that is done. What is newer, the tail, readers find in the transactions themselves. Both together are
the same whenever `link` ran, and a link that is written twice, as after a kill -9, is one link.
"""

import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection, Engine

from masthead.fraud.store.link_blocks import MOST, Block, Links, latest, pack, unpack
from masthead.fraud.store.log import Group, TransactionLog
from masthead.fraud.store.records import LAST_SEQ

__all__ = ["EVERY", "LinkReader", "all_of", "link", "link_rest", "links_of", "settle_links", "unlink"]

EVERY = 2_048
"""From so many transactions of the tail on they are linked: the more, the fewer blocks are written twice."""

_SOME = 100_000  # numbers of the log that are linked from memory at once
_AT_ONCE = 4_000  # links of one commit
_GENTLY = 500  # the same where decisions wait behind it
_PAUSE_S = 0.01  # that they get between two commits
_FAR_BEHIND = 4 * EVERY  # from here on they get none

_LINKED = "SELECT coalesce(max(seq), 0), coalesce(max(turn), 0) FROM fraud_linked"
_LAST = "SELECT coalesce(max(seq), 0) FROM fraud_transactions"
_SEEN = _LINKED.replace(" FROM", f", ({_LAST}) FROM")
_TAIL = "SELECT seq, ts, ents FROM fraud_transactions WHERE seq > ? AND seq <= ? ORDER BY seq"
_BLOCKS = "SELECT eid, ts, seq, links FROM fraud_links WHERE eid = ? AND"
_FROM = f"{_BLOCKS} ts >= coalesce((SELECT max(ts) FROM fraud_links WHERE eid = ? AND ts < ?), ?)"
_BEFORE = f"{_BLOCKS} (ts, seq) < (?, ?) ORDER BY ts DESC, seq DESC LIMIT ?"
# PostgreSQL is asked once for all entities: a round trip costs more than what it answers.
_EACH = "SELECT b.* FROM unnest(?::bigint[], ?::bigint[]) AS w(eid, at) CROSS JOIN LATERAL"
_FROM_EACH = f"{_EACH} ({_FROM.replace('?', 'w.eid', 2).replace('?', 'w.at')}) b"
_BEFORE_EACH = f"{_EACH} ({_BEFORE.replace('?', 'w.eid', 1).replace('?', 'w.at', 1)}) b"


# ---------------------------------------------------------------------- writing


def link(store: TransactionLog, *, gently: bool = False) -> None:
    """Link what has no links yet, beside whoever writes; only finished blocks are written under the lock of all writers.

    Args:
        gently: In small pieces with pauses between, for the sake of those who wait for decisions.
    """
    while _link_some(store, gently):
        pass


def _link_some(store: TransactionLog, gently: bool) -> bool:
    """Link some of it; return whether there is more."""
    with store.group(durable=False) as group:
        (done, turn), head = group.run(_LINKED).fetchone(), group.head.last
        last = min(head, done + _SOME)
        _mark(group, done, turn + 1)
    with store.database.read() as connection:
        reader = LinkReader(connection)
        given = links_of(reader.run(_TAIL, (done, last)).fetchall()).ordered()
        for start, end in _slices(given, _GENTLY if gently else _AT_ONCE):
            if gently and head - done < _FAR_BEHIND:
                time.sleep(_PAUSE_S)
            blocks = _merged(reader, given.taken(slice(start, end)))
            with store.group(durable=False) as group:
                if group.run(_LINKED).fetchone()[1] != turn + 1:
                    return False  # another one links, or something was taken away: the next time begins anew
                _replace(group, *blocks)
    with store.group(durable=False) as group:
        if group.run(_LINKED).fetchone()[1] == turn + 1:
            _mark(group, last, turn + 1)
    return bool(last < head)


def link_rest(group: Group) -> None:
    """Link what has no links yet within a group: for who is about to take something away."""
    done, turn = group.run(_LINKED).fetchone()
    given = links_of(group.run(_TAIL, (done, group.head.last)).fetchall()).ordered()
    _replace(group, *_merged(group, given))
    _mark(group, group.head.last, turn + 1)


def settle_links(group: Group) -> None:
    """Let links end where the log does, after its end was taken away: its numbers are given again."""
    done, turn = group.run(_LINKED).fetchone()
    (last,) = group.run(_LAST).fetchone()
    _mark(group, min(done, last), turn + 1)


def all_of(group: Group, eid: int) -> list[int]:
    """Return the numbers of an entity's transactions as far as they are linked."""
    rows = group.run(f"{_BLOCKS} 1 = 1", (eid,)).fetchall()
    seqs: list[int] = unpack([_block(row) for row in rows]).seq.tolist()
    return seqs


def unlink(group: Group, gone: Links) -> None:
    """Take links away, all of which are linked."""
    gone = gone.ordered()
    if not len(gone.eid):
        return
    touched = _touched(group, gone)
    kept = unpack(touched)
    stays = ~np.isin(_keys(kept), _keys(gone))
    _replace(group, touched, pack(kept.taken(stays)))


def _keys(links: Links) -> Any:
    """Return what tells one link from another: a transaction has an entity at most once a relation."""
    return links.eid * np.int64(2**32) + links.seq  # both stay far below


def _slices(links: Links, at_once: int) -> Iterator[tuple[int, int]]:
    """Yield [start, end) of so many links each, or a few more, with all of an entity in one."""
    bounds = np.append(np.flatnonzero(np.diff(links.eid)) + 1, len(links.eid)).tolist()
    start = 0
    for end in bounds:
        if end - start >= at_once or end == bounds[-1]:
            if end > start:
                yield start, end
            start = end


def links_of(rows: Iterable[Any]) -> Links:
    """Return the links of transactions given as (seq, ts, ents), in no order."""
    rows = list(rows)
    widths = np.array([len(ents) // 4 for _, _, ents in rows], np.int64)  # spaces have schemas of their own
    eid = np.frombuffer(b"".join(ents for _, _, ents in rows), np.int32).astype(np.int64)
    ts = np.repeat(np.array([row[1] for row in rows], np.int64), widths)
    seq = np.repeat(np.array([row[0] for row in rows], np.int64), widths)
    there = eid > 0
    return Links(eid[there], ts[there], seq[there])


def _merged(asked: "Group | LinkReader", new: Links) -> tuple[list[Block], list[Block]]:
    """Return the blocks in which ordered links have their places, and what takes their place."""
    if not len(new.eid):
        return [], []
    touched = _touched(asked, new)
    both = (np.concatenate(pair) for pair in zip(unpack(touched), new, strict=True))
    return touched, pack(Links(*both).ordered())


def _touched(asked: "Group | LinkReader", links: Links) -> list[Block]:
    """Return the blocks among which ordered links have their places: of each entity from that of its first one on."""
    first = np.flatnonzero(np.diff(links.eid, prepend=links.eid[0] - 1))
    eids, times = links.eid[first].tolist(), links.ts[first].tolist()
    if asked.is_sqlite:
        rows = (asked.run(_FROM, (eid, eid, ts, ts)) for eid, ts in zip(eids, times, strict=True))
        return [Block(*row) for some in rows for row in some]
    return [_block(row) for row in asked.run(_FROM_EACH, (eids, times)).fetchall()]


def _block(row: Sequence[Any]) -> Block:
    eid, ts, seq, links = row
    return Block(eid, ts, seq, bytes(links))  # PostgreSQL gives a view of them


def _replace(group: Group, old: Sequence[Block], new: Sequence[Block]) -> None:
    """Write blocks in the place of others, of which those that stay as they are are not touched."""
    there = {block[:3]: block.links for block in old}
    kept = {block[:3] for block in new}
    group.each(
        "DELETE FROM fraud_links WHERE eid = ? AND ts = ? AND seq = ?",
        [key for key in there if key not in kept],
    )
    group.each(
        "INSERT INTO fraud_links (eid, ts, seq, links) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (eid, ts, seq) DO UPDATE SET links = excluded.links",
        [block for block in new if there.get(block[:3]) != block.links],
    )


def _mark(group: Group, seq: int, turn: int) -> None:
    group.run(
        "INSERT INTO fraud_linked (one, seq, turn) VALUES (1, ?, ?) "
        "ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, turn = excluded.turn",
        (seq, turn),
    )


# ---------------------------------------------------------------------- reading


class LinkReader:
    """Asks for the newest links of entities, by the driver's own cursor, as of what its connection sees."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: Any = connection.connection.cursor()
        self._engine = connection.engine
        self.is_sqlite = connection.dialect.name == "sqlite"
        self._tail: _Tail | None = None
        self._head = 0

    def newest_of(
        self, eids: Sequence[int], *, until: int, below: int = LAST_SEQ, limit: int
    ) -> dict[int, Links]:
        """Return each entity's newest links, the newest last, of the same time the later accepted.

        Args:
            until: UTC microseconds, inclusive. below: Numbers are lower than this.
        """
        tail = self._tail = self._tail or self._look()
        below = min(below, self._head + 1)  # another reader may have seen more
        most = limit // MOST + 2  # blocks: the newest one may have few
        bounds = {"until": until, "below": below, "linked": tail.linked}
        pages = self._first_pages(eids, until, most)
        newer = {eid: list(tail.by_entity[eid]) for eid in pages if eid in tail.by_entity}
        found = {}
        for eid, (links, stored) in latest(pages, newer, **bounds).items():
            page = pages[eid]
            while stored < limit and len(page) == most:  # the newest blocks hold later ones
                page = self._page(_BEFORE, (eid, *page[0][1:3], most))
                pages[eid] = [*page, *pages[eid]]
                links, stored = latest({eid: pages[eid]}, newer, **bounds)[eid]
            found[eid] = links.taken(slice(-limit, None))
        return found

    def _first_pages(self, eids: Sequence[int], until: int, most: int) -> dict[int, list[Block]]:
        """Return the newest blocks of each entity, the newest last."""
        if self.is_sqlite:
            return {eid: self._page(_BEFORE, (eid, until, LAST_SEQ, most)) for eid in eids}
        pages: dict[int, list[Block]] = {eid: [] for eid in eids}
        for block in self._page(_BEFORE_EACH, (list(eids), [until] * len(eids), LAST_SEQ, most)):
            pages[block.eid].append(block)
        return pages

    def _page(self, statement: str, values: Sequence[Any]) -> list[Block]:
        """Return blocks that are asked for from the newest on, the newest last."""
        rows = self.run(statement, values).fetchall()[::-1]
        return rows if self.is_sqlite else [_block(row) for row in rows]

    def _look(self) -> "_Tail":
        """Return what has no links yet; what another reader found of it before is not read again."""
        linked, turn, self._head = self.run(_SEEN).fetchone()
        with _LOOKING:
            tail = _TAILS.get(self._engine)
            if tail is None or (tail.linked, tail.turn) != (linked, turn):
                tail = _TAILS[self._engine] = _Tail(linked, turn, linked)
            if tail.last < self._head:
                tail.take(self.run(_TAIL, (tail.last, self._head)).fetchall())
                tail.last = self._head
        return tail

    def run(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement whose values are `?`; return the driver's cursor."""
        self._cursor.execute(statement if self.is_sqlite else statement.replace("?", "%s"), values)
        return self._cursor


@dataclass(slots=True)
class _Tail:
    """The links of transactions behind those that have blocks, up to the last one that was looked at, by number.

    Attributes:
        by_entity: (time, number) of its transactions, in the order of their numbers; it only grows.
    """

    linked: int
    turn: int
    last: int
    by_entity: dict[int, list[tuple[int, int]]] = field(default_factory=dict)

    def take(self, rows: Iterable[Any]) -> None:
        """Take further transactions, given as (seq, ts, ents)."""
        for seq, ts, ents in rows:
            for eid in memoryview(ents).cast("i"):
                if eid:
                    self.by_entity.setdefault(eid, []).append((ts, seq))


_TAILS: weakref.WeakKeyDictionary[Engine, _Tail] = weakref.WeakKeyDictionary()
_LOOKING = threading.Lock()
