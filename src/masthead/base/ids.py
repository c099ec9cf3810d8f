"""Identifiers: short, sortable by the time they were made, safe in paths, subjects and file names."""

import hashlib
import json
import re
import secrets
import time
from collections.abc import Mapping

from masthead.base.errors import InvalidInput, shown

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o, u
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def new_id(prefix: str, *, time_s: float | None = None) -> str:
    """Return `prefix-` and 20 characters: 9 of time in milliseconds, 11 random (55 bits).

    >>> len(new_id("group"))
    26
    """
    stamp = int((time.time() if time_s is None else time_s) * 1000)
    return f"{prefix}-{_encode(stamp, 9)}{_encode(secrets.randbits(55), 11)}"


def _encode(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def check_name(value: object, field: str = "name") -> str:
    """Return `value` if it may name a thing, rule, stream, detector or alert rule.

    Raises:
        InvalidInput: It is no text of 1 to 63 letters, digits, `-` or `_` that starts with a letter or digit.

    >>> check_name("Test-Thing")
    'Test-Thing'
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInput(
            f"{field}: expected 1 to 63 letters, digits, '-' or '_', starting with a letter or digit, got {shown(value)}"
        )
    return value


def series_id(detector: str, measure: str, dimensions: Mapping[str, str]) -> str:
    """Return the id of one series of a detector, 128 hexadecimal digits: the same wherever it is told of, always.

    >>> series_id("air", "CO", {"LOCATION_ID": "B-101"})[:16]
    '3733fa5fdcbf3356'
    """
    identity = json.dumps(
        [detector, measure, sorted(dimensions.items())], ensure_ascii=False, separators=(",", ":")
    )
    return hashlib.sha512(identity.encode()).hexdigest()
