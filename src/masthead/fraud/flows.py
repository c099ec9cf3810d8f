"""The pipeline from files to an endpoint, as a durable job: the article's steps, in the article's order.

What a step found lies in the run's folder, so a run can be gone on with in whatever process, also without a server;
within a server its job also survives a kill by itself. A finished step is never run again.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masthead.base.clock import utc
from masthead.base.errors import Conflict, InvalidInput, MastheadError, shown
from masthead.base.folder import DataFolder
from masthead.fraud.pipeline_config import STEPS, Config, read_config, retraining
from masthead.fraud.records import LIVE
from masthead.fraud.runs import RunFolder, Runs, RunState

if TYPE_CHECKING:
    from masthead.flows.run import Run
    from masthead.flows.service import Flows, FlowState
    from masthead.fraud.service import FraudService
    from masthead.store.engine import Database

__all__ = ["PIPELINE", "Pipelines"]

PIPELINE = "fraud-pipeline"
SCRIPTS = "scripts"
_ENDED = ("done", "failed", "cancelled", "interrupted")


class Pipelines:
    """Runs of the pipeline. Verbs may be called from any thread.

    Args:
        folder: Runs lie in its `runs`.
        jobs: Runs them.
        fraud: Gives the live service, when a step needs it.
        database: A new run is told to other processes by a change of it.
    """

    def __init__(
        self, folder: DataFolder, jobs: "Flows", fraud: "Callable[[], FraudService]", database: "Database"
    ) -> None:
        self._folder, self._jobs, self._fraud, self._database = folder, jobs, fraud, database
        self._runs = Runs(folder.runs)
        self._serves = False
        jobs.register(PIPELINE, self._run, ended=self._ended)

    # ------------------------------------------------------------------ verbs

    def start(
        self, document: Mapping[str, Any], *, folder: Path | None = None, by_owner: bool = False
    ) -> dict[str, Any]:
        """Begin a run and return it; where this process is not the server it waits for one, or for `run_here`.

        Args:
            document: See `read_config`.
            folder: Relative paths are seen from here; None: they are refused.
            by_owner: Whether a script may lie anywhere; else in the data folder's `scripts`, and Masthead's own
                interpreter runs it.

        Raises:
            InvalidInput: A parameter cannot be used.
        """
        config = read_config(document, folder=folder or Path("/"))
        if not by_owner:
            self._restrict(document, config)
        return self._enter(config)

    def retrain(self, name: str, *, trials: int = 0) -> dict[str, Any]:
        """Begin a run that learns from what is stored, whose model becomes NAME's challenger at the end; return the run.

        What is not mature yet teaches nothing, as everywhere.

        Args:
            name: A deployment that scores real transactions.
            trials: How many of the learner's parameters are tried.

        Raises:
            NotFound: Nothing is deployed under that name. InvalidInput: It is too long for a challenger's, or too many trials.
            Conflict: It scores no transactions of a stream, or those of another space than the real ones.
        """
        fraud = self._fraud()
        if (space := fraud.space_of(name)) != LIVE:
            raise Conflict(f"deployment: expected one that scores the space {LIVE}, {name} scores {space}")
        until = utc(fraud.present(LIVE) / 1e6).isoformat()
        schema = fraud.schema(LIVE).name
        return self._enter(retraining(name, schema=schema, labels_until=until, trials=trials))

    def _enter(self, config: Config) -> dict[str, Any]:
        run = self._runs.create(config.to_json())
        if self._serves:
            self._begin(run)
        else:
            with self._database.write():  # the server looks when something has changed
                pass
        return self.get(run.id)

    def _restrict(self, document: Mapping[str, Any], config: Config) -> None:
        """Return if what comes over the network names nothing that its sender could not have put there.

        Raises:
            InvalidInput: A relative path, a script elsewhere, another interpreter.
        """
        data = [document["data"]] if isinstance(document["data"], str) else document["data"]
        schema = document["schema"] if "/" in config.schema else "/"  # else a built-in one
        for name, paths in (
            ("schema", [schema]),
            ("data", data),
            ("labels", [document.get("labels") or "/"]),
        ):
            for path in paths:
                if not Path(path).is_absolute():
                    raise InvalidInput(
                        f"{name}: expected an absolute path on the server's machine, got {shown(path)}"
                    )
        if config.script is None:
            return
        allowed = (self._folder.path / SCRIPTS).resolve()
        if not Path(config.script.source_dir).resolve().is_relative_to(allowed):
            raise InvalidInput(
                f"train.script.source_dir: expected a folder in the data folder's {SCRIPTS}, got "
                f"{shown(config.script.source_dir)}; the command line may name any"
            )
        if config.script.python:
            raise InvalidInput(
                "train.script.python: expected none; only the command line may name an interpreter"
            )

    def list(self) -> list[dict[str, Any]]:
        """Return the state of every run, the newest first."""
        return [run.state().to_json() for run in self._runs.list()]

    def get(self, id: str = "") -> dict[str, Any]:
        """Return a run with its steps: name, state, seconds, limit and what each found; "" = the newest.

        Raises:
            NotFound: There is none.
        """
        run = self._runs.get(id)
        state, config = run.state(), Config.from_json(run.config())
        steps = []
        for name in STEPS:
            output = run.output(name)
            found = "done" if output is not None else state.state if name == state.step else "waiting"
            seconds = output.pop("seconds", None) if output else None
            steps.append(
                {
                    "name": name,
                    "state": found,
                    "seconds": seconds,
                    "limit_s": config.limits_s[name],
                    "output": output,
                }
            )
        return {**state.to_json(), "config": config.to_json(), "steps": steps}

    def log(self, id: str, step: str) -> str:
        """Return what a step printed; "" when it printed nothing.

        Raises:
            NotFound: There is no such run. InvalidInput: There is no such step.
        """
        if step not in STEPS:
            raise InvalidInput(f"step: expected one of {', '.join(STEPS)}, got {shown(step)}")
        path = self._runs.get(id).log(step)
        return "" if path is None else path.read_text(errors="replace")

    def resume(self, id: str = "") -> dict[str, Any]:
        """Let a run go on behind its last finished step and return it; "" = the newest.

        Raises:
            NotFound: There is none. Conflict: It runs, waits, or is done.
        """
        run = self._runs.get(id)
        state = run.state()
        if state.state not in ("failed", "cancelled", "interrupted"):
            raise Conflict(f"run: expected one that failed or was interrupted, {run.id} is {state.state}")
        run.put_state(state="waiting", error="", resume="", attempt=state.attempt + 1)
        if self._serves:
            self._begin(run)
        else:
            with self._database.write():
                pass
        return self.get(run.id)

    def cancel(self, id: str = "") -> dict[str, Any]:
        """End a run that runs or waits and return it; `resume` lets it go on.

        Raises:
            NotFound: There is none. Conflict: It has ended.
        """
        run = self._runs.get(id)
        state = run.state()
        if state.state in _ENDED:
            raise Conflict(f"run: {run.id} is {state.state} already")
        if state.state == "running":
            self._jobs.cancel(state.job)
        else:
            run.put_state(state="cancelled", resume=_resume(run))
        return self.get(run.id)

    def delete(self, id: str) -> None:
        """Remove a run and what its steps left; its model and its endpoint stay.

        Raises:
            NotFound: There is none. Conflict: It runs.
        """
        self._runs.delete(id)

    # ------------------------------------------------------------------ running

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

    def _begin(self, run: RunFolder, *, brief: bool = False) -> None:
        state = run.state()
        job = run.id if state.attempt == 1 else f"{run.id}-{state.attempt}"
        run.put_state(job=job)
        (self._jobs.start_brief if brief else self._jobs.start)(PIPELINE, job, {"run": run.id})

    def _run(self, run: "Run", args: dict[str, Any]) -> dict[str, Any]:
        """Run what is not done yet; the flow's function, so it takes the same steps each time."""
        from masthead.fraud.pipeline_steps import Work

        folder = self._runs.get(args["run"])
        limits = Config.from_json(folder.config()).limits_s
        work = Work(folder, run, self._fraud, self._folder.models.absolute())
        with folder.hold():
            folder.put_state(state="running", error="", resume="")
            outputs = {name: run.step(name, work.do, name, limit_s=limits[name]) for name in STEPS}
            folder.put_state(state="done", step="", progress={})
        return {"model": outputs["create-model"]["model"], "endpoint": outputs["check"].get("endpoint", "")}

    def _ended(self, id: str, args: Mapping[str, Any], state: "FlowState", error: str) -> None:
        """Write down how a job ended, unless another has taken the run over."""
        try:
            run = self._runs.get(args["run"])
            found: RunState = run.state()
        except MastheadError:  # deleted meanwhile
            return
        if state != "done" and found.job == id and not run.held():
            run.put_state(state=state, error=error, resume=_resume(run))


def _resume(run: RunFolder) -> str:
    return f"masthead fraud pipeline resume {run.id}"
