"""A transaction that arrives as a message."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.columns import Event, composite_key, day_minus, narrow
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.values import key_text, number_of, parse_time

__all__ = ["parse_record"]


def parse_record(schema: Schema, record: Mapping[str, Any]) -> Event:
    """Return the transaction of a message: a flat object, or `transaction_data` and `identity_data` of one row each.

    Unknown fields are ignored, missing ones are missing.

    Raises:
        InvalidInput: No id, no time, a number that is none, or several transactions at once.
    """
    flat = _flat(schema, record)
    values = _Values(schema, flat)
    identity = key_text(values.get(schema.id))
    if identity is None:
        raise InvalidInput(f"{schema.id}: expected the transaction's id, got {shown(flat.get(schema.id))}")
    given = values.get(schema.time.column)
    if key_text(given) is None:
        raise InvalidInput(f"{schema.time.column}: expected the transaction's time, got {shown(given)}")
    ts = parse_time(schema, given)
    numerics = np.array([values.number(name, ts) for name in schema.numerics], np.float64)
    return Event(
        id=identity,
        ts=ts,
        amount=math.nan if schema.amount is None else values.number(schema.amount, ts),
        keys=tuple(
            composite_key([values.text(name, ts) for name in relation.columns])
            for relation in schema.relations
        ),
        numerics=narrow(numerics).astype(np.float64),
        categories=tuple(values.text(name, ts) for name in schema.categoricals),
    )


@dataclass(frozen=True, slots=True)
class _Values:
    """The fields of one message by the names of the schema."""

    schema: Schema
    record: Mapping[str, Any]

    def get(self, name: str) -> Any:
        if name in self.record:
            value = self.record[name]
        else:
            value = self.record.get(name.replace("_", "-"))
        if isinstance(value, (dict, list)):
            raise InvalidInput(f"{name}: expected a text, a number or nothing, got {shown(value)}")
        return value

    def text(self, name: str, ts: int) -> str | None:
        derived = self.schema.derive.get(name)
        if derived is None:
            return key_text(self.get(name), self.schema.missing)
        if derived.op == "day_minus":
            return key_text(self.number(name, ts))
        text = key_text(self.get(derived.column), self.schema.missing)
        return None if text is None else text.lower()

    def number(self, name: str, ts: int) -> float:
        derived = self.schema.derive.get(name)
        column = name if derived is None else derived.column
        try:
            number = number_of(self.get(column), self.schema.missing)
        except InvalidInput as error:
            raise InvalidInput(
                f"{column}: expected a number or nothing, got {shown(self.get(column))}"
            ) from error
        given = self.get(column)
        if math.isnan(number) and _is_infinite(given) and str(given).strip() not in self.schema.missing:
            raise InvalidInput(f"{column}: expected a finite number or nothing, got {shown(given)}")
        return day_minus(ts, number) if derived is not None and derived.op == "day_minus" else number


def _is_infinite(value: Any) -> bool:
    """Return whether a value is a number without end, or one beyond what any column holds; in a file it is missing."""
    try:
        return math.isinf(float(value))
    except OverflowError:
        return True
    except (TypeError, ValueError):
        return False


def _rows(record: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    rows = record.get(part) or []
    rows = [rows] if isinstance(rows, Mapping) else rows
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise InvalidInput(f"{part}: expected a list of one object, got {shown(rows)}")
    return rows


def _flat(schema: Schema, record: Any) -> Mapping[str, Any]:
    if not isinstance(record, Mapping):
        raise InvalidInput(f"transaction: expected an object, got {shown(record)}")
    if "transaction_data" not in record:
        return record
    flat: dict[str, Any] = {}
    parts = {part: _rows(record, part) for part in ("identity_data", "transaction_data")}
    if len(parts["transaction_data"]) != 1 or len(parts["identity_data"]) > 1:
        counts = " and ".join(
            f"{len(parts[part])} in {part}" for part in ("transaction_data", "identity_data")
        )
        raise InvalidInput(
            f"transaction_data: expected one transaction and at most one row in identity_data, got {counts}; several "
            "transactions are sent as an array, each with its own two parts",
            field="transaction_data",
        )
    for rows in parts.values():
        for row in rows:
            if flat and key_text(row.get(schema.id)) != key_text(flat.get(schema.id, row.get(schema.id))):
                raise InvalidInput(
                    f"identity_data: expected the {schema.id} of the transaction, got {shown(flat[schema.id])}"
                )
            flat.update(row)
    return flat
