"""The one place that builds everything and composes the rooms: what a face does, it does through `Masthead`.

    with Masthead.open(settings) as masthead:
        masthead.metrics.list_detectors()

A reading walks down once: the devices' door calls `take`, rules and delivery streams have their turn, then the
detectors. Time comes in by `tick`, what other processes change by `refresh`.
"""

import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from masthead.access.arns import Arn
from masthead.base.clock import Clock, SystemClock
from masthead.base.errors import Conflict, LimitReached, MastheadError, NotFound
from masthead.base.folder import DataFolder
from masthead.base.ids import new_id
from masthead.base.log import Journal, get_logger
from masthead.base.secrets import SecretBox
from masthead.base.settings import Settings
from masthead.store.engine import Database
from masthead.store.migrate import migrate
from masthead.store.objects import Objects

if TYPE_CHECKING:
    from masthead.access.gate import Gate
    from masthead.access.keys import KeyService
    from masthead.access.service import AccessService
    from masthead.alerts.events import AlertEvent
    from masthead.alerts.rules import AlertRule
    from masthead.alerts.service import AlertsService
    from masthead.alerts.watch import Drifted
    from masthead.flows.run import Run
    from masthead.flows.service import Flow, Flows
    from masthead.fraud.desk.portal import FraudPortal
    from masthead.fraud.pipeline.flows import Pipelines
    from masthead.fraud.pipeline.loads import Loads
    from masthead.fraud.service import FraudService
    from masthead.learn.endpoints import Endpoints
    from masthead.learn.later import Later
    from masthead.learn.models import ServedModel
    from masthead.learn.records import Endpoint, Usage
    from masthead.metrics.service import MetricsService
    from masthead.store.notes import Notes
    from masthead.streams.actions import Action
    from masthead.streams.readings import Batch, Ingest, Reading
    from masthead.streams.service import StreamsService
    from masthead.streams.works import Intake, Outcome

_WATCH_S = 5.0
_HOUSEKEEPING_S = 3600.0
_DAY_S = 86_400.0
_HALF_WRITTEN_S = 86_400.0  # no put takes a day


class Masthead:
    """Every service of one installation, built once and handed to each face."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.folder = DataFolder(settings.data).create()
        self.journal = Journal(self.folder.logs, clock=clock)
        self.database = Database.open(settings.database_url or self.folder.database_path)
        migrate(self.database, copy_from=self.folder.database_path if self.database.is_sqlite else None)
        self.secrets = self._open_secrets()
        self.objects = Objects(
            settings.objects_url or self.folder.objects, settings.objects_options, settings.buckets
        )
        self._ingest: Ingest | None = None
        self._behind_s: Callable[[], float | None] = lambda: None
        self._watched = self._housekept = 0.0
        self._fraud_looked: float | None = None
        self._fraud_looking: threading.Thread | None = None
        self._drifts: Mapping[str, Drifted | None] | None = None

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock | None = None) -> Self:
        """Return the product over a data folder; the folder and its database are made when absent.

        Opening takes no lock: commands and a server share a folder, and the database orders their writes.

        Raises:
            InvalidInput: A setting cannot be used.
            Conflict: The folder was written by a newer version, or its master key is missing while there are keys.
        """
        return cls(settings, clock=clock or SystemClock())

    def _open_secrets(self) -> SecretBox:
        """Return the box of secrets. A new master key is made only where nothing needs a former one."""
        path = self.folder.path / "master.key"
        if self.settings.master_key_file is None and not path.exists():
            from masthead.access.key_records import has_keys

            if has_keys(self.database):
                raise Conflict(
                    f"master_key_file: the keys of this installation were sealed with a master key that is not at {path}; "
                    "put it back, or name its file in MASTHEAD_MASTER_KEY_FILE"
                )
        return SecretBox.open_or_create(self.folder.path, self.settings.master_key_file)

    # Each room is built with its first use, and its modules are loaded only then: a command about things needs neither
    # detectors nor alerts, and starts in a third of the time.

    @cached_property
    def access(self) -> "AccessService":
        """Things, their certificates and policies."""
        from masthead.access.service import AccessService

        # Certificates are judged by TLS in real time, whatever a demonstration's clock shows.
        return AccessService(self.database, self.folder, self.secrets, SystemClock(), self.journal)

    @cached_property
    def keys(self) -> "KeyService":
        """Keys of programs, and the console's links and sessions."""
        from masthead.access.keys import KeyService

        return KeyService(self.database, self.secrets, SystemClock(), self.journal)

    @cached_property
    def gate(self) -> "Gate":
        """What every face asks before it does anything."""
        from masthead.access.audit import Audit
        from masthead.access.gate import Gate
        from masthead.access.key_records import KeyRecords
        from masthead.access.throttle import Throttle

        clock = SystemClock()
        throttle = Throttle(KeyRecords(self.database), clock, self.settings.limits_url)
        audit = Audit(self.folder.audit, clock)
        return Gate(
            self.keys, throttle, audit, clock, audit_reads=self.settings.audit_reads, tags_of=self.tags_of
        )

    @cached_property
    def notes(self) -> "Notes":
        """Tags of named things, and what a face remembers about them."""
        from masthead.store.notes import Notes

        return Notes(self.database)

    @cached_property
    def streams(self) -> "StreamsService":
        """Topic rules and delivery streams."""
        from masthead.streams.service import StreamsService
        from masthead.streams.webhooks import send_webhook

        made = StreamsService(
            self.database,
            self.objects,
            self.clock,
            self.journal,
            keep_days=self.settings.objects_keep_days,
            keep_gib=self.settings.objects_max_gib,
        )
        made.register_action("webhook", send_webhook)
        made.register_work("fraud", self._score_actions)
        made.on_sealed(lambda stream, start_s: self.metrics.sealed(stream, start_s))
        return made

    @cached_property
    def alerts(self) -> "AlertsService":
        """Alert rules and what they told."""
        from masthead.alerts.service import AlertsService

        # Alerts concern people and networks, so they live in real time, also while a demonstration's clock runs fast.
        return AlertsService(
            self.database, self.secrets, SystemClock(), self.journal, link=self._link, arn=self._arn
        )

    @cached_property
    def metrics(self) -> "MetricsService":
        """Detectors and the anomalies that they found."""
        from masthead.metrics.bounds import Bounds, Limits
        from masthead.metrics.service import MetricsService

        made = MetricsService(
            self.database,
            self.objects,
            self.alerts,
            self.clock,
            self.journal,
            self.folder,
            bounds=Bounds(
                cube=Limits(
                    series=self.settings.max_series,
                    measures=self.settings.max_measures,
                    dimensions=self.settings.max_dimensions,
                    records=self.settings.max_interval_records,
                ),
                detectors=self.settings.max_detectors,
                results_keep_s=self.settings.results_keep_days * 86_400,
                results_bytes=int(self.settings.results_max_gib * 2**30),
            ),
            jobs=self.flows,
            endpoints=self.endpoints,
        )
        made.follow_feeds(lambda: self.streams.feeds())
        made.follow_rules(lambda: {rule.name: rule.enabled for rule in self.streams.list_rules()})
        return made

    @cached_property
    def endpoints(self) -> "Endpoints":
        """Served models: what each capability deploys answers here, and is counted."""
        from masthead.learn.endpoints import Endpoints

        # Who is called when concerns people, so it is told in real time.
        made = Endpoints(
            self.database, SystemClock(), self.journal, timeout_s=self.settings.endpoint_timeout_s
        )
        made.register("detector", self._load_detector, self._remove_detector)
        made.register("fraud", self._load_fraud)  # its files stay: decisions refer to them
        return made

    @cached_property
    def fraud(self) -> "FraudService":
        """Transactions, the models that score them, and what was said of them."""
        from masthead.fraud.service import FraudService

        # Transactions concern people and shops, so they live in real time.
        return FraudService(
            self.database,
            self.folder,
            SystemClock(),
            self.journal,
            self.endpoints,
            sync=self.settings.fraud_sync,
            erased=lambda: self.pipelines.forget_copies(),
        )

    def _score_actions(self, actions: "Sequence[Action]") -> "list[Outcome]":
        """Score what rules selected; the room is built with the first transaction."""
        from masthead.fraud.rule_action import score_actions

        return score_actions(self.fraud, actions)

    def intakes(self) -> "Sequence[Intake]":
        """Return the subjects whose messages a room answers by itself; no table is read."""
        return self.fraud.intakes

    def answer(self, intake: "Intake", payloads: "Sequence[bytes]") -> "Sequence[Outcome]":
        """Return what became of messages of such a subject, once all of it is durable.

        Raises:
            LimitReached: There is no room now: all of them are to come again.
        """
        from masthead.fraud.rule_action import score_messages

        return score_messages(self.fraud, intake, payloads)

    @cached_property
    def portal(self) -> "FraudPortal":
        """What the console needs of transactions: the live feed, simulations, lists, thresholds, verdicts."""
        from masthead.fraud.desk.portal import FraudPortal

        return FraudPortal(self.database, self.folder, SystemClock(), self.journal, self.fraud)

    @cached_property
    def pipelines(self) -> "Pipelines":
        """Runs from files to an endpoint."""
        from masthead.fraud.pipeline.flows import Pipelines

        return Pipelines(self.folder, self.flows, lambda: self.fraud, self.database)

    @cached_property
    def loads(self) -> "Loads":
        """History that is stored from files."""
        from masthead.fraud.pipeline.loads import Loads

        return Loads(self.folder, self.flows, lambda: self.fraud, self.database)

    def _load_fraud(self, source: "Mapping[str, Any]") -> "ServedModel":
        from masthead.fraud.endpoint import FraudEndpoint, GraphEndpoint

        if source.get("graph"):
            return GraphEndpoint(self.folder.models / source["model"])
        network = source.get("network")
        return FraudEndpoint(
            self.fraud, source, None if network is None else GraphEndpoint(self.folder.models / network)
        )

    def _load_detector(self, source: "Mapping[str, Any]") -> "ServedModel":
        from masthead.metrics.endpoint import load_detector  # brings the scorer: only where one answers

        return load_detector(self.folder, source)

    def _remove_detector(self, source: "Mapping[str, Any]") -> None:
        from masthead.metrics.endpoint import remove_detector

        remove_detector(self.folder, source)

    @cached_property
    def flows(self) -> "Flows":
        """Long jobs. DBOS behind them is loaded when the first one is to run."""
        from masthead.flows.service import Flows

        made = Flows(self.settings.flows_url or f"sqlite:///{self.folder.flows_path}", self.journal)
        made.register("invocation", self._answer_later)
        return made

    # ------------------------------------------------------------------ calls of endpoints

    def list_endpoints(self) -> "list[Endpoint]":
        """Return every endpoint with what was counted per key, and what each key has left of its quota."""
        found = self.endpoints.list()
        if not any(one.usage for one in found):
            return found
        keys = {key.id: key for key in self.keys.list_keys()}

        def told(usage: "Usage") -> "Usage":
            key = keys.get(usage.key)
            if key is None:
                return usage
            left = None if key.quota is None else self.gate.left(key).to_json()
            # What is left of a rate is known to the process that counts it, and gone in a moment.
            return replace(
                usage, name=key.name, left=left and {"quota": left["quota"], "resets": left["resets"]}
            )

        return [replace(one, usage=tuple(told(usage) for usage in one.usage)) for one in found]

    def get_endpoint(self, name: str) -> "Endpoint":
        """Return one endpoint, as `list_endpoints` does.

        Raises:
            NotFound: There is none of that name.
        """
        self.endpoints.get(name)
        return next(one for one in self.list_endpoints() if one.name == name)

    def invoke_later(self, endpoint: str, input: str, *, keep_s: float = 21_600.0, **options: Any) -> "Later":
        """Begin a call whose body is an object; return where its answer, or what went wrong, will lie.

        Args:
            endpoint: Who is to answer.
            input: Address of the body, `s3://bucket/key`.
            keep_s: After so long nobody wants the answer any more.
            options: Further fields of `Later`.

        Raises:
            NotFound: There is no such endpoint.
            InvalidInput: The address cannot be one.
            Conflict: This process ends.
        """
        from masthead.learn.later import Later

        self.endpoints.get(endpoint)
        until_s = SystemClock().time() + keep_s
        call = Later(new_id("call"), endpoint, input, until_s=until_s, **options)
        self.flows.start("invocation", call.id, call.to_json())
        return call

    def _answer_later(self, run: "Run", args: dict[str, Any]) -> dict[str, Any]:
        """Answer one call in the background: a busy model is asked again, ten times in a quarter of an hour."""
        from masthead.learn.later import answer_later, tell_failure

        def answer() -> str:
            return answer_later(self.endpoints, self.objects, args, SystemClock().time())

        try:
            return {"answer": run.step("invoke", answer, tries=10, pause_s=1.0)}
        except LimitReached as error:
            return {"answer": run.step("tell failure", tell_failure, self.objects, args, error)}

    def build(self) -> None:
        """Build every room now: a process of many threads calls it before they begin."""
        _ = (
            self.access,
            self.keys,
            self.gate,
            self.notes,
            self.streams,
            self.alerts,
            self.metrics,
            self.endpoints,
            self.fraud,
            self.portal,
            self.pipelines,
            self.loads,
        )
        self.flows.make_ready()

    # ------------------------------------------------------------------ the server's calls

    def start(self) -> None:
        """Begin what only the one server does: deliver alerts, run detectors. Readings may come after this."""
        self.build()
        self.alerts.start()
        self.metrics.on_change(self._route)
        self.metrics.start()
        self.fraud.start()  # the states are warm before the server is ready
        self.flows.open()
        self.pipelines.serve()
        self.loads.serve()
        self.refresh()

    def can_take(self) -> bool:
        """Return whether every sink has room for another batch."""
        return self.streams.can_take()

    def take(self, batch: "Batch") -> None:
        """Give a batch of readings to every sink. One caller at a time, sequences rising.

        Raises:
            LimitReached: A sink has no room (`can_take` said so); nothing was taken.
        """
        for routed in self.streams.take(batch):
            self.metrics.take(routed)
        self.metrics.advance(batch.sequence, batch.readings[-1].arrived if batch.readings else None)

    def tick(self, now: float) -> None:
        """Do what is due at `now`: flush buffers, close intervals, look after ourselves."""
        self.streams.tick(now)
        self.metrics.tick(now)
        self.endpoints.flush_if_due()
        real = time.monotonic()
        if real - self._watched >= _WATCH_S or not self._watched:
            self._watched = real
            self._watch()
            if self.flows.awake:
                threading.Thread(target=self.flows.rest, name="flows-rest", daemon=True).start()
        if real - self._housekept >= _HOUSEKEEPING_S or not self._housekept:
            self._housekept = real
            # In a thread: looking through a million objects must not hold up readings.
            threading.Thread(target=self._keep_house, name="housekeeping", daemon=True).start()
        if self._fraud_looked is None or now - self._fraud_looked >= _DAY_S:
            self._fraud_looked = now
            self._look_after_fraud()

    def position(self) -> int | None:
        """Return the sequence from which the stream of readings must be read again; None: from its end."""
        wanted = [place for place in (self.streams.position(), self.metrics.position()) if place is not None]
        return min(wanted) if wanted else None

    def refresh(self) -> None:
        """Follow what another process has changed in the database."""
        self.streams.refresh()
        self.metrics.refresh()
        self.alerts.refresh()
        self.endpoints.refresh()
        self.keys.refresh()
        self._route()
        self.fraud.refresh()
        self.pipelines.refresh()
        self.loads.refresh()

    def _route(self) -> None:
        """Lead the stream to the detectors that run now; a reading sent after `activate` returned is one of theirs."""
        self.streams.set_topic_routes(self.metrics.topic_routes(), self.metrics.rule_routes())
        self.streams.set_seal_delays(self.metrics.seal_delays())

    def kept_under(self, arn: str) -> tuple[str, datetime]:
        """Return under which name tags and notes of a resource are kept, and when it was born.

        Raises:
            InvalidInput: It is no ARN. NotFound: There is no such resource, or none that has tags.
        """
        resource = Arn.parse(arn).resource
        kind, _, name = re.sub("[:/]", " ", resource, count=1).partition(" ")
        if kind == "Alert":
            rule = self.alerts.get_rule(name)
            assert rule.created is not None  # every stored rule has it
            return f"alert:{rule.name}", rule.created
        if kind == "MetricSet":
            return f"dataset:{name}", self.metrics.get_detector(name.partition("/")[0]).created
        if kind == "AnomalyDetector":
            return f"detector:{name}", self.metrics.get_detector(name).created
        if kind == "deliverystream":
            return f"stream:{name}", self.streams.stream_born(name)
        raise NotFound(f"resource: {resource} has no tags")

    def tags_of(self, arn: str) -> dict[str, str]:
        """Return the tags of a resource, which policies may ask for; none of one that does not exist."""
        try:
            return self.notes.tags(*self.kept_under(arn))
        except MastheadError:
            return {}

    def alert_warnings(self, rule: "AlertRule") -> list[str]:
        """Return why an alert rule matches nothing that exists now: an unknown detector, measure or dimension."""
        from masthead.alerts.rules import Watched, warnings_of

        known = {
            one.name: Watched(
                frozenset(measure.name for measure in one.spec.measures), frozenset(one.spec.dimensions)
            )
            for one in self.metrics.list_detectors()
        }
        named = [one.name for one in self.alerts.list_channels()]
        return warnings_of(rule, known, named)

    def cancel_job(self, id: str) -> "Flow":
        """End a job and return it; a detector whose activation or back-test it is gets `stopped`.

        Raises:
            NotFound: There is no such job.
            Conflict: It has ended.
        """
        from masthead.flows.service import Flow

        if self.metrics.cancel_job(id) is None:
            return self.flows.cancel(id)
        try:
            return self.flows.get(id)
        except NotFound:  # it waits for a server, or was too short to be kept
            return Flow(id, "", "cancelled", {})

    # ------------------------------------------------------------------ the second door

    def register_ingest(
        self,
        ingest: "Ingest | None",
        behind_s: Callable[[], float | None] = lambda: None,
    ) -> None:
        """Name who stores readings durably, and who knows how old the oldest reading is that waits."""
        self._ingest, self._behind_s = ingest, behind_s

    def ingest(self, readings: "Sequence[Reading]", *, partly: bool = False) -> Sequence[int]:
        """Store readings that came by another door than MQTT; return the sequence of each once they are durable.

        Args:
            partly: Return those of the first ones when the others cannot be stored.

        Raises:
            LimitReached: No stream takes readings here: the role `devices` is not run, or not up yet. Or the stream
                takes no more; with `partly`: not even the first.
        """
        if self._ingest is None:
            raise LimitReached(
                "ingest: the stream of readings is not open; run `masthead serve` with the role devices"
            )
        return self._ingest(readings, partly=partly)

    # ------------------------------------------------------------------ ourselves

    def _watch(self) -> None:
        """Tell the conditions of Masthead itself through the same alerts as anomalies."""
        from masthead.alerts.watch import Facts

        things = [*self.access.list_things()]
        self.alerts.watch(
            Facts(
                ingest_behind_s=self._behind_s(),
                disk_free_bytes=float(shutil.disk_usage(self.folder.path).free),
                disk_warn_bytes=self.settings.disk_free_warn_gib * 2**30,
                certificates={thing.name: thing.expires for thing in things if not thing.revoked},
                drifts=self._drifts,
            )
        )

    def _look_after_fraud(self) -> None:
        """Once a day: challengers that are better take over, and drift becomes known to the self-watch."""
        if "fraud" not in vars(self) or (self._fraud_looking and self._fraud_looking.is_alive()):
            return

        def look() -> None:
            try:
                self._drifts = {name: _drifted(one) for name, one in self.fraud.look_after().items()}
            except Exception as error:  # tried again tomorrow; the server goes on
                get_logger("app").warning("deployments were not looked after", error=repr(error))

        self._fraud_looking = threading.Thread(target=look, name="fraud-daily", daemon=True)
        self._fraud_looking.start()

    def _keep_house(self) -> None:
        """Remove what is too old to be asked for, and what a crash left half written."""
        now = SystemClock().now()
        before = now - timedelta(days=self.settings.results_keep_days)
        parts: tuple[tuple[str, Callable[[], int]], ...] = (
            ("alerts", lambda: self.alerts.trim(before)),
            ("jobs", lambda: self.flows.trim(before)),
            ("audit", lambda: self.gate.audit.trim()),
            ("objects", lambda: self.objects.sweep(older_than_s=_HALF_WRITTEN_S, now=now.timestamp())),
        )
        for name, work in parts:
            try:
                work()
            except Exception as error:  # tried again in an hour; the rest goes on
                get_logger("app").warning("housekeeping failed", part=name, error=repr(error))

    def _link(self, event: "AlertEvent") -> str:
        """Return the address of an event's page in the console: of the server that runs, whoever asks, else as set."""
        served = self.folder.served_at() or {}
        url = served.get("url") or f"http://{self.settings.host}:{self.settings.port}"
        return f"{url}/ui/groups/{event.group}"

    def _arn(self, kind: str, name: str) -> str:
        """Return the resource name that a client was given when it made an alert rule or a detector, else a plain one."""
        from masthead.alerts.messages import plain_arn

        plain = plain_arn(kind, name)
        try:
            if kind == "Alert":
                born, resource = self.alerts.get_rule(name).created, f"alert:{name}"
            else:
                born, resource = self.metrics.get_detector(name).created, f"detector:{name}"
        except NotFound:
            return plain
        return plain if born is None else str(self.notes.note(resource, born).get("arn", plain))

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """Bring everything to rest: deliveries, snapshots, buffers, connections."""
        built = vars(self)  # a room that nobody asked for has nothing to bring to rest
        if self._fraud_looking is not None:
            self._fraud_looking.join(10)
        if "flows" in built:
            self.flows.close(wait_s=10)
        if "alerts" in built:
            self.alerts.stop()
        if "metrics" in built:
            self.metrics.close()
        if "endpoints" in built:
            self.endpoints.close()
        if "portal" in built:
            self.portal.close()
        if "streams" in built:
            self.streams.close()
        if "fraud" in built:  # behind the rules whose transactions it scores
            self.fraud.close()
        if "gate" in built:
            self.gate.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _drifted(found: "Mapping[str, Any]") -> "Drifted | None":
    """Return a deployment's drift as the self-watch needs it; None: of so few transactions it tells nothing."""
    from masthead.alerts.watch import Drifted
    from masthead.fraud.live.champions import ENOUGH

    if found["window"]["transactions"] < ENOUGH:
        return None
    column, index = next(iter(found["features"].items()), ("", 0.0))
    moved = sum(name != "score" for name in found["moved"])
    return Drifted(found["score"], column, index, moved, found["window"]["transactions"], found["alert_from"])
