"""What could not be used, and why: broken data is a value, not an exception."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

KEPT = 1000
_SHOWN = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that could not be used.

    Attributes:
        file: Path or name of the source.
        line: Line in it, from 1; row number in a Parquet file; 0 = the file as a whole.
        field: Column; "" = the whole line.
        value: What stood there, cut to 120 characters.
        reason: Why it was refused.
    """

    file: str
    line: int
    field: str
    value: str
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the problem as JSON values."""
        return asdict(self)


class Problems:
    """The first 1,000 problems and the count of all, by reason; apart, what was read in spite of a flaw."""

    def __init__(self) -> None:
        self.kept: list[Problem] = []
        self.by_reason: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def __len__(self) -> int:
        return self.by_reason.total()

    def add(self, file: str, line: int, field: str, value: object, reason: str) -> None:
        """Count one problem and keep it while there is room."""
        self.by_reason[reason] += 1
        if len(self.kept) < KEPT:
            self.kept.append(Problem(file, line, field, shorten(value), reason))

    def note(self, file: str, line: int, value: object, reason: str) -> None:
        """Keep, as one of the problems, what refused nothing: it is counted apart."""
        self.notes[reason] += 1
        if len(self.kept) < KEPT:
            self.kept.append(Problem(file, line, "", shorten(value), reason))

    def add_rows(
        self, file: str, lines: Sequence[int], field: str, values: Iterable[object], reason: str
    ) -> None:
        """Count a problem for each of `lines`; `values` are asked for only as far as they are kept."""
        self.by_reason[reason] += len(lines)
        room = max(0, KEPT - len(self.kept))
        for line, value in zip(lines[:room], values, strict=False):
            self.kept.append(Problem(file, int(line), field, shorten(value), reason))

    def to_json(self) -> dict[str, Any]:
        """Return counts by reason and the kept problems as JSON values."""
        return {
            "count": len(self),
            "by_reason": dict(self.by_reason.most_common()),
            "first": [problem.to_json() for problem in self.kept],
        }


def shorten(value: object) -> str:
    """Return a value as one short line.

    >>> shorten("a" * 200)[-4:], shorten(None)
    ('a...', '')
    """
    text = "" if value is None else value if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
