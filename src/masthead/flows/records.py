"""What is read from the flows' database without loading DBOS; the only file of the room with SQL.

The tables are DBOS's (its documented system tables, https://docs.dbos.dev/explanations/system-tables).
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, RowMapping, bindparam, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

UNFINISHED = ("PENDING", "ENQUEUED", "DELAYED")
_PARTS = (
    "workflow_events_history",
    "workflow_events",
    "operation_outputs",
    "workflow_output",
    "workflow_input",
    "workflow_status",
)


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
    statement = text(f"SELECT count(*) AS n FROM {_table(engine)} WHERE status IN {UNFINISHED}")
    return next((int(row["n"]) for row in _rows(engine, statement, {})), 0)


def status(engine: Engine, flow: str) -> str | None:
    """Return DBOS's word for a flow's state, or None when there is no such flow."""
    statement = text(f"SELECT status FROM {_table(engine)} WHERE workflow_uuid = :flow")
    return next((str(row["status"]) for row in _rows(engine, statement, {"flow": flow})), None)


def find(
    engine: Engine, *, flow: str | None = None, states: Sequence[str] = (), limit: int = 100
) -> list[dict[str, Any]]:
    """Return flows as `{"id", "status", "created", "updated", "name", "args", "output", "error", "progress"}`.

    The newest first; none when no flow was ever started.
    """
    wanted = [
        *(["status.workflow_uuid = :flow"] if flow is not None else []),
        *(["status.status IN :states"] if states else []),
    ]
    statement = text(
        "SELECT status.workflow_uuid AS id, status.status, status.created_at, status.updated_at, given.inputs, "
        "gave.output, gave.error, event.value AS progress "
        f"FROM {_table(engine)} status "
        f"LEFT JOIN {_table(engine, 'workflow_input')} given ON given.workflow_uuid = status.workflow_uuid "
        f"LEFT JOIN {_table(engine, 'workflow_output')} gave ON gave.workflow_uuid = status.workflow_uuid "
        f"LEFT JOIN {_table(engine, 'workflow_events')} event "
        "ON event.workflow_uuid = status.workflow_uuid AND event.key = 'progress' "
        + (f"WHERE {' AND '.join(wanted)} " if wanted else "")
        + "ORDER BY status.created_at DESC, status.workflow_uuid DESC LIMIT :limit"
    )
    values: dict[str, Any] = {"limit": limit}
    if flow is not None:
        values["flow"] = flow
    if states:
        statement = statement.bindparams(bindparam("states", expanding=True))
        values["states"] = list(states)
    return [_flow(row) for row in _rows(engine, statement, values)]


def find_steps(engine: Engine, flow: str) -> list[dict[str, Any]]:
    """Return a flow's finished steps in order: `{"name", "seconds", "output", "error"}`."""
    statement = text(
        "SELECT function_name, output, error, started_at_epoch_ms, completed_at_epoch_ms "
        f"FROM {_table(engine, 'operation_outputs')} "
        "WHERE workflow_uuid = :flow AND function_name NOT LIKE 'DBOS.%' ORDER BY function_id"
    )
    return [
        {
            "name": row["function_name"],
            "seconds": round(
                ((row["completed_at_epoch_ms"] or 0) - (row["started_at_epoch_ms"] or 0)) / 1000, 3
            ),
            "output": _value(row["output"]),
            "error": _message(row["error"]),
        }
        for row in _rows(engine, statement, {"flow": flow})
    ]


def remove_ended(engine: Engine, *, before_ms: int) -> list[str]:
    """Delete flows that ended before a time, with their steps; return their ids."""
    statement = text(
        f"SELECT workflow_uuid AS id FROM {_table(engine)} "
        "WHERE status NOT IN :states AND updated_at < :before LIMIT 1000"
    ).bindparams(bindparam("states", expanding=True))
    found = [
        str(row["id"]) for row in _rows(engine, statement, {"states": list(UNFINISHED), "before": before_ms})
    ]
    for name in _PARTS if found else ():
        removal = text(f"DELETE FROM {_table(engine, name)} WHERE workflow_uuid IN :ids")
        with engine.begin() as connection:
            connection.execute(removal.bindparams(bindparam("ids", expanding=True)), {"ids": found})
    return found


def _rows(engine: Engine, statement: Any, values: dict[str, Any]) -> list[RowMapping]:
    """Return the rows of a question; none before the first start of a flow has made the tables."""
    if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").exists():
        return []
    try:
        with engine.connect() as connection:
            return list(connection.execute(statement, values).mappings())
    except DBAPIError as error:
        if "no such table" in str(error) or "does not exist" in str(error):
            return []
        raise


def _flow(row: RowMapping) -> dict[str, Any]:
    name, args = (_value(row["inputs"]) or {}).get("args") or ("", {})
    return {
        "id": row["id"],
        "status": row["status"],
        "created": row["created_at"],
        "updated": row["updated_at"],
        "name": name,
        "args": args,
        "output": _value(row["output"]),
        "error": _message(row["error"]),
        "progress": _value(row["progress"]) or {},
    }


def _value(stored: str | None) -> Any:
    return None if stored is None else orjson.loads(stored)


def _message(stored: str | None) -> str:
    found = _value(stored)
    return str(found.get("message", found)) if isinstance(found, dict) else str(found or "")


def _table(engine: Engine, name: str = "workflow_status") -> str:
    return name if engine.dialect.name == "sqlite" else f"dbos.{name}"
