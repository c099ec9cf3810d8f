"""`nats_url`: a NATS server that somebody else runs, with JetStream, with or without a door for MQTT."""

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from external_nats import External
from keyed import first_key_header
from paho.mqtt.enums import CallbackAPIVersion
from waiting import eventually

from masthead.base.errors import InvalidInput, LimitReached
from masthead.base.settings import Settings
from masthead.server import Server

DETECTOR = {
    "name": "air",
    "interval": "1s",
    "measures": [{"name": "SO2", "column": "SO2", "aggregation": "avg"}],
    "time": {"column": "at", "format": "iso"},
    "source": {"kind": "stream", "topic": "sensors/#"},
}


@pytest.fixture
def external(tmp_path: Path) -> Iterator[Callable[..., External]]:
    with contextlib.ExitStack() as stack:

        def start(**how: bool) -> External:
            made = External(tmp_path / "theirs", **how)
            stack.callback(made.stop)
            return made

        yield start


def ask(server: Server, path: str, body: bytes | None = None) -> Any:
    assert server.addresses is not None
    shown = first_key_header(server.settings.data)
    request = urllib.request.Request(server.addresses.url + path, body, shown)
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def reading(number: int) -> bytes:
    return json.dumps({"at": datetime.now(UTC).isoformat(), "SO2": number}).encode()


def watch(server: Server) -> None:
    server.masthead.metrics.create_detector(DETECTOR)
    server.masthead.metrics.activate("air")
    eventually(lambda: server.masthead.metrics.get_detector("air").state in ("learning", "active"))
    server.masthead.refresh()


def rows(server: Server) -> int:
    return int(ask(server, "/detectors/air/quality")["rows"])


@pytest.mark.slow
def test_readings_over_http_reach_a_detector_through_a_server_with_jetstream_alone(
    tmp_path: Path, external: Callable[..., External]
) -> None:
    theirs = external()
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, nats_url=theirs.url)
    with Server(settings) as server:
        watch(server)
        for number in range(10):
            ask(server, "/ingest/sensors/a", reading(number))
        time.sleep(1.1)
        ask(server, "/ingest/sensors/a", reading(10))
        eventually(lambda: rows(server) >= 10)
        found = ask(server, "/readyz")
        assert found["status"] == "ready"
        (note,) = found["notes"]
        assert "things connect to it by its own users" in note
        assert "secret" not in json.dumps(found)
        # Their server may go away and come back.
        theirs.stop()
        time.sleep(1)
        theirs.start()
        eventually(lambda: _stored(server, reading(11)))
        time.sleep(1.1)
        eventually(lambda: _stored(server, reading(12)))
        eventually(lambda: rows(server) >= 12, 40)


def _stored(server: Server, body: bytes) -> bool:
    try:
        ask(server, "/ingest/sensors/a", body)
    except urllib.error.HTTPError as error:
        if error.code not in (429, 503):
            raise
        time.sleep(0.5)
        return False
    return True


@pytest.mark.slow
def test_readings_by_their_mqtt_door_reach_a_detector(
    tmp_path: Path, external: Callable[..., External]
) -> None:
    theirs = external(mqtt_door=True)
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, nats_url=theirs.url)
    with Server(settings) as server:
        watch(server)
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="theirs")
        client.username_pw_set("masthead", "secret")
        client.connect("127.0.0.1", theirs.mqtt_port)
        client.loop_start()
        for number in range(10):
            client.publish("sensors/a", reading(number), 1).wait_for_publish(10)
        time.sleep(1.1)
        client.publish("sensors/a", reading(10), 1).wait_for_publish(10)
        eventually(lambda: rows(server) >= 10)
        client.disconnect()
        client.loop_stop()


def test_a_server_without_jetstream_is_refused_with_the_reason(
    tmp_path: Path, external: Callable[..., External]
) -> None:
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, nats_url=external(jetstream=False).url)
    with pytest.raises(LimitReached, match=r"nats_url.*JetStream") as caught, Server(settings):
        pass
    assert "secret" not in str(caught.value)


def test_a_plain_door_of_our_own_is_refused(tmp_path: Path) -> None:
    settings = Settings(
        data=tmp_path / "data", port=0, aws_port=0, nats_url="nats://127.0.0.1:4222", mqtt_plain=True
    )
    with pytest.raises(InvalidInput, match="mqtt_plain: expected off with nats_url"), Server(settings):
        pass


def test_a_wrong_password_is_named_and_not_shown(tmp_path: Path, external: Callable[..., External]) -> None:
    url = external().url.replace("secret", "guess")
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, nats_url=url)
    with pytest.raises(LimitReached, match="nats_url") as caught, Server(settings):
        pass
    assert "guess" not in str(caught.value)
