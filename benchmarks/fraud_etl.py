"""How long transactions take from tables to the files of a graph; prints one JSON object.

    python benchmarks/fraud_etl.py [--rows N] [--engine duckdb|spark] [--data DIR]

Generates the tables first (that time is told apart), then makes features, tags, ids held out and 17 edge lists as CSV.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

from masthead.fraud.data.etl import Order, extract
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--engine", default="duckdb")
    parser.add_argument("--format", default="csv")
    parser.add_argument("--data", type=Path, help="tables that `masthead fraud generate` has written")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.data or Path(scratch) / "tables"
        started = time.perf_counter()
        if asked.data is None:
            generate(asked.rows, 7, folder)
        generated = time.perf_counter()
        order = Order(
            Schema.read(folder / "schema.toml"),
            (folder,),
            Path(scratch) / "graph",
            engine=asked.engine,
            format=asked.format,
        )
        done = extract(order)
        ended = time.perf_counter()
        used = resource.getrusage(resource.RUSAGE_SELF)
    told = {
        "rows": done.transactions,
        "engine": asked.engine,
        "format": asked.format,
        "edges": sum(count for name, count in done.tables.items() if name.startswith("relation_")),
        "generate_s": round(generated - started, 2),
        "etl_s": round(ended - generated, 2),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": used.ru_maxrss // 1024,
        "load1": round(load, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
