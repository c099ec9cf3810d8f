"""MQTT topics, topic filters and NATS subjects: what may be written as one. Pure.

Source: MQTT 3.1.1, OASIS 2014, section 4.7; https://docs.nats.io/nats-concepts/subjects
"""

from masthead.base.errors import InvalidInput, shown

__all__ = ["MOST_TOPIC_BYTES", "check_filter", "check_subject", "check_target", "check_topic"]

MOST_TOPIC_BYTES = 1024
"""Longest topic that a policy, a rule or a publish accepts; AWS IoT's own limit is 256, nats-server's line is 4,096."""

_OWN = "masthead"
"""The first word of our own subjects: beats of the clock, alerts, decisions. No thing may publish there."""


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


def check_subject(text: object, field: str = "subject", *, own: str = "") -> str:
    """Return `text` if what a user lays down may be published on it: a NATS subject that is nobody else's.

    The server publishes as a user who may do everything, so a subject of the broker's would be a command to it.

    Args:
        own: What the subject may begin with although it is Masthead's own.

    Raises:
        InvalidInput: It is no subject or holds a wildcard, or it is the broker's (`$`, `_`) or Masthead's own.

    >>> check_subject("masthead.alerts.air", own="masthead.alerts.")
    'masthead.alerts.air'
    """
    words = text.split(".") if isinstance(text, str) else [""]
    if not isinstance(text, str) or not all(words) or any(char in "*>+#/" for char in text):
        raise InvalidInput(
            f"{field}: expected a NATS subject without wildcards, such as alerts.air, got {shown(text)}"
        )
    return _free(_checked_text(text, field), words, field, own)


def check_target(text: object, field: str = "subject", *, own: str = "") -> str:
    """Return `text` as `check_subject` does, or if it is such an MQTT topic: it holds a `/`.

    Raises:
        InvalidInput: See `check_subject`.
    """
    if not isinstance(text, str) or "/" not in text:
        return check_subject(text, field, own=own)
    if any(char in "*>+#" for char in text):
        raise InvalidInput(f"{field}: expected a topic without wildcards, got {shown(text)}")
    return _free(_checked_text(text, field), text.split("/"), field, own)


def _free(text: str, words: list[str], field: str, own: str) -> str:
    allowed = bool(own) and ".".join(words).startswith(own)
    if words[0].startswith(("$", "_")) or (words[0] == _OWN and not allowed):
        raise InvalidInput(
            f"{field}: expected a subject of your own, none that begins with '$', '_' or '{_OWN}', got {shown(text)}"
        )
    return text


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
