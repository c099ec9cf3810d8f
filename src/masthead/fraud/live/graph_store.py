"""The store as a Python program has it, without a server: a file or a database, and models at work on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from masthead.base.clock import FOREVER_US
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.store import results
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import Neighbour
from masthead.store.engine import Database
from masthead.store.migrate import migrate

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["GraphStore"]


class GraphStore(TransactionLog):
    """Transactions, their entities, labels and decisions in one database; a context manager.

    >>> with GraphStore.open("fraud.db") as store, model.stream(store) as stream:  # doctest: +SKIP
    ...     decision = stream.score(record)
    """

    _owns_database = False

    @classmethod
    def open(cls, where: str | Path, *, sync: Literal["full", "normal"] = "full") -> Self:
        """Return the store in a SQLite file, or at the URL of a PostgreSQL database; its tables are made if need be.

        Args:
            sync: As in `TransactionLog`.

        Raises:
            InvalidInput: The URL names another engine. Conflict: A newer version of Masthead wrote it.
        """
        database = Database.open(where if "://" in str(where) else Path(where))
        migrate(database)
        found = cls(database, sync=sync)
        found._owns_database = True
        return found

    def stream(
        self, model: "FraudModel", *, reasons: bool = True, snapshots: Path | None = None
    ) -> DurableStream:
        """Return a model at work on this store; the arguments are those of `DurableStream`."""
        return DurableStream(model, self, reasons=reasons, snapshots=snapshots)

    def recent(
        self, relation: str, key: str, *, before: int | None = None, limit: int = 20
    ) -> list[Neighbour]:
        """Return the newest transactions of an entity, newest first.

        Args:
            before: UTC microseconds, not included; None: all that there are.
        """
        with self.database.read() as connection:
            until = FOREVER_US if before is None else before
            return results.recent(connection, LIVE, (relation, key), before=until, limit=limit)

    def close(self) -> None:
        """Let go of the database; one that was handed over stays open."""
        super().close()
        if self._owns_database:
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
