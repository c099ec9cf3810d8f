"""Values of the rule language: Undefined, the conversions, and the functions. Pure.

A function that gets a value it cannot use answers Undefined, never an error: one odd reading must not stop a rule.

Source: AWS IoT Core Developer Guide, "AWS IoT SQL reference": data types, operators, functions (version 2016-03-23).
"""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final


class Undefined:
    """The value of a path that leads nowhere; it is left out of results."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Undefined"


UNDEFINED: Final[Undefined] = Undefined()
_DECIMAL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE]-?[0-9]+)?")
_MAX_MATCHED = 1000  # characters given to a pattern: a text is the device's, and some patterns take long
_MAX_INT = 2**63


@dataclass(slots=True)
class Message:
    """What an expression may know beside the payload. Sequence and index make `newuuid()` the same at a replay."""

    topic: str
    thing: str | None = None
    arrived: float = 0.0
    sequence: int = 0
    index: int = 0


def number(value: Any) -> int | float | Undefined:
    """Return the number that `value` is or, as text, spells."""
    kind = type(value)
    if kind is int:
        return int(value)
    if kind is float:
        return bounded(value)
    if kind is str and len(value) <= 64 and _DECIMAL.fullmatch(value):
        return bounded(float(value) if any(char in value for char in ".eE") else int(value))
    return UNDEFINED


def bounded(value: float) -> int | float | Undefined:
    """Return a result that JSON can carry: infinities and NaN are Undefined, integers beyond 64 bit become floats."""
    if type(value) is int:
        return (
            value
            if -_MAX_INT <= value < _MAX_INT
            else bounded(float(value))
            if abs(value) < 10**300
            else UNDEFINED
        )
    return value if math.isfinite(value) else UNDEFINED


def whole(value: Any) -> int | Undefined:
    """Return the integer that `value` is or spells, cutting decimals."""
    found = number(value)
    return found if isinstance(found, Undefined) else int(found)


def truth(value: Any) -> bool | Undefined:
    """Return the boolean that `value` is, or spells as `true` or `false` in any case."""
    if value is True or value is False:
        return bool(value)
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), UNDEFINED)
    return UNDEFINED


def text(value: Any) -> str | Undefined:
    """Return `value` as text; null, arrays and objects have none."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, int | float) else UNDEFINED


def equal(left: Any, right: Any) -> bool | Undefined:
    """Return whether two values are equal; other kinds differ, except numbers and the texts that spell them."""
    if isinstance(left, Undefined) or isinstance(right, Undefined):
        return UNDEFINED
    if type(left) is type(right):
        return bool(left == right)
    first, second = number(left), number(right)
    return False if isinstance(first, Undefined) or isinstance(second, Undefined) else bool(first == second)


def comparison(symbol: str) -> Callable[[Any, Any], bool | Undefined]:
    """Return the function of `= <> != < <= > >=`. Order: two texts by characters, otherwise as numbers."""
    if symbol == "=":
        return equal
    if symbol in ("<>", "!="):
        return _differ
    ordered = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}[symbol]

    def compare(left: Any, right: Any) -> bool | Undefined:
        if isinstance(left, str) and isinstance(right, str):
            return bool(ordered(left, right))
        first, second = number(left), number(right)
        if isinstance(first, Undefined) or isinstance(second, Undefined):
            return UNDEFINED
        return bool(ordered(first, second))

    return compare


def _differ(left: Any, right: Any) -> bool | Undefined:
    same = equal(left, right)
    return same if isinstance(same, Undefined) else not same


def arithmetic(symbol: str) -> Callable[[Any, Any], Any]:
    """Return the function of `+ - * / %`; `+` with a text joins, division by 0 is Undefined."""
    calculate = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide, "%": _remainder}[
        symbol
    ]

    def apply(left: Any, right: Any) -> Any:
        if symbol == "+" and (isinstance(left, str) or isinstance(right, str)):
            return concat(left, right)
        first, second = number(left), number(right)
        if isinstance(first, Undefined) or isinstance(second, Undefined):
            return UNDEFINED
        try:
            return bounded(calculate(first, second))
        except (ZeroDivisionError, OverflowError, ValueError):
            return UNDEFINED

    return apply


def _divide(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def _remainder(left: float, right: float) -> float:
    """Return the remainder with the sign of `left`."""
    if isinstance(left, int) and isinstance(right, int):
        return abs(left) % abs(right) * (-1 if left < 0 else 1)
    return math.fmod(left, right)


def concat(*values: Any) -> Any:
    """Return the texts of all values, joined; arrays join to an array."""
    if values and all(isinstance(value, list) for value in values):
        return [item for value in values for item in value]
    texts = [text(value) for value in values]
    return UNDEFINED if any(isinstance(each, Undefined) for each in texts) else "".join(map(str, texts))


def _of_text(function: Callable[[str], Any]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        found = text(value)
        return found if isinstance(found, Undefined) else function(found)

    return apply


def _of_number(function: Callable[[float], float]) -> Callable[[Any], Any]:
    def apply(value: Any) -> Any:
        found = number(value)
        try:
            return found if isinstance(found, Undefined) else bounded(function(found))
        except (ValueError, OverflowError):
            return UNDEFINED

    return apply


def _substring(value: Any, start: Any, end: Any = None) -> Any:
    found, first, last = text(value), whole(start), None if end is None else whole(end)
    if isinstance(found, Undefined) or isinstance(first, Undefined) or isinstance(last, Undefined):
        return UNDEFINED
    return found[max(first, 0) : None if last is None else max(last, 0)]


def _power(base: Any, exponent: Any) -> Any:
    first, second = number(base), number(exponent)
    if isinstance(first, Undefined) or isinstance(second, Undefined):
        return UNDEFINED
    try:
        result = math.pow(first, second)
    except (ValueError, OverflowError):
        return UNDEFINED
    return (
        int(result)
        if type(first) is type(second) is int and result.is_integer() and abs(result) < 2**53
        else result
    )


def matches(pattern: re.Pattern[str], value: Any) -> bool | Undefined:
    """Return whether `pattern` is found in the first 1,000 characters of the text of `value`."""
    found = text(value)
    return found if isinstance(found, Undefined) else pattern.search(found[:_MAX_MATCHED]) is not None


def cast(value: Any, kind: str) -> Any:
    """Return `value` as `string`, `int`, `decimal` or `boolean`."""
    if isinstance(value, bool) and kind in ("int", "decimal"):
        return int(value) if kind == "int" else float(value)
    if kind == "boolean":
        found = number(value) if not isinstance(value, str) else UNDEFINED
        return truth(value) if isinstance(found, Undefined) else found != 0
    if kind == "decimal":
        found = number(value)
        return found if isinstance(found, Undefined) else float(found)
    return text(value) if kind == "string" else whole(value)


# name -> (fewest arguments, most arguments, function of values)
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {
    "upper": (1, 1, _of_text(str.upper)),
    "lower": (1, 1, _of_text(str.lower)),
    "length": (1, 1, _of_text(len)),
    "concat": (1, 32, concat),
    "substring": (2, 3, _substring),
    "abs": (1, 1, _of_number(abs)),
    "round": (1, 1, _of_number(lambda value: math.floor(value + 0.5))),
    "floor": (1, 1, _of_number(math.floor)),
    "ceil": (1, 1, _of_number(math.ceil)),
    "sqrt": (1, 1, _of_number(math.sqrt)),
    "power": (2, 2, _power),
    "isnull": (1, 1, lambda value: value is None),
    "isundefined": (1, 1, lambda value: value is UNDEFINED),
}
