"""What is read from the flows' database without loading DBOS; the only file of the room with SQL.

The tables are DBOS's (its documented system tables, https://docs.dbos.dev/explanations/system-tables).
"""

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

UNFINISHED = ("PENDING", "ENQUEUED", "DELAYED")


def prepare(url: str) -> None:
    """Make a SQLite file and set it to WAL: DBOS keeps the journal mode it finds; a step costs half as much so."""
    target = make_url(url)
    if target.get_backend_name() != "sqlite" or not target.database:
        return
    path = Path(target.database)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    path.chmod(0o600)


def with_driver(url: str) -> str:
    """Return the URL with the one PostgreSQL driver that Masthead ships.

    >>> with_driver("postgres://db/flows"), with_driver("sqlite:///flows.db")
    ('postgresql+psycopg://db/flows', 'sqlite:///flows.db')
    """
    head, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if head in ("postgres", "postgresql") else head + separator + rest


def reader(url: str) -> Engine:
    """Return an engine for the questions below; it opens nothing yet."""
    return create_engine(make_url(url))


def unfinished(engine: Engine) -> int:
    """Return how many flows are neither done nor failed nor cancelled; 0 when there never was one."""
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        return 0
    statement = text(f"SELECT count(*) FROM {_table(engine)} WHERE status IN {UNFINISHED}")
    try:
        with engine.connect() as connection:
            return int(connection.execute(statement).scalar_one())
    except DBAPIError:  # the tables are made at the first start of a flow
        return 0


def status(engine: Engine, flow: str) -> str | None:
    """Return DBOS's word for a flow's state, or None when there is no such flow."""
    statement = text(f"SELECT status FROM {_table(engine)} WHERE workflow_uuid = :flow")
    with engine.connect() as connection:
        found = connection.execute(statement, {"flow": flow}).scalar_one_or_none()
    return None if found is None else str(found)


def _table(engine: Engine) -> str:
    return "workflow_status" if engine.dialect.name == "sqlite" else "dbos.workflow_status"
