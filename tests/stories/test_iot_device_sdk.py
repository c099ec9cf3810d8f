"""An unmodified AWS IoT device SDK over mutual TLS: its readings reach a detector, and it may do what its thing may."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aws_clients import IOT, client_python

AGENT = Path(__file__).parents[1] / "wire" / "clients" / "iot.py"
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def device() -> Iterator[Callable[..., Ask]]:
    """Start a device of the SDK; what comes back asks it to do something and returns its answer."""
    running: list[subprocess.Popen[str]] = []

    def start(**settings: Any) -> Ask:
        process = subprocess.Popen(
            [str(client_python(IOT)), str(AGENT), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        running.append(process)
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(*words: str) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            if words:
                process.stdin.write(" ".join(words) + "\n")
                process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        return ask

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_device_of_the_aws_sdk_feeds_a_detector(
    served: Any, device: Callable[..., Ask], eventually: Callable[..., Any]
) -> None:
    made = served.masthead("things", "create", "B-101")
    spec = {
        "interval": "5s",
        "measures": ["SO2"],
        "dimensions": ["LOCATION_ID"],
        "source": {"kind": "stream", "topic": "sensors/+/air"},
    }
    served.masthead("detectors", "create", "air", given=spec)
    served.masthead("detectors", "activate", "air")
    ask = device(
        port=served.mqtt_port,
        client_id="B-101",
        ca=made["ca"],
        certificate=made["certificate"],
        key=made["key"],
    )
    assert ask() == {"answer": "connected"}
    assert ask("subscribe", "commands/B-101/#") == {"answer": "commands/B-101/#"}
    assert "error" in ask("subscribe", "commands/another/#")
    stamp = datetime.now(UTC).isoformat()
    for value in (60, 61, 62):
        reading = json.dumps({"LOCATION_ID": "B-101", "SO2": value, "at": stamp}, separators=(",", ":"))
        assert "answer" in ask("publish", "sensors/B-101/air", reading)
    assert "answer" in ask("publish", "sensors/another/air", "{}")  # MQTT 3.1.1 has no way to refuse it

    eventually(lambda: served.masthead("detectors", "quality", "air").get("rows") == 3, 90, every_s=0.5)
    eventually(
        lambda: "sensors/another/air" in json.dumps(served.masthead("things", "forbidden", "B-101")),
        30,
        every_s=0.5,
    )
    assert ask("disconnect") == {"answer": "disconnected"}


def test_a_device_without_a_certificate_or_with_a_revoked_one_is_refused(
    served: Any, device: Callable[..., Ask]
) -> None:
    made = served.masthead("things", "create", "B-102")
    where = {"port": served.mqtt_port, "client_id": "B-102", "ca": made["ca"]}
    assert "error" in device(**where)()
    served.masthead("things", "revoke", "B-102")
    assert "error" in device(**where, certificate=made["certificate"], key=made["key"])()
