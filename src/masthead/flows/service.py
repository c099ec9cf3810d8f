"""Durable jobs: named flows made of steps, with retries, time limits, stored output, progress and a log each.

    def rebuild(run: Run, args: dict) -> dict:
        rows = run.step("read", read_rows, args["path"], tries=3)
        run.progress(1, 2, f"{rows} rows read")
        return {"written": run.step("write", write_rows, args["path"], limit_s=600)}

    flows = Flows("sqlite:////data/flows.db", journal)
    flows.register("rebuild", rebuild)
    flows.open()                                    # goes on with what a kill -9 interrupted
    flows.start("rebuild", "rebuild-air", {"path": "air.csv"})

The function of a flow is run again from its top after a crash; finished steps give back what they gave, without
running. So everything that has an effect belongs into a step, and a step must bear being run twice: the one that
was under way is.
"""

import contextlib
import contextvars
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from masthead.base.clock import utc
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.ids import check_name
from masthead.base.log import Journal
from masthead.flows import records

VERSION = "1"  # pinned: raise it only when unfinished flows of earlier versions must not go on
PROGRESS_S = 0.5  # inside a step progress is stored at most this often, and at its end
_LOOK_S = 1.0  # how often a long step looks whether it was cancelled

FlowState = Literal["waiting", "running", "done", "failed", "cancelled"]

_STATES: dict[str, FlowState] = {
    "PENDING": "running",
    "ENQUEUED": "waiting",
    "DELAYED": "waiting",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}
_given_up: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("given_up", default=None)


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as it stands now.

    Attributes:
        id: Given at the start; starting the same id twice is one flow.
        name: Which function.
        state: `waiting`, `running`, `done`, `failed` or `cancelled`.
        args: As given.
        progress: `{"done": n, "total": m, "text": ...}`; empty before the first report.
        output: What the function returned, when done.
        error: Why it failed.
    """

    id: str
    name: str
    state: FlowState
    args: dict[str, Any]
    progress: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    error: str = ""
    created: datetime | None = None
    updated: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the flow as JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        times = {name: fields[name].isoformat() if fields[name] else None for name in ("created", "updated")}
        return fields | times


Listing = list[Flow]  # names for types inside the class, where `list` is the verb
Ids = list[str] | None


class _Stopping(BaseException):
    """The process ends: leave the flow unfinished. No Exception, so that nothing records it as a failure."""


class Run:
    """What the function of a flow gets: its steps, progress and log."""

    def __init__(self, flows: "Flows", flow: str, name: str) -> None:
        self._flows, self.id, self.name = flows, flow, name
        self._reported = self._looked = 0.0

    def step(
        self,
        name: str,
        function: Callable[..., Any],
        *args: Any,
        tries: int = 1,
        pause_s: float = 1.0,
        limit_s: float | None = None,
    ) -> Any:
        """Return what `function(*args)` gave, now or before the crash.

        Args:
            name: For people and the log.
            function: May be run twice; returns JSON values.
            args: Its arguments.
            tries: How often it may fail by an unexpected error; the caller's mistakes are not tried again.
            pause_s: Pause before the second try; doubled each time.
            limit_s: Then a try counts as failed. Its thread cannot be stopped by force: a long function calls
                `check()` now and then.

        Raises:
            LimitReached: The tries or the time are used up.
        """
        from masthead.flows import engine

        self.check()
        options: dict[str, Any] = {"name": name}
        if tries > 1:
            options |= {
                "retries_allowed": True,
                "max_attempts": tries,
                "interval_seconds": pause_s,
                "should_retry": _may_pass,
            }
        try:
            return engine.run_step(options, lambda: self._attempt(name, function, args, limit_s))
        except engine.TriesUsedUp as error:
            raise engine.used_up(error) from error

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Report how far the flow is; from a step or between steps."""
        from masthead.flows import engine

        now = time.monotonic()
        # Between steps each report is a step of its own to DBOS, so there it must not depend on the time.
        if not engine.inside_step() or done >= total or now - self._reported >= PROGRESS_S:
            self._reported = now
            engine.set_progress({"done": done, "total": total, "text": text})

    def log(self, event: str, **fields: Any) -> None:
        """Write a line into the flow's own log."""
        self._flows.write_log(self.id, event, **fields)

    def check(self) -> None:
        """Stop here if the flow was cancelled, the step's time is over or the process ends."""
        from masthead.flows import engine

        over = _given_up.get()
        if over is not None and over.is_set():
            raise _Stopping
        if self._flows.closing:
            raise _Stopping
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            if self._flows.status(self.id) == "CANCELLED":
                raise engine.Cancelled(f"flow {self.id} was cancelled")

    def _attempt(
        self, name: str, function: Callable[..., Any], args: tuple[Any, ...], limit_s: float | None
    ) -> Any:
        self.log("step begins", step=name)
        started = time.monotonic()
        try:
            found = function(*args) if limit_s is None else self._within(name, function, args, limit_s)
        except Exception as error:
            self.log("step failed", step=name, error=f"{type(error).__name__}: {error}")
            raise
        self.log("step done", step=name, seconds=round(time.monotonic() - started, 3))
        return found

    def _within(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], limit_s: float) -> Any:
        """Run the function in a thread of its own and give it up after `limit_s`."""
        over, outcome = threading.Event(), {}

        def work() -> None:
            _given_up.set(over)
            try:
                outcome["value"] = function(*args)
            except BaseException as error:  # handed to the flow's thread, which raises it
                outcome["error"] = error

        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(work,), name=f"step-{name}", daemon=True)
        thread.start()
        thread.join(limit_s)
        if thread.is_alive():
            over.set()
            raise LimitReached(f"step {name}: expected to end within {limit_s:g} s")
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]


Function = Callable[[Run, dict[str, Any]], Any]


class Flows:
    """The flows of one data folder.

    Args:
        url: SQLAlchemy URL of the flows' database; a SQLite file is made and set to WAL.
        journal: One log per flow, kind `job`.
        executes: False in commands beside a running server: they may ask and cancel, never run.
    """

    def __init__(self, url: str, journal: Journal, *, executes: bool = True) -> None:
        url = records.with_driver(url)
        self._url, self._journal, self._executes = url, journal, executes
        self._functions: dict[str, Function] = {}
        self._reader = records.reader(url)
        self._lock = threading.Lock()
        self._open = False
        self.closing = False

    def register(self, name: str, function: Function) -> None:
        """Make a function known under a name; before `open`, so that interrupted flows find it."""
        self._functions[check_name(name)] = function

    def open(self) -> int:
        """Go on with unfinished flows; return how many there are. Without any, DBOS is not even loaded."""
        found = records.unfinished(self._reader)
        if found and self._executes:
            self._launch()
        return found

    def start(self, name: str, id: str, args: Mapping[str, Any] | None = None) -> Flow:
        """Return the flow `id`, started now or before.

        Raises:
            InvalidInput: The id or the arguments cannot be stored.
            NotFound: No function has this name.
            Conflict: This process may not run flows, or the id belongs to another name.
        """
        check_name(id, "id")
        if name not in self._functions:
            raise NotFound(f"name: there is no flow {shown(name)}")
        if not self._executes:
            raise Conflict("flows: only the server runs flows; start it first")
        from masthead.flows import engine

        engine.JsonSerializer().serialize(dict(args or {}))
        self._launch()
        known = records.status(self._reader, id)
        if known is None:
            engine.begin(id, name, dict(args or {}))
            self.write_log(id, "started", flow=name)
        found = self.get(id)
        if found.name != name:
            raise Conflict(f"id: {id} is a flow of {found.name}")
        return found

    def get(self, id: str) -> Flow:
        """Return a flow.

        Raises:
            NotFound: There is no such flow.
        """
        found = self._find(ids=[id], limit=1)
        if not found:
            raise NotFound(f"id: there is no flow {shown(id)}")
        return found[0]

    def list(self, name: str | None = None, *, state: FlowState | None = None, limit: int = 100) -> Listing:
        """Return flows, newest first."""
        if state is not None and state not in _STATES.values():
            raise InvalidInput(
                f"state: expected one of {', '.join(sorted(set(_STATES.values())))}, got {state}"
            )
        found = self._find(ids=None, limit=10 * limit if name else limit, state=state)
        return [one for one in found if name is None or one.name == name][:limit]

    def cancel(self, id: str) -> Flow:
        """Return the flow, cancelled: no further step begins, and a step that calls `check()` stops.

        Raises:
            NotFound: There is no such flow.
            Conflict: It has ended.
        """
        found = self.get(id)
        if found.state in ("done", "failed"):
            raise Conflict(f"id: flow {id} is {found.state} already")
        from masthead.flows import engine

        with engine.door(self._url) as door:
            door.cancel_workflow(id)
        self.write_log(id, "cancelled")
        return self.get(id)

    def resume(self, id: str) -> Flow:
        """Return a cancelled flow, going on behind its last finished step.

        Raises:
            NotFound: There is no such flow.
            Conflict: It is not cancelled.
        """
        found = self.get(id)
        if found.state != "cancelled":
            raise Conflict(f"id: expected a cancelled flow, got {id}, which is {found.state}")
        from masthead.flows import engine

        if self._executes:
            self._launch()
        with engine.door(self._url) as door:
            door.resume_workflow(id)
        self.write_log(id, "resumed")
        return self.get(id)

    def wait(self, id: str, *, limit_s: float = 60.0) -> Flow:
        """Return the flow when it has ended, or as it stands after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while records.status(self._reader, id) in records.UNFINISHED and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.get(id)

    def status(self, id: str) -> str | None:
        """Return the stored word for a flow's state, cheaply."""
        return records.status(self._reader, id)

    def close(self, *, wait_s: float = 2.0) -> None:
        """Leave; flows under way stop at their next step or `check()` and go on at the next `open`."""
        self.closing = True
        if self._open:
            from masthead.flows import engine

            engine.close(int(wait_s))
            self._open = False
        self._reader.dispose()

    def write_log(self, id: str, event: str, **fields: Any) -> None:
        """Write a line into a flow's log."""
        self._journal.write("job", id, event, **fields)

    def _launch(self) -> None:
        with self._lock:
            if self._open:
                return
            from masthead.flows import engine

            records.prepare(self._url)
            engine.launch(self._url, VERSION, self._body)
            self._open = True

    def _body(self, name: str, args: dict[str, Any]) -> Any:
        from masthead.flows import engine

        flow = engine.current_id()
        function = self._functions.get(name)
        if function is None:
            raise NotFound(f"name: there is no flow {shown(name)}")
        try:
            output = function(Run(self, flow, name), args)
        except Exception as error:
            self.write_log(flow, "failed", error=f"{type(error).__name__}: {error}")
            raise
        self.write_log(flow, "done")
        return output

    def _find(self, *, ids: Ids, limit: int, state: FlowState | None = None) -> Listing:
        if not self._open and not self._has_tables():
            return []
        from masthead.flows import engine

        words = [word for word, ours in _STATES.items() if ours == state] if state else None
        with engine.door(self._url) as door:
            rows = door.list_workflows(
                workflow_ids=ids, status=words, name=engine.FLOW, limit=limit, sort_desc=True
            )
            return [_flow(row, _progress(door, row.workflow_id)) for row in rows]

    def _has_tables(self) -> bool:
        with contextlib.suppress(Exception):
            records.status(self._reader, "")
            return True
        return False


def _flow(row: Any, progress: dict[str, Any]) -> Flow:
    given = (row.input or {}).get("args") or ["", {}]
    error = row.error
    if error is None and row.status == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        error = "it was interrupted too often"
    return Flow(
        id=row.workflow_id,
        name=given[0],
        state=_STATES[row.status],
        args=given[1],
        progress=progress,
        output=row.output,
        error="" if error is None else str(error),
        created=utc(row.created_at / 1000) if row.created_at else None,
        updated=utc(row.updated_at / 1000) if row.updated_at else None,
    )


def _progress(door: Any, id: str) -> dict[str, Any]:
    found = door.get_event(id, "progress", 0)
    return found if isinstance(found, dict) else {}


def _may_pass(error: BaseException) -> bool:
    """Return whether a second try may end otherwise: not after a mistake of the caller."""
    return not isinstance(error, InvalidInput | NotFound | Conflict)
