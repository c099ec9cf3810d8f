"""What people decide by hand: entities to block or to let pass, thresholds of a deployment, verdicts on transactions.

A list wins over the model: whoever is on one is told so in the decision, so that it can be made again from the log.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from masthead.base.clock import Clock
from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.base.log import Journal
from masthead.fraud.store import desk_records
from masthead.fraud.store.desk_records import Cut, Listed
from masthead.fraud.store.packing import MOST_TEXT
from masthead.store.engine import Database

__all__ = ["KINDS", "Desk"]

KINDS = ("block", "allow")
Json = dict[str, Any]


class Desk:
    """Verbs may be called from any thread; `judge` is called with each decision and reads no table."""

    def __init__(self, database: Database, clock: Clock, journal: Journal) -> None:
        self._database, self._clock, self._journal = database, clock, journal
        self._lists: Mapping[tuple[str, str, str], Listed] = {}
        self._cuts: Mapping[str, Cut] = {}

    def refresh(self) -> None:
        """Follow what was written, also by another process."""
        with self._database.read() as connection:
            listed, cuts = desk_records.listed(connection), desk_records.cuts(connection)
        self._lists = {(one.space, one.relation, one.value): one for one in listed}
        self._cuts = {one.alias: one for one in cuts}

    def judge(
        self, space: str, alias: str, relations: Sequence[str], keys: Sequence[str | None], told: Json
    ) -> Json:
        """Return a decision as thresholds set by hand and the lists have it; block wins over allow."""
        cut = self._cuts.get(alias)
        if cut is not None and cut.model == told["model"]:
            action = _action(told["pred_prob"], cut)
            told = {**told, "threshold": cut.review, "action": action, "flag": action != "pass"}
            told["block_threshold"] = cut.block  # else nobody could tell later what made a block of a review
        if not self._lists:
            return told
        found = [
            one
            for name, key in zip(relations, keys, strict=True)
            if key is not None and (one := self._lists.get((space, name, key))) is not None
        ]
        if not found:
            return told
        one = min(found, key=lambda entry: KINDS.index(entry.kind))
        blocked = one.kind == "block"
        listed = {"list": one.kind, "relation": one.relation, "value": one.value}
        return {**told, "flag": blocked, "action": "block" if blocked else "pass", "listed": listed}

    # ------------------------------------------------------------------ lists

    def listed(self, space: str) -> list[Listed]:
        """Return the entries of a space, by relation and value."""
        with self._database.read() as connection:
            return [one for one in desk_records.listed(connection) if one.space == space]

    def put_listed(
        self, kind: str, relation: str, value: str, *, known: Sequence[str], note: str = "", space: str
    ) -> Listed:
        """Put an entity on a list, in the place of an earlier entry, and return it.

        Args:
            known: The relations that there are.

        Raises:
            InvalidInput: The kind or the relation is none, or the value cannot be one.
        """
        if kind not in KINDS:
            raise InvalidInput(f"list: expected block or allow, got {shown(kind)}", field="list")
        if relation not in known:
            raise InvalidInput(
                f"relation: expected one of {', '.join(known)}, got {shown(relation)}", field="relation"
            )
        if not value or len(value) > MOST_TEXT or "\0" in value:
            raise InvalidInput(f"value: expected an entity's value, got {shown(value)}", field="value")
        one = Listed(space, relation, value, kind, note[:500], self._clock.now())
        with self._database.write() as connection:
            desk_records.put_listed(connection, one)
        self.refresh()
        self._journal.write("fraud", space, f"{kind} list: added", relation=relation)  # not whom
        return one

    def remove_listed(self, relation: str, value: str, *, space: str) -> None:
        """Take an entity off the list that it is on.

        Raises:
            NotFound: It is on none.
        """
        with self._database.write() as connection:
            if not desk_records.remove_listed(connection, space, relation, value):
                raise NotFound(f"entity: {relation} {shown(value)} is on no list")
        self.refresh()
        self._journal.write("fraud", space, "list: removed", relation=relation)

    def forget(self, space: str, relation: str = "", value: str = "") -> None:
        """Take away what is kept here of transactions that are gone, and of an entity that was erased."""
        with self._database.write() as connection:
            if relation:
                desk_records.remove_listed(connection, space, relation, value)
            desk_records.forget(connection, space)
        self.refresh()

    # ------------------------------------------------------------------ thresholds and verdicts

    def cut(self, alias: str, model: str) -> Cut | None:
        """Return the thresholds set for a deployment, None = the model's own count."""
        found = self._cuts.get(alias)
        return found if found is not None and found.model == model else None

    def put_cut(self, alias: str, model: str, review: float, block: float) -> Cut:
        """Set the thresholds of a deployment, from the next decision on, and return them.

        Raises:
            InvalidInput: They are no probabilities, or block lies below review.
        """
        for name, value in (("review", review), ("block", block)):
            if not 0 <= value <= 1:
                raise InvalidInput(f"{name}: expected 0 to 1, got {value:g}", field=name)
        if block < review:
            raise InvalidInput(f"block: expected at least review ({review:g}), got {block:g}", field="block")
        one = Cut(alias, model, float(review), float(block))
        with self._database.write() as connection:
            desk_records.put_cut(connection, one, self._clock.now())
        self.refresh()
        self._journal.write("fraud", alias, "thresholds set", review=review, block=block)
        return one

    def remove_cut(self, alias: str) -> None:
        """Let the model's own thresholds count again."""
        with self._database.write() as connection:
            desk_records.remove_cut(connection, alias)
        self.refresh()

    def verdict(self, space: str, id: str) -> str:
        """Return what an analyst said last of a transaction, "" = nothing."""
        with self._database.read() as connection:
            return desk_records.verdict(connection, space, id)

    def put_verdict(self, space: str, id: str, said: str) -> None:
        """Note what an analyst says."""
        with self._database.write() as connection:
            desk_records.put_verdict(connection, space, id, said, self._clock.now())


def _action(probability: float, cut: Cut) -> str:
    if probability >= cut.block:
        return "block"
    return "review" if probability >= cut.review else "pass"
