"""The one connection by which transactions are written, and what is read of them in whole. SQL stands here, in `links.py`
and in `results.py`.

One sequence numbers transactions and labels as they were accepted: who has seen all up to a number has seen everything
that was true then. Each group of them is one database transaction under one lock, whichever process writes it, so the
numbers rise without holes and a process that keeps a state in memory sees at once whether another one has written.
"""

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import orjson
from numpy.typing import NDArray
from sqlalchemy import Connection, text

from masthead.base.errors import LimitReached
from masthead.base.log import get_logger
from masthead.fraud.store.checkpoints import BRAKE_PAGES, Checkpoints
from masthead.fraud.store.records import LAST_SEQ, LIVE, NewDecision, NewLabel, NewTransaction
from masthead.store.engine import Database

__all__ = ["Group", "Head", "History", "TransactionLog"]

_LOCK = 0x4D41_5354_4652  # of PostgreSQL's advisory locks: who writes transactions
_CACHE_KIB = 262_144
_SETTLED_S, _AGAIN_S = 30.0, 0.01
_AT_ONCE = 50_000
_MANY = 500  # rows from which PostgreSQL takes them by COPY


@dataclass(frozen=True, slots=True)
class Head:
    """What the tables hold now: the last number given, and how often something was taken away."""

    last: int
    epoch: int


@dataclass(frozen=True, slots=True)
class History:
    """Transactions and labels of a space, as arrays in order of `seq`.

    Attributes:
        ents: (n, relations) int32; 0 = no edge.
        labelled: The transaction that a label is about; labels of unknown transactions are not among them.
    """

    seq: NDArray[np.int64]
    ts: NDArray[np.int64]
    amount: NDArray[np.float64]
    ents: NDArray[np.int32]
    label_seq: NDArray[np.int64]
    labelled: NDArray[np.int64]
    value: NDArray[np.int8]
    arrived_at: NDArray[np.int64]

    def told(self, which: NDArray[np.bool_]) -> "History":
        """Return the same transactions with some of the labels."""
        names = ("label_seq", "labelled", "value", "arrived_at")
        return replace(self, **{name: getattr(self, name)[which] for name in names})


class TransactionLog:
    """Transactions, their entities, labels and decisions in one database.

    `group` is for one thread at a time; everything else may be called from any.

    Args:
        sync: SQLite: `full`: what was committed survives a power failure; `normal`: the last commits may not.
    """

    def __init__(self, database: Database, *, sync: Literal["full", "normal"] = "full") -> None:
        self.database, self._sync = database, sync
        self._driver: Any = None
        self._driver_used = False  # a transaction was begun on it once
        self._durable = True
        self._turn = threading.Lock()
        self._checkpoints = Checkpoints(database, self._turn) if database.is_sqlite else None

    # ------------------------------------------------------------------ writing

    @contextlib.contextmanager
    def group(self, *, durable: bool = True) -> Iterator["Group"]:
        """Give what writes one group: committed at the end; nothing of it stays after an exception.

        Args:
            durable: False: a power failure may take it, for what can be made again. SQLite then waits for no disk.

        Raises:
            LimitReached: The disk is full. Unavailable: The database does not answer; whether the group was committed
                shows when it does.
        """
        with self._turn, self.database.answering():
            driver, cursor = self._begun(durable)
            try:
                yield Group(self.database.is_sqlite, cursor)
                driver.commit()
                if self._checkpoints is not None:
                    self._checkpoints.committed()
            except BaseException as error:
                self._take_back(driver)
                if _is_full(error):
                    raise LimitReached(
                        "disk: no space left for the database; free some and try again"
                    ) from error
                raise
            finally:
                cursor.close()

    def _begun(self, durable: bool) -> tuple[Any, Any]:
        """Return the driver's connection and a cursor with a transaction begun; on another connection if the one that was
        there turns out to be broken, as after a restart of the database."""
        while True:
            driver, kept = self._opened(), self._driver_used
            cursor = driver.cursor()
            try:
                self._begin(cursor, durable)
            except Exception:
                cursor.close()
                self._take_back(driver)
                if not kept or self._driver is not None:
                    raise
            else:
                self._driver_used = True
                return driver, cursor

    def _begin(self, cursor: Any, durable: bool) -> None:
        if self.database.is_sqlite:
            if durable != self._durable:
                cursor.execute(f"PRAGMA synchronous={self._sync.upper() if durable else 'NORMAL'}")
                self._durable = durable
            cursor.execute("BEGIN IMMEDIATE")
        else:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))

    def _opened(self) -> Any:
        """Return the driver's connection of the writer: SQLAlchemy's own costs each statement 30 us."""
        if self._driver is None:
            connection = self.database.engine.raw_connection()
            driver: Any = connection.driver_connection
            self._driver = driver
            self._durable = True
            connection.detach()  # its settings are not for those who take one from the pool
            if self.database.is_sqlite:
                for pragma in (
                    f"synchronous={self._sync.upper()}",
                    f"cache_size=-{_CACHE_KIB}",
                    f"wal_autocheckpoint={BRAKE_PAGES}",
                    "secure_delete=ON",
                ):
                    driver.execute(f"PRAGMA {pragma}")
            else:
                driver.prepare_threshold = 0
        return self._driver

    def _take_back(self, driver: Any) -> None:
        try:
            driver.rollback()
        except Exception:  # the connection itself is broken: the next group opens another
            self._close_writer()

    def _close_writer(self) -> None:
        if self._driver is not None:
            with contextlib.suppress(Exception):
                self._driver.close()
            self._driver, self._driver_used = None, False

    def settle(self) -> None:
        """Bring what was taken away out of the write-ahead log, too.

        A reader may hold up the end of the log, and be about to write itself, as who links does: so the turn is held for
        moments only.
        """
        until = time.monotonic() + _SETTLED_S
        while self._checkpoints is not None and not self._truncated(self._checkpoints):
            if time.monotonic() > until:
                get_logger("fraud").warning(
                    "what was taken away still stands in the write-ahead log: a reader holds it"
                )
                return
            time.sleep(_AGAIN_S)

    def _truncated(self, checkpoints: Checkpoints) -> bool:
        """Empty the write-ahead log; return whether nobody was in the way."""
        checkpoints.wait()  # it may wait for the turn itself
        with self._turn:
            driver = self._opened()
            (patience,) = driver.execute("PRAGMA busy_timeout").fetchone()
            driver.execute("PRAGMA busy_timeout=0")
            try:
                busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                driver.execute(f"PRAGMA busy_timeout={patience}")
            return not busy

    def close(self) -> None:
        """Let go of the writer's connection."""
        if self._checkpoints is not None:
            self._checkpoints.wait()
        with self._turn:
            self._close_writer()

    # ------------------------------------------------------------------ reading

    def head(self) -> Head:
        """Return what the tables hold now."""
        with self.database.read() as connection:
            return self.head_of(connection)

    def head_of(self, connection: Connection) -> Head:
        """Return what the tables hold as a connection sees them."""
        cursor = connection.connection.cursor()  # the driver's own, since it is asked for every explanation
        cursor.execute(_HEAD)
        last, epoch = cursor.fetchone() or (0, 0)
        cursor.close()
        return Head(int(last), int(epoch))

    def replay(
        self, from_seq: int = 0, *, space: str = LIVE, relations: int, until: int = LAST_SEQ
    ) -> History:
        """Return what was accepted from a number on, up to one.

        Args:
            relations: How many the schema of the space has.
        """
        bounds = {"space": space, "first": from_seq, "until": until}
        with self.database.read() as connection:
            found = _columns(
                connection,
                "SELECT seq, ts, amount, ents FROM fraud_transactions "
                "WHERE space || '' = :space AND seq >= :first AND seq <= :until ORDER BY seq",
                bounds,
            )
            # A label counts from when both it and its transaction are there.
            marked = _columns(
                connection,
                f"{_LABELS_FROM} ORDER BY 1"
                if from_seq <= 1
                else f"{_LABELS_FROM} UNION ALL {_LABELS_OF} ORDER BY 1",
                bounds,
            )
        seq, ts, amount, ents = found or ((), (), (), ())
        label_seq, labelled, value, arrived_at = marked or ((), (), (), ())
        return History(
            np.array(seq, np.int64),
            np.array(ts, np.int64),
            np.array(amount, np.float64),  # NULL becomes NaN
            np.frombuffer(b"".join(ents), np.int32).reshape(len(seq), relations),
            np.array(label_seq, np.int64),
            np.array(labelled, np.int64),
            np.array(value, np.int8),
            np.array(arrived_at, np.int64),
        )

    def trace(self, space: str, last: int) -> list[list[Any]]:
        """Return the last transaction and the last label of a space up to a number, by which its log is known again."""
        found: list[list[Any]] = []
        with self.database.read() as connection:
            for table, time in (("fraud_transactions", "arrived"), ("fraud_labels", "arrived_at")):
                statement = (
                    f"SELECT seq, id, {time} FROM {table} WHERE space || '' = :space AND seq <= :last "
                    "ORDER BY seq DESC LIMIT 1"
                )
                row = connection.execute(text(statement), {"space": space, "last": last}).first()
                found.append([] if row is None else list(row))
        return found

    def entity_keys(self, *, space: str = LIVE, from_eid: int = 0) -> list[tuple[int, str, str]]:
        """Return (number, relation, key) of the entities of a space from a number on, by number."""
        with self.database.read() as connection:
            found = connection.execute(
                text(
                    "SELECT eid, rel, key FROM fraud_entities WHERE space || '' = :space AND eid >= :first ORDER BY eid"
                ),
                {"space": space, "first": from_eid},
            )
            return [(int(eid), rel, key) for eid, rel, key in found]

    def waiting_labels(self, space: str, *, from_seq: int = 0) -> set[str]:
        """Return the ids that labels from a number on are about whose transaction has not come yet."""
        with self.database.read() as connection:
            found = connection.execute(
                text(
                    "SELECT DISTINCT l.id FROM fraud_labels l LEFT JOIN fraud_transactions t "
                    "ON t.space = l.space AND t.id = l.id WHERE l.space || '' = :space AND l.seq >= :first AND t.seq IS NULL"
                ),
                {"space": space, "first": from_seq},
            )
            return set(found.scalars())


class Group:
    """One group of writes, under the lock of all writers."""

    def __init__(self, is_sqlite: bool, cursor: Any) -> None:
        self.is_sqlite, self._cursor = is_sqlite, cursor
        self.head = Head(*map(int, self._one(_HEAD)))

    def run(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement whose values are `?`; return the driver's cursor."""
        if not self.is_sqlite:
            statement = statement.replace("?", "%s")
        self._cursor.execute(statement, values)
        return self._cursor

    def each(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each of many rows."""
        if rows:
            self._cursor.executemany(statement if self.is_sqlite else statement.replace("?", "%s"), rows)

    def _one(self, statement: str, values: Sequence[Any] = ()) -> Any:
        return self.run(statement, values).fetchone()

    def find(self, space: str, ids: Sequence[str]) -> dict[str, NewTransaction]:
        """Return the transactions of these ids that there are, by id."""
        if self.is_sqlite:
            rows = self.run(_FIND_ALL, (space, orjson.dumps(ids).decode())).fetchall()
        else:
            rows = self.run(f"{_FIND} id = ANY(?)", (space, list(ids))).fetchall()
        found = (NewTransaction(*row) for row in rows)
        return {
            one.id: one._replace(ents=bytes(one.ents), feat=bytes(one.feat), body=bytes(one.body))
            for one in found
        }

    def decision(self, seq: int) -> bytes | None:
        """Return what was answered to a transaction, or None when it was loaded as history."""
        row = self._one("SELECT body FROM fraud_decisions WHERE seq = ? AND shadow = 0", (seq,))
        return None if row is None else bytes(row[0])

    def entities(self, space: str, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Return (relation, key) -> number of the entities that there are."""
        if not self.is_sqlite:
            found = self.run(_ENTITIES, ([rel for rel, _ in pairs], [key for _, key in pairs], space))
            return {(rel, key): int(eid) for eid, rel, key in found.fetchall()}
        known = {}
        for pair in pairs:
            row = self._cursor.execute(_ENTITY, (space, *pair)).fetchone()
            if row is not None:
                known[pair] = row[0]
        return known

    def new_entities(self, space: str, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
        """Make entities that there are not yet; return their numbers."""
        if not pairs:
            return {}
        last = self.last_entity()
        made = {pair: last + place for place, pair in enumerate(pairs, start=1)}
        self.add_entities([(eid, space, *pair) for pair, eid in made.items()])
        return made

    def last_entity(self) -> int:
        """Return the highest number of an entity."""
        return int(self._one("SELECT coalesce(max(eid), 0) FROM fraud_entities")[0])

    def add_entities(self, rows: Sequence[tuple[int, str, str, str]]) -> None:
        """Write entities as (number, space, relation, key)."""
        self._many("fraud_entities", ("eid", "space", "rel", "key"), rows)

    def add(
        self,
        rows: Sequence[NewTransaction],
        decided: Sequence[NewDecision] = (),
    ) -> None:
        """Write transactions, and what was decided; `links` puts them to their entities later."""
        self._many("fraud_transactions", NewTransaction._fields, rows)
        self._many("fraud_decisions", NewDecision._fields, decided)

    def note(self, given: Sequence[NewLabel]) -> None:
        """Write labels."""
        self._many("fraud_labels", NewLabel._fields, given)

    def newest(self, space: str, *, until: int) -> int:
        """Return the time of the newest transaction of a space up to a time, or of all if each is later; 0 = none."""
        asked = "SELECT max(ts) FROM fraud_transactions WHERE space = ?"
        found = self._one(f"{asked} AND ts <= ?", (space, until))[0]
        return int(found or self._one(asked, (space,))[0] or 0)

    def labels_of(self, space: str, id: str) -> list[tuple[int, int, int]]:
        """Return (seq, value, arrived_at) of the labels of a transaction, in order of acceptance."""
        found = self.run(
            "SELECT seq, value, arrived_at FROM fraud_labels WHERE space = ? AND id = ? ORDER BY seq",
            (space, id),
        )
        return [(int(seq), int(value), int(at)) for seq, value, at in found.fetchall()]

    def _many(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        if not rows:
            return
        columns = ", ".join(names)
        if not self.is_sqlite and len(rows) >= _MANY:
            with self._cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            return
        self.each(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(names))})", rows)


# `space || ''` and `+ 0` keep an engine from every index but the numbers': what is asked for lies at the log's end.
_LABELS_FROM = (
    "SELECT l.seq, t.seq, l.value, l.arrived_at FROM fraud_labels l JOIN fraud_transactions t "
    "ON t.space = l.space AND t.id = l.id WHERE l.space || '' = :space "
    "AND l.seq >= :first AND l.seq <= :until AND t.seq + 0 <= :until"
)
_LABELS_OF = (  # earlier ones, which waited for these transactions
    "SELECT l.seq, t.seq, l.value, l.arrived_at FROM fraud_transactions t JOIN fraud_labels l "
    "ON l.space = t.space AND l.id = t.id WHERE t.space || '' = :space "
    "AND t.seq >= :first AND t.seq <= :until AND l.seq + 0 < :first"
)
_HEAD = (
    "SELECT (SELECT coalesce(max(last), 0) FROM (SELECT max(seq) AS last FROM fraud_transactions "
    "UNION ALL SELECT max(seq) AS last FROM fraud_labels) AS both_logs), "
    "coalesce((SELECT sum(epoch) FROM fraud_spaces), 0)"
)
_FIND = f"SELECT {', '.join(NewTransaction._fields)} FROM fraud_transactions WHERE space = ? AND"
_FIND_ALL = f"{_FIND} id IN (SELECT value FROM json_each(?))"  # each statement lets other threads in between
_ENTITY = "SELECT eid FROM fraud_entities WHERE space = ? AND rel = ? AND key = ?"
_ENTITIES = (
    "SELECT e.eid, e.rel, e.key FROM unnest(?::text[], ?::text[]) AS w(rel, key) "
    "JOIN fraud_entities e ON e.space = ? AND e.rel = w.rel AND e.key = w.key"
)


def _columns(connection: Connection, statement: str, values: Mapping[str, Any]) -> list[Any]:
    """Return the columns of a long answer; [] when there is no row."""
    found = connection.execute(text(statement), values).cursor
    assert found is not None
    columns: list[list[Any]] = []
    while rows := found.fetchmany(_AT_ONCE):
        columns = columns or [[] for _ in rows[0]]
        for column, more in zip(columns, zip(*rows, strict=True), strict=True):
            column.extend(more)
    return columns


def _is_full(error: BaseException) -> bool:
    return "disk is full" in str(error) or "No space left" in str(error)
