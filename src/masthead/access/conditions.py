"""The conditions of a policy's statement, compiled to tests of a request's context. Pure.

All operators and keys of a statement must hold; of the values of one key, one. A missing key fails the positive
operators and satisfies the negated ones. What cannot be decided (a variable without a value, a date that is none)
counts against the caller: the condition of a Deny holds, that of an Allow does not.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html and
reference_policies_condition-single-vs-multi-valued-context-keys.html
"""

import ipaddress
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from masthead.access.wildcards import Sign, compile_pattern, glob
from masthead.base.errors import InvalidInput, nearest, shown

MOST_VALUES = 1_000
_MOST_LENGTH = 2_048
_MOST_DIGITS = 64  # a number of more is no number; it bounds the work of comparing

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Context:
    """What is known of a request: names in any case, each with one or several texts."""

    __slots__ = ("_given", "_known")

    def __init__(self, given: Mapping[str, str | Sequence[str]]) -> None:
        self._given = given
        self._known: dict[str, str | Sequence[str]] | None = None

    def values(self, name: str) -> tuple[str, ...]:
        """Return the texts under a name in small letters; () when the request has none."""
        if self._known is None:  # not before a statement asks: most decisions need none
            self._known = {key.lower(): value for key, value in self._given.items()}
        found = self._known.get(name, ())
        return (found,) if isinstance(found, str) else tuple(found)

    def resolve(self, name: str) -> str | None:
        """Return the text of a variable; None when there is not exactly one."""
        found = self.values(name)
        return found[0] if len(found) == 1 else None


Test = Callable[[str, Context], bool | None]
"""Says whether a request's text agrees with one of the policy's values; None: that cannot be known."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator about one key.

    Attributes:
        name: The key, in small letters.
        tests: One for each value of the policy.
        negated: It holds where no value agrees.
        every: "" for one value, `any` for ForAnyValue, `all` for ForAllValues.
        if_exists: It holds where the key is missing.
        doubt: What it is where it cannot be known.
    """

    name: str
    tests: tuple[Test, ...]
    negated: bool = False
    every: str = ""
    if_exists: bool = False
    doubt: bool = False

    def holds(self, context: Context) -> bool:
        """Return whether the request fulfils it."""
        found = context.values(self.name)
        if not found:
            return self.if_exists or self.every == "all" or (self.negated and not self.every)
        # One value: a negated operator wants that none of the request's texts agrees, a positive one that some does.
        whole = self.every == "all" or (self.negated and not self.every)
        judged = (self._judge(text, context) for text in found)
        return all(judged) if whole else any(judged)

    def _judge(self, text: str, context: Context) -> bool:
        unknown = False
        for test in self.tests:
            agrees = test(text, context)
            if agrees:
                return not self.negated
            unknown = unknown or agrees is None
        return self.doubt if unknown else self.negated


@dataclass(frozen=True, slots=True)
class Missing:
    """The operator Null: the key must be absent, or must be there."""

    name: str
    absent: bool

    def holds(self, context: Context) -> bool:
        """Return whether the request fulfils it."""
        return self.absent is not bool(context.values(self.name))


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An operator of another version: it holds in a Deny only."""

    doubt: bool

    def holds(self, context: Context) -> bool:
        """Return the same always."""
        return self.doubt


Clause = Condition | Missing | Unreadable


def compile_conditions(
    document: object, path: str, *, deny: bool, variables: bool, lenient: bool = False
) -> tuple[Clause, ...]:
    """Return the clauses of a `Condition`, all of which must hold.

    Raises:
        InvalidInput: An operator or a value is none; unknown operators are let pass when `lenient`.
    """
    found: list[Clause] = []
    for word, keys in _object(document, path).items():
        place = f"{path}.{word}"
        for name, values in _object(keys, place).items():
            where = f"{place}.{name}"
            texts = _texts(values, where)
            if not name:
                raise InvalidInput(f"{place}: expected the name of a key, got ''", field=place)
            found.append(_clause(word, name.lower(), texts, where, deny, variables, lenient))
    return tuple(found)


def _clause(
    word: str, name: str, texts: list[str], path: str, deny: bool, variables: bool, lenient: bool
) -> Clause:
    if word == "Null":
        wanted = {_boolean(text, path) for text in texts}
        if len(wanted) != 1:
            raise InvalidInput(f"{path}: expected true or false, got {shown(texts)}", field=path)
        return Missing(name, wanted.pop())
    quantifier, _, rest = word.rpartition(":")
    base = rest.removesuffix("IfExists")
    every = _QUANTIFIERS.get(quantifier)
    if base not in OPERATORS or every is None:
        if lenient:
            return Unreadable(deny)
        near = nearest(rest, [*OPERATORS, "Null"])
        raise InvalidInput(f"{path}: expected an operator such as {near}, got {shown(word)}", field=path)
    make, negated = OPERATORS[base]
    tests = tuple(make(text, path, variables) for text in texts)
    return Condition(name, tests, negated, every, base != rest, deny)


_QUANTIFIERS = {"": "", "ForAnyValue": "any", "ForAllValues": "all"}


def _object(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise InvalidInput(f"{path}: expected an object that is not empty, got {shown(value)}", field=path)
    return value


def _texts(value: object, path: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MOST_VALUES:
        raise InvalidInput(f"{path}: expected 1 to {MOST_VALUES} values, got {len(values)}", field=path)
    return [_as_text(one, path) for one in values]


def _as_text(value: object, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float) and len(text := str(value)) <= _MOST_LENGTH:
        return text
    raise InvalidInput(
        f"{path}: expected texts, numbers or booleans of at most {_MOST_LENGTH} characters, got {shown(value)}",
        field=path,
    )


# ---------------------------------------------------------------------- what agrees with a value


def _string(change: Callable[[str], str], wildcards: bool) -> Callable[[str, str, bool], Test]:
    def make(value: str, path: str, variables: bool) -> Test:
        pattern = compile_pattern(value, path, variables=variables, wildcards=wildcards, change=change)
        if change is str:
            return lambda text, context: pattern.match(text, context.resolve)

        def folded(name: str, context: Context) -> str | None:
            found = context.resolve(name)
            return None if found is None else change(found)

        return lambda text, context: pattern.match(change(text), lambda name: folded(name, context))

    return make


def _ordered(
    read: Callable[[str], Any], compare: Callable[[Any, Any], bool], expected: str
) -> Callable[[str, str, bool], Test]:
    def make(value: str, path: str, variables: bool) -> Test:
        bound = read(value)
        if bound is None:
            raise InvalidInput(f"{path}: expected {expected}, got {shown(value)}", field=path)

        def test(text: str, context: Context) -> bool | None:
            found = read(text)
            return None if found is None else compare(found, bound)

        return test

    return make


@lru_cache(1024)
def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text) if len(text) <= _MOST_DIGITS else None
    except InvalidOperation:
        return None
    return found if found is not None and found.is_finite() else None


@lru_cache(1024)
def _moment(text: str) -> float | None:
    number = _number(text)
    if number is not None and text.isdigit() and len(text) > 4:  # four digits are a year
        return float(number)
    try:
        found = datetime.fromisoformat(text if len(text) != 4 else f"{text}-01-01")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _boolean(text: str, path: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise InvalidInput(f"{path}: expected true or false, got {shown(text)}", field=path)
    return text.lower() == "true"


def _bool(value: str, path: str, variables: bool) -> Test:
    wanted = _boolean(value, path)
    return lambda text, context: {"true": wanted, "false": not wanted}.get(text.lower())


@lru_cache(4096)
def read_address(text: str) -> Address | None:
    """Return an address, an IPv4 one that came as IPv6 as what it is; None when it is none."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found


def read_network(text: object, path: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a range of addresses; one address is a range of one.

    Raises:
        InvalidInput: It is none.
    """
    try:
        return ipaddress.ip_network(str(text), strict=False)
    except ValueError as error:
        raise InvalidInput(
            f"{path}: expected an address or a range such as 10.0.0.0/8, got {shown(text)}", field=path
        ) from error


def _address(value: str, path: str, variables: bool) -> Test:
    network = read_network(value, path)

    def test(text: str, context: Context) -> bool | None:
        found = read_address(text)
        return None if found is None else found in network

    return test


def _arn(value: str, path: str, variables: bool) -> Test:
    pattern = compile_pattern(value, path, variables=variables)
    if value.count(":") < 5 and not (variables and "${" in value):
        raise InvalidInput(f"{path}: expected the six parts of an ARN, got {shown(value)}", field=path)

    def test(text: str, context: Context) -> bool | None:
        signs = pattern.signs(context.resolve)
        if signs is None:
            return None
        wanted, given = _six(signs), text.split(":", 5)
        return len(wanted) == len(given) == 6 and all(map(glob, wanted, given))

    return test


def _six(signs: Iterable[Sign]) -> list[list[Sign]]:
    """Return signs cut at the first five colons."""
    parts: list[list[Sign]] = [[]]
    for sign in signs:
        if sign == ":" and len(parts) < 6:
            parts.append([])
        else:
            parts[-1].append(sign)
    return parts


def _family(
    prefix: str, read: Callable[[str], Any], expected: str
) -> dict[str, tuple[Callable[[str, str, bool], Test], bool]]:
    return {
        f"{prefix}{name}": (_ordered(read, compare, expected), negated)
        for name, compare, negated in (
            ("Equals", operator.eq, False),
            ("NotEquals", operator.eq, True),
            ("LessThan", operator.lt, False),
            ("LessThanEquals", operator.le, False),
            ("GreaterThan", operator.gt, False),
            ("GreaterThanEquals", operator.ge, False),
        )
    }


_SAME, _FOLDED, _LIKE = _string(str, False), _string(str.casefold, False), _string(str, True)
OPERATORS: Mapping[str, tuple[Callable[[str, str, bool], Test], bool]] = {
    "StringEquals": (_SAME, False),
    "StringNotEquals": (_SAME, True),
    "StringEqualsIgnoreCase": (_FOLDED, False),
    "StringNotEqualsIgnoreCase": (_FOLDED, True),
    "StringLike": (_LIKE, False),
    "StringNotLike": (_LIKE, True),
    **_family("Numeric", _number, "a number"),
    **_family("Date", _moment, "an ISO 8601 time or epoch seconds"),
    "Bool": (_bool, False),
    "IpAddress": (_address, False),
    "NotIpAddress": (_address, True),
    "ArnEquals": (_arn, False),
    "ArnLike": (_arn, False),
    "ArnNotEquals": (_arn, True),
    "ArnNotLike": (_arn, True),
}
"""Each operator: what makes its tests, and whether it is negated. `Null` stands alone."""
