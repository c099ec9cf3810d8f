"""A model at work on the tables, without a server: every answer is durable. What `FraudModel.stream(store)` gives."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import orjson

from masthead.base.clock import Clock, SystemClock
from masthead.base.errors import Conflict, MastheadError, NotFound, shown
from masthead.fraud.data.columns import Event
from masthead.fraud.data.messages import parse_record
from masthead.fraud.data.values import parse_time, read_source, read_value
from masthead.fraud.live.book import Book, Lane
from masthead.fraud.live.ledger import Ledger, Mark, Marking, Scoring, Swap
from masthead.fraud.live.writer import Writer
from masthead.fraud.reasons.explaining import Explainer
from masthead.fraud.scoring.stream import Decision
from masthead.fraud.store import results
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.packing import check_event
from masthead.fraud.store.records import LIVE
from masthead.fraud.store.results import Space

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["DurableStream"]


class DurableStream:
    """Scores transactions into a store; may be called from many threads, whose commits are put together.

    Args:
        reasons: Give them with flagged decisions, found when the decision is durable and its latency is told.
        snapshots: A folder that keeps the state for the next start. None: that reads all of the tables.

    Raises:
        Conflict: The space's transactions have another schema than the model.
    """

    def __init__(
        self,
        model: "FraudModel",
        store: TransactionLog,
        *,
        space: str = LIVE,
        clock: Clock | None = None,
        reasons: bool = True,
        snapshots: Path | None = None,
    ) -> None:
        self.model, self.store, self.space = model, store, space
        clock = clock or SystemClock()
        _require_space(model, store, space, clock)
        self._explainer = (
            Explainer(store, self._known, lambda space: model.schema, clock) if reasons else None
        )
        self.ledger = Ledger(store, clock)
        self._writer = Writer(self.ledger.work)
        book = Book(space, model.schema, (Lane("stream", model),), snapshots=snapshots, clock=clock)
        book.rehearse()
        book.rebuild(store, store.head())
        self._writer.submit(Swap({space: book}))

    def score(self, record: Mapping[str, Any] | Event) -> Decision:
        """Return the decision on a transaction once it is durable; the same one again gets the first answer.

        Raises:
            InvalidInput: It cannot be used. Conflict: The id is stored with other content, or as history.
            LimitReached: Too many wait, or the disk is full.
        """
        (found,) = self.score_many([record])
        if isinstance(found, MastheadError):
            raise found
        return found

    def score_many(self, records: Sequence[Mapping[str, Any] | Event]) -> list[Decision | MastheadError]:
        """Return the decisions of one commit, in order; what is wrong with one is its value.

        Raises:
            InvalidInput: A record cannot be used.
        """
        began = time.perf_counter()
        schema = self.model.schema
        events = [
            check_event(schema, one if isinstance(one, Event) else parse_record(schema, one))
            for one in records
        ]
        found = self._writer.submit(Scoring(self.space, events))
        latency_ms = (time.perf_counter() - began) * 1e3
        return [self._reasoned(_decision(one, latency_ms)) for one in found]

    def _reasoned(self, found: Decision | MastheadError) -> Decision | MastheadError:
        if self._explainer is None or isinstance(found, MastheadError) or not found.flag:
            return found
        try:
            return replace(found, reasons=tuple(self._explainer.reasons(found.id, self.space)))
        except NotFound:  # erased meanwhile
            return found

    def _known(self, id: str) -> "FraudModel":
        if id != self.model.id:
            raise NotFound(f"model: there is none with the id {shown(id)}")
        return self.model

    def label(
        self, transaction_id: str, value: object, arrived_at: object = None, source: str = "import"
    ) -> bool:
        """Take a label, durably; return whether its transaction is there. One that comes later will find it.

        Args:
            arrived_at: When it became known, as the schema writes times, or a datetime; None: now.

        Raises:
            InvalidInput: The value, the source or the time is none.
        """
        at = None if arrived_at is None else parse_time(self.model.schema, arrived_at)
        (known,) = self._writer.submit(
            Marking(self.space, [Mark(str(transaction_id), read_value(value), read_source(source), at)])
        )
        return bool(known)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, and the state where it is kept; the store stays open."""
        self._writer.close()
        self.ledger.keep()


def _decision(found: "tuple[bytes, bool] | MastheadError", latency_ms: float) -> Decision | MastheadError:
    if isinstance(found, MastheadError):
        return found
    body, _ = found
    if not body:
        return Conflict("id: the transaction was loaded as history, without a decision", field="id")
    told = orjson.loads(body)
    given = {name: told[name] for name in ("id", "flag", "pred_prob", "threshold", "action", "model")}
    return Decision(**given, reasons=(), latency_ms=latency_ms)


def _require_space(model: "FraudModel", store: TransactionLog, space: str, clock: Clock) -> None:
    with store.database.read() as connection:
        known = {one.name: one for one in results.spaces(connection)}.get(space)
    if known is None:
        with store.group() as group:
            schema = model.schema
            results.put_space(group, Space(space, "live", schema.to_toml(), schema.digest(), clock.now()))
    elif known.digest != model.schema.digest():
        raise Conflict(
            f"model: expected one of the schema {known.digest} that the transactions have, got {model.schema.digest()}"
        )
