"""Endpoints over HTTP: deployed, called in each format, counted, deleted; and how a model's failure is told."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from masthead.app import Masthead

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
READING = {"TIMESTAMP": "2022-03-25 00:20", "LOCATION_ID": "B-101", "CO": 4.8}


@pytest.fixture
def deployed(api: httpx.Client, masthead: Masthead, tmp_path: Path) -> httpx.Client:
    """An API over an installation whose detector has learned the article's history."""
    shutil.copy(AIR / "historic_data.json", tmp_path)
    spec: dict[str, Any] = {
        "name": "air_1",
        "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
        "measures": ["CO"],
        "dimensions": ["LOCATION_ID"],
        "source": {"kind": "stream", "topic": "air/#"},
        "history": {"paths": [str(tmp_path / "historic_data.json")]},
    }
    assert api.post("/detectors", json=spec).status_code == 201
    assert api.post("/detectors/air_1/deploy").json()["error"]["code"] == "Conflict"
    masthead.start()
    masthead.metrics.activate("air_1")
    masthead.metrics.wait("air_1")
    made = api.post("/detectors/air_1/deploy")
    assert (made.status_code, made.json()["name"]) == (201, "air-1")
    return api


def test_an_endpoint_is_called_counted_described_and_deleted(deployed: httpx.Client) -> None:
    path = "/endpoints/air-1/invocations"
    found = deployed.post(path, json={"instances": [READING]})
    [one] = found.json()["predictions"]
    assert (one["value"], one["dimensions"]) == (4.8, {"LOCATION_ID": "B-101"})
    assert one["severity"] > 50
    assert found.headers["x-amzn-invoked-production-variant"] == "AllTraffic"
    told = deployed.post(path, json=READING, params={"explain": "true"}).json()["predictions"][0]
    assert told["low"] < told["expected"] < told["high"]
    table = "TIMESTAMP,LOCATION_ID,CO\n2022-03-25 00:20,B-101,4.8\n"
    headers = {"content-type": "text/csv", "accept": "text/csv"}
    lines = deployed.post(path, content=table, headers=headers)
    assert lines.headers["content-type"] == "text/csv; charset=utf-8"
    assert lines.text.splitlines()[0] == "time,measure,LOCATION_ID,value,expected,severity,reason"
    listed = deployed.get("/endpoints").json()["items"]
    assert [(each["name"], each["model"], each["calls"], each["errors"]) for each in listed] == [
        ("air-1", "detector air_1", 3, 0)
    ]
    shown = deployed.get("/endpoints/air-1").json()
    assert (shown["about"]["columns"], shown["keys"][0]["calls"]) == (["CO"], 3)
    assert deployed.delete("/endpoints/air-1").status_code == 204
    assert deployed.post(path, json=READING).status_code == 404
    assert deployed.get("/endpoints/air-1").status_code == 404


REFUSED: tuple[tuple[str, dict[str, str], str], ...] = (
    ("{", {}, "model: answered 400: body: expected JSON"),
    (json.dumps({"CO": 1}), {}, "model: answered 400: instances[0].TIMESTAMP: time missing"),
    ("x", {"content-type": "application/x-npy"}, "model: answered 415: content-type: expected"),
    (json.dumps(READING), {"accept": "image/png"}, "model: answered 415: accept: expected one of"),
)


def test_what_the_model_refuses_is_424_with_its_own_status(deployed: httpx.Client) -> None:
    for content, headers, message in REFUSED:
        found = deployed.post("/endpoints/air-1/invocations", content=content, headers=headers)
        assert found.status_code == 424
        assert found.json()["error"]["code"] == "ModelFailure"
        assert found.json()["error"]["message"].startswith(message)
    assert deployed.get("/endpoints/air-1").json()["errors"] == len(REFUSED)
