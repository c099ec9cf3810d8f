"""The registry of served models: under which name which model answers, and what is counted of its calls.

A room registers the kinds of models that it can load; an endpoint is a row that names a kind and its source. The model
is loaded with its first call and kept; when the row changes or goes, in whatever process, it is let go of.
"""

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.ids import new_id
from masthead.base.log import Journal, get_logger
from masthead.learn import records
from masthead.learn.calls import Calls, forget_counters
from masthead.learn.memory import Memory
from masthead.learn.models import Answer, ModelFailure, ServedModel
from masthead.learn.records import Endpoint
from masthead.store.engine import Database

__all__ = ["MOST_BODY", "Endpoints", "check_endpoint_name"]

MOST_ENDPOINTS = 100
MOST_BODY = 6_291_456  # bytes, as SageMaker takes
MOST_IN_FLIGHT = 32  # calls of one endpoint; a model that never answers holds no more threads than that
_STALE_S = 1.0  # PostgreSQL counts a change a moment before it can be read: look again
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", re.ASCII)

Loader = Callable[[Mapping[str, Any]], ServedModel]
Remover = Callable[[Mapping[str, Any]], None]


def check_endpoint_name(value: object, field: str = "endpoint") -> str:
    """Return `value` if it may name an endpoint; the rule is SageMaker's, so that its clients may call it.

    Args:
        field: What messages call it.

    Raises:
        InvalidInput: It is no text of 1 to 63 letters, digits and `-` in between.

    >>> check_endpoint_name("air-b101")
    'air-b101'
    """
    if not isinstance(value, str) or len(value) > 63 or not _NAME.fullmatch(value):
        raise InvalidInput(
            f"{field}: expected 1 to 63 letters and digits, with '-' in between, got {shown(value)}"
        )
    return value


class Endpoints:
    """Endpoints and their models. Every verb may be called from any thread.

    Args:
        database: Holds endpoints and counts.
        clock: When an endpoint was made, and last called.
        journal: One log per endpoint.
        timeout_s: How long a model may take for one call.
    """

    def __init__(
        self, database: Database, clock: Clock, journal: Journal, *, timeout_s: float = 60.0
    ) -> None:
        self._database, self._clock, self._journal = database, clock, journal
        self._timeout_s = timeout_s
        self._kinds: dict[str, tuple[Loader, Remover]] = {}
        self._lock = threading.RLock()
        self._rows: dict[str, Endpoint] = {}
        self._seen: int | None = None
        self._read_at = 0.0
        self._in_flight: dict[str, int] = {}
        self._memory, self._calls = Memory(self._load), Calls(database, clock)

    def register(self, kind: str, load: Loader, remove: Remover = lambda source: None) -> None:
        """Learn how models of a kind are loaded from a source, and how a source that nobody needs is removed."""
        self._kinds[kind] = (load, remove)

    # ------------------------------------------------------------------ verbs

    def create(self, name: str, kind: str, source: Mapping[str, Any]) -> Endpoint:
        """Let a model answer under a name, from now on or in place of the one that did; return the endpoint.

        The model is loaded once before anything changes, so one that cannot be loaded never replaces one that answers.

        Raises:
            InvalidInput: The name, the kind or the source cannot be used.
            NotFound: The source is not there.
            Conflict: The name serves a model of another kind.
            LimitReached: There are too many endpoints.
        """
        check_endpoint_name(name)
        if kind not in self._kinds:
            raise InvalidInput(f"kind: expected one of {', '.join(sorted(self._kinds))}, got {shown(kind)}")
        model = self._kinds[kind][0](source)
        about = dict(model.describe())
        model.close()
        now = self._clock.now()
        with self._database.write() as connection:
            known = {one.name: one for one in records.all_endpoints(connection)}
            old = known.get(name)
            if old is None and len(known) >= MOST_ENDPOINTS:
                raise LimitReached(f"endpoints: expected at most {MOST_ENDPOINTS}; delete one first")
            if old is not None and old.kind != kind:
                raise Conflict(f"endpoint: {name} serves a model of the kind {old.kind}; delete it first")
            made = Endpoint(name, kind, new_id("rev"), source, about, old.created if old else now, now)
            records.put_endpoint(self._database, connection, made)
        self._forget_rows()
        self._journal.write("endpoint", name, "replaced" if old else "created", of=kind, **_told(about))
        if old is not None:
            self._remove_source(old)
        return self.get(name)

    def list(self) -> list[Endpoint]:
        """Return every endpoint by name, with what was counted of its calls."""
        with self._database.read() as connection:
            found, usage = records.all_endpoints(connection), records.all_usage(connection)
        return [replace(one, usage=self._calls.of(one, usage.get(one.name, []))) for one in found]

    def get(self, name: str) -> Endpoint:
        """Return one endpoint with what was counted of its calls.

        Raises:
            NotFound: There is none of that name.
        """
        for one in self.list():
            if one.name == name:
                return one
        raise _no_endpoint(name)

    def delete(self, name: str) -> None:
        """Delete an endpoint: the next call does not find it, and its memory is free once no call is under way.

        Raises:
            NotFound: There is none of that name.
        """
        with self._database.write() as connection:
            found = {one.name: one for one in records.all_endpoints(connection)}.get(name)
            if found is None:
                raise _no_endpoint(name)
            records.remove_endpoint(connection, name)
        self._forget_rows()
        self.refresh()
        self._journal.write("endpoint", name, "deleted")
        self._remove_source(found)

    def sources(self, kind: str) -> Sequence[Mapping[str, Any]]:
        """Return the sources of the endpoints of a kind."""
        with self._database.read() as connection:
            return [one.source for one in records.all_endpoints(connection) if one.kind == kind]

    # ------------------------------------------------------------------ calls

    def invoke(
        self,
        name: str,
        body: bytes,
        *,
        content_type: str = "",
        accept: str = "",
        explain: bool = False,
        key: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """Return what the model of an endpoint answers to one body.

        Args:
            content_type, accept, explain: As in `ServedModel.invoke`.
            key: Id of the key under which the call is counted; "" = none.
            timeout_s: How long the model may take; None: as the registry was told.

        Raises:
            NotFound: There is no such endpoint.
            InvalidInput: The body is too large.
            ModelFailure: The model refused the payload, failed, or took too long.
            LimitReached: Too many calls are under way. Conflict: The model is being loaded; both: come again.
        """
        row = self._current().get(name)
        if row is None:
            raise _no_endpoint(name)
        if len(body) > MOST_BODY:
            raise InvalidInput(f"body: expected at most {MOST_BODY:,} bytes, got {len(body):,}")
        began = time.monotonic()
        outcome = "failed"
        try:
            answer = self._within(
                row,
                lambda model: model.invoke(body, content_type=content_type, accept=accept, explain=explain),
                timeout_s or self._timeout_s,
            )
            outcome = "answered"
            return answer
        except ModelFailure as error:
            outcome = "timeout" if error.status == 504 else "refused" if error.status < 500 else "failed"
            raise
        except (LimitReached, Conflict):
            outcome = "busy"
            raise
        finally:
            self._calls.note(row, key, outcome, time.monotonic() - began)

    def _within(self, row: Endpoint, work: Callable[[ServedModel], Answer], timeout_s: float) -> Answer:
        """Do work with the model in a thread of its own, and wait for it no longer than a model may take.

        A thread cannot be stopped: one that never ends keeps its place among the calls under way, so that a model
        that hangs is soon busy and nothing else suffers.
        """
        self._enter(row.name)
        ended = threading.Event()
        found: list[Answer | Exception] = []

        def run() -> None:
            try:
                with self._memory.using(row) as model:
                    found.append(work(model))
            except Exception as error:
                found.append(error)
            finally:
                self._leave(row.name)
                ended.set()

        threading.Thread(target=run, name=f"endpoint-{row.name}", daemon=True).start()
        if not ended.wait(timeout_s):
            raise ModelFailure(504, f"expected an answer within {timeout_s:g} s")
        if isinstance(found[0], Answer):
            return found[0]
        raise self._told_error(row, found[0])

    def _told_error(self, row: Endpoint, error: Exception) -> Exception:
        """Return what a caller hears of an error: nobody but the model may be blamed for what its code raised."""
        if isinstance(error, (ModelFailure, LimitReached, Conflict)):
            return error
        if isinstance(error, InvalidInput):
            return ModelFailure(400, error.message)
        # Neither its text nor its values: they may hold a part of the payload.
        told, place = type(error).__name__, _place_of(error)
        self._journal.write("endpoint", row.name, "call failed", error=told, at=place)
        get_logger("learn").error("model failed", endpoint=row.name, error=told, at=place)
        failure = ModelFailure(500, f"the model ended with {told}; the endpoint's log says where")
        failure.__cause__ = error
        return failure

    def _enter(self, name: str) -> None:
        with self._lock:
            busy = self._in_flight.get(name, 0)
            if busy >= MOST_IN_FLIGHT:
                raise LimitReached(
                    f"endpoint: {name} answers {MOST_IN_FLIGHT} calls already; come again in a second"
                )
            self._in_flight[name] = busy + 1

    def _leave(self, name: str) -> None:
        with self._lock:
            left = self._in_flight[name] - 1
            if left:
                self._in_flight[name] = left
            else:
                del self._in_flight[name]

    # ------------------------------------------------------------------ what is served now

    def _load(self, row: Endpoint) -> ServedModel:
        kind = self._kinds.get(row.kind)
        if kind is None:
            raise Conflict(f"endpoint: this process serves no model of the kind {row.kind}")
        return kind[0](row.source)

    def _current(self) -> dict[str, Endpoint]:
        """Return the endpoints as they are in the database now, whoever changed them."""
        seen, now = self._database.version(), time.monotonic()
        with self._lock:
            if seen == self._seen and now - self._read_at < _STALE_S:
                return self._rows
        with self._database.read() as connection:
            rows = {one.name: one for one in records.all_endpoints(connection)}
        with self._lock:
            gone = self._rows.keys() - rows.keys()
            self._rows, self._seen, self._read_at = rows, seen, now
        self._memory.keep_only(rows)
        for name in gone:
            forget_counters(name)
        return rows

    def _forget_rows(self) -> None:
        with self._lock:
            self._seen = None

    def refresh(self) -> None:
        """Follow what another process has changed: models that nobody serves any more leave the memory."""
        self._current()

    def loaded(self) -> Sequence[str]:
        """Return the endpoints whose models are in this process's memory."""
        return self._memory.names()

    def flush_if_due(self) -> None:
        """Write counts of calls down when some seconds have passed since the last time."""
        self._calls.flush_if_due()

    def _remove_source(self, found: Endpoint) -> None:
        """Remove what only an endpoint that is no more needed."""
        kind = self._kinds.get(found.kind)
        if kind is None:
            return
        try:
            kind[1](found.source)
        except OSError as error:
            get_logger("learn").warning("a model's files stay", endpoint=found.name, error=str(error))

    def close(self) -> None:
        """Write the counts down and let go of every model."""
        self._calls.flush()
        self._memory.keep_only({})


def _no_endpoint(name: str) -> NotFound:
    return NotFound(f"endpoint: there is none named {shown(name)}")


def _told(about: Mapping[str, Any]) -> dict[str, Any]:
    return {name: about[name] for name in ("model", "version") if name in about}


def _place_of(error: BaseException) -> str:
    """Return the file and line where an exception was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return ""
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
