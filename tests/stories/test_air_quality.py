"""The air-quality article's story through the real commands: from a sensor's reading to an alert, and to an object."""

import csv
import json
import random
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from masthead.cli.publisher import Door, Publisher, acknowledged

pytestmark = pytest.mark.slow

STAMP = "%Y-%m-%d %H:%M"
DEMO = [sys.executable, "-m", "masthead.cli.main", "demo"]

# ---------------------------------------------------------------------- the demonstration, told once


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `masthead demo air --speed max --exit --json` printed, with the CPU seconds it took and its folder."""
    data, began = tmp_path_factory.mktemp("story") / "demo", _cpu_of_children()
    options = [
        "--speed",
        "max",
        "--exit",
        "--json",
        "--data",
        str(data),
        "--port",
        "0",
        "--aws-port",
        "0",
        "--mqtt-port",
        "0",
    ]
    done = subprocess.run([*DEMO, "air", *options], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stderr == ""
    return {**json.loads(done.stdout), "cpu_s": _cpu_of_children() - began, "folder": data}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_two_planted_anomalies_are_found_where_and_when_they_were_planted(told: dict[str, Any]) -> None:
    so2, co = told["anomalies"]
    assert told["ok"]
    for one, measure, start, end in (
        (so2, "SO2", "2022-03-24 23:30", "2022-03-24 23:35"),
        (co, "CO", "2022-03-24 23:45", "2022-03-24 23:50"),
    ):
        assert (one["measure"], one["original_start"], one["original_end"]) == (measure, start, end)
        assert one["severity"] >= 70
        assert one["contributions"] == {"LOCATION_ID": {"B-101": 100.0}}
        assert one["article_severity"] == 93
    assert len(told["other_groups"]) <= 1


def test_dates_are_shifted_by_whole_intervals_so_that_the_first_one_is_now(told: dict[str, Any]) -> None:
    shift = _shift(told)
    assert shift.total_seconds() % 300 == 0
    first = datetime(2022, 3, 24, tzinfo=UTC) + shift
    assert timedelta(0) < datetime.now(UTC) - first < timedelta(minutes=10)


def test_each_alert_left_within_two_seconds_of_its_intervals_end(told: dict[str, Any]) -> None:
    delays = [one["alert_after_s"] for one in told["anomalies"]]
    assert all(0 <= delay <= 2.0 for delay in delays), delays


def test_the_fireworks_of_the_new_years_night_are_found_at_all_stations(told: dict[str, Any]) -> None:
    fireworks = told["stations"][0]
    assert (fireworks["measure"], fireworks["alert_after_s"] is not None) == ("SO2", True)
    assert fireworks["original_start"] <= "2017-01-28 01:00" <= fireworks["original_end"]
    assert len(fireworks["contributions"]["station"]) == 4


def test_nothing_was_late_twice_or_refused(told: dict[str, Any]) -> None:
    for counts in told["detectors"].values():
        assert (counts["state"], counts["late"], counts["duplicates"], counts["refused"]) == (
            "active",
            0,
            0,
            0,
        )


def test_every_reading_lies_in_exactly_one_object_in_the_folder_of_its_event_time(
    told: dict[str, Any],
) -> None:
    names = ("TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2")
    live = (files("masthead") / "samples/air/live_data_sample.csv").read_text().splitlines()
    expected = Counter()
    for row in csv.DictReader(live, fieldnames=names):
        stamp = datetime.strptime(row["TIMESTAMP"], STAMP).replace(tzinfo=UTC) + _shift(told)
        expected[(stamp.strftime(STAMP), float(row["CO"]), float(row["SO2"]), float(row["NO2"]))] += 1
    stored = _stored(told["folder"] / "objects" / "air")
    found = Counter(
        (row["TIMESTAMP"], float(row["CO"]), float(row["SO2"]), float(row["NO2"])) for _, row in stored
    )
    assert found == expected
    assert all(folder == _folder_of(row) for folder, row in stored)
    objects = told["objects"]
    assert objects["records"] + objects["errors"] == objects["published"] == 576


def test_the_whole_story_takes_less_than_a_minute(told: dict[str, Any]) -> None:
    assert told["cpu_s"] < 60  # of one core, and it keeps both busy: what runs beside it may not fail it


def test_cleaning_removes_the_folder_and_a_file_of_somebody_else_stays(told: dict[str, Any]) -> None:
    folder: Path = told["folder"]
    (folder / "notes.txt").write_text("mine")
    done = subprocess.run(
        [*DEMO, "clean", "--data", str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [entry.name for entry in folder.iterdir()] == ["notes.txt"]


def _shift(told: dict[str, Any]) -> timedelta:
    one = told["anomalies"][0]
    original = datetime.strptime(one["original_start"], STAMP).replace(tzinfo=UTC)
    return datetime.fromisoformat(one["start"]) - original


# ------------------------------------------------------------------- kill -9, counted in the objects


def test_ten_thousand_readings_through_four_kills_lie_in_one_object_each_or_in_the_error_place(
    served: Any, eventually: Any
) -> None:
    served.masthead("things", "create", "S-1")
    stream = {
        "destination": "s3://kept/",
        "prefix": "!{timestamp:yyyyMMdd'/'HHmm}/",
        "error_prefix": "errors/!{firehose:error-output-type}/",
        "buffer_s": 5,
        "buffer_mib": 5,
        "event_time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm", "zone": "UTC", "interval": "5m"},
    }
    served.masthead("streams", "create", "kept", given=stream)
    rule = {
        "sql": "SELECT * FROM 'sensors/+/air'",
        "actions": [{"kind": "delivery_stream", "name": "kept"}],
    }
    served.masthead("rules", "create", "keep", given=rule)
    time.sleep(1.5)  # the server follows within a second
    blows = {2000: served.kill_broker, 4000: served.restart, 6000: served.kill_broker, 8000: served.restart}
    readings = [_reading(number) for number in range(10_000)]
    with Publisher("S-1", Door.of(served.data / "things" / "S-1", port=served.mqtt_port)) as thing:
        sent = []
        for number, payload in enumerate(readings):
            if number in blows:
                blows[number]()
            sent.append(thing.publish("sensors/S-1/air", payload))
            if number % 100 == 99:
                acknowledged(sent, timeout_s=60)
                sent.clear()
    expected = Counter(readings)
    kept = served.data / "objects" / "kept"
    eventually(lambda: sum(1 for _ in _lines(kept)) >= len(readings), within_s=60)
    time.sleep(1.0)  # none may come after the last
    errors = [json.loads(line) for _, line in _lines(kept / "errors")]
    good = [(folder, line) for folder, line in _lines(kept) if "errors" not in folder]
    assert len(errors) == sum(b"TIMESTAMP" not in payload for payload in readings) == 10
    assert Counter(line for _, line in good) == Counter(
        {payload: count for payload, count in expected.items() if b"TIMESTAMP" in payload}
    )
    assert all(folder == _folder_of(json.loads(line)) for folder, line in good)


def _reading(number: int) -> bytes:
    """Return the payload of a reading; each thousandth has no time and belongs into the error place."""
    if number % 1000 == 500:
        return json.dumps({"number": number, "CO": 2.5}, separators=(",", ":")).encode()
    stamp = datetime(2026, 3, 24, tzinfo=UTC) + timedelta(minutes=number // 50)
    row = {"number": number, "TIMESTAMP": stamp.strftime(STAMP), "CO": 2.5}
    return json.dumps(row, separators=(",", ":")).encode()


def _lines(folder: Path) -> list[tuple[str, bytes]]:
    """Return (folder below the bucket, line) of every object."""
    return [
        (str(path.parent.relative_to(folder)), line)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
        for line in path.read_bytes().splitlines()
    ]


def _stored(bucket: Path) -> list[tuple[str, dict[str, Any]]]:
    return [(folder, json.loads(line)) for folder, line in _lines(bucket)]


def _folder_of(row: dict[str, Any]) -> str:
    """Return the folder of a reading's interval of five minutes."""
    stamp = datetime.strptime(row["TIMESTAMP"], STAMP)
    return (stamp - timedelta(minutes=stamp.minute % 5)).strftime("%Y%m%d/%H%M")


# ---------------------------------------------------------------------- a thing that acts on an alert


def test_a_thing_that_hears_an_alert_over_mqtt_acts_on_it(
    served: Any, eventually: Any, tmp_path: Path
) -> None:
    served.masthead("things", "create", "B-101")
    served.masthead("things", "create", "fan-1", "--policy", "alert-listener", "--policy", "sensor")
    detector = {
        "interval": "1s",
        "dimensions": ["LOCATION_ID"],
        "time": {"column": "at", "format": "epoch_s"},
        "measures": ["SO2"],
        "source": {"kind": "stream", "topic": "sensors/+/air"},
        "history": {"paths": [str(_history(tmp_path))]},
    }
    served.masthead("detectors", "create", "air", given=detector)
    served.masthead("detectors", "activate", "air", "--wait")
    served.masthead(
        "alerts", "create", "fans", given={"detector": "air", "form": "json", "channel": {"kind": "subject"}}
    )
    fan = Fan(served)
    try:
        assert fan.listening.wait(20)
        with Publisher("B-101", Door.of(served.data / "things" / "B-101", port=served.mqtt_port)) as sensor:
            for second in range(40):
                value = 200.0 if second in (8, 9) else 62.0 + second % 3
                row = {"at": int(time.time()), "LOCATION_ID": "B-101", "SO2": value}
                acknowledged([sensor.publish("sensors/B-101/air", json.dumps(row).encode())])
                if fan.heard:
                    break
                time.sleep(1.0)
        alert = fan.heard[0]
        assert alert["impactedMetric"]["metricName"] == "SO2"
        assert alert["anomalyScore"] >= 70
        eventually(lambda: fan.acted)
    finally:
        fan.stop()


class Fan:
    """A thing that switches itself on when it hears of an anomaly, and says so."""

    def __init__(self, served: Any) -> None:
        door = Door.of(served.data / "things" / "fan-1", port=served.mqtt_port)
        self.heard: list[dict[str, Any]] = []
        self.acted = False
        self.listening = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="fan-1")
        self._client.tls_set(str(door.authority), str(door.certificate), str(door.key))
        self._client.on_connect = lambda *_: self._client.subscribe("masthead/alerts/air", qos=1)
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.connect("localhost", door.port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, codes: Any, _more: Any) -> None:
        assert not codes[0].is_failure
        self.listening.set()

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        self.heard.append(json.loads(message.payload))
        client.publish("sensors/fan-1/state", b'{"on": true}', qos=1)

    def _on_publish(self, *_: Any) -> None:
        self.acted = True


def _history(folder: Path) -> Path:
    """Write an hour of calm readings, one a second, that ends now."""
    path, rng, now = folder / "history.jsonl", random.Random(7), int(time.time())
    rows = (
        {"at": now - back, "LOCATION_ID": "B-101", "SO2": round(62 + rng.gauss(0, 2), 2)}
        for back in range(3600, 0, -1)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
