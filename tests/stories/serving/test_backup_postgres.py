"""An installation on PostgreSQL goes into one file while it runs, and comes back there or in a plain data folder."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., Any]
Wait = Callable[..., Any]

STREAM = {"name": "air", "destination": "s3://air/", "buffer_s": 900, "buffer_mib": 1}
RULE = {
    "name": "all",
    "sql": "SELECT * FROM 'air/#'",
    "actions": [{"kind": "delivery_stream", "name": "air"}],
}


@pytest.fixture
def on_postgres(tmp_path: Path, postgres_url: str) -> Path:
    """A data folder whose file of settings names a PostgreSQL."""
    data = tmp_path / "first"
    data.mkdir(mode=0o700)
    (data / "masthead.toml").write_text(f'database_url = "{postgres_url}"\n')
    return data


def restore(file: Path, data: Path, *options: str, database_url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "masthead.cli.main", "restore", str(file), "--data", str(data), *options]
    environment = os.environ | {"MASTHEAD_DATABASE_URL": database_url}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def send(running: Any, numbers: range, padding: int = 0) -> None:
    lines = b"".join(json.dumps({"n": n, "x": "y" * padding}).encode() + b"\n" for n in numbers)
    assert running.http.post("/ingest/air/x", content=lines).json()["stored"] == len(numbers)


def delivered(running: Any) -> list[int]:
    numbers = []
    for one in running.http.get("/objects/air", params={"limit": 1000}).json()["items"]:
        content = running.http.get("/objects/" + one["uri"].removeprefix("s3://")).content
        numbers += [json.loads(line)["n"] for line in content.splitlines()]
    return numbers


@pytest.mark.parametrize("target", ["postgresql", "sqlite"])
def test_acknowledged_readings_of_a_server_on_postgresql_come_back_exactly_once(
    serve: Serve,
    command: Command,
    wait_for: Wait,
    on_postgres: Path,
    postgres_url: str,
    tmp_path: Path,
    target: str,
) -> None:
    running, file = serve(on_postgres), tmp_path / "masthead.tgz"
    assert not (on_postgres / "masthead.db").exists()
    assert running.http.post("/streams", json=STREAM).status_code == 201
    assert running.http.post("/rules", json=RULE).status_code == 201
    assert running.http.post("/things", json={"name": "B-101"}).status_code == 201
    send(running, range(3000), padding=500)
    wait_for(lambda: running.http.get("/streams/air/state").json()["objects"] > 0)
    send(running, range(3000, 3100))

    stop = threading.Event()
    more = iter(range(10_000, 1_000_000))

    def keep_sending() -> None:
        while not stop.is_set():
            number = next(more)
            send(running, range(number, number + 1))

    sender = threading.Thread(target=keep_sending)
    sender.start()
    made = command("backup", str(file), "--json", data=on_postgres)
    stop.set()
    sender.join()
    assert made.returncode == 0, made.stderr
    running.stop()

    second = tmp_path / "second"
    if target == "postgresql":
        # The archive's own settings name the database, which still holds the first installation.
        refused = command("restore", str(file), data=second)
        assert (refused.returncode, "not empty" in refused.stderr, second.exists()) == (1, True, False)
        assert command("restore", str(file), "--force", data=second).returncode == 0
    else:
        done = restore(file, second, database_url="")
        assert done.returncode == 0, done.stderr
        (second / "masthead.toml").unlink()
    assert (second / "masthead.db").exists() is (target == "sqlite")

    again = serve(second)
    assert [one["name"] for one in again.http.get("/things").json()["items"]] == ["B-101"]
    again.http.delete("/rules/all")
    assert again.http.delete("/streams/air").status_code == 204
    wait_for(lambda: set(range(3100)) <= set(delivered(again)))
    found = delivered(again)
    assert len(found) == len(set(found))
    later = sorted(number for number in found if number >= 10_000)
    assert later == list(range(10_000, 10_000 + len(later)))


def test_a_plain_folder_moves_to_postgresql_at_rest_and_stays_there(
    serve: Serve, command: Command, postgres_url: str, tmp_path: Path
) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "masthead.tgz"
    running = serve(first, "--roles", "api")
    assert running.http.post("/things", json={"name": "B-101"}).status_code == 201
    running.stop()
    assert command("backup", str(file), data=first).returncode == 0
    done = restore(file, second, database_url=postgres_url)
    assert done.returncode == 0, done.stderr
    (second / "masthead.toml").write_text(f'database_url = "{postgres_url}"\n')
    listed = json.loads(command("things", "list", "--json", data=second).stdout)
    assert [one["name"] for one in listed] == ["B-101"]
    assert not (second / "masthead.db").exists()
    made = json.loads(command("backup", str(tmp_path / "again.tgz"), "--json", data=second).stdout)
    assert made["running"] is False
