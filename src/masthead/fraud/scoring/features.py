"""Which columns a model sees, in which order, and what each is about.

A schema names what may exist; a layout is what did exist in the training rows. It stands in the model's card and
decides the width of every vector. The compiled `kernel.step` writes columns in the order that `columns` tells.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.columns import Event, Events
from masthead.fraud.data.schema import Schema

__all__ = ["Column", "Layout"]

KEPT = 64
"""Values of a categorical that are told apart; the rest are one value, `other`."""

OWN = ("amount", "refund", "hour", "weekday", "missing", "new")
GROUPS = ("own", "numeric", "categorical", "history", "window", "velocity", "amount", "counterparty", "label")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a model.

    Attributes:
        name: `relation.what`, or the column of the data.
        group: One of `GROUPS`.
        relation: Whose past it tells; "" for the transaction's own columns.
    """

    name: str
    group: str
    relation: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a model looks at; positions are those of the schema that it was learned from.

    Attributes:
        relations: Names in the schema's order, and `present` those with a value in training rows.
        aggregated, hubs, counterparties: Names among `present`.
        schema_numerics, schema_categoricals: All names, in the schema's order.
        numerics, categoricals: Those with a value in training rows.
        kept: Per categorical its values that are told apart, the most frequent first.
    """

    relations: tuple[str, ...]
    present: tuple[str, ...]
    aggregated: tuple[str, ...]
    hubs: tuple[str, ...]
    counterparties: tuple[str, ...]
    schema_numerics: tuple[str, ...]
    schema_categoricals: tuple[str, ...]
    numerics: tuple[str, ...]
    categoricals: tuple[str, ...]
    kept: tuple[tuple[str, ...], ...]

    @staticmethod
    def learn(schema: Schema, events: Events, rows: NDArray[np.int64]) -> "Layout":
        """Return the layout for what `rows` of the events have values of."""
        codes = events.codes[rows]
        present = [relation for r, relation in enumerate(schema.relations) if (codes[:, r] >= 0).any()]
        names = {relation.name for relation in present}
        filled = [j for j in range(len(schema.numerics)) if np.isfinite(events.numerics[rows, j]).any()]
        kept = {j: _most_frequent(events, rows, j) for j in range(len(schema.categoricals))}
        return Layout(
            relations=tuple(relation.name for relation in schema.relations),
            present=tuple(relation.name for relation in present),
            aggregated=tuple(relation.name for relation in present if relation.aggregate),
            hubs=tuple(relation.name for relation in present if relation.hub),
            counterparties=tuple(name for name in schema.counterparties if name in names),
            schema_numerics=schema.numerics,
            schema_categoricals=schema.categoricals,
            numerics=tuple(schema.numerics[j] for j in filled),
            categoricals=tuple(schema.categoricals[j] for j, values in kept.items() if values),
            kept=tuple(values for values in kept.values() if values),
        )

    @property
    def tracked(self) -> tuple[str, ...]:
        """Return the relations whose entities are remembered: aggregated ones and counterparties."""
        return tuple(name for name in self.present if name in self.aggregated or name in self.counterparties)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return every column in order."""
        found = [Column(name, "own") for name in OWN]
        found += [Column(name, "numeric") for name in self.numerics]
        found += [Column(name, "categorical") for name in self.categoricals]
        for relation in self.tracked:
            if relation in self.aggregated:
                found += self._columns_of(relation)
        return tuple(found)

    @property
    def names(self) -> list[str]:
        """Return the names of all columns in order."""
        return [column.name for column in self.columns]

    @property
    def width(self) -> int:
        """Return how many columns there are."""
        return len(self.columns)

    @property
    def categorical_positions(self) -> list[int]:
        """Return where categoricals stand among the columns."""
        first = len(OWN) + len(self.numerics)
        return list(range(first, first + len(self.categoricals)))

    def _columns_of(self, relation: str) -> list[Column]:
        others = [name for name in self.counterparties if name != relation]
        distinct = [
            name
            for other in others
            for name in ([f"distinct_{other}"] + [f"distinct_{other}_share"] * (relation in self.hubs))
        ]
        spans = ("1d", "7d", "30d")
        groups = (
            ("history", ["count", "since_last", "since_first"]),
            ("window", [f"{what}_{span}" for span in spans for what in ("count", "amount")]),
            ("velocity", ["count_1h", "burst"]),
            ("amount", ["amount_difference", "amount_deviations"]),
            ("counterparty", distinct),
            ("label", ["frauds", "fraud_rate", "since_fraud"]),
            ("label", [f"{what}_{span}" for span in spans for what in ("frauds", "labels", "fraud_share")]),
        )
        return [Column(f"{relation}.{name}", group, relation) for group, names in groups for name in names]

    def to_json(self) -> dict[str, Any]:
        """Return the form that stands in a card."""
        return asdict(self)

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> "Layout":
        """Return the layout of a card.

        Raises:
            InvalidInput: It is none.
        """
        try:
            kept = tuple(tuple(map(str, values)) for values in given["kept"])
            names = {key: tuple(map(str, given[key])) for key in Layout.__slots__ if key != "kept"}
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"layout: expected the columns of a model, got {shown(given)}") from error
        return Layout(kept=kept, **names)


class Encoder:
    """Puts the columns of events where a layout wants them; one for each state, as it is asked for every event."""

    def __init__(self, layout: Layout) -> None:
        places = {name: r for r, name in enumerate(layout.relations)}
        self.present = [places[name] for name in layout.present]
        self.tracked = [places[name] for name in layout.tracked]
        self._numerics = _positions(layout.schema_numerics, layout.numerics)
        self._categoricals = _positions(layout.schema_categoricals, layout.categoricals)
        self._codes = [{value: float(i) for i, value in enumerate(values)} for values in layout.kept]

    def of_event(self, event: Event) -> tuple[int, NDArray[np.float32], NDArray[np.float32]]:
        """Return how many relations have no value, the numerics and the categories of one event."""
        keys, values = event.keys, event.categories
        missing = sum([keys[r] is None for r in self.present])
        numerics = np.asarray(event.numerics, np.float32)[self._numerics]
        categories = [
            math.nan if values[j] is None else codes.get(values[j], len(codes))
            for j, codes in zip(self._categoricals, self._codes, strict=True)
        ]
        return missing, numerics, np.array(categories, np.float32)

    def of_events(self, events: Events) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the same for all rows at once."""
        missing = (events.codes[:, self.present] < 0).sum(axis=1, dtype=np.int32)
        numerics = np.ascontiguousarray(events.numerics[:, self._numerics], np.float32)
        categories = np.full((len(events), len(self._codes)), np.nan, np.float32)
        for i, (j, codes) in enumerate(zip(self._categoricals, self._codes, strict=True)):
            values = events.category_values[j]
            table = np.array([codes.get(value, len(codes)) for value in values] + [np.nan], np.float32)
            categories[:, i] = table[events.category_codes[:, j]]  # -1 takes the last
        return missing, numerics, categories


def _positions(names: Sequence[str], wanted: Sequence[str]) -> NDArray[np.int64]:
    places = {name: j for j, name in enumerate(names)}
    return np.array([places[name] for name in wanted], np.int64)


def _most_frequent(events: Events, rows: NDArray[np.int64], j: int) -> tuple[str, ...]:
    """Return the values of a categorical that are told apart, ties in the order of the alphabet."""
    values = events.category_values[j]
    codes = events.category_codes[rows, j]
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = sorted((-int(count), value) for count, value in zip(counts, values, strict=True) if count)
    return tuple(value for _, value in order[:KEPT])
