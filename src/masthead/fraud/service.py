"""The verbs of transactions: deploy a model, score, look, explain, label, load, erase.

A deployment is an endpoint of the kind `fraud`: a name, a model, the space whose transactions it scores. The newest one
that is not in shadow decides; those in shadow score along. The states behind them are built when a deployment is
first seen, also one that another process made, and served from then on without a pause.
"""

import functools
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import orjson

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, MastheadError, NotFound, shown
from masthead.base.folder import DataFolder
from masthead.base.ids import check_name, new_id
from masthead.base.log import Journal, get_logger
from masthead.base.pages import Page, check_limit, decode_token, encode_token
from masthead.fraud import results
from masthead.fraud.counting import FLAGGED, LABELS, LATENCY, TRANSACTIONS
from masthead.fraud.desk import Desk
from masthead.fraud.records import LIVE, GraphStore
from masthead.fraud.results import Space, Stored
from masthead.learn.endpoints import Endpoints, check_endpoint_name
from masthead.learn.records import Endpoint
from masthead.store.engine import Database

if TYPE_CHECKING:
    from masthead.flows.run import Run
    from masthead.flows.service import Flow, Flows
    from masthead.fraud.events import Event
    from masthead.fraud.explaining import Explainer
    from masthead.fraud.ledger import Book, Lane, Ledger, Mark
    from masthead.fraud.model import FraudModel
    from masthead.fraud.schema import Schema
    from masthead.fraud.writer import Writer

__all__ = ["KIND", "LOAD", "SOURCES", "FraudService"]

KIND, LOAD = "fraud", "fraud-load"
SOURCES = ("chargeback", "analyst", "import")
MOST_AT_ONCE = 10_000
_TOGETHER = 64  # of a batch, in one commit: others must not wait for a whole one
_FOREVER = 2**62

Json = dict[str, Any]
Scored = Json | MastheadError


class FraudService:
    """Transactions, the models that score them, and what was said of them. Verbs may be called from any thread.

    Args:
        database: Holds all of it.
        folder: Its `models` hold what was deployed.
        endpoints: Where a deployment gets its name.
        sync: As in `GraphStore`.
        jobs: Runs loads that are started and looked after; None: they cannot be.
    """

    def __init__(
        self,
        database: Database,
        folder: DataFolder,
        clock: Clock,
        journal: Journal,
        endpoints: Endpoints,
        *,
        sync: Literal["full", "normal"] = "full",
        jobs: "Flows | None" = None,
    ) -> None:
        self._database, self._folder, self._clock, self._journal = database, folder, clock, journal
        self._endpoints, self._jobs = endpoints, jobs
        self.store = GraphStore(database, sync=sync)
        self.desk = Desk(database, clock, journal)
        self._lock = threading.RLock()
        self._seen: tuple[Any, ...] = ()
        self._version: int | None = None
        self._followed = False
        self._ledger: Ledger | None = None
        self._writer: Writer | None = None
        self._models: dict[str, FraudModel] = {}
        self._explaining: Explainer | None = None
        if jobs is not None:
            jobs.register(LOAD, self._run_load)

    # ------------------------------------------------------------------ deployments

    def deploy(self, name: str, model: Path, *, space: str = LIVE, shadow: bool = False) -> Endpoint:
        """Let a model score the transactions of a space under a name, from now on; return the endpoint.

        The model is copied, so that every decision can be made again from what was kept.

        Raises:
            InvalidInput: A name cannot be used, or the folder is damaged.
            NotFound: The folder holds no model.
            Conflict: The space's transactions have another schema than the model, or the endpoint serves another kind.
        """
        from masthead.fraud.model import FraudModel

        check_endpoint_name(name)
        check_name(space, "space")
        loaded = FraudModel.load(model)
        id = check_name(loaded.id, "model")
        self._check_space(space, loaded.schema)
        target = self._folder.models / id
        if not target.exists():
            self._folder.models.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = self._folder.models / new_id("part")
            shutil.copytree(model, beside)
            beside.rename(target)
        self._make_space(space, "live", loaded.schema)
        found = self._endpoints.create(
            name, KIND, {"name": name, "model": id, "space": space, "shadow": shadow}
        )
        if self._ledger is not None:
            self.refresh()
        return found

    def _check_space(self, space: str, schema: "Schema") -> None:
        known = {one.name: one for one in self.spaces()}.get(space)
        if known is not None and known.digest != schema.digest():
            raise Conflict(
                f"model: expected one of the schema that the transactions of the space {space} have "
                f"({known.digest}), got one of {schema.name} ({schema.digest()}); name another space"
            )

    def _make_space(self, name: str, kind: str, schema: "Schema") -> None:
        if any(one.name == name for one in self.spaces()):
            return
        with self.store.group() as group:
            results.put_space(group, Space(name, kind, schema.to_toml(), schema.digest(), self._clock.now()))
        self._tell_others()

    def _tell_others(self) -> None:
        """Let every process that watches the database look again."""
        with self._database.write():
            pass

    def deployments(self) -> list[Endpoint]:
        """Return every deployment by name, with what was counted of its calls."""
        return [one for one in self._endpoints.list() if one.kind == KIND]

    def undeploy(self, name: str) -> None:
        """Take a deployment away; its model and what it decided stay.

        Raises:
            NotFound: There is no deployment of that name.
        """
        if self._endpoints.get(name).kind != KIND:
            raise NotFound(f"deployment: there is none named {shown(name)}")
        self._endpoints.delete(name)
        if self._ledger is not None:
            self.refresh()

    def models(self) -> list[Json]:
        """Return the models that were deployed once: id, schema, where they are deployed, and their cards' figures."""
        used: dict[str, list[str]] = {}
        for one in self.deployments():
            used.setdefault(str(one.source["model"]), []).append(one.name)
        found = []
        for path in sorted(self._folder.models.glob("*/card.json")):
            card = orjson.loads(path.read_bytes())
            if "schema.toml" in card.get("files", {}):  # other rooms keep models there, too
                told = {name: card[name] for name in ("created", "metrics", "windows") if name in card}
                found.append({"id": path.parent.name, "deployed": used.get(path.parent.name, []), **told})
        return found

    def delete_model(self, id: str) -> None:
        """Remove a model that is not deployed; what it decided stays, but cannot be made again.

        Raises:
            NotFound: There is no such model. Conflict: It is deployed.
        """
        known = {one["id"]: one for one in self.models()}
        if id not in known:
            raise NotFound(f"model: there is none with the id {shown(id)}")
        if known[id]["deployed"]:
            raise Conflict(
                f"model: {id} is deployed as {', '.join(known[id]['deployed'])}; undeploy it first"
            )
        shutil.rmtree(self._folder.models / id)
        self._journal.write("fraud", id, "model deleted")

    def model(self, id: str) -> "FraudModel":
        """Return a deployed model, loaded once.

        Raises:
            NotFound: It is gone. InvalidInput: Its folder is damaged.
        """
        from masthead.fraud.model import FraudModel

        with self._lock:
            if id not in self._models:
                self._models[id] = FraudModel.load(self._folder.models / check_name(id, "model"))
            return self._models[id]

    # ------------------------------------------------------------------ what is served

    def start(self) -> None:
        """Serve what is deployed; from now on `refresh` is called when something changes."""
        self._followed = True
        self.refresh()

    def refresh(self) -> None:
        """Serve what is deployed now, whoever deployed it; returns when the states are warm."""
        with self._lock:
            self._version = self._database.version()
            self.desk.refresh()
            found = list(self.deployments())
            spaces = self.spaces()
            seen = (
                *((one.name, one.revision) for one in found),
                *((one.name, one.created) for one in spaces),
            )
            if seen == self._seen:
                return
            if found or self._ledger is not None:
                self._serve(found, spaces)
            self._seen = seen

    def _serve(self, found: Sequence[Endpoint], spaces: Iterable[Space]) -> None:
        from masthead.fraud.ledger import Swap

        ledger, writer = self._writing()
        books: dict[str, Book] = {}
        for space in spaces:
            served = LIVE if space.kind == "simulation" else space.name
            lanes = self._lanes(one for one in found if one.source.get("space") == served)
            if lanes:
                known = ledger.books.get(space.name)
                same = known is not None and known.lanes == lanes
                books[space.name] = known if known is not None and same else self._book(space.name, lanes)
        writer.submit(Swap(books))

    def _lanes(self, found: Iterable[Endpoint]) -> "tuple[Lane, ...]":
        """Return the lanes of a space, the newest first."""
        from masthead.fraud.ledger import Lane

        newest = sorted(found, key=lambda one: one.updated, reverse=True)
        return tuple(
            Lane(one.name, self.model(one.source["model"]), bool(one.source["shadow"])) for one in newest
        )

    def _book(self, space: str, lanes: "tuple[Lane, ...]") -> "Book":
        from masthead.fraud.ledger import Book

        began = time.monotonic()
        book = Book(space, lanes[0].model.schema, lanes)
        book.rehearse()
        for lane in lanes:  # brings LightGBM, which only reasons need
            lane.model.contributions(np.zeros((1, lane.model.layout.width), np.float32))
        book.rebuild(self.store, self.store.head())
        self._journal.write("fraud", space, "state built", seconds=round(time.monotonic() - began, 3))
        return book

    def _writing(self) -> "tuple[Ledger, Writer]":
        """Return the ledger and its writer, made with their first use: they bring the compiled parts."""
        with self._lock:
            if self._ledger is None or self._writer is None:
                from masthead.fraud.ledger import Ledger
                from masthead.fraud.writer import Writer

                self._ledger = Ledger(self.store, self._clock, self.desk)
                self._writer = Writer(self._ledger.work)
            return self._ledger, self._writer

    def _current(self, space: str) -> "Book":
        """Return the book of a space as it is deployed now.

        Raises:
            Conflict: No model is deployed there.
        """
        if self._ledger is None or (not self._followed and self._database.version() != self._version):
            self.refresh()
        book = None if self._ledger is None else self._ledger.books.get(space)
        if book is None:
            raise Conflict(
                f"model: none is deployed in the space {space}; masthead fraud deploy NAME --model DIR does it"
            )
        return book

    # ------------------------------------------------------------------ scoring

    def score(
        self, record: Mapping[str, Any], *, space: str = LIVE, alias: str = "", explain: bool = False
    ) -> Json:
        """Return the decision on one transaction, once it is durable.

        Args:
            record: Flat, or `transaction_data` and `identity_data` as in the article.
            alias: Which deployment decides; "" = the newest that is not in shadow.
            explain: Give reasons also where it is not flagged.

        Raises:
            InvalidInput: The transaction cannot be used.
            Conflict: Its id is stored with other content (both are shown), or no model is deployed.
            LimitReached: Too many wait, or the disk is full.
        """
        (found,) = self.score_many([record], space=space, alias=alias, explain=explain)
        if isinstance(found, MastheadError):
            raise found
        return found

    def score_many(
        self,
        records: Sequence[Mapping[str, Any]],
        *,
        space: str = LIVE,
        alias: str = "",
        explain: bool = False,
    ) -> list[Scored]:
        """Return the decision on each transaction, in order; what is wrong with one is its value.

        Raises:
            InvalidInput: There are too many. Conflict, LimitReached: As `score`, for all of them.
        """
        began = time.perf_counter()
        from masthead.fraud.events import parse_record
        from masthead.fraud.packing import check_event

        if len(records) > MOST_AT_ONCE:
            raise InvalidInput(f"transactions: expected at most {MOST_AT_ONCE:,}, got {len(records):,}")
        book = self._current(space)
        parsed: list[Event | MastheadError] = []
        for record in records:
            try:
                parsed.append(check_event(parse_record(book.schema, record)))
            except MastheadError as error:
                parsed.append(error)
        return self._scored(book, parsed, alias, began, explain)

    def score_events(self, events: "Sequence[Event]", *, space: str = LIVE, alias: str = "") -> list[Scored]:
        """Return the decision on transactions that were read already, as `score_many`."""
        began = time.perf_counter()
        return self._scored(self._current(space), list(events), alias, began)

    def _scored(
        self,
        book: "Book",
        parsed: "Sequence[Event | MastheadError]",
        alias: str,
        began: float,
        explain: bool = False,
    ) -> list[Scored]:
        from masthead.fraud.ledger import Scoring

        _, writer = self._writing()
        events = [one for one in parsed if not isinstance(one, MastheadError)]
        answers: list[Any] = []
        for start in range(0, len(events), _TOGETHER):
            answers += writer.submit(Scoring(book.space, events[start : start + _TOGETHER], alias))
        seconds = time.perf_counter() - began
        kind = "live" if book.space == LIVE else "simulation"
        following = iter(answers)
        told = [
            one if isinstance(one, MastheadError) else self._told(next(following), book, kind, seconds)
            for one in parsed
        ]
        # Reasons are sought when all is durable and the latency is told: no decision waits for them.
        return [
            one if isinstance(one, MastheadError) else self._reasoned(one, book.space, explain)
            for one in told
        ]

    def _reasoned(self, decision: Json, space: str, explain: bool = False) -> Json:
        """Return a decision with its reasons, where it is flagged or somebody asked."""
        if decision["flag"] or explain:
            try:
                return {**decision, "reasons": self._explainer().reasons(decision["id"], space)}
            except NotFound:  # erased meanwhile
                pass
            except Exception as error:  # what is durable is answered all the same
                get_logger("fraud").error("no reasons were found", error=repr(error), exc_info=error)
        return decision

    def _explainer(self) -> "Explainer":
        """Return what explains, made with its first use."""
        with self._lock:
            if self._explaining is None:
                from masthead.fraud.explaining import Explainer

                self._explaining = Explainer(self.store, self.model, self.schema)
            return self._explaining

    def _told(
        self, answer: "tuple[bytes, bool] | MastheadError", book: "Book", kind: str, seconds: float
    ) -> Scored:
        """Return one answer as JSON values, counted."""
        from masthead.fraud.ledger import Differs

        if isinstance(answer, Differs):
            TRANSACTIONS.labels(kind, "conflict").inc()
            return self._both_shown(book, answer)
        if isinstance(answer, MastheadError):
            return answer
        body, new = answer
        TRANSACTIONS.labels(kind, "scored" if new else "repeated").inc()
        found: Json = orjson.loads(body) if body else {}
        if not body:
            return Conflict("id: the transaction was loaded as history, without a decision", field="id")
        if new and found["flag"]:
            FLAGGED.labels(kind).inc()
        LATENCY.observe(seconds)
        return {**found, "latency_ms": round(seconds * 1e3, 3), "time": round(seconds, 6)}

    def _both_shown(self, book: "Book", error: Any) -> Conflict:
        from masthead.fraud.packing import event_of, record_of

        with self._database.read() as connection:
            stored = results.get_transaction(connection, book.space, error.event.id)
        was = record_of(book.schema, event_of(stored))
        given = record_of(book.schema, error.event)
        names = [name for name in {**was, **given} if was.get(name) != given.get(name)]
        before, now = ({name: one.get(name) for name in names} for one in (was, given))
        return Conflict(
            f"id: transaction {shown(error.event.id)} is stored with {shown(before)}, got {shown(now)}",
            field="id",
        )

    # ------------------------------------------------------------------ looking

    def get(self, id: str, *, space: str = LIVE) -> Json:
        """Return a transaction, its decision and its labels.

        Raises:
            NotFound: There is none of that id.
        """
        schema = self.schema(space)
        with self._database.read() as connection:
            found = _shown(schema, results.get_transaction(connection, space, id))
        if found["decision"] is not None:
            found["decision"] = self._reasoned(found["decision"], space)
        return found

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

    def find(
        self,
        *,
        space: str = LIVE,
        flagged: bool | None = None,
        start: int = 0,
        end: int = _FOREVER,
        limit: int = 100,
        token: str | None = None,
    ) -> Page[Json]:
        """Return transactions of [start, end) in UTC microseconds, newest first.

        Raises:
            InvalidInput: The limit or the token cannot be used.
        """
        check_limit(limit)
        before = None
        if token:
            ts, seq = decode_token("transactions", token)
            before = (int(ts), int(seq))
        schema = self.schema(space)
        with self._database.read() as connection:
            rows = results.find_transactions(
                connection, space, flagged=flagged, start=start, end=end, limit=limit + 1, before=before
            )
        more = rows[limit - 1] if len(rows) > limit else None
        return Page(
            tuple(_shown(schema, one) for one in rows[:limit]),
            None if more is None else encode_token("transactions", [more.ts, more.seq]),
        )

    def stats(self, *, space: str = LIVE, start: int = 0, end: int = _FOREVER) -> Json:
        """Return counts and amounts of [start, end): `totalCount, totalAmount, fraudCount, totalFraudAmount`."""
        with self._database.read() as connection:
            return results.stats(connection, space, start=start, end=end)

    def spaces(self, *, counted: bool = False) -> list[Space]:
        """Return the spaces by name: the live ones and those of simulations."""
        with self._database.read() as connection:
            return results.spaces(connection, counted=counted)

    def schema(self, space: str = LIVE) -> "Schema":
        """Return the schema of a space.

        Raises:
            NotFound: There is no such space.
        """
        for one in self.spaces():
            if one.name == space:
                return _parsed(one.schema, f"the schema of the space {space}")
        raise NotFound(f"space: there is none named {shown(space)}")

    # ------------------------------------------------------------------ labels

    def label(
        self, id: object, value: object, source: str, *, arrived_at: int | None = None, space: str = LIVE
    ) -> Json:
        """Take what was said of a transaction; it counts from now on. Return `{"id", "known"}`.

        Args:
            value: fraud or legit, 1 or 0, true or false.
            source: One of `SOURCES`.
            arrived_at: When it became known, UTC microseconds; None: now, on the transactions' own clock.

        Raises:
            InvalidInput: The value or the source is none.
        """
        (known,) = self.label_many([self._mark(id, value, source, arrived_at)], space=space)
        return {"id": str(id), "known": known}

    def _mark(self, id: object, value: object, source: str, arrived_at: int | None) -> "Mark":
        from masthead.fraud.ledger import Mark
        from masthead.fraud.packing import MOST_TEXT

        if source not in SOURCES:
            raise InvalidInput(f"source: expected one of {', '.join(SOURCES)}, got {shown(source)}")
        text = str(id) if isinstance(id, str | int) and not isinstance(id, bool) else ""
        if not text or len(text) > MOST_TEXT or "\0" in text:
            raise InvalidInput(f"id: expected a transaction's id, got {shown(id)}")
        return Mark(text, read_value(value), source, arrived_at)

    def label_many(self, marks: "Sequence[Mark]", *, space: str = LIVE) -> list[bool]:
        """Take labels; return of each whether its transaction is there. One that is not there yet will find it."""
        from masthead.fraud.ledger import Marking

        _, writer = self._writing()
        found: list[bool] = []
        for start in range(0, len(marks), 1_000):
            found += writer.submit(Marking(space, marks[start : start + 1_000]))
        for one in marks:
            LABELS.labels(one.source).inc()
        return found

    def label_file(self, path: Path, *, source: str = "import", space: str = LIVE) -> Json:
        """Take the labels of a file; return how many, and which rows could not be used.

        Raises:
            InvalidInput: The file lacks a column, or the source is none. NotFound: There is no such space.
        """
        from masthead.fraud.events import read_labels
        from masthead.fraud.replaying import no_events

        found = read_labels(self.schema(space), no_events(), path)
        marks = [
            self._mark(id, value, source, at)
            for id, value, at in zip(found.ids, found.value.tolist(), found.arrived_at.tolist(), strict=True)
        ]
        known = self.label_many(marks, space=space)
        problems = found.problems.to_pylist()
        return {
            "labels": len(marks),
            "waiting": known.count(False),
            "refused": len(problems),
            "problems": problems,
        }

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
        from masthead.fraud.events import read_events, read_labels
        from masthead.fraud.loading import load_events, load_labels

        found = schema or self.schema(space)
        self._check_space(space, found)
        self._make_space(space, "live", found)
        events = read_events(found, paths)
        marks = read_labels(found, events, labels)
        done = load_events(
            self.store,
            space,
            found,
            events,
            now_us=int(self._clock.time() * 1e6),
            told=lambda rows: told(rows, len(events)),
        )
        for row in events.problems.to_pylist():
            done.refuse(int(row.get("row") or 0), "", f"{row.get('column', '')}: {row.get('reason', '')}")
        done.labels = load_labels(self.store, space, marks, source="import")
        self._journal.write("fraud", space, "loaded", rows=done.loaded, refused=done.refused)
        return done.to_json()

    def start_load(
        self, paths: Sequence[str], *, schema: str = "", labels: str = "", space: str = LIVE
    ) -> "Flow":
        """Begin to load in the background; return the job, which goes on after a crash.

        Raises:
            Conflict: This process runs no jobs.
        """
        if self._jobs is None:
            raise Conflict("load: this process runs no jobs")
        args = {"paths": list(paths), "schema": schema, "labels": labels, "space": space}
        return self._jobs.start(LOAD, new_id("load"), args)

    def get_load(self, id: str) -> "Flow":
        """Return a load that was started: its state, progress, and once done its counts and problems.

        Raises:
            NotFound: There is none.
        """
        found = None if self._jobs is None else self._jobs.get(id)
        if found is None or found.name != LOAD:
            raise NotFound(f"id: there is no load {shown(id)}", field="id")
        return found

    def _run_load(self, run: "Run", args: dict[str, Any]) -> Json:
        from masthead.fraud.schema import Schema

        schema = Schema.read(args["schema"]) if args["schema"] else None

        def told(done: int, total: int) -> None:
            run.progress(done, total, "transactions stored")
            run.check()

        def work() -> Json:
            return self.load(
                [Path(one) for one in args["paths"]],
                schema=schema,
                labels=Path(args["labels"]) if args["labels"] else None,
                space=args["space"],
                told=told,
            )

        found: Json = run.step("load", work)
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
        self.desk.forget(space, relation, value)
        self._journal.write("fraud", space, "erased", relation=relation, **found)  # not whose
        return found

    def create_simulation(self) -> Space:
        """Make a space for simulated transactions, scored by the live models on a graph of their own; return it.

        Raises:
            NotFound: No model is deployed for real transactions.
        """
        name = new_id("sim")
        self._make_space(name, "simulation", self.schema(LIVE))
        self.refresh()
        return next(one for one in self.spaces() if one.name == name)

    def delete_simulation(self, name: str) -> int:
        """Delete a simulation with all of its transactions; return how many.

        Raises:
            NotFound: There is none of that name; real transactions are no simulation.
        """
        if not any(one.name == name and one.kind == "simulation" for one in self.spaces()):
            raise NotFound(f"simulation: there is none named {shown(name)}")
        with self.store.group() as group:
            count = results.empty_space(group, name)
        self.desk.forget(name)  # which tells others, too
        self._explainer().forget(name)
        if self._ledger is not None:
            self.refresh()
        return count

    def close(self) -> None:
        """Write what waits and let go of the connection."""
        with self._lock:
            writer, self._writer = self._writer, None
            self._ledger = None
        if writer is not None:
            writer.close()
        self.store.close()


@functools.lru_cache(maxsize=16)
def _parsed(text: str, source: str) -> "Schema":
    from masthead.fraud.schema import Schema

    return Schema.parse(text, source=source)


def read_value(value: object) -> int:
    """Return 1 for fraud and 0 for legitimate.

    Raises:
        InvalidInput: It is neither.

    >>> read_value("fraud"), read_value(0), read_value(True)
    (1, 0, 1)
    """
    text = str(value).strip().lower()
    if text in ("1", "1.0", "true", "fraud"):
        return 1
    if text in ("0", "0.0", "false", "legit", "legitimate"):
        return 0
    raise InvalidInput(f"value: expected fraud or legit, got {shown(value)}")


def _shown(schema: "Schema", found: Stored) -> Json:
    """Return a stored transaction as JSON values."""
    from masthead.base.clock import utc
    from masthead.fraud.packing import event_of, record_of

    words = {1: "fraud", 0: "legit"}
    latest = max(found.labels, key=lambda one: one.arrived_at, default=None)
    return {
        **record_of(schema, event_of(found)),
        "decision": orjson.loads(found.decision) if found.decision else None,
        "label": "unknown" if latest is None else words[latest.value],
        "labels": [
            {
                "value": words[one.value],
                "source": one.source,
                "arrived_at": utc(one.arrived_at / 1e6).isoformat(),
            }
            for one in found.labels
        ],
    }
