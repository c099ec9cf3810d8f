"""How far a long command is: a bar on a terminal's standard error, nothing anywhere else."""

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def follow(steps: Callable[[], Iterator[tuple[T, float | None, str]]], title: str) -> T:
    """Return the last value of `steps`, which yields (value, share done from 0 to 1 or None, what goes on)."""
    if not sys.stderr.isatty():
        return deque(steps(), maxlen=1)[0][0]
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        for step in steps():
            value, share, text = step
            bar.update(task, description=f"{title}: {text}", total=None if share is None else 1.0)
            bar.update(task, completed=share or 0.0)
    return value


@contextlib.contextmanager
def working(title: str) -> Iterator[None]:
    """Show that something goes on whose length nobody knows."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(title):
        yield
