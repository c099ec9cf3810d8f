"""A disk that fills up while readings arrive: what was acknowledged stays, what was not is refused, and it recovers.

The server runs in a mount namespace of its own, on a small file system that ends with it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from keyed import first_key_header

DISK_MIB, BALLAST_MIB = 96, 40
PADDING = "x" * 2000
AT_ONCE = 50


class Server:
    """A server whose data folder is a file system of `DISK_MIB`, with a ballast that can be thrown off."""

    def __init__(self, place: Path) -> None:
        self.place = place
        masthead = Path(sys.executable).parent / "masthead"
        namespace = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
        script = (
            f"mount -t tmpfs -o size={DISK_MIB}m tmpfs {place} && "
            f"head -c {BALLAST_MIB}M /dev/zero > {place}/ballast && "
            f"exec {masthead} serve --data {place}/data --port 0 --aws-port 0 --mqtt-port 0 --json"
        )
        self.process = subprocess.Popen(
            [*namespace, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.inside = Path(f"/proc/{ready['pid']}/root{place}")
        self.http = httpx.Client(
            base_url=ready["url"], headers=first_key_header(self.inside / "data"), timeout=60
        )

    def post(self, numbers: range) -> bool:
        """Send readings of 2 kB in one request; return whether they were acknowledged."""
        lines = [json.dumps({"number": number, "padding": PADDING}) for number in numbers]
        try:
            answer = self.http.post("/ingest/lines/a", content="\n".join(lines))
        except httpx.HTTPError:
            return False
        if answer.status_code >= 400:
            error = answer.json()["error"]
            assert error["message"], "a refusal says why"
            return False
        return bool(answer.json()["stored"] == len(numbers))

    def throw_off_ballast(self) -> None:
        (self.inside / "ballast").unlink()

    def delivered(self) -> list[int]:
        """Return the numbers of all readings in objects."""
        found = []
        for path in (self.inside / "data" / "objects" / "kept").rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                found += [json.loads(line)["number"] for line in path.read_text().splitlines()]
        return sorted(found)

    def stop(self) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    if not shutil.which("unshare"):
        pytest.fail("unshare is missing: apt-get install util-linux")
    found = Server(tmp_path)
    yield found
    found.stop()


def wait_for(what: str, is_so: "object", limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if is_so():  # type: ignore[operator]
            return
        time.sleep(0.5)
    pytest.fail(f"{what}: not within {limit_s:.0f} s")


@pytest.mark.slow
def test_a_full_disk_loses_nothing_that_was_acknowledged(server: Server) -> None:
    stream = {"name": "kept", "destination": "s3://kept/", "buffer_s": 1, "buffer_mib": 1}
    assert server.http.post("/streams", json=stream).status_code < 300
    rule = {
        "name": "kept",
        "sql": "SELECT * FROM 'lines/#'",
        "actions": [{"kind": "delivery_stream", "name": "kept"}],
    }
    assert server.http.post("/rules", json=rule).status_code < 300
    acknowledged: set[int] = set()
    sent: set[int] = set()
    refused = 0
    for first in range(0, 100_000, AT_ONCE):
        numbers = range(first, first + AT_ONCE)
        sent |= set(numbers)
        if server.post(numbers):
            acknowledged |= set(numbers)
        else:
            refused += 1
            if refused == 2:
                break
    assert refused == 2, "the disk never filled up"
    assert len(acknowledged) > 1000

    server.throw_off_ballast()
    wait_for("a reading is accepted again", lambda: server.post(range(1_000_000, 1_000_001)))
    wait_for("every acknowledged reading lies in an object", lambda: acknowledged <= set(server.delivered()))
    found = server.delivered()
    assert len(found) == len(set(found)), "none is delivered twice"
    assert set(found) <= sent | {1_000_000}
