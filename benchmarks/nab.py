"""Score the Numenta Anomaly Benchmark with the kernel as it ships.

    python benchmarks/nab.py [OUT] [--data DIR]

OUT is `nab-scores` and DIR what the variable NAB_DATA names when they are not given. DIR holds `data/<group>/<series>.csv` with the columns timestamp and value (https://github.com/numenta/NAB).
Writes OUT/<group>/<series>.csv with timestamp, value and `anomaly_score` (severity, 0 to 100), one row per row.
Prints the hash of the configuration. One configuration for all series; labels and lengths are never looked at.
Every row is the next point of its series: the files repeat and skip stamps.
"""

import argparse
import csv
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from masthead.metrics import SeriesScorer
from masthead.metrics.configuration import DEFAULT, Configuration, configuration_hash


def read_series(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return epoch seconds and values of one file; an empty value is missing."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["timestamp"]).replace(tzinfo=UTC).timestamp() for row in rows]
    return np.array(times), np.array([float(row["value"] or "nan") for row in rows])


def severities(times: np.ndarray, values: np.ndarray, configuration: Configuration = DEFAULT) -> np.ndarray:
    """Return the severity of each row, scored in order."""
    scorer = SeriesScorer(series=1, interval_s=0, silence=False, configuration=configuration)
    return scorer.update_many(times, values[:, None])[:, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("nab-scores"))
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("NAB_DATA"), help="holds data/<group>/*.csv"
    )
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("give --data DIR or set NAB_DATA: a copy of https://github.com/numenta/NAB")
    paths = sorted((arguments.data / "data").glob("*/*.csv"))
    if not paths:
        parser.error(f"{arguments.data}: no data/<group>/*.csv")
    print("configuration", configuration_hash())
    started, rows = time.process_time(), 0
    for path in paths:
        times, values = read_series(path)
        scores = severities(times, values)
        target = arguments.out / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["timestamp", "value", "anomaly_score"])
            stamps = (datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M:%S") for t in times)
            writer.writerows(zip(stamps, values, (f"{score:.9g}" for score in scores), strict=True))
        rows += len(values)
    print(
        f"{len(paths)} series, {rows} rows, {time.process_time() - started:.1f} s CPU with reading and writing"
    )


if __name__ == "__main__":
    main()
