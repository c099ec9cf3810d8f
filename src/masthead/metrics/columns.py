"""Columns of anything to numbers, labels and texts; what is none of these is named row by row."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from masthead.metrics.problems import shorten
from masthead.metrics.raw import Column

NO_LABEL = "(none)"
LARGEST = 1e15  # beyond, a double no longer counts in ones
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Labels:
    """A column of categories: `codes` (rows,) int64 are places in `values`."""

    codes: NDArray[np.int64]
    values: tuple[str, ...]

    def texts(self) -> list[str]:
        """Return the label of each row."""
        return [self.values[code] for code in self.codes.tolist()]


def numbers_of(
    column: Column, missing: tuple[str, ...] = ("",)
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.int64]]]:
    """Return ((rows,) float64 with NaN for missing, reason -> rows) of a column of anything.

    Texts that spell a number are numbers. Infinity and what lies beyond 1e15 are problems.

    >>> numbers_of([1, "2.5", None, "x"])
    (array([1. , 2.5, nan, nan]), {'not a number': array([3])})
    """
    if isinstance(column, pa.Array):
        values, bad = _arrow_numbers(column, frozenset(missing) | {""})
    else:
        values, bad = _list_numbers(column, frozenset(missing) | {""})
    marks = [float(text) for text in missing if _NUMBER.fullmatch(text)]
    if marks:
        values[np.isin(values, marks)] = np.nan
    with np.errstate(invalid="ignore"):
        large = np.abs(values) > LARGEST
    values[large] = np.nan
    reasons = {"not a number": np.flatnonzero(bad), "infinite or beyond 1e15": np.flatnonzero(large)}
    return values, {reason: rows for reason, rows in reasons.items() if len(rows)}


def _arrow_numbers(
    column: pa.Array, missing: frozenset[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = np.array(pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        return values, np.zeros(len(values), bool)
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return _list_numbers(column.to_pylist(), missing)
    trimmed = pc.utf8_trim_whitespace(column)
    spelled = pc.match_substring_regex(trimmed, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    if pc.all(spelled).as_py():
        return np.array(pc.cast(trimmed, pa.float64()).to_numpy(zero_copy_only=False)), np.zeros(
            len(column), bool
        )
    good = pc.fill_null(spelled, False)
    values = np.array(pc.cast(pc.if_else(good, trimmed, None), pa.float64()).to_numpy(zero_copy_only=False))
    left = np.flatnonzero(~np.asarray(good))
    rest, bad_rest = _list_numbers([column[row].as_py() for row in left.tolist()], missing)
    values[left] = rest
    bad = np.zeros(len(column), bool)
    bad[left] = bad_rest
    return values, bad


def _list_numbers(
    column: Sequence[Any], missing: frozenset[str]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rows = len(column)
    if {*map(type, column)} <= {int, float, type(None)}:
        try:
            return np.array(column, np.float64).reshape(rows), np.zeros(rows, bool)
        except OverflowError:  # an integer of 400 digits
            pass
    values, bad = np.full(rows, np.nan), np.zeros(rows, bool)
    for row, value in enumerate(column):
        found = _number(value, missing)
        if found is None:
            bad[row] = True
        else:
            values[row] = found
    return values, bad


def _number(value: Any, missing: frozenset[str]) -> float | None:
    """Return the number, NaN for missing, None for what is none."""
    if value is None:
        return math.nan
    if isinstance(value, str):
        text = value.strip()
        if text in missing:
            return math.nan
        if _NUMBER.fullmatch(text):
            return float(text)
        return math.inf if _INFINITE.fullmatch(text) else None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def labels_of(column: Column) -> Labels:
    """Return the categories of a column: trimmed, case kept, `(none)` for empty.

    >>> labels_of(["B-101 ", None, "B-101"]).texts()
    ['B-101', '(none)', 'B-101']
    """
    if isinstance(column, pa.Array) and pa.types.is_string(column.type):
        encoded = column.dictionary_encode()
        raw_codes = np.asarray(encoded.indices.fill_null(len(encoded.dictionary)), np.int64)
        raw_values = [*encoded.dictionary.to_pylist(), None]
    else:
        values = column.to_pylist() if isinstance(column, pa.Array) else column
        places: dict[Any, int] = {}
        keys = [value if type(value) is str else _label(value) for value in values]
        raw_codes = np.fromiter((places.setdefault(key, len(places)) for key in keys), np.int64, len(keys))
        raw_values = list(places)
    cleaned: dict[str, int] = {}
    mapping = [cleaned.setdefault(_label(value), len(cleaned)) for value in raw_values]
    codes = np.array(mapping, np.int64)[raw_codes] if mapping else np.zeros(0, np.int64)
    return Labels(codes, tuple(cleaned))


def _label(value: Any) -> str:
    if isinstance(value, str):
        return value.strip() or NO_LABEL
    if value is None:
        return NO_LABEL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return json.dumps(value, separators=(",", ":"), sort_keys=True, default=str)
    return str(value).strip() or NO_LABEL


def no_labels(rows: int) -> Labels:
    return Labels(np.zeros(rows, np.int64), (NO_LABEL,))


def texts_of(column: Column) -> list[str | None]:
    """Return the column as texts; numbers as they are written, other things as what no parser takes."""
    values = column.to_pylist() if isinstance(column, pa.Array) else column
    return [value if type(value) is str else _as_text(value) for value in values]


def _as_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return repr(value)
    return value if isinstance(value, str) else f"{type(value).__name__} {shorten(value)}"


def join_labels(parts: Sequence[Labels]) -> Labels:
    """Return several columns of labels as one, one after another."""
    if len(parts) == 1:
        return parts[0]
    places: dict[str, int] = {}
    codes = []
    for part in parts:
        mapping = np.array([places.setdefault(value, len(places)) for value in part.values], np.int64)
        codes.append(mapping[part.codes] if len(part.values) else part.codes)
    return Labels(np.concatenate(codes or [np.zeros(0, np.int64)]), tuple(places))
