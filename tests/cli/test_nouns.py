"""Every noun on the command line, with one grammar, against a data folder and no server."""

import contextlib
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from seen_group import GROUP, store_group

from masthead.access.gate import Caller
from masthead.app import Masthead
from masthead.base.errors import NotFound
from masthead.base.folder import DataFolder
from masthead.base.settings import Settings
from masthead.base.telemetry import exposition
from masthead.cli.main import run
from masthead.learn.models import ModelFailure

ROOT = Path(__file__).resolve().parents[2]
AIR = ROOT / "src/masthead/samples/air"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["iot:Connect", "iot:Publish"], "Resource": "*"}],
}
DETECTOR = """
interval = "5m"
mode = "backtest"
dimensions = ["LOCATION_ID"]
[time]
column = "TIMESTAMP"
format = "yyyy-MM-dd HH:mm"
[[measures]]
name = "CO"
[source]
kind = "files"
paths = ["history.json"]
"""

Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in `tmp_path`; gives status and standard output."""
    monkeypatch.setenv("MASTHEAD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str]:
        status = run(arguments)
        told = capsys.readouterr()
        return status, told.out if status == 0 else told.out + told.err

    return call


def written(tmp_path: Path, name: str, content: Any) -> str:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


@pytest.mark.parametrize(
    ("room", "word", "content"),
    [
        ("policies", "policy", POLICY),
        ("policies", "policy", {"document": POLICY}),
        ("streams", "delivery stream", {"destination": "s3://air/"}),
        ("rules", "rule", {"sql": "SELECT * FROM 'air/#'", "actions": []}),
        ("rules", "rule", "sql = \"SELECT * FROM 'air/#'\"\n"),
        ("channels", "channel", {"kind": "webhook", "url": "http://127.0.0.1:9/"}),
        ("alerts", "alert rule", {"channel": {"kind": "webhook", "url": "http://127.0.0.1:9/"}}),
        ("detectors", "detector", DETECTOR),
    ],
)
def test_one_grammar_for_every_noun(call: Call, tmp_path: Path, room: str, word: str, content: Any) -> None:
    file = written(tmp_path, "noun.json" if isinstance(content, dict) else "noun.toml", content)
    assert call(room, "create", "mine", "--file", file) == (0, f"created {word} mine\n")
    assert call(room, "create", "mine", "--file", file)[0] == 1
    status, text = call(room, "show", "mine", "--json")
    assert (status, json.loads(text)["name"]) == (0, "mine")
    assert "mine" in [one["name"] for one in json.loads(call(room, "list", "--json")[1])]
    assert "mine" in call(room, "list")[1]
    assert "mine" in call(room, "show", "mine")[1]
    assert call(room, "delete", "mine") == (0, f"deleted {word} mine\n")
    assert call(room, "show", "mine")[0] == 1


def test_a_thing_is_shown_with_the_client_ids_that_it_shares(call: Call, tmp_path: Path) -> None:
    call("things", "create", "B-101")
    assert re.search(r"shared_client_ids: +none", call("things", "show", "B-101")[1])
    with Masthead.open(Settings(data=tmp_path / "data")) as masthead:
        masthead.access.record_takeover("pump", "B-101", "B-102", count=3)
    assert "pump is used by B-101 and B-102 in turn: 3 times, last 2" in call("things", "show", "B-101")[1]
    shown = json.loads(call("things", "show", "B-101", "--json")[1])
    assert [one["client_id"] for one in shown["shared_client_ids"]] == ["pump"]


def test_a_thing_prints_what_a_device_needs_once(call: Call, tmp_path: Path) -> None:
    status, text = call("things", "create", "B-101", "--attribute", "site=north", "--json")
    made = json.loads(text)
    assert (status, made["endpoint"], made["port"]) == (0, "127.0.0.1", 8883)
    for part in ("ca", "certificate", "key"):
        assert Path(made[part]).read_text().startswith("-----BEGIN")
    assert "PRIVATE" not in text
    assert json.loads(call("things", "show", "B-101", "--json")[1])["attributes"] == {"site": "north"}
    assert call("things", "renew", "B-101")[0] == 0
    assert json.loads(call("things", "update", "B-101", "--attribute", "x=y", "--json")[1])["attributes"] == {
        "site": "north",
        "x": "y",
    }
    assert json.loads(call("things", "revoke", "B-101", "--json")[1])["revoked"] is True
    assert call("things", "forbidden") == (0, "No forbidden publish was seen.\n")
    assert call("things", "delete", "B-101")[0] == 0
    assert not (tmp_path / "data/things/B-101").exists()


def test_a_thing_cannot_be_tried_without_a_server(call: Call) -> None:
    call("things", "create", "B-101")
    status, text = call("things", "test", "B-101", "--json")
    found = json.loads(text)
    assert (status, found["ok"], found["connected"], found["allowed"]) == (1, False, False, True)
    assert found["tested"] == ["key and certificate", "policies on sensors/B-101/test"]
    assert found["not_tested"] == ["connection", "publish"]
    assert "no server runs on this data folder" in call("things", "test", "B-101")[1]


def test_broken_files_of_a_thing_are_told(call: Call, tmp_path: Path) -> None:
    call("things", "create", "B-101")
    (tmp_path / "data/things/B-101/certificate.pem").write_text("nothing")
    assert "the files cannot be used" in json.loads(call("things", "test", "B-101", "--json")[1])["reason"]


def test_revoking_asks_on_a_terminal(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    call("things", "create", "B-101")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(
        "typer.confirm", lambda text, **_: pytest.fail("asked") if "B-101" not in text else _no()
    )
    assert call("things", "revoke", "B-101")[0] == 1
    assert json.loads(call("things", "show", "B-101", "--json")[1])["revoked"] is False
    status, text = call("things", "revoke", "B-101", "--yes")
    assert (status, "cannot be undone" in text) == (0, True)


def _no() -> None:
    raise typer.Abort


def test_an_alert_rule_for_nothing_is_told_and_kept(call: Call, tmp_path: Path) -> None:
    call("detectors", "create", "air", "--file", written(tmp_path, "air.toml", DETECTOR))
    rule = {"detector": "airs", "channel": {"kind": "webhook", "url": "http://127.0.0.1:9/"}}
    assert call("alerts", "create", "night", "--file", written(tmp_path, "a.json", rule))[0] == 0
    assert json.loads(call("alerts", "show", "night", "--json")[1])["warnings"] == [
        "detector: expected one that exists, such as air, got 'airs'"
    ]


def test_a_policy_and_a_rule_are_tried(call: Call, tmp_path: Path) -> None:
    question = written(tmp_path, "q.json", {"action": "iot:Publish", "resource": "sensors/a/x", "thing": "a"})
    assert (
        json.loads(call("policies", "test", "sensor", "--message", question, "--json")[1])["allowed"] is True
    )
    message = written(tmp_path, "m.json", {"CO": 3})
    asked = ("rules", "test", "SELECT CO * 2 AS twice FROM 'air/#'", "--message", message, "--topic", "air/x")
    assert json.loads(call(*asked, "--json")[1])["result"] == {"twice": 6}


def test_a_stream_shows_where_a_record_would_go(call: Call, tmp_path: Path) -> None:
    file = written(tmp_path, "s.json", {"destination": "s3://air/", "prefix": "x/"})
    call("streams", "create", "air", "--file", file)
    message = written(tmp_path, "m.json", {"CO": 3})
    status, text = call("streams", "test", "air", "--message", message)
    assert status == 0
    assert "x/" in text
    assert json.loads(call("streams", "state", "air", "--json")[1])["records"] == 0


def test_an_alert_test_says_how_it_ended(call: Call, tmp_path: Path) -> None:
    channel = {"kind": "webhook", "url": "http://127.0.0.1:9/", "secret": "s3cret"}
    call("alerts", "create", "night", "--file", written(tmp_path, "a.json", {"channel": channel}))
    assert "s3cret" not in call("alerts", "show", "night", "--json")[1]
    status, text = call("alerts", "test", "night", "--json")
    assert (status, json.loads(text)["state"]) == (1, "undelivered")
    told = json.loads(call("alerts", "deliveries", "--json")[1])
    assert [one["rule"] for one in told] == ["night"]


def test_an_alert_and_a_detector_are_tried_with_a_message(call: Call, tmp_path: Path) -> None:
    channel = {"kind": "command", "command": ["/bin/cat"]}
    call(
        "alerts",
        "create",
        "night",
        "--file",
        written(tmp_path, "a.json", {"channel": channel, "measures": ["CO"]}),
    )
    event = written(tmp_path, "e.json", {"measure": "CO", "severity": 90})
    status, text = call("alerts", "test", "night", "--message", event, "--json")
    assert (status, json.loads(text)["severity"]) == (0, 90)
    status, text = call(
        "alerts", "test", "night", "--message", written(tmp_path, "e.json", {"measure": "NO2"})
    )
    assert (status, "the rule is about CO" in text) == (2, True)

    detector = {
        "time": {"column": "t", "format": "epoch_s"},
        "measures": ["CO"],
        "dimensions": ["site"],
        "source": {"kind": "stream", "topic": "air/#"},
    }
    call("detectors", "create", "air", "--file", written(tmp_path, "d.json", detector))
    now = int(time.time())
    message = written(tmp_path, "m.json", {"t": now, "CO": 2.5, "site": "A"})
    status, text = call("detectors", "test", "air", "--message", message, "--json")
    found = json.loads(text)
    assert (status, found["refused"], len(found["rows"])) == (0, [], 1)
    assert (found["rows"][0]["dimensions"], found["rows"][0]["measures"]) == (
        {"site": "A"},
        {"CO": {"CO": 2.5}},
    )
    for wrong, reason in (
        ({"CO": 1}, "t"),
        ({"t": now + 9_000, "CO": 1}, "future"),
        ("nothing", "no JSON object"),
    ):
        status, text = call("detectors", "test", "air", "--message", written(tmp_path, "m.json", wrong))
        assert (status, reason in text) == (2, True)

    source = {"kind": "path", "template": "s3://air/{{yyyyMMdd}}", "format": {"columns": ["t", "CO", "site"]}}
    call("detectors", "update", "air", "--file", written(tmp_path, "d.json", {**detector, "source": source}))
    message = written(tmp_path, "m.csv", "1648164600,2.5,A\n1648164600,many,B\n")
    found = json.loads(call("detectors", "test", "air", "--message", message, "--json")[1])
    assert [one["dimensions"]["site"] for one in found["rows"]] == ["A", "B"]
    assert found["rows"][0]["interval"] == "2022-03-24T23:30:00+00:00"
    assert [(one["row"], one["field"]) for one in found["refused"]] == [(2, "CO")]


def test_an_alert_that_a_command_sends_leads_to_the_console_of_the_server_that_runs(
    call: Call, tmp_path: Path
) -> None:
    channel = {"kind": "command", "command": ["/usr/bin/tee", str(tmp_path / "told")]}
    call("alerts", "create", "night", "--file", written(tmp_path, "a.json", {"channel": channel}))
    folder, links = DataFolder(tmp_path / "data"), []
    written(folder.path, "serve.json", {"url": "https://127.0.0.1:18600", "token": "t", "mqtt_port": 0})
    for holding in (folder.lock(), contextlib.nullcontext()):
        with holding:
            assert call("alerts", "test", "night")[0] == 0
        links.append(json.loads((tmp_path / "told").read_text())["masthead"]["link"])
    assert links[0].startswith("https://127.0.0.1:18600/ui/groups/")
    assert links[1].startswith(
        "http://127.0.0.1:8400/ui/groups/"
    )  # what an ended server left behind says nothing


def test_a_detector_keeps_the_paths_of_the_folder_it_was_made_in(call: Call, tmp_path: Path) -> None:
    source = AIR / "historic_data.json"
    (tmp_path / "history.json").write_bytes(source.read_bytes())
    file = written(tmp_path, "air.toml", DETECTOR)
    call("detectors", "create", "air", "--file", file)
    spec = json.loads(call("detectors", "show", "air", "--json")[1])["spec"]
    assert spec["source"]["paths"] == [str(tmp_path / "history.json")]
    status, text = call("detectors", "validate", "air")
    assert status == 0
    assert text.startswith("Validation successful")
    assert json.loads(call("detectors", "test", "air", "--json")[1])["valid"] is True
    assert 'interval = "5m"' in call("detectors", "export-settings", "air")[1]
    assert (
        call("detectors", "set-dataset", "air", "--file", written(tmp_path, "d.json", {"delay_s": 5}))[0] == 0
    )
    for verb in ("quality", "executions"):
        assert call("detectors", verb, "air")[0] == 0
    assert call("detectors", "export", "air")[1].startswith("id,")
    assert json.loads(call("detectors", "groups", "list", "air", "--json")[1]) == []
    assert call("detectors", "groups", "show", "group-x")[0] == 1
    assert call("detectors", "deactivate", "air")[0] == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--no-anomaly", "--dimension", "site=A"], {("A", False)}),
        (["--anomaly", "--dimension", "site=B"], {("B", True)}),
        (["--no-anomaly"], {("A", False), ("B", False)}),
    ],
)
def test_a_word_on_a_group_is_of_the_series_that_is_named(
    call: Call, tmp_path: Path, words: list[str], told: set[tuple[str, bool]]
) -> None:
    with Masthead.open(Settings(data=tmp_path / "data")) as masthead:
        store_group(masthead)
    status, text = call("detectors", "groups", "feedback", GROUP, *words, "--json")
    assert status == 0
    assert {(one["dimensions"]["site"], one["is_anomaly"]) for one in json.loads(text)} == told
    status, text = call("detectors", "groups", "feedback", GROUP, "--anomaly", "--dimension", "site=C")
    assert (status, "'site': 'C'" in text, "'site': 'A'" in text) == (1, True, True)


def test_a_detector_whose_data_do_not_fit_is_told(call: Call, tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text('{"TIMESTAMP": "soon", "CO": 1}\n')
    call("detectors", "create", "air", "--file", written(tmp_path, "air.toml", DETECTOR))
    status, text = call("detectors", "validate", "air")
    assert status == 2
    assert text.startswith("Validation failed")
    assert "TIMESTAMP" in text
    assert call("detectors", "backtest", "air")[0] == 2


def test_objects_go_in_and_come_out(call: Call, tmp_path: Path) -> None:
    file = written(tmp_path, "one.json", {"a": 1})
    assert call("objects", "put", file, "s3://air/x/") == (0, "stored s3://air/x/one.json\n")
    assert call("objects", "put", file, "s3://air/x/one.json", "--create-only")[0] == 1
    assert [one["uri"] for one in json.loads(call("objects", "ls", "s3://air/x", "--json")[1])] == [
        "s3://air/x/one.json"
    ]
    assert "one.json" in call("objects", "ls", "s3://air/")[1]
    assert call("objects", "get", "s3://air/x/one.json", str(tmp_path / "back.json"))[0] == 0
    assert (tmp_path / "back.json").read_text() == '{"a": 1}'
    assert call("objects", "rm", "s3://air/x/one.json")[0] == 0
    assert call("objects", "ls", "s3://air/") == (0, "There is no object.\n")


def test_a_log_is_read_without_a_server(call: Call) -> None:
    call("things", "create", "B-101")
    assert call("logs", "thing") == (0, "B-101\n")
    assert re.match(r"\S+Z created policies=", call("logs", "thing", "B-101")[1])
    assert json.loads(call("logs", "thing", "B-101", "--json")[1])["event"] == "created"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "expected JSON"),
        (b"[1]", "expected an object"),
        (b"a = ", "expected TOML"),
        (b"\xff\xfe{", "expected UTF-8"),
        (b'{"threshold": NaN}', "NaN is not JSON"),
        (b'{"a": ' * 50_000, "expected JSON"),
        (b"", "destination"),
    ],
)
def test_a_broken_file_is_told_with_its_place(call: Call, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "noun").write_bytes(content)
    status, text = call("streams", "create", "x", "--file", str(tmp_path / "noun"))
    assert status == 2
    assert words in text


def test_a_byte_order_mark_is_skipped(call: Call, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_bytes(b'\xef\xbb\xbf{"destination": "s3://air/"}')
    assert call("streams", "create", "x", "--file", str(tmp_path / "s.json"))[0] == 0


def test_a_detector_is_deployed_and_its_endpoint_listed_described_and_deleted(
    call: Call, tmp_path: Path
) -> None:
    settings = DETECTOR.replace('mode = "backtest"', "").replace('kind = "files"', 'kind = "stream"')
    settings = settings.replace(
        'paths = ["history.json"]', 'topic = "air/#"\n[history]\npaths = ["history.json"]'
    )
    (tmp_path / "history.json").write_bytes((AIR / "historic_data.json").read_bytes())
    call("detectors", "create", "air", "--file", written(tmp_path, "air.toml", settings))
    assert call("detectors", "deploy", "air") == (
        1,
        "masthead: state: air has learned nothing yet; activate it first\n",
    )
    with Masthead.open(Settings(data=tmp_path / "data")) as server:
        server.start()
        server.metrics.activate("air")
        server.metrics.wait("air")
        assert call("detectors", "deploy", "air", "--endpoint", "b101") == (
            0,
            "endpoint b101 serves detector air, 1 series\n",
        )
        reading = b'{"TIMESTAMP": "2022-03-25 00:20", "LOCATION_ID": "B-101", "CO": 4.8}'
        key = server.keys.create_key("customer", ["invoke"], quota=1000, window="day").key
        assert server.gate.admit(Caller(key, "127.0.0.1")) is None
        server.endpoints.invoke("b101", reading, key="MHAK1")
        server.endpoints.invoke("b101", reading, key=key.id)
        server.endpoints.invoke("b101", reading)
        with pytest.raises(ModelFailure):
            server.endpoints.invoke("b101", b"{}", key="MHAK1")
        server.endpoints._calls.flush()
        server.gate._flush()
        assert f'masthead_key_quota_left{{key="{key.id}"}} 999.0' in exposition().decode()
        [row] = json.loads(call("endpoints", "list", "--json")[1])
        assert (row["name"], row["kind"], row["calls"], row["errors"]) == ("b101", "detector", 4, 1)
        told = next(one for one in row["keys"] if one["key"] == key.id)
        assert (told["name"], told["left"]["quota"]) == ("customer", 999)
        assert "detector air" in call("endpoints", "list")[1]
        text = call("endpoints", "describe", "b101")[1]
        assert "MHAK1" in text
        assert "customer" in text
        assert "quota 999, resets" in text
        assert "(none)" in text
        assert "learned_until:" in text
        assert call("endpoints", "delete", "b101") == (0, "deleted endpoint b101\n")
        with pytest.raises(NotFound):
            server.endpoints.invoke("b101", reading)
    assert call("endpoints", "describe", "b101") == (1, "masthead: endpoint: there is none named 'b101'\n")
    assert call("endpoints", "list") == (0, "There is no endpoint yet.\n")
