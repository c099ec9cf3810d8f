"""The log of readings is deleted while the database stays: new readings count, old ones do not count again."""

import json
import shutil
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from keyed import first_key_header
from waiting import eventually

from masthead.base.settings import Settings
from masthead.server import Server

DETECTOR = {
    "name": "air",
    "interval": "1d",
    "measures": [{"name": "SO2", "column": "SO2", "aggregation": "sum"}],
    "time": {"column": "at", "format": "iso"},
    "source": {"kind": "stream", "topic": "sensors/#"},
    "dedupe": "none",
}


def ask(server: Server, path: str, body: bytes | None = None) -> Any:
    assert server.addresses is not None
    shown = first_key_header(server.settings.data)
    request = urllib.request.Request(server.addresses.url + path, body, shown)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def send(server: Server, numbers: range) -> None:
    """One request, and so one message of the log, each."""
    for number in numbers:
        reading = {"at": datetime.now(UTC).isoformat(), "SO2": 1, "number": number}
        ask(server, "/ingest/sensors/a", json.dumps(reading).encode())


def stored(server: Server) -> list[int]:
    server.masthead.streams.flush()
    objects = server.masthead.objects
    lines = b"".join(objects.get(found.uri) for found in objects.list("s3://kept/")).splitlines()
    return sorted(json.loads(line)["number"] for line in lines)


@pytest.mark.slow
def test_after_the_brokers_folder_is_removed_new_readings_are_taken_and_old_ones_not_again(
    tmp_path: Path,
) -> None:
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, mqtt_port=0)
    with Server(settings) as server:
        masthead = server.masthead
        masthead.streams.create_stream({"name": "kept", "destination": "s3://kept/"})
        actions = [{"kind": "delivery_stream", "name": "kept"}]
        masthead.streams.create_rule({"name": "keep", "sql": "SELECT * FROM 'sensors/#'", "actions": actions})
        masthead.metrics.create_detector(DETECTOR)
        masthead.metrics.activate("air")
        eventually(lambda: masthead.metrics.get_detector("air").state in ("learning", "active"))
        masthead.refresh()
        send(server, range(20))
        eventually(lambda: stored(server) == list(range(20)))
        # The detector's interval is open, so the smallest place lies before all that the other sink has.
        assert masthead.position() == 1 or (masthead.position() or 0) < 20
        assert "notes" not in ask(server, "/readyz")
    shutil.rmtree(settings.data / "nats")
    for begin in (20, 40):  # a second start over the new log is an ordinary one
        with Server(settings) as server:
            notes = ask(server, "/readyz").get("notes", [])
            assert len(notes) == (1 if begin == 20 else 0), notes
            send(server, range(begin, begin + 20))
            eventually(lambda server=server, begin=begin: stored(server) == list(range(begin + 20)))
    text = (settings.data / "logs").rglob("*")
    assert any(b"was deleted or lost its end" in path.read_bytes() for path in text if path.is_file())
