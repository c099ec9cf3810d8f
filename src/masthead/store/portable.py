"""A database as one SQLite file, whatever engine it lies in: written from a snapshot, read back in one transaction.

The file is made by the same migrations as the database, so it is also what a data folder without `database_url` holds.
Rows pass one batch at a time, so memory does not grow with the database.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, MetaData, Table
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from masthead.base.errors import Conflict, InvalidInput, Unavailable
from masthead.store.engine import Database
from masthead.store.migrate import migrate

_BATCH = 1000  # rows; the widest hold 64 packed results, 2.4 KB
_REVISION = "alembic_version"


@contextlib.contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """Give a connection that sees one state of the database, however long it is read and whatever is written.

    Raises:
        Conflict: The database does not answer.
    """
    engine = database.engine
    if not database.is_sqlite:
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with _answering(database), engine.connect() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("BEGIN")
        _revision(connection)  # the first question chooses the state, not BEGIN
        yield connection


def write_portable(view: Connection, target: Path) -> int:
    """Write what a snapshot sees to a new SQLite file and return the number of rows.

    Raises:
        Conflict: The tables are those of another version.
    """
    file = Database.open(target)
    try:
        migrate(file)
        with file.write() as copy:
            if (there := _revision(view)) != (here := _revision(copy)):
                raise Conflict(f"database: its tables have revision {there}, this version's have {here}")
            count = _copy(view, copy, _tables(copy))
    finally:
        file.close()
    target.chmod(0o600)
    return count


def check_portable(source: Path) -> None:
    """Bring the database file of an archive to the present tables, once it is seen to be sound.

    Raises:
        InvalidInput: It is damaged, or no database of Masthead. Conflict: A newer version wrote it.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as file:
            (sound,) = file.execute("PRAGMA quick_check(1)").fetchone()
            file.execute(f"SELECT version_num FROM {_REVISION}").fetchone()
    except sqlite3.Error as error:
        raise InvalidInput(f"file: expected a database of Masthead as {source.name}: {error}") from error
    if sound != "ok":
        raise InvalidInput(f"file: {source.name} in it is damaged: {sound}")
    database = Database.open(source)
    try:
        migrate(database)
    finally:
        database.close()


@contextlib.contextmanager
def restored(source: Path, database: Database, *, force: bool, aside: Path) -> Iterator[int]:
    """Make the database what a file holds; give the number of rows before the change is committed.

    An exception inside the block, too, leaves the rows as they were.

    Args:
        source: A file that `check_portable` has passed.
        database: Its tables are made when it has none.
        force: Replace rows that are there.
        aside: Where rows that are there are written first, as such a file.

    Raises:
        Conflict: The database is not empty and `force` is False, was written by a newer version, or does not answer.
        InvalidInput: A row does not fit, say a text with a NUL character into PostgreSQL.
    """
    file = Database.open(source)
    try:
        with _answering(database), file.read() as rows:
            names = _tables(rows)
            occupied = _occupied(database, names)
            if occupied and not force:
                raise Conflict(
                    f"database_url: the database is not empty (see table {occupied}); "
                    "name another one, or give --force"
                )
            migrate(database)
            if occupied:
                with snapshot(database) as before:
                    write_portable(before, aside)
            with database.write() as connection:
                _empty(connection, names)
                yield _copy(rows, connection, names)
    finally:
        file.close()


@contextlib.contextmanager
def _answering(database: Database) -> Iterator[None]:
    """Say in one line why the other database failed."""
    try:
        yield
    except (DBAPIError, Unavailable) as error:
        cause = error.__cause__ if isinstance(error, Unavailable) else error
        reason = str(cause.orig if isinstance(cause, DBAPIError) else cause).strip().partition("\n")[0]
        shown = database.engine.url.render_as_string(hide_password=True)
        if isinstance(error, DataError | IntegrityError):
            raise InvalidInput(f"database: a row does not fit into {shown}: {reason}") from error
        raise Conflict(f"database_url: {shown} failed: {reason}") from error


def _revision(connection: Connection) -> str | None:
    found: str | None = connection.execute(sa.text(f"SELECT version_num FROM {_REVISION}")).scalar()
    return found


def _tables(connection: Connection) -> list[str]:
    """Return the tables that the migrations made, but for their own note."""
    return sorted(set(sa.inspect(connection).get_table_names()) - {_REVISION})


def _reflected(connection: Connection, names: list[str]) -> list[Table]:
    """Return the tables as they are there, those that others refer to first."""
    found = MetaData()
    found.reflect(connection, only=names)
    return found.sorted_tables


def _occupied(database: Database, names: list[str]) -> str:
    """Return the name of a table that has rows, or nothing."""
    with database.read() as connection:
        for table in _reflected(connection, _present(connection, names)):
            if connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
                return table.name
    return ""


def _present(connection: Connection, names: list[str]) -> list[str]:
    return sorted(set(names) & set(sa.inspect(connection).get_table_names()))


def _empty(connection: Connection, names: list[str]) -> None:
    tables = _reflected(connection, names)
    if connection.dialect.name == "postgresql":
        # Nobody writes between the emptying and the end of the copy, also not a server that was forgotten.
        listed = ", ".join(f'"{table.name}"' for table in tables)
        connection.execute(sa.text(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE"))
    for table in reversed(tables):
        connection.execute(table.delete())


def _copy(source: Connection, target: Connection, names: list[str]) -> int:
    """Copy every row of the tables; return how many."""
    count = 0
    into = {table.name: table for table in _reflected(target, names)}
    by_name = {table.name: table for table in _reflected(source, names)}
    for name, table in into.items():
        columns = [by_name[name].c[column.name] for column in table.columns]
        found = source.execution_options(yield_per=_BATCH).execute(sa.select(*columns))
        for rows in found.mappings().partitions():
            target.execute(table.insert(), [dict(row) for row in rows])
            count += len(rows)
        if target.dialect.name == "postgresql":
            _set_sequences(target, table)
    return count


def _set_sequences(connection: Connection, table: Table) -> None:
    """Let numbers that PostgreSQL gives go on behind the copied ones."""
    for column in table.primary_key:
        if not isinstance(column.type, sa.Integer):
            continue
        sequence = connection.execute(
            sa.text("SELECT pg_get_serial_sequence(:table, :column)"),
            {"table": f'"{table.name}"', "column": column.name},
        ).scalar_one()
        if sequence:
            last = connection.execute(sa.select(sa.func.max(column))).scalar_one()
            connection.execute(
                sa.text("SELECT setval(:sequence, :last, :used)"),
                {"sequence": sequence, "last": last or 1, "used": last is not None},
            )
