"""Topic filters of rules and detectors: which readings they take. Pure.

Source: MQTT 3.1.1, OASIS 2014, section 4.7 (topic names and filters).
"""

import re
from collections.abc import Callable

from masthead.base.errors import InvalidInput, shown
from masthead.base.topics import check_filter


def check_readings(text: object, field: str = "topic") -> str:
    """Return `text` if it is a topic filter that can take readings.

    Raises:
        InvalidInput: It is no topic filter, or one of topics that begin with `$`, to which no thing may publish.
    """
    found = check_filter(text, field)
    if found.startswith("$"):
        raise InvalidInput(
            f"{field}: expected topics that things publish to, not the broker's own that begin with '$', "
            f"got {shown(text)}"
        )
    return found


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
