"""Transactions as columns in the order of time, one of them, and what was said of them later.

Times are UTC microseconds, int64. A key is text: the value of a relation's column, or the JSON array of several.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from masthead.base.clock import DAY_US
from masthead.fraud.data.tables import PROBLEMS

__all__ = ["Event", "Events", "Labels", "Source", "composite_key", "day_minus", "narrow"]


@dataclass(frozen=True, slots=True)
class Event:
    """One transaction.

    Attributes:
        ts: UTC microseconds. amount: NaN = missing.
        keys: One per relation of the schema; None = no edge.
        numerics: (numerics,) float64 that hold float32 values, NaN = missing.
        categories: One per categorical of the schema.
    """

    id: str
    ts: int
    amount: float
    keys: tuple[str | None, ...]
    numerics: NDArray[np.float64]
    categories: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where transactions stood, and what else stood there.

    Attributes:
        files: Names.
        places: (n, 2) int64: place in `files`, row in that file from 1.
        read: Rows of these files, also those that cannot be used.
        copies: Rows that repeat an earlier one.
    """

    files: tuple[str, ...]
    places: NDArray[np.int64]
    read: int
    copies: int = 0

    @property
    def refused(self) -> int:
        """How many rows could not be used; asked before any are taken from them."""
        return self.read - self.copies - len(self.places)

    def place(self, row: int) -> tuple[str, int]:
        """Return (file, row in it) of a transaction."""
        file, number = self.places[row].tolist()
        return self.files[file], number


@dataclass(frozen=True, slots=True)
class Events:
    """Transactions as columns, ordered by time and, at the same time, as in the files.

    Attributes:
        ids: Texts. ts: (n,) UTC microseconds. amount: (n,) NaN = missing.
        codes: (n, relations) places in `vocabularies[relation]`; -1 = no edge.
        vocabularies: One list of keys per relation.
        numerics: (n, numerics) NaN = missing.
        category_codes, category_values: As codes and vocabularies, per categorical.
        raw_ids, raw_times: As in the data.
        inline_label: (n,) 1 fraud, 0 legitimate, -1 unlabelled.
        absent: Columns of the schema that the data lack.
        problems: row number, file, column, reason of what could not be used.
        source: Where they stood; None: in no file.
    """

    ids: list[str]
    ts: NDArray[np.int64]
    amount: NDArray[np.float64]
    codes: NDArray[np.int32]
    vocabularies: list[list[str]]
    numerics: NDArray[np.float32]
    category_codes: NDArray[np.int32]
    category_values: list[list[str]]
    raw_ids: pa.Array
    raw_times: pa.Array
    inline_label: NDArray[np.int8]
    absent: tuple[str, ...]
    problems: pa.Table
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[Any]) -> "Events":
        """Return the transactions at these places, or where a mask of all is true; vocabularies stay."""
        places = np.arange(len(self))[rows]
        return replace(
            self,
            ids=[self.ids[place] for place in places.tolist()],
            ts=self.ts[places],
            amount=self.amount[places],
            codes=self.codes[places],
            numerics=self.numerics[places],
            category_codes=self.category_codes[places],
            raw_ids=self.raw_ids.take(pa.array(places)),
            raw_times=self.raw_times.take(pa.array(places)),
            inline_label=self.inline_label[places],
            source=None if self.source is None else replace(self.source, places=self.source.places[places]),
        )

    def event(self, place: int) -> Event:
        """Return one, as `parse_record` would have of the same values."""
        return Event(
            id=self.ids[place],
            ts=int(self.ts[place]),
            amount=float(self.amount[place]),
            keys=_spelled(self.codes[place], self.vocabularies),
            numerics=self.numerics[place].astype(np.float64),
            categories=_spelled(self.category_codes[place], self.category_values),
        )


def _spelled(codes: NDArray[np.int32], values: list[list[str]]) -> tuple[str | None, ...]:
    return tuple(
        known[code] if code >= 0 else None for code, known in zip(codes.tolist(), values, strict=True)
    )


def _no_problems() -> pa.Table:
    return PROBLEMS.empty_table()


@dataclass(frozen=True, slots=True)
class Labels:
    """What was said of transactions, in the order of arrival; of several, the latest holds.

    Attributes:
        rows: (n,) places in the events; -1 = no such transaction yet.
        ids: Texts. value: (n,) int8, 1 fraud, 0 legitimate. arrived_at: (n,) UTC microseconds.
        problems: What could not be used.
    """

    rows: NDArray[np.int64]
    ids: list[str]
    value: NDArray[np.int8]
    arrived_at: NDArray[np.int64]
    problems: pa.Table = field(default_factory=_no_problems)

    def __len__(self) -> int:
        return len(self.ids)


def composite_key(parts: Sequence[str | None]) -> str | None:
    """Return the key of an entity: its one value, or the JSON array of its several; None if one is missing.

    >>> composite_key(["13926"]), composite_key(["a-b", "c"]), composite_key(["a", None])
    ('13926', '["a-b","c"]', None)
    """
    if any(part is None for part in parts):
        return None
    return parts[0] if len(parts) == 1 else json.dumps(list(parts), ensure_ascii=False, separators=(",", ":"))


def narrow(numbers: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return numbers as the scorer keeps them; what float32 cannot hold is missing."""
    with np.errstate(over="ignore"):
        found = numbers.astype(np.float32)
    found[np.isinf(found)] = np.nan
    return found


def day_minus(ts: int, number: float) -> float:
    """Return the day of a time (UTC, since 1970) less a number of days.

    >>> day_minus(1512086400000000, 14)
    17487.0
    """
    return float(ts // DAY_US) - number
