"""A small house for streams: a database, a folder of objects and a clock that is turned by hand."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from masthead.base.clock import ManualClock
from masthead.base.log import Journal
from masthead.store.engine import Database
from masthead.store.objects import Objects
from masthead.streams.readings import Batch, Reading
from masthead.streams.service import StreamsService

START = 1_648_164_600.0  # 2022-03-24T23:30Z
EVENT_TIME = {"column": "T", "format": "epoch_s", "zone": "UTC", "interval": "5m"}
AIR = {
    "name": "air",
    "destination": "s3://readings/",
    "prefix": "air/!{timestamp:yyyyMMdd/HHmm}/",
    "error_prefix": "bad/!{firehose:error-output-type}/",
    "buffer_s": 60,
    "buffer_mib": 1,
    "event_time": EVENT_TIME,
}
RULE = {"name": "all", "sql": "SELECT * FROM '#'", "actions": [{"kind": "delivery_stream", "name": "air"}]}


@dataclass
class House:
    """Everything that survives a crash, and the service, which does not."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    log: list[Batch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = Database.open(self.folder / "masthead.db")
        self.database.create_all()
        self.objects: Any = Objects(self.folder / "objects")
        self.journal = Journal(self.folder / "logs", clock=self.clock)
        self.streams = self.service()

    def service(self) -> StreamsService:
        return StreamsService(self.database, self.objects, self.clock, self.journal)

    def crash(self) -> None:
        """Lose what is in memory, and read the log again from the position that was kept."""
        self.streams = self.service()
        position = self.streams.position()
        for batch in self.log:
            if batch.sequence >= position:
                self.streams.take(batch)

    def send(
        self, *payloads: Any, thing: str | None = "b-101", topic: str = "air/b-101", take: bool = True
    ) -> Batch:
        readings = tuple(
            Reading(topic, each if isinstance(each, bytes) else orjson.dumps(each), self.clock.time(), thing)
            for each in payloads
        )
        batch = Batch(len(self.log) + 1, readings)
        self.log.append(batch)
        if take:
            self.streams.take(batch)
        return batch

    def content(self, bucket: str = "readings") -> dict[str, bytes]:
        """Return key -> bytes of every object."""
        start = f"s3://{bucket}/"
        return {info.uri.removeprefix(start): self.objects.get(info.uri) for info in self.objects.list(start)}

    def folders(self) -> dict[str, list[Any]]:
        """Return folder -> records, in the order of the objects' keys."""
        found: dict[str, list[Any]] = {}
        for key, data in self.content().items():
            records = [orjson.loads(line) for line in data.splitlines()]
            found.setdefault(key.rpartition("/")[0], []).extend(records)
        return found

    def events(self, kind: str, name: str) -> list[str]:
        return [line["event"] for line in self.journal.read(kind, name)]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.streams.close()
    house.database.close()


@pytest.fixture
def air(house: House) -> House:
    """Return a house with one stream by event time and one rule that feeds it with everything."""
    house.streams.create_stream(AIR)
    house.streams.create_rule(RULE)
    house.streams.tick()
    return house
