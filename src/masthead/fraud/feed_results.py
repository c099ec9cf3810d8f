"""What the portal asks of the tables of transactions: the newest ones, and counts over time. SQL like `results.py`."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

__all__ = ["Fed", "feed", "newest", "timeline"]


@dataclass(frozen=True, slots=True)
class Fed:
    """One scored transaction on the live chart; `arrived` and `ts` in UTC microseconds."""

    seq: int
    id: str
    ts: int
    amount: float | None
    arrived: int
    score: float
    flagged: bool


def feed(connection: Connection, space: str, *, after: int, limit: int) -> list[Fed]:
    """Return the last scored transactions that were accepted behind a number, in order of acceptance."""
    rows = connection.execute(
        text(
            "SELECT seq, id, ts, amount, arrived, score, flagged FROM fraud_transactions "
            "WHERE seq > :after AND space = :space AND score IS NOT NULL ORDER BY seq DESC LIMIT :limit"
        ),
        {"after": after, "space": space, "limit": limit},
    ).all()
    return [
        Fed(row.seq, row.id, row.ts, row.amount, row.arrived, row.score, bool(row.flagged))
        for row in reversed(rows)
    ]


def newest(connection: Connection, space: str) -> int | None:
    """Return the time of the newest transaction of a space, None without any."""
    found = connection.execute(
        text("SELECT max(ts) FROM fraud_transactions WHERE space = :space"), {"space": space}
    ).scalar()
    return None if found is None else int(found)


def timeline(connection: Connection, space: str, *, start: int, end: int, width: int) -> list[dict[str, Any]]:
    """Return count and amount, of all and of flagged, per `width` microseconds of [start, end); empty ones are left out."""
    rows = connection.execute(
        text(
            "SELECT (ts - :start) / :width AS place, count(*), coalesce(sum(amount), 0), coalesce(sum(flagged), 0), "
            "coalesce(sum(CASE WHEN flagged = 1 THEN amount END), 0) FROM fraud_transactions "
            "WHERE space = :space AND ts >= :start AND ts < :end GROUP BY place ORDER BY place"
        ),
        {"space": space, "start": start, "end": end, "width": width},
    )
    names = ("count", "amount", "flagged", "flagged_amount")
    return [
        {"start": start + int(place) * width, **dict(zip(names, map(float, rest), strict=True))}
        for place, *rest in rows
    ]
