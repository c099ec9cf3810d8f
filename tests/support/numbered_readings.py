"""Readings with numbers, sent to a served installation and found again in its objects: none lost, none twice."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from waiting import eventually

STREAM = {"name": "air", "destination": "s3://air/", "buffer_s": 900, "buffer_mib": 1}
RULE = {
    "name": "all",
    "sql": "SELECT * FROM 'air/#'",
    "actions": [{"kind": "delivery_stream", "name": "air"}],
}
MEANWHILE = 10_000
"""The first number of what is sent while something else happens."""


def set_up(running: Any) -> None:
    """Make a stream, a rule that fills it, a thing and an object."""
    assert running.http.post("/streams", json=STREAM).status_code == 201
    assert running.http.post("/rules", json=RULE).status_code == 201
    assert running.http.post("/things", json={"name": "B-101"}).status_code == 201
    assert running.http.put("/objects/mine/note.txt", content=b"kept").status_code == 201


def send(running: Any, numbers: range, padding: int = 0) -> None:
    """Send one reading for each number, acknowledged when this returns."""
    lines = b"".join(json.dumps({"n": n, "x": "y" * padding}).encode() + b"\n" for n in numbers)
    assert running.http.post("/ingest/air/x", content=lines).json()["stored"] == len(numbers)


def fill(running: Any) -> None:
    """Send 3,100 readings: some lie in objects then (the buffer holds 1 MiB), the rest in memory and in the log."""
    send(running, range(3000), padding=500)
    eventually(lambda: running.http.get("/streams/air/state").json()["objects"] > 0)
    send(running, range(3000, 3100))


@contextlib.contextmanager
def sending(running: Any) -> Iterator[None]:
    """Send readings one by one, numbered from `MEANWHILE` on, inside."""
    stop = threading.Event()

    def keep_sending() -> None:
        number = MEANWHILE
        while not stop.is_set():
            send(running, range(number, number + 1))
            number += 1

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def delivered(running: Any) -> list[int]:
    """Return the numbers in the stream's objects."""
    numbers = []
    for one in running.http.get("/objects/air", params={"limit": 1000}).json()["items"]:
        content = running.http.get("/objects/" + one["uri"].removeprefix("s3://")).content
        numbers += [json.loads(line)["n"] for line in content.splitlines()]
    return numbers


def read_on(running: Any) -> None:
    """Wait until the log was read up to now: rules follow it in order, so a last reading comes after all others."""
    stream = STREAM | {"name": "marker", "destination": "s3://marker/", "buffer_s": 0}
    assert running.http.post("/streams", json=stream).status_code == 201
    rule = {
        "name": "marker",
        "sql": "SELECT * FROM 'marker'",
        "actions": [{"kind": "delivery_stream", "name": "marker"}],
    }
    assert running.http.post("/rules", json=rule).status_code == 201
    assert running.http.post("/ingest/marker", content=b'{"n": 0}').json()["stored"] == 1
    eventually(lambda: running.http.get("/streams/marker/state").json()["records"] == 1, within_s=60)


def flush(running: Any) -> None:
    """Deleting a stream puts what it holds."""
    running.http.delete("/rules/all")
    assert running.http.delete("/streams/air").status_code == 204


def came_back_exactly_once(running: Any) -> None:
    """Assert that a restored installation holds all that was filled in, and of what was sent meanwhile no gap, none twice."""
    read_on(running)
    flush(running)
    eventually(lambda: set(range(3100)) <= set(delivered(running)))
    found = delivered(running)
    assert len(found) == len(set(found))
    later = sorted(number for number in found if number >= MEANWHILE)
    assert later == list(range(MEANWHILE, MEANWHILE + len(later)))
