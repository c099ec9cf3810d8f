"""The broker's configuration as text, and what nats-server itself thinks of it."""

import subprocess
from pathlib import Path

import pytest

from masthead.access.service import User
from masthead.access.thing_policies import Permissions
from masthead.devices.nats_config import ServerOptions, config_text
from masthead.devices.nats_server import find_binary


def options(folder: Path, **changes: object) -> ServerOptions:
    values: dict[str, object] = {
        "folder": folder,
        "host": "127.0.0.1",
        "mqtt_port": 8883,
        "client_port": 4222,
        "password": "p-secret",
        "certificate": folder / "server.pem",
        "key": folder / "server.key",
        "authority": folder / "ca.pem",
        "sync": "always",
        "stream_bytes": 10**9,
        "encryption_key": "kabc",
    }
    return ServerOptions(**(values | changes))  # type: ignore[arg-type]


def user(publish: tuple[str, ...] = (), subscribe: tuple[str, ...] = ()) -> User:
    return User("OU=00,CN=a", "a", Permissions(True, publish, subscribe))


def test_a_thing_without_a_grant_is_denied_everything(tmp_path: Path) -> None:
    text = config_text(options(tmp_path), [user()])
    assert 'permissions: {publish: {deny: [">"]}, subscribe: {deny: [">"]}}' in text


def test_things_enter_by_the_mqtt_door_only(tmp_path: Path) -> None:
    line = next(
        line for line in config_text(options(tmp_path), [user(("a",))]).splitlines() if "CN=a" in line
    )
    assert 'allowed_connection_types: ["MQTT"]' in line
    assert '"$JS.>"' in line


def test_the_key_of_the_store_is_not_in_the_file(tmp_path: Path) -> None:
    text = config_text(options(tmp_path), [])
    assert "key: $MASTHEAD_JETSTREAM_KEY" in text
    assert "kabc" not in text
    assert "cipher" not in config_text(options(tmp_path, encryption_key=None), [])


@pytest.mark.parametrize("sync", ["always", "interval"])
def test_nats_server_accepts_it(tmp_path: Path, sync: str) -> None:
    folder = tmp_path / 'a "strange" folder'
    folder.mkdir()
    text = config_text(options(folder, sync=sync), [user(("a.>",), ("b", "b.>")), user(("é.//.>",))])
    # The certificate files do not exist: the parser must come as far as them.
    (folder / "nats.conf").write_text(text)
    done = subprocess.run(
        [find_binary(), "-t", "-c", folder / "nats.conf"],
        capture_output=True,
        text=True,
        env={"MASTHEAD_JETSTREAM_KEY": "kabc"},
    )
    assert "server.pem" in done.stderr
    assert "conf:" not in done.stderr.replace("nats.conf:", "", 1) or "error parsing X509" in done.stderr
