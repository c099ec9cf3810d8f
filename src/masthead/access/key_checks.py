"""What a key may be called and how it may be bounded. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from masthead.access.conditions import read_network
from masthead.base.errors import InvalidInput, shown

WINDOWS = ("day", "week", "month")
INVOKE_RATE, INVOKE_BURST = 10.0, 20
"""The plan of a key that may only invoke endpoints, unless it is given another."""

_ID = re.compile(r"\w{4,128}", re.ASCII)
_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)  # as IAM's user names
_SECRET = re.compile(r"[!-~]{1,128}")
_QUOTA = re.compile(r"(\d{1,12})/(\w+)")
_MOST_RATE, _MOST_BURST, _MOST_QUOTA = 10_000.0, 100_000, 10**12
_MOST_RANGES = 100


def check_id(value: object, field: str = "id") -> str:
    """Return `value` if it may name a key.

    Raises:
        InvalidInput: It is no text of 4 to 128 letters, digits or underscores.
    """
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidInput(f"{field}: expected 4 to 128 letters, digits or underscores, got {shown(value)}")
    return value


def check_key_name(value: object) -> str:
    """Return `value` if it may be the name under which a key acts.

    Raises:
        InvalidInput: It is no text of 1 to 64 letters, digits or signs of `_+=,.@-`.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInput(
            f"name: expected 1 to 64 letters, digits or signs of _+=,.@-, got {shown(value)}", field="name"
        )
    return value


def check_secret(value: str, field: str = "secret") -> str:
    """Return `value` if it may be a secret. No message shows it.

    Raises:
        InvalidInput: It is no text of 1 to 128 printable ASCII characters without spaces.
    """
    if not _SECRET.fullmatch(value):
        raise InvalidInput(
            f"{field}: expected 1 to 128 printable characters without spaces, got {len(value)} characters"
        )
    return value


def parse_quota(text: str) -> tuple[int, str]:
    """Return number and window of `N/day`, `N/week` or `N/month`.

    Raises:
        InvalidInput: It is none of these.

    >>> parse_quota("1000/day")
    (1000, 'day')
    """
    found = _QUOTA.fullmatch(text)
    if not found or found[2] not in WINDOWS:
        raise InvalidInput(f"quota: expected N/day, N/week or N/month, got {shown(text)}")
    return int(found[1]), found[2]


def check_plan(rate: float | None, burst: int | None, quota: int | None, window: str) -> dict[str, Any]:
    """Return the columns of a plan; a rate without a burst lets one second's worth come at once.

    Raises:
        InvalidInput: A number is out of its range, or one of two that belong together is missing.
    """
    if rate is not None and not 0.001 <= rate <= _MOST_RATE:
        raise InvalidInput(f"rate: expected 0.001 to {_MOST_RATE:g} requests a second, got {shown(rate)}")
    if burst is not None and rate is None:
        raise InvalidInput(f"burst: expected a rate beside it, got burst {shown(burst)} alone")
    if burst is None and rate is not None:
        burst = max(1, -int(-rate // 1))
    if burst is not None and not 1 <= burst <= _MOST_BURST:
        raise InvalidInput(f"burst: expected 1 to {_MOST_BURST} requests, got {shown(burst)}")
    if rate is not None and burst is not None and burst / rate > 86_400:
        raise InvalidInput(f"burst: expected at most a day's worth of the rate, got {shown(burst)}")
    if (quota is None) != (not window) or (window and window not in WINDOWS):
        raise InvalidInput(f"quota: expected N/day, N/week or N/month, got {shown(quota)} a {shown(window)}")
    if quota is not None and not 1 <= quota <= _MOST_QUOTA:
        raise InvalidInput(f"quota: expected 1 to {_MOST_QUOTA} requests, got {shown(quota)}")
    return {"rate": rate, "burst": burst, "quota": quota, "window": window}


def check_ranges(values: Iterable[str], field: str) -> list[str]:
    """Return addresses and ranges in their shortest form.

    Raises:
        InvalidInput: One is none, or there are more than 100.
    """
    found = [str(read_network(value, field)) for value in values]
    if len(found) > _MOST_RANGES:
        raise InvalidInput(f"{field}: expected at most {_MOST_RANGES}, got {len(found)}")
    return list(dict.fromkeys(found))


def check_origins(values: Iterable[str]) -> list[str]:
    """Return origins as browsers send them: scheme, host and port.

    Raises:
        InvalidInput: One is none, or there are more than 100.

    >>> check_origins(["https://App.example/"])
    ['https://app.example']
    """
    found = [_origin(value) for value in values]
    if len(found) > _MOST_RANGES:
        raise InvalidInput(f"origin: expected at most {_MOST_RANGES}, got {len(found)}")
    return list(dict.fromkeys(found))


def _origin(value: str) -> str:
    if value == "*":
        return value
    try:
        parts = urlsplit(value.lower())
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise InvalidInput(f"origin: expected * or SCHEME://HOST[:PORT], got {shown(value)}")
    if parts.query or parts.fragment or parts.username is not None:
        raise InvalidInput(f"origin: expected * or SCHEME://HOST[:PORT], got {shown(value)}")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, usual) else "")


def as_columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the checked columns of allow, deny and origins among `changes`.

    Raises:
        InvalidInput: A value is out of its range.
    """
    found: dict[str, Any] = {}
    for name in ("allow", "deny"):
        if name in changes:
            found[name] = check_ranges(changes[name], name)
    if "origins" in changes:
        found["origins"] = check_origins(changes["origins"])
    return found
