"""What a demonstration says while it runs: readable lines and a bar on a terminal, nothing with `--json`."""

import sys
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Teller:
    """Prints lines above a bar; silent when told so."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        width = None if sys.stdout.isatty() else 120
        self._console = Console(quiet=silent, highlight=False, markup=False, width=width, soft_wrap=True)
        self._bar: Progress | None = None
        self._task: Any = None

    def say(self, line: str = "", *, style: str = "") -> None:
        """Print one line."""
        self._console.print(line, style=style or None)

    def bar(self, total: int) -> Self:
        """Begin a bar, which lives in a `with` block; on no terminal there is none."""
        if self._console.is_terminal and not self._silent:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f} of {task.total:.0f} readings"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total)
        return self

    def move(self, done: int, text: str) -> None:
        """Show how far it is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=text)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar = None
