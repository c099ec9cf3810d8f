"""How long training takes, and how much memory; prints one JSON object.

    python benchmarks/fraud_train.py [--rows 500000]

Generates the tables and trains as `masthead fraud train` does with its defaults, in this process. The bars are three
minutes and 6 GB for 500,000 rows; ends with 1 when one is not met.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

from masthead.fraud.data.generate import generate
from masthead.fraud.scoring.model import FraudModel

_MOST_S, _MOST_MB = 180.0, 6_000


def main() -> int:
    """Measure and print; return 0 when both bars are met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=500_000)
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        generate(asked.rows, 7, folder)
        started = time.perf_counter()
        tables = [folder / f"train_{part}.csv" for part in ("transaction", "identity")]
        model = FraudModel.train(folder / "schema.toml", tables, folder / "labels.csv", out=folder / "model")
        seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    peak_mb = used.ru_maxrss // 1024
    met = seconds <= _MOST_S and peak_mb <= _MOST_MB
    told = {
        "rows": model.card["rows"],
        "seconds": round(seconds, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": peak_mb,
        "validation": model.card["validation"],
        "met": met,
        "load1": round(load, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    print(json.dumps(told))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
