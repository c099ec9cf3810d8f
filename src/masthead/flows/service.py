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

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from masthead.base.clock import utc
from masthead.base.errors import Conflict, InvalidInput, MastheadError, NotFound, shown
from masthead.base.ids import check_name
from masthead.base.log import Journal
from masthead.flows import records
from masthead.flows.run import BriefRun, Cancelled, Run, Stopping

__all__ = ["Ended", "Flow", "FlowState", "Flows", "Run"]

VERSION = "1"  # pinned: raise it only when unfinished flows of earlier versions must not go on
IDLE_S = 30.0  # so long after the last flow DBOS stays: its threads take 2 % of a core while nothing runs

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
        steps: The finished ones: `{"name", "seconds", "output", "error"}`; only `get` fills them in.
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
    steps: tuple[dict[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the flow as JSON values."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        times = {name: fields[name].isoformat() if fields[name] else None for name in ("created", "updated")}
        return {**fields, **times, "steps": list(self.steps)}


Listing = list[Flow]  # a name for a type inside the class, where `list` is the verb
Function = Callable[[Run, dict[str, Any]], Any]
Ended = Callable[[str, dict[str, Any], FlowState, str], None]
"""Told (id, args, state, error) in the flow's thread when its function ended: done, failed or cancelled.

Not told again after a crash at just that moment: who keeps a state of its own compares it with `get` when it starts.
"""


class Flows:
    """The flows of one data folder.

    Args:
        url: SQLAlchemy URL of the flows' database; a SQLite file is made and set to WAL. None: nothing is kept, each
            flow is brief.
        journal: One log per flow, kind `job`.
        executes: False in commands beside a running server: they may ask and cancel, never run.
    """

    def __init__(self, url: str | None, journal: Journal, *, executes: bool = True) -> None:
        self._url = records.with_driver(url) if url else ""
        self._journal, self._executes = journal, executes
        self._functions: dict[str, tuple[Function, Ended | None]] = {}
        self._reader = records.reader(self._url) if url else None
        self._lock = threading.RLock()
        self._open = False
        self._used_at = 0.0
        self._cancelled: set[str] = set()
        self._brief: dict[str, threading.Thread] = {}
        self.closing = False

    def register(self, name: str, function: Function, *, ended: Ended | None = None) -> None:
        """Make a function known under a name; before `open`, so that interrupted flows find it."""
        self._functions[check_name(name)] = (function, ended)

    def make_ready(self) -> None:
        """Load the part of SQLAlchemy that DBOS needs: a process calls it before it has threads.

        Loaded later, while other threads ask a database, it is met half loaded by them.
        """
        import sqlalchemy.orm  # noqa: F401

    def open(self) -> int:
        """Go on with unfinished flows; return how many there are. Without any, DBOS is not even loaded."""
        found = records.unfinished(self._reader) if self._reader is not None else 0
        if found and self._executes:
            with self._lock:
                self._launch()
        return found

    def start(self, name: str, id: str, args: Mapping[str, Any] | None = None) -> Flow:
        """Return the flow `id`, started now or before.

        Raises:
            InvalidInput: The id or the arguments cannot be stored.
            NotFound: No function has this name.
            Conflict: This process may not run flows, or the id belongs to another name.
        """
        if self._reader is None:
            return self.start_brief(name, id, args)
        self._require(name, id)
        from masthead.flows import engine

        engine.JsonSerializer().serialize(dict(args or {}))
        with self._lock:
            self._launch()
            if not self._open:
                raise Conflict("flows: this process ends")
            if records.status(self._reader, id) is None:
                self.write_log(id, "started", flow=name)
                engine.begin(id, name, dict(args or {}))
        found = self.get(id)
        if found.name != name:
            raise Conflict(f"id: {id} is a flow of {found.name}")
        return found

    def start_brief(self, name: str, id: str, args: Mapping[str, Any] | None = None) -> Flow:
        """Run a flow in a thread of this process and keep nothing but its log; return it, running.

        For what takes less than loading DBOS, and whose caller begins it anew after a crash. It is in no list.

        Raises: As `start`.
        """
        self._require(name, id)
        given = dict(args or {})
        with self._lock:
            if id not in self._brief:
                thread = threading.Thread(
                    target=self._run_brief, args=(name, id, given), name=f"flow-{id}", daemon=True
                )
                self._brief[id] = thread
                self.write_log(id, "started", flow=name)
                thread.start()
        return Flow(id, name, "running", given)

    def get(self, id: str) -> Flow:
        """Return a flow with its finished steps.

        Raises:
            NotFound: There is no such flow.
        """
        found = records.find(self._reader, flow=id, limit=1) if self._reader is not None else []
        if not found or self._reader is None:
            raise NotFound(f"id: there is no job {shown(id)}", field="id")
        return _flow(found[0], tuple(records.find_steps(self._reader, id)))

    def list(self, name: str | None = None, *, state: FlowState | None = None, limit: int = 100) -> Listing:
        """Return flows, newest first. DBOS is not loaded for it."""
        if state is not None and state not in _STATES.values():
            raise InvalidInput(
                f"state: expected one of {', '.join(sorted(set(_STATES.values())))}, got {state}"
            )
        if self._reader is None:
            return []
        words = [word for word, ours in _STATES.items() if ours == state] if state else ()
        rows = records.find(self._reader, states=words, limit=10 * limit if name else limit)
        return [_flow(row) for row in rows if name is None or row["name"] == name][:limit]

    def cancel(self, id: str) -> Flow:
        """Return the flow, cancelled: no further step begins, and a step that calls `check()` stops.

        Raises:
            NotFound: There is no such flow.
            Conflict: It has ended.
        """
        if id in self._brief:
            self._cancelled.add(id)
            return Flow(id, "", "cancelled", {})
        found = self.get(id)
        if found.state in ("done", "failed"):
            raise Conflict(f"id: job {id} is {found.state} already")
        if found.state == "cancelled":
            return found
        from masthead.flows import engine

        with engine.door(self._url) as door:
            door.cancel_workflow(id)
        self._cancelled.add(id)
        self.write_log(id, "cancel asked")
        return self.get(id)

    def resume(self, id: str) -> Flow:
        """Return a cancelled flow, going on behind its last finished step.

        Raises:
            NotFound: There is no such flow.
            Conflict: It is not cancelled.
        """
        found = self.get(id)
        if found.state != "cancelled":
            raise Conflict(f"id: expected a cancelled job, got {id}, which is {found.state}")
        from masthead.flows import engine

        self._cancelled.discard(id)
        with self._lock:
            if self._executes:
                self._launch()
            with engine.door(self._url) as door:
                door.resume_workflow(id)
        self.write_log(id, "resumed")
        return self.get(id)

    def wait(self, id: str, *, limit_s: float = 60.0) -> Flow:
        """Return the flow when it has ended, or as it stands after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while self.status(id) in records.UNFINISHED and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.get(id)

    def status(self, id: str) -> str | None:
        """Return the stored word for a flow's state, cheaply."""
        return None if self._reader is None else records.status(self._reader, id)

    def is_cancelled(self, id: str, *, look: bool = True) -> bool:
        """Return whether a flow was cancelled; without `look`, whether this process did it."""
        return id in self._cancelled or (look and self.status(id) == "CANCELLED")

    @property
    def awake(self) -> bool:
        """Whether DBOS is loaded and runs."""
        return self._open

    def rest(self) -> bool:
        """Let go of DBOS when no flow has run for a while; return whether that was done (it takes half a second).

        Called now and then.
        """
        with self._lock:
            if not self._open or self._reader is None or records.unfinished(self._reader):
                self._used_at = time.monotonic()
                return False
            if time.monotonic() - self._used_at < IDLE_S:
                return False
            from masthead.flows import engine

            engine.close(0)
            self._open = False
            return True

    def trim(self, before: datetime) -> int:
        """Delete flows that ended before a time, with their logs; return how many."""
        if self._reader is None:
            return 0
        removed = records.remove_ended(self._reader, before_ms=int(before.timestamp() * 1000))
        for id in removed:
            self._journal.delete("job", id)
        return len(removed)

    def close(self, *, wait_s: float = 2.0) -> None:
        """Leave; flows under way stop at their next step or `check()` and go on at the next `open`."""
        self.closing = True
        with self._lock:
            if self._open:
                from masthead.flows import engine

                engine.close(int(wait_s))
                self._open = False
            brief = [*self._brief.values()]
        for thread in brief:
            thread.join(wait_s)
        if self._reader is not None:
            self._reader.dispose()

    def write_log(self, id: str, event: str, **fields: Any) -> None:
        """Write a line into a flow's log."""
        self._journal.write("job", id, event, **fields)

    # ------------------------------------------------------------------ running

    def _require(self, name: str, id: str) -> None:
        check_name(id, "id")
        if name not in self._functions:
            raise NotFound(f"name: there is no flow {shown(name)}")
        if not self._executes:
            raise Conflict("flows: only the server runs flows; start it first")

    def _launch(self) -> None:
        """Start DBOS if it rests; the caller holds the lock."""
        self._used_at = time.monotonic()
        if self._open or self.closing:
            return
        from masthead.flows import engine

        records.prepare(self._url)
        engine.launch(self._url, VERSION, self._body)
        self._open = True

    def _body(self, name: str, args: dict[str, Any]) -> Any:
        """Run a kept flow; DBOS calls this, first and again after a crash."""
        from masthead.flows import engine

        return self._run(Run(self, engine.current_id(), name), args, cancelled=engine.Cancelled)

    def _run_brief(self, name: str, id: str, args: dict[str, Any]) -> None:
        try:
            self._run(BriefRun(self, id, name), args, cancelled=Cancelled)
        except (Exception, Cancelled, Stopping):  # told and logged already; nobody waits for a thread's error
            pass
        finally:
            with self._lock:
                self._brief.pop(id, None)
            self._cancelled.discard(id)

    def _run(self, run: Run, args: dict[str, Any], *, cancelled: type[BaseException]) -> Any:
        """Run a function and tell how it ended; of a process that ends nothing is told: the flow goes on later."""
        function, ended = self._functions.get(run.name, (None, None))
        try:
            if function is None:
                raise NotFound(f"name: there is no flow {shown(run.name)}")
            output = function(run, args)
        except Exception as error:
            text = str(error) if isinstance(error, MastheadError) else f"{type(error).__name__}: {error}"
            self._tell(run, args, "failed", text, ended)
            raise
        except cancelled:
            self._tell(run, args, "cancelled", "", ended)
            raise
        self._tell(run, args, "done", "", ended)
        return output

    def _tell(
        self, run: Run, args: dict[str, Any], state: FlowState, error: str, ended: Ended | None
    ) -> None:
        run.log(state, **({"error": error} if error else {}))
        if ended is not None:
            ended(run.id, args, state, error)


def _flow(row: dict[str, Any], steps: tuple[dict[str, Any], ...] = ()) -> Flow:
    error = row["error"]
    if not error and row["status"] == "MAX_RECOVERY_ATTEMPTS_EXCEEDED":
        error = "it was interrupted too often"
    return Flow(
        id=row["id"],
        name=row["name"],
        state=_STATES[row["status"]],
        args=row["args"],
        progress=row["progress"],
        output=row["output"],
        error=error,
        created=utc(row["created"] / 1000) if row["created"] else None,
        updated=utc(row["updated"] / 1000) if row["updated"] else None,
        steps=steps,
    )
