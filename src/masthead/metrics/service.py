"""The verbs of the room. Every face calls these; what runs in the background is in `running`.

service.create_detector(spec); service.validate(name); service.activate(name)
service.list_groups(name); service.chart(name, "CO", {"LOCATION_ID": "B-101"})
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.folder import DataFolder
from masthead.base.ids import new_id
from masthead.base.log import Journal
from masthead.base.pages import Page, check_limit
from masthead.metrics import records
from masthead.metrics.anomalies import AnomalyVerbs
from masthead.metrics.bounds import Bounds
from masthead.metrics.feeds import Feed, Feeds
from masthead.metrics.records import Detector, Execution
from masthead.metrics.spec import DetectorSpec, Source, require_apart
from masthead.store.engine import Database
from masthead.store.objects import Objects

if TYPE_CHECKING:
    from masthead.flows.service import Flows
    from masthead.learn.endpoints import Endpoints
    from masthead.learn.records import Endpoint
    from masthead.metrics.effects import Alerts
    from masthead.metrics.intake import RecordLike
    from masthead.metrics.results import Chart
    from masthead.metrics.running import Runner
    from masthead.metrics.samples import Guess, Sample
    from masthead.metrics.validation import Validation

__all__ = ["MetricsService", "RoutedRecords"]

EDITABLE = ("created", "stopped", "failed", "backtested")
MOST_POINTS = 100_000


class RoutedRecords(Protocol):
    """Records of one log message for one detector."""

    @property
    def detector(self) -> str: ...
    @property
    def sequence(self) -> int: ...
    @property
    def records(self) -> "Sequence[RecordLike]": ...


class MetricsService(AnomalyVerbs):
    """Detectors: made, validated, run and asked.

    Only the process that calls `take`, `tick` or `position` runs detectors; any other may change them, and the
    running one follows by `refresh`.

    Args:
        database: Holds detectors, groups and scores.
        objects: Where `s3://` paths lead.
        alerts: Hears of every change of a group.
        clock: The time of intervals closed by clock.
        journal: One log per detector.
        folder: Holds snapshots and interval logs.
        bounds: Limits of detectors, memory and stored scores.
        jobs: Runs activations and back-tests durably; None: in this process only, begun anew after a crash.
        endpoints: Where detectors are deployed.
    """

    def __init__(
        self,
        database: Database,
        objects: Objects,
        alerts: "Alerts",
        clock: Clock,
        journal: Journal,
        folder: DataFolder,
        *,
        bounds: Bounds | None = None,
        jobs: "Flows | None" = None,
        endpoints: "Endpoints | None" = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._objects, self._alerts = database, objects, alerts
        self._endpoints = endpoints
        self._clock, self._journal, self._folder = clock, journal, folder
        self._bounds = bounds or Bounds()
        self._lock = threading.RLock()
        self._monotonic = monotonic
        self._running: Runner | None = None
        self._feeds, self._jobs = Feeds(), jobs
        self._changed: Callable[[], None] = lambda: None
        self._rules: Callable[[], Mapping[str, bool] | None] = lambda: None

    @property
    def _runner(self) -> "Runner":
        """Return what runs detectors. It brings the compiled kernel and the readers of files: made when it is needed."""
        with self._lock:
            if self._running is None:
                from masthead.metrics.running import Runner

                self._running = Runner(
                    self._database,
                    self._objects,
                    self._alerts,
                    self._clock,
                    self._journal,
                    self._folder,
                    self._bounds,
                    self._monotonic,
                    self._feeds,
                    self._jobs,
                )
            return self._running

    def on_change(self, tell: Callable[[], None]) -> None:
        """Name who is to know, before the verb that did it returns, that other detectors listen to the stream now."""
        self._changed = tell

    def _wake(self) -> None:
        """Tell what runs that a row changed; what does not run yet reads every row when it begins."""
        if self._running is not None:
            self._running.wake()

    def _wake_and_tell(self) -> None:
        self._wake()
        self._changed()

    # ------------------------------------------------------------------ detectors

    def create_detector(self, spec: DetectorSpec | Mapping[str, Any]) -> Detector:
        """Return the stored detector, in the state `created`.

        Raises:
            InvalidInput: A field is outside its domain.
            Conflict: The name is taken.
            LimitReached: There are too many detectors, or it has too many measures or dimensions.
        """
        given = spec if isinstance(spec, DetectorSpec) else DetectorSpec.from_json(spec)
        self._require_fit(given)
        now = self._clock.now()
        found = Detector(given.name, "created", "", given, now, now)
        with self._database.write() as connection:
            if records.find_detector(connection, given.name) is not None:
                raise Conflict(f"name: a detector {given.name} exists already")
            records.require_room(connection, self._bounds.detectors)
            records.put_detector(self._database, connection, found)
        self._journal.write("detector", given.name, "created")
        return found

    def update_detector(self, name: str, changes: Mapping[str, Any]) -> Detector:
        """Return the detector with some fields of its specification replaced (`time`, `source` whole).

        Raises:
            NotFound: There is no such detector.
            InvalidInput: A field is outside its domain, or the name would change.
            Conflict: It is running: deactivate it first.
            LimitReached: It would have too many measures or dimensions.
        """
        return self._changed_detector(name, changes)

    def _require_fit(self, spec: DetectorSpec) -> None:
        require_apart(spec.measures, spec.dimensions)
        self._bounds.cube.require(measures=len(spec.measures), dimensions=len(spec.dimensions))

    def _changed_detector(self, name: str, changes: Mapping[str, Any], *, first: bool = False) -> Detector:
        if changes.get("name", name) != name:
            raise InvalidInput(f"name: expected {name}, which cannot change, got {shown(changes['name'])}")
        with self._database.write() as connection:
            found = records.require_detector(connection, name)
            if first and found.spec.source is not None:
                raise LimitReached(f"dataset: expected at most one, {name} has its own already")
            self._require_state(found, EDITABLE, "changed")
            changed = _with(found, spec=found.spec.changed(changes), updated=self._clock.now())
            self._require_fit(changed.spec)
            records.put_detector(self._database, connection, changed)
        self._journal.write("detector", name, "changed", fields=sorted(changes))
        return changed

    def set_dataset(self, name: str, part: Mapping[str, Any], *, first: bool = False) -> Detector:
        """Return the detector with its data set: `source`, `time`, `measures`, `dimensions`, `filters` and the like.

        Args:
            first: It must have none yet: a detector has exactly one.

        Raises: As `update_detector`.
            LimitReached: It has one, and this was to be the first.
        """
        return self._changed_detector(name, part, first=first)

    def list_detectors(self) -> list[Detector]:
        """Return every detector, by name."""
        with self._database.read() as connection:
            return records.all_detectors(connection)

    def get_detector(self, name: str) -> Detector:
        """Return a detector.

        Raises:
            NotFound: There is none of that name.
        """
        with self._database.read() as connection:
            return records.require_detector(connection, name)

    def delete_detector(self, name: str, *, stop: bool = False) -> None:
        """Delete a detector with its groups, scores and alert rules; the objects it read stay.

        Args:
            stop: One that runs is stopped first; it is `deleting` until the server has done so.

        Raises:
            NotFound: There is no such detector.
            Conflict: It is running, and was not to be stopped.
        """
        from masthead.metrics.running import erase  # arrays: not for commands that only name detectors

        with self._database.write() as connection:
            found = records.require_detector(connection, name)
            runs = found.state not in EDITABLE
            if not stop:
                self._require_state(found, EDITABLE, "deleted")
            if runs:
                records.set_state(connection, name, "deleting", now=self._clock.now())
            else:
                erase(connection, self._alerts, name)
        if runs:
            self._journal.write("detector", name, "deleting")
            self._end(name)
            return
        self._runner.forget(name)
        self._journal.delete("detector", name)

    # ------------------------------------------------------------------ life

    def activate(self, name: str, *, validated: bool = False, later: bool = False) -> Detector:
        """Begin to learn and to watch; return the detector, `activating`. The server does the work.

        Args:
            validated: Leave out the look at history and objects (the caller has just validated).
            later: Leave that look to the job: it may take long, and data that do not fit then end as `failed`.

        Raises:
            NotFound: There is no such detector.
            InvalidInput: The specification is not complete, or the data do not fit it; the finding is named.
            Conflict: It runs already, or it is a backtest.
        """
        found = self.get_detector(name)
        if found.spec.mode != "continuous":
            raise Conflict(
                "mode: a backtest never becomes live; make a new detector with its data as history"
            )
        return self._begin(found, "activating", ("created", "stopped", "failed"), validated, later)

    def backtest(self, name: str, *, validated: bool = False, later: bool = False) -> Detector:
        """Score all of a backtest detector's data once; return the detector, `backtesting`. The server does the work.

        Raises: As `activate`.
        """
        found = self.get_detector(name)
        if found.spec.mode != "backtest":
            if found.spec.source is None:  # it is not told of a mode that nobody chose
                raise Conflict(
                    "source: expected a detector with data to test on, got none; describe them first"
                )
            raise Conflict(f"mode: expected backtest, got {found.spec.mode}")
        return self._begin(
            found, "backtesting", ("created", "stopped", "failed", "backtested"), validated, later
        )

    def _begin(
        self, found: Detector, state: str, only: Sequence[str], validated: bool, later: bool
    ) -> Detector:
        self._require_state(found, only, "activated")
        found.spec.require_complete()
        if not (validated or later):
            self.validate(found.spec).require_valid()
        now = self._clock.now()
        with self._database.write() as connection:
            fresh = records.require_detector(connection, found.name)
            self._require_state(fresh, only, "activated")
            begun = _with(fresh, state=state, failure="", run=new_id("run"), updated=now)
            records.put_detector(self._database, connection, begun)
            records.put_execution(
                self._database,
                connection,
                Execution(
                    begun.run,
                    found.name,
                    "activation" if state == "activating" else "backtest",
                    "running",
                    now,
                    text=records.TO_VALIDATE if later else "",
                ),
            )
        self._journal.write("detector", found.name, state)
        self._wake_and_tell()
        return self.get_detector(found.name)

    def deactivate(self, name: str) -> Detector:
        """Stop a detector that learns or is active, or end its activation or back-test; return it.

        It is `stopped`, or `deactivating` while a server does it. What a cancelled job had found is removed.

        Raises:
            NotFound: There is no such detector.
            Conflict: It does not run.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            found = records.require_detector(connection, name)
            self._require_state(found, (*records.RUNNING, "backtesting"), "deactivated")
            records.set_state(connection, name, "deactivating", now=now)
        self._journal.write("detector", name, "deactivating")
        self._end(name)
        return self.get_detector(name)

    def _end(self, name: str) -> None:
        """Do now what a row says that is to end, or leave it to the server that runs the detectors."""
        self._wake()
        if (self._running is not None and self._running.is_here()) or self._folder.served_by() is None:
            self._runner.stop(name)

    def deploy(self, name: str, endpoint: str = "") -> "Endpoint":
        """Let a copy of what a detector has learned answer under an endpoint's name; return the endpoint.

        Deploying again replaces the copy. The detector is not touched, and what becomes of it does not touch the copy.

        Args:
            endpoint: "" = the detector's name, with `-` for `_`.

        Raises:
            NotFound: There is no such detector.
            InvalidInput: The name cannot be an endpoint's.
            Conflict: The detector has learned nothing yet, or the endpoint serves another model.
            LimitReached: There are too many endpoints.
        """
        from masthead.metrics.endpoint import deploy_detector

        if self._endpoints is None:
            raise Conflict("endpoints: this process has none")
        made = deploy_detector(
            self.get_detector(name),
            endpoint,
            folder=self._folder,
            endpoints=self._endpoints,
            clock=self._clock,
            limits=self._bounds.cube,
        )
        self._journal.write("detector", name, "deployed", endpoint=made.name, version=made.about["version"])
        return made

    def cancel_job(self, job: str) -> Detector | None:
        """End the activation or back-test of that id, as `deactivate` does; None = it is no job of a detector.

        Raises:
            Conflict: It has ended.
        """
        with self._database.read() as connection:
            name = records.detector_of(connection, job)
            row = None if name is None else records.find_detector(connection, name)
            running = records.is_running(connection, job)
        if row is None:
            return None
        if row.run != job or not running:
            raise Conflict(f"id: job {job} has ended already")
        return self.deactivate(row.name)

    def validate(self, detector: str | DetectorSpec | Mapping[str, Any]) -> "Validation":
        """Return what the data look like under a specification, without side effects.

        What the specification leaves open (time, measures, dimensions) is guessed; `used` in the answer tells it.

        Raises:
            NotFound: There is no such detector.
            InvalidInput: A field of the specification is outside its domain.
            LimitReached: It has too many measures or dimensions.
        """
        from masthead.metrics.validating import validate

        if isinstance(detector, str):
            detector = self.get_detector(detector).spec
        spec = detector if isinstance(detector, DetectorSpec) else DetectorSpec.from_json(detector)
        self._require_fit(spec)
        self._feeds.forget()
        return validate(spec, self._objects, self._feeds.of(spec), self._rules())

    def try_message(self, name: str, payload: bytes | str) -> dict[str, Any]:
        """Return what a detector would make of one message: its rows by series, or why it cannot be used.

        Raises:
            NotFound: There is no such detector. InvalidInput: Its specification is not complete.
        """
        from masthead.metrics.trying import try_message

        data = payload.encode() if isinstance(payload, str) else payload
        return try_message(self.get_detector(name).spec, data, self._clock.time())

    def sample_rows(self, source: Source | Mapping[str, Any], *, limit: int = 20) -> "Sample":
        """Return the first rows of a source of files, as they stand; no detector is needed.

        Raises:
            InvalidInput: There is no file with rows, or a field is outside its domain.
        """
        from masthead.metrics.samples import sample_rows

        check_limit(limit)
        return sample_rows(_source(source), self._objects, limit=limit)

    def detect(self, source: Source | Mapping[str, Any], *, zone: str = "UTC") -> "dict[str, Guess]":
        """Return what the files of a source seem to be: form, delimiter, header, interval, each with its confidence.

        Raises:
            InvalidInput: There is no file with rows, or a field is outside its domain.
        """
        from masthead.metrics.samples import detect

        return detect(_source(source), self._objects, zone=zone)

    # ------------------------------------------------------------------ scores and quality

    def series(self, detector: str) -> list[dict[str, Any]]:
        """Return every series of a detector's present run: `{"measure", "dimensions"}`; `*` = all values."""
        from masthead.metrics import results

        with self._database.read() as connection:
            found = records.require_detector(connection, detector)
            names = found.spec.dimensions
            return [
                {"measure": key[0], "dimensions": dict(zip(names, key[1], strict=True))}
                for run, _, key in results.find_series(connection, detector)
                if run == found.run
            ]

    def chart(
        self,
        detector: str,
        measure: str,
        dimensions: Mapping[str, str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int = 5_000,
    ) -> "Chart":
        """Return one series over time: the last `limit` intervals from `start` to before `end`.

        Raises:
            NotFound: There is no such detector or series.
        """
        from masthead.metrics import results

        if not 1 <= limit <= MOST_POINTS:
            raise InvalidInput(f"limit: expected 1 to {MOST_POINTS:,}, got {limit}")
        with self._database.read() as connection:
            found = records.require_detector(connection, detector)
            wanted = _key(found.spec, measure, dimensions)
            return results.find_chart(
                connection,
                detector,
                wanted,
                names=found.spec.dimensions,
                interval_s=found.spec.interval_s,
                start_s=start.timestamp() if start else 0.0,
                end_s=end.timestamp() if end else 1e12,
                limit=limit,
            )

    def data_quality(self, name: str) -> dict[str, Any]:
        """Return what was found about a detector's data: rows, intervals, duplicates, late and refused records.

        Of a running detector what is late, doubled or refused counts within a second, rows when their interval closes.
        """
        with self._database.read() as connection:
            found = records.require_detector(connection, name)
            stored, facts = records.find_quality(connection, name), records.find_facts(connection, found.run)
        live = {
            key: value for key, value in facts.items() if key not in ("progress", "late_in_a_row", "waiting")
        }
        place = {"error_place": found.error_place}
        return {
            "detector": name,
            **live,
            **place,
            "findings": _arrival_findings(found, facts),
            "data": stored,
        }

    def executions(
        self,
        name: str,
        *,
        limit: int = 100,
        token: str | None = None,
        at: datetime | None = None,
        intervals: bool = False,
    ) -> Page[Execution]:
        """Return a detector's activations and backtests, the latest first.

        Args:
            at: Only those that began in this second; aware.
            intervals: Also the scored intervals of its present run, each at its start.

        Raises:
            NotFound: There is no such detector.
            InvalidInput: The limit or the token is outside its domain.
        """
        from masthead.metrics.answers import page_executions

        with self._database.read() as connection:
            found = records.require_detector(connection, name)
            return page_executions(connection, found, limit=limit, token=token, at=at, intervals=intervals)

    # ------------------------------------------------------------------ the running part

    def start(self) -> None:
        """Make the jobs known, so that those which a crash interrupted can go on."""
        self._runner.wake()

    def take(self, routed: RoutedRecords) -> None:
        """Give records to a running detector; of others they are dropped. One caller at a time, sequences rising."""
        self._runner.take(routed.detector, routed.sequence, routed.records)

    def advance(self, sequence: int, arrived: float | None = None) -> None:
        """Learn that all readings up to `sequence` have been given; `arrived` is when its last one came."""
        self._runner.advance(sequence, arrived)

    def tick(self, now: float) -> None:
        """Do what is due: close intervals by clock, begin and end detectors, learn feedback, trim."""
        self._runner.tick(now)

    def position(self) -> int | None:
        """Return the sequence from which readings must be given again after a restart; None: none are needed."""
        return self._runner.position()

    def refresh(self) -> None:
        """Follow what another process has changed."""
        self._feeds.forget()
        self._wake()

    def topic_routes(self) -> dict[str, str]:
        """Return detector -> topic filter of the detectors that listen to topics now."""
        return {spec.name: spec.source.topic for spec in self._sources() if spec.source and spec.source.topic}

    def rule_routes(self) -> dict[str, str]:
        """Return detector -> rule of the detectors that read what a rule selects now."""
        return {spec.name: spec.source.rule for spec in self._sources() if spec.source and spec.source.rule}

    def seal_delays(self) -> dict[str, float]:
        """Return delivery stream -> how long after an interval's end the detectors of its folders still wait, s."""
        found: dict[str, float] = {}
        for spec in self._sources():
            for feed in self._feeds.of(spec):
                found[feed.name] = max(found.get(feed.name, 0.0), float(spec.delay_s))
        return found

    def _sources(self) -> list[DetectorSpec]:
        return [one.spec for one in self.list_detectors() if one.state in records.RUNNING]

    def follow_feeds(self, ask: Callable[[], Sequence[Feed]]) -> None:
        """Learn who knows the delivery streams: validation judges their folders, detectors wait for their word."""
        self._feeds.follow(ask)

    def follow_rules(self, ask: Callable[[], Mapping[str, bool]]) -> None:
        """Learn who knows the topic rules, each with whether it is enabled: validation looks for those of a source."""
        self._rules = ask

    def sealed(self, stream: str, start_s: int) -> None:
        """Learn that a delivery stream has put all of an interval: its folder is read at the next tick."""
        self._feeds.seal(stream, start_s)

    def wait(self, name: str, timeout_s: float = 60.0) -> Detector:
        """Return the detector once its job has ended: neither activating, backtesting nor deactivating."""
        return self._runner.wait(name, timeout_s)

    def close(self) -> None:
        """Bring every detector to rest with a snapshot."""
        if self._running is not None:
            self._running.close()

    def _require_state(self, found: Detector, only: Sequence[str], what: str) -> None:
        if found.state not in only:
            raise Conflict(
                f"state: {found.name} is {found.state} and can be {what} only when {' or '.join(only)}"
            )


def _arrival_findings(found: Detector, facts: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what the counts of a running detector mean, each with the next action, as validation tells it."""
    from masthead.metrics.quality import judge_arrivals

    rows, waiting, late, in_a_row = (
        int(facts.get(key, 0)) for key in ("rows", "waiting", "late", "late_in_a_row")
    )
    judged = judge_arrivals(rows + waiting, late, in_a_row, found.spec.delay_s)
    if judged is None:
        return []
    return [{"level": "warning", "field": "time", "message": judged[0], "action": judged[1]}]


def _source(given: Source | Mapping[str, Any]) -> Source:
    return given if isinstance(given, Source) else Source.from_json(given)


def _with(found: Detector, **changes: Any) -> Detector:
    return replace(found, **changes)


def _key(
    spec: DetectorSpec, measure: str, dimensions: Mapping[str, str] | None
) -> tuple[str, tuple[str, ...]]:
    """Return a series' key; dimensions left out are rolled up."""
    given = dict(dimensions or {})
    for name in given:
        if name not in spec.dimensions:
            raise NotFound(f"dimensions: {spec.name} has none named {shown(name)}", field="dimensions")
    return measure, tuple(given.get(name, "*") for name in spec.dimensions)
