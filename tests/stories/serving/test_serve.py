"""`masthead serve` as a user runs it."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from keyed import first_key_header

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


def test_a_second_server_on_the_same_folder_names_the_first(
    serve: Serve, command: Command, tmp_path: Path
) -> None:
    running = serve(tmp_path / "data")
    second = command("serve", "--port", "0", "--aws-port", "0", "--mqtt-port", "0", data=tmp_path / "data")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"process id {running.process.pid}" in second.stderr
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
        children = psutil.Process(running.process.pid).children(recursive=True)
        assert any("nats" in " ".join(child.cmdline()) for child in children)
        assert running.stop(number) == 0
        assert psutil.wait_procs(children, timeout=5)[1] == []
        assert not (tmp_path / "data/serve.json").exists()


def test_what_a_command_writes_reaches_the_server_within_a_second_or_two(
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
    time.sleep(1.2)
    assert running.http.post("/ingest/air/x", content=b'{"n": 1}\n{"n": 2}\n').json()["stored"] == 2
    wait_for(lambda: running.http.get("/streams/air/state").json()["records"] == 2)
    listed = running.http.get("/objects/air").json()["items"]
    found = b"".join(running.http.get("/objects/" + one["uri"][5:]).content for one in listed)
    assert [json.loads(line) for line in found.splitlines()] == [{"n": 1}, {"n": 2}]


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
    context = ssl.create_default_context(cafile=data / "https/ca.pem")
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(running.addresses["url"] + "/healthz").status_code == 200
    backup = command("backup", str(tmp_path / "b.tgz"), data=data)
    assert backup.returncode == 0, backup.stderr


def test_a_killed_server_leaves_a_folder_that_starts_again(serve: Serve, tmp_path: Path) -> None:
    data = tmp_path / "data"
    running = serve(data)
    assert running.http.post("/ingest/air/x", content=b'{"n": 1}').status_code == 200
    os.kill(running.process.pid, signal.SIGKILL)
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
