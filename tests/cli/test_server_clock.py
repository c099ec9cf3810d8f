"""A server with `--virtual-clock` and a simulator beside it: two processes, one time."""

import json
import math
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from forked import forked
from keyed import first_key_header
from paho.mqtt.enums import CallbackAPIVersion
from waiting import eventually

LIVE = Path(__file__).parents[2] / "src/masthead/samples/air/live_data_sample.csv"
FILE = ["--file", str(LIVE), "--columns", "TIMESTAMP,LOCATION_ID,CO,SO2,NO2", "--timestamp", "TIMESTAMP"]
DETECTOR = {
    "name": "air",
    "interval": "5m",
    "dimensions": ["LOCATION_ID"],
    "measures": [{"name": "SO2", "column": "SO2", "aggregation": "avg"}],
    "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
    "source": {"kind": "stream", "topic": "sensors/+/readings"},
}


class Served:
    def __init__(self, data: Path) -> None:
        self.data = data
        self.start()

    def start(self) -> None:
        ports = ["--port", "0", "--aws-port", "0", "--mqtt-port", "0"]
        self.server = subprocess.Popen(
            [str(forked()), "serve", "--data", str(self.data), *ports, "--json", "--virtual-clock"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.server.stdout is not None
        self.found = json.loads(self.server.stdout.readline())

    def stop(self) -> None:
        self.server.terminate()
        self.server.wait(30)
        assert self.server.stdout is not None
        self.server.stdout.close()

    def ask(self, path: str, document: object = None, **headers: str) -> Any:
        data = None if document is None else json.dumps(document).encode()
        shown = {"Content-Type": "application/json", **first_key_header(self.data)}
        request = urllib.request.Request(f"{self.found['url']}{path}", data, shown)
        for name, value in headers.items():
            request.add_header(name, value)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def clock_s(self) -> float:
        return float(self.ask("/clock")["time"])

    def simulate(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(forked()), "metrics", "simulate", *arguments, "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "data")
    yield made
    made.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "speed"), [("mqtt", "max"), pytest.param("stream", "1000", marks=pytest.mark.big)]
)
def test_two_days_pass_in_seconds_and_every_interval_is_closed_by_the_servers_clock(
    served: Served, to: str, speed: str
) -> None:
    """At 1,000 times the first hundred intervals, at the highest speed all 576."""
    served.ask("/detectors", DETECTOR)
    served.ask("/detectors/air/activate", {})
    before_s = served.clock_s()
    given = FILE if speed == "max" else ["--generate", "1", "--intervals", "100"]
    done = served.simulate(*given, "--to", to, "--speed", speed)
    assert done.returncode == 0, done.stderr
    sent = int(done.stdout.split()[0])
    first_s = before_s // 300 * 300
    assert sent in (576, 100, 99, 98)  # the generator loses one in five hundred
    intervals = 576 if speed == "max" else 100
    assert served.clock_s() >= first_s + intervals * 300
    found = eventually(lambda: _closed(served, intervals))
    assert (found["late"], found["duplicates"]) == (0, 0)
    quality = served.ask("/detectors/air/quality")
    assert quality["rows"] == sent, quality
    # It goes on at the pace of the real world, also over a restart.
    one = served.clock_s()
    time.sleep(0.5)
    assert 0.4 < served.clock_s() - one < 5
    served.stop()
    served.start()
    assert served.clock_s() >= one


def _closed(served: Served, intervals: int) -> Any:
    quality = served.ask("/detectors/air/quality")
    return quality if quality["rows"] and quality["intervals"] + quality["empty"] >= intervals else None


@pytest.mark.slow
def test_without_a_virtual_clock_a_fast_simulation_says_what_to_do(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    command = [
        str(forked()),
        "serve",
        "--data",
        data,
        "--port",
        "0",
        "--aws-port",
        "0",
        "--mqtt-port",
        "0",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        server.stdout.readline()
        for speed in ("2", "max"):
            done = subprocess.run(
                [str(forked()), "metrics", "simulate", "--generate", "1", "--speed", speed, "--data", data],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert done.returncode == 2
            assert "masthead serve --virtual-clock" in done.stderr
        server.terminate()


@pytest.mark.slow
def test_no_thing_moves_the_clock_whatever_its_policies_allow(served: Served) -> None:
    everything = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    served.ask("/policies", {"name": "anything", "document": everything})
    served.ask("/things", {"name": "a", "policies": ["anything"]})
    folder = served.data / "things" / "a"
    time.sleep(1.5)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="a")
    client.tls_set(str(folder / "ca.pem"), str(folder / "certificate.pem"), str(folder / "private.key"))
    there = threading.Event()
    client.on_connect = lambda *_: there.set()
    client.connect("localhost", served.found["mqtt_port"])
    client.loop_start()
    assert there.wait(10)
    beat = json.dumps({"time": time.time() + 1e6, "factor": 1000}).encode()
    for qos in (0, 1, 2):
        client.publish("masthead/clock", beat, qos).wait_for_publish(10)
    time.sleep(1)
    assert abs(served.clock_s() - time.time()) < 5
    client.disconnect()
    client.loop_stop()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        served.ask("/clock", {"time": time.time() + 1e6}, Authorization="Bearer guess")
    token = json.loads((served.data / "serve.json").read_text())["token"]
    served.ask(
        "/clock",
        {"time": time.time() + 1e6, "until": math.floor(time.time() + 1e6)},
        Authorization=f"Bearer {token}",
    )
    assert served.clock_s() > time.time() + 9e5
