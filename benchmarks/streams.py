"""Readings per second through rules and delivery streams, from packed batches to durable objects.

    python benchmarks/streams.py [READINGS]

One rule (`SELECT * FROM 'air/#' WHERE CO >= 0`), one delivery stream by event time with exact deduplication, 100
things, batches of 500 readings. Prints one JSON object; `readings_per_cpu_s` counts this process's CPU time.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from masthead.base.clock import SystemClock
from masthead.base.log import Journal
from masthead.store.engine import Database
from masthead.store.objects import Objects
from masthead.streams.readings import Batch, Reading, pack, unpack
from masthead.streams.service import StreamsService

BATCH, THINGS = 500, 100
STREAM = {
    "name": "air",
    "destination": "s3://readings/",
    "prefix": "air/!{timestamp:yyyyMMdd'/'HHmm}/",
    "error_prefix": "bad/!{firehose:error-output-type}/",
    "event_time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm:ss", "interval": "5m"},
}
RULE = {
    "name": "all",
    "sql": "SELECT * FROM 'air/#' WHERE CO >= 0",
    "actions": [{"kind": "delivery_stream", "name": "air"}],
}


def packed_batches(readings: int, start: float) -> Iterator[bytes]:
    """Yield batches as the log holds them: each second every thing tells its values."""
    batch: list[Reading] = []
    for number in range(readings):
        second, thing = divmod(number, THINGS)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(start - 86_400 + second))
        text = f'{{"TIMESTAMP": "{stamp}", "LOCATION_ID": "B-{thing}", "CO": {number % 7}.{number % 10}, "NO2": 41, "SO2": 65}}'
        batch.append(Reading(f"air/b-{thing}", text.encode(), start, f"b-{thing}"))
        if len(batch) == BATCH:
            yield pack(batch)
            batch.clear()
    yield pack(batch)


def main(readings: int) -> None:
    clock = SystemClock()
    batches = list(packed_batches(readings, clock.time()))
    with tempfile.TemporaryDirectory() as folder:
        database = Database.open(Path(folder) / "masthead.db")
        database.create_all()
        objects = Objects(Path(folder) / "objects")
        streams = StreamsService(database, objects, clock, Journal(Path(folder) / "logs"))
        streams.create_stream(STREAM)
        streams.create_rule(RULE)
        streams.tick()
        wall, cpu = time.perf_counter(), time.process_time()
        for sequence, packed in enumerate(batches, start=1):
            streams.take(Batch(sequence, unpack(packed)))
            if sequence % 20 == 0:
                streams.tick()
        streams.flush()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        state = streams.stream_state("air")
        streams.close()
        database.close()
    assert state.records == readings, state
    print(
        json.dumps(
            {
                "readings": readings,
                "readings_per_s": round(readings / wall),
                "readings_per_cpu_s": round(readings / cpu),
                "objects": state.objects,
                "megabytes": round(state.bytes / 1e6, 1),
                "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
