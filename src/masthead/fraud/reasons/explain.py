"""What a decision rested on, as of the decision: reasons, paths to frauds known then, the graph around a transaction.

A path goes from a transaction over an entity to another one, at most twice, and ends at a fraud that was confirmed and
whose label had arrived. An entity costs the logarithm of its transactions, so that a rare one is strong evidence;
hubs of the schema are none at all, nor is what costs more than an entity of 500 transactions. Nothing that was accepted after
the decision is looked at: asked a month later the answer is the same.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.clock import utc
from masthead.fraud.data.columns import Event
from masthead.fraud.data.schema import Schema
from masthead.fraud.reasons.evidence import Evidence, Fraud
from masthead.fraud.scoring.reasons import (
    MOST,
    REMEMBERED,
    count_distinct,
    find_reasons,
)
from masthead.fraud.scoring.words import entity_text
from masthead.fraud.store.link_records import Around, Decided, Linked, LinkRows, Moment
from masthead.fraud.store.vectors import unpack_vector

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["DEGREE_MAX", "Scene"]

DEGREE_MAX = 500
_LOOKED_AT = 200  # transactions on the way to paths of four hops
_BEHIND = 25  # entities behind them whose transactions are counted
_ENTITIES, _EACH, _FRAUDS_FIRST = 12, 5, 2
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Via:
    """An entity on a path: its number, the place of its relation, and how many transactions it had."""

    eid: int
    relation: int
    degree: int

    @property
    def cost(self) -> float:
        return math.log(self.degree)


@dataclass(frozen=True, slots=True)
class _Path:
    """A way to a fraud: entities, and the numbers of the transactions between them."""

    cost: float
    fraud: Fraud
    confirmed: int
    vias: tuple[_Via, ...]
    between: tuple[int, ...] = ()

    @property
    def order(self) -> tuple[float, int, int]:
        return (self.cost, -self.fraud.ts, self.fraud.seq)


class _Best:
    """The cheapest paths to different frauds."""

    def __init__(self) -> None:
        self._paths: dict[int, _Path] = {}

    def take(self, path: _Path) -> None:
        """Keep a path if it is among the cheapest."""
        known = self._paths.get(path.fraud.seq)
        if known is None or path.order < known.order:
            self._paths[path.fraud.seq] = path
            if len(self._paths) > MOST:
                del self._paths[max(self._paths.values(), key=lambda one: one.order).fraud.seq]

    def paths(self) -> list[_Path]:
        """Return them, the cheapest first."""
        return sorted(self._paths.values(), key=lambda one: one.order)

    def most(self, via: _Via) -> int:
        """Return how many transactions an entity behind this one may have, for its path to be kept."""
        if len(self._paths) < MOST:
            return DEGREE_MAX // via.degree
        worst = max(path.cost for path in self._paths.values())
        return min(DEGREE_MAX // via.degree, math.floor(math.exp(worst - via.cost) + 1e-9))


@dataclass(slots=True)
class Scene:
    """One transaction as its decision saw it."""

    space: str
    schema: Schema
    rows: LinkRows
    evidence: Evidence
    decided: Decided
    _names: dict[int, str] = field(default_factory=dict)
    _links: list[_Via] | None = None
    moment: Moment = field(init=False)

    def __post_init__(self) -> None:
        self.moment = self.decided.moment  # until when is looked

    # ------------------------------------------------------------------ reasons

    def reasons(self, model: "FraudModel") -> Json:
        """Return `raw`, `base` and the reasons; nothing without a decision."""
        if not self.decided.vector:
            return {"raw": None, "base": None, "reasons": []}
        x = self.vector()
        (parts,) = model.contributions(x)
        found = find_reasons(self.schema, model.layout, self.event(), x, parts, self)
        return {
            "raw": math.fsum(parts.tolist()),
            "base": float(parts[-1]),
            "reasons": [one.to_json() for one in found],
        }

    def vector(self) -> NDArray[np.float32]:
        """Return what the model saw, (columns,) float32."""
        return unpack_vector(self.decided.vector)

    def event(self) -> Event:
        """Return the transaction as it came."""
        self._name(self.decided.ents)
        amount = math.nan if self.decided.amount is None else self.decided.amount
        return Event(
            self.decided.id,
            self.decided.ts,
            amount,
            tuple(self._names.get(eid) if eid else None for eid in self.decided.ents),
            np.frombuffer(self.decided.feat, "<f4").astype(np.float64),
            tuple(orjson.loads(self.decided.body)),
        )

    def distinct(self, relation: str, other: str) -> tuple[int, bool, str]:
        """Return how many values of a counterparty an entity has had with this one, if there may be more, and when."""
        eid, place = self._entity(relation), self._place(other)
        past = self.rows.around(eid, self.moment, REMEMBERED - 1)  # with this one what they will hold
        met = list(zip(past.ts.tolist(), past.ents[:, place].tolist(), strict=True)) if len(past.seq) else []
        return count_distinct(self.decided.ts, self.decided.ents[place], met)

    def confirmed(self, relation: str) -> Sequence[int]:
        """Return when the frauds of an entity that were known had been confirmed, the latest first."""
        found = self.evidence.of(self._entity(relation), self.moment)
        return sorted((at for _, at in found), reverse=True)

    def _place(self, relation: str) -> int:
        return [one.name for one in self.schema.relations].index(relation)

    def _entity(self, relation: str) -> int:
        return self.decided.ents[self._place(relation)]

    def _name(self, eids: Sequence[int]) -> None:
        self._names |= self.rows.names(eid for eid in eids if eid and eid not in self._names)

    # ------------------------------------------------------------------ paths

    def links(self) -> list[_Via]:
        """Return the entities that are evidence, the rarest first."""
        if self._links is None:
            asked = [(eid, place) for place, eid in enumerate(self.decided.ents) if self._may(eid, place)]
            self.rows.look((eid for eid, _ in asked), self.moment, DEGREE_MAX + 1)
            found = [self._via(eid, place) for eid, place in asked]
            self._links = sorted(
                (via for via in found if via.degree <= DEGREE_MAX), key=lambda via: (via.degree, via.relation)
            )
        return self._links

    def _may(self, eid: int, place: int) -> bool:
        return bool(eid) and not self.schema.relations[place].hub

    def _via(self, eid: int, place: int) -> _Via:
        """Return an entity with its transactions, this one included."""
        return _Via(eid, place, self.rows.degree(eid, self.moment, DEGREE_MAX) + 1)

    def paths(self, *, max_hops: int = 4) -> list[Json]:
        """Return the cheapest paths to different frauds, at most `MOST`, of 2 hops, or of up to 4."""
        best = _Best()
        for path in self._near():
            best.take(path)
        if max_hops >= 4:
            self._far(best)
        found = best.paths()
        self._name([via.eid for path in found for via in path.vias])
        between = self.rows.transactions(seq for path in found for seq in path.between)
        by_seq = {one.seq: one for one in between}
        return [self._told(path, [by_seq[seq] for seq in path.between if seq in by_seq]) for path in found]

    def _near(self) -> Iterator[_Path]:
        for via in self.links():
            for fraud, at in self.evidence.of(via.eid, self.moment):
                yield _Path(via.cost, fraud, at, (via,))

    def _far(self, best: "_Best") -> None:
        """Look for paths over a second transaction."""
        for via, group in groupby(islice(self._behind(best), _BEHIND), lambda one: one[0]):
            together = list(group)
            self.rows.look((eid for _, eid, _, _ in together), self.moment, best.most(via) + 1)
            for _, eid, seq, place in together:
                most = best.most(via)
                if most < 2:
                    return
                second = _Via(eid, place, self.rows.degree(eid, self.moment, most))
                if second.degree <= most:
                    for fraud, at in self.evidence.of(eid, self.moment):
                        if fraud.seq != seq:
                            best.take(_Path(via.cost + second.cost, fraud, at, (via, second), (seq,)))

    def _behind(self, best: "_Best") -> Iterator[tuple[_Via, int, int, int]]:
        """Yield (entity, a further entity with a known fraud, the transaction between them, the further one's relation).

        Rare entities come first, 200 transactions in all; of each the newest.
        """
        asked = {via.eid for via in self.links()}
        left = _LOOKED_AT
        for via in self.links():
            if best.most(via) < 2 or left <= 0:
                return
            seen = self.rows.around(via.eid, self.moment, left)
            left -= len(seen.seq)
            for seq, eid, place in self._suspicious(seen):
                if eid not in asked:
                    asked.add(eid)
                    # Of frauds that were not known then an entity may not even take a place among those looked at.
                    if next(self.evidence.of(eid, self.moment), None) is not None:
                        yield via, eid, seq, place

    def _suspicious(self, seen: Around) -> Iterator[tuple[int, int, int]]:
        """Yield transaction, entity and relation where an entity ever had a fraud, the newest transaction first."""
        rows, places = np.nonzero(self.evidence.among(seen.ents))
        eids = seen.ents[rows, places]
        order = np.lexsort((eids, rows))
        return zip(*(column[order].tolist() for column in (seen.seq[rows], eids, places)), strict=True)

    def _told(self, path: _Path, between: Sequence[Linked]) -> Json:
        entities = [
            {
                "relation": self.schema.relations[via.relation].name,
                "value": self._names[via.eid],
                "degree": via.degree,
            }
            for via in path.vias
        ]
        passed = [{"transaction": one.id, "time": _iso(one.ts)} for one in between]
        steps: list[Json] = [{"transaction": self.decided.id, "time": _iso(self.decided.ts)}]
        for place, entity in enumerate(entities):
            steps.append(entity)
            steps += passed[place : place + 1]
        steps.append({"transaction": path.fraud.id, "time": _iso(path.fraud.ts)})
        return {
            "cost": path.cost,
            "hops": 2 * len(path.vias),
            "fraud": path.fraud.id,
            "happened": _iso(path.fraud.ts),
            "confirmed": _iso(path.confirmed),
            "steps": steps,
            "text": self._sentence(path, between),
        }

    def _sentence(self, path: _Path, between: Sequence[Linked]) -> str:
        words = []
        for place, via in enumerate(path.vias):
            name = entity_text(self.schema.relations[via.relation].name, self._names[via.eid])
            words.append(f"{name} ({via.degree} transactions)")
            words += [f"transaction {one.id} of {_day(one.ts)}" for one in between[place : place + 1]]
        end = f"transaction {path.fraud.id} of {_day(path.fraud.ts)}, confirmed as fraud on {_day(path.confirmed)}"
        return " - ".join([*words, end])

    # ------------------------------------------------------------------ the graph around it

    def graph(self) -> Json:
        """Return `nodes` and `edges`: at most 12 entities, of each at most 5 other transactions.

        Known frauds come first, two at most; then the newest.
        """
        entities = self.links()[:_ENTITIES]
        shown: dict[int, Linked] = {}
        for via in entities:
            frauds = islice(self.evidence.of(via.eid, self.moment), _FRAUDS_FIRST)
            found = {one.seq: one for one in self.rows.transactions(fraud.seq for fraud, _ in frauds)}
            for one in self.rows.linked(via.eid, self.moment, _EACH):
                if len(found) < _EACH:
                    found[one.seq] = one
            shown |= found
        self._name([via.eid for via in entities])
        known = self.rows.labels(self.space, [one.id for one in shown.values()], self.moment)
        mine = self.decided
        nodes = [self._node(mine.seq, mine.id, mine.ts, mine.amount, "unknown", centre=True)]
        nodes += [
            self._node(one.seq, one.id, one.ts, one.amount, self._label(one, known), flagged=one.flagged)
            for one in shown.values()
        ]
        nodes += [
            {
                "id": f"e{via.eid}",
                "kind": "entity",
                "relation": self.schema.relations[via.relation].name,
                "value": self._names[via.eid],
                "text": entity_text(self.schema.relations[via.relation].name, self._names[via.eid]),
                "degree": via.degree,
            }
            for via in entities
        ]
        ends = [(mine.seq, mine.ents), *((one.seq, one.ents) for one in shown.values())]
        edges = [
            {"transaction": f"t{seq}", "entity": f"e{via.eid}"}
            for seq, ents in ends
            for via in entities
            if via.eid in ents
        ]
        return {"id": mine.id, "as_of": _iso(mine.ts), "nodes": nodes, "edges": edges}

    def _node(self, seq: int, id: str, ts: int, amount: float | None, label: str, **more: bool) -> Json:
        return {
            "id": f"t{seq}",
            "kind": "transaction",
            "transaction": id,
            "time": _iso(ts),
            "amount": amount,
            "label": label,
            **more,
        }

    def _label(self, one: Linked, known: dict[str, tuple[int, int]]) -> str:
        if one.id in known:
            return "fraud" if known[one.id][0] == 1 else "legit"
        return "presumed-legit" if one.ts + self.schema.maturity_us <= self.moment.ts else "unknown"


def _iso(ts: int) -> str:
    return utc(ts / 1e6).isoformat()


def _day(ts: int) -> str:
    return utc(ts / 1e6).date().isoformat()
