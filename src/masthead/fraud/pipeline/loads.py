"""History that is stored from files, as a job: begun, asked after row by row, waited for, gone on with after a kill.

`runs/load-ID/` holds what was asked, how far it is, and at the end `load/output.json`: counts and the first problems, and
`load/problems.parquet`: all of them. What a load has stored stays, whatever becomes of the load.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masthead.base.errors import InvalidInput, MastheadError, shown
from masthead.base.folder import DataFolder
from masthead.base.pages import Page, check_limit, decode_token, encode_token
from masthead.fraud.pipeline.run_verbs import RunVerbs, Worker
from masthead.fraud.pipeline.runs import RunFolder, Runs
from masthead.fraud.store.records import LIVE

if TYPE_CHECKING:
    from masthead.flows.run import Run
    from masthead.flows.service import Flows
    from masthead.fraud.service import FraudService
    from masthead.fraud.store.loading import Loaded
    from masthead.store.engine import Database

__all__ = ["LOAD", "Loads"]

LOAD = "fraud-load"
MOST_MEANWHILE = 100
"""Problems that are told of a load that is under way; at its end there are more."""
_STEP, _PROBLEMS = "load", "problems.parquet"
_TELL_S = 0.5

Json = dict[str, Any]


class Loads(RunVerbs):
    """Loads of this installation. Verbs may be called from any thread.

    Args:
        folder: They lie in its `runs`.
        jobs: Runs those that are no command's own work.
        fraud: Gives the live service.
        database: As in `RunVerbs`.
    """

    def __init__(
        self, folder: DataFolder, jobs: "Flows", fraud: "Callable[[], FraudService]", database: "Database"
    ) -> None:
        self._fraud = fraud
        runs = Runs(folder.runs, "load", begins="masthead fraud load --data PATH")
        super().__init__(runs, jobs, database, flow=LOAD, resumes="masthead fraud load resume")

    # ------------------------------------------------------------------ verbs

    def start(
        self,
        paths: Sequence[str],
        *,
        schema: str = "",
        labels: str = "",
        space: str = LIVE,
        folder: Path | None = None,
        worker: Worker = "job",
    ) -> Json:
        """Begin to store the transactions of files as history and return the load.

        Args:
            schema: A file or the name of one; "" = that of the space, or of the exported folder.
            labels: A file of labels; "" = those in the data.
            folder: Relative paths are seen from here; None: they are refused.
            worker: "caller": nothing is done until the caller asks for `doing`.

        Raises:
            InvalidInput: A path leads nowhere, or the schema cannot be read.
            NotFound: No schema is given and the space has none. Conflict: The space has another one.
        """
        from masthead.fraud.data.schema import Schema, schema_text

        field = "paths" if folder is None else "data"
        if not paths:
            raise InvalidInput(f"{field}: expected at least one file or folder", field=field)
        whole = [_found(one, field, folder) for one in paths]
        marks = str(_found(labels, "labels", folder)) if labels else ""
        source, text = schema_text(_located(schema, folder)) if schema else ("", "")
        given = Schema.parse(text, source=source) if schema else None
        known = self._fraud().schema_to_load(whole, given, space)
        config = {
            "paths": [str(one) for one in whole],
            "schema": {"name": known.name, "source": source or "the schema of the load"},
            "schema_text": text or known.to_toml(),
            "labels": marks,
            "space": space,
        }
        run = self._runs.create(config, state="running" if worker == "caller" else "waiting")
        self._hand_over(run, worker)
        return self.get(run.id)

    def get(self, id: str = "") -> Json:
        """Return a load: state, progress, what was asked; in `output` counts of rows and the first problems.

        Raises:
            NotFound: There is none.
        """
        run = self._runs.get(id)
        state, asked = self._told(run).to_json(), run.config()
        progress = dict(state["progress"])
        meanwhile = progress.pop("found", None)
        output = run.output(_STEP) or meanwhile
        if output is not None:
            path = self._problem_file(run)
            output = {**output, "problems_file": "" if path is None else str(path)}
        state.pop("step")
        config = {**asked, "schema": asked["schema"]["name"]}
        del config["schema_text"]
        return {**state, "name": LOAD, "progress": progress, "config": config, "output": output}

    def problems(self, id: str, *, limit: int = 100, token: str | None = None) -> Page[Json]:
        """Return what a load that has ended could not take: row, file, column, id, reason.

        Raises:
            NotFound: There is no such load. InvalidInput: The limit or the token cannot be used.
        """
        check_limit(limit)
        first = int(decode_token("problems", token)[0]) if token else 0
        path = self._problem_file(self._runs.get(id))
        if path is None:
            return Page(())
        import pyarrow.parquet as pq

        table = pq.read_table(path).slice(first, limit + 1)
        more = encode_token("problems", [first + limit]) if table.num_rows > limit else None
        return Page(tuple(table.slice(0, limit).to_pylist()), more)

    def _problem_file(self, run: RunFolder) -> Path | None:
        path = run.path / _STEP / _PROBLEMS
        return path if path.exists() else None

    # ------------------------------------------------------------------ the work

    def doing(self, id: str) -> Generator[tuple[Json | None, float | None, str], None, None]:
        """Do a load's work in this thread; yield (counts and first problems at the end, share done, what goes on).

        Raises:
            Conflict: It runs already. InvalidInput: The files cannot be read.
        """
        run = self._runs.get(id)
        with run.hold():
            try:
                output = run.output(_STEP)
                if output is None:
                    run.put_state(state="running", step=_STEP, error="", code="", resume="")
                    output = yield from self._storing(run)
                run.put_state(state="done", step="", progress={})
            except Exception as error:
                said = str(error) if isinstance(error, MastheadError) else f"{type(error).__name__}: {error}"
                run.put_state(state="failed", error=said, code=getattr(error, "code", ""))
                run.put_state(resume=self._resume_of(run))
                raise
        yield output, 1.0, "done"

    def _storing(self, run: RunFolder) -> Generator[tuple[None, float | None, str], None, Json]:
        """Store what a load asks for; return what is told at its end."""
        from masthead.fraud.data.schema import Schema

        asked, into = run.config(), run.begin(_STEP)
        done: Loaded | None = None
        told = 0.0
        for done, share, text in self._fraud().loading(
            [Path(one) for one in asked["paths"]],
            schema=Schema.parse(asked["schema_text"], source=asked["schema"]["source"]),
            labels=Path(asked["labels"]) if asked["labels"] else None,
            space=asked["space"],
            problems=into / _PROBLEMS,
        ):
            if time.monotonic() - told >= _TELL_S:
                told = time.monotonic()
                run.put_state(progress=_progress(done, text))
            yield None, share, text
        assert done is not None
        output = done.to_json()
        run.finish(_STEP, output)
        return output

    def _resume_of(self, run: RunFolder, error: str = "") -> str:
        """Return the command that lets a load go on; "" where its files as they are would make it fail again."""
        return "" if run.state().code == InvalidInput.code else super()._resume_of(run)

    def _run(self, run: "Run", args: dict[str, Any]) -> Json:
        """Do a load's work as a durable job."""

        def work() -> Json:
            with contextlib.closing(self.doing(args["run"])) as steps:
                for _, share, text in steps:
                    run.progress(share or 0.0, 1.0, text)
                    run.check()
            output: Json = self.get(args["run"])["output"]
            return {name: value for name, value in output.items() if name != "problems"}

        found: Json = run.step("load", work)
        return found


def _progress(done: "Loaded", text: str) -> Json:
    """Return what is told of a load that is under way."""
    return {
        "done": done.done,
        "total": done.total,
        "unit": "rows",
        "message": text,
        "found": done.to_json(MOST_MEANWHILE),
    }


def _located(schema: str, folder: Path | None) -> str:
    """Return a schema's name, or where its file lies."""
    if folder is not None:
        return str(folder / schema) if (folder / schema).is_file() else schema
    return str(_found(schema, "schema", None)) if "/" in schema else schema


def _found(path: str, field: str, folder: Path | None) -> Path:
    """Return an absolute path that leads somewhere."""
    found = Path(path) if folder is None else folder / path
    if not found.is_absolute():
        raise InvalidInput(
            f"{field}: expected an absolute path on the server's machine, got {shown(path)}", field=field
        )
    if not found.exists():
        raise InvalidInput(f"{field}: expected a file or a folder, got {shown(path)}", field=field)
    return found
