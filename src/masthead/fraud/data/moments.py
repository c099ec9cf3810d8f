"""Moments inside are UTC microseconds; this is how people read them."""

from datetime import UTC, datetime, timedelta

__all__ = ["told"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def told(ts: int) -> str:
    """Return a moment in ISO 8601, or its number where no calendar has it.

    >>> told(1_700_000_000_000_000)
    '2023-11-14T22:13:20+00:00'
    """
    try:
        return (_EPOCH + timedelta(microseconds=ts)).isoformat()
    except OverflowError:
        return str(ts)
