"""The pipeline from files to an endpoint, as a durable job: the article's steps, in the article's order.

What a step found lies in the run's folder, so a run can be gone on with in whatever process, also without a server;
within a server its job also survives a kill by itself. A finished step is never run again.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masthead.base.clock import SystemClock, utc
from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError, shown
from masthead.base.folder import DataFolder
from masthead.fraud.pipeline.config import STEPS, Config, read_config, retraining
from masthead.fraud.pipeline.run_verbs import RunVerbs
from masthead.fraud.pipeline.runs import RunFolder, Runs
from masthead.fraud.store.records import LIVE

if TYPE_CHECKING:
    from masthead.flows.run import Run
    from masthead.flows.service import Flows
    from masthead.fraud.service import FraudService
    from masthead.store.engine import Database

__all__ = ["PIPELINE", "Pipelines"]

PIPELINE = "fraud-pipeline"
_ERASED = "erased"  # a mark: what the run has copied of the store is to go
SCRIPTS = "scripts"


class Pipelines(RunVerbs):
    """Runs of the pipeline. Verbs may be called from any thread.

    Args:
        folder: Runs lie in its `runs`.
        jobs: Runs them.
        fraud: Gives the live service, when a step needs it.
        database: As in `RunVerbs`.
    """

    def __init__(
        self, folder: DataFolder, jobs: "Flows", fraud: "Callable[[], FraudService]", database: "Database"
    ) -> None:
        self._folder, self._fraud = folder, fraud
        resumes = "masthead fraud pipeline resume"
        super().__init__(Runs(folder.runs), jobs, database, flow=PIPELINE, resumes=resumes)

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
        from masthead.fraud.data.schema import Schema
        from masthead.fraud.pipeline.early_checks import require_files, require_sense

        config = read_config(document, folder=folder or Path("/"))
        if config.labels_until == "now":  # of this moment, however often the run is resumed
            config = replace(config, labels_until=SystemClock().now().isoformat())
        if not by_owner:
            self._restrict(document, config)
        require_sense(config, Schema.read(config.schema))
        if by_owner:  # who asks over the network must not learn here which files there are
            require_files(config)
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
        self._hand_over(run, "server")
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
        name, kind = ("source_dir", "folder") if config.script.source_dir else ("entry_point", "file")
        given = getattr(config.script, name)
        if not Path(given).resolve().is_relative_to(allowed):
            raise InvalidInput(
                f"train.script.{name}: expected a {kind} in the data folder's {SCRIPTS}, got {shown(given)}; "
                "the command line may name any"
            )
        if config.script.python:
            raise InvalidInput(
                "train.script.python: expected none; only the command line may name an interpreter"
            )

    def get(self, id: str = "") -> dict[str, Any]:
        """Return a run with its steps: name, state, seconds, limit and what each found; "" = the newest.

        Raises:
            NotFound: There is none.
        """
        run = self._runs.get(id)
        state, config = self._told(run), Config.from_json(run.config())
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

    def forget_copies(self) -> None:
        """Remove what runs have copied of what is stored: somebody was erased, who must not live on there.

        A run that is under way does so at its end; one that failed reads what is stored anew when it is resumed.
        """
        for run in self._runs.list():
            if not Config.from_json(run.config()).live:
                continue
            (run.path / _ERASED).touch()
            if not run.held():
                self._forget_copy(run)

    def _forget_copy(self, run: RunFolder) -> None:
        (run.path / _ERASED).unlink(missing_ok=True)
        if run.output(STEPS[-1]) is None:
            shutil.rmtree(run.path / "ingest", ignore_errors=True)
        for path in run.path.glob("ingest*/*.parquet"):
            path.unlink()

    # ------------------------------------------------------------------ running

    def _run(self, run: "Run", args: dict[str, Any]) -> dict[str, Any]:
        """Run what is not done yet; the flow's function, so it takes the same steps each time."""
        from masthead.fraud.pipeline.steps import Work

        folder = self._runs.get(args["run"])
        config = Config.from_json(folder.config())
        limits, work = config.limits_s, Work(folder, run, self._fraud, self._folder.models.absolute())
        with folder.hold():
            folder.put_state(state="running", error="", code="", resume="")
            try:
                outputs = {name: run.step(name, work.do, name, limit_s=limits[name]) for name in STEPS}
            except MastheadError as error:
                folder.put_state(code=error.code)
                raise
            finally:
                if (folder.path / _ERASED).exists():
                    self._forget_copy(folder)
            folder.put_state(state="done", step="", progress={})
            if config.live:
                self._forget_copy(folder)
        return {"model": outputs["create-model"]["model"], "endpoint": outputs["check"].get("endpoint", "")}

    def _resume_of(self, run: RunFolder, error: str = "") -> str:
        """Return the command that lets a run go on; "" where it would fail again.

        A run keeps its parameters, limits of time among them, and from `ingest` on the data that it took in; before
        that, files can be mended.
        """
        field = error.partition(":")[0]
        # Learning anew takes no limits, so going on is all that its caller can do.
        own_limit = field == f"step {run.state().step}" and not Config.from_json(run.config()).live
        frozen = {
            InvalidInput.code: run.output("ingest") is not None or field.startswith("train."),
            Conflict.code: field == "data",
            LimitReached.code: own_limit,
        }
        return "" if frozen.get(run.state().code) else super()._resume_of(run)
