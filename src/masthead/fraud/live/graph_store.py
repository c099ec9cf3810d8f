"""The store as a Python program has it, without a server: a file or a database, and models at work on it."""

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from masthead.base.clock import FOREVER_US, SystemClock
from masthead.base.errors import InvalidInput, MastheadError, NotFound, shown
from masthead.fraud.data.columns import Event
from masthead.fraud.data.values import read_source, read_value
from masthead.fraud.live.durable import DurableStream
from masthead.fraud.live.ledger import Ledger, Mark, Marking
from masthead.fraud.live.spaces import Spaces
from masthead.fraud.live.writer import Writer
from masthead.fraud.reasons.explaining import Explainer
from masthead.fraud.reasons.subgraph import subgraph
from masthead.fraud.scoring.stream import Decision
from masthead.fraud.store import results
from masthead.fraud.store.link_records import LinkRows
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import Neighbour
from masthead.store.engine import Database
from masthead.store.migrate import migrate

if TYPE_CHECKING:
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["GraphStore"]

_LATEST = 253_402_300_799_000_000  # the last second that a date can tell


class GraphStore(TransactionLog):
    """Transactions, their entities, labels and decisions in one database; a context manager.

    >>> with GraphStore.open("fraud.db") as store, model.stream(store) as stream:  # doctest: +SKIP
    ...     decision = stream.score(record)
    """

    _owns_database = False
    _explaining: "Explainer | None" = None

    def __init__(self, database: Database, *, sync: Literal["full", "normal"] = "full") -> None:
        super().__init__(database, sync=sync)
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self._at_work: dict[str, DurableStream] = {}  # by model
        self._ledger = Ledger(self, self._clock)  # has no states: those at work follow what is written
        self._writer = Writer(self._ledger.work)

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

    def schema(self) -> "Schema":
        """Return the schema of the transactions.

        Raises:
            NotFound: There are none yet.
        """
        return Spaces(self.database, self, self._clock).schema(LIVE)

    def append(
        self, records: Sequence[Mapping[str, Any] | Event], model: "FraudModel"
    ) -> list[Decision | MastheadError]:
        """Store transactions and return a model's decisions on them, in order, durable on return, in one commit.

        A transaction that is there already gets its first decision; what is wrong with one is its value. For one
        transaction after another `stream` is the same with less to write. The model goes on following the store until
        that is closed.

        Raises:
            InvalidInput: A record cannot be read. Conflict: The stored transactions have another schema.
        """
        with self._lock:
            if model.id not in self._at_work:
                self._at_work[model.id] = self.stream(model)
            stream = self._at_work[model.id]
        return stream.score_many(records)

    def set_label(self, id: str, value: object, source: str = "import", *, at: int | None = None) -> bool:
        """Keep what was said of a transaction, durably; return whether it is there. One that comes later will find it.

        Args:
            value: fraud or legit, 1 or 0, true or false.
            source: chargeback, analyst or import.
            at: When it became known, UTC microseconds; None: now, on the transactions' own clock.

        Raises:
            InvalidInput: The value or the source is none.
        """
        (known,) = self._writer.submit(
            Marking(LIVE, [Mark(str(id), read_value(value), read_source(source), at)])
        )
        return bool(known)

    def subgraph(
        self,
        seeds: Sequence[str],
        *,
        as_of: int | None = None,
        hops: int = 2,
        fan: Sequence[int] = (50, 20),
    ) -> dict[str, Any]:
        """Return the graph around transactions: `as_of`, `nodes` (`kind` transaction or entity) and `edges` between them.

        Args:
            seeds: Ids of transactions.
            as_of: UTC microseconds, inclusive: nothing that happened, and no label that arrived, later; None: all.
            hops: From a transaction to its entities is one, on to their transactions the next; 1 to 6.
            fan: Per hop how many are followed of each node, transactions the newest first; the last two hold for
                further hops.

        Raises:
            NotFound: There is no transaction of an id. InvalidInput: The hops or a fan are none.
        """
        schema = self.schema()
        if len(fan) < 2:
            raise InvalidInput(f"fan: expected two numbers or more, got {shown(list(fan))}", field="fan")
        wide = [*fan, *(fan[-2 + (place - len(fan)) % 2] for place in range(len(fan), hops))][: max(hops, 0)]
        with self.database.read() as connection:
            until = _LATEST if as_of is None else as_of
            return subgraph(LinkRows(connection), LIVE, schema, seeds, until, wide)

    def paths(self, id: str, *, as_of: int | None = None, max_hops: int = 4) -> list[dict[str, Any]]:
        """Return the cheapest paths from a transaction to frauds among those accepted before it, five at most.

        Each has `cost`, `hops`, `fraud`, when it `happened` and was `confirmed`, `steps`, and `text`.

        Args:
            as_of: Up to when frauds had happened and were confirmed, UTC microseconds; None: as of its decision.
            max_hops: 2, over one entity, or 4, over two.

        Raises:
            NotFound: There is no transaction of that id. InvalidInput: The hops are none.
        """
        if max_hops not in (2, 4):
            raise InvalidInput(f"max_hops: expected 2 or 4, got {shown(max_hops)}", field="max_hops")
        if self._explaining is None:
            self._explaining = Explainer(self, self._no_model, lambda space: self.schema(), self._clock)
        return self._explaining.paths(id, LIVE, as_of=as_of, max_hops=max_hops)

    @staticmethod
    def _no_model(id: str) -> "FraudModel":
        raise NotFound(f"model: there is none with the id {shown(id)}")  # paths need none

    def export(
        self, folder: Path, format: Literal["neptune-csv", "parquet"] = "neptune-csv"
    ) -> dict[str, Any]:
        """Write all transactions into a folder, and return what was written: counts and files.

        Args:
            format: `neptune-csv`: a property graph as `masthead fraud export` writes it, which `masthead fraud load`
                reads; `parquet`: `transactions.parquet` and `labels.parquet`, keys as they are stored.

        Raises:
            InvalidInput: The format is none. Conflict: There is no transaction. NotFound: There is no schema yet.
        """
        if format not in ("neptune-csv", "parquet"):
            raise InvalidInput(
                f"format: expected neptune-csv or parquet, got {shown(format)}", field="format"
            )
        from masthead.fraud.data import neptune
        from masthead.fraud.store.live_data import read_live, write_live

        schema, folder = self.schema(), Path(folder)
        if format == "parquet":
            folder.mkdir(parents=True, exist_ok=True)
            return write_live(self, LIVE, schema, folder, lambda done, total: None)
        with tempfile.TemporaryDirectory(prefix="masthead-export-") as beside:
            write_live(self, LIVE, schema, Path(beside), lambda done, total: None)
            events, _ = read_live(schema, Path(beside))
        return neptune.export(schema, events, folder).to_json()

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
        while self._at_work:
            self._at_work.popitem()[1].close()
        self._writer.close()
        self._ledger.rest()
        super().close()
        if self._owns_database:
            self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
