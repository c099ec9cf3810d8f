"""kill -9 of a process that takes readings, again and again: every reading in exactly one object."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from masthead.store.objects import Objects

WORKER = """
import sys, time
from pathlib import Path
from masthead.base.clock import SystemClock
from masthead.base.log import Journal
from masthead.store.engine import Database
from masthead.store.objects import Objects
from masthead.streams.readings import Batch, Reading
from masthead.streams.service import StreamsService

folder, last = Path(sys.argv[1]), int(sys.argv[2])
database = Database.open(folder / "masthead.db")
database.create_all()
streams = StreamsService(database, Objects(folder / "objects"), SystemClock(), Journal(folder / "logs"))
if not streams.list_streams():
    streams.create_stream({"name": "air", "destination": "s3://readings/", "prefix": "air/!{timestamp:HHmm}/",
        "error_prefix": "bad/!{firehose:error-output-type}/", "buffer_s": 0, "buffer_mib": 1,
        "event_time": {"column": "T", "format": "epoch_s", "interval": 300}})
if not streams.list_rules():
    streams.create_rule({"name": "all", "sql": "SELECT * FROM '#'",
        "actions": [{"kind": "delivery_stream", "name": "air"}]})
for sequence in range(streams.position(), last + 1):
    values = [sequence * 10 + each for each in range(10)]
    values += [sequence * 10 - 5]  # sent before, in the sequence before this
    readings = tuple(Reading("air/x", b'{"T":%d,"v":%d}' % (1648164600 + v, v), 1648170000.0, "x") for v in values)
    streams.take(Batch(sequence, readings))
    streams.tick()
    print(sequence, flush=True)
assert streams.flush()
streams.close()
print("finished", flush=True)
"""
LAST = 400


KILLS = 5


@pytest.mark.slow
def test_after_kills_every_reading_is_in_exactly_one_object(tmp_path: Path) -> None:
    rng = random.Random(7)
    command = [sys.executable, "-c", WORKER, str(tmp_path), str(LAST)]
    for _ in range(KILLS):
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ)
        assert worker.stdout is not None
        for _ in range(rng.randint(1, 25)):
            assert worker.stdout.readline() != b"finished\n"
        time.sleep(rng.uniform(0, 0.02))
        worker.kill()
        worker.communicate()
    last = subprocess.run(command, capture_output=True, timeout=120, env=os.environ, check=True)
    assert last.stdout.endswith(b"finished\n")
    objects = Objects(tmp_path / "objects")
    lines = [line for info in objects.list("s3://readings/") for line in objects.get(info.uri).splitlines()]
    expected = {b'{"T":%d,"v":%d}' % (1648164600 + v, v) for v in [5, *range(10, LAST * 10 + 10)]}
    assert Counter(lines) == Counter(expected)
