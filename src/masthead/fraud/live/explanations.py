"""The verbs that look back, over what `explaining.py` finds; and the reasons that go with a decision."""

from typing import TYPE_CHECKING, Any

from masthead.base.errors import Conflict, InvalidInput, NotFound, shown
from masthead.base.log import get_logger
from masthead.base.pages import check_limit
from masthead.fraud.live.deployments import Deployments
from masthead.fraud.store.records import LIVE

if TYPE_CHECKING:
    from masthead.fraud.reasons.explaining import Explainer

__all__ = ["Explanations"]

Json = dict[str, Any]


class Explanations(Deployments):
    """What is said of transactions that were decided; `FraudService` adds the verbs that decide."""

    _explaining: "Explainer | None" = None

    def explanation(self, id: str, *, space: str = LIVE) -> Json:
        """Return why a transaction was decided so, as of its decision: reasons, and paths to frauds known then.

        Raises:
            NotFound: There is none of that id.
        """
        return self._explainer().explanation(id, space)

    def graph(self, id: str, *, space: str = LIVE) -> Json:
        """Return the graph around a transaction as of its decision: at most 12 entities of 5 transactions each.

        Raises:
            NotFound: There is none of that id.
        """
        return self._explainer().graph(id, space)

    def reproduction(self, id: str, *, space: str = LIVE, alias: str = "") -> Json:
        """Return a decision as it is stored and as it is made again from what was kept of it, and whether they are equal.

        Args:
            alias: Which deployment's, also of one in shadow; "" = of the one that decided.

        Raises:
            NotFound: There is none of that id, or that deployment did not score it.
            Conflict: It was loaded as history, without a decision, or the model was deleted or is damaged.
        """
        from masthead.fraud.live.reproducing import reproduced
        from masthead.fraud.store import live_results, results

        relations = [relation.name for relation in self.schema(space).relations]
        with self._database.read() as connection:
            stored = results.get_transaction(connection, space, id)
            kept = live_results.kept(connection, space, id, alias)
        if kept is None:
            if alias:
                raise NotFound(f"deployment: {shown(alias)} has not scored the transaction {shown(id)}")
            raise Conflict(f"id: {shown(id)} was loaded as history, without a decision", field="id")
        try:
            model = self.model(kept.model)
        except NotFound as error:
            raise Conflict(
                f"model: {kept.model}, which decided on {shown(id)}, was deleted: its decision cannot be made again"
            ) from error
        except InvalidInput as error:
            raise Conflict(f"model: {kept.model} cannot be read: {error.message}") from error
        return reproduced(kept, model, dict(zip(relations, stored.keys, strict=True)))

    def rings(self, *, space: str = LIVE, limit: int = 100) -> list[Json]:
        """Return the rings of the 30 days before the latest transaction, the largest first.

        Raises:
            NotFound: There is no such space. InvalidInput: The limit cannot be used.
        """
        check_limit(limit)
        return self._explainer().rings(space, limit)

    def _reasoned(self, decision: Json, space: str, *, explain: bool = False) -> Json:
        """Return a decision with its reasons, where it is flagged or somebody asked."""
        if decision["flag"] or explain:
            try:
                return {**decision, "reasons": self._explainer().reasons(decision["id"], space)}
            except NotFound:  # erased meanwhile
                pass
            except Exception as error:  # what is durable is answered all the same
                get_logger("fraud").error("no reasons were found", error=repr(error), exc_info=error)
        return decision

    def _with_reasons(self, items: list[Json], space: str) -> list[Json]:
        """Return stored transactions in whose decisions, where flagged, the reasons stand that were given."""
        return [
            one if not one["decision"] else {**one, "decision": self._reasoned(one["decision"], space)}
            for one in items
        ]

    def _explainer(self) -> "Explainer":
        """Return what explains, made with its first use."""
        with self._lock:
            if self._explaining is None:
                from masthead.fraud.reasons.explaining import Explainer

                self._explaining = Explainer(self.store, self.model, self.schema, self._clock)
            return self._explaining
