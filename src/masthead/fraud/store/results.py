"""What was stored of transactions, asked for: one, many, newest of an entity, counts; and taking away. SQL like `records.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, text

from masthead.base.clock import DAY_US
from masthead.base.errors import NotFound, shown
from masthead.fraud.store.links import LinkReader, all_of, link_rest, links_of, settle_links, unlink
from masthead.fraud.store.log import Group, TransactionLog

__all__ = [
    "MOST_AMOUNT",
    "SUMMED",
    "LabelRow",
    "Neighbour",
    "Space",
    "Stored",
    "empty_space",
    "erase_entity",
    "find_transactions",
    "get_transaction",
    "has_labels",
    "horizon",
    "is_gone",
    "known_labels",
    "neighbours",
    "newest",
    "put_space",
    "recent",
    "spaces",
    "stats",
]

MOST_AMOUNT = 1e15
"""Sums take an amount as at most so much: beyond, it is no money, and two of them would be infinite."""
SUMMED = f"CASE WHEN amount > {MOST_AMOUNT} THEN {MOST_AMOUNT} WHEN amount < -{MOST_AMOUNT} THEN -{MOST_AMOUNT} ELSE amount END"
_ASKED_AT_ONCE = 500  # ids of one statement
_SHOWN = "seq, id, ts, amount, ents, feat, body, arrived, score, flagged"


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label: 1 fraud, 0 legitimate; who said so, and when (UTC microseconds)."""

    value: int
    source: str
    arrived_at: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored transaction.

    Attributes:
        keys: One per relation of the schema; None = no edge.
        feat, body: As `packing` wrote them.
        score: None = loaded as history.
        decision: JSON of what was answered; b"" = nothing.
        labels: In order of acceptance.
    """

    seq: int
    id: str
    ts: int
    amount: float | None
    keys: tuple[str | None, ...]
    feat: bytes
    body: bytes
    arrived: int
    score: float | None
    flagged: bool
    decision: bytes
    labels: tuple[LabelRow, ...]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A transaction of an entity, as a neighbour sees it."""

    seq: int
    id: str
    ts: int
    amount: float | None
    score: float | None
    feat: bytes


@dataclass(frozen=True, slots=True)
class Space:
    """Where transactions lie together: those of one schema, real or of one simulation."""

    name: str
    kind: str
    schema: str
    digest: str
    created: datetime
    transactions: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the space as JSON values, without its schema's text."""
        return {
            "name": self.name,
            "kind": self.kind,
            "schema": self.digest,
            "created": self.created.isoformat(),
            "transactions": self.transactions,
        }


def get_transaction(connection: Connection, space: str, id: str) -> Stored:
    """Return one transaction.

    Raises:
        NotFound: There is none of that id.
    """
    found = connection.execute(
        text(f"SELECT {_SHOWN} FROM fraud_transactions WHERE space = :space AND id = :id"),
        {"space": space, "id": id},
    ).all()
    if not found:
        raise NotFound(f"id: there is no transaction {shown(id)}", field="id")
    return _told(connection, space, found)[0]


def find_transactions(
    connection: Connection,
    space: str,
    *,
    flagged: bool | None,
    start: int,
    end: int,
    limit: int,
    before: tuple[int, int] | None = None,
) -> list[Stored]:
    """Return transactions of [start, end), newest first.

    Args:
        flagged: Only flagged ones, only others, or None: all.
        before: (ts, seq) of the last one of the page before.
    """
    where = "space = :space AND ts >= :start AND ts < :end"
    given: dict[str, Any] = {"space": space, "start": start, "end": end, "limit": limit}
    if flagged is not None:
        where += " AND flagged = :flagged"
        given["flagged"] = int(flagged)
    if before is not None:
        where += " AND (ts < :ts OR (ts = :ts AND seq < :seq))"
        given |= {"ts": before[0], "seq": before[1]}
    statement = (
        f"SELECT {_SHOWN} FROM fraud_transactions WHERE {where} ORDER BY ts DESC, seq DESC LIMIT :limit"
    )
    return _told(connection, space, connection.execute(text(statement), given).all())


def _told(connection: Connection, space: str, rows: Sequence[Any]) -> list[Stored]:
    """Return rows with the keys of their entities, their decisions and labels."""
    numbers = [np.frombuffer(row.ents, np.int32).tolist() for row in rows]
    keys = _keys(connection, {eid for one in numbers for eid in one if eid})
    found = []
    for row, eids in zip(rows, numbers, strict=True):
        decided = connection.execute(
            text("SELECT body FROM fraud_decisions WHERE seq = :seq AND shadow = 0"), {"seq": row.seq}
        ).scalar()
        marks = connection.execute(
            text(
                "SELECT value, source, arrived_at FROM fraud_labels WHERE space = :space AND id = :id ORDER BY seq"
            ),
            {"space": space, "id": row.id},
        )
        found.append(
            Stored(
                row.seq,
                row.id,
                row.ts,
                row.amount,
                tuple(keys.get(eid) if eid else None for eid in eids),
                bytes(row.feat),
                bytes(row.body),
                row.arrived,
                row.score,
                bool(row.flagged),
                bytes(decided or b""),
                tuple(LabelRow(*mark) for mark in marks),
            )
        )
    return found


def _keys(connection: Connection, eids: set[int]) -> dict[int, str]:
    statement = text("SELECT key FROM fraud_entities WHERE eid = :eid")
    return {eid: connection.execute(statement, {"eid": eid}).scalar_one() for eid in eids}


def spelled(group: Group, eids: Sequence[int]) -> dict[int, str]:
    """Return the keys of entities that are there, by their numbers."""
    found: dict[int, str] = {}
    for eid in eids:
        row = group.run("SELECT key FROM fraud_entities WHERE eid = ?", (eid,)).fetchone()
        if row is not None:
            found[eid] = str(row[0])
    return found


def recent(
    connection: Connection, space: str, entity: tuple[str, str], *, before: int, limit: int = 20
) -> list[Neighbour]:
    """Return the newest transactions of an entity before a time, newest first, of the same time the later accepted first.

    Args:
        entity: (relation, key).
        before: UTC microseconds; not included.
    """
    eid = connection.execute(
        text("SELECT eid FROM fraud_entities WHERE space = :space AND rel = :rel AND key = :key"),
        {"space": space, "rel": entity[0], "key": entity[1]},
    ).scalar()
    return [] if eid is None else neighbours(connection, [eid], before=before, limit=limit)[eid]


def neighbours(
    connection: Connection, eids: Sequence[int], *, before: int, limit: int = 20
) -> dict[int, list[Neighbour]]:
    """Return the newest transactions of each entity before a time: a statement an entity, so that no hub is read whole.

    PostgreSQL is asked once for all, by a lateral join with a limit of its own for each.
    """
    reader = LinkReader(connection)
    links = reader.newest_of(list(dict.fromkeys(eids)), until=before - 1, limit=limit)
    near = {eid: found.seq[::-1].tolist() for eid, found in links.items()}
    wanted = {seq for found in near.values() for seq in found}
    asked = f"{_NEIGHBOURS} ({', '.join(map(str, wanted)) or 'NULL'})"  # numbers of our own
    rows = {row[0]: Neighbour(*row) for row in reader.run(asked).fetchall()}
    return {eid: [rows[seq] for seq in found if seq in rows] for eid, found in near.items()}


_NEIGHBOURS = "SELECT seq, id, ts, amount, score, feat FROM fraud_transactions WHERE seq IN"


def newest(connection: Connection, space: str, *, now: int) -> int | None:
    """Return the time of the newest transaction of a space, None without any.

    One whose clock is wrong by more than a day says nothing of the others, unless all of them lie ahead.

    Args:
        now: UTC microseconds.
    """
    asked = "SELECT max(ts) FROM fraud_transactions WHERE space = :space"
    given = {"space": space, "horizon": horizon(now)}
    found = connection.execute(text(f"{asked} AND ts <= :horizon"), given).scalar()
    if found is None:
        found = connection.execute(text(asked), given).scalar()
    return None if found is None else int(found)


def horizon(now: int) -> int:
    """Return up to when a transaction may lie ahead and still be taken for the newest; both in UTC microseconds."""
    return now + DAY_US


def time_of(connection: Connection, space: str, id: str) -> int | None:
    """Return when a transaction happened, UTC microseconds; None where there is none of that id."""
    statement = text("SELECT ts FROM fraud_transactions WHERE space = :space AND id = :id")
    found = connection.execute(statement, {"space": space, "id": id}).scalar()
    return None if found is None else int(found)


def decided_by(connection: Connection, model: str) -> int:
    """Return how many decisions a model made, those in shadow not counted."""
    statement = text("SELECT count(*) FROM fraud_decisions WHERE model = :model AND shadow = 0")
    return int(connection.execute(statement, {"model": model}).scalar_one())


def stats(connection: Connection, space: str, *, start: int, end: int) -> dict[str, Any]:
    """Return count and amount of all and of flagged transactions in [start, end), under the article's names."""
    row = connection.execute(
        text(
            f"SELECT count(*), coalesce(sum({SUMMED}), 0), coalesce(sum(flagged), 0), "
            f"coalesce(sum(CASE WHEN flagged = 1 THEN {SUMMED} END), 0) "
            "FROM fraud_transactions WHERE space = :space AND ts >= :start AND ts < :end"
        ),
        {"space": space, "start": start, "end": end},
    ).one()
    return {
        "totalCount": int(row[0]),
        "totalAmount": float(row[1]),
        "fraudCount": int(row[2]),
        "totalFraudAmount": float(row[3]),
    }


# ---------------------------------------------------------------------- spaces


def spaces(connection: Connection, *, counted: bool = False) -> list[Space]:
    """Return the spaces that there are, by name; with how many transactions each has, when asked."""
    rows = connection.exec_driver_sql(
        "SELECT name, kind, schema, digest, created FROM fraud_spaces WHERE kind <> 'gone' ORDER BY name"
    ).all()
    counts: dict[str, int] = {}
    if counted:
        told = connection.exec_driver_sql("SELECT space, count(*) FROM fraud_transactions GROUP BY space")
        counts = {name: int(count) for name, count in told}
    return [
        Space(name, kind, schema, digest, _time(created), counts.get(name, 0))
        for name, kind, schema, digest, created in rows
    ]


def _time(value: Any) -> datetime:
    from datetime import UTC

    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    return found.replace(tzinfo=UTC)


def put_space(group: Group, found: Space) -> None:
    """Make a space, also one of a name that was taken away."""
    stamp = found.created.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    group.run(
        "INSERT INTO fraud_spaces (name, kind, schema, digest, epoch, created) VALUES (?, ?, ?, ?, 0, ?) "
        "ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, schema = excluded.schema, "
        "digest = excluded.digest, created = excluded.created",
        (found.name, found.kind, found.schema, found.digest, stamp),
    )


def is_gone(group: Group, space: str) -> bool:
    """Return whether a space was taken away; one that nobody ever made was not."""
    asked = "SELECT 1 FROM fraud_spaces WHERE name = ? AND kind = 'gone'"
    return group.run(asked, (space,)).fetchone() is not None


def has_labels(group: Group, space: str) -> bool:
    """Return whether anything was ever said of transactions of a space."""
    return group.run("SELECT 1 FROM fraud_labels WHERE space = ? LIMIT 1", (space,)).fetchone() is not None


def known_labels(group: Group, space: str, source: str, ids: Sequence[str]) -> set[tuple[str, int, int]]:
    """Return (id, value, arrival) of what a source has said of these transactions."""
    found: set[tuple[str, int, int]] = set()
    for start in range(0, len(ids), _ASKED_AT_ONCE):
        some = ids[start : start + _ASKED_AT_ONCE]
        rows = group.run(
            "SELECT id, value, arrived_at FROM fraud_labels WHERE space = ? AND source = ? "
            f"AND id IN ({', '.join('?' * len(some))})",
            (space, source, *some),
        )
        found.update((id, int(value), int(at)) for id, value, at in rows.fetchall())
    return found


def empty_space(group: Group, space: str) -> int:
    """Take away all transactions of a space, and the space; return how many there were."""
    (count,) = group.run("SELECT count(*) FROM fraud_transactions WHERE space = ?", (space,)).fetchone()
    inside = "(SELECT seq FROM fraud_transactions WHERE space = ?)"
    group.run(f"DELETE FROM fraud_decisions WHERE seq IN {inside}", (space,))
    group.run(
        "DELETE FROM fraud_links WHERE eid IN (SELECT eid FROM fraud_entities WHERE space = ?)", (space,)
    )
    for table in ("fraud_entities", "fraud_labels", "fraud_transactions"):
        group.run(f"DELETE FROM {table} WHERE space = ?", (space,))
    _count_epoch(group, space)
    group.run("UPDATE fraud_spaces SET kind = 'gone' WHERE name = ?", (space,))
    return int(count)


def erase_entity(store: TransactionLog, space: str, rel: str, key: str) -> dict[str, int]:
    """Take away every transaction of an entity with its labels and decisions, and entities that nobody has any more.

    What is freed is overwritten, so that it cannot be read out of the file either.

    Raises:
        NotFound: There is no such entity.
    """
    with store.group() as group:
        found = group.run(
            "SELECT eid FROM fraud_entities WHERE space = ? AND rel = ? AND key = ?", (space, rel, key)
        ).fetchone()
        if found is None:
            raise NotFound(f"entity: there is no {rel} {shown(key)}", field="entity")
        link_rest(group)
        rows = [
            group.run("SELECT seq, ts, id, ents FROM fraud_transactions WHERE seq = ?", (seq,)).fetchone()
            for seq in all_of(group, found[0])
        ]
        touched = _take_away(group, space, rows) | {int(found[0])}
        before = group.run("SELECT count(*) FROM fraud_entities").fetchone()[0]
        group.each(
            "DELETE FROM fraud_entities WHERE eid = ? AND NOT EXISTS "
            "(SELECT 1 FROM fraud_links x WHERE x.eid = fraud_entities.eid)",
            [(eid,) for eid in sorted(touched)],
        )
        after = group.run("SELECT count(*) FROM fraud_entities").fetchone()[0]
        _count_epoch(group, space)
    store.settle()
    return {"transactions": len(rows), "entities": int(before - after)}


def _take_away(group: Group, space: str, rows: Sequence[Any]) -> set[int]:
    """Delete transactions; return the entities that they had."""
    gone = links_of((seq, ts, ents) for seq, ts, _, ents in rows)
    unlink(group, gone)
    group.each("DELETE FROM fraud_labels WHERE space = ? AND id = ?", [(space, row[2]) for row in rows])
    for table in ("fraud_decisions", "fraud_transactions"):
        group.each(f"DELETE FROM {table} WHERE seq = ?", [(row[0],) for row in rows])
    return set(gone.eid.tolist())


def _count_epoch(group: Group, space: str) -> None:
    settle_links(group)
    group.run("UPDATE fraud_spaces SET epoch = epoch + 1 WHERE name = ?", (space,))
