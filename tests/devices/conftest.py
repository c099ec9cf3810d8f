"""A small application that keeps what it takes."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from masthead.access.service import AccessService
from masthead.base.clock import SystemClock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.base.settings import Settings
from masthead.devices.host import DeviceHost
from masthead.store.engine import Database
from masthead.streams.readings import Batch, Reading
from masthead.streams.works import Intake, Outcome


class Product:
    """The application as the host sees it. Its memory is lost with it, so its place starts at 1."""

    def __init__(self, data: Path, **options: Any) -> None:
        self.settings = Settings(data=data, aws_port=0, mqtt_port=0, mqtt_plain_port=0, **options)
        self.clock = SystemClock()
        self.folder = DataFolder(data).create()
        self.secrets = SecretBox.open_or_create(data)
        self.journal = Journal(self.folder.logs)
        self.database = Database.open(self.folder.database_path)
        self.database.create_all()
        self.access = AccessService(self.database, self.folder, self.secrets, self.clock, self.journal)
        self.alerts = self.streams = self
        self.senders: dict[str, Any] = {}  # of rules' actions
        self.channels: dict[str, Any] = {}  # of alerts
        self.ingest: Callable[[Sequence[Reading]], None] | None = None
        self.batches: list[Batch] = []
        self.failures = 0
        self.place: int | None = 1
        self.subjects: tuple[Intake, ...] = ()
        self.worker: Callable[[Intake, Sequence[bytes]], Sequence[Outcome]] = lambda intake, payloads: []
        self._changed = threading.Condition()

    def can_take(self) -> bool:
        return True

    def register_action(self, kind: str, sender: Any) -> None:
        self.senders[kind] = sender

    def take(self, batch: Batch) -> None:
        with self._changed:
            if self.failures:
                self.failures -= 1
                raise OSError("the sink is full")
            self.batches.append(batch)
            self._changed.notify_all()

    def position(self) -> int | None:
        return self.place

    def intakes(self) -> Sequence[Intake]:
        return self.subjects

    def answer(self, intake: Intake, payloads: Sequence[bytes]) -> Sequence[Outcome]:
        return self.worker(intake, payloads)

    def register_ingest(self, ingest: Any, behind_s: Any = None) -> None:
        self.ingest = ingest

    def register_channel(self, kind: str, sender: Any) -> None:
        self.channels[kind] = sender

    @property
    def readings(self) -> list[Reading]:
        return [reading for batch in self.batches for reading in batch.readings]

    def await_readings(self, count: int, timeout_s: float = 10) -> list[Reading]:
        """Return the readings once there are `count`; more are an error."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self.readings) < count and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
        assert len(self.readings) == count, self.readings
        return self.readings


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    made = Product(tmp_path / "data")
    yield made
    made.database.close()


@pytest.fixture
def host(product: Product) -> Iterator[DeviceHost]:
    made = DeviceHost(product)
    made.start()
    yield made
    made.stop()
