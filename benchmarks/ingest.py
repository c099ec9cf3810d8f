"""100 things over MQTT and TLS into durable objects: every reading accounted for, with rate and memory.

    python benchmarks/ingest.py [--sync always|interval] [--seconds 60] [--things 100] [--window 20] [--json]

A real `masthead serve` with one rule and one delivery stream split by event time. The load comes from this process
(raw MQTT on asyncio); its cost is on the same machine and is told apart. Bars, counted to the last object: 1,500
readings a second with `sync = always`, 5,000 with `interval`; all processes of Masthead under 600 MB resident together.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import uvloop
from mqtt_load import Publisher, tls_context

BARS = {"always": 1_500, "interval": 5_000}
MOST_MB = 600
_RULE = {
    "name": "air",
    "sql": "SELECT * FROM 'sensors/#'",
    "actions": [{"kind": "delivery_stream", "name": "air"}],
    "enabled": True,
}
_STREAM = {
    "name": "air",
    "destination": "s3://air/",
    "prefix": "live/!{timestamp:yyyyMMdd}/!{timestamp:HHmm}/",
    "error_prefix": "broken/!{firehose:error-output-type}/",
    "buffer_s": 5,
    "buffer_mib": 5,
    "event_time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm:ss", "zone": "UTC", "interval": "5m"},
}


def prepare(data: Path, things: int) -> None:
    """Make things, rule and stream."""
    from masthead.app import Masthead
    from masthead.base.settings import Settings

    with Masthead.open(Settings(data=data)) as masthead:
        for number in range(things):
            masthead.access.create_thing(f"thing{number}")
        masthead.streams.create_stream(_STREAM)
        masthead.streams.create_rule(_RULE)


def payload(reading_id: str) -> bytes:
    """Return a reading as the article's sensors send it, with an id for the books."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return json.dumps(
        {"id": reading_id, "TIMESTAMP": stamp, "LOCATION_ID": "B-101", "CO": 2.6, "SO2": 75, "NO2": 61}
    ).encode()


async def load(data: Path, port: int, given: argparse.Namespace, watched: "Memory") -> list[Publisher]:
    """Publish as fast as PUBACKs come, and return the publishers with their books."""
    publishers = [
        Publisher(
            name=f"thing{number}",
            context=tls_context(data / "things" / f"thing{number}"),
            port=port,
            window=given.window,
            payload=payload,
            topic=f"sensors/thing{number}/air",
        )
        for number in range(given.things)
    ]
    work = [asyncio.create_task(publisher.run()) for publisher in publishers]
    end = time.monotonic() + given.seconds
    while time.monotonic() < end:
        await asyncio.sleep(1)
        watched.sample()
    for publisher in publishers:
        publisher.finish()
    await asyncio.wait_for(asyncio.gather(*work), 60)
    return publishers


class Memory:
    """The most that a process and its children had resident together, MB."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.most_mb = 0.0
        self.parts: dict[str, float] = {}

    def sample(self) -> None:
        """Look once."""
        parts: dict[str, float] = {}
        for process in [self._process, *self._process.children(recursive=True)]:
            try:
                parts[f"{process.name()} {process.pid}"] = process.memory_info().rss / 1e6
            except psutil.NoSuchProcess:
                continue
        if sum(parts.values()) > self.most_mb:
            self.most_mb, self.parts = sum(parts.values()), parts

    def cpu_s(self) -> dict[str, float]:
        """Return the seconds of CPU that each has used."""
        return {
            process.name(): round(sum(process.cpu_times()[:2]), 1)
            for process in [self._process, *self._process.children(recursive=True)]
        }


def delivered(data: Path) -> tuple[Counter[str], int]:
    """Return how often each id stands in the objects, and how many records lie in the error place."""
    from masthead.store.objects import Objects

    objects, found, broken = Objects(data / "objects"), Counter[str](), 0
    for info in objects.list("s3://air/"):
        lines = objects.get(info.uri).splitlines()
        if info.uri.startswith("s3://air/broken/"):
            broken += len(lines)
        else:
            found.update(json.loads(line)["id"] for line in lines)
    return found, broken


def measure(given: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Run everything and return the figures."""
    data = work / "data"
    prepare(data, given.things)
    command = [sys.executable, "-m", "masthead.cli.main", "serve", "--data", str(data), "--json"]
    command += ["--port", "0", "--aws-port", "0", "--mqtt-port", "0", "--sync", given.sync]
    with (
        (work / "log").open("wb") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
    ):
        assert server.stdout is not None
        line = server.stdout.readline()
        try:
            port = _port(json.loads(line))
        except ValueError:
            raise RuntimeError((work / "log").read_text()[-2000:]) from None
        watched = Memory(server.pid)
        own = time.process_time()
        publishers = uvloop.run(load(data, port, given, watched))
        own = time.process_time() - own
        acknowledged = set().union(*(publisher.acknowledged for publisher in publishers))
        began = time.monotonic()
        while time.monotonic() - began < 120:
            watched.sample()
            time.sleep(1)
            found, broken = delivered(data)
            if acknowledged <= found.keys():
                break
        lag = time.monotonic() - began
        cpu = watched.cpu_s()
        server.terminate()
        status = server.wait(60)
    sent = {one for publisher in publishers for one in publisher.sent}
    return {
        "sync": given.sync,
        "things": given.things,
        "acknowledged": len(acknowledged),
        "per_second": round(len(acknowledged) / given.seconds),
        "per_second_into_objects": round(len(found) / (given.seconds + lag)),
        "in_objects": len(found),
        "lost": len(acknowledged - found.keys()),
        "twice": sum(count > 1 for count in found.values()),
        "broken": broken,
        "sent_again": sum(count - 1 for publisher in publishers for count in publisher.sent.values()),
        "breaks": sum(publisher.breaks for publisher in publishers),
        "never_sent": len(found.keys() - sent),
        "last_object_after_s": round(lag, 1),
        "memory_mb": round(watched.most_mb),
        "memory_parts_mb": {name: round(size) for name, size in watched.parts.items()},
        "cpu_s": cpu,
        "load_generator_cpu_s": round(own, 1),
        "stop_status": status,
    }


def _port(started: dict[str, Any]) -> int:
    """Return the MQTT port out of what `serve --json` prints when it is ready."""
    return int(started["mqtt_port"])


def main() -> int:
    """Return 0 when every reading is accounted for and the bars hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sync", choices=tuple(BARS), default="always")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--things", type=int, default=100)
    parser.add_argument("--window", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="masthead-ingest-") as work:
        found = measure(given, Path(work))
    print(
        json.dumps(found) if given.json else "\n".join(f"{name:25}{value}" for name, value in found.items())
    )
    whole = not (found["lost"] or found["twice"] or found["broken"] or found["never_sent"])
    return (
        0
        if whole and found["per_second_into_objects"] >= BARS[given.sync] and found["memory_mb"] < MOST_MB
        else 1
    )


if __name__ == "__main__":
    sys.exit(main())
