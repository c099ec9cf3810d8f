"""In what two messages of one id differ, said in the words of the data."""

from collections.abc import Iterator

from masthead.base.errors import shown
from masthead.fraud.data.columns import Event
from masthead.fraud.data.moments import told
from masthead.fraud.data.schema import Schema

__all__ = ["differences"]

Value = str | float | None
_SHOWN = 5


def differences(schema: Schema, first: Event, now: Event) -> str:
    """Return the columns that differ with both values, at most five of them; "" where none does."""
    found: dict[str, str] = {}
    for name, one, other in _fields(schema, first, now):
        if one != other and not (one != one and other != other):  # missing numbers are equal to each other
            found.setdefault(name, f"{name} was {_shown(one)}, is {_shown(other)} now")
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(list(found.values())[:_SHOWN]) + more


def _fields(schema: Schema, first: Event, now: Event) -> Iterator[tuple[str, Value, Value]]:
    """Yield (columns, value then, value now) of all that a message says."""
    if first.ts != now.ts:
        yield schema.time.column, told(first.ts), told(now.ts)
    if schema.amount is not None:
        yield schema.amount, first.amount, now.amount
    for relation, key, later in zip(schema.relations, first.keys, now.keys, strict=True):
        yield " and ".join(_column(schema, name) for name in relation.columns), key, later
    for name, one, other in zip(schema.numerics, first.numerics.tolist(), now.numerics.tolist(), strict=True):
        yield _column(schema, name), one, other
    for name, value, then in zip(schema.categoricals, first.categories, now.categories, strict=True):
        yield _column(schema, name), value, then


def _column(schema: Schema, name: str) -> str:
    return schema.derive[name].column if name in schema.derive else name


def _shown(value: Value) -> str:
    if value is None or value != value:
        return "missing"
    return value if isinstance(value, str) and len(value) <= 40 else shown(value, 40)
