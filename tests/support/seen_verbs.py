"""An installation that tells which verbs of its rooms were called: the real parts, looked at from outside."""

from collections.abc import Callable
from typing import Any

from masthead.app import Masthead

_ROOMS = ("metrics", "alerts", "streams", "endpoints")
_OWN = ("ingest", "invoke_later")


class _Room:
    def __init__(self, name: str, room: object, tell: Callable[[str], None]) -> None:
        self._name, self._room, self._tell = name, room, tell

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._room, name)
        if callable(found):
            self._tell(f"{self._name}.{name}")
        return found


class Seen:
    """Stands before an installation; `verbs` are those that were called since it was last emptied."""

    def __init__(self, masthead: Masthead) -> None:
        self._masthead = masthead
        self.verbs: list[str] = []

    def tell(self, verb: str) -> None:
        """Note a verb, once."""
        if verb not in self.verbs:
            self.verbs.append(verb)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._masthead, name)
        if name in _OWN:
            self.tell(name)
        return _Room(name, found, self.tell) if name in _ROOMS else found
