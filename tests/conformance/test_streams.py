"""Delivery streams on every database engine: the same rows, the same objects, also after a crash."""

from typing import Any

import pytest

from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.store.engine import Database
from masthead.store.objects import Objects
from masthead.streams.readings import Batch, Reading
from masthead.streams.service import StreamsService

START = 1_648_164_600.0
AIR: dict[str, Any] = {
    "name": "air",
    "destination": "s3://readings/",
    "prefix": "air/!{timestamp:HHmm}/",
    "error_prefix": "bad/!{firehose:error-output-type}/",
    "event_time": {"column": "T", "format": "epoch_s", "interval": "5m"},
    "retention_days": 1,
}
RULE: dict[str, Any] = {
    "name": "all",
    "sql": "SELECT * FROM '#'",
    "actions": [{"kind": "delivery_stream", "name": "air"}],
}


def batch(sequence: int, *times: float) -> Batch:
    readings = [Reading("air/x", b'{"T":%d}' % time, START, "x") for time in times]
    return Batch(sequence, tuple(readings))


def test_streams_work_on_every_database(any_database: Database, folder: DataFolder) -> None:
    clock = ManualClock(START)
    objects = Objects(folder.objects)

    def service() -> StreamsService:
        return StreamsService(any_database, objects, clock, Journal(folder.logs, clock=clock))

    streams = service()
    streams.create_stream(AIR)
    streams.create_rule(RULE)
    with pytest.raises(Conflict):
        streams.create_rule(RULE)
    log = [batch(1, START, START), batch(2, START + 300), batch(3, START + 300, START)]
    for each in log:
        streams.take(each)
    streams.tick()
    assert streams.position() == 2
    streams = service()  # what was in memory is lost
    assert streams.position() <= 2
    for each in log[streams.position() - 1 :]:
        streams.take(each)
    assert streams.flush()
    state = streams.stream_state("air")
    assert (state.records, state.objects, state.duplicates, state.position) == (2, 2, 3, 4)
    assert sorted(info.uri.split("/")[4] for info in objects.list("s3://readings/air/")) == ["2330", "2335"]
    clock.advance(86_401)
    streams.tick()
    assert list(objects.list("s3://readings/")) == []
    streams.delete_rule("all")
    streams.delete_stream("air")
    with pytest.raises(NotFound):
        streams.delete_stream("air")
    streams.close()
