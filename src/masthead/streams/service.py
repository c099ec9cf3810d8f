"""The room's verbs: rules and delivery streams, and the one way in for readings.

`take` gives each reading to every enabled rule once. Delivery streams and actions own their positions; what they
already have they pass over, so the log may be read again from `position()` at any time. A changed rule or stream
holds for readings that were never taken: after a crash the readings that come again are taken under the
configuration they were first taken under.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from masthead.base.clock import Clock, utc
from masthead.base.errors import Conflict, LimitReached, NotFound
from masthead.base.ids import check_name
from masthead.base.log import Journal
from masthead.store.engine import Database
from masthead.store.objects import Objects
from masthead.streams.actions import Failure, Sender
from masthead.streams.delivery import WINDOW_S, Delivery, Entry
from masthead.streams.feeds import Feed, feed_of
from masthead.streams.readings import Batch, Reading
from masthead.streams.records import Configuration, DeliveryStream, Records, TopicRule
from masthead.streams.retention import remove_old
from masthead.streams.router import DIRECT, Routed, Router
from masthead.streams.works import Outboxes, Worker

_SAVE_S = (
    1.0  # positions are written down at most this often: what is read again after a crash is passed over
)
_RETENTION_S = 600.0
_ROOM = ""  # the room's own row among the positions


@dataclass(frozen=True, slots=True)
class StreamState:
    """What a delivery stream did and holds; the open parts are known to the running server only."""

    name: str
    position: int
    records: int
    objects: int
    bytes: int
    errors: int
    duplicates: int
    stored_objects: int
    stored_bytes: int
    open_partitions: int | None = None
    held_bytes: int | None = None
    last_error: str = ""

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


class StreamsService:
    """Rules and delivery streams. Verbs may be called from any thread; `take` and `tick` from one at a time."""

    def __init__(
        self,
        database: Database,
        objects: Objects,
        clock: Clock,
        journal: Journal,
        *,
        keep_days: float = 0,
        keep_gib: float = 0,
    ) -> None:
        self._records, self._objects, self._clock, self._journal = Records(database), objects, clock, journal
        self._keep_days, self._keep_gib = keep_days, keep_gib
        self._lock = threading.RLock()
        self._outbox = Outboxes()
        self._sealed: list[Callable[[str, int], None]] = []
        self._routes: dict[str, str] = {}
        self._by_rule: dict[str, str] = {}
        self._seal_delays: dict[str, float] = {}
        self._started = False
        self._wanted: Configuration | None = (
            None  # a configuration that waits for what was taken to be settled
        )
        self._deliveries: dict[str, Delivery] = {}
        self._router = Router(Configuration(), {}, journal)
        self._applied = Configuration()
        self._taken = 0
        self._settled_before = (
            0  # sequences up to this one are in objects already: a change must wait for them
        )
        self._owed_from = 1
        self._saved: dict[str, tuple[int, dict[str, Any]]] = {}
        self._saved_at = self._retained_at = float("-inf")
        self._complaint = ""

    # rules

    def create_rule(self, rule: TopicRule | Mapping[str, Any]) -> TopicRule:
        """Keep a new rule.

        Raises:
            InvalidInput: A field is wrong.
            NotFound: An action names a delivery stream that does not exist.
            Conflict: The name is taken.
        """
        found = TopicRule.from_json(rule.to_json() if isinstance(rule, TopicRule) else rule)
        self._check_streams(found)
        self._records.insert(found, self._clock.now())
        self._journal.write("rule", found.name, "created", sql=found.sql)
        self._changed()
        return found

    def update_rule(self, rule: TopicRule | Mapping[str, Any]) -> TopicRule:
        """Replace the rule of that name. Raises NotFound when there is none."""
        found = TopicRule.from_json(rule.to_json() if isinstance(rule, TopicRule) else rule)
        self._check_streams(found)
        self._records.replace(found)
        self._journal.write("rule", found.name, "changed", sql=found.sql, enabled=found.enabled)
        self._changed()
        return found

    def list_rules(self) -> list[TopicRule]:
        """Return every rule, by name."""
        return [rule for _, rule in sorted(self._records.configuration().rules.items())]

    def get_rule(self, name: str) -> TopicRule:
        """Return one rule. Raises NotFound."""
        rules = self._records.configuration().rules
        if check_name(name) not in rules:
            raise NotFound(f"name: there is no rule {name}")
        return rules[name]

    def delete_rule(self, name: str) -> None:
        """Remove a rule. Raises NotFound."""
        self._records.delete(TopicRule, name)
        self._journal.write("rule", name, "deleted")
        self._changed()

    def test_rule(
        self, name_or_sql: str, topic: str, payload: bytes | str, thing: str | None = None
    ) -> dict[str, Any]:
        """Return what a rule makes of one message, without doing it: matched, result, error, actions."""
        is_name = " " not in name_or_sql.strip()
        rule = (
            self.get_rule(name_or_sql)
            if is_name
            else TopicRule.from_json({"name": "test", "sql": name_or_sql})
        )
        data = payload.encode() if isinstance(payload, str) else payload
        return self._router.test(rule, Reading(topic, data, self._clock.time(), thing))

    # delivery streams

    def create_stream(self, stream: DeliveryStream | Mapping[str, Any]) -> DeliveryStream:
        """Keep a new delivery stream; it takes what arrives from now on.

        Raises:
            InvalidInput: A field is wrong.
            Conflict: The name is taken.
        """
        found = DeliveryStream.from_json(stream.to_json() if isinstance(stream, DeliveryStream) else stream)
        self._records.insert(found, self._clock.now())
        self._journal.write("stream", found.name, "created", destination=found.destination)
        self._changed()
        return found

    def update_stream(
        self, stream: DeliveryStream | Mapping[str, Any], *, version: int | None = None
    ) -> DeliveryStream:
        """Replace the stream of that name under the next version number; what it holds is put as it was.

        Args:
            version: The one that the change was made from; None: whichever there is.

        Raises:
            NotFound: There is none.
            Conflict: It has another version than `version`.
        """
        given = stream.to_json() if isinstance(stream, DeliveryStream) else dict(stream)
        found = DeliveryStream.from_json({**given, "version": 1})
        with self._lock:
            present = self.get_stream(found.name).version
            if version not in (None, present):
                raise Conflict(f"version: expected {present}, the present one, got {version}")
            found = replace(found, version=present + 1)
            self._records.replace(found)
        self._journal.write("stream", found.name, "changed", version=found.version)
        self._changed()
        return found

    def list_streams(self) -> list[DeliveryStream]:
        """Return every delivery stream, by name."""
        return [stream for _, stream in sorted(self._records.configuration().streams.items())]

    def get_stream(self, name: str) -> DeliveryStream:
        """Return one delivery stream. Raises NotFound."""
        streams = self._records.configuration().streams
        if check_name(name) not in streams:
            raise NotFound(f"name: there is no delivery stream {name}")
        return streams[name]

    def stream_born(self, name: str) -> datetime:
        """Return when a delivery stream was created. Raises NotFound."""
        return self._records.born(check_name(name))

    def delete_stream(self, name: str) -> None:
        """Remove a delivery stream; what it holds is put first, its objects stay.

        Raises:
            NotFound: There is none.
            Conflict: A rule still feeds it.
        """
        feeding = [rule.name for rule in self.list_rules() if name in rule.streams()]
        if feeding:
            raise Conflict(
                f"name: delivery stream {name} is fed by the rule {feeding[0]}; delete or change that first"
            )
        self._records.delete(DeliveryStream, name)
        self._journal.write("stream", name, "deleted")
        self._changed()

    def test_stream(self, name: str, payload: bytes | str, thing: str | None = None) -> dict[str, Any]:
        """Return where one record would go, without putting it: partition, line, key or error."""
        data = payload.encode() if isinstance(payload, str) else payload
        delivery = self._idle_delivery(self.get_stream(name))
        return delivery.preview(Entry(Reading(DIRECT + name, data, self._clock.time(), thing), data))

    def stream_state(self, name: str) -> StreamState:
        """Return what the stream did and what it holds. Raises NotFound."""
        self.get_stream(name)
        with self._lock:
            delivery = self._deliveries.get(name)
            position, counts = self._records.positions().get(name, (1, {}))
            if delivery is not None:
                position, counts = delivery.position(), delivery.counts()
            now = {} if delivery is None else delivery.state()
        return StreamState(
            name=name,
            position=position,
            stored_objects=self._records.count_objects(name),
            stored_bytes=self._records.stored_bytes(name),
            open_partitions=now.get("open_partitions"),
            held_bytes=now.get("held_bytes"),
            last_error=now.get("last_error", ""),
            **{
                field: int(counts.get(field, 0))
                for field in ("records", "objects", "bytes", "errors", "duplicates")
            },
        )

    # ports

    def register_action(self, kind: str, sender: Sender) -> None:
        """Let `subject` or `webhook` actions go through `sender(action, payload, reading)`, at least once each."""
        self._outbox.register(kind, sender)

    def register_work(self, kind: str, worker: Worker) -> None:
        """Let `fraud` actions be done by `worker(actions)`, many at a time, until each is done or refused."""
        self._outbox.register_work(kind, worker)

    def on_sealed(self, listener: Callable[[str, int], None]) -> None:
        """Call `listener(stream, interval_start_s)` when an interval's objects are all put.

        A stream tells its intervals in rising order; one without records is passed over in silence.
        """
        self._sealed.append(listener)

    def feeds(self) -> list[Feed]:
        """Return what each delivery stream promises to who reads its folders."""
        return [feed_of(stream) for stream in self.list_streams()]

    def set_seal_delays(self, delays: Mapping[str, float]) -> None:
        """Let intervals of a stream be sealed so many seconds after their end: `{stream: seconds}`, 0 for others."""
        with self._lock:
            self._seal_delays = dict(delays)
            for name, delivery in self._deliveries.items():
                delivery.seal_delay_s = self._seal_delays.get(name, 0.0)

    def set_topic_routes(self, routes: Mapping[str, str], by_rule: Mapping[str, str] | None = None) -> None:
        """Route readings straight to detectors: by `{detector: topic filter}`, and by `{detector: rule}`."""
        with self._lock:
            self._routes, self._by_rule = dict(routes), dict(by_rule or {})
            self._router.report()
            self._router = Router(self._applied, self._routes, self._journal, self._by_rule)

    # the reading path

    def can_take(self) -> bool:
        """Return whether there is room; while not, the reader waits and the log keeps what comes."""
        with self._lock:
            self._start()
            return self._outbox.has_room() and all(each.can_take() for each in self._deliveries.values())

    def take(self, batch: Batch) -> list[Routed]:
        """Give each reading to every rule; return what goes to detectors.

        A sequence that was taken before has no second effect, but its `Routed` come again: detectors pass over
        what they have.

        Raises:
            LimitReached: There is no room (`can_take` said so); nothing was taken.
        """
        with self._lock:
            if not self.can_take():
                raise LimitReached("streams: no room before earlier readings are delivered")
            if self._wanted is not None:
                self._switch(batch.sequence)
            now = self._clock.time()
            routing = self._router.route(batch)
            for name, delivery in self._deliveries.items():
                delivery.take(batch.sequence, routing.entries.get(name, ()), now)
            if batch.sequence > self._taken:
                if batch.sequence >= self._owed_from:
                    for action in routing.actions:
                        self._outbox.put(action)
                self._taken = batch.sequence
            return routing.routed

    def tick(self, now: float | None = None) -> None:
        """Do what time asks for: flush by age, try failed puts again, remove old objects. A few times a second."""
        with self._lock:
            self._start()
            now = self._clock.time() if now is None else now
            for delivery in self._deliveries.values():
                delivery.tick(now)
            for failure in self._outbox.failures():
                self._take_failure(failure, now)
            self._router.report()
            try:
                self._keep_house(now)
            except (
                Exception
            ) as error:  # a full disk, say: what is held stays held, and the next tick tries again
                self._complain(error)
            else:
                self._complaint = ""

    def position(self) -> int:
        """Return the sequence from which the log must be read after a restart; what is below is settled."""
        with self._lock:
            self._start()
            needed = [delivery.position() for delivery in self._deliveries.values()]
            return max(min([*needed, self._actions_position()]), 1)

    def refresh(self) -> None:
        """Take over rules and streams that were changed, also by another process."""
        with self._lock:
            self._start()
            wanted = self._records.configuration()
            self._wanted = wanted if wanted != self._applied else None
            try:
                self._switch(self._taken + 1)
            except Exception as error:  # it is kept as wanted: the next tick tries again
                self._complain(error)

    def flush(self) -> bool:
        """Put everything that is held, now; return whether nothing is left."""
        with self._lock:
            self._start()
            now = self._clock.time()
            left = [name for name, delivery in self._deliveries.items() if not delivery.flush_all(now)]
            return not left

    def close(self) -> None:
        """Stop; what is held in memory comes again from the log."""
        self._outbox.close()
        with self._lock:
            if self._started:
                self._save()
            self._started = False
            self._deliveries = {}

    # inside

    def _start(self) -> None:
        """Load positions and the configuration that readings were last taken under; once, when first needed."""
        if self._started:
            return
        positions = self._records.positions()
        self._owed_from = positions.get(_ROOM, (1, {}))[0]
        self._taken = self._owed_from - 1
        self._settled_before = self._records.highest_sequence()
        self._applied = self._records.applied() or Configuration()
        self._saved = positions
        self._deliveries = {
            name: self._delivery(stream, *positions.get(name, (self._taken + 1, {})))
            for name, stream in self._applied.streams.items()
        }
        self._router = Router(self._applied, self._routes, self._journal, self._by_rule)
        self._started = True
        self.refresh()

    def _keep_house(self, now: float) -> None:
        if self._wanted is not None:
            self._switch(self._taken + 1)
        if time.monotonic() - self._saved_at >= _SAVE_S:
            self._save()
        if now - self._retained_at >= _RETENTION_S:
            self._retained_at = now
            self._retain(now)

    def _complain(self, error: Exception) -> None:
        """Write a trouble to the server's log once, not at each tick."""
        reason = f"{type(error).__name__}: {error}"[:500]
        if reason != self._complaint:
            self._journal.write("server", "streams", "housekeeping failed", error=reason)
        self._complaint = reason

    def _changed(self) -> None:
        """Follow a change of our own at once in the serving process; others only write."""
        with self._lock:
            if self._started:
                self.refresh()

    def _switch(self, next_sequence: int) -> None:
        """Apply the wanted configuration if everything taken under the present one is settled or comes no more."""
        wanted = self._wanted
        if wanted is None or next_sequence <= self._settled_before:
            return
        old = self._applied.streams
        changed = {name for name in old if wanted.streams.get(name) != old[name]}
        now = self._clock.time()
        running = [self._deliveries[name] for name in changed if name in self._deliveries]
        left = [each for each in running if not each.flush_all(now, through=next_sequence - 1)]
        if left:
            return  # a put failed; the next tick tries again
        self._save()
        fresh = {name: next_sequence for name in wanted.streams if name not in old}
        self._records.apply(
            wanted, fresh=fresh, gone={name for name in changed if name not in wanted.streams}
        )
        for name in changed:
            self._deliveries.pop(name, None)
            if name not in wanted.streams:
                self._saved.pop(name, None)
        positions = self._records.positions()
        for name, stream in wanted.streams.items():
            if name not in self._deliveries:
                self._deliveries[name] = self._delivery(stream, *positions.get(name, (next_sequence, {})))
        self._applied, self._wanted = wanted, None
        self._outbox.keep(wanted.rules)
        self._router.report()
        self._router = Router(wanted, self._routes, self._journal, self._by_rule)

    def _delivery(
        self, stream: DeliveryStream, position: int, counts: Mapping[str, Any], *, recover: bool = True
    ) -> Delivery:
        delivery = Delivery(
            stream,
            records=self._records,
            objects=self._objects,
            clock=self._clock,
            journal=self._journal,
            position=position,
            counts=counts,
            on_sealed=self._tell_sealed,
            recover=recover,
        )
        delivery.seal_delay_s = self._seal_delays.get(stream.name, 0.0)
        return delivery

    def _idle_delivery(self, stream: DeliveryStream) -> Delivery:
        """Return a delivery that is for looking only."""
        return self._delivery(stream, 1, {}, recover=False)

    def _tell_sealed(self, stream: str, start_s: int) -> None:
        for listener in self._sealed:
            try:
                listener(stream, start_s)
            except Exception as error:  # the objects are put; a listener's trouble must not stop the readings
                self._journal.write(
                    "stream", stream, "sealed not told", start_s=start_s, error=str(error)[:500]
                )

    def _take_failure(self, failure: Failure, now: float) -> None:
        """Bring an action that failed for good to its rule's error action, or to the rule's log."""
        action = failure.action
        routing = self._router.failed_action(action, failure.reason)
        for name, entries in routing.entries.items():
            if name in self._deliveries:
                self._deliveries[name].take_failed(action.sequence, entries, failure.reason, now)
        for each in routing.actions:
            self._outbox.put(each)

    def _actions_position(self) -> int:
        owed = self._outbox.owed_from()
        return max(self._taken + 1 if owed is None else min(owed, self._taken + 1), self._owed_from)

    def _save(self) -> None:
        """Write positions and counts down where they changed."""
        rows: dict[str, tuple[int, dict[str, Any]]] = {_ROOM: (self._actions_position(), {})}
        rows |= {name: (each.position(), each.counts()) for name, each in self._deliveries.items()}
        changed = {name: row for name, row in rows.items() if self._saved.get(name) != row}
        if changed:
            self._records.set_positions(changed)
            self._saved |= changed
        self._saved_at = time.monotonic()

    def _retain(self, now: float) -> None:
        self._records.drop_digests(utc(now) - timedelta(seconds=WINDOW_S))
        for stream in self._applied.streams.values():
            remove_old(
                stream.name,
                records=self._records,
                objects=self._objects,
                journal=self._journal,
                now=now,
                keep_days=stream.retention_days or self._keep_days,
                keep_gib=stream.retention_gib or self._keep_gib,
            )

    def _check_streams(self, rule: TopicRule) -> None:
        streams = self._records.configuration().streams
        for name in sorted(rule.streams()):
            if name not in streams:
                raise NotFound(f"actions: there is no delivery stream {name}")
