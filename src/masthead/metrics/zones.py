"""Time zones by name, and how long an interval may be. Without arrays: settings are checked by it in every command."""

from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from masthead.base.errors import InvalidInput, shown

DAY_S = 86_400


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """Return the time zone of an IANA name.

    Raises:
        InvalidInput: There is no such zone.

    >>> zone_of("UTC").utcoffset(None)
    datetime.timedelta(0)
    """
    if name in ("", "UTC", "Z"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"zone: expected an IANA name such as Europe/Rome, got {shown(name)}") from error


def check_interval(interval_s: int) -> int:
    """Return `interval_s` when intervals of that length tile a day or are made of days.

    Raises:
        InvalidInput: It is below 1, above a year, or a broken number of days.
    """
    if not 1 <= interval_s <= 366 * DAY_S or (interval_s > DAY_S and interval_s % DAY_S):
        raise InvalidInput(
            f"interval: expected 1 second to 24 hours, or whole days up to 366, got {interval_s} s",
            field="interval",
        )
    return interval_s
