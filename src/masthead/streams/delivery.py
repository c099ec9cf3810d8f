"""One delivery stream at work: records into buffers, chunks into objects, each exactly once.

Order of an object: its ledger row is committed as a plan, the object is put under the planned key with create-only,
the row is committed as done together with the stream's position. The position is the lowest sequence that an open
partition or an unfinished object still needs; after a crash the log is read again from there. A partition's highest
delivered sequence says which records to pass over, and a plan without its object is filled again with the same
records and put under the same key.
"""

import base64
import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from prometheus_client import Counter, Gauge

from masthead.base.clock import Clock, utc
from masthead.base.errors import InvalidInput, NotFound
from masthead.base.log import Journal
from masthead.base.telemetry import REGISTRY
from masthead.store.objects import Objects
from masthead.streams.buffers import ARRIVAL, BUFFERS_HELD, ERROR, Buffers, Chunk
from masthead.streams.eventtime import MOST_AHEAD_S, EventTime
from masthead.streams.prefixes import DEFAULT_ERROR_PREFIX, PROCESSING_FAILED, object_key, parse_prefix
from masthead.streams.readings import Reading, json_value
from masthead.streams.records import DeliveryStream, LedgerRow, Records
from masthead.streams.seen import MOST, Seen, digest_of

FAILED = "failed"  # the partition of failed actions
WINDOW_S = 3600.0  # how long a reading that is sent again is known as such
_FIRST_RETRY_S, _LAST_RETRY_S = 0.5, 60.0
_COUNTS = ("records", "objects", "bytes", "errors", "duplicates")

RECORDS = Counter(
    "masthead_stream_records",
    "Records put into objects, those in the error place not counted.",
    ["stream"],
    registry=REGISTRY,
)
OBJECTS = Counter("masthead_stream_objects", "Objects put.", ["stream"], registry=REGISTRY)
BYTES = Counter("masthead_stream_bytes", "Bytes of objects put.", ["stream"], registry=REGISTRY)
ERRORS = Counter("masthead_stream_errors", "Records sent to the error place.", ["stream"], registry=REGISTRY)
DUPLICATES = Counter(
    "masthead_stream_duplicates", "Readings sent again and dropped.", ["stream"], registry=REGISTRY
)
FAILURES = Counter(
    "masthead_stream_put_failures", "Puts that failed and are tried again.", ["stream"], registry=REGISTRY
)
BUFFERED = Gauge(
    "masthead_stream_buffered_bytes", "Bytes that wait to be put.", ["stream"], registry=REGISTRY
)


class Entry(NamedTuple):
    """One record on its way into a stream. `fields` None: read them from the line; `error`: it goes to the error place."""

    reading: Reading
    line: bytes
    fields: Mapping[str, Any] | None = None
    error: str | None = None


@dataclass(slots=True)
class _Pending:
    """An object on its way: what it holds, and the plan under which it goes once that is committed."""

    chunk: Chunk
    row: LedgerRow
    data: bytes
    planned: bool


@dataclass(slots=True)
class _Counts:
    records: int = 0
    objects: int = 0
    bytes: int = 0
    errors: int = 0
    duplicates: int = 0

    def add_object(self, row: LedgerRow) -> None:
        """Count an object that is put. Its lines are records unless it lies in the error place."""
        self.objects += 1
        self.bytes += row.size
        if row.partition not in (ERROR, FAILED):
            self.records += row.records

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _COUNTS}


class Delivery:
    """The running half of a delivery stream. Not safe in threads: the service holds a lock around it."""

    def __init__(
        self,
        stream: DeliveryStream,
        *,
        records: Records,
        objects: Objects,
        clock: Clock,
        journal: Journal,
        position: int,
        counts: Mapping[str, Any],
        on_sealed: Callable[[str, int], None],
        recover: bool = True,
    ) -> None:
        self.stream = stream
        self._records, self._objects, self._clock, self._journal = records, objects, clock, journal
        self._on_sealed = on_sealed
        self._start, self._taken = position, position - 1
        self._counts = _Counts(**{name: int(counts.get(name, 0)) for name in _COUNTS})
        self.seal_delay_s = 0.0  # how long after an interval's end its readers still wait for records
        self._event_time = EventTime.from_json(stream.event_time) if stream.event_time else None
        self._read_time = self._event_time.reader() if self._event_time else None
        self._buffers = Buffers(stream.buffer_s, int(stream.buffer_mib * 1024 * 1024))
        self._prefix = parse_prefix(stream.prefix)
        self._error_prefix = parse_prefix(stream.error_prefix or DEFAULT_ERROR_PREFIX, error=True)
        self._separator = stream.separator.encode()
        self._seen = Seen() if stream.dedupe == "exact" else None
        self._watermark = float("-inf")
        self._sealed_through = float("-inf")
        self._unsealed: set[int] = set()
        self._marks: dict[str, int] = {}  # partition -> highest sequence in the objects of an earlier run
        self._plans: dict[str, list[LedgerRow]] = {}  # plans of an earlier run, to be filled again
        self._pending: list[_Pending] = []
        self._retry_at, self._retry_s = float("-inf"), _FIRST_RETRY_S
        self._failure = ""
        if recover:
            self._recover()

    # taking

    def take(self, sequence: int, entries: Sequence[Entry], now: float) -> None:
        """Take the records of one sequence, at most once; flush what became due."""
        if sequence <= self._taken:
            return
        self._settle_plans(sequence - 1)
        placed = [self._placed(entry, sequence) for entry in entries]
        fresh = self._fresh(entries, placed)
        for entry, (partition, stamp, line, digest), new in zip(entries, placed, fresh, strict=True):
            if sequence <= self._marks.get(partition, 0):
                continue  # it is in an object already: the log is being read again
            if not new:
                self._count("duplicates", 1)
                continue
            self._append(
                partition, stamp, line, digest, sequence=sequence, arrived=entry.reading.arrived, now=now
            )
        self._taken = sequence
        self._settle_plans(sequence)
        if self._marks and sequence >= max(self._marks.values()):
            self._marks.clear()  # the log is read past all that an earlier run delivered
        self.flush_due(now)

    def take_failed(self, sequence: int, entries: Sequence[Entry], reason: str, now: float) -> None:
        """Bring failed actions to the error place, as an object of their own: the log cannot tell them again."""
        lines = [error_line(entry.reading, reason, sequence) for entry in entries]
        size = sum(map(len, lines))
        arrived = entries[0].reading.arrived
        self._pend(Chunk(FAILED, arrived, sequence, sequence, lines, size, [], now))
        self._count("errors", len(lines))
        self._work_off(now)

    def preview(self, entry: Entry) -> dict[str, Any]:
        """Return where a record would go: partition, the record's line, and the object's address but for its end."""
        partition, stamp, line, _ = self._placed(entry, 0)
        instant = float(partition) if stamp is not None else entry.reading.arrived
        uri = self._uri(Chunk(partition, instant, 0, 0, [line], len(line), [], 0.0), "")
        return {
            "partition": "error" if partition == ERROR else utc(instant).isoformat(),
            "record": line.decode(errors="replace"),
            "folder": uri.rpartition("/")[0] + "/",
            "error": orjson.loads(line)["error"] if partition == ERROR else None,
        }

    def _placed(self, entry: Entry, sequence: int) -> tuple[str, float | None, bytes, bytes | None]:
        """Return partition, event time, line and digest of a record."""
        if entry.error is not None:
            return ERROR, None, error_line(entry.reading, entry.error, sequence), None
        stamp = None
        if self._read_time is not None:
            try:
                stamp = self._time_of(entry)
            except InvalidInput as error:
                return ERROR, None, error_line(entry.reading, error.message, sequence), None
        thing = entry.reading.thing
        digest = None
        if self._seen is not None and thing is not None:  # without a thing nobody resends by protocol
            digest = digest_of(thing, stamp, entry.reading.payload)
        partition = (
            ARRIVAL if stamp is None or self._event_time is None else str(self._event_time.start(stamp))
        )
        return partition, stamp, entry.line, digest

    def _time_of(self, entry: Entry) -> float:
        fields = entry.fields
        if fields is None:
            fields = parsed_object(entry.line)
            if fields is None:
                raise InvalidInput("payload: expected a JSON object that holds the time")
        assert self._read_time is not None
        stamp = self._read_time(fields)
        if stamp > entry.reading.arrived + MOST_AHEAD_S:
            raise InvalidInput(
                f"time: expected at most 7 days after its arrival, got {utc(stamp).isoformat()}"
            )
        return stamp

    def _fresh(
        self, entries: Sequence[Entry], placed: Sequence[tuple[str, float | None, bytes, bytes | None]]
    ) -> list[bool]:
        """Return for each record whether it was not taken before; two rules' copies of a reading are one sending."""
        keys = [(id(entry.reading), digest) for entry, (_, _, _, digest) in zip(entries, placed, strict=True)]
        asked = [key for key in dict.fromkeys(keys) if key[1] is not None]
        if self._seen is None or not asked:
            return [True] * len(placed)
        answers = self._seen.add([digest for _, digest in asked if digest is not None])
        known = dict(zip(asked, answers, strict=True))
        return [known.get(key, True) for key in keys]

    def _append(
        self,
        partition: str,
        stamp: float | None,
        line: bytes,
        digest: bytes | None,
        *,
        sequence: int,
        arrived: float,
        now: float,
    ) -> None:
        end = None
        instant = arrived
        if partition == ERROR:
            self._count("errors", 1)
        elif stamp is not None and self._event_time is not None:
            instant = float(partition)
            end = float(self._event_time.end(int(instant)))
            if end > self._sealed_through:
                self._unsealed.add(int(instant))
            # One clock that runs ahead must not seal the intervals of all the others.
            self._watermark = max(self._watermark, min(stamp, now + self._event_time.interval_s))
        self._buffers.append(
            partition,
            line,
            sequence=sequence,
            instant=instant,
            now=now,
            end=None if end is None else end + self.seal_delay_s,
            late=end is not None and end <= self._sealed_through,
            digest=digest,
        )

    # flushing

    def flush_due(self, now: float) -> None:
        """Cut and put what is due by size, age, watermark or bounds; tell which intervals are sealed."""
        for partition in self._buffers.due(now, watermark=self._watermark, held=self._plans):
            self._cut(partition)
        self._work_off(now)
        self._seal()

    def flush_all(self, now: float, *, through: int | None = None) -> bool:
        """Cut and put everything; return whether nothing is left. `through`: no sequence up to it comes again."""
        if through is not None:
            self._settle_plans(through)
        for partition in list(self._buffers.open):
            if partition not in self._plans:
                self._cut(partition)
        self._work_off(now)
        return not self._buffers.open and not self._pending and not self._plans

    def tick(self, now: float) -> None:
        """Do what time asks for: flush by age, try failed puts again."""
        self.flush_due(now)
        BUFFERED.labels(self.stream.name).set(self.held_bytes())

    def held_bytes(self) -> int:
        """Return the bytes in buffers and in objects under way."""
        return self._buffers.size + sum(pending.chunk.size for pending in self._pending)

    def can_take(self) -> bool:
        """Return whether there is room: partitions that wait for their plan do not count, for only taking frees them."""
        waiting = sum(self._buffers.open[name].size for name in self._plans if name in self._buffers.open)
        return self.held_bytes() - waiting <= BUFFERS_HELD * self._buffers.buffer_bytes

    def _seal(self) -> None:
        """Tell that intervals are over, each once, when all that came for them in time is put."""
        if self._event_time is None or self._pending or self._plans or self._watermark == float("-inf"):
            return
        passed = self._event_time.start(max(self._watermark - self.seal_delay_s, 0.0))
        self._sealed_through = max(self._sealed_through, passed)
        for start in sorted(start for start in self._unsealed if start < self._sealed_through):
            self._unsealed.discard(start)
            self._on_sealed(self.stream.name, start)

    def _cut(self, partition: str, plan: LedgerRow | None = None) -> None:
        chunk = self._buffers.cut(partition)
        if chunk is not None:
            self._pend(chunk, plan)

    def _pend(self, chunk: Chunk, plan: LedgerRow | None = None) -> None:
        """Make a chunk an object on its way, under its earlier plan's address if it has one."""
        data = chunk.data
        if self.stream.compression == "gzip":
            data = gzip.compress(data, compresslevel=6, mtime=0)
        sha256 = hashlib.sha256(data).hexdigest()
        row = LedgerRow(
            uri=plan.uri if plan else self._uri(chunk, sha256),
            stream=self.stream.name,
            partition=chunk.partition,
            from_sequence=chunk.from_sequence,
            through_sequence=plan.through_sequence if plan else chunk.through_sequence,
            instant=chunk.instant,
            sha256=sha256,
            size=len(data),
            records=len(chunk.lines),
            done=False,
            made=self._clock.now(),
        )
        self._pending.append(_Pending(chunk, row, data, planned=plan is not None and plan.sha256 == sha256))

    def _uri(self, chunk: Chunk, sha256: str) -> str:
        bucket, start = self.stream.bucket_and_start()
        is_error = chunk.partition in (ERROR, FAILED)
        key = object_key(
            self._error_prefix if is_error else self._prefix,
            stream=self.stream.name,
            version=self.stream.version,
            at=chunk.instant,
            zone=self.stream.zone,
            identity=f"{self.stream.name}/{chunk.partition}/{chunk.from_sequence}/{chunk.through_sequence}/{sha256}",
            extension=".gz" if self.stream.compression == "gzip" else "",
            error_type=PROCESSING_FAILED if is_error else "",
        )
        return f"s3://{bucket}/{start}{key}"

    def _work_off(self, now: float) -> None:
        """Put what waits, in order; after a failure wait, longer each time, and let nothing go."""
        if now < self._retry_at:
            return
        while self._pending:
            try:
                self._deliver(self._pending[0])
            except (
                Exception
            ) as error:  # whatever the store or the database says: keep the bytes and try again
                self._failed(error, now)
                return
        if self._failure:
            self._journal.write("stream", self.stream.name, "delivery recovered")
        self._failure, self._retry_s, self._retry_at = "", _FIRST_RETRY_S, float("-inf")

    def _deliver(self, pending: _Pending) -> None:
        row = pending.row
        if not pending.planned:
            self._records.plan(row, b"".join(pending.chunk.digests) or None)
            pending.planned = True
        if not self._objects.put(row.uri, pending.data, create_only=True):
            self._keep_or_mend(row, pending.data)
        counts = replace(self._counts)
        counts.add_object(row)
        before, rest = self._counts.records, self._pending[1:]
        self._records.done(row.uri, self.stream.name, self._position(rest), counts.to_json())
        self._counts, self._pending = counts, rest
        RECORDS.labels(self.stream.name).inc(counts.records - before)
        OBJECTS.labels(self.stream.name).inc()
        BYTES.labels(self.stream.name).inc(row.size)
        self._journal.write(
            "stream", self.stream.name, "object put", uri=row.uri, records=row.records, size=row.size
        )

    def _keep_or_mend(self, row: LedgerRow, data: bytes) -> None:
        """Keep the object that is there already if it is ours and whole; a torn one is written again.

        The key holds a digest of the content, so no other content can rightly lie under it.
        """
        if hashlib.sha256(self._objects.get(row.uri)).hexdigest() != row.sha256:
            self._journal.write("stream", self.stream.name, "torn object mended", uri=row.uri)
            self._objects.put(row.uri, data)

    def _failed(self, error: Exception, now: float) -> None:
        FAILURES.labels(self.stream.name).inc()
        reason = f"{type(error).__name__}: {error}"[:500]
        if reason != self._failure or self._retry_s >= _LAST_RETRY_S:
            self._journal.write(
                "stream",
                self.stream.name,
                "delivery failed",
                error=reason,
                retry_s=self._retry_s,
                held=self.held_bytes(),
            )
        self._failure = reason
        self._retry_at = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, _LAST_RETRY_S)

    # recovery

    def _recover(self) -> None:
        """Read the ledger: what is delivered, and which plans must be finished."""
        for row in self._records.ledger(self.stream.name, from_sequence=self._start):
            if not row.done and self._is_there(row):
                self._records.done(row.uri, self.stream.name, self._start, self._counted(row))
            elif not row.done:
                self._plans.setdefault(row.partition, []).append(row)
                continue
            self._marks[row.partition] = max(self._marks.get(row.partition, 0), row.through_sequence)
        if self._plans:
            count = sum(len(rows) for rows in self._plans.values())
            self._journal.write("stream", self.stream.name, "finishing planned objects", objects=count)
        if self._seen is not None:
            since = utc(self._clock.time() - WINDOW_S)
            for digests in self._records.digests(self.stream.name, since=since, most=MOST):
                self._seen.load(digests)

    def _is_there(self, row: LedgerRow) -> bool:
        """Return whether the planned object is put and whole. A store that does not answer counts as no."""
        try:
            return hashlib.sha256(self._objects.get(row.uri)).hexdigest() == row.sha256
        except NotFound:
            return False
        except Exception as error:
            self._journal.write("stream", self.stream.name, "store does not answer", error=str(error)[:500])
            return False

    def _counted(self, row: LedgerRow) -> dict[str, Any]:
        self._counts.add_object(row)
        return self._counts.to_json()

    def _settle_plans(self, sequence: int) -> None:
        """Cut the partitions whose plans end at or before `sequence`: all their records are here again."""
        for partition, rows in list(self._plans.items()):
            while rows and rows[0].through_sequence <= sequence:
                row = rows.pop(0)
                if partition in self._buffers.open:
                    self._cut(partition, row)
                else:  # what fed it then (a rule's text, say) is no more
                    self._records.forget([row.uri])
                    self._journal.write("stream", self.stream.name, "planned object dropped", uri=row.uri)
            if not rows:
                del self._plans[partition]

    # telling

    def position(self) -> int:
        """Return the lowest sequence that this stream still needs."""
        return self._position(self._pending)

    def _position(self, pending: Sequence[_Pending]) -> int:
        needed = [self._taken + 1, *(each.chunk.from_sequence for each in pending)]
        first = self._buffers.first_sequence()
        return max(min(needed if first is None else [*needed, first]), self._start)

    def counts(self) -> dict[str, Any]:
        """Return what was delivered, refused and dropped so far."""
        return self._counts.to_json()

    def state(self) -> dict[str, Any]:
        """Return what waits, and why."""
        return {
            "open_partitions": len(self._buffers.open),
            "held_bytes": self.held_bytes(),
            "objects_under_way": len(self._pending),
            "last_error": self._failure,
            "can_take": self.can_take(),
        }

    def _count(self, name: str, number: int) -> None:
        setattr(self._counts, name, getattr(self._counts, name) + number)
        (ERRORS if name == "errors" else DUPLICATES).labels(self.stream.name).inc(number)


def parsed_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `data`, a byte-order mark before it allowed; None when there is none."""
    try:
        found = json_value(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def error_line(reading: Reading, reason: str, sequence: int) -> bytes:
    """Return the JSON line of a record that cannot be used; `raw` is in base64 where the bytes are no UTF-8."""
    document: dict[str, Any] = {"error": reason}
    try:
        document["raw"] = reading.payload.decode()
    except UnicodeDecodeError:
        document |= {"raw": base64.b64encode(reading.payload).decode(), "encoding": "base64"}
    document |= {"sequence": sequence, "arrived": utc(reading.arrived).isoformat(), "topic": reading.topic}
    return orjson.dumps(document) + b"\n"
