"""Topics as devices write them, subjects as the broker stores them, and patterns over both. Pure.

    level          subject token
    text           the text, each `.` written `//`
    (empty)        `/`
    `+`            `*`
    `#` (last)     `>`, and the parent itself

Measured against nats-server 2.15.1 topic by topic (tests/wire/test_mqtt.py); the broker closes the connection of
a client that publishes a topic with a space.

Source: MQTT 3.1.1 section 4.7; https://docs.nats.io/nats-concepts/subjects
"""

from collections.abc import Iterable

from masthead.base.topics import check_filter, check_topic


def subject_for(topic: str) -> str:
    """Return the subject under which the broker stores messages of `topic`.

    Raises:
        InvalidInput: The topic is empty, too long, or holds a space, a control character or a wildcard.

    >>> subject_for("/air/b.101/")
    '/.air.b//101./'
    """
    check_topic(topic)
    return ".".join(_token(level) for level in topic.split("/"))


def topic_for(subject: str) -> str:
    """Return the topic that a device published to reach `subject`.

    >>> topic_for('/.air.b//101./')
    '/air/b.101/'
    """
    return "/".join("" if token == "/" else token.replace("//", ".") for token in subject.split("."))


def patterns_for(topic_filter: str) -> tuple[str, ...]:
    """Return the subject patterns that together mean an MQTT topic filter.

    Raises:
        InvalidInput: It is no filter; see `check_filter`.

    >>> patterns_for("sensors/+/air/#")
    ('sensors.*.air', 'sensors.*.air.>')
    """
    wildcards = {"+": "*", "#": ">"}
    levels = check_filter(topic_filter, "filter").split("/")
    tokens = [wildcards.get(level) or _token(level) for level in levels]
    whole = ".".join(tokens)
    if tokens[-1] == ">" and len(tokens) > 1:
        return (whole[:-2], whole)
    return (whole,)


def matches(pattern: str, subject: str) -> bool:
    """Return whether a subject without wildcards falls under `pattern`.

    >>> matches("air.*.>", "air.b.co"), matches("air.>", "air")
    (True, False)
    """
    return covers(pattern, subject)


def covers(wide: str, narrow: str) -> bool:
    """Return whether every subject that `narrow` means is meant by `wide` as well."""
    left, right = wide.split("."), narrow.split(".")
    for place, token in enumerate(left):
        if token == ">":
            return len(right) > place
        if place >= len(right) or right[place] == ">":
            return False
        if token != "*" and token != right[place]:
            return False
    return len(left) == len(right)


def intersection(one: str, other: str) -> str | None:
    """Return the pattern of what both mean, or None; two patterns meet in one pattern at most.

    >>> intersection("air.*.co", "air.b.>")
    'air.b.co'
    """
    left, right = one.split("."), other.split(".")
    tokens: list[str] = []
    while left and right:
        if left[0] == ">":
            return ".".join(tokens + right)
        if right[0] == ">":
            return ".".join(tokens + left)
        a, b = left.pop(0), right.pop(0)
        if a != b and "*" not in (a, b):
            return None
        tokens.append(b if a == "*" else a)
    return None if left or right else ".".join(tokens)


def without_covered(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the patterns that no other of them covers, each once, in their order."""
    kept: list[str] = []
    for pattern in dict.fromkeys(patterns):
        if not any(covers(other, pattern) for other in kept):
            kept = [other for other in kept if not covers(pattern, other)] + [pattern]
    return tuple(kept)


def _token(level: str) -> str:
    return level.replace(".", "//") if level else "/"
