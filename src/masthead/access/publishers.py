"""Which thing sent a message: the broker's store keeps no sender, but a topic that one thing alone may publish names it. Pure."""

from collections import OrderedDict
from collections.abc import Mapping

from masthead.access.thing_policies import Permissions

_MOST_REMEMBERED = 100_000


class _Node:
    __slots__ = ("children", "here", "under")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.here: set[str] = set()
        self.under: set[str] = set()


class Publishers:
    """The publish permissions of all things as one tree; answers are remembered, 100,000 at most."""

    def __init__(self, permissions: Mapping[str, Permissions]) -> None:
        self._permissions = permissions
        self._root = _Node()
        self._known: OrderedDict[str, str | None] = OrderedDict()
        for thing, granted in permissions.items():
            for pattern in granted.publish if granted.connect else ():
                self._add(thing, pattern.split("."))

    def sender(self, subject: str) -> str | None:
        """Return the only thing that may publish to `subject`; None when there is no such thing or more than one."""
        if subject in self._known:
            return self._known[subject]
        found = {
            thing
            for thing in self._candidates(subject.split("."))
            if self._permissions[thing].may_publish(subject)
        }
        answer = found.pop() if len(found) == 1 else None
        self._known[subject] = answer
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return answer

    def _add(self, thing: str, tokens: list[str]) -> None:
        node = self._root
        for token in tokens:
            if token == ">":
                node.under.add(thing)
                return
            node = node.children.setdefault(token, _Node())
        node.here.add(thing)

    def _candidates(self, tokens: list[str]) -> set[str]:
        found: set[str] = set()
        nodes = [self._root]
        for token in tokens:
            below = []
            for node in nodes:
                found |= node.under
                below += [node.children[key] for key in {token, "*"} if key in node.children]
            nodes = below
        for node in nodes:
            found |= node.here
        return found
