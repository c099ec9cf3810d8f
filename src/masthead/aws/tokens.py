"""Tokens of pages: where the next one begins, signed, and of use only for the same operation with the same filters."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any

import orjson

from masthead.base.errors import InvalidInput, shown

_VERSION = 1
_MAC_BYTES = 8  # a token gives no right: the caller is authorised anew for each page
_FIELD = "NextToken"


class PageTokens:
    """Makes and reads tokens under one key of the installation (`SecretBox.derive`)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, operation: str, filters: Sequence[Any], last: Sequence[Any]) -> str:
        """Return the token of the page after the row whose sort key is `last` (JSON values)."""
        body = orjson.dumps([_VERSION, operation, _digest(filters), list(last)])
        return base64.urlsafe_b64encode(self._mac(body) + body).decode().rstrip("=")

    def read(self, operation: str, filters: Sequence[Any], token: str) -> list[Any]:
        """Return the sort key that `make` was given.

        Raises:
            InvalidInput: The token was altered, or made for another operation or other filters.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raw = b""
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not body or not hmac.compare_digest(mac, self._mac(body)):
            raise InvalidInput(f"{_FIELD}: expected the token of an earlier page, got {shown(token, 60)}")
        version, made_for, digest, last = orjson.loads(body)
        if version != _VERSION or made_for != operation or digest != _digest(filters):
            raise InvalidInput(f"{_FIELD}: expected the token of a page of {operation} with the same filters")
        return list(last)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_MAC_BYTES]


def _digest(filters: Sequence[Any]) -> str:
    """Return a short digest of what a list was filtered by; datetimes and the like count by their text."""
    text = orjson.dumps(list(filters), option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(text).hexdigest()[:16]
