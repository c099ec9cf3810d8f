"""Removes a delivery stream's oldest objects, by age and by size, as its owner asked; never any that it did not put."""

from collections.abc import Iterator
from datetime import timedelta

from masthead.base.clock import utc
from masthead.base.log import Journal
from masthead.store.objects import Objects
from masthead.streams.records import LedgerRow, Records

_AT_ONCE = 200  # objects per round, so that readings wait for a moment only


def remove_old(
    stream: str,
    *,
    records: Records,
    objects: Objects,
    journal: Journal,
    now: float,
    keep_days: float,
    keep_gib: float,
) -> int:
    """Remove objects made more than `keep_days` ago and the oldest beyond `keep_gib`; return how many. 0 keeps all."""
    removed = 0
    if keep_days > 0:
        before = utc(now) - timedelta(days=keep_days)
        found = records.oldest_objects(stream, before=before, limit=_AT_ONCE)
        removed += _remove(found, records, objects)
    if keep_gib > 0:
        excess = records.stored_bytes(stream) - int(keep_gib * 1024**3)
        found = list(_beyond(records.oldest_objects(stream, before=None, limit=_AT_ONCE), excess))
        removed += _remove(found, records, objects)
    if removed:
        journal.write("stream", stream, "old objects removed", objects=removed)
    return removed


def _beyond(rows: list[LedgerRow], excess: int) -> Iterator[LedgerRow]:
    for row in rows:
        if excess <= 0:
            return
        excess -= row.size
        yield row


def _remove(rows: list[LedgerRow], records: Records, objects: Objects) -> int:
    for row in rows:
        objects.delete(row.uri)
    if rows:
        records.forget([row.uri for row in rows])
    return len(rows)
