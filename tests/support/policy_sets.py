"""A second policy evaluator, slow and plain: every element of a statement is the set of requests that it holds for.

The universe is a small list of requests. A pattern's set is made by a table of prefixes (dynamic programming), a
statement is an intersection of sets, a policy a union, and the decision is membership.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Requests = frozenset[int]


@dataclass(frozen=True)
class Request:
    """One question: may this be done."""

    action: str
    resource: str
    context: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def values(self, key: str) -> tuple[str, ...]:
        return next((found for name, found in self.context if name.lower() == key.lower()), ())


@lru_cache(100_000)
def matches(pattern: str, text: str, *, loose: bool = True) -> bool:
    """Return whether a pattern without variables is the whole of a text: reach[j] says that a prefix of it is."""
    reach = [True] + [False] * len(text)
    for place, sign in enumerate(pattern):
        after = [False] * (len(text) + 1)
        passes = loose or pattern[place + 1 : place + 2] in ("", ":")
        for j in range(len(text) + 1):
            if sign == "*":
                after[j] = reach[j] or (j > 0 and after[j - 1] and (passes or text[j - 1] != ":"))
            elif j > 0 and sign == "?":
                after[j] = reach[j - 1] and (loose or text[j - 1] != ":")
            elif j > 0:
                after[j] = reach[j - 1] and sign == text[j - 1]
        reach = after
    return reach[-1]


def listed(value: Any) -> list[Any]:
    """Return a list, also where one element stands for it."""
    return value if isinstance(value, list) else [value]


class Universe:
    """All requests that there are."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.requests = tuple(requests)
        self.all: Requests = frozenset(range(len(requests)))

    def where(self, holds: Any) -> Requests:
        return frozenset(number for number, one in enumerate(self.requests) if holds(one))

    def statement(self, given: dict[str, Any]) -> Requests:
        """Return the requests that a statement is about."""
        deny = given["Effect"] == "Deny"
        actions = self._union(
            self.where(lambda one, p=pattern: matches(p.lower(), one.action.lower()))
            for pattern in listed(given.get("Action", given.get("NotAction")))
        )
        loose = deny != ("NotResource" in given)
        resources = self._union(
            self.where(lambda one, p=pattern: self._matches_resource(p, one, loose))
            for pattern in listed(given.get("Resource", given.get("NotResource")))
        )
        found = self.all - actions if "NotAction" in given else actions
        found &= self.all - resources if "NotResource" in given else resources
        for operator, keys in given.get("Condition", {}).items():
            for key, values in keys.items():
                found &= self.condition(operator, key, listed(values))
        return found

    def condition(self, operator: str, key: str, values: list[str]) -> Requests:
        """Return the requests that fulfil a condition: StringEquals, StringLike, their negations, IfExists, Null."""
        present = self.where(lambda one: one.values(key))
        if operator == "Null":
            return self.all - present if values == ["true"] else present
        base = operator.removesuffix("IfExists")
        agreeing = self.where(
            lambda one: any(
                matches(wanted, text) if "Like" in base else wanted == text
                for text in one.values(key)
                for wanted in values
            )
        )
        found = self.all - agreeing if "Not" in base else agreeing
        return found | (self.all - present) if operator.endswith("IfExists") else found

    def decisions(self, policies: Sequence[dict[str, Any]]) -> list[str]:
        """Return `allow`, `implicit deny` or `explicit deny` for every request."""
        statements = [one for policy in policies for one in listed(policy["Statement"])]
        denied = self._union(self.statement(one) for one in statements if one["Effect"] == "Deny")
        allowed = self._union(self.statement(one) for one in statements if one["Effect"] == "Allow")
        return [
            "explicit deny" if number in denied else "allow" if number in allowed else "implicit deny"
            for number in range(len(self.requests))
        ]

    def _matches_resource(self, pattern: str, one: Request, loose: bool) -> bool:
        """A variable's value is put in as a letter that is in no text, so that it stays literal."""
        name = "${aws:username}"
        if name not in pattern:
            return matches(pattern, one.resource, loose=loose)
        values = one.values("aws:username")
        if len(values) != 1:
            return loose
        return any(
            matches(pattern.replace(name, "\x01"), text, loose=loose)
            for text in _with_marks(one.resource, values[0])
        )

    def _union(self, sets: Any) -> Requests:
        found: Requests = frozenset()
        for one in sets:
            found |= one
        return found


def _with_marks(text: str, value: str) -> list[str]:
    """Return the text with each one occurrence of `value` replaced by the mark."""
    places = [place for place in range(len(text) - len(value) + 1) if text.startswith(value, place)]
    return [text[:place] + "\x01" + text[place + len(value) :] for place in places]
