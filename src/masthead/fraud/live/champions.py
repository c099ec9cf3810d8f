"""How well what is deployed still fits: drift, and whether a challenger takes a deployment's place.

Nothing here stands in the way of a decision: all of it is read from what was decided.
"""

from typing import TYPE_CHECKING, Any

from masthead.base.clock import DAY_US, FOREVER_US, utc
from masthead.base.errors import Conflict, InvalidInput, MastheadError, NotFound, shown
from masthead.base.log import get_logger
from masthead.fraud.live.deployments import Deployments
from masthead.fraud.live.terms import Terms
from masthead.fraud.store import live_results, results
from masthead.fraud.store.live_results import Scores, Span
from masthead.fraud.store.records import LIVE
from masthead.learn.records import Endpoint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from masthead.fraud.scoring.drift import Contest
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["DAYS", "ENOUGH", "Champions", "check_window"]

DAYS = 7
"""So long a window before the newest transaction is compared with what the model learned from."""
MATURED_DAYS = 30
ENOUGH = 500
"""Of fewer transactions the index of some column of hundreds exceeds 0.2 by chance (its mean is 10 / n): no alarm."""
_MOST_DAYS = 366
_MOST_SCORES = 100_000  # of a window, the newest: 200 draws of them take some seconds
_MOST_VECTORS = 5_000  # shares of a tenth are true to 0.4 %

Json = dict[str, Any]


def check_window(start: int, end: int) -> None:
    """Refuse a window, UTC microseconds, that ends before it starts.

    Raises:
        InvalidInput: It does; both times are named.
    """
    if end < start:
        first, last = (utc(moment / 1e6).isoformat() for moment in (start, end))
        raise InvalidInput(f"end: expected a time from the start on, {first}, got {last}", field="end")


class Champions(Deployments):
    """What is asked of deployments as a whole; `FraudService` adds the verbs of transactions."""

    def drift(self, name: str, *, days: int = DAYS) -> Json:
        """Return how far the newest transactions have moved from those that taught a deployment's model.

        `score` and `features` are population stability indices against the model card, `moved` names those of 0.2 and more,
        of some columns more than their `limits`, as they are far from their past in every week. `matured` tells how well the model ranks what is old enough to be known.

        Args:
            days: Before the newest transaction.

        Raises:
            NotFound: Nothing is deployed under that name. Conflict: It scores no stored transactions.
            InvalidInput: The days are none.
        """
        from masthead.fraud.scoring.drift import (
            MOVED,
            feature_stability,
            late_share,
            limits,
            unseen_shares,
        )
        from masthead.fraud.scoring.reference import stability

        if not 1 <= days <= _MOST_DAYS:
            raise InvalidInput(f"days: expected 1 to {_MOST_DAYS}, got {days}", field="days")
        found, model, newest = self._asked(name)
        span = Span(str(found.source["space"]), newest + 1 - days * DAY_US, newest + 1)
        said, x = self._seen_by(model, span)
        reference = model.card.get("reference", {})
        score = stability(reference["score"], said.score) if "score" in reference else None
        features = feature_stability(model.columns, x, reference) if len(x) else {}
        counts = {name: model.columns.index(f"{name}.count") for name in model.layout.aggregated}
        limit = limits(reference)
        moved = ["score"] if score is not None and score >= MOVED else []
        return {
            "deployment": name,
            "model": model.id,
            "space": span.space,
            "window": {**_told(span), "transactions": len(said.seq)},
            "alert_from": MOVED,
            "moved": moved + [one for one, index in features.items() if index >= limit[one]],
            "limits": {one: limit[one] for one in features if limit[one] > MOVED},
            "score": score,
            "features": features,
            "unseen_share": unseen_shares(x, counts),
            "late_share": late_share(said.ts),
            "matured": self._matured(model, span.space, newest),
        }

    def promote(self, name: str, *, challenger: str = "", if_better: bool = False) -> Json:
        """Let the challenger of a deployment take its place, which then scores along in the challenger's; return what
        was compared, and whether it was done.

        Args:
            challenger: Its deployment; "" = the newest that challenges this one.
            if_better: Only where its average precision on the newest matured transactions that both have scored is
                higher by more than one standard error, days drawn anew.

        Raises:
            NotFound: Nothing is deployed under a name, or nobody challenges it.
            Conflict: The challenger decides itself, or scores other transactions.
        """
        champion, against = self._pair(name, challenger)
        found = self._contest(champion, against)
        told = {
            "deployment": name,
            "challenger": against.name,
            "models": {"champion": champion.source["model"], "challenger": against.source["model"]},
            **found.to_json(),
            "better": found.won,
        }
        if if_better and not found.won:
            self._journal.write("fraud", name, "challenger stays in shadow", **told)
            return {**told, "promoted": False}
        # The name that decides changes first: should the process end between the two, both score by the better model.
        self._replace(champion, str(against.source["model"]))
        self._replace(against, str(champion.source["model"]))
        if self._ledger is not None:
            self.refresh()
        self._journal.write(
            "fraud", name, "challenger promoted", asked="if better" if if_better else "by hand", **told
        )
        return {**told, "promoted": True}

    def outcomes(self, *, space: str = LIVE, start: int = 0, end: int = FOREVER_US) -> Json:
        """Return how decisions on transactions of [start, end) turned out: counts, precision and recall of `all`, and of
        the `released` sample that nobody looked into, as far as it is mature.

        Raises:
            NotFound: There is no such space. InvalidInput: The window ends before it starts.
        """
        check_window(start, end)
        from masthead.fraud.live.book import present
        from masthead.fraud.live.outcomes import told_outcomes
        from masthead.fraud.store import feed_results

        schema = self.schema(space)
        shares = {one.name: Terms.of(one.source).release_share for one in self.deployments()}
        with self._database.read() as connection:
            now = self._now()
            now = present(now, results.newest(connection, space, now=now) or 0)
            found = feed_results.decided(connection, space, start=start, end=end, until=now)
            return told_outcomes(found, mature_before=now - schema.maturity_us, shares=shares)

    def present(self, space: str) -> int:
        """Return up to when labels of a space have arrived, UTC microseconds: now, or where that was long ago, then."""
        from masthead.fraud.live.book import present

        now = self._now()
        with self._database.read() as connection:
            newest = results.newest(connection, space, now=now)
        return present(now, newest or 0)

    def _now(self) -> int:
        return int(self._clock.time() * 1e6)

    def look_after(self) -> dict[str, Json]:
        """Let every challenger that is better take its place, and return the drift of each deployment that decides.

        Called once a day; what is wrong with one is logged and holds up no other.
        """
        drifts: dict[str, Json] = {}
        for one in self.deployments():
            if one.source.get("graph"):
                continue
            try:
                if one.source.get("challenges"):
                    self.promote(str(one.source["challenges"]), challenger=one.name, if_better=True)
                if not one.source["shadow"]:
                    drifts[one.name] = self.drift(one.name)
            except MastheadError as error:
                get_logger("fraud").warning(
                    "a deployment was not looked after", deployment=one.name, error=error.message
                )
        return drifts

    # ------------------------------------------------------------------ what is compared

    def _asked(self, name: str) -> "tuple[Endpoint, FraudModel, int]":
        """Return a deployment, its model and the time of the newest transaction, 0 = there is none."""
        space = self.space_of(name)
        found = self._endpoints.get(name)
        with self._database.read() as connection:
            newest = results.newest(connection, space, now=self._now())
        return found, self.model(str(found.source["model"])), newest or 0

    def _seen_by(self, model: "FraudModel", span: Span) -> "tuple[Scores, NDArray[np.float32]]":
        """Return what a model said in a window, and (rows, columns) what it saw of at most 5,000 of them."""
        import numpy as np

        from masthead.fraud.store.vectors import unpack_vector

        with self._database.read() as connection:
            said = live_results.scores(connection, span, model.id, limit=_MOST_SCORES)
            some = said.seq[:: max(1, -(-len(said.seq) // _MOST_VECTORS))]
            packed = live_results.vectors(connection, some.tolist(), model.id)
        rows = [unpack_vector(one) for one in packed]
        return said, np.array(rows, np.float32).reshape(len(packed), model.layout.width)

    def _mature_span(self, model: "FraudModel", space: str, newest: int) -> tuple[Span, int]:
        """Return the newest window whose outcomes are known, and up to when labels have arrived."""
        from masthead.fraud.live.book import present

        now = present(self._now(), newest)
        until = now - model.schema.maturity_us
        return Span(space, until - MATURED_DAYS * DAY_US, until), now

    def _matured(self, model: "FraudModel", space: str, newest: int) -> Json:
        from masthead.fraud.scoring.drift import matured_outcome, ranking

        span, now = self._mature_span(model, space, newest)
        with self._database.read() as connection:
            said = live_results.scores(connection, span, model.id, limit=_MOST_SCORES)
            labelled, value = live_results.marks(connection, span, until=now)
        y = matured_outcome(said.seq, labelled, value)
        learned = (model.card.get("validation") or {}).get("average_precision")
        return {**_told(span), **ranking(said.ts, y, said.score), "validation_average_precision": learned}

    def _contest(self, champion: Endpoint, challenger: Endpoint) -> "Contest":
        import numpy as np

        from masthead.fraud.scoring.drift import contest, matured_outcome

        space = str(champion.source["space"])
        models = [self.model(str(one.source["model"])) for one in (champion, challenger)]
        with self._database.read() as connection:
            newest = results.newest(connection, space, now=self._now()) or 0
            span, now = self._mature_span(models[0], space, newest)
            ours, theirs = (
                live_results.scores(connection, span, one.id, limit=_MOST_SCORES) for one in models
            )
            labelled, value = live_results.marks(connection, span, until=now)
        both, place, other = np.intersect1d(ours.seq, theirs.seq, assume_unique=True, return_indices=True)
        y = matured_outcome(both, labelled, value)
        return contest(ours.ts[place], y, ours.score[place], theirs.score[other])

    def _pair(self, name: str, challenger: str) -> tuple[Endpoint, Endpoint]:
        """Return a deployment and who challenges it."""
        space = self.space_of(name)
        champion = self._endpoints.get(name)
        if challenger:
            if self.space_of(challenger) != space:
                raise Conflict(
                    f"challenger: {challenger} scores the transactions of another space than {name}"
                )
            against = self._endpoints.get(challenger)
        else:
            known = [one for one in self.deployments() if one.source.get("challenges") == name]
            if not known:
                raise NotFound(
                    f"challenger: nobody challenges {shown(name)}; masthead fraud deploy OTHER --model DIR --challenge "
                    f"{name} does, or name one that scores along"
                )
            against = max(known, key=lambda one: one.updated)
        if champion.source["shadow"] or not against.source["shadow"]:
            who = name if champion.source["shadow"] else against.name
            does = "scores along and decides nothing" if champion.source["shadow"] else "decides already"
            raise Conflict(f"challenger: expected one in shadow against one that decides; {who} {does}")
        return champion, against

    def _replace(self, deployed: Endpoint, model: str) -> None:
        self._endpoints.create(deployed.name, deployed.kind, {**deployed.source, "model": model})


def _told(span: Span) -> Json:
    if span.end <= 1:  # there is no transaction from which a window could be counted
        return {"from": None, "until": None}
    return {"from": utc(span.start / 1e6).isoformat(), "until": utc(span.end / 1e6).isoformat()}
