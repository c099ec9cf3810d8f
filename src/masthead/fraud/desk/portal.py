"""What the console needs beyond the verbs of `FraudService`: the live feed, latencies, simulations that run in the server."""

import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from masthead.base.clock import FOREVER_US, Clock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.folder import DataFolder
from masthead.base.ids import new_id
from masthead.base.log import Journal
from masthead.fraud.live.counting import LATENCY
from masthead.fraud.store import feed_results, results
from masthead.fraud.store.desk_records import Listed
from masthead.fraud.store.feed_results import Fed
from masthead.fraud.store.records import LIVE
from masthead.store.engine import Database

if TYPE_CHECKING:
    from masthead.fraud.desk.simulate import Plan, Simulation
    from masthead.fraud.scoring.model import FraudModel
    from masthead.fraud.service import FraudService

__all__ = ["FraudPortal"]

HISTORY = 10_000  # transactions before the first one, so that the graph is not empty
MOST_SIMULATIONS = 2  # at once: they take the place of real transactions
VERDICTS = ("fraud", "legit", "unsure")
_KEPT = 20
Json = dict[str, Any]


@dataclass(slots=True)
class _Running:
    """A simulation that this process runs or has run."""

    space: str
    plan: "Plan"
    simulation: "Simulation | None" = None
    thread: threading.Thread | None = None
    failure: str = ""
    stopped: bool = False


class FraudPortal:
    """Verbs may be called from any thread.

    Args:
        fraud: Scores, and holds everything.
        folder: Its `fraud` holds what a simulation is made of while it runs.
    """

    def __init__(
        self, database: Database, folder: DataFolder, clock: Clock, journal: Journal, fraud: "FraudService"
    ) -> None:
        self._database, self._folder, self._clock, self._journal = database, folder, clock, journal
        self._fraud = fraud
        self._lock = threading.Lock()
        self._running: dict[str, _Running] = {}

    # ------------------------------------------------------------------ looking

    def feed(self, *, space: str = LIVE, after: int = 0, limit: int = 500) -> list[Fed]:
        """Return the last scored transactions behind a number, in the order in which they were accepted."""
        with self._database.read() as connection:
            return feed_results.feed(connection, space, after=after, limit=limit)

    def newest(self, *, space: str = LIVE) -> int | None:
        """Return the time of the newest transaction, UTC microseconds; None without any. See `results.newest`."""
        with self._database.read() as connection:
            return results.newest(connection, space, now=int(self._clock.time() * 1e6))

    def timeline(self, *, start: int, end: int, width: int, space: str = LIVE) -> list[Json]:
        """Return `start, count, amount, flagged, flagged_amount` of each stretch of time in which something happened."""
        with self._database.read() as connection:
            return feed_results.timeline(connection, space, start=start, end=end, width=width)

    def entity(self, relation: str, value: str, *, space: str = LIVE, limit: int = 100) -> list[Json]:
        """Return the newest transactions of an entity: `id, ts, amount, score`; a score of None is history.

        Raises:
            NotFound: There is no such space or relation.
        """
        known = [one.name for one in self._fraud.schema(space).relations]
        if relation not in known:
            raise NotFound(f"relation: there is none named {shown(relation)}; there are {', '.join(known)}")
        with self._database.read() as connection:
            found = results.recent(connection, space, (relation, value), before=FOREVER_US, limit=limit)
        return [{"id": one.id, "ts": one.ts, "amount": one.amount, "score": one.score} for one in found]

    def latencies(self) -> list[tuple[float, int]]:
        """Return (at most so many seconds, decisions) by class since the server began; the last bound is infinite."""
        found: list[tuple[float, int]] = []
        below = 0
        for sample in next(iter(LATENCY.collect())).samples:
            if sample.name.endswith("_bucket"):
                found.append((float(sample.labels["le"]), int(sample.value) - below))
                below = int(sample.value)
        return found

    # ------------------------------------------------------------------ by hand

    def verdict(self, id: str, *, space: str = LIVE) -> str:
        """Return what an analyst said last of a transaction: fraud, legit or unsure; "" = nothing."""
        return self._fraud.desk.verdict(space, id)

    def give_verdict(self, id: str, verdict: str, *, space: str = LIVE) -> None:
        """Take an analyst's word: fraud and legit are labels and change later scores, unsure is noted and changes none.

        Raises:
            InvalidInput: It is another word. NotFound: There is no such transaction.
        """
        if verdict not in VERDICTS:
            raise InvalidInput(
                f"verdict: expected {', '.join(VERDICTS)}, got {shown(verdict)}", field="verdict"
            )
        self._fraud.get(id, space=space)
        if verdict != "unsure":
            self._fraud.label(id, verdict, "analyst", space=space)
        self._fraud.desk.put_verdict(space, id, verdict)

    def listed(self, *, space: str = LIVE) -> list[Listed]:
        """Return who is on the block and the allow list."""
        return self._fraud.desk.listed(space)

    def put_listed(
        self, kind: str, relation: str, value: str, *, note: str = "", space: str = LIVE
    ) -> Listed:
        """Block an entity's transactions, or let them pass, from the next one on; return the entry.

        Raises:
            InvalidInput: The list or the relation is none. NotFound: There is no such space.
        """
        known = [one.name for one in self._fraud.schema(space).relations]
        return self._fraud.desk.put_listed(kind, relation, value, known=known, note=note, space=space)

    def remove_listed(self, relation: str, value: str, *, space: str = LIVE) -> None:
        """Take an entity off its list.

        Raises:
            NotFound: It is on none.
        """
        self._fraud.desk.remove_listed(relation, value, space=space)

    def thresholds(self, name: str) -> Json:
        """Return `review`, `block`, and whether they were set by hand, of a deployment; and the model's own.

        Raises:
            NotFound: There is none of that name. Conflict: It is a graph network. InvalidInput: Its model is damaged.
        """
        model = self._model_of(name)
        own = {"review": model.thresholds.review, "block": model.thresholds.block}
        cut = self._fraud.desk.cut(name, model.id)
        set_now = own if cut is None else {"review": cut.review, "block": cut.block}
        return {**set_now, "by_hand": cut is not None, "own": own}

    def set_thresholds(self, name: str, *, review: float | None = None, block: float | None = None) -> Json:
        """Set both thresholds of a deployment from the next decision on; none given: the model's own count again.

        Raises:
            NotFound: There is no such deployment. Conflict: It is a graph network.
            InvalidInput: They are no probabilities, or block lies below review; or the model is damaged.
        """
        model = self._model_of(name)
        if review is None and block is None:
            self._fraud.desk.remove_cut(name)
        else:
            now = self.thresholds(name)
            self._fraud.desk.put_cut(
                name,
                model.id,
                now["review"] if review is None else review,
                now["block"] if block is None else block,
            )
        return self.thresholds(name)

    def _model_of(self, name: str) -> "FraudModel":
        for one in self._fraud.deployments():
            if one.name == name:
                if one.source.get("graph"):
                    raise Conflict(
                        f"deployment: {name} is a graph network, which has no thresholds: it answers with a probability "
                        "and decides nothing"
                    )
                return self._fraud.model(str(one.source["model"]))
        raise NotFound(f"deployment: there is none named {shown(name)}")

    def card(self, id: str) -> Json:
        """Return all that is told of a model, also of a graph network.

        Raises:
            NotFound: It is gone. InvalidInput: Its folder is damaged.
        """
        return self._fraud.card(id)

    # ------------------------------------------------------------------ simulations

    def start_simulation(
        self,
        *,
        rate: float = 50.0,
        duration_s: float = 300.0,
        concurrent: int = 8,
        fraud_share: float | None = None,
        seed: int = 1,
        history: int = HISTORY,
    ) -> str:
        """Begin to replay generated transactions into a space of their own; return its name.

        Raises:
            InvalidInput: A number cannot be used.
            NotFound: No model is deployed. Conflict: The deployed one has another schema than generated transactions.
            LimitReached: Two run already.
        """
        from masthead.fraud.data.generate import SCHEMA
        from masthead.fraud.data.schema import Schema
        from masthead.fraud.desk.simulate import Plan

        plan = Plan(rate, duration_s, concurrent, fraud_share, seed, history)
        live, made = self._fraud.schema(LIVE), Schema.parse(SCHEMA, source="generated transactions")
        if live.digest() != made.digest():
            raise Conflict(
                f"simulation: the live model's schema is {shown(live.name)}, and generated transactions have another; "
                "replay your own with masthead fraud simulate --source FILE"
            )
        with self._lock:
            if (
                sum(one.thread is not None and one.thread.is_alive() for one in self._running.values())
                >= MOST_SIMULATIONS
            ):
                raise LimitReached(f"simulation: expected at most {MOST_SIMULATIONS} at once")
            one = _Running(self._fraud.create_simulation().name, plan)
            self._running[one.space] = one
            for name in list(self._running)[:-_KEPT]:
                del self._running[name]
        one.thread = threading.Thread(target=self._run, args=(one,), name="simulation", daemon=True)
        one.thread.start()
        return one.space

    def _run(self, one: _Running) -> None:
        from masthead.fraud.desk.simulate import Simulation, generated

        folder = self._folder.path / "fraud" / new_id("part")
        try:
            material = generated(one.plan, folder)
            history = material.write_history(folder)
            if history is not None:
                self._fraud.load([history[0]], labels=history[1], space=one.space)
            one.simulation = Simulation(material, one.plan)
            if not one.stopped:
                one.simulation.run(_Here(self._fraud, one.space))
        except Exception as error:  # told on the page: nobody waits for this thread
            one.failure = str(error)
            self._journal.write("fraud", one.space, "simulation failed", error=repr(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def simulations(self) -> list[Json]:
        """Return every simulation, newest first: its counts, and precision and recall where this process ran it."""
        spaces = [one for one in self._fraud.spaces(counted=True) if one.kind == "simulation"]
        found = []
        for space in sorted(spaces, key=lambda one: one.created, reverse=True):
            one = self._running.get(space.name)
            told: Mapping[str, Any] = {"state": "kept"}
            if one is not None:
                told = one.simulation.progress() if one.simulation else {"state": "preparing"}
                if one.failure:
                    told = {**told, "state": "failed", "problem": one.failure}
            found.append({**space.to_json(), **told})
        return found

    def stop_simulation(self, name: str) -> None:
        """End a simulation before its time; what it sent stays until it is deleted.

        Raises:
            NotFound: This process runs none of that name.
        """
        one = self._running.get(name)
        if one is None:
            raise NotFound(f"simulation: this server runs none named {shown(name)}")
        one.stopped = True
        if one.simulation is not None:
            one.simulation.stop()

    def delete_simulation(self, name: str) -> int:
        """Stop a simulation and delete it with all of its transactions; return how many.

        Raises:
            NotFound: There is none of that name.
        """
        one = self._running.get(name)
        if one is not None:
            self.stop_simulation(name)
            if one.thread is not None:
                one.thread.join()
        count = self._fraud.delete_simulation(name)
        self._running.pop(name, None)
        return count

    def close(self) -> None:
        """Stop what runs."""
        for name, one in list(self._running.items()):
            self.stop_simulation(name)
            if one.thread is not None:
                one.thread.join(timeout=10)


class _Here:
    """The server's own way in, as a target of a simulation."""

    def __init__(self, fraud: "FraudService", space: str) -> None:
        self._fraud, self._space = fraud, space

    def score(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._fraud.score(record, space=self._space)

    def label(self, id: str, value: int, arrived_at: int) -> None:
        source = "chargeback" if value else "import"
        self._fraud.label(id, value, source, arrived_at=arrived_at, space=self._space)
