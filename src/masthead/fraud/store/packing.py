"""A transaction as it is stored: keys as numbers of entities, numbers as float32, categories as JSON; and back."""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.differences import differences
from masthead.fraud.data.events import Event
from masthead.fraud.data.schema import Schema
from masthead.fraud.store.records import NewTransaction
from masthead.fraud.store.results import Stored

__all__ = ["amount_of", "body_of", "check_event", "differing", "ents_of", "event_of", "feat_of", "record_of"]

_FLOATS = np.dtype("<f4")
Spelled = Callable[[Sequence[int]], Mapping[int, str]]
CONTENT = ("ts", "amount", "ents", "feat", "body")  # of a row: what the same transaction has the same
MOST_TEXT = 1_024  # characters of an id or a key: longer ones are no keys, and an index holds them


def check_event(schema: Schema, event: Event) -> Event:
    """Return an event that both engines can store.

    Raises:
        InvalidInput: The id or a key is too long, or has a NUL character, which PostgreSQL cannot hold.
    """
    names = (schema.id, *(relation.name for relation in schema.relations))
    for name, text in zip(names, (event.id, *event.keys), strict=True):
        if text is not None and (len(text) > MOST_TEXT or "\0" in text):
            raise InvalidInput(
                f"{name}: expected a text of at most {MOST_TEXT:,} characters without NUL, got {shown(text)}",
                field=name,
            )
    return event


def amount_of(event: Event) -> float | None:
    """Return the amount as it is stored: None = missing."""
    return None if math.isnan(event.amount) else event.amount


def ents_of(numbers: Sequence[int]) -> bytes:
    """Return the numbers of a transaction's entities as they are stored."""
    return array("i", numbers).tobytes()


def feat_of(event: Event) -> bytes:
    """Return the numerics as they are stored."""
    return np.asarray(event.numerics, _FLOATS).tobytes()


def body_of(event: Event) -> bytes:
    """Return what else is stored."""
    return orjson.dumps(event.categories)


def event_of(found: Stored | NewTransaction, keys: Sequence[str | None] | None = None) -> Event:
    """Return the event that was stored. `keys`: Of its entities, where the row has but their numbers."""
    numerics: NDArray[np.float64] = np.frombuffer(found.feat, _FLOATS).astype(np.float64)
    amount = math.nan if found.amount is None else found.amount
    known = found.keys if isinstance(found, Stored) else tuple(keys or ())
    return Event(found.id, found.ts, amount, known, numerics, tuple(orjson.loads(found.body)))


def differing(schema: Schema, stored: NewTransaction, given: Event, spelled: Spelled) -> str:
    """Return both contents of the fields in which two transactions of one id differ, named as in the data; "" = in none.

    Args:
        spelled: Returns the keys of the entities of these numbers.
    """
    numbers = np.frombuffer(stored.ents, np.int32).tolist()
    keys = spelled([one for one in numbers if one])
    was = event_of(stored, [keys[one] if one else None for one in numbers])
    kept = np.asarray(given.numerics, _FLOATS).astype(np.float64)  # as it would be stored
    return differences(schema, was, replace(given, numerics=kept))


def record_of(schema: Schema, event: Event) -> dict[str, Any]:
    """Return a transaction as people read it: what is missing is left out, entities under their relations' names."""
    named: Mapping[str, Any] = {
        **{relation.name: key for relation, key in zip(schema.relations, event.keys, strict=True)},
        **dict(zip(schema.categoricals, event.categories, strict=True)),
        **{
            name: None if math.isnan(value) else float(f"{value:.7g}")
            for name, value in zip(schema.numerics, event.numerics.tolist(), strict=True)
        },
    }
    return {
        "id": event.id,
        "time": utc(event.ts / 1e6).isoformat(),
        "amount": amount_of(event),
        **{name: value for name, value in named.items() if value is not None},
    }
