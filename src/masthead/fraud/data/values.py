"""One value of a table or of a message: the text of a key, a number, a moment, a verdict.

Tables are read by these functions too, once for each distinct value: what trains and what is served never differ.
"""

import math
import re
from collections.abc import Collection
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.schema import UNITS_US, Schema, TimeColumn

__all__ = [
    "LABEL_SOURCES",
    "NO_VALUE",
    "VERDICTS",
    "key_text",
    "number_of",
    "parse_time",
    "read_source",
    "read_value",
    "time_us",
    "verdict_of",
]

EARLIEST_US, LATEST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999
NO_VALUE = frozenset({"", "nan", "NaN", "None", "null", "<NA>"})
NO_NUMBER = NO_VALUE | {"NA", "N/A", "NULL", "Null", "none", "NAN", "n/a"}
"""Texts that are no number and no mistake either; as keys they may mean something, say the country NA."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"(-?\d+)\.0+")
VERDICTS = {"1": 1, "true": 1, "fraud": 1, "0": 0, "false": 0, "legit": 0, "legitimate": 0}
"""What a label may say, in files, messages and calls alike."""
LABEL_SOURCES = ("chargeback", "analyst", "import")
"""Who may say it."""


def key_text(value: Any, missing: Collection[str] = ()) -> str | None:
    """Return the text under which a value is known, or None where there is no value.

    A number and its text are one key, in whatever type a file keeps it.

    >>> key_text(13926.0), key_text("13926.0"), key_text("007"), key_text(float("nan")), key_text("-1", ["-1"])
    ('13926', '13926', '007', None, None)
    """
    if value is None:
        return None
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return None
        text = str(int(value)) if value.is_integer() else repr(value)
    else:
        text = format(value, "f") if isinstance(value, Decimal) else str(value)  # not 0E-7
        if text.endswith("0") and (whole := _WHOLE.fullmatch(text)):
            text = "0" if whole[1] == "-0" else whole[1]
    return None if text in NO_VALUE or text in missing or not text.strip() else text


def number_of(value: Any, missing: Collection[str] = ()) -> float:
    """Return a number; NaN where there is no value or none that is finite.

    Raises:
        InvalidInput: A text that is no number, or no scalar.

    >>> number_of("1.50"), number_of(""), number_of(True)
    (1.5, nan, 1.0)
    """
    if value is None:
        return math.nan
    if isinstance(value, str):
        value = value.strip()
        if value in NO_NUMBER or value in missing:
            return math.nan
    try:
        if isinstance(value, str) and "_" in value:  # Python's own spelling 1_000
            raise ValueError(value)
        number = float(value)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"value: expected a number, got {shown(value)}") from error
    except OverflowError:
        return math.nan
    if not math.isfinite(number) or (missing and key_text(number) in missing):
        return math.nan
    return number


def parse_time(schema: Schema, given: Any, *, field: str = "") -> int:
    """Return a moment of the data or of a command line as UTC microseconds.

    Args:
        given: ISO 8601, UTC where it has no offset, or a number in the schema's unit, which may be a text.
        field: What an error calls it, where it stands in no column; "" = the column of the time.

    Raises:
        InvalidInput: It is neither.
    """
    try:
        return time_us(schema.time, given)
    except InvalidInput as error:
        if not field:
            raise
        raise InvalidInput(f"{field}: {error.message.partition(': ')[2]}", field=field) from error


def time_us(time: TimeColumn, given: Any) -> int:
    """Return `given` as UTC microseconds, as `parse_time` does."""
    if isinstance(given, datetime):
        return _micros(given)
    if isinstance(given, date):
        return _micros(datetime(given.year, given.month, given.day))
    if isinstance(given, str):
        text = given.strip()
        number = _number_in(text)
        if number is None:
            return _micros(_moment(time, text))
        given = number
    if isinstance(given, Decimal):
        given = int(given) if given % 1 == 0 else float(given)
    if not time.unit or isinstance(given, bool) or not isinstance(given, (int, float)):
        raise InvalidInput(f"{time.column}: expected {_domain(time)}, got {shown(given)}")
    origin = 0 if time.origin is None else _micros(time.origin)
    scale = UNITS_US[time.unit]
    if not math.isfinite(given) or not EARLIEST_US <= given * scale + origin <= LATEST_US:
        raise InvalidInput(
            f"{time.column}: expected {_domain(time)} in the years 1 to 9999, got {shown(given)}"
        )
    return round(given * scale) + origin


def verdict_of(value: Any) -> int:
    """Return 1 for fraud, 0 for legitimate, -1 where nothing is said.

    Raises:
        InvalidInput: Something else is said.

    >>> verdict_of("fraud"), verdict_of(0.0), verdict_of(None), verdict_of("True")
    (1, 0, -1, 1)
    """
    text = key_text(value)
    if text is None:
        return -1
    verdict = VERDICTS.get(text.strip().lower())
    if verdict is None:
        raise InvalidInput(f"label: expected 1/0, true/false, fraud/legit or nothing, got {shown(value)}")
    return verdict


def read_value(value: Any) -> int:
    """Return 1 for fraud and 0 for legitimate, of a label that must say one of them.

    Raises:
        InvalidInput: It is neither.

    >>> read_value("fraud"), read_value(0), read_value(True), read_value("legitimate")
    (1, 0, 1, 0)
    """
    verdict = VERDICTS.get((key_text(value) or "").strip().lower())
    if verdict is None:
        raise InvalidInput(f"value: expected fraud or legit, got {shown(value)}")
    return verdict


def read_source(given: str) -> str:
    """Return who said a label.

    Raises:
        InvalidInput: It is none of `LABEL_SOURCES`.
    """
    if given not in LABEL_SOURCES:
        raise InvalidInput(f"source: expected one of {', '.join(LABEL_SOURCES)}, got {shown(given)}")
    return given


def _micros(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    past = aware - _EPOCH
    return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds


def _number_in(text: str) -> int | float | None:
    if "_" in text:
        return None
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return None


def _moment(time: TimeColumn, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{time.column}: expected {_domain(time)}, got {shown(text)}") from error


def _domain(time: TimeColumn) -> str:
    return f"ISO 8601 or a number of {time.unit}" if time.unit else "ISO 8601"
