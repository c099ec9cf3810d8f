"""Lists in pages: keyset tokens, never offsets, so that a row is neither skipped nor told twice."""

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from masthead.base.errors import InvalidInput, shown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items and the token of what follows; None on the last page."""

    items: tuple[T, ...]
    next_token: str | None = None


def encode_token(kind: str, last: list[Any]) -> str:
    """Return an opaque token for the place after the row whose sort key is `last`."""
    text = json.dumps([kind, last], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_token(kind: str, token: str) -> list[Any]:
    """Return the sort key that `encode_token` was given.

    Raises:
        InvalidInput: The token was not made by this list.
    """
    try:
        found = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        found = None
    if not (isinstance(found, list) and len(found) == 2 and found[0] == kind and isinstance(found[1], list)):
        raise InvalidInput(f"token: expected the next_token of an earlier page of {kind}, got {shown(token)}")
    return found[1]


def check_limit(limit: int, most: int = 1000) -> int:
    """Return `limit` if it is a page size from 1 to `most`."""
    if not 1 <= limit <= most:
        raise InvalidInput(f"limit: expected 1 to {most}, got {limit}")
    return limit
