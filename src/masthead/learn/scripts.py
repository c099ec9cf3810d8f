"""A user's own training script, run by the contract of SageMaker's training containers, in its own interpreter.

    outcome = run_script(Script("train.py", Path("code"), {"train": Path("a.csv")}, {"rate": 0.1}, Path("model")))

What the script writes into `SM_MODEL_DIR` is the model folder, whole or not at all. Nothing of the script is loaded here,
and nothing of ours there; packages that it needs are those of the interpreter that is named.
"""

import os
import re
import shutil
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError, NotFound, shown
from masthead.learn.processes import run_command
from masthead.learn.script_folder import arguments, environment, lay_out

__all__ = ["Script", "ScriptFailure", "ScriptOutcome", "check_script", "read_metrics", "run_script"]

_LAST_LINES = 20
_FAILURE_BYTES = 1024  # as much as SageMaker shows of `output/failure`
_MOST_VALUES = 10_000


class ScriptFailure(MastheadError):
    """The script, not Masthead, failed: it ended with another status than 0.

    Args:
        status: Its exit status.
        reason: What it wrote to `output/failure`, else its last words.
    """

    code = "ScriptFailure"

    def __init__(self, entry_point: str, status: int, reason: str) -> None:
        super().__init__(f"script: {entry_point} ended with status {status}: {reason}")
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be run, and with what.

    Attributes:
        entry_point: A `.py` or `.sh` file in the source folder, or by itself.
        source_dir: Copied; the script works in the copy. None: the entry point is copied alone.
        channels: Name -> file or folder of data, given as links: a script must not write there.
        hyperparameters: JSON values by name.
        model_dir: Where its model goes; must not exist, or be empty.
        python: The interpreter; "" = this one.
        metrics: Name -> regular expression with one group, looked for in each line of output.
        limit_s: After so long it is ended.
    """

    entry_point: str
    source_dir: Path | None
    channels: Mapping[str, Path]
    hyperparameters: Mapping[str, Any]
    model_dir: Path
    python: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
    limit_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class ScriptOutcome:
    """How a script ended.

    Attributes:
        seconds: How long it took.
        metrics: Name -> the last value that it told.
        history: Name -> all values in order, at most ten thousand.
        files: Names of the model's files.
    """

    seconds: float
    metrics: dict[str, float]
    history: dict[str, list[float]]
    files: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, without the history."""
        return {"seconds": self.seconds, "metrics": self.metrics, "files": self.files}


def run_script(
    script: Script,
    *,
    base: Path | None = None,
    told: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] = lambda: None,
) -> ScriptOutcome:
    """Run a script to its end and put its model in place; return what it told.

    Args:
        base: The folder it works in, fresh; kept. None: a temporary one, removed at the end.
        told: Given each line that it prints.
        check: Called several times a second; what it raises ends the script and all that it started.

    Raises:
        InvalidInput: The entry point, a channel's name or a metric's expression cannot be used.
        NotFound: A file or folder does not exist.
        Conflict: The model's folder holds something.
        ScriptFailure: It ended with another status than 0.
        LimitReached: It did not end in time.
    """
    metrics = read_metrics(script.metrics)
    command = [*_program(script), *arguments(script.hyperparameters)]
    _check_target(script.model_dir)
    if base is not None:
        base.mkdir(parents=True, exist_ok=True)
        return _run(script, base.absolute(), command, metrics, told, check)
    script.model_dir.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".script-", dir=script.model_dir.absolute().parent) as made:
        return _run(script, Path(made), command, metrics, told, check)


def check_script(script: Script) -> None:
    """Return if a script could be begun: its files, its interpreter, its hyperparameters and metrics.

    Raises:
        InvalidInput, NotFound: As `run_script`.
    """
    read_metrics(script.metrics)
    arguments(script.hyperparameters)
    _program(script)


def _run(
    script: Script,
    base: Path,
    command: list[str],
    metrics: Mapping[str, re.Pattern[str]],
    told: Callable[[str], None],
    check: Callable[[], None],
) -> ScriptOutcome:
    source = script.source_dir or Path(script.entry_point)
    lay_out(base, source, script.channels, script.hyperparameters)
    given = environment(
        base,
        _name(script),
        script.channels,
        script.hyperparameters,
        inherited=os.environ,
        same_python=not script.python or Path(script.python) == Path(sys.executable),
    )
    last: deque[str] = deque(maxlen=_LAST_LINES)
    history: dict[str, list[float]] = {}

    def heard(line: str) -> None:
        last.append(line)
        _look(line, metrics, history)
        told(line)

    started = time.monotonic()
    try:
        status = run_command(
            command, folder=base / "code", environment=given, told=heard, check=check, limit_s=script.limit_s
        )
    except LimitReached as error:
        _note_failure(base, str(error))
        raise LimitReached(
            f"limit_s: expected {script.entry_point} to end within {script.limit_s:g} s"
        ) from error
    if status != 0:
        raise ScriptFailure(script.entry_point, status, _reason(base, last))
    _put_in_place(base / "model", script.model_dir)
    return ScriptOutcome(
        seconds=round(time.monotonic() - started, 3),
        metrics={name: values[-1] for name, values in history.items()},
        history=history,
        files=sorted(
            str(path.relative_to(script.model_dir)) for path in script.model_dir.rglob("*") if path.is_file()
        ),
    )


def _program(script: Script) -> list[str]:
    """Return what runs the entry point.

    Raises:
        InvalidInput: It is no such file's name. NotFound: It, or the interpreter, does not exist.
    """
    name = _name(script)
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.suffix not in (".py", ".sh"):
        raise InvalidInput(
            f"entry_point: expected a .py or .sh file in the source folder, got {shown(script.entry_point)}"
        )
    if script.source_dir is not None and not script.source_dir.is_dir():
        raise NotFound(f"source_dir: there is no folder {script.source_dir}")
    file = Path(script.entry_point) if script.source_dir is None else script.source_dir / path
    if not file.is_file():
        raise NotFound(f"entry_point: there is no file {file}")
    if path.suffix == ".sh":
        return ["/bin/sh", name]
    python = shutil.which(script.python or sys.executable)
    if python is None:
        raise NotFound(f"python: there is no program {script.python}")
    return [os.path.abspath(python), name]  # not resolved: a virtual environment's is a link


def _name(script: Script) -> str:
    """Return the entry point as it is called inside `code`."""
    return script.entry_point if script.source_dir is not None else Path(script.entry_point).name


def read_metrics(given: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """Return compiled expressions by name.

    Raises:
        InvalidInput: One is no regular expression with one group.

    >>> read_metrics({"auc": "auc=([0-9.]+)"})["auc"].search("auc=0.9")[1]
    '0.9'
    """
    found = {}
    for name, text in given.items():
        try:
            found[name] = re.compile(text)
        except re.error as error:
            raise InvalidInput(
                f"metric: expected a regular expression for {name}, got {shown(text)}: {error}"
            ) from error
        if found[name].groups != 1:
            raise InvalidInput(f"metric: expected one group in the expression of {name}, got {shown(text)}")
    return found


def _look(line: str, metrics: Mapping[str, re.Pattern[str]], history: dict[str, list[float]]) -> None:
    for name, pattern in metrics.items():
        for match in pattern.finditer(line):
            try:
                value = float(match[1])
            except (TypeError, ValueError):
                continue  # its own words happen to look like a metric
            values = history.setdefault(name, [])
            if len(values) >= _MOST_VALUES:
                del values[0]
            values.append(value)


def _reason(base: Path, last: deque[str]) -> str:
    """Return what the script says of its failure; its last words are written down if it wrote nothing."""
    path = base / "output/failure"
    if path.is_file():
        with path.open("rb") as file:
            text = file.read(_FAILURE_BYTES).decode(errors="replace").strip()
        if text:
            return text
    said = [line for line in last if line.strip()]
    _note_failure(base, "\n".join(said))
    return said[-1].strip() if said else "it said nothing"


def _note_failure(base: Path, text: str) -> None:
    path = base / "output/failure"
    if not path.exists():
        path.write_text(text[-_FAILURE_BYTES:])


def _check_target(model_dir: Path) -> None:
    if model_dir.exists() and (not model_dir.is_dir() or any(model_dir.iterdir())):
        raise Conflict(f"model_dir: expected a folder that is empty or does not exist, got {model_dir}")


def _put_in_place(made: Path, target: Path) -> None:
    """Move the model's folder to its place in one rename, also from another file system."""
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".model-", dir=target.absolute().parent) as beside:
        whole = Path(beside) / "model"
        shutil.move(made, whole)
        whole.replace(target)
