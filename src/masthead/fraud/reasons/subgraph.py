"""The graph around some transactions as of a time: what shares entities with them, the newest first, so no hub is read whole."""

from collections.abc import Iterable, Sequence
from typing import Any

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.schema import Schema
from masthead.fraud.store.link_records import Linked, LinkRows, Moment
from masthead.fraud.store.records import LAST_SEQ

__all__ = ["subgraph"]

_MOST_HOPS = 6
Json = dict[str, Any]


def subgraph(
    rows: LinkRows, space: str, schema: Schema, seeds: Iterable[str], as_of: int, fan: Sequence[int]
) -> Json:
    """Return `nodes` and `edges`, seeds first, then as they were reached.

    Args:
        as_of: UTC microseconds, inclusive, of transactions and of the arrival of labels.
        fan: Per hop how many are followed: at odd hops entities of a transaction, in the schema's order, at even ones
            transactions of an entity, the newest first.

    Raises:
        InvalidInput: The hops are too many, or a fan is none. NotFound: There is no such transaction.
    """
    if not 1 <= len(fan) <= _MOST_HOPS:
        raise InvalidInput(f"hops: expected 1 to {_MOST_HOPS}, got {len(fan)}", field="hops")
    if any(one < 1 for one in fan):
        raise InvalidInput(f"fan: expected at least 1 for each hop, got {shown(list(fan))}", field="fan")
    moment = Moment(as_of, LAST_SEQ, LAST_SEQ)
    found = _seeds(rows, space, seeds)
    places: dict[int, int] = {}  # entity -> place of its relation
    border = list(found.values())
    for hop in range(0, len(fan), 2):
        reached: list[int] = []
        for one in border:
            mine = [(eid, place) for place, eid in enumerate(one.ents) if eid][: fan[hop]]
            reached += [eid for eid, _ in mine if eid not in places]
            places |= {eid: place for eid, place in mine if eid not in places}
        if hop + 1 == len(fan):
            break
        rows.look(reached, moment, fan[hop + 1])
        near = [each for eid in dict.fromkeys(reached) for each in rows.linked(eid, moment, fan[hop + 1])]
        border = [one for one in {each.seq: each for each in near}.values() if one.seq not in found]
        found |= {one.seq: one for one in border}
    return _drawn(rows, space, schema, found, places, moment)


def _seeds(rows: LinkRows, space: str, seeds: Iterable[str]) -> dict[int, Linked]:
    wanted = [rows.decided(space, id).seq for id in seeds]
    known = {one.seq: one for one in rows.transactions(wanted)}
    return {seq: known[seq] for seq in wanted}


def _drawn(
    rows: LinkRows,
    space: str,
    schema: Schema,
    found: dict[int, Linked],
    places: dict[int, int],
    moment: Moment,
) -> Json:
    names = rows.names(places)
    said = rows.labels(space, [one.id for one in found.values()], moment)
    words = {1: "fraud", 0: "legit"}
    nodes: list[Json] = [
        {
            "id": f"t{one.seq}",
            "kind": "transaction",
            "transaction": one.id,
            "time": utc(one.ts / 1e6).isoformat(),
            "amount": one.amount,
            "flagged": one.flagged,
            "label": words[said[one.id][0]] if one.id in said else "unknown",
        }
        for one in found.values()
    ]
    nodes += [
        {
            "id": f"e{eid}",
            "kind": "entity",
            "relation": schema.relations[place].name,
            "value": names[eid],
        }
        for eid, place in places.items()
    ]
    edges = [
        {"transaction": f"t{one.seq}", "entity": f"e{eid}"}
        for one in found.values()
        for eid in one.ents
        if eid in places
    ]
    return {"as_of": utc(moment.ts / 1e6).isoformat(), "nodes": nodes, "edges": edges}
