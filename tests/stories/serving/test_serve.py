"""`masthead serve` as a user runs it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import structlog
from keyed import first_key_header
from sqlalchemy import update
from waiting import eventually

from masthead.cli.main import run
from masthead.metrics.records import detectors
from masthead.store.engine import Database

Command = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., Any]
Wait = Callable[..., Any]


def test_it_says_where_it_listens_and_answers_there(serve: Serve, tmp_path: Path) -> None:
    began = time.monotonic()
    running = serve(tmp_path / "data")
    assert time.monotonic() - began < 20  # a cold start on a busy machine; a warm one takes 2 to 3 s
    assert running.addresses["ready"] is True
    assert running.http.get("/healthz").status_code == 200
    assert running.http.get("/readyz").json()["parts"] == {"http": "up", "devices": "up", "sinks": "up"}
    to_console = running.http.get("/")
    assert (to_console.status_code, to_console.headers["location"]) == (307, "/ui/")
    assert running.http.get("/ui/").status_code == 200
    assert "masthead_info" in running.http.get("/metrics").text
    with socket.create_connection(("127.0.0.1", running.addresses["mqtt_port"]), timeout=5):
        pass
    assert oct((tmp_path / "data/serve.json").stat().st_mode & 0o777) == "0o600"


def test_it_is_not_ready_while_it_cannot_follow_a_change(serve: Serve, tmp_path: Path) -> None:
    running = serve(tmp_path / "data")
    assert running.http.post("/detectors", json={"name": "x"}).status_code == 201

    def write(kind: str) -> None:
        spec = {"name": "x", "source": {"kind": kind, "topic": "a"}}
        with Database.open(tmp_path / "data/masthead.db").write() as connection:
            connection.execute(update(detectors).where(detectors.c.name == "x").values(spec=spec))

    write("nothing that this version knows")
    for _ in range(3):  # and stays so
        eventually(lambda: running.http.get("/readyz").status_code == 503)
        time.sleep(0.6)
    assert "source.kind" in running.http.get("/readyz").json()["parts"]["sinks"]
    write("stream")
    eventually(lambda: running.http.get("/readyz").status_code == 200)


def test_a_second_server_on_the_same_folder_names_the_first(
    serve: Serve, command: Command, tmp_path: Path
) -> None:
    running = serve(tmp_path / "data")
    second = command("serve", "--port", "0", "--aws-port", "0", "--mqtt-port", "0", data=tmp_path / "data")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process id {running.pid}" in second.stderr
    assert running.http.get("/readyz").status_code == 200


def test_a_port_in_use_is_one_clear_line(command: Command, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        http = command("serve", "--port", port, "--aws-port", "0", "--mqtt-port", "0", data=tmp_path / "a")
        mqtt = command("serve", "--port", "0", "--aws-port", "0", "--mqtt-port", port, data=tmp_path / "b")
    for found, name in ((http, "port"), (mqtt, "mqtt_port")):
        errors = [line for line in found.stderr.splitlines() if line.startswith("masthead: ")]
        assert found.returncode == 1
        assert len(errors) == 1
        assert f"{name}: cannot listen on 127.0.0.1:{port}" in errors[0]
        assert "Traceback" not in found.stderr


def test_a_signal_stops_it_in_order_and_nothing_is_left(serve: Serve, tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        running = serve(tmp_path / "data")
        children = psutil.Process(running.pid).children(recursive=True)
        assert any("nats" in " ".join(child.cmdline()) for child in children)
        assert running.stop(number) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
        assert not (tmp_path / "data/serve.json").exists()


def test_the_server_follows_what_a_command_wrote_when_the_command_returns(
    serve: Serve, command: Command, wait_for: Wait, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    running = serve(data)
    file = tmp_path / "noun.json"
    file.write_text(json.dumps({"destination": "s3://air/", "buffer_s": 0, "buffer_mib": 1}))
    assert command("streams", "create", "air", "--file", str(file), data=data).returncode == 0
    actions = [{"kind": "delivery_stream", "name": "air"}]
    file.write_text(json.dumps({"sql": "SELECT * FROM 'air/#'", "actions": actions}))
    assert command("rules", "create", "all", "--file", str(file), data=data).returncode == 0
    assert running.http.post("/ingest/air/x", content=b'{"n": 1}\n{"n": 2}\n').json()["stored"] == 2
    wait_for(lambda: running.http.get("/streams/air/state").json()["records"] == 2)
    listed = running.http.get("/objects/air").json()["items"]
    found = b"".join(running.http.get("/objects/" + one["uri"][5:]).content for one in listed)
    assert [json.loads(line) for line in found.splitlines()] == [{"n": 1}, {"n": 2}]


DETECTOR = {
    "interval": "5m",
    "time": {"column": "n", "format": "epoch_s"},
    "measures": ["CO"],
    "source": {"kind": "stream", "topic": "air/#"},
}


@pytest.fixture
def _forget_the_log() -> Iterator[None]:
    """A command that ran in this process has set up its log; the next test must not write to a stream that is gone."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("_forget_the_log")
def test_a_reading_sent_right_after_activate_returned_is_one_of_the_detectors(
    serve: Serve, wait_for: Wait, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command runs in this process: the end of a process of its own would leave the server time to look."""
    data = tmp_path / "data"
    running = serve(data)
    names = [f"air-{number}" for number in range(4)]
    for name in names:
        made = DETECTOR | {"name": name, "source": {"kind": "stream", "topic": f"{name}/x"}}
        assert running.http.post("/detectors", json=made).status_code == 201
    now_s = int(time.time()) // 300 * 300
    for name in names:
        assert run(["detectors", "activate", name, "--data", str(data)]) == 0
        for later_s in (0, 300):  # the second reading closes the interval of the first
            reading = json.dumps({"n": now_s + later_s, "CO": 2})
            assert running.http.post(f"/ingest/{name}/x", content=reading).json()["stored"] == 1
    assert capsys.readouterr().err == ""
    counted = [f'masthead_detector_records_total{{detector="{name}"}} 1.0' for name in names]
    wait_for(lambda: all(line in running.http.get("/metrics").text for line in counted))


def test_a_server_that_does_not_answer_is_told_and_the_change_stands(
    serve: Serve, command: Command, wait_for: Wait, tmp_path: Path
) -> None:
    data, file = tmp_path / "data", tmp_path / "noun.json"
    file.write_text(json.dumps(DETECTOR))
    running = serve(data)
    assert command("detectors", "create", "air", "--file", str(file), data=data).returncode == 0
    os.kill(running.pid, signal.SIGSTOP)
    started = time.monotonic()
    done = command("detectors", "activate", "air", data=data)
    took_s = time.monotonic() - started
    os.kill(running.pid, signal.SIGCONT)
    assert done.returncode == 0
    assert "warning: the server does not follow this change yet" in done.stderr
    assert 5 <= took_s < 20
    wait_for(lambda: running.http.get("/detectors/air").json()["state"] == "learning")
    refused = httpx.post(f"{running.addresses['url']}/follow", headers={"Authorization": "Bearer x"})
    assert refused.status_code == 401


def test_a_thing_is_tried_for_real(serve: Serve, command: Command, wait_for: Wait, tmp_path: Path) -> None:
    data = tmp_path / "data"
    serve(data)
    made = json.loads(command("things", "create", "B-101", "--json", data=data).stdout)
    assert Path(made["key"]).exists()
    message = tmp_path / "m.json"
    message.write_text('{"CO": 1}')

    def tried(*options: str) -> dict[str, Any]:
        return dict(json.loads(command("things", "test", "B-101", "--json", *options, data=data).stdout))

    wait_for(lambda: tried()["ok"])
    allowed = tried("--message", str(message))
    assert (allowed["published"], allowed["ok"]) == (True, True)
    forbidden = tried("--message", str(message), "--topic", "elsewhere")
    assert (forbidden["connected"], forbidden["allowed"], forbidden["ok"]) == (True, False, False)
    wait_for(lambda: "elsewhere" in command("things", "forbidden", data=data).stdout)
    command("things", "revoke", "B-101", data=data)
    wait_for(lambda: not tried()["connected"])


def test_without_devices_readings_are_turned_away_with_a_reason(serve: Serve, tmp_path: Path) -> None:
    running = serve(tmp_path / "data", "--roles", "api,worker")
    assert running.addresses["mqtt_port"] == 0
    assert running.http.get("/readyz").json()["parts"] == {"http": "up", "sinks": "up"}
    answer = running.http.post("/ingest/air", content=b"{}")
    assert answer.status_code == 503
    assert "role devices" in answer.json()["error"]["message"]
    assert running.http.get("/ui/").status_code == 404


def test_https_by_the_installations_own_authority(serve: Serve, command: Command, tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = serve(data, "--tls", "auto", "--roles", "api")
    assert running.addresses["url"].startswith("https://127.0.0.1:")
    context = ssl.create_default_context(cafile=data / "ca.pem")
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(running.addresses["url"] + "/healthz").status_code == 200
    backup = command("backup", str(tmp_path / "b.tgz"), data=data)
    assert backup.returncode == 0, backup.stderr


def test_a_killed_server_leaves_a_folder_that_starts_again(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = serve(data)
    assert running.http.post("/ingest/air/x", content=b'{"n": 1}').status_code == 200
    os.kill(running.pid, signal.SIGKILL)
    running.process.wait()
    again = serve(data)
    assert again.http.get("/readyz").status_code == 200


def test_it_goes_on_when_nobody_reads_its_log(command: Command, wait_for: Wait, tmp_path: Path) -> None:
    data = tmp_path / "data"
    options = ["--data", str(data), "--port", "0", "--aws-port", "0", "--mqtt-port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "masthead.cli.main", "serve", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        url = json.loads(process.stdout.readline())["url"]
        process.stdout.close()
        process.stderr.close()
        command("things", "create", "B-101", data=data)
        wait_for(lambda: command("things", "test", "B-101", data=data).returncode == 0)
        shown = first_key_header(data)
        answer = httpx.post(f"{url}/ingest/air", content=b"{}", headers=shown, trust_env=False)
        assert answer.status_code == 200
        assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    finally:
        process.terminate()
        status = process.wait(30)
    assert status == 0
