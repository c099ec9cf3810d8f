"""Runs of the pipeline, and loads, as folders: `runs/ID/` holds what was asked, how far it is, what each step left.

config.json      what was asked, written once
state.json       state, step, progress, error; written anew at least each second while it runs
lock             held by the process that runs it; a kill lets go of it
STEP.tmp/        what a step has written so far; removed when it begins again
STEP/            the same when the step is done: it is renamed, so it is whole or not there
STEP/output.json what the step found; STEP/log.txt what it printed
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from masthead.base.errors import Conflict, NotFound, shown
from masthead.base.folder import sync_folder, write_atomic
from masthead.base.ids import new_id

__all__ = ["RunFolder", "RunState", "Runs", "State"]

State = Literal["waiting", "running", "interrupted", "done", "failed", "cancelled"]
_LOOKS = 20


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is.

    Attributes:
        state: waiting (for the server), running, interrupted (its process is gone), done, failed or cancelled.
        step: The one under way, or that failed.
        progress: `done, total, unit, message` of that step.
        attempt: How often it was begun or resumed.
        code: Of the error, if it is one that a caller can meet.
        resume: The command that lets it go on; "" = none, or it would fail again.
        job: Its latest job, whose log `masthead logs job` prints.
        created, updated: Epoch seconds.
    """

    id: str
    state: State
    created: float
    updated: float
    step: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    code: str = ""
    resume: str = ""
    attempt: int = 1
    job: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


class RunFolder:
    """One run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    # ------------------------------------------------------------------ what was asked, and how far it is

    def config(self) -> dict[str, Any]:
        """Return what was asked."""
        found: dict[str, Any] = orjson.loads((self.path / "config.json").read_bytes())
        return found

    def state(self) -> RunState:
        """Return how far it is; a run whose process is gone is interrupted."""
        found = RunState(**orjson.loads((self.path / "state.json").read_bytes()))
        if found.state == "running" and not self.held():
            return _changed(found, state="interrupted")
        return found

    def put_state(self, **fields: Any) -> RunState:
        """Change some of the state's fields and return it. Whole or as before, but not through a power failure."""
        found = RunState(**orjson.loads((self.path / "state.json").read_bytes()))
        made = _changed(found, **fields, updated=time.time())
        beside = self.path / f".state.{os.getpid()}.{new_id('s')}"
        beside.write_bytes(orjson.dumps(made.to_json()))
        beside.replace(self.path / "state.json")
        return made

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the run for this process's thread.

        Raises:
            Conflict: It runs already.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for left in range(_LOOKS, -1, -1):  # who only looks holds it for a moment
                if _locked(handle, fcntl.LOCK_EX):
                    break
                if not left:
                    raise Conflict(f"run: {self.id} runs already")
                time.sleep(0.02)
            yield
        finally:
            os.close(handle)

    def held(self) -> bool:
        """Return whether a process runs it now."""
        try:
            handle = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _locked(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)

    # ------------------------------------------------------------------ steps

    @property
    def schema(self) -> Path:
        """The schema's file, as it was when the run began."""
        return self.path / "normalise-parameters" / "schema.toml"

    def output(self, step: str) -> dict[str, Any] | None:
        """Return what a finished step found, None before it is done."""
        try:
            found: dict[str, Any] = orjson.loads((self.path / step / "output.json").read_bytes())
        except FileNotFoundError:
            return None
        return found

    def begin(self, step: str) -> Path:
        """Return the empty folder into which a step writes."""
        beside = self.path / f"{step}.tmp"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        return beside

    def finish(self, step: str, output: Mapping[str, Any]) -> None:
        """Make a step's folder what counts, with what it found; survives a power failure."""
        beside = self.path / f"{step}.tmp"
        write_atomic(beside / "output.json", orjson.dumps(output, option=orjson.OPT_INDENT_2))
        beside.rename(self.path / step)
        sync_folder(self.path)

    def log(self, step: str) -> Path | None:
        """Return the file of what a step printed, finished or not; None when there is none."""
        for folder in (step, f"{step}.tmp"):
            if (path := self.path / folder / "log.txt").exists():
                return path
        return None


class Runs:
    """All runs of one kind in an installation.

    Args:
        path: The folder that holds them; made with the first one.
        kind: With what their ids begin.
        begins: The command that begins one.
    """

    def __init__(
        self, path: Path, kind: str = "run", *, begins: str = "masthead fraud pipeline start"
    ) -> None:
        self.path = path.absolute()  # children work in folders of their own
        self._kind, self._begins = kind, begins

    def create(self, config: Mapping[str, Any], *, state: State = "waiting") -> RunFolder:
        """Return a new run, waiting or otherwise; it is there whole or not at all."""
        id, now = new_id(self._kind), time.time()
        beside = self.path / f".{id}"
        beside.mkdir(parents=True, mode=0o700)
        begun = RunState(id, state, now, now)
        write_atomic(beside / "config.json", orjson.dumps(config))
        write_atomic(beside / "state.json", orjson.dumps(begun.to_json()))
        beside.rename(self.path / id)
        sync_folder(self.path)
        return RunFolder(self.path / id)

    def list(self) -> "list[RunFolder]":
        """Return all runs, the newest first."""
        found = [path for path in self.path.glob(f"{self._kind}-*") if self._is_id(path.name)]
        return [RunFolder(path) for path in sorted(found, reverse=True)]

    def get(self, id: str) -> RunFolder:
        """Return one run; "" = the newest.

        Raises:
            NotFound: There is none.
        """
        if not id:
            for found in self.list():
                return found
            raise NotFound(f"{self._kind}: there is none yet; {self._begins} begins one", field=self._kind)
        if not self._is_id(id) or not (self.path / id / "state.json").exists():
            raise NotFound(f"{self._kind}: there is no {self._kind} {shown(id)}", field=self._kind)
        return RunFolder(self.path / id)

    def _is_id(self, name: str) -> bool:
        return re.fullmatch(rf"{self._kind}-[0-9a-z]{{20}}", name) is not None

    def delete(self, id: str) -> None:
        """Remove a run with all that its steps left.

        Raises:
            NotFound: There is none. Conflict: It runs.
        """
        found = self.get(id)
        with found.hold():
            gone = self.path / f".{found.id}.gone"
            found.path.rename(gone)
            shutil.rmtree(gone)


def _locked(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _changed(found: RunState, **fields: Any) -> RunState:
    return RunState(**{**found.to_json(), **fields})
