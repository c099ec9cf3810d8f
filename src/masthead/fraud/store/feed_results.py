"""What is asked of the tables of transactions over time: the latest accepted, counts, how they turned out. SQL like `results.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, text

from masthead.fraud.store.results import SUMMED

__all__ = ["Decided", "Fed", "decided", "feed", "timeline"]


@dataclass(frozen=True, slots=True)
class Fed:
    """One scored transaction on the live chart.

    Attributes:
        ts, arrived: UTC microseconds.
        action: pass, review or block.
    """

    seq: int
    id: str
    ts: int
    amount: float | None
    arrived: int
    score: float
    flagged: bool
    action: str


class Decided(NamedTuple):
    """A decision that was made, by which deployment, and what was said of its transaction last (-1 = nothing).

    Attributes:
        ts: When it happened, UTC microseconds.
    """

    id: str
    ts: int
    alias: str
    flagged: bool
    released: bool
    value: int


def feed(connection: Connection, space: str, *, after: int, limit: int) -> list[Fed]:
    """Return the last scored transactions that were accepted behind a number, in order of acceptance."""
    rows = connection.execute(
        text(
            "SELECT t.seq, t.id, t.ts, t.amount, t.arrived, t.score, t.flagged, "
            "CASE WHEN t.flagged = 1 THEN d.body END AS body "
            "FROM (SELECT seq, id, ts, amount, arrived, score, flagged FROM fraud_transactions "
            "WHERE seq > :after AND space = :space AND score IS NOT NULL ORDER BY seq DESC LIMIT :limit) t "
            "LEFT JOIN fraud_decisions d ON d.seq = t.seq AND d.shadow = 0 ORDER BY t.seq"
        ),
        {"after": after, "space": space, "limit": limit},
    ).all()
    return [
        Fed(row.seq, row.id, row.ts, row.amount, row.arrived, row.score, bool(row.flagged), _action(row.body))
        for row in rows
    ]


def _action(body: bytes | None) -> str:
    """Return what was done; of what was not flagged there is no need to look."""
    return "pass" if body is None else str(orjson.loads(bytes(body))["action"])


def timeline(connection: Connection, space: str, *, start: int, end: int, width: int) -> list[dict[str, Any]]:
    """Return count and amount, of all and of flagged, per `width` microseconds of [start, end); empty ones are left out."""
    rows = connection.execute(
        text(
            f"SELECT (ts - :start) / :width AS place, count(*), coalesce(sum({SUMMED}), 0), coalesce(sum(flagged), 0), "
            f"coalesce(sum(CASE WHEN flagged = 1 THEN {SUMMED} END), 0) FROM fraud_transactions "
            "WHERE space = :space AND ts >= :start AND ts < :end GROUP BY place ORDER BY place"
        ),
        {"space": space, "start": start, "end": end, "width": width},
    )
    names = ("count", "amount", "flagged", "flagged_amount")
    return [
        {"start": start + int(place) * width, **dict(zip(names, map(float, rest), strict=True))}
        for place, *rest in rows
    ]


def decided(connection: Connection, space: str, *, start: int, end: int, until: int) -> Iterator[Decided]:
    """Yield the decisions on transactions of [start, end), each with the label that had arrived last by `until`."""
    given = {"space": space, "start": start, "end": end}
    marks = connection.execute(
        text(
            "SELECT t.id, l.value FROM fraud_transactions t JOIN fraud_labels l ON l.space = t.space AND l.id = t.id "
            "WHERE t.space = :space AND t.ts >= :start AND t.ts < :end AND l.arrived_at <= :until "
            "ORDER BY l.arrived_at, l.seq"
        ),
        {**given, "until": until},
    )
    said = {id: int(value) for id, value in marks}
    rows = connection.execute(
        text(
            "SELECT t.id, t.ts, t.flagged, d.alias, CASE WHEN t.flagged = 1 THEN d.body END "
            "FROM fraud_transactions t JOIN fraud_decisions d ON d.seq = t.seq AND d.shadow = 0 "
            "WHERE t.space = :space AND t.ts >= :start AND t.ts < :end"
        ),
        given,
    )
    for id, ts, flagged, alias, body in rows:
        released = body is not None and "released" in orjson.loads(bytes(body))
        yield Decided(id, ts, alias, bool(flagged), released, said.get(id, -1))
