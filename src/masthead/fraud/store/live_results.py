"""What the tables tell of a model at work: its scores, what it saw, and what became of it. SQL like `results.py`."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, text

__all__ = ["Kept", "Scores", "Span", "count", "kept", "labels", "marks", "scores", "transactions", "vectors"]

_TOGETHER = 500  # vectors asked for at once
_AT_ONCE = 20_000


class Span(NamedTuple):
    """A half-open window of the transactions' time in a space, UTC microseconds."""

    space: str
    start: int
    end: int


class Scores(NamedTuple):
    """What a model said, in the order of acceptance: number of the transaction, its time, its probability."""

    seq: NDArray[np.int64]
    ts: NDArray[np.int64]
    score: NDArray[np.float64]


class Kept(NamedTuple):
    """What was kept of one decision.

    Attributes:
        alias: The deployment. shadow: It scored along.
        body: JSON of what was answered, or would have been. vector: As `vectors.py` packs it.
    """

    alias: str
    model: str
    shadow: bool
    score: float
    body: bytes
    vector: bytes


def kept(connection: Connection, space: str, id: str, alias: str = "") -> Kept | None:
    """Return what a deployment decided on a transaction, None where it did not.

    Args:
        alias: Of a deployment, also one in shadow; "" = the one that decided.
    """
    which = "d.alias = :alias" if alias else "d.shadow = 0"
    row = connection.execute(
        text(
            "SELECT d.alias, d.model, d.shadow, d.score, d.body, d.vector FROM fraud_transactions t "
            f"JOIN fraud_decisions d ON d.seq = t.seq WHERE t.space = :space AND t.id = :id AND {which}"
        ),
        {"space": space, "id": id, "alias": alias} if alias else {"space": space, "id": id},
    ).first()
    if row is None:
        return None
    return Kept(row[0], row[1], bool(row[2]), float(row[3]), bytes(row[4]), bytes(row[5]))


def scores(connection: Connection, span: Span, model: str, *, limit: int) -> Scores:
    """Return the scores of a model in a window, also those in shadow and under another name; the newest if many."""
    rows = connection.execute(
        text(
            "SELECT t.seq, t.ts, d.score FROM fraud_transactions t JOIN fraud_decisions d ON d.seq = t.seq "
            "WHERE t.space = :space AND t.ts >= :start AND t.ts < :end AND d.model = :model "
            "ORDER BY t.ts DESC, t.seq DESC LIMIT :limit"
        ),
        {**span._asdict(), "model": model, "limit": limit},
    ).all()
    seq, once = np.unique(np.array([row[0] for row in rows], np.int64), return_index=True)
    ts = np.array([row[1] for row in rows], np.int64)
    score = np.array([row[2] for row in rows], np.float64)
    return Scores(seq, ts[once], score[once])


def vectors(connection: Connection, seqs: Sequence[int], model: str) -> list[bytes]:
    """Return what a model saw of some transactions, as it is stored, in the order of their numbers."""
    statement = text(
        "SELECT seq, vector FROM fraud_decisions WHERE model = :model AND seq IN :seqs"
    ).bindparams(bindparam("seqs", expanding=True))
    found: dict[int, bytes] = {}
    for start in range(0, len(seqs), _TOGETHER):
        some = list(seqs[start : start + _TOGETHER])
        found |= {
            int(row[0]): bytes(row[1])
            for row in connection.execute(statement, {"model": model, "seqs": some})
        }
    return [found[one] for one in sorted(found)]


def marks(connection: Connection, span: Span, *, until: int) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return (number of the transaction, value) of the labels about a window that arrived by a time, in that order."""
    rows: Sequence[Any] = connection.execute(
        text(
            "SELECT t.seq, l.value FROM fraud_transactions t JOIN fraud_labels l ON l.space = t.space AND l.id = t.id "
            "WHERE t.space = :space AND t.ts >= :start AND t.ts < :end AND l.arrived_at <= :until "
            "ORDER BY l.arrived_at, l.seq"
        ),
        {**span._asdict(), "until": until},
    ).all()
    return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int8)


# ---------------------------------------------------------------------- all of it, up to a number of the log


def count(connection: Connection, space: str, last: int) -> int:
    """Return how many transactions a space has."""
    found = connection.execute(
        text("SELECT count(*) FROM fraud_transactions WHERE space = :space AND seq <= :last"),
        {"space": space, "last": last},
    )
    return int(found.scalar_one())


def transactions(connection: Connection, space: str, last: int) -> Iterator[Sequence[Any]]:
    """Yield (id, ts, amount, ents, feat, body) as they are stored, in the order of time, thousands at once."""
    found = connection.execute(
        text(
            "SELECT id, ts, amount, ents, feat, body FROM fraud_transactions "
            "WHERE space = :space AND seq <= :last ORDER BY ts, seq"
        ),
        {"space": space, "last": last},
    ).cursor
    assert found is not None
    while rows := found.fetchmany(_AT_ONCE):
        yield rows


def labels(connection: Connection, space: str, last: int) -> Sequence[Any]:
    """Return (id, value, arrived at) of every label, in the order of arrival."""
    return connection.execute(
        text(
            "SELECT id, value, arrived_at FROM fraud_labels WHERE space = :space AND seq <= :last "
            "ORDER BY arrived_at, seq"
        ),
        {"space": space, "last": last},
    ).all()
