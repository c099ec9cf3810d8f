"""Inputs with exactly one thing wrong, made from a service model: every rule of every shape that an input reaches.

An input begins as one that is right and has every member at every depth; then one required member, type, length,
pattern, range or enum is broken. Lengths and ranges are broken by one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from shape_values import is_good, values

from masthead.aws.models import OperationModel
from masthead.aws.shapes import Member, Shape

KINDS = ("required", "type", "length", "pattern", "range", "enum")
_NUMBERS = {"integer": 2**31, "long": 2**63}
_WRONG_TYPE: dict[str, Any] = {
    "structure": "a text",
    "list": "a text",
    "map": ["a list"],
    "string": 7,
    "blob": 7,
    "boolean": "true",
    "timestamp": "yesterday",
    "integer": "7",
    "long": "7",
    "double": "7",
    "float": "7",
}
_STRANGE = ("\x01", "\n", ":", " ", "!", "\u00e9", "/", "aws:", "a", "0")  # each is foreign to some pattern
_MOST_SENT = 2**20  # what a body may have; the larger one of an endpoint is refused before it is read


@dataclass(frozen=True)
class Violation:
    """One broken rule.

    Attributes:
        path: Of the field, as the answer names it.
        given: The input by member name.
        document: The JSON document, by names on the wire.
        sensitive: What the field holds must not be told.
    """

    kind: str
    path: str
    given: dict[str, Any]
    document: dict[str, Any]
    sensitive: bool

    @property
    def is_writable(self) -> bool:
        """Return whether a client can write it: it walks structures, so a wrong type breaks it."""
        return self.kind != "type"


def drawn(shape: Shape, count: int) -> list[Any]:
    """Return so many values of a shape, the same at each run."""
    found: list[Any] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(values(shape))
    def take(value: Any) -> None:
        found.append(value)

    take()
    return found[:count]


def whole(shape: Shape, *, bare: bool = False) -> Any:
    """Return a value of a shape that has every member at every depth; `bare`: those that are required alone."""
    if shape.opaque:
        return {}
    if shape.kind == "structure":
        names = shape.required if bare else tuple(shape.members)
        return {name: whole(shape.members[name].shape, bare=bare) for name in names}
    if shape.kind == "list":
        assert shape.item is not None
        return [whole(shape.item, bare=bare)] * max(1, int(shape.least or 0))
    if shape.kind == "map":
        assert shape.key is not None
        assert shape.value is not None
        return {whole(shape.key): whole(shape.value, bare=bare)}
    return _scalar(shape)


def _scalar(shape: Shape) -> Any:
    if shape.kind == "string":
        return _text(shape)
    if shape.kind == "blob":
        return b"x" * max(1, int(shape.least or 0))
    if shape.kind in ("boolean", "timestamp"):
        return True if shape.kind == "boolean" else datetime(2026, 11, 23, 18, tzinfo=UTC)
    return max(1, int(shape.least or 0))


_TEXTS: dict[int, str] = {}


def _text(shape: Shape) -> str:
    """Return a right text without a stray space, which a header would lose."""
    if id(shape) not in _TEXTS:
        _TEXTS[id(shape)] = _new_text(shape)
    return _TEXTS[id(shape)]


def _new_text(shape: Shape) -> str:
    if shape.choices:
        return min(shape.choices)
    least = max(1, int(shape.least or 0))
    for letter in ("a", "0", "arn:aws:x:us-east-1:000000000000:a", "s3://a/b"):
        text = letter + "0" * (least - len(letter))
        if is_good(shape, text):
            return text
    return str(next(text for text in drawn(shape, 20) if text and text.isascii() and text == text.strip()))


def violations(operation: OperationModel) -> Iterator[Violation]:
    """Yield an operation's input with each rule broken in turn."""
    shape = operation.input
    if shape is None:
        return
    right = whole(shape)
    for member in shape.members.values():
        if member.location or member.name == shape.payload:
            found = _of_text(member, right)
        else:
            found = _broken(member.shape, right[member.name], member.name, False)
        for kind, path, value, hidden in found:
            yield _made(shape, kind, path, {**right, member.name: value}, hidden)
        if (
            member.name in shape.required and member.location != "uri"
        ):  # without its label a path is another one
            rest = {name: value for name, value in right.items() if name != member.name}
            if member.name != shape.payload:  # an absent body is an empty one
                yield _made(shape, "required", member.name, rest, False)


def _made(shape: Shape, kind: str, path: str, given: dict[str, Any], hidden: bool) -> Violation:
    document = {
        member.wire: on_wire(member.shape, given[member.name])
        for member in shape.documents
        if member.name in given
    }
    return Violation(kind, path, given, document, hidden)


def on_wire(shape: Shape, value: Any) -> Any:
    """Return a value by names on the wire; what is of another type than its shape stays as it is."""
    if shape.opaque:
        return value
    if shape.kind == "structure" and isinstance(value, dict):
        members = shape.members
        return {members[name].wire: on_wire(members[name].shape, one) for name, one in value.items()}
    if shape.kind == "list" and isinstance(value, list):
        assert shape.item is not None
        return [on_wire(shape.item, one) for one in value]
    if shape.kind == "map" and isinstance(value, dict):
        assert shape.value is not None
        return {key: on_wire(shape.value, one) for key, one in value.items()}
    return shape.write(value) if isinstance(value, bytes | datetime) else value


Broken = tuple[str, str, Any, bool]


def _of_text(member: Member, right: dict[str, Any]) -> Iterator[Broken]:
    """Yield what can be wrong with a member of path, query or headers: they are texts, so none is of a wrong type."""
    shape, value, name = member.shape, right[member.name], member.name
    for kind, path, broken, hidden in _broken(shape, value, name, False):
        number_as_text = kind == "type" and shape.kind in _NUMBERS
        if kind == "type" and not number_as_text:
            continue
        if number_as_text:
            broken = "seven"
        if member.location == "header" and not (isinstance(broken, int) or _fits_header(broken)):
            continue
        if member.location == "uri" and broken == "":
            continue
        yield kind, path, broken, hidden


def _fits_header(text: Any) -> bool:
    return (
        isinstance(text, str)
        and text.isascii()
        and text.isprintable()
        and text == text.strip()
        and text != ""
    )


def _broken(shape: Shape, right: Any, path: str, hidden: bool) -> Iterator[Broken]:
    """Yield (kind, path, value, hidden) for each rule of a shape and of what is inside it."""
    hidden = hidden or shape.sensitive
    yield "type", path, _WRONG_TYPE[shape.kind], hidden
    if shape.opaque:
        return
    if shape.kind == "structure":
        yield from _in_structure(shape, right, path, hidden)
    elif shape.kind == "list":
        assert shape.item is not None
        yield from (("length", path, [right[0]] * size, hidden) for size in _beyond(shape))
        for kind, below, value, hides in _broken(shape.item, right[0], f"{path}[0]", hidden):
            yield kind, below, [value, *right[1:]], hides
    elif shape.kind == "map":
        yield from _in_map(shape, right, path, hidden)
    else:
        yield from ((kind, path, value, hidden) for kind, value in _scalars(shape, right))


def _in_structure(shape: Shape, right: dict[str, Any], path: str, hidden: bool) -> Iterator[Broken]:
    for name in shape.required:
        rest = {key: value for key, value in right.items() if key != name}
        yield "required", f"{path}.{name}", rest, hidden
    for name, member in shape.members.items():
        for kind, below, value, hides in _broken(member.shape, right[name], f"{path}.{name}", hidden):
            yield kind, below, {**right, name: value}, hides


def _in_map(shape: Shape, right: dict[str, Any], path: str, hidden: bool) -> Iterator[Broken]:
    assert shape.key is not None
    assert shape.value is not None
    [(key, held)] = right.items()
    for size in _beyond(shape):
        yield "length", path, {f"k{number}": held for number in range(size)}, hidden
    for kind, text in _scalars(shape.key, key):
        yield kind, f"{path}.key", {text: held}, hidden
    below = f"{path}.value" if hidden else f"{path}['{key}']"
    for kind, deeper, value, hides in _broken(shape.value, held, below, hidden):
        yield kind, deeper, {key: value}, hides


def _scalars(shape: Shape, right: Any) -> Iterator[tuple[str, Any]]:
    """Yield the broken values of a shape that holds no others, beside those of a wrong type."""
    if shape.kind in ("string", "blob"):
        filler = (right[-1:] or "a") if shape.kind == "string" else b"x"
        yield from (("length", filler * size) for size in _beyond(shape) if size <= _MOST_SENT)
    if shape.kind in _NUMBERS:
        reach = _NUMBERS[shape.kind]
        most = reach - 1 if shape.most is None else int(shape.most)
        least = -reach if shape.least is None else int(shape.least)
        yield from (("range", most + 1), ("range", least - 1))
    if shape.choices:
        yield "enum", "NO_SUCH_WORD"
    if shape.pattern is not None and (text := foreign(shape)) is not None:
        yield "pattern", text


def foreign(shape: Shape) -> str | None:
    """Return a text of a right length that a pattern does not know; None when it knows every text."""
    assert shape.pattern is not None
    least, most = int(shape.least or 0), int(shape.most or 2**20)
    for letter in (*_STRANGE, ""):
        text = letter + (letter or "a")[-1] * (least - len(letter))
        if least <= len(text) <= most and not shape.pattern.fullmatch(text):
            return text
    return None


def _beyond(shape: Shape) -> list[int]:
    """Return the sizes just outside a shape's bounds."""
    sizes = [int(shape.least) - 1] if shape.least else []
    return sizes if shape.most is None else [*sizes, int(shape.most) + 1]
