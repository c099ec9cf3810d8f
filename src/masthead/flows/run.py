"""What the function of a flow is given: its steps, its progress and its log.

`Run` keeps each step's result, so that it is never run again; `BriefRun` keeps nothing: for work so short that its
caller begins it anew after a crash. The function cannot tell them apart.
"""

import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound

PROGRESS_S = 0.5  # inside a step progress is stored at most this often, and at its end
_LOOK_S = 1.0  # how often a long step looks whether another process cancelled it

_given_up: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("given_up", default=None)


class Stopping(BaseException):
    """The process ends: leave the flow unfinished. No Exception, so that nothing records it as a failure."""


class Cancelled(BaseException):
    """A brief flow was cancelled. No Exception, as DBOS's own is none: the function's `except` must not keep it."""


class Home(Protocol):
    """What a run asks of the flows it belongs to."""

    closing: bool

    def is_cancelled(self, id: str, *, look: bool) -> bool:
        """Return whether a flow was cancelled; `look` also asks the database, for other processes."""

    def write_log(self, id: str, event: str, **fields: Any) -> None:
        """Write a line into a flow's log."""


class Run:
    """What the function of a flow gets: its steps, progress and log."""

    def __init__(self, home: Home, flow: str, name: str) -> None:
        self._home, self.id, self.name = home, flow, name
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
        self.check()
        return self._keep(
            name, lambda: self._attempt(name, function, args, limit_s), tries=tries, pause_s=pause_s
        )

    def progress(self, done: float, total: float, text: str = "") -> None:
        """Report how far the flow is; from a step or between steps."""
        now = time.monotonic()
        # Between steps each report is a step of its own to DBOS, so there it must not depend on the time.
        if not self._inside_step() or done >= total or now - self._reported >= PROGRESS_S:
            self._reported = now
            self._tell({"done": done, "total": total, "text": text})

    def log(self, event: str, **fields: Any) -> None:
        """Write a line into the flow's own log."""
        self._home.write_log(self.id, event, **fields)

    def check(self) -> None:
        """Stop here if the flow was cancelled, the step's time is over or the process ends."""
        over = _given_up.get()
        if self._home.closing or (over is not None and over.is_set()):
            raise Stopping
        now = time.monotonic()
        look = now - self._looked >= _LOOK_S
        if look:
            self._looked = now
        if self._home.is_cancelled(self.id, look=look):
            self._stop_cancelled()

    # ------------------------------------------------------------------ what is kept

    def _keep(self, name: str, work: Callable[[], Any], *, tries: int, pause_s: float) -> Any:
        from masthead.flows import engine

        options: dict[str, Any] = {"name": name}
        if tries > 1:
            options |= {
                "retries_allowed": True,
                "max_attempts": tries,
                "interval_seconds": pause_s,
                "should_retry": may_pass,
            }
        try:
            return engine.run_step(options, work)
        except engine.TriesUsedUp as error:
            raise engine.used_up(error) from error

    def _inside_step(self) -> bool:
        from masthead.flows import engine

        return engine.inside_step()

    def _tell(self, progress: dict[str, Any]) -> None:
        from masthead.flows import engine

        try:
            engine.set_progress(progress)
        except engine.NotOwned:
            if self._home.is_cancelled(self.id, look=True):
                self._stop_cancelled()
            raise

    def _stop_cancelled(self) -> None:
        from masthead.flows import engine

        raise engine.Cancelled(f"flow {self.id} was cancelled")

    # ------------------------------------------------------------------ one try

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


class BriefRun(Run):
    """A run of which nothing is kept."""

    def _keep(self, name: str, work: Callable[[], Any], *, tries: int, pause_s: float) -> Any:
        for left in range(tries - 1, -1, -1):
            try:
                return work()
            except Exception as error:
                if not left or not may_pass(error):
                    raise
                time.sleep(pause_s)
                pause_s *= 2
        raise AssertionError("tries: expected 1 or more")

    def _inside_step(self) -> bool:
        return True

    def _tell(self, progress: dict[str, Any]) -> None:
        """Nobody asks: a brief flow is not listed."""

    def _stop_cancelled(self) -> None:
        raise Cancelled(self.id)


def may_pass(error: BaseException) -> bool:
    """Return whether a second try may end otherwise: not after a mistake of the caller."""
    return not isinstance(error, InvalidInput | NotFound | Conflict)
