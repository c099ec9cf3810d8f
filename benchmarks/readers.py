"""How long a million rows take from file to rows, and from file to groups; prints one JSON object.

    python benchmarks/readers.py [--rows N]

100 stations, three measures, one row a minute each, as CSV and as JSON lines; the best of three readings.
"""

import argparse
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from masthead.metrics.backtest import Plan, run_backtest
from masthead.metrics.files import Source
from masthead.metrics.readers import Selection, read_rows
from masthead.metrics.spec import Measure
from masthead.metrics.timestamps import compile_pattern

STATIONS, START, FORM = 100, 1_648_164_600, "yyyy-MM-dd HH:mm:ss"
MEASURES = ("CO", "SO2", "NO2")


def write(folder: Path, rows: int) -> dict[str, Path]:
    """Return the paths of the same rows as CSV and as JSON lines."""
    values = np.random.default_rng(1).gamma(9, 1, (rows, 3)).round(3).tolist()
    stamps = [compile_pattern(FORM).format(START + 60 * k) for k in range(rows // STATIONS + 1)]
    paths = {"csv": folder / "rows.csv", "json": folder / "rows.json"}
    with paths["csv"].open("w") as csv, paths["json"].open("w") as lines:
        csv.write("t,station," + ",".join(MEASURES) + "\n")
        for k, row in enumerate(values):
            stamp, station = stamps[k // STATIONS], f"S{k % STATIONS}"
            csv.write(f"{stamp},{station},{row[0]},{row[1]},{row[2]}\n")
            lines.write(
                json.dumps({"t": stamp, "station": station, **dict(zip(MEASURES, row, strict=True))}) + "\n"
            )
    return paths


def best_s(work: Callable[[], Any], times: int) -> float:
    """Return the shortest of several runs in seconds."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return round(min(taken), 2)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    selection = Selection("t", FORM, numbers=MEASURES, labels=("station",))
    plan = Plan("t", tuple(Measure(name) for name in MEASURES), ("station",), 300, FORM)
    found: dict[str, Any] = {"rows": rows, "machine": platform.machine(), "processor": platform.processor()}
    with tempfile.TemporaryDirectory() as folder:
        paths = write(Path(folder), rows)
        for kind, path in paths.items():
            found[f"read_{kind}_s"] = best_s(lambda path=path: read_rows([Source(str(path))], selection), 3)
            found[f"peak_mb_after_{kind}"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        run_backtest([Source(str(paths["csv"]))], plan)  # compile the kernel
        found["backtest_csv_s"] = best_s(lambda: run_backtest([Source(str(paths["csv"]))], plan), 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
