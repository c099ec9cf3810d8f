"""Every noun over HTTP: made, listed in pages, shown, tried, deleted."""

from typing import Any

import httpx
import pytest
from seen_group import GROUP, store_group

from masthead.app import Masthead

POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["iot:Connect", "iot:Publish"], "Resource": "*"},
    ],
}
STREAM = {"name": "air", "destination": "s3://air/"}
RULE = {"name": "all", "sql": "SELECT CO FROM 'air/#' WHERE CO > 2", "actions": []}
ALERT = {"name": "night", "channel": {"kind": "webhook", "url": "http://127.0.0.1:9/x", "secret": "s3cret"}}
DETECTOR = {
    "name": "air",
    "interval": "5m",
    "source": {"kind": "stream", "topic": "air/#"},
    "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
    "measures": [{"name": "CO", "column": "CO", "aggregation": "avg"}],
    "dimensions": ["LOCATION_ID"],
}


@pytest.mark.parametrize(
    ("room", "body"),
    [
        ("things", {"name": "B-101", "attributes": {"site": "north"}}),
        ("policies", {"name": "mine", "document": POLICY}),
        ("streams", STREAM),
        ("rules", RULE),
        ("alerts", ALERT),
        ("channels", {"name": "night", "kind": "webhook", "url": "http://127.0.0.1:9/x"}),
        ("detectors", DETECTOR),
    ],
)
def test_a_noun_lives_from_creation_to_deletion(api: httpx.Client, room: str, body: dict[str, Any]) -> None:
    made = api.post(f"/{room}", json=body)
    assert made.status_code == 201, made.text
    name = body["name"]
    shown = api.get(f"/{room}/{name}")
    assert (shown.status_code, shown.json()["name"]) == (200, name)
    assert name in [one["name"] for one in api.get(f"/{room}").json()["items"]]
    assert api.delete(f"/{room}/{name}").status_code == 204
    assert api.get(f"/{room}/{name}").status_code == 404
    assert api.delete(f"/{room}/{name}").status_code == 404


def test_a_thing_is_shown_with_the_client_ids_that_it_shares(api: httpx.Client, masthead: Masthead) -> None:
    api.post("/things", json={"name": "B-101"})
    assert api.get("/things/B-101").json()["shared_client_ids"] == []
    masthead.access.record_takeover("pump", "B-101", "B-102", count=3)
    (found,) = api.get("/things/B-101").json()["shared_client_ids"]
    assert (found["client_id"], found["things"], found["count"]) == ("pump", ["B-101", "B-102"], 3)


def test_pages_tell_each_thing_once(api: httpx.Client) -> None:
    names = [f"t{number}" for number in range(5)]
    for name in names:
        api.post("/things", json={"name": name})
    seen, token = [], None
    while True:
        page = api.get("/things", params={"limit": 2, **({"token": token} if token else {})}).json()
        seen += [one["name"] for one in page["items"]]
        if (token := page["next_token"]) is None:
            break
    assert seen == names


def test_a_thing_is_renewed_revoked_and_asked_what_it_may_do(api: httpx.Client) -> None:
    made = api.post("/things", json={"name": "B-101"}).json()
    assert made["key"].startswith("-----BEGIN")
    question = {"action": "iot:Publish", "resource": "sensors/B-101/air"}
    assert api.post("/things/B-101/test", json=question).json()["allowed"] is True
    foreign = question | {"resource": "sensors/B-102/air"}
    assert api.post("/things/B-101/test", json=foreign).json()["allowed"] is False
    renewed = api.post("/things/B-101/renew").json()
    assert renewed["thing"]["serial"] != made["thing"]["serial"]
    assert api.patch("/things/B-101", json={"attributes": {"site": "x"}}).json()["attributes"] == {
        "site": "x"
    }
    assert api.post("/things/B-101/revoke").json()["revoked"] is True
    assert api.post("/things/B-101/test", json=question).json()["allowed"] is False
    assert api.get("/things/B-101/forbidden").json()["items"] == []


def test_a_policy_is_tried(api: httpx.Client) -> None:
    question = {"action": "iot:Publish", "resource": "sensors/a/x", "thing": "a"}
    assert api.post("/policies/sensor/test", json=question).json()["allowed"] is True
    assert api.post("/policies/sensor/test", json=question | {"thing": "b"}).json()["allowed"] is False


def test_a_rule_is_tried_by_name_and_as_text(api: httpx.Client) -> None:
    api.post("/rules", json=RULE)
    message = {"topic": "air/x", "message": '{"CO": 3, "NO2": 1}'}
    by_name = api.post("/rules/all/test", json=message).json()
    assert (by_name["matched"], by_name["result"]) == (True, {"CO": 3})
    by_text = api.post("/rules/test", json={"sql": "SELECT NO2 FROM '#'", **message}).json()
    assert by_text["result"] == {"NO2": 1}
    changed = api.put("/rules/all", json=RULE | {"enabled": False})
    assert changed.json()["enabled"] is False


def test_a_stream_tells_where_a_record_would_go(api: httpx.Client) -> None:
    event_time = {"column": "T", "format": "yyyy-MM-dd HH:mm", "zone": "UTC", "interval": "5m"}
    api.post(
        "/streams",
        json=STREAM
        | {"prefix": "!{timestamp:yyyyMMdd}/", "error_prefix": "errors/", "event_time": event_time},
    )
    tried = api.post("/streams/air/test", json={"message": '{"T": "2022-03-24 23:32"}'})
    assert tried.status_code == 200
    assert "20220324" in tried.text
    assert api.get("/streams/air/state").json()["records"] == 0
    assert api.put("/streams/air", json=STREAM).json()["version"] == 2


def test_an_alert_rules_secret_is_never_shown(api: httpx.Client) -> None:
    assert "s3cret" not in api.post("/alerts", json=ALERT).text
    assert "s3cret" not in api.get("/alerts/night").text
    assert api.patch("/alerts/night", json={"threshold": 80}).json()["threshold"] == 80
    failed = api.post("/alerts/night/test").json()
    assert failed["state"] != "delivered"
    assert api.get("/alerts/deliveries", params={"rule": "night"}).json()["items"][0]["id"] == failed["id"]
    assert api.get(f"/alerts/deliveries/{failed['id']}").status_code == 200
    assert api.get("/alerts/counts").status_code == 200


def test_files_are_shown_and_guessed_before_there_is_a_detector(
    api: httpx.Client, masthead: Masthead
) -> None:
    rows = "".join(f"2022-03-01 {i // 6:02}:{i % 6}0,{i % 7}\n" for i in range(100))
    masthead.objects.put("s3://air/in/a.csv", f"when,CO\n{rows}".encode())
    source = {"kind": "files", "paths": ["s3://air/in/"]}
    shown = api.post("/detectors/sample", json=source).json()
    assert (shown["columns"], shown["rows"][1]) == (["when", "CO"], ["2022-03-01 00:10", "1"])
    assert api.post("/detectors/detect", json=source).json()["interval"]["value"] == "10m"
    assert api.post("/detectors/sample", json={"kind": "files", "paths": []}).status_code == 400
    assert api.get("/groups/none/values", params={"measure": "CO"}).status_code == 404


def test_a_detector_is_set_up_in_parts_and_written_as_toml(api: httpx.Client) -> None:
    assert api.post("/detectors", json={"name": "air", "interval": "5m"}).status_code == 201
    incomplete = api.post("/detectors/air/activate")
    assert incomplete.status_code == 400
    part = {name: DETECTOR[name] for name in ("source", "time", "measures", "dimensions")}
    assert api.put("/detectors/air/dataset", json=part).json()["spec"]["dimensions"] == ["LOCATION_ID"]
    assert 'topic = "air/#"' in api.get("/detectors/air/settings.toml").text
    assert api.get("/detectors/air/quality").json()["detector"] == "air"
    for path in ("executions", "series"):
        assert api.get(f"/detectors/air/{path}").json() == {"items": [], "next_token": None}
    assert api.get("/detectors/air/groups.csv").text.startswith("id,")
    assert api.get("/detectors/air/chart", params={"measure": "CO"}).status_code in (200, 404)
    assert api.get("/groups", params={"detector": "air"}).json() == {"items": [], "next_token": None}


@pytest.mark.parametrize("path", ["", "/series", "/related", "/feedback"])
def test_a_group_that_is_not_there_is_not_found(api: httpx.Client, path: str) -> None:
    assert api.get(f"/groups/group-x{path}").status_code == 404


def test_a_word_on_a_group_is_of_the_series_that_is_named(api: httpx.Client, masthead: Masthead) -> None:
    store_group(masthead)
    url = f"/groups/{GROUP}/feedback"
    for series in ({"dimensions": {"site": "A"}}, {"measure": "CO", "dimensions": {"site": "A"}}, 0):
        (told,) = api.post(url, json={"is_anomaly": False, "series": series}).json()["items"]
        assert (told["dimensions"], told["value"], told["is_anomaly"]) == ({"site": "A"}, 7.0, False)
    wrong = api.post(url, json={"is_anomaly": False, "series": {"site": "A"}})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (400, "series")
    assert len(api.post(url, json={"is_anomaly": True}).json()["items"]) == 2
    assert len(api.get(url).json()["items"]) == 5


def test_a_word_on_a_group_must_be_whole(api: httpx.Client) -> None:
    assert api.post("/groups/g/feedback", json={}).json()["error"]["field"] == "is_anomaly"
    assert api.post("/groups/g/feedback", json={"is_anomaly": True, "series": "CO"}).status_code == 400
    assert api.post("/groups/g/mute", json={}).json()["error"]["field"] == "until"
    assert api.post("/groups/g/mute", json={"until": "soon"}).json()["error"]["field"] == "until"
    assert api.post("/groups/g/acknowledge").status_code == 404


def test_objects_are_put_listed_read_and_deleted(api: httpx.Client) -> None:
    for key in ("a/1.json", "a/2.json", "b.bin"):
        answer = api.put(f"/objects/air/{key}", content=b"{}", headers={"content-type": "application/json"})
        assert answer.status_code == 201
    assert api.put("/objects/air/b.bin?create_only=true", content=b"x").status_code == 409
    first = api.get("/objects/air", params={"prefix": "a/", "limit": 1}).json()
    second = api.get("/objects/air", params={"prefix": "a/", "token": first["next_token"]}).json()
    assert [one["uri"] for one in first["items"] + second["items"]] == [
        "s3://air/a/1.json",
        "s3://air/a/2.json",
    ]
    got = api.get("/objects/air/a/1.json")
    assert (got.content, got.headers["content-disposition"]) == (b"{}", "attachment")
    assert api.delete("/objects/air/b.bin").status_code == 204
    assert api.get("/objects/air/b.bin").status_code == 404
    assert api.delete("/objects/air/b.bin").status_code == 404


def test_each_object_has_a_log(api: httpx.Client, masthead: Masthead) -> None:
    api.post("/things", json={"name": "B-101"})
    assert "B-101" in api.get("/logs/thing").json()["items"]
    assert api.get("/logs/thing/B-101").json()["items"][0]["event"] == "created"
