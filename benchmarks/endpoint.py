"""How long a deployed detector takes for a call, and how many calls it answers in a second, in one process.

    python benchmarks/endpoint.py [CALLS]

A detector of 8 and one of 10,000 series with 300 intervals learned, deployed from a data folder of its own; each call
holds one reading of each of four series. Prints one JSON object: p50 and p99 in ms of single calls, calls a second of
four threads, CPU ms a call. Sockets, signatures and keys are not part of it: see `wire.py`.
"""

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from masthead.base.clock import SystemClock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.learn.endpoints import Endpoints
from masthead.metrics.columns import Labels
from masthead.metrics.detection import cube_of
from masthead.metrics.endpoint import KIND, Copy, DetectorModel, load_detector
from masthead.metrics.readers import Rows
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database
from masthead.store.migrate import migrate

T0, LEARNED, THREADS = 1_700_000_100, 300, 4


def copy_of(series: int, folder: Path) -> None:
    """Write the copy of a detector that has learned noise."""
    spec = DetectorSpec.from_json(
        {
            "name": "air",
            "rollups": "none",
            "time": {"column": "t", "format": "epoch_s"},
            "measures": ["CO"],
            "dimensions": ["at"],
            "source": {"kind": "stream", "topic": "air/#"},
        }
    )
    names = tuple(f"site-{number}" for number in range(series))
    values = np.random.default_rng(7).normal(50.0, 5.0, (LEARNED, series))
    cube = cube_of(spec)
    rows = Rows(
        times=np.full(series, float(T0)),
        numbers={"CO": values[0]},
        labels={"at": Labels(np.arange(series), names)},
        key=None,
        files=(),
        file=np.zeros(series, np.int64),
        lines=np.arange(series),
    )
    cube.close_block(rows, np.zeros(series, np.int64), 1)
    scorer = SeriesScorer(series, 300)
    times = T0 + 300.0 * np.arange(LEARNED)
    # The cube numbers series by name; which noise is whose does not matter.
    scorer.update_many(times, values)
    DetectorModel(spec, cube, scorer, Copy("run-1", 1, "", float(times[-1]), 0.0)).save(folder)


def measured(series: int, calls: int) -> dict[str, Any]:
    """Return what calls of one endpoint took."""
    with tempfile.TemporaryDirectory() as place:
        folder = DataFolder(Path(place)).create()
        copy_of(series, folder.models / "copy")
        database = Database.open(folder.database_path)
        migrate(database)
        endpoints = Endpoints(database, SystemClock(), Journal(folder.logs))
        endpoints.register(KIND, lambda source: load_detector(folder, source))
        endpoints.create("air", KIND, {"detector": "air", "folder": "copy"})
        at = T0 + 300 * LEARNED
        rows = [{"t": at, "CO": 50.0 + number, "at": f"site-{number}"} for number in range(4)]
        body = json.dumps({"instances": rows}).encode()
        endpoints.invoke("air", body)  # loads the copy and compiles the kernel
        took = []
        for _ in range(calls):
            began = time.perf_counter()
            endpoints.invoke("air", body)
            took.append(time.perf_counter() - began)
        threads = [
            threading.Thread(target=lambda: [endpoints.invoke("air", body) for _ in range(calls // THREADS)])
            for _ in range(THREADS)
        ]
        began, cpu = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        endpoints.close()
        database.close()
    p50, p99 = np.percentile(took, [50, 99]) * 1000
    return {
        "series": series,
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "calls_per_s": round(calls / seconds),
        "cpu_ms": round(1000 * cpu / calls, 2),
    }


def main() -> None:
    """Print the measurements."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    found = [measured(series, calls) for series in (8, 10_000)]
    print(json.dumps({"calls": calls, "runs": found, "load1": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
