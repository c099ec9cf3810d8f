"""What may be asked of runs, whatever they do: to be listed, ended, gone on with, removed; and who does their work.

A run waits in its folder. The server begins it as a durable job; where none runs, and when the caller wants to, the
caller's process does the work. Either way what it found lies in the folder, and a kill lets go of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from masthead.base.errors import Conflict, MastheadError
from masthead.fraud.pipeline.runs import RunFolder, Runs, RunState

if TYPE_CHECKING:
    from masthead.flows.run import Run
    from masthead.flows.service import Flows, FlowState
    from masthead.store.engine import Database

__all__ = ["RunVerbs", "Worker"]

Worker = Literal["server", "job", "caller"]
"""Who does the work of a run: the server, now or when it comes; a kept job of this process; the caller, by itself."""
_ENDED = ("done", "failed", "cancelled", "interrupted")


class RunVerbs(ABC):
    """Runs of one kind. Verbs may be called from any thread.

    Args:
        flow: Name of the durable job that does a run's work.
        resumes: The command that lets a run go on.
        database: A new run is told to other processes by a change of it.
    """

    def __init__(self, runs: Runs, jobs: "Flows", database: "Database", *, flow: str, resumes: str) -> None:
        self._runs, self._jobs, self._database = runs, jobs, database
        self._flow, self._resumes = flow, resumes
        self._serves = False
        jobs.register(flow, self._run, ended=self._ended)

    @abstractmethod
    def get(self, id: str = "") -> dict[str, Any]:
        """Return a run and what it has found; "" = the newest.

        Raises:
            NotFound: There is none.
        """

    @abstractmethod
    def _run(self, run: "Run", args: dict[str, Any]) -> Any:
        """Do the work of the run `args["run"]`."""

    def list(self) -> list[dict[str, Any]]:
        """Return the state of every run, the newest first."""
        return [self._told(run).to_json() for run in self._runs.list()]

    def resume(self, id: str = "", *, worker: Worker = "server") -> dict[str, Any]:
        """Let a run go on behind its last finished step and return it; "" = the newest.

        Raises:
            NotFound: There is none. Conflict: It runs, waits, or is done.
        """
        run = self._runs.get(id)
        state = run.state()
        if state.state not in ("failed", "cancelled", "interrupted"):
            raise Conflict(f"run: expected one that failed or was interrupted, {run.id} is {state.state}")
        begun: Any = "running" if worker == "caller" else "waiting"
        run.put_state(state=begun, error="", code="", resume="", attempt=state.attempt + 1, job="")
        self._hand_over(run, worker)
        return self.get(run.id)

    def cancel(self, id: str = "") -> dict[str, Any]:
        """End a run that runs or waits and return it; `resume` lets it go on.

        Raises:
            NotFound: There is none. Conflict: It has ended, or another process than the server runs it.
        """
        run = self._runs.get(id)
        state = run.state()
        if state.state in _ENDED:
            raise Conflict(f"run: {run.id} is {state.state} already")
        if state.state == "running" and not state.job:
            raise Conflict(f"run: {run.id} is done by a command, which ends with Ctrl-C")
        if state.state == "running":
            self._jobs.cancel(state.job)
        else:
            run.put_state(state="cancelled", resume=self._resume_of(run))
        return self.get(run.id)

    def delete(self, id: str) -> None:
        """Remove a run with what its steps left; what they stored or deployed stays.

        Raises:
            NotFound: There is none. Conflict: It runs.
        """
        self._runs.delete(id)

    def _told(self, run: RunFolder) -> RunState:
        """Return how far a run is; who was killed could not write down how it goes on."""
        found = run.state()
        return replace(found, resume=self._resume_of(run)) if found.state == "interrupted" else found

    # ------------------------------------------------------------------ who does the work

    def serve(self) -> None:
        """Run from now on what was asked for, here and in other processes."""
        self._serves = True
        self.refresh()

    def refresh(self) -> None:
        """Begin runs that wait."""
        if self._serves:
            for run in self._runs.list():
                if run.state().state == "waiting":
                    self._begin(run)

    def run_here(self, id: str) -> None:
        """Begin a run that waits in a thread of this process, which is no server: it ends with the process.

        Raises:
            NotFound: There is none.
        """
        self._begin(self._runs.get(id), brief=True)

    def _hand_over(self, run: RunFolder, worker: Worker) -> None:
        if worker == "caller":
            return
        if self._serves or worker == "job":
            self._begin(run)
        else:
            self._database.touch()  # the server looks when something has changed

    def _begin(self, run: RunFolder, *, brief: bool = False) -> None:
        state = run.state()
        job = run.id if state.attempt == 1 else f"{run.id}-{state.attempt}"
        run.put_state(job=job)
        (self._jobs.start_brief if brief else self._jobs.start)(self._flow, job, {"run": run.id})

    def _ended(self, id: str, args: Mapping[str, Any], state: "FlowState", error: str) -> None:
        """Write down how a job ended, unless another has taken the run over."""
        try:
            run = self._runs.get(args["run"])
            found: RunState = run.state()
        except MastheadError:  # deleted meanwhile
            return
        if state != "done" and found.job == id and not run.held():
            run.put_state(state=state, error=error, resume=self._resume_of(run, error))

    def _resume_of(self, run: RunFolder, error: str = "") -> str:
        """Return the command that lets a run go on which ended with this error."""
        return f"{self._resumes} {run.id}"
