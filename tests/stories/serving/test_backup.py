"""A running installation goes into one file, and comes back in another folder without a reading lost or doubled."""

import contextlib
import json
import signal
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numbered_readings import (
    RULE,
    STREAM,
    came_back_exactly_once,
    delivered,
    fill,
    flush,
    send,
    sending,
    set_up,
)

Command = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., Any]
Wait = Callable[..., Any]


def test_readings_that_were_acknowledged_before_a_backup_come_back_exactly_once(
    serve: Serve, command: Command, wait_for: Wait, tmp_path: Path
) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "masthead.tgz"
    running = serve(first)
    set_up(running)
    fill(running)
    with sending(running):
        made = command("backup", str(file), "--json", data=first)
    assert made.returncode == 0, made.stderr
    manifest = json.loads(made.stdout)
    assert (manifest["running"], manifest["objects"] > 1, manifest["unread"] > 0) == (True, True, True)
    assert oct(file.stat().st_mode & 0o777) == "0o600"

    restored = command("restore", str(file), data=second)
    assert restored.returncode == 0, restored.stderr
    again = serve(second)
    assert [one["name"] for one in again.http.get("/things").json()["items"]] == ["B-101"]
    assert again.http.get("/objects/mine/note.txt").content == b"kept"
    came_back_exactly_once(again)

    # The log goes on: new readings are taken behind the restored ones.
    again.http.post("/streams", json=STREAM | {"name": "more", "destination": "s3://more/", "buffer_s": 0})
    again.http.post("/rules", json=RULE | {"actions": [{"kind": "delivery_stream", "name": "more"}]})
    send(again, range(1))
    wait_for(lambda: again.http.get("/streams/more/state").json()["records"] == 1)


def test_a_thing_of_a_backup_connects_to_the_restored_server(
    serve: Serve, command: Command, wait_for: Wait, tmp_path: Path
) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "masthead.tgz"
    set_up(running := serve(first))
    assert command("backup", str(file), data=first).returncode == 0
    running.stop()
    assert command("restore", str(file), data=second).returncode == 0
    serve(second)
    wait_for(lambda: command("things", "test", "B-101", data=second).returncode == 0)


def test_a_folder_at_rest_is_backed_up_whole(serve: Serve, command: Command, tmp_path: Path) -> None:
    first, second, file = tmp_path / "first", tmp_path / "second", tmp_path / "masthead.tgz"
    set_up(running := serve(first))
    send(running, range(10))
    running.stop()
    made = json.loads(command("backup", str(file), "--json", data=first).stdout)
    assert made["running"] is False
    assert command("restore", str(file), data=second).returncode == 0
    again = serve(second)
    flush(again)
    assert sorted(delivered(again)) == list(range(10))


def test_restore_refuses_a_folder_in_use_and_one_that_is_not_empty(
    serve: Serve, command: Command, tmp_path: Path
) -> None:
    first, file = tmp_path / "first", tmp_path / "masthead.tgz"
    set_up(running := serve(first))
    assert command("backup", str(file), data=first).returncode == 0
    again = command("backup", str(file), data=first)
    assert (again.returncode, "exists already" in again.stderr) == (1, True)

    for options in ((), ("--force",)):
        refused = command("restore", str(file), *options, data=first)
        assert (refused.returncode, "in use by the server" in refused.stderr) == (1, True)
    running.stop(signal.SIGTERM)
    refused = command("restore", str(file), data=first)
    assert (refused.returncode, "not empty" in refused.stderr) == (1, True)
    forced = json.loads(command("restore", str(file), "--force", "--json", data=first).stdout)
    assert (Path(forced["put_aside"]) / "masthead.db").exists()
    assert (first / "masthead.db").exists()


def test_server_and_commands_see_one_database_after_a_backup(
    serve: Serve, command: Command, wait_for: Wait, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    policy = tmp_path / "policy.json"
    allowed = {"Effect": "Allow", "Action": "iot:Publish", "Resource": "arn:aws:iot:::topic/a"}
    policy.write_text(json.dumps({"Version": "2012-10-17", "Statement": [allowed]}))
    running = serve(data, "--roles", "api")
    assert command("backup", str(tmp_path / "masthead.tgz"), data=data).returncode == 0

    # Each command is the database's last user but one: what it leaves behind must still be the server's log.
    for name in ("first", "second", "third"):
        assert command("policies", "create", name, "--file", str(policy), data=data).returncode == 0
        wait_for(lambda name=name: running.http.get(f"/policies/{name}").status_code == 200)
    assert running.http.post("/things", json={"name": "B-101"}).status_code == 201
    assert command("things", "show", "B-101", data=data).returncode == 0
    assert running.stop() == 0
    with contextlib.closing(sqlite3.connect(data / "masthead.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("harm", ["cut", "noise", "foreign", "outside"])
def test_a_broken_backup_changes_nothing(serve: Serve, command: Command, tmp_path: Path, harm: str) -> None:
    data, file = tmp_path / "data", tmp_path / "masthead.tgz"
    set_up(running := serve(tmp_path / "first", "--roles", "api"))
    assert command("backup", str(file), data=tmp_path / "first").returncode == 0
    running.stop()
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-200])
    elif harm == "noise":
        file.write_bytes(b"\x1f\x8b" + b"noise" * 100)
    else:
        name = "note.txt" if harm == "foreign" else "data/../../escaped"
        with tarfile.open(file, "w:gz") as tar:
            tar.add(__file__, name)
    refused = command("restore", str(file), data=data)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert not data.exists()
    assert not (tmp_path / "escaped").exists()
    assert list(tmp_path.glob(".masthead-*")) == []
