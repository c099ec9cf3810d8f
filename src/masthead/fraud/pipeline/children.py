"""A step of the pipeline in a process of its own, and what is heard of it: progress, its error, its log."""

import contextlib
import math
import os
import sys
from pathlib import Path
from typing import Any, Protocol

import orjson

from masthead.base import errors
from masthead.base.errors import Conflict, MastheadError
from masthead.fraud.pipeline.runs import RunFolder
from masthead.learn.processes import run_command

__all__ = ["FOUND", "MARK", "Listener", "Teller", "run_child"]

MARK = "\x1e"
"""Before a line that is meant for us: JSON of progress or of an error."""
FOUND = "found.json"
"""What the step found, in the folder into which it writes."""


class Teller(Protocol):
    """The work that a step belongs to."""

    folder: RunFolder

    def tell(self, done: float, total: float, unit: str, message: str, *, now: bool = False) -> None:
        """Tell how far the step is."""

    def check(self) -> None:
        """Stop here if the work has to end."""


def run_child(work: Teller, step: str, into: Path) -> dict[str, Any]:
    """Run a step in a process of its own and return what it found.

    Raises:
        MastheadError: What it raised. Conflict: It ended without a word.
    """
    listener = Listener(work, into / "log.txt")
    command = [sys.executable, "-m", "masthead.fraud.pipeline.child", step, str(work.folder.path), str(into)]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MASTHEAD_")}
    with contextlib.closing(listener):
        status = run_command(
            command,
            folder=into,
            environment=ours,
            told=listener.hear,
            check=listener.check,
            limit_s=math.inf,  # the step has a limit already, which `check` tells
        )
    if listener.error is not None:
        raise listener.error
    if status != 0 or not (into / FOUND).exists():
        last = listener.last or "it said nothing"
        raise Conflict(f"{step}: its process ended with status {status}: {last[:400]}")
    found: dict[str, Any] = orjson.loads((into / FOUND).read_bytes())
    (into / FOUND).unlink()
    return found


class Listener:
    """Hears a child, line by line."""

    def __init__(self, work: Teller, log: Path) -> None:
        self._work, self._file = work, log.open("w")
        self.error: MastheadError | None = None
        self.last = ""
        self._share, self._text = 0.0, "begins"

    def hear(self, line: str) -> None:
        """Take a line of a process that knows `MARK`."""
        if not line.startswith(MARK):
            self.note(line)
            return
        told = orjson.loads(line[len(MARK) :])
        if "error" in told:
            kind = getattr(errors, told["error"]["code"], Conflict)
            self.error = kind(told["error"]["message"])
        else:
            self._share = self._share if told["share"] is None else told["share"]
            if told["text"] != self._text:
                self._text = told["text"]
                self._file.write(self._text + "\n")
            self._tell()

    def note(self, line: str) -> None:
        """Take a line that is for people."""
        self._file.write(line + "\n")
        if line.strip():
            self.last = line.strip()
            self._text = self.last
            self._tell()

    def check(self) -> None:
        """Keep the progress fresh, and raise when the work has to end."""
        self._work.check()
        self._file.flush()
        self._tell()

    def _tell(self) -> None:
        self._work.tell(round(self._share, 4), 1.0, "share", self._text[:200])

    def close(self) -> None:
        """Write what waits."""
        self._file.close()
