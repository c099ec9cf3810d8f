"""Shapes of a service model: from what came over the wire to checked values, and back. No sockets, no requests.

`read` returns the value and collects every problem (at most 20), each as the path of a field and what was expected
there. AWS's own clients check only presence, type and minimum length, so everything is checked here. What a sensitive
shape holds never stands in a problem.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from masthead.base.errors import shown
from masthead.base.log import get_logger

MOST_PROBLEMS = 20
_SHOWN = 60
_DEEPEST = 64  # of a value without shape
_RANGE = {"integer": 2**31, "long": 2**63}
_INTEGER = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_STAMP = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # ISO 8601 as clients write it
_LOG = get_logger("aws")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input."""

    path: str
    expected: str


class Problems(list[Problem]):
    """What is wrong with an input, up to a bound; the rest is only counted."""

    def tell(self, path: str, expected: str) -> None:
        """Note one problem."""
        if len(self) < MOST_PROBLEMS:
            self.append(Problem(path, expected))

    def told(self) -> str:
        """Return all of them in one line."""
        return "; ".join(f"{problem.path}: {problem.expected}" for problem in self)


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a structure: its shape, and where it stands on the wire ("" : in the JSON document)."""

    name: str
    shape: "Shape"
    wire: str
    location: str = ""


@dataclass(slots=True)
class Shape:
    """One shape. `item` is what a list holds, `key` and `value` what a map does; `opaque`: any JSON object."""

    name: str
    kind: str
    least: float | None = None
    most: float | None = None
    choices: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None
    pattern_text: str = ""
    iso: bool = False
    sensitive: bool = False
    opaque: bool = False
    event_stream: bool = False
    exception: bool = False
    status: int = 0
    payload: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    item: "Shape | None" = None
    key: "Shape | None" = None
    value: "Shape | None" = None
    documents: tuple[Member, ...] = ()  # the members in the JSON document

    # ------------------------------------------------------------------ reading

    def read(self, given: Any, path: str, problems: Problems, *, hide: bool = False) -> Any:
        """Return the value of `given`, a JSON value; None when it cannot be used (`problems` say why)."""
        return _READERS[self.kind](self, given, path, problems, hide or self.sensitive)

    def read_text(self, text: str, path: str, problems: Problems) -> Any:
        """Return the value of a text from a path, a query or a header."""
        given: Any = text
        if self.kind in _RANGE:
            given = int(text) if _INTEGER.fullmatch(text) else text
        elif self.kind == "boolean":
            given = {"true": True, "false": False}.get(text, text)
        return self.read(given, path, problems)

    # ------------------------------------------------------------------ writing

    def write(self, value: Any) -> Any:
        """Return the JSON value of an output; absent members and members that are None are left out.

        Raises:
            ValueError: A number is not finite: the translator's mistake.
        """
        if self.opaque:
            return value
        if self.kind == "structure":
            return {
                member.wire: member.shape.write(found)
                for member in self.documents
                if (found := value.get(member.name)) is not None
            }
        if self.kind == "list":
            assert self.item is not None
            return [self.item.write(one) for one in value]
        if self.kind == "map":
            assert self.value is not None
            return {str(key): self.value.write(one) for key, one in value.items()}
        return _WRITERS[self.kind](self, value) if self.kind in _WRITERS else value


# ---------------------------------------------------------------------- readers, one for each kind


def _structure(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    if not isinstance(given, dict):
        return problems.tell(path, _expected("an object", given, hide))
    if shape.opaque:
        return given if _is_plain(given) else problems.tell(path, "expected JSON of text and finite numbers")
    found = {}
    for member in shape.documents:
        one = given.get(member.wire)
        if one is not None:
            below = f"{path}.{member.name}" if path else member.name
            found[member.name] = member.shape.read(one, below, problems, hide=hide)
    for name in shape.required:
        if name not in found:
            problems.tell(f"{path}.{name}" if path else name, "is required")
    return found


def _list(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    if not isinstance(given, list):
        return problems.tell(path, _expected("a list", given, hide))
    if _outside(shape, len(given)):
        return problems.tell(path, f"expected {_bounds(shape)} entries, got {len(given)}")
    assert shape.item is not None
    found = []
    for index, one in enumerate(given):
        if len(problems) >= MOST_PROBLEMS:
            break
        found.append(shape.item.read(one, f"{path}[{index}]", problems, hide=hide))
    return found


def _map(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    if not isinstance(given, dict):
        return problems.tell(path, _expected("an object", given, hide))
    if _outside(shape, len(given)):
        return problems.tell(path, f"expected {_bounds(shape)} entries, got {len(given)}")
    assert shape.key is not None
    assert shape.value is not None
    found = {}
    for key, one in given.items():
        if len(problems) >= MOST_PROBLEMS:
            break
        name = shape.key.read(key, f"{path}.key", problems, hide=hide)
        if name is not None and one is not None:
            below = f"{path}.value" if hide else f"{path}[{shown(name, _SHOWN)}]"
            found[name] = shape.value.read(one, below, problems, hide=hide)
    return found


def _string(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    if not isinstance(given, str):
        return problems.tell(path, _expected("text", given, hide))
    # The length first: it bounds what the pattern costs.
    if _outside(shape, len(given)):
        return problems.tell(path, f"expected {_bounds(shape)} characters, got {len(given)}")
    if shape.choices and given not in shape.choices:
        return problems.tell(path, _expected(f"one of {', '.join(sorted(shape.choices))}", given, hide))
    if shape.pattern is not None and not shape.pattern.fullmatch(given):
        return problems.tell(path, _expected(f"text that matches {shape.pattern_text}", given, hide))
    if not is_text(given):
        return problems.tell(path, "expected text without U+0000 and lone surrogates")
    return given


def _whole(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    if not isinstance(given, int) or isinstance(given, bool):
        return problems.tell(path, _expected("a whole number", given, hide))
    reach = _RANGE[shape.kind]
    if _outside(shape, given):
        return problems.tell(path, _expected(f"a whole number {_range(shape)}", given, hide))
    if not -reach <= given < reach:
        return problems.tell(path, _expected(f"a whole number of {reach.bit_length()} bits", given, hide))
    return given


def _number(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    if not isinstance(given, int | float) or isinstance(given, bool):
        return problems.tell(path, _expected("a number", given, hide))
    found = _finite(given)
    if found is None or _outside(shape, found):
        return problems.tell(path, _expected(f"a finite number {_range(shape)}".rstrip(), given, hide))
    return found


def _boolean(_shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    return given if isinstance(given, bool) else problems.tell(path, _expected("true or false", given, hide))


def _timestamp(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    found = None
    try:
        if shape.iso and isinstance(given, str) and _STAMP.fullmatch(given):
            found = datetime.fromisoformat(given).astimezone(UTC)
        elif not shape.iso and isinstance(given, int | float) and not isinstance(given, bool):
            found = datetime.fromtimestamp(given, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    if found is None:
        form = "an ISO 8601 time with an offset" if shape.iso else "a time as seconds since 1970"
        return problems.tell(path, _expected(form, given, hide))
    return found


def _blob(shape: Shape, given: Any, path: str, problems: Problems, hide: bool) -> Any:
    found = given
    if isinstance(given, str):
        try:
            found = base64.b64decode(given, validate=True)
        except (ValueError, binascii.Error):
            found = None
    if not isinstance(found, bytes):
        return problems.tell(path, "expected text in base64")
    if _outside(shape, len(found)):
        return problems.tell(path, f"expected {_bounds(shape)} bytes, got {len(found)}")
    return found


_READERS: Mapping[str, Callable[[Shape, Any, str, Problems, bool], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "integer": _whole,
    "long": _whole,
    "double": _number,
    "float": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}


# ---------------------------------------------------------------------- writers


def _write_time(shape: Shape, value: datetime) -> Any:
    if shape.iso:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    seconds = round(value.timestamp(), 3)
    return int(seconds) if seconds.is_integer() else seconds


def _write_number(shape: Shape, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{shape.name}: expected a finite number, got {value}")
    return float(value)


_WRITERS: Mapping[str, Callable[[Shape, Any], Any]] = {
    "timestamp": _write_time,
    "double": _write_number,
    "float": _write_number,
    "blob": lambda _shape, value: base64.b64encode(value).decode(),
}


# ---------------------------------------------------------------------- what readers share


def is_text(text: str) -> bool:
    """Return whether a text can be stored: it holds neither U+0000 nor a lone surrogate."""
    if text.isascii():
        return "\0" not in text
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _is_plain(given: Any) -> bool:
    """Return whether a value without shape is shallow, and holds texts and numbers that can be stored."""
    waiting = [(given, 0)]
    while waiting:
        one, depth = waiting.pop()
        if depth > _DEEPEST or (isinstance(one, float) and not math.isfinite(one)):
            return False
        if isinstance(one, str) and not is_text(one):
            return False
        if isinstance(one, dict):
            waiting += [(part, depth + 1) for pair in one.items() for part in pair]
        elif isinstance(one, list):
            waiting += [(part, depth + 1) for part in one]
    return True


def _finite(given: float) -> float | None:
    try:
        found = float(given)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return found if math.isfinite(found) else None


def _outside(shape: Shape, size: float) -> bool:
    return (shape.least is not None and size < shape.least) or (shape.most is not None and size > shape.most)


def _bounds(shape: Shape) -> str:
    """Return the sizes that a shape allows: "1 to 63"."""
    least = 0 if shape.least is None else shape.least
    return f"{least} or more" if shape.most is None else f"{least} to {shape.most}"


def _range(shape: Shape) -> str:
    if shape.least is None and shape.most is None:
        return ""
    if shape.most is None:
        return f"of at least {shape.least}"
    return f"of at most {shape.most}" if shape.least is None else f"from {shape.least} to {shape.most}"


def _expected(domain: str, given: Any, hide: bool) -> str:
    return f"expected {domain}" if hide else f"expected {domain}, got {_told(given)}"


def _told(given: Any) -> str:
    if isinstance(given, dict | list):
        return "a list" if isinstance(given, list) else "an object"
    return shown(given, _SHOWN)
