"""Runs of the fraud pipeline over HTTP: begun, looked at, ended, gone on with, removed."""

from pathlib import Path

import httpx

BODY = {"schema": "ieee-cis", "data": ["/srv/train.csv"], "endpoint": {"name": "cards"}}


def test_a_run_is_begun_looked_at_cancelled_resumed_and_deleted(api: httpx.Client) -> None:
    made = api.post("/fraud/pipelines", json=BODY)
    assert made.status_code == 201, made.text
    run = made.json()
    assert (run["state"], run["attempt"], run["steps"][0]["name"]) == ("waiting", 1, "normalise-parameters")
    path = f"/fraud/pipelines/{run['id']}"
    assert [one["id"] for one in api.get("/fraud/pipelines").json()["items"]] == [run["id"]]
    assert api.get(path).json()["config"]["endpoint"] == "cards"
    assert api.get(f"{path}/log/train").json() == {"text": ""}
    assert api.post(f"{path}/resume").status_code == 409
    cancelled = api.post(f"{path}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    assert api.post(f"{path}/cancel").status_code == 409
    resumed = api.post(f"{path}/resume").json()
    assert (resumed["state"], resumed["attempt"]) == ("waiting", 2)
    assert api.delete(path).json() == {"deleted": run["id"]}
    assert api.get(path).status_code == 404


def test_what_cannot_be_used_is_refused_and_nothing_is_begun(api: httpx.Client, tmp_path: Path) -> None:
    script = {"entry_point": "a.py", "source_dir": str(tmp_path)}
    for change, field in (
        ({"data": ["train.csv"]}, "data"),
        ({"schema": "mine/schema.toml"}, "schema"),
        ({"labels": "labels.csv"}, "labels"),
        ({"train": {"script": script}}, "train.script.source_dir"),
        ({"epochs": 3}, "epochs"),
    ):
        answer = api.post("/fraud/pipelines", json=BODY | change)
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, field)
    assert api.get("/fraud/pipelines").json()["items"] == []
    assert api.get("/fraud/pipelines/run-1").status_code == 404
