"""`masthead` commands forked from a process that has imported Masthead: nine tenths of a short one's second are imports.

It is the whole command in a process of its own, with its arguments, folder, environment, pipes and exit status. What
a test asks of the start itself (what is imported, how long help takes) runs `python -m masthead.cli.main`.

    [str(forked()), "things", "list"]       in place of `masthead things list`
    [str(forked("python")), "child.py"]     in place of `python child.py`

SIGTERM and SIGINT are passed on. What must hit the command itself, kill -9 above all, goes to the pid that it tells.

A program asks the process that forks, over a socket beside it, with its three standard pipes; a handler of its own then
waits for the command, and kills it when the program is gone.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from masthead.cli.main import main

LIBRARIES = (
    "alembic.command",
    "alembic.context",
    "httpx",
    "lightgbm",
    "limits.aio",
    "uvicorn.logging",
    "uvicorn.lifespan.on",
)
LEFT_OUT = (
    "masthead.samples",
    "masthead.store.migrations",
    "masthead.fraud.networks",
    "masthead.fraud.pipeline.child",
)
"""Not for import, or in need of torch, which few commands import."""

PROGRAM = """\
#!{python} -IS
import json, os, signal, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({place!r})
told = {{"command": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(asked, [json.dumps(told).encode() + b"\\n"], [0, 1, 2])
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: asked.send(bytes([number])))
status = asked.recv(1)
sys.exit(status[0] if status else 1)
"""


def forked(name: str = "masthead") -> Path:
    """Return the program `masthead`, or one that runs a script; the first stands in a folder for a path's begin."""
    return _programs() / {"masthead": "bin/masthead", "python": "python"}[name]


def told(data: Path, *arguments: str, given: object = None) -> Any:
    """Return what a command on a data folder printed as JSON; `given` is its `--file`."""
    file = [] if given is None else ["--file", "-"]
    done = subprocess.run(
        [str(forked()), *arguments, *file, "--json"],
        env={**os.environ, "MASTHEAD_DATA": str(data)},  # `--data` of `fraud` is something else
        input=None if given is None else json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@cache
def _programs() -> Path:
    """Start what forks; return the folder of its programs."""
    folder = Path(tempfile.mkdtemp(prefix="masthead-forked-"))
    place = folder / "socket"
    (folder / "bin").mkdir()
    for program in (folder / "bin" / "masthead", folder / "python"):
        program.write_text(PROGRAM.format(python=sys.executable, place=str(place)))
        program.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, __file__, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", "what forks commands did not start"
    process.stdout.close()
    atexit.register(process.wait)
    atexit.register(process.stdin.close)  # runs first: it ends with its standard input
    return folder


def _serve(place: str) -> None:
    """Take commands until standard input ends; returns in a command's own process, where it is to run."""
    for name in (*LIBRARIES, *_modules("masthead")):
        importlib.import_module(name)
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place)
    listener.listen(16)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin.fileno()], [], [], 1.0)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if sys.stdin.fileno() in ready:
            os._exit(0)
        if listener in ready:
            asked, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return _handle(asked)
            asked.close()


def _modules(package: str) -> Iterator[str]:
    """Yield the names of a package's modules, whatever a command may import."""
    for one in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        if one.name not in LEFT_OUT:
            yield one.name
            if one.ispkg:
                yield from _modules(one.name)


def _handle(asked: socket.socket) -> None:
    """Fork the command and wait for it; returns in the command's process."""
    told, pipes = _received(asked)
    command = os.fork()
    if command == 0:
        asked.close()
        return _become(told, pipes)
    for pipe in pipes:
        os.close(pipe)
    ended = os.pidfd_open(command)
    while True:
        ready, _, _ = select.select([asked, ended], [], [])
        if ended in ready:
            status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
            asked.send(bytes([status if status >= 0 else 128 - status]))
            os._exit(0)
        passed_on = asked.recv(1)
        os.kill(command, passed_on[0] if passed_on else signal.SIGKILL)


def _received(asked: socket.socket) -> tuple[dict[str, Any], list[int]]:
    text, pipes, _, _ = socket.recv_fds(asked, 1 << 16, 3)
    while not text.endswith(b"\n"):
        text += asked.recv(1 << 16)
    return json.loads(text), pipes


def _become(told: dict[str, Any], pipes: list[int]) -> None:
    """Make this process one that was started so."""
    for number, pipe in enumerate(pipes):
        os.dup2(pipe, number)
        os.close(pipe)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    program, *arguments = told["command"]
    sys.argv = arguments if Path(program).name == "python" else [program, *arguments]
    output = 0 if "PYTHONUNBUFFERED" in os.environ else -1
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(os.fdopen(number, "wb", buffered, closefd=False), "utf-8", write_through=True)
        for number, buffered in ((1, output), (2, 0))
    )


def _run() -> int:
    """Run the command as its own process would; what is loaded need not be taken apart at the end."""
    status: object = 0
    try:
        if sys.argv[0].endswith(".py"):
            runpy.run_path(sys.argv[0], run_name="__main__")
        else:
            main()
    except SystemExit as ended:
        status = ended.code
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    return status if isinstance(status, int) else int(status is not None)


if __name__ == "__main__":
    _serve(sys.argv[1])
    os._exit(_run())
