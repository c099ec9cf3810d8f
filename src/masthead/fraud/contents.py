"""What a space holds as a whole: history loaded into it, a simulation's own graph; and what is taken away again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masthead.base.errors import Conflict, NotFound, shown
from masthead.base.ids import new_id
from masthead.fraud.live.explanations import Explanations
from masthead.fraud.store import results
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import Space

if TYPE_CHECKING:
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.store.loading import Loaded, Loading

__all__ = ["Contents"]

Json = dict[str, Any]


class Contents(Explanations):
    """Verbs that fill and empty spaces; `FraudService` adds those of single transactions."""

    _erased: Callable[[], None]

    # ------------------------------------------------------------------ loading

    def load(
        self,
        paths: Sequence[Path],
        *,
        schema: "Schema | None" = None,
        labels: Path | None = None,
        space: str = LIVE,
        told: Callable[[int, int], None] = lambda done, total: None,
    ) -> Json:
        """Store the transactions of files as history, idempotent on their ids; return counts and the first problems.

        Args:
            schema: Of the files; None: that of the space.
            labels: A file of labels; None: those in the files.
            told: Is given rows done and rows in all, after each commit.

        Raises:
            InvalidInput: The files cannot be read. NotFound: No schema is given and the space has none.
            Conflict: The space has another schema.
        """
        done: Loaded | None = None
        for done, share, _ in self.loading(paths, schema=schema, labels=labels, space=space):
            if share is not None:
                told(done.done, done.total)
        assert done is not None
        return done.to_json()

    def loading(
        self,
        paths: Sequence[Path],
        *,
        schema: "Schema | None" = None,
        labels: Path | None = None,
        space: str = LIVE,
        problems: Path | None = None,
    ) -> "Loading":
        """Yield (what is done, share of it, what goes on) while files are stored, as `load` does it.

        Args:
            problems: A file that is made for all problems, if there are any.
        """
        from masthead.fraud.store.loading import loading

        known = self.schema_to_load(paths, schema, space)
        self._spaces.make(space, "live", known)
        now_us = int(self._clock.time() * 1e6)
        for found in loading(self.store, space, known, paths, labels, now_us=now_us, problems=problems):
            yield found
        self._journal.write("fraud", space, "loaded", rows=found[0].loaded, refused=found[0].refused)

    def schema_to_load(self, paths: Sequence[Path], schema: "Schema | None", space: str = LIVE) -> "Schema":
        """Return the schema of files: the given one, else that of the space, else that of an exported folder.

        Raises:
            NotFound: There is none. Conflict: The space has another one.
        """
        from masthead.fraud.data.neptune import exported_schema

        if schema is None:
            schema = exported_schema(paths) if self._spaces.find(space) is None else None
        found = schema or self.schema(space)
        self._spaces.check(space, found)
        return found

    # ------------------------------------------------------------------ taking away

    def erase(self, relation: str, value: str, *, space: str = LIVE) -> Json:
        """Erase every transaction of an entity, say of one customer; return how many transactions and entities went.

        Raises:
            NotFound: There is no such relation or entity.
        """
        known = [one.name for one in self.schema(space).relations]
        if relation not in known:
            raise NotFound(f"entity: expected a relation of {', '.join(known)}, got {shown(relation)}")
        found = results.erase_entity(self.store, space, relation, value)
        self._forget_snapshots()
        self.desk.forget(space, relation, value)
        self._erased()
        self._journal.write("fraud", space, "erased", relation=relation, **found)  # not whose
        return found

    def create_simulation(self) -> Space:
        """Make a space for simulated transactions, scored by the live models on a graph of their own; return it.

        Raises:
            NotFound: No model is deployed for real transactions.
        """
        name = new_id("sim")
        self._spaces.make(name, "simulation", self.schema(LIVE))
        self.refresh()
        return self._spaces.get(name)

    def delete_simulation(self, name: str) -> int:
        """Delete a simulation with all of its transactions; return how many.

        Raises:
            NotFound: There is none of that name; real transactions are no simulation.
        """
        found = self._spaces.find(name)
        if found is None or found.kind != "simulation":
            raise NotFound(f"simulation: there is none named {shown(name)}")
        return self._delete_space(name)

    def delete_space(self, name: str) -> int:
        """Delete a space that nothing scores any more, with all of its transactions; return how many.

        Raises:
            NotFound: There is none of that name.
            Conflict: It is the one of real transactions, a simulation, or a deployment scores its transactions.
        """
        found = self._spaces.get(name)
        if name == LIVE or found.kind == "simulation":
            what = "holds the real transactions" if name == LIVE else "is a simulation, deleted as one"
            raise Conflict(f"space: {name} {what}: expected another one")
        used = [one.name for one in self.deployments() if one.source.get("space") == name]
        if used:
            raise Conflict(f"space: {name} is scored by {', '.join(used)}; undeploy that first")
        count = self._delete_space(name)
        self._journal.write("fraud", name, "space deleted", transactions=count)
        return count

    def _delete_space(self, name: str) -> int:
        with self.store.group() as group:
            count = results.empty_space(group, name)
        self._forget_snapshots()
        self.desk.forget(name)  # which tells others, too
        self._explainer().forget(name)
        if self._ledger is not None:
            self.refresh()
        return count

    def _forget_snapshots(self) -> None:
        """Remove what a start would begin with: something was taken away, which must not live on there."""
        for path in self._snapshots.glob("*.npz"):
            path.unlink(missing_ok=True)
