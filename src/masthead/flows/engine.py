"""DBOS behind four doors: launch, begin, ask, end. Imported only when there is work: it costs half a second of CPU.

Settings that are not DBOS's defaults, and why: `application_version` is pinned, since it is else a hash of the
source and an update would leave unfinished flows for ever; one executor id, so that the next process recovers what
a killed one left; JSON instead of pickle, so that a stolen or old database runs no code; the log at ERROR and
through ours, since DBOS invites to an outside address at INFO; telemetry off.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from dbos import DBOS, DBOSClient, DBOSConfig, SetWorkflowID
from dbos import Serializer as DbosSerializer
from dbos import error as dbos_errors

from masthead.base import errors
from masthead.base.errors import InvalidInput, MastheadError, shown
from masthead.base.log import get_logger

FLOW = (
    "masthead.flow"  # one DBOS workflow runs every flow by name, so that flows need no decorators at import
)
EXECUTOR = "masthead"

_ERRORS = {one.code: one for one in (errors.Conflict, InvalidInput, errors.LimitReached, errors.NotFound)}
_launched: Callable[[str, dict[str, Any]], Any] | None = None

Cancelled = dbos_errors.DBOSWorkflowCancelledError
NotOwned = dbos_errors.DBOSWorkflowConflictIDError  # a cancelled flow is nobody's, before it hears of it too
TriesUsedUp = dbos_errors.DBOSMaxStepRetriesExceeded


class JsonSerializer(DbosSerializer):
    """Arguments, outputs and errors as JSON text."""

    def serialize(self, data: Any) -> str:
        try:
            return orjson.dumps(data, default=_as_json, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError as error:
            raise InvalidInput(f"output: expected JSON values, got {shown(data)}") from error

    def deserialize(self, serialized_data: str) -> Any:
        found = orjson.loads(serialized_data)
        if isinstance(found, dict) and set(found) == {"__error__", "message"}:
            return _ERRORS.get(found["__error__"], RuntimeError)(found["message"])
        return found

    def name(self) -> str:
        return "masthead_json"


def used_up(error: dbos_errors.DBOSMaxStepRetriesExceeded) -> errors.LimitReached:
    """Return what a step says whose tries are used up, the same now and after a recovery."""
    last = error.errors[-1] if error.errors else "no error kept"
    return errors.LimitReached(
        f"step {error.step_name}: failed {error.max_retries} times, at last with {last}"
    )


def _as_json(value: Any) -> Any:
    if isinstance(value, TriesUsedUp):
        value = used_up(value)
    if isinstance(value, MastheadError):
        return {"__error__": value.code, "message": value.message}
    if isinstance(value, BaseException):
        return {"__error__": type(value).__name__, "message": f"{type(value).__name__}: {value}"}
    raise TypeError(type(value).__name__)


class _ToOurLog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        get_logger("flows").warning("dbos", message=record.getMessage()[:500])


def launch(url: str, version: str, body: Callable[[str, dict[str, Any]], Any]) -> None:
    """Start DBOS in this process; what an earlier process left unfinished goes on at once."""
    global _launched
    if _launched:
        raise errors.Conflict("flows: one process runs one set of flows, and one is open already")
    config: DBOSConfig = {
        "name": "masthead",
        "system_database_url": url,
        "application_version": version,
        "executor_id": EXECUTOR,
        "serializer": JsonSerializer(),
        "log_level": "ERROR",
        "enable_otlp": False,
        "notification_listener_polling_interval_sec": 1.0,
    }
    DBOS(config=config)
    log = logging.getLogger("dbos")
    log.handlers = [_ToOurLog()]
    log.propagate = False

    def flow(name: str, args: dict[str, Any]) -> Any:  # a plain function: DBOS marks what it decorates
        return body(name, args)

    _launched = DBOS.workflow(name=FLOW, max_recovery_attempts=1000)(flow)
    DBOS.launch()


def close(wait_s: int) -> None:
    """Stop DBOS; flows under way stay unfinished in the database."""
    global _launched
    if _launched:
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=wait_s)
        _launched = None


def begin(flow: str, name: str, args: dict[str, Any]) -> None:
    """Start a flow under its id; nothing happens when the id is known."""
    assert _launched is not None
    with SetWorkflowID(flow):
        DBOS.start_workflow(_launched, name, args)


def run_step(options: dict[str, Any], work: Callable[[], Any]) -> Any:
    """Run a step of the current flow, or give back what it gave before."""
    return DBOS.run_step(options, work)  # type: ignore[call-overload]


def inside_step() -> bool:
    """Return whether this thread is inside a step of a flow."""
    return DBOS.step_id is not None


def set_progress(value: dict[str, Any]) -> None:
    """Store the progress of the current flow."""
    DBOS.set_event("progress", value)


def current_id() -> str:
    """Return the id of the flow that runs in this thread."""
    return str(DBOS.workflow_id)


@contextlib.contextmanager
def door(url: str) -> Iterator[Any]:
    """Give what answers questions and takes cancellations: this process's DBOS, or a client of its database."""
    if _launched:
        yield DBOS
        return
    client = DBOSClient(system_database_url=url, serializer=JsonSerializer())
    try:
        yield client
    finally:
        client.destroy()
