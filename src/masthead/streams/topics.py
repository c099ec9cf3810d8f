"""MQTT topic filters: what is one, and which topics it takes. Pure.

Source: MQTT 3.1.1, OASIS 2014, section 4.7 (topic names and filters).
"""

import re
from collections.abc import Callable

from masthead.base.errors import InvalidInput, shown

_MAX_BYTES = 65_535


def check_filter(text: object, field: str = "topic") -> str:
    """Return `text` if it is a topic filter.

    Raises:
        InvalidInput: It is empty or too long, holds NUL, or `+` or `#` stand where they may not.
    """
    if (
        not isinstance(text, str)
        or not text
        or "\0" in text
        or len(text.encode(errors="replace")) > _MAX_BYTES
    ):
        raise InvalidInput(f"{field}: expected an MQTT topic filter, got {shown(text)}")
    levels = text.split("/")
    for place, level in enumerate(levels):
        alone = level in ("+", "#") or not ("+" in level or "#" in level)
        if not alone or (level == "#" and place != len(levels) - 1):
            raise InvalidInput(
                f"{field}: expected '+' as a whole level and '#' as the whole last one, got {shown(text)}"
            )
    return text


def compile_filter(text: str) -> Callable[[str], bool]:
    """Return what tells whether a topic matches the filter `text`.

    `#` takes the parent level too; wildcards at the first level do not take topics that begin with `$`.

    >>> [compile_filter("air/#")(topic) for topic in ("air", "air/b-101/no2", "airs")]
    [True, True, False]
    """
    levels = check_filter(text).split("/")
    tail = ""
    if levels[-1] == "#":
        levels.pop()
        tail = "(?:/.*)?" if levels else ".*"
    body = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
    guard = r"(?!\$)" if text[0] in "+#" else ""
    match = re.compile(guard + body + tail, re.DOTALL).fullmatch
    return lambda topic: match(topic) is not None
