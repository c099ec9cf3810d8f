"""Texts and numbers to UTC epoch seconds: Java patterns, ISO 8601, epochs, local zones, summer time.

A parser is compiled once. A column is read by digit arithmetic where each part of the pattern has a fixed
place (a million rows in a fraction of a second), by the pattern itself for every text that is left.
Nothing is guessed once a format is given; without one, `agree` finds the one form that fits every text.

Source of the letters: java.time.format.DateTimeFormatter, Java SE 17 API.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.base.patterns import compile_pattern as compile_letters
from masthead.metrics.intervals import local_seconds, utc_of_local
from masthead.metrics.zones import zone_of

#: Event times outside these are a wrong clock or a wrong format, not data: 1970-01-01 and 2100-01-01.
EARLIEST_S = 0.0
LATEST_S = 4_102_444_800.0

WORDS = ("epoch_s", "epoch_ms", "iso")
_ISO_PATTERNS = (
    "yyyy-MM-dd'T'HH:mm:ss",
    "yyyy-MM-dd'T'HH:mm:ss'Z'",
    "yyyy-MM-dd HH:mm:ss",
    "yyyy-MM-dd'T'HH:mm",
    "yyyy-MM-dd HH:mm",
    "yyyy-MM-dd",
    "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'",
)
# What `agree` tries, in this order. Day first and month first are both here on purpose: a column that
# fits both is refused, not guessed.
_CANDIDATES = (
    "iso",
    "yyyy/MM/dd HH:mm:ss",
    "yyyy/MM/dd HH:mm",
    "yyyy/MM/dd",
    "dd/MM/yyyy HH:mm:ss",
    "MM/dd/yyyy HH:mm:ss",
    "dd/MM/yyyy HH:mm",
    "MM/dd/yyyy HH:mm",
    "dd/MM/yyyy HH.mm.ss",
    "dd/MM/yyyy",
    "MM/dd/yyyy",
    "d/M/yyyy H:mm:ss",
    "M/d/yyyy H:mm:ss",
    "d/M/yyyy H:mm",
    "M/d/yyyy H:mm",
    "d/M/yyyy",
    "M/d/yyyy",
    "dd.MM.yyyy HH:mm:ss",
    "dd.MM.yyyy HH:mm",
    "dd.MM.yyyy",
    "dd-MM-yyyy HH:mm:ss",
    "MM-dd-yyyy HH:mm:ss",
    "dd-MM-yyyy HH:mm",
    "MM-dd-yyyy HH:mm",
    "MM/dd/yyyy hh:mm:ss a",
    "dd/MM/yyyy hh:mm:ss a",
    "yyyyMMddHHmmss",
    "yyyyMMddHHmm",
    "yyyyMMdd",
    "EEE MMM dd HH:mm:ss yyyy",
    "EEE, dd MMM yyyy HH:mm:ss Z",
    "epoch_s",
    "epoch_ms",
)
_AGREE_ROWS = 1000
_AGREE_SHARE = 0.9
# Guessed epochs start in July 1979: below, seconds, milliseconds and dates such as 20220324 would overlap.
_EARLIEST_EPOCH_S = 300_000_000
_NUMBER = re.compile(r"[+-]?\d{1,18}(?:\.\d*)?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}")


@dataclass(frozen=True, slots=True)
class Times:
    """A parsed column.

    Attributes:
        seconds: (rows,) float64 UTC epoch seconds, NaN = no time.
        reasons: Row -> why it has none.
        repeated: Stamps of an autumn hour that the local clock shows twice.
        moved: Stamps of a spring hour that the local clock skips, moved forward.
    """

    seconds: NDArray[np.float64]
    reasons: dict[int, str]
    repeated: int = 0
    moved: int = 0


class Parser:
    """A compiled time format in a zone: `parse` reads one text, `parse_many` a column, `format` writes one.

    Made by `compile_pattern`.

    Attributes:
        text: The format as given. zone: The zone of stamps without an offset.
        warnings: What in it probably does not mean what its writer thought.
    """

    def __init__(self, text: str, zone: str) -> None:
        zone_of(zone)
        self.text, self.zone = text, zone
        self._cache: dict[str, tuple[float, bool]] = {}
        self._fast: list[_Fixed] = []
        self._one: Callable[[str], tuple[float, bool]]
        self.warnings: tuple[str, ...] = ()
        if text in ("epoch_s", "epoch_ms"):
            scale = 1.0 if text == "epoch_s" else 1000.0
            self._one = lambda stamp: (_epoch(stamp, text, scale), True)
        elif text == "iso":
            self._one = _iso
            self._fast = [_Fixed(pattern) for pattern in _ISO_PATTERNS]
        else:
            self._letters = compile_letters(text)
            _check_day(text, self._letters.letters)
            self.warnings = self._letters.warnings
            self._one = self._by_letters
            self._fast = [_Fixed(text)] if _Fixed.fits(text) else []

    def parse(self, value: object, near_s: float | None = None) -> float:
        """Return UTC epoch seconds of one stamp.

        Args:
            value: A text; a number where the format is an epoch.
            near_s: When the reading arrived. A stamp of the repeated autumn hour takes the second reading
                once that has passed; without it, the first.

        Raises:
            InvalidInput: It is no such text, names no real time, or lies outside 1970 to 2099.
        """
        seconds, absolute = self._read(_as_text(value))
        if absolute:
            return _in_range(seconds, value)
        return self._placed(seconds, value, near_s)

    def parse_many(self, texts: Sequence[str | None], series: NDArray[np.int64] | None = None) -> Times:
        """Return the times of a column of texts (None = missing).

        Args:
            series: (rows,) int64, which series a row belongs to; decides repeated autumn hours.
        """
        rows = len(texts)
        seconds, absolute = np.full(rows, np.nan), np.zeros(rows, bool)
        left = self._by_place(texts, seconds, absolute)
        reasons: dict[int, str] = {}
        for row in left:
            text = texts[row]
            try:
                if text is None or not text.strip():
                    raise InvalidInput("time: missing")
                seconds[row], absolute[row] = self._read(text)
            except InvalidInput as error:
                reasons[row] = error.message
        _refuse_outside(seconds, reasons)
        local = np.flatnonzero(~absolute & ~np.isnan(seconds))
        if self.zone == "UTC" or not len(local):
            return Times(seconds, reasons)
        floors = np.floor(seconds[local])
        utc, repeated, moved = utc_of_local(
            floors.astype(np.int64), self.zone, None if series is None else series[local]
        )
        seconds[local] += utc - floors
        return Times(seconds, reasons, repeated, moved)

    def format(self, time_s: float) -> str:
        """Return the text of a time in this format and zone; `parse` reads it back."""
        if self.text == "epoch_s":
            return f"{time_s:.15g}"
        if self.text == "epoch_ms":
            return str(round(time_s * 1000))
        moment = (_EPOCH + timedelta(microseconds=round(time_s * 1e6))).astimezone(zone_of(self.zone))
        return moment.isoformat() if self.text == "iso" else self._letters.format(moment)

    def _read(self, text: str) -> tuple[float, bool]:
        """Return (seconds, whether they are UTC; else local) of a text; equal texts are read once."""
        found = self._cache.get(text)
        if found is None:
            found = self._one(text.strip())
            if len(self._cache) >= 65_536:
                self._cache.clear()
            self._cache[text] = found
        return found

    def _by_letters(self, text: str) -> tuple[float, bool]:
        local, offset_s = self._letters.parse(text)
        seconds = local_seconds(local) + local.microsecond / 1e6
        return (seconds, False) if offset_s is None else (seconds - offset_s, True)

    def _placed(self, local: float, value: object, near_s: float | None) -> float:
        _in_range(local, value)
        floor = math.floor(local)
        stamps = np.array([floor, floor], np.int64)
        twins, repeated, _ = utc_of_local(stamps, self.zone, np.zeros(2, np.int64))
        second = repeated and near_s is not None and near_s >= twins[1]
        return float(twins[1] if second else twins[0]) + (local - floor)

    def _by_place(
        self, texts: Sequence[str | None], seconds: NDArray[np.float64], absolute: NDArray[np.bool_]
    ) -> Sequence[int]:
        """Fill in what fixed places can read; return the rows that are left."""
        if not self._fast or len(texts) < 16:
            return range(len(texts))
        lengths = np.fromiter((len(text) if text is not None else -1 for text in texts), np.int64, len(texts))
        left = np.ones(len(texts), bool)
        for fixed in self._fast:
            rows = np.flatnonzero(left & (lengths == fixed.width))
            if len(rows):
                column = texts if len(rows) == len(texts) else [texts[row] for row in rows.tolist()]
                found = fixed.seconds(column)
                good = ~np.isnan(found)
                seconds[rows[good]], absolute[rows[good]] = found[good], fixed.absolute
                left[rows[good]] = False
        return np.flatnonzero(left).tolist()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=256)
def compile_pattern(format: str, zone: str = "UTC") -> Parser:
    """Return the compiled parser of a Java pattern, `epoch_s`, `epoch_ms` or `iso`; equal ones are shared.

    Raises:
        InvalidInput: Unknown letters or zone, or a pattern that leaves the day open.

    >>> compile_pattern("yyyy-MM-dd HH:mm").parse("2022-03-24 23:30")
    1648164600.0
    """
    return Parser(format, zone)


def folder_for(template: str, start_s: float, zone: str = "UTC") -> str:
    """Return the path that a template such as `s3://b/x/{{yyyyMMdd}}/{{HHmm}}` names for an interval.

    Args:
        start_s: Start of the interval, UTC epoch seconds; the folder shows it in `zone`.

    Raises:
        InvalidInput: A brace left open, or letters that no pattern knows.

    >>> folder_for("s3://air/in/{{yyyyMMdd}}/{{HHmm}}", 1_648_164_600)
    's3://air/in/20220324/2330'
    """
    moment = (_EPOCH + timedelta(seconds=start_s)).astimezone(zone_of(zone))
    path = _TEMPLATE.sub(lambda found: compile_letters(found[1]).format(moment), template)
    if "{{" in path or "}}" in path:
        raise InvalidInput(f"template: expected each {{{{ closed by }}}}, got {shown(template)}")
    return path


def agree(texts: Sequence[str], zone: str = "UTC") -> str:
    """Return the one format that the first 1,000 `texts` fit; a tenth of them may be broken, of two or more one.

    Formats that read every text alike (`d/M/yyyy` beside `dd/MM/yyyy`) count as one, the stricter. A stamp counts as
    broken in few rows only if it is no sign of another reading of the same digits: nothing is guessed.

    Raises:
        InvalidInput: None fits, or two fit as many and give different times; both are named.

    >>> agree(["24/03/2022 23:30", "02/03/2022 01:00"])
    'dd/MM/yyyy HH:mm'
    """
    sample = [text for text in texts[:_AGREE_ROWS] if text.strip()]
    if not sample:
        raise InvalidInput("time: expected at least one stamp to find the format from, got none")
    readings = {candidate: _read_by(candidate, sample, zone) for candidate in _CANDIDATES}
    enough = math.ceil(_AGREE_SHARE * len(sample))
    best = max(max(1, min(enough, len(sample) - 1)), *(_count(times) for times in readings.values()))
    found: dict[str, NDArray[np.float64]] = {}
    for candidate, times in readings.items():
        if _count(times) == best and not any(
            np.array_equal(times, other, equal_nan=True) for other in found.values()
        ):
            found[candidate] = times
    if found and best < enough:
        first = next(iter(found.values()))
        found |= {name: times for name, times in readings.items() if _contradicts(times, first)}
    if len(found) == 1:
        return next(iter(found))
    if found:
        names = " and ".join(repr(name) for name in [*found][:2])
        raise InvalidInput(f"format: expected one for the time column, got {names}, which both fit: name one")
    raise InvalidInput(
        f"format: expected stamps in a known form, got {shown(sample[0])}; name the format, such as 'dd MMM yyyy HH:mm'"
    )


def _read_by(candidate: str, sample: Sequence[str], zone: str) -> NDArray[np.float64]:
    """Return (rows,) float64 seconds, NaN where a format that is tried reads nothing."""
    times = compile_pattern(candidate, zone).parse_many(sample).seconds
    if candidate.startswith("epoch"):
        times[times < _EARLIEST_EPOCH_S] = np.nan
    return times


def _count(times: NDArray[np.float64]) -> int:
    return int((~np.isnan(times)).sum())


def _contradicts(times: NDArray[np.float64], best: NDArray[np.float64]) -> bool:
    """Return whether a format reads what the best one does not, and gives another time where both read."""
    both = ~np.isnan(times) & ~np.isnan(best)
    return bool((~np.isnan(times) & np.isnan(best)).any() and (times[both] != best[both]).any())


def fitting(texts: Sequence[str], zone: str = "UTC") -> dict[str, int]:
    """Return known format -> how many of `texts` it reads, best first; what a person is told to try."""
    forms = [*_ISO_PATTERNS, *_CANDIDATES]
    counts = {
        form: int((~np.isnan(compile_pattern(form, zone).parse_many(texts).seconds)).sum()) for form in forms
    }
    # `sorted` is stable: among equals the pattern that is spelled out comes before "iso".
    return {form: count for form, count in sorted(counts.items(), key=lambda item: -item[1]) if count}


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    raise InvalidInput(f"time: expected a text or a number, got {shown(value)}")


def _in_range(seconds: float, value: object) -> float:
    if not EARLIEST_S <= seconds < LATEST_S:
        raise InvalidInput(f"time: expected a time from 1970 to 2099, got {shown(value)}")
    return seconds


def _refuse_outside(seconds: NDArray[np.float64], reasons: dict[int, str]) -> None:
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero((seconds < EARLIEST_S) | (seconds >= LATEST_S))
    seconds[outside] = np.nan
    reasons.update(dict.fromkeys(outside.tolist(), "time: outside 1970 to 2099"))


def _check_day(text: str, letters: frozenset[str]) -> None:
    year, day = letters & set("yuY"), letters & set("dDw")
    if not year or not day or ("d" in letters and "M" not in letters and "D" not in letters):
        raise InvalidInput(f"format: expected a pattern with year, month and day, got {shown(text)}")


def _epoch(text: str, form: str, scale: float) -> float:
    if not _NUMBER.fullmatch(text):
        raise InvalidInput(f"time: expected a number ({form}), got {shown(text)}")
    return float(text) / scale


def _iso(text: str) -> tuple[float, bool]:
    """Return the time of an ISO 8601 date, date and time, with or without fraction and offset."""
    try:
        # Bare digits are refused: 20220324 may as well be an epoch.
        moment = datetime.fromisoformat(text) if not text.isdigit() else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidInput(f"time: expected ISO 8601 such as 2022-03-24T23:30:00Z, got {shown(text)}")
    try:
        offset = moment.utcoffset()
        local = moment.replace(tzinfo=None)
        seconds = local_seconds(local) + local.microsecond / 1e6
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"time: expected a real time, got {shown(text)}") from error
    return (seconds, False) if offset is None else (seconds - offset.total_seconds(), True)


class _Fixed:
    """Reads stamps whose every part has a fixed place, a whole column at a time."""

    _PART = re.compile(r"yyyy|MM|dd|HH|mm|ss|S{1,6}|'[^']+'|[^A-Za-z'\[\]{}#]")

    def __init__(self, pattern: str) -> None:
        self.places: dict[str, tuple[int, int]] = {}
        self.literals: list[tuple[int, int]] = []  # (place, code point)
        self.width = 0
        # Only the ISO forms end in a literal Z that means UTC.
        self.absolute = pattern.endswith("'Z'") and pattern in _ISO_PATTERNS
        for part in self._PART.findall(pattern):
            literal = part.strip("'") if part[0] not in "yMdHmsS" else ""
            for offset, char in enumerate(literal):
                self.literals.append((self.width + offset, ord(char)))
            if not literal:
                self.places[part[0]] = (self.width, len(part))
            self.width += len(literal or part)

    @classmethod
    def fits(cls, pattern: str) -> bool:
        """Return whether the pattern is made of parts with a fixed place, each at most once, with a day."""
        parts = cls._PART.findall(pattern)
        letters = [part[0] for part in parts if part[0] in "yMdHmsS"]
        return "".join(parts) == pattern and len(set(letters)) == len(letters) and {*"yMd"} <= {*letters}

    def seconds(self, texts: Sequence[str | None]) -> NDArray[np.float64]:
        """Return (rows,) float64 local seconds of texts of exactly this width; NaN where one does not fit."""
        points = np.array(texts, dtype=f"U{self.width}").view(np.uint32).reshape(len(texts), self.width)
        good = np.ones(len(texts), bool)
        for place, code in self.literals:
            good &= points[:, place] == code
        field = {letter: self._number(points, letter, good) for letter in self.places}
        zero = np.zeros(len(texts), np.int64)
        year, month, day = field["y"], field["M"], field["d"]
        hour, minute, second = (field.get(letter, zero) for letter in "Hms")
        good &= (year >= 1) & (month >= 1) & (month <= 12) & (hour <= 23) & (minute <= 59) & (second <= 59)
        good &= (day >= 1) & (day <= _month_days(year, np.clip(month, 1, 12)))
        total = _days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second
        result = total.astype(np.float64)
        if "S" in field:
            result += field["S"] / 10.0 ** self.places["S"][1]
        return np.where(good, result, np.nan)

    def _number(self, points: NDArray[np.uint32], letter: str, good: NDArray[np.bool_]) -> NDArray[np.int64]:
        place, count = self.places[letter]
        value = np.zeros(len(points), np.int64)
        for column in range(place, place + count):
            digit = points[:, column].astype(np.int64) - ord("0")
            good &= (digit >= 0) & (digit <= 9)
            value = value * 10 + digit
        return value


def _month_days(year: NDArray[np.int64], month: NDArray[np.int64]) -> NDArray[np.int64]:
    leap = ((year % 4 == 0) & (year % 100 != 0)) | (year % 400 == 0)
    days = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])[month]
    return np.asarray(days + (leap & (month == 2)), np.int64)


def _days_from_civil(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return days since 1970-01-01. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms"."""
    year = year - (month <= 2)
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + np.where(month > 2, -3, 9)) + 2) // 5 + day - 1
    days: NDArray[np.int64] = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days
