"""Durations and sizes as people write them."""

import re

from masthead.base.errors import InvalidInput, shown

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000, "t": 1_000_000_000_000}
_BYTES |= {unit + "i": 1024**power for power, unit in enumerate("kmgt", start=1)}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([smhdw]?)\s*")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)


def parse_duration_s(value: str | int | float, field: str = "duration") -> int:
    """Return whole seconds for `5m`, `90s`, `1h`, `1d`, `2w` or a number of seconds.

    Raises:
        InvalidInput: It is none of these, or not a whole number of seconds above 0.

    >>> parse_duration_s("5m"), parse_duration_s(300)
    (300, 300)
    """
    match = _DURATION.fullmatch(str(value)) if not isinstance(value, bool) else None
    seconds = float(match[1]) * _SECONDS[match[2] or "s"] if match else 0.0
    if seconds < 1 or seconds != int(seconds) or seconds > 10 * 366 * 86_400:
        raise InvalidInput(
            f"{field}: expected a duration such as 30s, 5m, 1h or 1d, got {shown(value)}", field=field
        )
    return int(seconds)


def format_duration(seconds: float) -> str:
    """Return seconds as people say them, in at most two units.

    >>> format_duration(17_700), format_duration(300), format_duration(0.25)
    ('4 h 55 min', '5 min', '0.25 s')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    parts = []
    for name, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{int(count)} {name}")
    return " ".join(parts[:2])


def short_duration(seconds: int) -> str:
    """Return the shortest form that `parse_duration_s` reads back.

    >>> short_duration(300), short_duration(86_400), short_duration(90)
    ('5m', '1d', '90s')
    """
    for unit in ("d", "h", "m"):
        if seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def parse_bytes(value: str | int, field: str = "size") -> int:
    """Return bytes for `500`, `64 MB` (10^6) or `5 MiB` (2^20).

    Raises:
        InvalidInput: It is no size.

    >>> parse_bytes("5 MiB"), parse_bytes("1GB")
    (5242880, 1000000000)
    """
    match = _SIZE.fullmatch(str(value)) if not isinstance(value, bool) else None
    if not match or match[2].lower() == "i":
        raise InvalidInput(
            f"{field}: expected a size such as 500 MB or 5 MiB, got {shown(value)}", field=field
        )
    return int(float(match[1]) * _BYTES[match[2].lower()])


def format_bytes(size: float) -> str:
    """Return a size in binary units with three digits.

    >>> format_bytes(5_242_880)
    '5 MiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"
