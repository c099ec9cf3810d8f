"""Compare two ways to deliver an alert durably: our outbox worker and one DBOS flow per alert.

    python benchmarks/alert_delivery.py [--alerts 200]

Each way runs in a fresh process, with a webhook on loopback as the channel. Printed as one JSON object, times in
milliseconds: `first` from the commit of the first alert in a fresh process to its arrival at the webhook (for the
flow this includes loading DBOS), `p50` and `p95` the same for single alerts afterwards, `burst` until the last of
`--alerts` alerts of one rule, told in one transaction, has arrived. `start_cpu`: CPU from nothing to ready;
`rss_mib`: resident memory at the end.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil


class Sink:
    """A webhook that notes when each key came."""

    def __init__(self) -> None:
        self.came: dict[str, float] = {}
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sink.came.setdefault(self.headers["Idempotency-Key"], time.perf_counter())
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def wait(self, count: int) -> float:
        """Return when the `count`-th key came."""
        while len(self.came) < count:
            time.sleep(0.001)
        return max(self.came.values())


def measure(way: str, alerts: int, folder: Path) -> dict[str, float]:
    """Return the figures of one way."""
    sink = Sink()
    cpu = time.process_time()
    tell, stop = {"outbox": outbox, "flow": flow}[way](folder, f"http://127.0.0.1:{sink.server.server_port}/")
    told = time.perf_counter()
    tell(["first"])
    first = sink.wait(1) - told
    start_cpu = time.process_time() - cpu
    singles = []
    for number in range(30):
        told = time.perf_counter()
        tell([f"one-{number}"])
        singles.append(sink.wait(2 + number) - told)
    told = time.perf_counter()
    tell([f"burst-{number}" for number in range(alerts)])
    burst = sink.wait(31 + alerts) - told
    rss = psutil.Process().memory_info().rss / 2**20
    stop()
    return {
        "first": 1e3 * first,
        "p50": 1e3 * statistics.median(singles),
        "p95": 1e3 * statistics.quantiles(singles, n=20)[-1],
        "burst": 1e3 * burst,
        "start_cpu": 1e3 * start_cpu,
        "rss_mib": rss,
    }


Tell = Callable[[list[str]], None]


def outbox(folder: Path, url: str) -> tuple[Tell, Callable[[], None]]:
    """Return how to tell alerts through the outbox worker, and how to stop it."""
    from masthead.alerts.service import AlertsService

    service, database, event = _service(folder, url, AlertsService)
    service.start()

    def tell(groups: list[str]) -> None:
        with database.write() as connection:
            for group in groups:
                service.notify(connection, event(group))
        service.wake()

    return tell, service.stop


def flow(folder: Path, url: str) -> tuple[Tell, Callable[[], None]]:
    """The same outbox row, but each delivery is a flow of one step that sends and one that records."""
    from masthead.alerts import records
    from masthead.alerts.service import AlertsService
    from masthead.base.log import Journal
    from masthead.flows.service import Flows, Run

    service, database, event = _service(folder, url, AlertsService)
    flows = Flows(f"sqlite:///{folder / 'flows.db'}", Journal(folder / "logs"))
    worker = service._worker

    def deliver(run: Run, args: dict[str, Any]) -> None:
        run.step("send", lambda: worker.attempt(service.get_delivery(args["key"])), tries=5)

    flows.register("deliver", deliver)

    def tell(groups: list[str]) -> None:
        with database.write() as connection:
            for group in groups:
                service.notify(connection, event(group))
        for group in groups:
            key = records.delivery_id("r", group, "open")
            flows.start("deliver", key, {"key": key})

    return tell, flows.close


def _service(folder: Path, url: str, kind: Any) -> tuple[Any, Any, Callable[[str], Any]]:
    from masthead.alerts.events import AlertEvent
    from masthead.base.clock import SystemClock
    from masthead.base.log import Journal
    from masthead.base.secrets import SecretBox
    from masthead.store.engine import Database

    database = Database.open(folder / "masthead.db")
    database.create_all()
    service = kind(database, SecretBox(b"k" * 32), SystemClock(), Journal(folder / "logs"))
    service.create_rule({"name": "r", "channel": {"kind": "webhook", "url": url}})

    def event(group: str) -> AlertEvent:
        now = SystemClock().now()
        return AlertEvent("air", group, "open", "SO2", 89.0, now, now, 120.0, 65.0)

    return service, database, event


def main() -> None:
    """Measure both ways, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--alerts", type=int, default=200)
    parser.add_argument("--way", choices=["outbox", "flow"])
    asked = parser.parse_args()
    if asked.way:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(asked.way, asked.alerts, Path(folder))
        print(json.dumps({name: round(value, 1) for name, value in found.items()}), flush=True)
        return
    out: dict[str, Any] = {"alerts": asked.alerts, "load": psutil.getloadavg()[0]}
    for way in ("outbox", "flow"):
        command = [sys.executable, __file__, "--way", way, "--alerts", str(asked.alerts)]
        out[way] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
