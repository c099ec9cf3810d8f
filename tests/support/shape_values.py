"""Values drawn from the shapes of a service model, by hypothesis: what a client may send, what a server may answer."""

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from masthead.aws.shapes import Problems, Shape

_TIMES = st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)).map(
    lambda one: one.replace(microsecond=0, tzinfo=UTC)
)
_WORDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)
_JSON = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=5,
)
_CACHE: dict[int, st.SearchStrategy[Any]] = {}


def is_good(shape: Shape, value: Any) -> bool:
    """Return whether a JSON value has no problem."""
    problems = Problems()
    shape.read(value, "", problems)
    return not problems


def values(shape: Shape, *, printable: bool = False) -> st.SearchStrategy[Any]:
    """Return a strategy of a shape's values, as a translator sees them; `printable`: those that a header can hold."""
    if printable:
        return _strategy(shape).filter(lambda text: not isinstance(text, str) or _fits_header(text))
    if id(shape) not in _CACHE:
        _CACHE[id(shape)] = st.deferred(lambda: _strategy(shape))
    return _CACHE[id(shape)]


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip() and text != ""


def _strategy(shape: Shape) -> st.SearchStrategy[Any]:
    if shape.opaque:
        return st.dictionaries(_WORDS, _JSON, max_size=3)
    if shape.kind == "structure":
        return _structures(shape)
    if shape.kind == "list":
        assert shape.item is not None
        return st.lists(values(shape.item), min_size=int(shape.least or 0), max_size=_top(shape, 3))
    if shape.kind == "map":
        assert shape.key is not None
        assert shape.value is not None
        least = int(shape.least or 0)
        return st.dictionaries(
            values(shape.key), values(shape.value), min_size=least, max_size=_top(shape, 3)
        )
    if shape.kind == "string":
        return _strings(shape)
    if shape.kind in ("integer", "long"):
        reach = 2 ** (31 if shape.kind == "integer" else 63)
        low = -reach if shape.least is None else int(shape.least)
        return st.integers(low, reach - 1 if shape.most is None else int(shape.most))
    if shape.kind in ("double", "float"):
        return st.floats(shape.least, shape.most, allow_nan=False, allow_infinity=False)
    if shape.kind == "blob":
        return st.binary(min_size=int(shape.least or 0), max_size=min(int(shape.most or 64), 64))
    return {"boolean": st.booleans(), "timestamp": _TIMES}[shape.kind]


def _structures(shape: Shape) -> st.SearchStrategy[Any]:
    drawn = {
        name: values(member.shape, printable=member.location == "header")
        for name, member in shape.members.items()
    }
    required = {name: one for name, one in drawn.items() if name in shape.required}
    optional = {name: one for name, one in drawn.items() if name not in shape.required}
    return st.fixed_dictionaries(required, optional=optional)


def _strings(shape: Shape) -> st.SearchStrategy[str]:
    if shape.choices:
        return st.sampled_from(sorted(shape.choices))
    least, most = int(shape.least or 0), shape.most
    # The class of nearly all characters takes hypothesis 20 s.
    if shape.pattern is None or shape.pattern_text == ".*" or "uDFFF" in shape.pattern_text:
        return _WORDS.map(lambda text: text.ljust(least, "x")[: int(most or 40)]).filter(
            lambda text: is_good(shape, text)
        )
    pattern = re.compile(shape.pattern.pattern, shape.pattern.flags)
    return st.from_regex(pattern, fullmatch=True).filter(lambda text: is_good(shape, text))


def _top(shape: Shape, usual: int) -> int:
    top = max(usual, int(shape.least or 0))
    return top if shape.most is None else min(top, int(shape.most))
