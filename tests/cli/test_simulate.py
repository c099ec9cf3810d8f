"""`masthead metrics simulate`: files with planted anomalies, and the two ways into a running server."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from forked import forked

from masthead.base.settings import Settings
from masthead.cli.simulate_to import play
from masthead.metrics.simulate import SimulatedReading
from masthead.server import Server

LIVE = Path(__file__).parents[2] / "src/masthead/samples/air/live_data_sample.csv"
COLUMNS = ["--columns", "TIMESTAMP,LOCATION_ID,CO,SO2,NO2", "--timestamp", "TIMESTAMP"]


def simulate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(forked()), "metrics", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def to_files(out: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return simulate("--to", "files", "--out", str(out), "--speed", "max", *arguments)


def rows_of(out: Path) -> list[dict[str, Any]]:
    paths = sorted(out.rglob("*.jsonl"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def test_a_file_becomes_one_folder_per_interval_with_its_planted_anomaly_and_the_truth(
    tmp_path: Path,
) -> None:
    out, truth = tmp_path / "out", tmp_path / "truth.json"
    done = to_files(
        out,
        *("--file", str(LIVE), *COLUMNS, "--shift", "none"),
        *("--inject", "SO2:spike:+60@03:30/2", "--truth", str(truth)),
    )
    assert done.returncode == 0, done.stderr
    assert "576 readings" in done.stdout
    rows = {row["TIMESTAMP"]: row for row in rows_of(out)}
    assert len(rows) == 576
    assert (rows["2022-03-24 03:30"]["SO2"], rows["2022-03-24 03:40"]["SO2"] < 100) == (128, True)
    assert (out / "20220324" / "0330").is_dir()
    (planted,) = json.loads(truth.read_text())
    assert planted == {
        "series": "SO2 LOCATION_ID=B-101",
        "measure": "SO2",
        "dimensions": {"LOCATION_ID": "B-101"},
        "kind": "spike",
        "size": "+60",
        "start": "2022-03-24T03:30:00+00:00",
        "end": "2022-03-24T03:35:00+00:00",
    }


def test_stamps_are_shifted_to_now_and_written_as_they_were(tmp_path: Path) -> None:
    before = time.time()
    assert to_files(tmp_path, "--file", str(LIVE), *COLUMNS).returncode == 0
    rows = rows_of(tmp_path)
    first = time.mktime(time.strptime(rows[0]["TIMESTAMP"], "%Y-%m-%d %H:%M")) - time.timezone
    assert before - 600 < first <= time.time()
    assert len(rows) == 576


def test_made_up_readings_hold_one_anomaly_of_each_kind_and_the_truth_names_them(tmp_path: Path) -> None:
    told = []
    for name, more in (("a", ()), ("b", ()), ("c", ("--seed", "9"))):
        truth = tmp_path / f"{name}.json"
        done = to_files(tmp_path / name, "--generate", "3", "--truth", str(truth), *more)
        assert done.returncode == 0, done.stderr
        assert ", 7 anomalies planted; truth in" in done.stdout
        found = json.loads(truth.read_text())
        kinds = {"spike", "shock", "dip", "level", "drift", "flatline", "silence"}
        assert {one["kind"] for one in found} == kinds
        assert all(one["start"] < one["end"] and one["series"].startswith(one["measure"]) for one in found)
        told.append([(one["series"], one["kind"], one["size"]) for one in found])
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize(
    ("more", "count"),
    [
        (("--anomalies", "0"), 0),
        (("--anomalies", "12"), 12),
        (("--inject", "SO2[S-001]:spike:+60@+300/2"), 1),
        (("--inject", "SO2[S-001]:spike:+60@+100/2", "--anomalies", "3"), 4),
    ],
)
def test_how_many_anomalies_are_planted_can_be_chosen(
    more: tuple[str, ...], count: int, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.json"
    done = to_files(tmp_path / "out", "--generate", "2", "--truth", str(truth), *more)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(truth.read_text())) == count
    assert ("planted" in done.stdout) == (count > 0)


def test_the_same_seed_makes_the_same_stations(tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        done = to_files(
            tmp_path / name, "--generate", "2", "--intervals", "10", "--seed", seed, "--shift", "none"
        )
        assert done.returncode == 0, done.stderr
    values = [[row["SO2"] for row in rows_of(tmp_path / name)] for name in "abc"]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "file: expected either --file with --timestamp, or --generate"),
        (["--generate", "1", "--file", "x"], "file: expected either"),
        (["--generate", "0"], "sensors: expected 1 to 100,000"),
        (["--generate", "1", "--speed", "1001"], "speed: expected 1 to 1000 or max"),
        (["--generate", "1", "--inject", "SO2"], "inject: expected MEASURE:KIND:SIZE@WHEN/LENGTH"),
        (["--generate", "1", "--inject", "O3:dip:5@+3"], "inject: expected a measure of CO, SO2, NO2"),
        (["--generate", "1", "--anomalies", "-1"], "anomalies: expected 0 or more"),
        (["--file", str(LIVE), *COLUMNS, "--anomalies", "3"], "anomalies: expected none for --file"),
        (["--file", str(LIVE), "--timestamp", "nowhere"], "timestamp: expected a column of"),
        (["--file", str(LIVE)], "timestamp: expected the column of the event time"),
    ],
)
def test_what_cannot_be_simulated_exits_with_2_and_names_the_field(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = to_files(tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_without_a_server_there_is_nobody_to_send_to(tmp_path: Path) -> None:
    for to in ("mqtt", "stream"):
        done = simulate("--generate", "1", "--to", to, "--data", str(tmp_path / "none"))
        assert done.returncode == 1
        assert "no server runs over" in done.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_readings_reach_a_server_through_mqtt_and_over_http(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data", port=0, aws_port=0, mqtt_port=0, virtual_clock=True)
    with Server(settings) as server:
        masthead = server.masthead
        masthead.streams.create_stream({"name": "kept", "destination": "s3://kept/"})
        actions = [{"kind": "delivery_stream", "name": "kept"}]
        masthead.streams.create_rule({"name": "keep", "sql": "SELECT * FROM 'sensors/#'", "actions": actions})
        for to in ("mqtt", "stream"):
            done = simulate(
                *("--generate", "2", "--intervals", "5", "--to", to, "--data", str(settings.data)),
                "--speed",
                "max",
            )
            assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + 10
        while masthead.streams.stream_state("kept").position <= 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        masthead.streams.flush()
        stored = [masthead.objects.get(found.uri) for found in masthead.objects.list("s3://kept/")]
        lines = b"".join(stored).splitlines()
        refused = simulate("--generate", "1", "--topic", "other/x", "--data", str(settings.data))
    assert 16 <= len(lines) <= 20  # the generator loses one in five hundred
    assert refused.returncode == 2
    assert "the policies of thing simulator forbid other/x" in refused.stderr


def test_a_reading_is_sent_when_it_is_due_and_the_next_waits_for_the_one_before() -> None:
    class Slow:
        name = "slow"

        def __init__(self) -> None:
            self.at: list[float] = []

        def send(self, readings: Any) -> None:
            self.at.append(time.monotonic())
            time.sleep(0.02)

    target, begun = Slow(), time.monotonic()
    readings = [SimulatedReading(300.0 * number, {}) for number in range(6)]
    assert play(readings, target, interval_s=300, factor=300 / 0.05, begun=begun) == 6
    assert all(at >= begun + 0.05 * number for number, at in enumerate(target.at))
    begun = time.monotonic()
    play(readings, target, interval_s=300, factor=None, begun=begun)
    assert 0.12 <= time.monotonic() - begun < 1.0
