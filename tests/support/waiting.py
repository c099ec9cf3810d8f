"""How tests wait for what other threads and processes do."""

import time
from collections.abc import Callable
from typing import Any


def eventually(check: Callable[[], Any], within_s: float = 20.0, *, every_s: float = 0.05) -> Any:
    """Return the first answer of `check` that is true; fail when there is none in time.

    Args:
        every_s: How long between two looks: longer where a look is a command.
    """
    deadline = time.monotonic() + within_s
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(every_s)
    return found
