"""The verbs that look back: why a transaction was decided so, what is around it, and the rings of the last 30 days.

Beside the path of decisions: they read, over connections of their own, what was committed.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from masthead.base.clock import DAY_US, Clock, SystemClock, utc
from masthead.base.errors import MastheadError, NotFound
from masthead.fraud.data.schema import Schema
from masthead.fraud.reasons.evidence import Evidence
from masthead.fraud.reasons.explain import Scene
from masthead.fraud.reasons.rings import WINDOW_US, Ring, Rings
from masthead.fraud.scoring.words import entity_text
from masthead.fraud.store import results
from masthead.fraud.store.link_records import LinkRows, Moment, Recent
from masthead.fraud.store.log import Head, TransactionLog
from masthead.fraud.store.records import LAST_SEQ

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["Explainer"]

_MEMBERS, _LINKS = 200, 20  # of a ring, that are named
_REMEMBERED = 5_000  # decisions whose reasons are at hand, about 1.5 kB each
Json = dict[str, Any]


class Explainer:
    """Explains what a store holds. May be asked from any thread.

    Args:
        model: Returns a model by its id, or raises NotFound.
        schema: Returns the schema of a space, or raises NotFound.
    """

    def __init__(
        self,
        store: TransactionLog,
        model: "Callable[[str], FraudModel]",
        schema: Callable[[str], Schema],
        clock: Clock | None = None,
    ) -> None:
        self._store, self._model, self._schema = store, model, schema
        self._clock = clock or SystemClock()
        self._lock, self._joining = threading.Lock(), threading.Lock()
        self._evidence: dict[str, Evidence] = {}
        self._epoch, self._given = -1, OrderedDict[tuple[str, str], list[Json]]()
        self._rings: dict[str, tuple[Head, int, Rings]] = {}

    def explanation(self, id: str, space: str) -> Json:
        """Return the reasons of a decision and paths to the frauds that were confirmed then.

        Raises:
            NotFound: There is no such transaction, or space.
        """
        with self._scene(id, space) as scene:
            decided = scene.decided
            return {
                "id": decided.id,
                "as_of": utc(decided.ts / 1e6).isoformat(),
                "model": decided.model or None,
                "pred_prob": decided.score if decided.model else None,
                **self._why(scene),
                "paths": scene.paths(),
            }

    def paths(self, id: str, space: str, *, as_of: int | None = None, max_hops: int = 4) -> list[Json]:
        """Return the cheapest paths from a transaction to frauds among those that were accepted before it.

        Args:
            as_of: Up to when they happened and were confirmed, UTC microseconds; None: as of its decision.
            max_hops: 2, over one entity, or 4, over two.

        Raises:
            NotFound: There is no such transaction, or space.
        """
        with self._scene(id, space) as scene:
            if as_of is not None:
                scene.moment = Moment(as_of, scene.decided.seq, LAST_SEQ)
            return scene.paths(max_hops=max_hops)

    def reasons(self, id: str, space: str) -> list[Json]:
        """Return the reasons of a decision; none where there is no decision, or its model is gone.

        They never change, so the last ones are remembered: lists of flagged transactions are looked at again and again.
        """
        with self._store.database.read() as connection:
            epoch = self._store.head_of(connection).epoch
        with self._lock:
            if epoch != self._epoch:  # what was taken away is not remembered either
                self._epoch, self._given = epoch, OrderedDict()
            known = self._given.get((space, id))
        if known is not None:
            return known
        with self._scene(id, space) as scene:
            found: list[Json] = self._why(scene)["reasons"]
        with self._lock:
            if found and epoch == self._epoch:
                self._given[space, id] = found
                while len(self._given) > _REMEMBERED:
                    self._given.popitem(last=False)
        return found

    def graph(self, id: str, space: str) -> Json:
        """Return the graph around a transaction as of its decision: nodes and edges to be drawn.

        Raises:
            NotFound: There is no such transaction, or space.
        """
        with self._scene(id, space) as scene:
            return scene.graph()

    def _why(self, scene: Scene) -> Json:
        """Return the reasons of a decision, or a note that says why there are none."""
        decided, note = scene.decided, "it was loaded as history, without a decision"
        if decided.model:
            try:
                return {**scene.reasons(self._model(decided.model)), "note": None}
            except NotFound:  # the paths can be told all the same
                note = f"the model {decided.model} was deleted: nobody can tell its reasons any more"
            except MastheadError as error:
                note = f"the model {decided.model} cannot be read: {error.message}"
        return {"raw": None, "base": None, "reasons": [], "note": note}

    @contextmanager
    def _scene(self, id: str, space: str) -> Iterator[Scene]:
        schema = self._schema(space)
        with self._store.database.read() as connection:
            rows = LinkRows(connection)
            decided = rows.decided(space, id)
            with self._lock:
                evidence = self._evidence.get(space)
                if evidence is None:
                    hubs = [relation.hub for relation in schema.relations]
                    evidence = self._evidence[space] = Evidence(space, hubs)
            evidence.follow(rows, self._store.head_of(connection))
            yield Scene(space, schema, rows, evidence, decided)

    def forget(self, space: str) -> None:
        """Let go of what is remembered of a space."""
        with self._lock, self._joining:
            self._evidence.pop(space, None)
            self._rings.pop(space, None)

    # ------------------------------------------------------------------ rings

    def rings(self, space: str, limit: int) -> list[Json]:
        """Return the rings of the 30 days up to the latest transaction, the largest first.

        Raises:
            NotFound: There is no such space.
        """
        schema = self._schema(space)
        with self._joining, self._store.database.read() as connection:
            rows = LinkRows(connection)
            now = int(self._clock.time() * 1e6)
            newest = results.newest(connection, space, now=now) or 0
            index = self._following(rows, space, schema, self._store.head_of(connection), newest)
            found = index.found()[:limit]
            return [self._told(rows, schema, one) for one in found]

    def _following(self, rows: LinkRows, space: str, schema: Schema, head: Head, newest: int) -> Rings:
        """Return the rings as of now: what is new is joined to what was known, within a day; then all is done anew."""

        def recent(first: int) -> list[Recent]:
            return [one for one in rows.recent(space, day, first) if one.told or one.ts <= newest]

        known, since, index = self._rings.get(space, (Head(0, -1), 0, None))
        day = (newest - WINDOW_US) // DAY_US * DAY_US
        if index is not None and (known.epoch, since) == (head.epoch, day) and known.last < head.last:
            index.take(recent(known.last + 1))
        if index is None or (known.epoch, since) != (head.epoch, day) or index.stale:
            index = Rings(schema)
            index.take(recent(0))
        self._rings[space] = (head, day, index)
        return index

    def _told(self, rows: LinkRows, schema: Schema, ring: Ring) -> Json:
        members = rows.transactions(ring.members[:_MEMBERS])
        relation = {
            eid: schema.relations[place].name for one in members for place, eid in enumerate(one.ents)
        }
        eids = [eid for eid in ring.entities if eid in relation][:_LINKS]
        names = rows.names(eids)
        return {
            "ring": members[0].id,
            "size": len(ring.members),
            "amount": round(ring.amount, 2),
            "confirmed": ring.confirmed,
            "flagged": ring.flagged,
            "first_seen": utc(ring.first / 1e6).isoformat(),
            "last_seen": utc(ring.last / 1e6).isoformat(),
            "entities": [
                {
                    "relation": relation[eid],
                    "value": names[eid],
                    "text": entity_text(relation[eid], names[eid]),
                }
                for eid in eids
            ],
            "transactions": [one.id for one in members],
        }
