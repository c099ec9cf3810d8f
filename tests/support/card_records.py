"""Generated transactions as a caller sends them: flat objects in the schema's own columns."""

from typing import Any

import small_fraud

from masthead.fraud.data.columns import Event


def flat(place: int, **changes: Any) -> dict[str, Any]:
    """Return a generated transaction as a caller sends it."""
    return record(small_fraud.events().event(place)) | changes


def record(event: Event) -> dict[str, Any]:
    schema = small_fraud.model().schema
    assert schema.time.origin is not None
    found: dict[str, Any] = dict(zip(schema.numerics, event.numerics.tolist(), strict=True))
    found |= {
        relation.columns[0]: key for relation, key in zip(schema.relations, event.keys, strict=True)
    } | dict(zip(schema.categoricals, event.categories, strict=True))
    found |= {schema.id: event.id, schema.amount: event.amount}
    found[schema.time.column] = event.ts / 1e6 - schema.time.origin.timestamp()
    return {name: None if value != value else value for name, value in found.items()}
