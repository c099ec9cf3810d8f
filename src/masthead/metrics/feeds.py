"""The delivery streams that put objects, as a detector that reads folders knows them."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from masthead.metrics.spec import DetectorSpec

__all__ = ["SAMPLE_S", "Feed", "Feeds", "feeding"]

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")
_PIECES = re.compile(r"'([^']*)'|([A-Za-z])\2*|(.)")
_DIGITS = "yYuMdDHhkKmsS"
SAMPLE_S = 1_640_995_200  # 2022-01-01T00:00Z: a day like any other


class Feed(Protocol):
    """A delivery stream that names its folders by time."""

    @property
    def name(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def buffer_s(self) -> float: ...
    @property
    def interval_s(self) -> int: ...  # of its folders; 0 = they are named after the arrival
    @property
    def folder_at(self) -> Callable[[float], str]: ...
    @property
    def start_of(self) -> Callable[[float], int] | None: ...


class Feeds:
    """Which streams there are, asked anew after each `forget`, and through which interval each is sealed."""

    def __init__(self) -> None:
        self._ask: Callable[[], Sequence[Feed]] = lambda: ()
        self._known: Sequence[Feed] | None = None
        self._sealed: dict[str, int] = {}

    def follow(self, ask: Callable[[], Sequence[Feed]]) -> None:
        """Ask `ask` for the streams from now on."""
        self._ask, self._known = ask, None

    def forget(self) -> None:
        """Ask again when next needed: streams may have changed."""
        self._known = None

    def of(self, spec: DetectorSpec) -> tuple[Feed, ...]:
        """Return the streams that put objects where a detector looks for them."""
        known = self._known
        if known is None:
            known = self._known = self._ask()
        return feeding(spec, known)

    def seal(self, stream: str, start_s: int) -> None:
        """Learn that all objects of the interval from `start_s`, and of those before, are put."""
        self._sealed[stream] = max(start_s, self._sealed.get(stream, start_s))

    def is_sealed(self, stream: str, start_s: int) -> bool:
        """Return whether an interval is known to be complete."""
        return self._sealed.get(stream, start_s - 1) >= start_s


def feeding(spec: DetectorSpec, known: Sequence[Feed]) -> tuple[Feed, ...]:
    """Return those of the streams whose folders have the shape of the template of a detector."""
    if spec.source is None or spec.source.kind != "path":
        return ()
    shape = _shape(spec.source.template)
    return tuple(feed for feed in known if shape.match(feed.folder_at(SAMPLE_S) + "/"))


def _shape(template: str) -> re.Pattern[str]:
    """Return what the folders of a template look like, with all that lies below them."""
    parts = _TEMPLATE.split(template.rstrip("/"))
    return re.compile(
        "".join(_letters(part) if place % 2 else re.escape(part) for place, part in enumerate(parts)) + "/"
    )


def _letters(pattern: str) -> str:
    found = []
    for piece in _PIECES.finditer(pattern):
        quoted, letter, other = piece.groups()
        if letter:
            is_name = letter not in _DIGITS or piece[0].startswith("MMM")
            found.append("[^/]+" if is_name else r"\d+")
        else:
            found.append(re.escape(quoted or other or "'"))
    return "".join(found)
