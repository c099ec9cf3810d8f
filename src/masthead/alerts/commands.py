"""Runs a user's command for an alert: no shell, a bounded time, a bounded output, nothing of our environment."""

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import IO

COMMAND_LIMIT_S = 30.0
OUTPUT_BYTES = (
    4_096  # the first bytes are kept, the rest is read and dropped, so that the command never blocks
)

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_command(
    argv: Sequence[str], document: bytes, *, key: str, limit_s: float = COMMAND_LIMIT_S
) -> tuple[bool, str]:
    """Return whether the command ended with status 0, and what it printed or why it failed.

    Args:
        argv: Program by absolute path, and its arguments; handed over as they are.
        document: What it reads on standard input.
        key: Stands in `MASTHEAD_ALERT_KEY`, so that a command can drop a repeated alert.
        limit_s: Then the command and all that it started in its session are killed.
    """
    # A file, not a pipe: a command that does not read cannot block us.
    with tempfile.TemporaryFile() as source:
        source.write(document)
        source.seek(0)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={"PATH": _PATH, "LANG": "C.UTF-8", "MASTHEAD_ALERT_KEY": key},
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return False, f"not started: {error}"
    assert process.stdout is not None
    kept = bytearray()
    ended = threading.Event()
    reader = threading.Thread(target=_drain, args=(process.stdout, kept, ended), daemon=True)
    reader.start()
    try:
        status: int | None = process.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        status = None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    ended.set()
    reader.join()
    process.stdout.close()
    said = bytes(kept).decode(errors="replace").strip()
    if status == 0:
        return True, said
    how = f"killed after {limit_s:g} s" if status is None else f"exit status {status}"
    return False, f"{how}: {said}" if said else how


def _drain(pipe: IO[bytes], kept: bytearray, ended: threading.Event) -> None:
    """Read until the end, or until the command has ended and its pipe, perhaps held by a child, is silent."""
    while True:
        readable, _, _ = select.select([pipe], [], [], 0.1)
        if readable:
            part = os.read(pipe.fileno(), 65_536)
            if not part:
                return
            kept.extend(part[: OUTPUT_BYTES - len(kept)])
        elif ended.is_set():
            return
