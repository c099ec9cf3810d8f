"""One database behind one interface: SQLite in WAL by default, PostgreSQL by URL.

Writers are short and one at a time on SQLite (`BEGIN IMMEDIATE`), so a transaction that started never fails for a
lock in its middle. Readers never wait.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from masthead.base.errors import InvalidInput, LimitReached, Unavailable
from masthead.store.schema import metadata

_BUSY_MS = 30_000
_CHANGES = "masthead_changes"
_MOST_CHANGES = 2**31  # SQLite keeps the number in 32 bits


class Database:
    """A database: `write()` and `read()` give connections, `version()` tells that somebody else wrote.

    Attributes:
        wrote: Whether a transaction was committed through this object.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.wrote = False
        self._watch: Connection | None = None
        self._watch_lock = threading.Lock()

    @classmethod
    def open(cls, url: str | Path) -> "Database":
        """Return the database at a SQLite path or an SQLAlchemy URL.

        Raises:
            InvalidInput: The URL names another engine than SQLite or PostgreSQL.
        """
        target = URL.create("sqlite", database=str(url)) if isinstance(url, Path) else make_url(url)
        if target.drivername in ("postgresql", "postgres"):
            target = target.set(drivername="postgresql+psycopg")
        if target.get_backend_name() not in ("sqlite", "postgresql"):
            raise InvalidInput(
                f"database_url: expected sqlite or postgresql, got {target.get_backend_name()}"
            )
        if target.get_backend_name() == "sqlite":
            if target.database and target.database != ":memory:":
                Path(target.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            engine = create_engine(target)
            event.listen(engine, "connect", _prepare_sqlite)
        else:
            engine = create_engine(target, pool_size=5, max_overflow=10, pool_pre_ping=True)
        return cls(engine)

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Give a connection inside one transaction: committed at the end, rolled back by an exception.

        Raises:
            LimitReached: The disk is full. Unavailable: The database does not answer.
        """
        with self.answering(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
                self._count_change(connection)
                connection.commit()
                self.wrote = True
            except OperationalError as error:
                connection.rollback()
                if "disk is full" in str(error) or "No space left" in str(error):
                    raise LimitReached(
                        "disk: no space left for the database; free some and try again"
                    ) from error
                raise
            except BaseException:
                connection.rollback()
                raise

    def touch(self) -> None:
        """Let everyone who watches the database look again: something beside it has changed, a folder, say."""
        with self.write():
            pass

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database.

        Raises:
            Unavailable: The database does not answer.
        """
        with self.answering(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Tell errors that mean that the database does not answer now, as it is started again, say, as `Unavailable`."""
        driver: Any = self.engine.dialect.dbapi
        try:
            yield
        except Exception as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            if self.is_sqlite or not isinstance(cause, driver.OperationalError | driver.InterfaceError):
                raise
            raise Unavailable("database: it does not answer now; come again in some seconds") from error

    def version(self) -> int:
        """Return a number that changes when `write` has committed, also in another process.

        What is written beside `write` is not counted: transactions that are scored come a thousand a second, and
        nobody who watches for a changed setting wants to look again after each of them.

        Raises:
            Unavailable: The database does not answer.
        """
        with self._watch_lock, self.answering():
            try:
                return self._watched()
            except SQLAlchemyError:  # the connection is broken, for good: the database was restarted, say
                self._stop_watching()
                return self._watched()

    def _watched(self) -> int:
        if self._watch is None:
            self._watch = self._open_watch()
        if self.is_sqlite:
            return int(self._watch.exec_driver_sql("PRAGMA user_version").scalar_one())
        asked = text(f"SELECT last_value + is_called::int FROM {_CHANGES}")
        found = self._watch.execute(asked).scalar_one()
        self._watch.rollback()
        return int(found)

    def _stop_watching(self) -> None:
        if self._watch is not None:
            with contextlib.suppress(SQLAlchemyError):
                self._watch.invalidate()
            with contextlib.suppress(SQLAlchemyError):
                self._watch.close()
            self._watch = None

    def _open_watch(self) -> Connection:
        if self.is_sqlite:
            return self.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        with self.engine.begin() as connection:
            connection.execute(text(f"CREATE SEQUENCE IF NOT EXISTS {_CHANGES}"))
        return self.engine.connect()

    def _count_change(self, connection: Connection) -> None:
        if self.is_sqlite:  # a number in the file's header, changed and rolled back with the rest
            seen = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            connection.exec_driver_sql(f"PRAGMA user_version = {(seen + 1) % _MOST_CHANGES}")
            return
        if self._watch is None:
            self.version()
        connection.execute(text(f"SELECT nextval('{_CHANGES}')"))

    def create_all(self) -> None:
        """Make every declared table without migrations; for tests of single rooms."""
        metadata.create_all(self.engine)

    def close(self) -> None:
        """Let go of every connection."""
        with self._watch_lock:
            self._stop_watching()
        self.engine.dispose()

    def insert_ignore(self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows whose key is new; return how many were."""
        if not rows:
            return 0
        dialect = self._dialect()
        statement = dialect.insert(table).on_conflict_do_nothing().returning(*table.primary_key)
        return sum(len(connection.execute(statement, dict(row)).all()) for row in rows)

    def _dialect(self) -> Any:
        """Return the module of the engine's own `insert`; the other engine's is not loaded."""
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            return sqlite
        from sqlalchemy.dialects import postgresql

        return postgresql

    def upsert(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
        """Insert the row, or update the row that has its primary key."""
        dialect = self._dialect()
        keys = [column.name for column in table.primary_key]
        statement = dialect.insert(table).values(dict(row))
        changes = {name: statement.excluded[name] for name in row if name not in keys}
        if changes:
            statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
        else:
            statement = statement.on_conflict_do_nothing(index_elements=keys)
        connection.execute(statement)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Set what SQLite forgets at each connect. FULL: a committed row survives a power failure."""
    connection.isolation_level = None  # SQLAlchemy begins transactions itself, so that they can be IMMEDIATE
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
