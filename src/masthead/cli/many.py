"""Options that take several values at once: `--data A B C` is `--data A --data B --data C`."""

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

__all__ = ["Many", "spread"]

_TAKES_MANY = ("--data",)


class Many(TyperCommand):
    """A command whose `--data` takes every word up to the next option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return what remains of the arguments, as click does."""
        return list(super().parse_args(ctx, spread(args)))


def spread(words: Sequence[str]) -> list[str]:
    """Return a command line in which each value of an option for many stands behind the option's name.

    >>> spread(["--data", "a", "b", "--seed", "1"])
    ['--data', 'a', '--data', 'b', '--seed', '1']
    """
    found: list[str] = []
    taking, given = "", 0
    for word in words:
        if word.startswith("-") and len(word) > 1:
            taking, given = (word if word in _TAKES_MANY else ""), 0
        elif taking:
            given += 1
            if given > 1:
                found.append(taking)
        found.append(word)
    return found
