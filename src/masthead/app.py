"""The one place that builds everything and composes the rooms: what a face does, it does through `Masthead`.

    with Masthead.open(settings) as masthead:
        masthead.metrics.list_detectors()

A reading walks down once: the devices' door calls `take`, rules and delivery streams have their turn, then the
detectors. Time comes in by `tick`, other processes' changes by `refresh`.
"""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from masthead.access.service import AccessService
from masthead.alerts.service import AlertService
from masthead.base.clock import Clock, SystemClock
from masthead.base.errors import LimitReached
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.base.settings import Settings
from masthead.flows.service import Flows
from masthead.metrics.service import MetricsService
from masthead.store.engine import Database
from masthead.store.migrate import migrate
from masthead.store.objects import Objects
from masthead.streams.readings import Batch, Reading
from masthead.streams.service import StreamsService

_HOUSEKEEPING_S = 60.0


class Masthead:
    """Every service of one installation, built once and handed to each face."""

    def __init__(self, settings: Settings, *, clock: Clock) -> None:
        self.settings, self.clock = settings, clock
        self.folder = DataFolder(settings.data).create()
        self.journal = Journal(self.folder.logs, clock=clock)
        self.secrets = SecretBox.open_or_create(self.folder.path, settings.master_key_file)
        self.database = Database.open(settings.database_url or self.folder.database_path)
        migrate(self.database, copy_from=self.folder.database_path if self.database.is_sqlite else None)
        self.objects = Objects(self.folder.objects)
        self.flows = Flows(settings.flows_url or self.folder.flows_path, journal=self.journal)
        self.access = AccessService(self.database, self.folder, self.secrets, clock, self.journal)
        self.streams = StreamsService(self.database, self.objects, clock, self.journal)
        self.alerts = AlertService(self.database, self.secrets, clock, self.journal)
        self.metrics = MetricsService(self.database, self.objects, self.alerts, clock, self.journal, self.folder)
        self._ingest: Callable[[Sequence[Reading]], None] | None = None
        self._housekept = time.monotonic()
        self.refresh()

    @classmethod
    def open(cls, settings: Settings, *, clock: Clock | None = None) -> Self:
        """Return the product over a data folder; the folder and its database are made when absent.

        Opening takes no lock: commands and a server share a folder, and the database orders their writes.

        Raises:
            InvalidInput: A setting cannot be used.
            Conflict: The folder was written by a newer version.
        """
        return cls(settings, clock=clock or SystemClock())

    def take(self, batch: Batch) -> None:
        """Give a batch of readings to every sink. One caller at a time, sequences rising."""
        for routed in self.streams.take(batch):
            self.metrics.take(routed)
        self.metrics.advance(batch.sequence)

    def tick(self, now: float) -> None:
        """Do what is due at `now`: flush buffers, close intervals, keep house once a minute."""
        self.streams.tick(now)
        self.metrics.tick(now)

    def position(self) -> int | None:
        """Return the sequence from which the stream of readings must be read again; None: from its end."""
        wanted = [place for place in (self.streams.position(), self.metrics.position()) if place is not None]
        return min(wanted) if wanted else None

    def refresh(self) -> None:
        """Follow what another process has changed in the database."""
        self.streams.refresh()
        self.metrics.refresh()
        self.streams.set_topic_routes(self.metrics.topic_routes())

    def register_ingest(self, ingest: Callable[[Sequence[Reading]], None] | None) -> None:
        """Name who stores readings durably: the devices' door, once it is open."""
        self._ingest = ingest

    def ingest(self, readings: Sequence[Reading]) -> None:
        """Store readings that came by another door than MQTT; returns once they are durable.

        Raises:
            LimitReached: No stream takes readings here: the role `devices` is not run, or not up yet.
        """
        if self._ingest is None:
            raise LimitReached("ingest: the stream of readings is not open; run `masthead serve` with the role devices")
        self._ingest(readings)

    def close(self) -> None:
        """Bring everything to rest: snapshots, deliveries, connections."""
        self.metrics.close()
        self.alerts.close()
        self.flows.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
