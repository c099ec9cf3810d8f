"""The verbs of transactions: score, look, label.

Others stand in `contents.py` here; in `live/` in `deployments.py`, `champions.py` and `explanations.py`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import orjson

from masthead.base.clock import FOREVER_US, Clock, utc
from masthead.base.errors import Conflict, InvalidInput, MastheadError, shown
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.pages import Page, check_limit, decode_token, encode_token
from masthead.fraud.contents import Contents
from masthead.fraud.live.champions import Champions, check_window
from masthead.fraud.live.counting import FLAGGED, LABELS, LATENCY, TRANSACTIONS
from masthead.fraud.store import results
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import Stored
from masthead.learn.endpoints import Endpoints
from masthead.store.engine import Database

if TYPE_CHECKING:
    from masthead.fraud.data.events import Event
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.live.book import Book
    from masthead.fraud.live.ledger import Mark

__all__ = ["FraudService"]

MOST_AT_ONCE = 10_000
_TOGETHER = 64  # of a batch, in one commit: others must not wait for a whole one
_EXPLAINED = 100  # of a page, which then ends: reasons take some milliseconds each

Json = dict[str, Any]
Scored = Json | MastheadError


class FraudService(Contents, Champions):
    """Transactions, the models that score them, and what was said of them. Verbs may be called from any thread.

    Args:
        database: Holds all of it.
        folder: Its `models` hold what was deployed.
        endpoints: Where a deployment gets its name.
        sync: As in `TransactionLog`.
        erased: Called when somebody was erased, so that others let go of their copies.
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
        erased: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(database, folder, clock, journal, endpoints, TransactionLog(database, sync=sync))
        self._erased = erased

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
        from masthead.fraud.data.events import parse_record
        from masthead.fraud.store.packing import check_event

        if len(records) > MOST_AT_ONCE:
            raise InvalidInput(f"transactions: expected at most {MOST_AT_ONCE:,}, got {len(records):,}")
        book = self._current(space, alias)
        parsed: list[Event | MastheadError] = []
        for record in records:
            try:
                parsed.append(check_event(book.schema, parse_record(book.schema, record)))
            except MastheadError as error:
                parsed.append(error)
        return self._scored(book, parsed, alias, began, explain)

    def score_events(self, events: "Sequence[Event]", *, space: str = LIVE, alias: str = "") -> list[Scored]:
        """Return the decision on transactions that were read already, as `score_many`."""
        began = time.perf_counter()
        return self._scored(self._current(space, alias), list(events), alias, began)

    def _scored(
        self,
        book: "Book",
        parsed: "Sequence[Event | MastheadError]",
        alias: str,
        began: float,
        explain: bool = False,
    ) -> list[Scored]:
        from masthead.fraud.live.ledger import Scoring

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
            one if isinstance(one, MastheadError) else self._reasoned(one, book.space, explain=explain)
            for one in told
        ]

    def _told(
        self, answer: "tuple[bytes, bool] | MastheadError", book: "Book", kind: str, seconds: float
    ) -> Scored:
        """Return one answer as JSON values, counted."""
        from masthead.fraud.live.ledger import Differs

        if isinstance(answer, Differs):
            TRANSACTIONS.labels(kind, "conflict").inc()
        if isinstance(answer, MastheadError):
            return answer
        body, new = answer
        TRANSACTIONS.labels(kind, "scored" if new else "repeated").inc()
        found: Json = orjson.loads(body) if body else {}
        if not body:
            name = book.schema.id
            return Conflict(f"{name}: the transaction was loaded as history, without a decision", field=name)
        if new and found["flag"]:
            FLAGGED.labels(kind).inc()
        LATENCY.observe(seconds)
        return {**found, "latency_ms": round(seconds * 1e3, 3), "time": round(seconds, 6)}

    # ------------------------------------------------------------------ looking

    def get(self, id: str, *, space: str = LIVE) -> Json:
        """Return a transaction, its decision and its labels.

        Raises:
            NotFound: There is none of that id.
        """
        schema = self.schema(space)
        with self._database.read() as connection:
            found = _shown(schema, results.get_transaction(connection, space, id))
        return self._with_reasons([found], space)[0]

    def find(
        self,
        *,
        space: str = LIVE,
        flagged: bool | None = None,
        start: int = 0,
        end: int = FOREVER_US,
        limit: int = 100,
        token: str | None = None,
        explain: bool = True,
    ) -> Page[Json]:
        """Return transactions of [start, end) in UTC microseconds, newest first.

        Args:
            explain: Give flagged ones their reasons; a page then ends behind the 100th of them.

        Raises:
            InvalidInput: The limit or the token cannot be used, or the window ends before it starts.
        """
        check_limit(limit)
        check_window(start, end)
        before = None
        if token:
            ts, seq = decode_token("transactions", token)
            before = (int(ts), int(seq))
        schema = self.schema(space)
        with self._database.read() as connection:
            rows = results.find_transactions(
                connection, space, flagged=flagged, start=start, end=end, limit=limit + 1, before=before
            )
        flags = [place for place, one in enumerate(rows, 1) if one.flagged]
        limit = min(limit, flags[_EXPLAINED - 1]) if explain and len(flags) >= _EXPLAINED else limit
        more = rows[limit - 1] if len(rows) > limit else None
        items = [_shown(schema, one) for one in rows[:limit]]
        return Page(
            tuple(self._with_reasons(items, space) if explain else items),
            None if more is None else encode_token("transactions", [more.ts, more.seq]),
        )

    def stats(self, *, space: str = LIVE, start: int = 0, end: int = FOREVER_US) -> Json:
        """Return counts and amounts of [start, end): `totalCount, totalAmount, fraudCount, totalFraudAmount`.

        An amount counts at most as `MOST_AMOUNT`: one that is no money must not be all that a sum says.

        Raises:
            NotFound: There is no such space. InvalidInput: The window ends before it starts.
        """
        check_window(start, end)
        if space != LIVE:  # which may be yet to come
            self._spaces.get(space)
        with self._database.read() as connection:
            return results.stats(connection, space, start=start, end=end)

    # ------------------------------------------------------------------ labels

    def label(
        self, id: object, value: object, source: str, *, arrived_at: int | None = None, space: str = LIVE
    ) -> Json:
        """Take what was said of a transaction; it counts from now on. Return `{"id", "known"}`.

        Args:
            value: fraud or legit, 1 or 0, true or false.
            source: chargeback, analyst or import.
            arrived_at: When it became known, UTC microseconds; None: now, on the transactions' own clock.

        Raises:
            InvalidInput: The value or the source is none, or it became known before its transaction happened.
        """
        mark = self._mark(id, value, source, arrived_at)
        if arrived_at is not None:
            self._check_arrival(mark.id, arrived_at, space)
        (known,) = self.label_many([mark], space=space)
        return {"id": str(id), "known": known}

    def _check_arrival(self, id: str, arrived_at: int, space: str) -> None:
        """Refuse a label of a transaction that is there and happened later."""
        with self._database.read() as connection:
            happened = results.time_of(connection, space, id)
        if happened is not None and arrived_at < happened:
            raise InvalidInput(
                f"arrived_at: expected the transaction's time or later, {utc(happened / 1e6).isoformat()}, got "
                f"{utc(arrived_at / 1e6).isoformat()}",
                field="arrived_at",
            )

    def _mark(self, id: object, value: object, source: str, arrived_at: int | None) -> "Mark":
        from masthead.fraud.data.values import read_source, read_value
        from masthead.fraud.live.ledger import Mark
        from masthead.fraud.store.packing import MOST_TEXT

        read_source(source)
        text = str(id) if isinstance(id, str | int) and not isinstance(id, bool) else ""
        if not text or len(text) > MOST_TEXT or "\0" in text:
            raise InvalidInput(f"id: expected a transaction's id, got {shown(id)}")
        return Mark(text, read_value(value), source, arrived_at)

    def label_many(self, marks: "Sequence[Mark]", *, space: str = LIVE) -> list[bool]:
        """Take labels; return of each whether its transaction is there. One that is not there yet will find it."""
        from masthead.fraud.live.ledger import Marking

        _, writer = self._writing()
        found: list[bool] = []
        for start in range(0, len(marks), 1_000):
            found += writer.submit(Marking(space, marks[start : start + 1_000]))
        for one in marks:
            LABELS.labels(one.source).inc()
        return found

    def label_file(self, path: Path, *, source: str = "import", space: str = LIVE) -> Json:
        """Take the labels of a file, but those that are there; return how many, and which rows could not be used.

        Raises:
            InvalidInput: The file lacks a column, or the source is none. NotFound: There is no such space.
        """
        from masthead.fraud.data.events import read_labels

        found = read_labels(self.schema(space), None, path)
        marks = [
            self._mark(id, value, source, at)
            for id, value, at in zip(found.ids, found.value.tolist(), found.arrived_at.tolist(), strict=True)
        ]
        with self.store.group() as group:
            there = results.known_labels(group, space, source, [one.id for one in marks])
        new = [one for one in marks if (one.id, one.value, one.arrived_at) not in there]
        known = self.label_many(new, space=space)
        problems = found.problems.to_pylist()
        return {
            "labels": len(new),
            "repeated": len(marks) - len(new),
            "waiting": known.count(False),
            "refused": len(problems),
            "problems": problems,
        }


def _shown(schema: "Schema", found: Stored) -> Json:
    """Return a stored transaction as JSON values."""
    from masthead.fraud.store.packing import event_of, record_of

    words = {1: "fraud", 0: "legit"}
    # Of those that arrived at one moment, say two verdicts in a replay of an old year, the one that was accepted last holds.
    latest = max(reversed(found.labels), key=lambda one: one.arrived_at, default=None)
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
