"""When a record happened, and the interval it belongs to. Pure.

Intervals are cut as detectors cut them: on multiples in UTC, or, for whole days, on local midnight counted from a
Monday; so a detector that opens the folder of an interval's start finds that interval's records.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from math import isfinite
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from masthead.base.errors import InvalidInput, shown
from masthead.base.patterns import compile_pattern
from masthead.base.units import parse_duration_s

DAY_S = 86_400
# A clock that is set wrongly shows the year 2038 or 2106; a week leaves room for replays that run ahead.
MOST_AHEAD_S = 7 * DAY_S
_MONDAY = 4 * DAY_S  # 1970-01-05T00:00Z
_FIELDS = {"column", "format", "zone", "interval"}
_CACHED = 4096  # stamps of many sensors repeat: one dictionary look-up instead of a parse


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """Return the time zone of an IANA name.

    Raises:
        InvalidInput: There is no such zone.
    """
    if name in ("", "UTC"):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(f"zone: expected an IANA name such as Europe/Rome, got {shown(name)}") from error


@dataclass(frozen=True, slots=True)
class EventTime:
    """Which column tells the time, how it is written (`format`: Java letters, `epoch_s`, `epoch_ms` or `iso`)."""

    column: str
    format: str
    zone: str = "UTC"
    interval_s: int = 300

    @classmethod
    def from_json(cls, value: object) -> "EventTime":
        """Return the setting of `{"column", "format", "zone", "interval"}`; zone and interval may be missing.

        Raises:
            InvalidInput: A field is missing, unknown or wrong.
        """
        if not isinstance(value, Mapping) or set(value) - _FIELDS or not {"column", "format"} <= set(value):
            raise InvalidInput(f"event_time: expected column, format, zone and interval, got {shown(value)}")
        for name in ("column", "format"):
            if not isinstance(value[name], str) or not 1 <= len(value[name]) <= 256:
                raise InvalidInput(f"event_time: expected {name} as text, got {shown(value[name])}")
        interval_s = parse_duration_s(value.get("interval", 300), "event_time.interval")
        if interval_s > DAY_S and interval_s % DAY_S:
            raise InvalidInput(
                f"event_time: expected an interval up to 24 h or of whole days, got {interval_s} s"
            )
        zone = str(value.get("zone") or "UTC")
        zone_of(zone)
        if value["format"] not in ("epoch_s", "epoch_ms", "iso"):
            compile_pattern(value["format"])
        return cls(value["column"], value["format"], zone, interval_s)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"column": self.column, "format": self.format, "zone": self.zone, "interval": self.interval_s}

    def reader(self) -> Callable[[Mapping[str, Any]], float]:
        """Return the function from a record's fields to epoch seconds; it raises InvalidInput with the reason."""
        column = self.column
        cache: dict[tuple[type, Any], float] = {}
        parse = _parser(self.format, zone_of(self.zone))

        def read(fields: Mapping[str, Any]) -> float:
            value = fields.get(column)
            if value is None:
                value = _nested(fields, column)
            key = (type(value), value) if isinstance(value, str | int | float) else None
            if key is None:
                raise InvalidInput(f"{column}: expected a time, got {shown(value)}", field=column)
            found = cache.get(key)
            if found is None:
                found = _checked(parse, value, column)
                if len(cache) >= _CACHED:
                    cache.clear()
                cache[key] = found
            return found

        return read

    def start(self, time_s: float) -> int:
        """Return the start of the interval that holds `time_s`, epoch seconds.

        >>> EventTime("t", "iso", interval_s=300).start(1_648_164_899.5)
        1648164600
        """
        if self.interval_s % DAY_S:
            return int(time_s // self.interval_s) * self.interval_s
        zone = zone_of(self.zone)
        local = datetime.fromtimestamp(time_s, zone).replace(tzinfo=None)
        days = (local - datetime(1970, 1, 1)).days * DAY_S
        return _midnight(days - (days - _MONDAY) % self.interval_s, zone)

    def end(self, start_s: int) -> int:
        """Return the start of the interval after the one that starts at `start_s`."""
        if self.interval_s % DAY_S:
            return start_s + self.interval_s
        zone = zone_of(self.zone)
        local = datetime.fromtimestamp(start_s, zone).replace(tzinfo=None)
        # Where summer time begins at midnight the day starts at 01:00: cut to the day before stepping.
        days = (local - datetime(1970, 1, 1)).days * DAY_S
        return _midnight(days + self.interval_s, zone)


def _midnight(local_s: int, zone: tzinfo) -> int:
    return int((datetime(1970, 1, 1) + timedelta(seconds=local_s)).replace(tzinfo=zone).timestamp())


def _nested(fields: Mapping[str, Any], column: str) -> Any:
    value: Any = fields
    for part in column.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _checked(parse: Callable[[Any], float], value: Any, column: str) -> float:
    try:
        found = parse(value)
    except InvalidInput as error:
        raise InvalidInput(f"{column}: {error.message.removeprefix('time: ')}", field=column) from error
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidInput(f"{column}: expected a time, got {shown(value)}", field=column) from error
    if not isfinite(found) or not 0 <= found < 253_402_300_800 - 400 * DAY_S:
        raise InvalidInput(f"{column}: expected a time from 1970 to 9998, got {shown(value)}", field=column)
    return found


def _parser(form: str, zone: tzinfo) -> Callable[[Any], float]:
    if form in ("epoch_s", "epoch_ms"):
        scale = 1.0 if form == "epoch_s" else 1000.0
        return lambda value: _number(value) / scale
    if form == "iso":
        return lambda value: _located(datetime.fromisoformat(_text(value)), zone)
    parse = compile_pattern(form).parse

    def by_pattern(value: Any) -> float:
        local, offset_s = parse(_text(value))
        if offset_s is None:
            return _located(local, zone)
        return local.replace(tzinfo=UTC).timestamp() - offset_s

    return by_pattern


def _located(moment: datetime, zone: tzinfo) -> float:
    """Return epoch seconds; a naive stamp is the zone's, its first reading where the hour repeats."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("a boolean is no time")
    return float(value)


def _text(value: Any) -> str:
    """Return the stamp as text; a whole number is read by its digits (20220324)."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("no text")
    return str(int(value)) if isinstance(value, int | float) else str(value).strip()
