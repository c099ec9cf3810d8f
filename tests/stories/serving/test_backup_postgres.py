"""An installation on PostgreSQL goes into one file while it runs, and comes back there or in a plain data folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numbered_readings import came_back_exactly_once, fill, sending, set_up

Command = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., Any]


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


@pytest.mark.parametrize("target", ["postgresql", "sqlite"])
def test_acknowledged_readings_of_a_server_on_postgresql_come_back_exactly_once(
    serve: Serve,
    command: Command,
    on_postgres: Path,
    postgres_url: str,
    tmp_path: Path,
    target: str,
) -> None:
    running, file = serve(on_postgres), tmp_path / "masthead.tgz"
    assert not (on_postgres / "masthead.db").exists()
    set_up(running)
    fill(running)
    with sending(running):
        made = command("backup", str(file), "--json", data=on_postgres)
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
    came_back_exactly_once(again)
