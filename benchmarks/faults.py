"""Kills the ingest process, nats-server and both, again and again, while devices publish; counts what was lost or doubled.

    python benchmarks/faults.py [--kills SERVER NATS BOTH] [--json]      default: 20 20 20

4 things publish one by one and 20 publish with 50 in flight; all resend what was not acknowledged. Afterwards:
every acknowledged reading was taken, no stored message was taken twice (the sink would show a second copy with
the same arrival time), and no reading was taken more often than its device sent it.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mqtt_load import Publisher, tls_context

THINGS = 24
ONE_BY_ONE = 4


class Product:
    """The application as the devices' host sees it, with one sink: a table that keeps its place in the same transaction."""

    def __init__(self, data: Path, **options: Any) -> None:
        from masthead.access.service import AccessService
        from masthead.base.clock import SystemClock
        from masthead.base.folder import DataFolder
        from masthead.base.log import Journal
        from masthead.base.secrets import SecretBox
        from masthead.base.settings import Settings
        from masthead.store.engine import Database

        self.settings = Settings(data=data, **options)
        self.clock = SystemClock()
        self.folder = DataFolder(data).create()
        self.secrets = SecretBox.open_or_create(data)
        self.journal = Journal(self.folder.logs)
        database = Database.open(self.folder.database_path)
        database.create_all()
        self.access = AccessService(database, self.folder, self.secrets, self.clock, self.journal)
        self.alerts = self.streams = self
        self._sink = data / "sink.db"
        with self._open() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS taken (id TEXT, arrived REAL, thing TEXT, sequence INTEGER)"
            )
            connection.execute("CREATE TABLE IF NOT EXISTS place (done INTEGER)")

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(self._sink, timeout=30)

    def can_take(self) -> bool:
        """Return that there is room."""
        return True

    def take(self, batch: Any) -> None:
        """Keep a batch, once."""
        connection = self._open()
        with connection:
            done = connection.execute("SELECT max(done) FROM place").fetchone()[0] or 0
            if batch.sequence > done:
                rows = [
                    (json.loads(one.payload)["id"], one.arrived, one.thing, batch.sequence)
                    for one in batch.readings
                ]
                connection.executemany("INSERT INTO taken VALUES (?, ?, ?, ?)", rows)
                connection.execute("DELETE FROM place")
                connection.execute("INSERT INTO place VALUES (?)", (batch.sequence,))
        connection.close()

    def intakes(self) -> tuple[()]:
        return ()

    def answer(self, intake: object, payloads: object) -> tuple[()]:
        return ()

    def position(self) -> int:
        """Return the sequence that the sink wants next."""
        connection = self._open()
        done = connection.execute("SELECT max(done) FROM place").fetchone()[0] or 0
        connection.close()
        return int(done) + 1

    def register_ingest(self, ingest: object, behind_s: object = None) -> None:
        """Other doors are not used here."""

    def register_action(self, kind: str, sender: object) -> None:
        """Nor are rules."""

    def register_channel(self, kind: str, sender: object) -> None:
        """Alerts are not used here."""


def serve(data: Path, port: int, sync: str) -> None:
    """Run the devices' host until SIGTERM; prints nats-server's process id when things may connect."""
    from masthead.devices.host import DeviceHost

    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(
        signal.SIG_BLOCK, ends
    )  # else they would end the process before `sigwait` sees them
    host = DeviceHost(Product(data, mqtt_port=port, sync=sync))  # type: ignore[arg-type]
    host.start()
    print("ready", flush=True)
    signal.sigwait(ends)
    host.stop()


class Ingest:
    """The process under test."""

    def __init__(self, data: Path, port: int, sync: str) -> None:
        self._data, self._command = data, [sys.executable, __file__, "serve", str(data), str(port), sync]
        self.start()

    def start(self) -> None:
        """Start it, without waiting."""
        log = (self._data.parent / "server.log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    @property
    def nats_pid(self) -> int | None:
        """Return the process id of its nats-server."""
        try:
            return int((self._data / "nats" / "nats.pid").read_text())
        except (OSError, ValueError):
            return None

    def kill(self, what: str) -> None:
        """Kill one part or both, hard; what nobody supervises is started again."""
        nats = self.nats_pid
        if what in ("server", "both"):
            self._process.kill()
        if what in ("nats", "both") and nats:
            with contextlib.suppress(ProcessLookupError):
                os.kill(nats, signal.SIGKILL)
        if what in ("server", "both"):
            self._process.wait()
            self.start()

    def stop(self) -> int:
        """End it softly and return its status."""
        self._process.terminate()
        return self._process.wait(30)


async def storm(data: Path, kills: list[str], *, sync: str, seed: int, pause_s: float) -> dict[str, Any]:
    """Publish and kill; return the books."""
    random.seed(seed)
    port = _free_port()
    product = Product(data)
    for number in range(THINGS):
        product.access.create_thing(f"thing{number}")
    publishers = [
        Publisher(
            name=f"thing{number}",
            context=tls_context(data / "things" / f"thing{number}"),
            port=port,
            window=1 if number < ONE_BY_ONE else 50,
            payload=lambda reading_id: json.dumps({"id": reading_id, "CO": 2.6, "SO2": 75}).encode(),
            topic=f"sensors/thing{number}/air",
        )
        for number in range(THINGS)
    ]
    ingest = Ingest(data, port, sync)
    began = time.monotonic()
    work = [asyncio.create_task(publisher.run()) for publisher in publishers]
    recoveries = []
    await _progress(publishers, 60)
    for what in kills:
        await asyncio.sleep(random.uniform(0.2, pause_s))
        ingest.kill(what)
        killed = time.monotonic()
        await _progress(publishers, 90)
        recoveries.append(time.monotonic() - killed)
    for publisher in publishers:
        publisher.finish()
    await asyncio.wait_for(asyncio.gather(*work), 120)
    published_s = time.monotonic() - began
    acknowledged = set().union(*(publisher.acknowledged for publisher in publishers))
    await _until_taken(data, len(acknowledged))
    status = ingest.stop()
    return _books(data, publishers, acknowledged) | {
        "kills": len(kills),
        "seconds": round(published_s, 1),
        "slowest_recovery_s": round(max(recoveries, default=0), 1),
        "stop_status": status,
    }


async def _progress(publishers: list[Publisher], limit_s: float) -> None:
    """Return when half of the publishers have new acknowledgements."""
    before = [len(publisher.acknowledged) for publisher in publishers]
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        await asyncio.sleep(0.05)
        moved = sum(
            len(publisher.acknowledged) > old for publisher, old in zip(publishers, before, strict=True)
        )
        if moved >= len(publishers) // 2:
            return
    raise TimeoutError(f"no progress within {limit_s} s")


async def _until_taken(data: Path, wanted: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        await asyncio.sleep(0.3)
        with sqlite3.connect(data / "sink.db") as connection:
            if connection.execute("SELECT count(DISTINCT id) FROM taken").fetchone()[0] >= wanted:
                await asyncio.sleep(1.0)
                return


def _books(data: Path, publishers: list[Publisher], acknowledged: set[str]) -> dict[str, Any]:
    sent = {reading_id: count for publisher in publishers for reading_id, count in publisher.sent.items()}
    with sqlite3.connect(data / "sink.db") as connection:
        copies = dict(connection.execute("SELECT id, count(*) FROM taken GROUP BY id"))
        twice = connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM taken GROUP BY id, arrived HAVING count(*) > 1)"
        ).fetchone()[0]
        strangers = connection.execute(
            "SELECT count(*) FROM taken WHERE thing IS NULL OR id NOT LIKE thing || '-%'"
        ).fetchone()[0]
    return {
        "acknowledged": len(acknowledged),
        "taken": len(copies),
        "lost": len(acknowledged - copies.keys()),
        "taken_twice": twice,
        "more_often_than_sent": sum(count > sent.get(one, 0) for one, count in copies.items()),
        "resent": sum(count - 1 for count in sent.values()),
        "wrong_thing": strangers,
        "breaks": sum(publisher.breaks for publisher in publishers),
    }


def _free_port() -> int:
    from masthead.devices.nats_server import free_port

    return free_port()


def main() -> int:
    """Return 0 when nothing was lost or doubled."""
    if sys.argv[1:2] == ["serve"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--kills", type=int, nargs=3, default=(20, 20, 20), metavar=("SERVER", "NATS", "BOTH")
    )
    parser.add_argument("--sync", choices=("always", "interval"), default="always")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pause", type=float, default=2.0, help="longest pause before a kill, seconds")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    kills = [
        what
        for what, count in zip(("server", "nats", "both"), given.kills, strict=True)
        for _ in range(count)
    ]
    random.Random(given.seed).shuffle(kills)
    with tempfile.TemporaryDirectory(prefix="masthead-faults-") as work:
        data = Path(work) / "data"
        try:
            found = asyncio.run(storm(data, kills, sync=given.sync, seed=given.seed, pause_s=given.pause))
        except BaseException:
            log = Path(work) / "server.log"
            print(log.read_text()[-5000:] if log.exists() else "no log", file=sys.stderr)
            raise
    print(
        json.dumps(found) if given.json else "\n".join(f"{name:24}{value}" for name, value in found.items())
    )
    bad = ("lost", "taken_twice", "more_often_than_sent", "wrong_thing", "stop_status")
    return 1 if any(found[name] for name in bad) else 0


if __name__ == "__main__":
    sys.exit(main())
