"""A command as a child: its lines as they come, its end within a time, and nothing of it left over afterwards."""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from masthead.base.errors import LimitReached

__all__ = ["run_command"]

_KEEPER = Path(__file__).with_name("keeper.py")
_LOOK_S = 0.2
_GRACE_S = 5.0
_LINE_BYTES = 4_000  # what is longer is cut: a progress bar without line ends must not fill the memory
_WAITING = 1_000


def run_command(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    told: Callable[[str], None],
    check: Callable[[], None] = lambda: None,
    limit_s: float,
) -> int:
    """Run a command to its end and return its exit status, 128 + the number of the signal that ended it.

    The command and all that it started form a process group. The group ends when this function does, however it does, and
    when this process is killed.

    Args:
        command: Program and arguments; no shell reads them.
        folder: Where it works.
        environment: All of it.
        told: Given each line of its two outputs, as it comes.
        check: Called several times a second; what it raises ends the command.
        limit_s: After so long the command is ended.

    Raises:
        LimitReached: It did not end in time.
    """
    # The keeper inherits nothing that steers Python: -I. The command gets the environment as given.
    child = subprocess.Popen(
        [sys.executable, "-I", str(_KEEPER), *command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    lines: queue.Queue[str | None] = queue.Queue(_WAITING)
    assert child.stdout is not None
    reader = threading.Thread(target=_read, args=(child.stdout, lines), name="script-output", daemon=True)
    reader.start()
    try:
        _follow(child, lines, told, check, time.monotonic() + limit_s)
    except _Late:
        raise LimitReached(f"limit_s: expected the command to end within {limit_s:g} s") from None
    finally:
        left = _end(child, lines, reader)
    for line in left:
        told(line)
    return child.returncode


class _Late(Exception):
    """The time is over."""


def _follow(
    child: "subprocess.Popen[bytes]",
    lines: "queue.Queue[str | None]",
    told: Callable[[str], None],
    check: Callable[[], None],
    deadline: float,
) -> None:
    """Tell lines until the command has ended; it is not reaped yet, so that its group's number stays its own."""
    while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        check()
        if time.monotonic() > deadline:
            raise _Late
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=_LOOK_S)
            if line is None:  # it closed its outputs and goes on
                time.sleep(_LOOK_S)
            else:
                told(line)


def _end(
    child: "subprocess.Popen[bytes]", lines: "queue.Queue[str | None]", reader: threading.Thread
) -> list[str]:
    """End what is left of the group, first by request, after a while by force; return the lines not told yet."""
    left: list[str] = []
    running = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    _signal(child.pid, signal.SIGTERM)
    if running:
        deadline = time.monotonic() + _GRACE_S
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                break
            _take(lines, left)  # a command that waits for its output to be read cannot end
    _signal(child.pid, signal.SIGKILL)
    child.wait()
    deadline = time.monotonic() + _GRACE_S  # what has left the group may hold the pipe and go on writing
    while reader.is_alive() and _take(lines, left) and time.monotonic() < deadline:
        pass
    while not lines.empty():
        _take(lines, left)
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    if not reader.is_alive():  # else its reader ends with it
        child.stdout.close()
    return left


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _take(lines: "queue.Queue[str | None]", left: list[str]) -> bool:
    """Add the next line to `left`; return whether something came in time."""
    try:
        line = lines.get(timeout=_LOOK_S)
    except queue.Empty:
        return False
    if line is not None:
        left.append(line)
    return True


def _read(stream: IO[bytes], lines: "queue.Queue[str | None]") -> None:
    """Put each line, at most `_LINE_BYTES` of it, and None at the end."""
    cut = False
    while chunk := stream.readline(_LINE_BYTES):
        whole = chunk.endswith(b"\n")
        if not cut:
            lines.put(chunk.decode(errors="replace").rstrip("\r\n"))
        cut = not whole
    lines.put(None)
