"""Why a score is what it is, in words: what each relation added, and what of its past did so.

The contributions of a model's columns are summed per relation; what is no relation's is `amount`, `time` or `columns`.
A text tells the aggregate that weighed most in the direction of its sum. At most five are told, of which the last sums
up what is left: together they are the raw score less the mean of the model.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import DAY_US, utc
from masthead.fraud.data.columns import Event
from masthead.fraud.data.schema import Schema
from masthead.fraud.scoring.features import Column, Layout
from masthead.fraud.scoring.words import (
    SPANS,
    column_text,
    data_noun,
    entity_text,
    noun_of,
    plural,
    plural_of,
)

__all__ = [
    "MOST",
    "REMEMBERED",
    "Facts",
    "Reason",
    "ago",
    "count_distinct",
    "days_ago",
    "find_reasons",
]

_OF_COLUMNS = 1e-6  # how far off a length of time may be that came out of a column's logarithm
MOST = 5
REMEMBERED = 64  # transactions of an entity that the features know the counterparties of, this one included
_WINDOWS = ((DAY_US, "24 h"), (7 * DAY_US, "7 days"), (30 * DAY_US, "30 days"))


@dataclass(frozen=True, slots=True)
class Reason:
    """What one part added to a score.

    Attributes:
        relation: Name in the schema; `amount`, `time`, `columns`; `other` sums up what is left.
        value: The entity's key, or the value; "" = none.
        contribution: Log-odds.
    """

    relation: str
    value: str
    text: str
    contribution: float

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "relation": self.relation,
            "value": self.value,
            "text": self.text,
            "contribution": self.contribution,
        }


class Facts(Protocol):
    """What texts need beside the vector: the past of this transaction's entities, as of its decision."""

    def distinct(self, relation: str, other: str) -> tuple[int, bool, str]:
        """Return how many values of a counterparty an entity has had with this one, if there may be more, and when."""
        ...

    def confirmed(self, relation: str) -> Sequence[int]:
        """Return when the frauds of an entity that were known had been confirmed, the latest first."""
        ...


def find_reasons(
    schema: Schema,
    layout: Layout,
    event: Event,
    x: NDArray[np.float32],
    contributions: NDArray[np.float64],
    facts: Facts,
) -> list[Reason]:
    """Return at most `MOST` reasons, what weighs most first.

    Args:
        x: (columns,) what the model saw. contributions: (columns + 1,), the mean last.
    """
    parts = _parts(layout)
    sums = np.bincount(parts.of, contributions[:-1], len(parts.names))
    order = [place for place in np.argsort(-np.abs(sums), kind="stable").tolist() if sums[place]]
    shown = order if len(order) <= MOST else order[: MOST - 1]
    told = _Teller(schema, event, x, parts.place, facts)
    found = []
    for place in shown:
        columns, places = parts.columns[place]
        weighed = list(zip(contributions[places].tolist(), columns, strict=True))
        found.append(told.reason(parts.names[place], float(sums[place]), weighed))
    if rest := order[len(shown) :]:
        nouns = [
            _weightiest(parts.columns[place], contributions)
            if parts.names[place] == "columns"
            else noun_of(parts.names[place])
            for place in rest
        ]
        text = f"{len(rest)} others: {', '.join(nouns)}"
        found.append(Reason("other", "", text, math.fsum(sums[rest].tolist())))
    return found


class _Parts(NamedTuple):
    """How the columns of a layout fall into parts.

    Attributes:
        of: (columns,) place of each column's part in `names`.
        columns: Per part its columns, and the places of these.
        place: Name of a column -> its place.
    """

    names: list[str]
    of: NDArray[np.int64]
    columns: list[tuple[list[Column], NDArray[np.int64]]]
    place: dict[str, int]


@lru_cache(maxsize=16)
def _parts(layout: Layout) -> _Parts:
    columns = layout.columns
    part = [_part_of(column) for column in columns]
    names = list(dict.fromkeys(part))
    of = np.array([names.index(name) for name in part], np.int64)
    own = [np.flatnonzero(of == place) for place in range(len(names))]
    return _Parts(
        names,
        of,
        [([columns[place] for place in places.tolist()], places) for places in own],
        {column.name: place for place, column in enumerate(columns)},
    )


def _weightiest(part: tuple[list[Column], NDArray[np.int64]], contributions: NDArray[np.float64]) -> str:
    """Return which columns weigh most of those that are no relation's, two at most."""
    columns, places = part
    weights = np.abs(contributions[places])
    order = [place for place in np.argsort(-weights, kind="stable").tolist() if weights[place]][:2]
    return " and ".join(data_noun(columns[place].name) for place in order)


def _part_of(column: Column) -> str:
    if column.relation:
        return column.relation
    names = {"amount": "amount", "refund": "amount", "hour": "time", "weekday": "time"}
    return names.get(column.name, "columns") if column.group == "own" else "columns"


class _Teller:
    """Puts the aggregates of one transaction into words."""

    def __init__(
        self,
        schema: Schema,
        event: Event,
        x: NDArray[np.float32],
        place: Mapping[str, int],
        facts: Facts,
    ) -> None:
        self._event, self._x, self._place, self._facts = event, x, place, facts
        names = [relation.name for relation in schema.relations]
        self._keys = dict(zip(names, event.keys, strict=True))
        self._categories = dict(zip(schema.categoricals, event.categories, strict=True))

    def reason(self, part: str, total: float, columns: Sequence[tuple[float, Column]]) -> Reason:
        """Return the reason of one part; its columns with what each contributed."""
        order = [
            column for value, column in sorted(columns, key=lambda one: -one[0] * math.copysign(1, total))
        ]
        if part == "amount":
            amount = self._event.amount
            value = "" if math.isnan(amount) else f"{amount:.10g}"
            return Reason(part, value, f"amount {value}" if value else "no amount", total)
        if part == "time":
            value = utc(self._event.ts / 1e6).strftime("%A %H:%M")
            return Reason(part, value, f"time of day and weekday: {value}", total)
        if part == "columns":
            return Reason(part, "", ", ".join(map(self._own, order[:2])), total)
        key = self._keys[part]
        if key is None:
            return Reason(part, "", f"no {noun_of(part)}", total)
        text = f"{entity_text(part, key)}: {self._past(part, order[0])}"
        return Reason(part, key, text, total)

    def _own(self, column: Column) -> str:
        value = self._value(column.name)
        if column.group == "own":
            what = (
                ("relation", "without a value")
                if column.name == "missing"
                else ("entity", "never seen before")
            )
            return f"{_many(round(value), what[0])} {what[1]}"
        name = column_text(column.name)
        if column.group == "categorical":
            category = self._categories[column.name]
            return f"no {name}" if category is None else f"{name} {category}"
        return f"no {name}" if math.isnan(value) else f"{name} {value:.4g}"

    def _past(self, relation: str, column: Column) -> str:
        what = column.name.removeprefix(f"{relation}.")
        group = {
            "history": self._history,
            "window": self._window,
            "velocity": self._window,
            "amount": self._amount,
            "counterparty": self._counterparty,
            "label": self._label,
        }
        return group[column.group](relation, what)

    def _value(self, column: str) -> float:
        return float(self._x[self._place[column]])

    def _of(self, relation: str, what: str) -> float:
        return self._value(f"{relation}.{what}")

    def _history(self, relation: str, what: str) -> str:
        count = round(math.expm1(self._of(relation, "count")))
        if not count:
            return "never seen before"
        span = self._of(relation, what)
        if what == "count" or math.isnan(span):
            return f"{_many(count + 1, 'transaction')} so far"
        word = "last" if what == "since_last" else "first"
        return f"{word} seen {ago(round(math.expm1(span) * 1e6))}"

    def _window(self, relation: str, what: str) -> str:
        kind, _, span = what.partition("_")
        if kind == "amount":
            mean = self._of(relation, what)
            known = "no amount" if math.isnan(mean) else f"mean amount {mean:.4g}"
            return f"{known} in the {SPANS[span]} before"
        span = span or "1d"  # a burst is a day's
        return f"{_many(round(self._of(relation, f'count_{span}')) + 1, 'transaction')} in {SPANS[span]}"

    def _amount(self, relation: str, what: str) -> str:
        apart = self._of(relation, "amount_difference")
        return "no amount to compare with" if math.isnan(apart) else f"amount {10**apart:.3g} times its usual"

    def _counterparty(self, relation: str, what: str) -> str:
        other = what.removeprefix("distinct_")
        other = other if other in self._keys else other.removesuffix("_share")
        count, more, span = self._facts.distinct(relation, other)
        least = "at least " if more else ""
        return f"{least}{count} {noun_of(other) if count == 1 else plural_of(other)} in {span}"

    def _label(self, relation: str, what: str) -> str:
        frauds = round(self._of(relation, "frauds"))
        if frauds:
            arrivals = self._facts.confirmed(relation) if frauds <= MOST else ()
            if len(arrivals) == frauds:
                when = days_ago([self._event.ts - at for at in arrivals])
            else:
                when = f"the last {ago(round(math.expm1(self._of(relation, 'since_fraud')) * 1e6))}"
            return f"{_many(frauds, 'confirmed fraud')}, {when}"
        known = round(self._of(relation, "labels_30d"))
        return f"no fraud among {_many(known, 'outcome')} known in 30 days" if known else "no confirmed fraud"


def count_distinct(now: int, own: int, past: Sequence[tuple[int, int]]) -> tuple[int, bool, str]:
    """Return how many values there are with this one, if there may be more, and the shortest window that holds all of them.

    There may be more where what is remembered is full and does not reach back over the whole window.

    Args:
        own: The value at `now`; 0 = none. past: (time, value) of what was before, `REMEMBERED` less one at most.

    >>> count_distinct(2 * 86_400_000_000, 3, [(86_400_000_001, 4), (1, 3)])
    (2, False, '24 h')
    >>> count_distinct(2 * 86_400_000_000, 3, [(86_400_000_000 + place, place) for place in range(1, 64)])
    (63, True, '24 h')
    """
    full = len(past) >= REMEMBERED - 1
    oldest = min((at for at, _ in past), default=now)

    def values(since: int) -> int:
        return len({own, *(value for at, value in past if at > since)} - {0})

    every = len({own, *(value for _, value in past)} - {0})
    for width, name in _WINDOWS:
        if values(now - width) == every:
            return every, full and oldest > now - width, name
    return every, False, f"its last {len(past) + 1} transactions"


def ago(span_us: int) -> str:
    """Return how long ago something was, in the largest unit that it fills; a column holds some seven digits of it.

    >>> ago(3 * 86_400_000_000), ago(3_599_999_700), ago(59_000_000)
    ('3 days ago', '1 hour ago', '59 seconds ago')
    """
    seconds = round(max(0, span_us) * (1 + _OF_COLUMNS) / 1e6)
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit:
            return f"{_many(seconds // unit, name)} ago"
    return f"{_many(seconds, 'second')} ago"


def days_ago(spans_us: Sequence[int]) -> str:
    """Return several such times in one phrase, the shortest first.

    >>> days_ago([9 * 86_400_000_000, 3 * 86_400_000_000])
    '3 and 9 days ago'
    """
    spans = sorted(spans_us)
    if len(spans) > 1 and spans[0] >= DAY_US:
        parts = [str(span // DAY_US) for span in spans]
        return f"{', '.join(parts[:-1])} and {parts[-1]} days ago"
    parts = [ago(span) for span in spans]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun if count == 1 else plural(noun)}"
