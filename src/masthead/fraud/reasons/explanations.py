"""The verbs that look back, over what `explaining.py` finds; and the reasons that go with a decision."""

from typing import TYPE_CHECKING, Any

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, NotFound
from masthead.base.log import get_logger
from masthead.base.pages import check_limit
from masthead.fraud.live.deployments import Deployments
from masthead.fraud.live.terms import Terms
from masthead.fraud.store.records import LIVE

if TYPE_CHECKING:
    from masthead.fraud.reasons.explaining import Explainer

__all__ = ["Explanations", "check_window"]

Json = dict[str, Any]


def check_window(start: int, end: int) -> None:
    """Refuse a window, UTC microseconds, that ends before it starts.

    Raises:
        InvalidInput: It does; both times are named.
    """
    if end < start:
        first, last = (utc(moment / 1e6).isoformat() for moment in (start, end))
        raise InvalidInput(f"end: expected a time from the start on, {first}, got {last}", field="end")


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

    def rings(self, *, space: str = LIVE, limit: int = 100) -> list[Json]:
        """Return the rings of the 30 days before the latest transaction, the largest first.

        Raises:
            NotFound: There is no such space. InvalidInput: The limit cannot be used.
        """
        check_limit(limit)
        return self._explainer().rings(space, limit)

    def outcomes(self, *, space: str = LIVE, start: int = 0, end: int = 2**62) -> Json:
        """Return how decisions on transactions of [start, end) turned out: counts, precision and recall of `all`, and of
        the `released` sample that nobody looked into, as far as it is mature.

        Raises:
            NotFound: There is no such space. InvalidInput: The window ends before it starts.
        """
        check_window(start, end)
        from masthead.fraud.desk import feed_results
        from masthead.fraud.desk.outcomes import told_outcomes
        from masthead.fraud.live.book import present
        from masthead.fraud.store import results

        schema = self.schema(space)
        shares = {one.name: Terms.of(one.source).release_share for one in self.deployments()}
        with self._database.read() as connection:
            now = int(self._clock.time() * 1e6)
            now = present(now, results.newest(connection, space, now=now) or 0)
            found = feed_results.decided(connection, space, start=start, end=end, until=now)
            return told_outcomes(found, mature_before=now - schema.maturity_us, shares=shares)

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
