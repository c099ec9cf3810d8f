"""How long transactions take from tables to the files of a graph; prints a line of JSON for each engine.

    python benchmarks/fraud_etl.py [--rows N] [--engine duckdb|spark|both] [--format csv|parquet|both] [--data DIR]

Generates the tables first (that time is told apart), then makes features, tags, ids held out and 17 edge lists. With
both engines the second line says whether counts and checksums of all tables are the same (each engine sums its tables
up after it is timed, in a run of its own); if not it ends with 1.
"""

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from masthead.fraud.data.etl import Extracted, Order, extract
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema


def main() -> int:
    """Measure and print; return 0 when the engines agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--engine", default="duckdb", choices=("duckdb", "spark", "both"))
    parser.add_argument("--format", default="csv", choices=("csv", "parquet", "both"))
    parser.add_argument("--data", type=Path, help="tables that `masthead fraud generate` has written")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.data or Path(scratch) / "tables"
        started = time.perf_counter()
        if asked.data is None:
            generate(asked.rows, 7, folder)
        generate_s = round(time.perf_counter() - started, 2)
        order = Order(
            Schema.read(folder / "schema.toml"), (folder,), Path(scratch) / "graph", format=asked.format
        )
        if asked.engine != "both":
            print(json.dumps({"generate_s": generate_s, **timed(replace(order, engine=asked.engine))}))
            return 0
        print(json.dumps({"generate_s": generate_s, **timed(order)}), flush=True)
        told = timed(replace(order, engine="spark", out=Path(scratch) / "spark"))
        duckdb, spark = (
            extract(replace(order, engine=engine, out=Path(scratch) / f"{engine}-summed", checksums=True))
            for engine in ("duckdb", "spark")
        )
        same = summed(duckdb) == summed(spark)
        print(json.dumps({**told, "tables": len(duckdb.tables), "same_counts_and_checksums": same}))
    return 0 if same else 1


def summed(done: Extracted) -> tuple[dict[str, int], dict[str, int]]:
    """Return what two engines share: rows and checksum of each table."""
    return done.tables, done.checksums


def timed(order: Order) -> dict[str, Any]:
    """Return how long an extraction takes, and what it needs."""
    load, started = os.getloadavg()[0], time.perf_counter()
    before = resource.getrusage(resource.RUSAGE_SELF)
    done = extract(order)
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rows": done.transactions,
        "engine": order.engine,
        "format": order.format,
        "edges": sum(count for name, count in done.tables.items() if name.startswith("relation_")),
        "etl_s": round(seconds, 2),
        "cpu_s": round(cpu, 1),  # of this process: Spark's own is another
        "peak_mb": used.ru_maxrss // 1024,
        "load1": round(load, 1),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
    }


if __name__ == "__main__":
    sys.exit(main())
