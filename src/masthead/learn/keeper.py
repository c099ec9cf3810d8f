"""Runs one command and ends it with everything it started when whoever asked for it is gone.

A program of its own, `python -I keeper.py COMMAND...`: standard library alone, no part of Masthead is loaded. Its
standard input is a pipe that the asking process holds open; a `kill -9` there closes it, and then the whole process group
is ended. Its exit status is the command's, 128 + the number of a signal.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from types import FrameType

GRACE_S = 5.0


def _end_group() -> None:
    """End the group by name, then by force; this process is one of it."""
    os.killpg(0, signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(0, signal.SIGKILL)


def _watch() -> None:
    while os.read(0, 1024):
        pass
    _end_group()


def _stay(number: int, frame: FrameType | None) -> None:
    """Let the command answer SIGTERM; a handler, unlike being deaf to it, does not pass to the command."""


def main() -> int:
    """Run the command of this command line and return its status."""
    signal.signal(signal.SIGTERM, _stay)
    try:
        with subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL) as child:
            threading.Thread(target=_watch, daemon=True).start()
            status = child.wait()
    except OSError as error:
        print(f"cannot run {sys.argv[1]}: {error.strerror or error}", file=sys.stderr)
        return 127
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    os._exit(main())  # the watching thread sits in a read
