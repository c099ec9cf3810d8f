"""The first start makes one key, prints it once and writes it where AWS's clients look."""

import configparser
import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from forked import forked

from masthead.app import Masthead
from masthead.base.errors import Conflict, InvalidInput
from masthead.base.settings import Settings, load_settings
from masthead.cli.main import run
from masthead.server import Server

COMMAND = [str(forked()), "serve", "--port", "0", "--roles", "api"]
SECRET = "a-secret-of-more-than-20-signs"


def served(data: Path, *options: str, **environment: str) -> str:
    """Return what `masthead serve` prints on a folder until it is ready, and stop it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MASTHEAD_")}
    process = subprocess.Popen(
        [*COMMAND, "--data", str(data), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, **environment},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "stop with Ctrl-C" in line or line.startswith("{"):
            break
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    return "".join(lines) + out + errors


def credentials(data: Path) -> dict[str, str]:
    reader = configparser.RawConfigParser()
    reader.read_string((data / "credentials").read_text())
    return dict(reader["masthead"])


def settings(data: Path, **options: Any) -> Settings:
    return load_settings({}, data=data, port=0, roles="api", **options)


def token(data: Path) -> str:
    found = credentials(data)
    return f"{found['aws_access_key_id']}.{found['aws_secret_access_key']}"


@pytest.mark.slow
def test_a_fresh_folder_gets_a_key_that_is_printed_once(tmp_path: Path) -> None:
    os.umask(0o022)
    data = tmp_path / "new" / "data"
    first = served(data)
    found = credentials(data)
    assert f"id {found['aws_access_key_id']} secret {found['aws_secret_access_key']}\n" in first
    assert stat.S_IMODE((data / "credentials").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert (found["region"], found["endpoint_url"]) == ("us-east-1", "http://127.0.0.1:8401")
    before = (data / "credentials").read_bytes()
    second = served(data, "--json")
    assert found["aws_secret_access_key"] not in second
    assert "first_key" not in second
    assert (data / "credentials").read_bytes() == before
    with Masthead.open(load_settings({}, data=data)) as product:
        key = product.keys.authenticate(token(data))
        assert key is not None
        assert (key.name, [one.name for one in key.policies]) == ("admin", ["admin"])
    secret = found["aws_secret_access_key"].encode()
    holders = [path.name for path in data.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert holders == ["credentials"]


@pytest.mark.slow
def test_json_tells_the_first_key_in_the_ready_line(tmp_path: Path) -> None:
    printed = json.loads(served(tmp_path / "data", "--json").splitlines()[0])
    assert f"{printed['first_key']['id']}.{printed['first_key']['secret']}" == token(tmp_path / "data")


@pytest.mark.slow
def test_a_preset_secret_is_never_printed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for _ in range(2):
        printed = served(
            data,
            MASTHEAD_ACCESS_KEY_ID="preset",
            MASTHEAD_SECRET_ACCESS_KEY=SECRET,
            MASTHEAD_LOG_LEVEL="debug",
        )
        assert SECRET not in printed
    assert token(data) == f"preset.{SECRET}"
    logs = "".join(path.read_text() for path in (data / "logs").rglob("*.jsonl"))
    assert "preset" in logs
    assert SECRET not in logs


def test_a_file_whose_key_works_is_never_overwritten(tmp_path: Path) -> None:
    with Server(settings(tmp_path / "data")) as server:
        server.masthead.keys.create_key("other", ["admin"])
    before = (tmp_path / "data/credentials").read_bytes()
    with Server(settings(tmp_path / "data", access_key_id="preset", secret_access_key=SECRET)):
        pass
    assert (tmp_path / "data/credentials").read_bytes() == before


def test_the_file_follows_a_preset_once_its_key_is_gone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    preset = {"access_key_id": "preset", "secret_access_key": SECRET}
    with Server(settings(data, **preset)) as server:
        assert server.masthead.keys.authenticate(token(data))
    with Server(settings(data, access_key_id="preset", secret_access_key=SECRET + "2")) as server:
        assert token(data) == f"preset.{SECRET}2"
        assert stat.S_IMODE((data / "credentials").stat().st_mode) == 0o600
        assert server.masthead.keys.authenticate(token(data))
    (data / "credentials").write_text("no such form")
    with Server(settings(data, **preset)):
        assert token(data) == f"preset.{SECRET}"


def test_a_deleted_file_is_not_made_again(tmp_path: Path) -> None:
    with Server(settings(tmp_path / "data")):
        pass
    (tmp_path / "data/credentials").unlink()
    with Server(settings(tmp_path / "data")) as server:
        assert server.first_key is None
    assert not (tmp_path / "data/credentials").exists()


def test_a_short_preset_secret_is_for_loopback_only(tmp_path: Path) -> None:
    preset = {"access_key_id": "preset", "secret_access_key": "short"}
    with pytest.raises(InvalidInput, match="at least 20") as caught:
        Server(settings(tmp_path / "data", host="0.0.0.0", insecure_http=True, **preset))
    assert "short" not in caught.value.message
    Server(settings(tmp_path / "data", **preset))


def test_http_beyond_this_machine_is_said_loudly_with_the_address_that_is_bound(tmp_path: Path) -> None:
    told = served(tmp_path / "a", "--host", "0.0.0.0", "--insecure-http", "--roles", "api,aws")
    assert "signatures protect integrity, not secrecy" in told
    for line in told.splitlines():
        if " at http://" in line:
            assert line.endswith(", bound to 0.0.0.0: every address of this machine"), line
    here = served(tmp_path / "b")
    assert "secrecy" not in here
    assert "bound to" not in here


def test_half_a_preset_does_not_start(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("MASTHEAD_ACCESS_KEY_ID", "preset")
    assert run(["serve", "--data", str(tmp_path / "data"), "--port", "0"]) == 2
    assert "secret_access_key: expected both" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["another", "absent"])
def test_a_wrong_master_key_does_not_start(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    with Server(settings(data)):
        pass
    (data / "master.key").unlink()
    if damage == "another":
        (data / "master.key").write_bytes(b"x" * 32)
    with pytest.raises(Conflict, match="master key"), Server(settings(data)):
        pass
    capsys.readouterr()
    assert run(["serve", "--data", str(data), "--port", "0", "--roles", "api"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("masthead: master_key_file: the keys of this installation were sealed with")
    assert len(told.err.splitlines()) == 1
