"""What a live detector costs: records taken, intervals closed, snapshots, restarts.

python benchmarks/live.py [--series 10000]
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masthead.base.clock import ManualClock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.metrics.service import MetricsService
from masthead.store.engine import Database
from masthead.store.objects import Objects

T0 = 1_700_000_100


class NoAlerts:
    """Hears and says nothing."""

    def notify(self, connection: Any, event: Any) -> int:
        return 0

    def wake(self) -> None:
        pass

    def delete_rules_of(self, connection: Any, detector: str) -> int:
        return 0


@dataclass(frozen=True)
class Record:
    fields: dict[str, Any]
    thing: str | None
    arrived: float
    raw: bytes = b"{}"


@dataclass(frozen=True)
class Routed:
    detector: str
    sequence: int
    records: tuple[Record, ...]


def _service(folder: DataFolder) -> tuple[MetricsService, Database]:
    database = Database.open(folder.database_path)
    database.create_all()
    clock = ManualClock(float(T0))
    objects, journal = Objects(folder.objects), Journal(folder.logs)
    return MetricsService(database, objects, NoAlerts(), clock, journal, folder), database


def _detector(service: MetricsService) -> None:
    service.create_detector(
        {
            "name": "air",
            "time": {"column": "t", "format": "epoch_s"},
            "measures": ["CO"],
            "dimensions": ["at"],
            "rollups": "none",
            "source": {"kind": "stream", "topic": "air/#"},
        }
    )
    service.activate("air")
    service.wait("air")


def _records(second: float, first: int, size: int) -> tuple[Record, ...]:
    return tuple(
        Record(
            {"t": T0 + second, "CO": float((place * 7 + int(second)) % 13), "at": f"B-{place}"},
            "b",
            T0 + second,
        )
        for place in range(first, first + size)
    )


def taken(size: int, seconds: float) -> None:
    """Print records per second when each message of the log holds `size`."""
    with tempfile.TemporaryDirectory() as name:
        service, database = _service(DataFolder(Path(name)).create())
        _detector(service)
        service.take(Routed("air", 1, _records(0.0, 0, 200)))
        service.take(Routed("air", 2, _records(300.0, 0, 200)))
        messages = [_records(300.0 + step % 290, step % 100, size) for step in range(1, 400)]
        began, cpu, sequence = time.perf_counter(), time.process_time(), 3
        while time.perf_counter() - began < seconds and sequence * size < 900_000:
            service.take(Routed("air", sequence, messages[sequence % len(messages)]))
            sequence += 1
        wall, used = time.perf_counter() - began, time.process_time() - cpu
        count = (sequence - 3) * size
        print(
            f"{size:>5} records a message: {count / wall:>9,.0f} records/s, {1e6 * used / count:6.1f} us CPU each"
        )
        service.close()
        database.close()


def closed(series: int, intervals: int) -> None:
    """Print what an interval of `series` costs from the first row to the stored scores, and a restart."""
    with tempfile.TemporaryDirectory() as name:
        folder = DataFolder(Path(name)).create()
        service, database = _service(folder)
        _detector(service)
        times = []
        for step in range(intervals):
            for part in range(0, series, 1000):
                size = min(1000, series - part)
                routed = Routed("air", step * 100 + part // 1000 + 1, _records(300.0 * step, part, size))
                began = time.perf_counter()
                service.take(routed)
                if step > 2 and part == 0:  # the message that closes the interval before
                    times.append(time.perf_counter() - began)
        times.sort()
        print(
            f"{series:,} series: interval closed, logged, scored and stored in {1e3 * times[len(times) // 2]:.0f} ms"
        )
        began = time.perf_counter()
        service.close()
        print(f"{series:,} series: snapshot and rest {1e3 * (time.perf_counter() - began):.0f} ms")
        database.close()
        service, database = _service(folder)
        began = time.perf_counter()
        service.position()
        print(
            f"{series:,} series: begun again from the snapshot in {1e3 * (time.perf_counter() - began):.0f} ms"
        )
        files = sum(path.stat().st_size for path in folder.metrics.rglob("*") if path.is_file())
        print(f"{series:,} series: {files / 1e6:.1f} MB of snapshots and log")
        service.close()
        database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    for size in (1, 10, 100, 1000):
        taken(size, given.seconds)
    closed(3, 200)
    closed(given.series, 20)


if __name__ == "__main__":
    main()
