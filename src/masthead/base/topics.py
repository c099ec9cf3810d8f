"""MQTT topics, topic filters and NATS subjects: what may be written as one. Pure.

Source: MQTT 3.1.1, OASIS 2014, section 4.7; https://docs.nats.io/nats-concepts/subjects
"""

from masthead.base.errors import InvalidInput, shown

__all__ = ["MOST_TOPIC_BYTES", "check_filter", "check_topic"]

MOST_TOPIC_BYTES = 1024
"""Longest topic that a policy, a rule or a publish accepts; AWS IoT's own limit is 256, nats-server's line is 4,096."""


def check_topic(text: object, field: str = "topic") -> str:
    """Return `text` if a device may publish to it.

    Raises:
        InvalidInput: It is empty or too long, or holds a space, a control character or a wildcard.
    """
    topic = _checked_text(text, field)
    if "+" in topic or "#" in topic:
        raise InvalidInput(f"{field}: expected no wildcard '+' or '#', got {shown(text)}")
    return topic


def check_filter(text: object, field: str = "topic") -> str:
    """Return `text` if it is a topic filter.

    Raises:
        InvalidInput: It is empty or too long, holds a space or a control character, or a wildcard stands where it may
            not; those of NATS are none here.
    """
    found = _checked_text(text, field)
    *before, last = found.split("/")
    whole = all(_is_level(level) for level in before) and (last == "#" or _is_level(last))
    if not whole:
        raise InvalidInput(
            f"{field}: expected '+' alone in its level, '#' alone in the last one, and no other wildcard, "
            f"got {shown(text)}"
        )
    return found


def _is_level(text: str) -> bool:
    return text == "+" or not ("+" in text or "#" in text or text in ("*", ">"))


def _checked_text(text: object, field: str) -> str:
    try:
        size = len(text.encode()) if isinstance(text, str) else -1
    except UnicodeEncodeError:
        size = -1
    if not isinstance(text, str) or not 1 <= size <= MOST_TOPIC_BYTES:
        raise InvalidInput(f"{field}: expected 1 to {MOST_TOPIC_BYTES} bytes of UTF-8, got {shown(text)}")
    # The broker closes the connection of a client that publishes a topic with a space (tests/wire/test_mqtt.py).
    if any(character.isspace() or not character.isprintable() for character in text):
        raise InvalidInput(f"{field}: expected no space or control character, got {shown(text)}")
    return text
