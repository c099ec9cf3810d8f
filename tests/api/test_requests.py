"""What holds for every request: one error shape, hosts, sizes, documentation without a network."""

import contextlib
import re
from collections.abc import Callable, Iterator

import httpx
import pytest

from masthead.api.factory import Runtime, create_api
from masthead.app import Masthead
from masthead.base.clock import Beat

Serving = Callable[..., contextlib.AbstractContextManager[httpx.Client]]


def error(response: httpx.Response) -> dict[str, str]:
    found = response.json()
    assert set(found) == {"error"}
    assert set(found["error"]) == {"code", "message", "field"}
    return dict(found["error"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "field"),
    [
        ("GET", "/things/nobody", None, 404, "NotFound", "name"),
        ("GET", "/nowhere", None, 404, "NotFound", "path"),
        ("DELETE", "/healthz", None, 405, "InvalidInput", "method"),
        ("POST", "/things", {"name": "a b"}, 400, "InvalidInput", "name"),
        ("POST", "/things", {"name": 5}, 400, "InvalidInput", "name"),
        ("POST", "/things", {"name": "a", "colour": "red"}, 400, "InvalidInput", "colour"),
        ("POST", "/things", {"name": "a", "policies": "sensor"}, 400, "InvalidInput", "policies"),
        ("POST", "/things", {"name": "a", "policies": ["nope"]}, 404, "NotFound", "policies"),
        ("POST", "/things", {"name": "a", "days": True}, 400, "InvalidInput", "days"),
        ("POST", "/things", [], 400, "InvalidInput", "body"),
        ("POST", "/rules", {"name": "r", "sql": "SELECT"}, 400, "InvalidInput", "sql"),
        ("POST", "/streams", {"name": "s", "destination": "ftp://x"}, 400, "InvalidInput", "destination"),
        ("POST", "/alerts", {"name": "x"}, 400, "InvalidInput", "channel"),
        ("POST", "/detectors", {"name": "d", "interval": "soon"}, 400, "InvalidInput", "interval"),
        ("GET", "/things?limit=0", None, 400, "InvalidInput", "limit"),
        ("GET", "/things?limit=many", None, 400, "InvalidInput", "limit"),
        ("GET", "/things?token=forged", None, 400, "InvalidInput", "token"),
        ("GET", "/groups?start=yesterday", None, 400, "InvalidInput", "start"),
        ("GET", "/objects/Not_A_Bucket", None, 400, "InvalidInput", "bucket"),
        ("GET", "/objects/air/../../etc/passwd", None, 404, "NotFound", "path"),
        ("GET", "/logs/secret", None, 400, "InvalidInput", "kind"),
    ],
)
def test_a_wrong_request_is_answered_in_one_shape(
    api: httpx.Client, method: str, path: str, body: object, status: int, code: str, field: str | None
) -> None:
    response = api.request(method, path, json=body) if body is not None else api.request(method, path)
    found = error(response)
    assert (response.status_code, found["code"], found["field"]) == (status, code, field)


def test_broken_json_is_told_as_such(api: httpx.Client) -> None:
    response = api.post("/things", content=b"{bad", headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "expected JSON" in error(response)["message"]


def test_a_name_that_is_taken_is_a_conflict(api: httpx.Client) -> None:
    assert api.post("/things", json={"name": "B-101"}).status_code == 201
    response = api.post("/things", json={"name": "B-101"})
    assert (response.status_code, error(response)["code"]) == (409, "Conflict")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8400", "", "169.254.169.254"])
def test_on_loopback_a_foreign_host_is_refused(api: httpx.Client, host: str) -> None:
    response = api.get("/things", headers={"host": host})
    assert (response.status_code, error(response)["code"]) == (403, "Forbidden")


@pytest.mark.parametrize("host", ["localhost:8400", "127.0.0.1", "[::1]:8400", "LOCALHOST"])
def test_on_loopback_its_own_names_are_served(api: httpx.Client, host: str) -> None:
    assert api.get("/things", headers={"host": host}).status_code == 200


def test_a_foreign_page_cannot_make_a_browser_ask_or_change_something(api: httpx.Client) -> None:
    own = str(api.base_url).rstrip("/")
    for foreign in (
        "http://evil.example",
        "http://127.0.0.1:1",
        "null",
        own.replace("127.0.0.1", "localhost"),
    ):
        headers = {"origin": foreign}
        assert api.post("/ingest/air", content=b"{}", headers=headers).status_code == 403
        assert error(api.get("/things", headers=headers))["field"] == "origin"
        assert api.get("/metrics", headers=headers).status_code == 403
    assert api.post("/things", json={"name": "a"}, headers={"origin": own}).status_code == 201


def test_beyond_loopback_any_name_of_the_machine_is_served(masthead: Masthead, serving: Serving) -> None:
    with serving(create_api(masthead, host="0.0.0.0")) as client:
        named = {"host": "plant-7:8400"}
        assert client.get("/things", headers=named).status_code == 200
        foreign = named | {"origin": "http://x"}
        assert client.post("/things", json={"name": "a"}, headers=foreign).status_code == 403


def test_a_body_over_the_limit_is_refused_before_it_is_read(api: httpx.Client) -> None:
    response = api.post("/ingest/air", content=b"x" * 20_000)
    assert (response.status_code, error(response)["field"]) == (413, "body")


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(api: httpx.Client) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 1_000

    response = api.put("/objects/air/x", content=parts())
    assert (response.status_code, error(response)["field"]) == (413, "body")


def test_the_documentation_names_no_other_machine(api: httpx.Client) -> None:
    page = api.get("/docs").text
    addresses = re.findall(r"(?:src|href)=\"([^\"]+)\"", page)
    assert addresses
    assert all(address.startswith("/") for address in addresses)
    for address in addresses:
        assert api.get(address).status_code == 200, address
    assert "http" not in re.sub(r"https?://127\.0\.0\.1", "", page).replace("httpx", "")


def test_every_route_is_documented_with_a_summary(api: httpx.Client) -> None:
    described = api.get("/openapi.json").json()
    operations = [one for path in described["paths"].values() for one in path.values()]
    assert len(operations) > 60
    assert all(one.get("description") for one in operations)


def test_an_internal_error_is_not_shown_to_the_caller(
    masthead: Masthead, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[object]:
        raise RuntimeError("secret path /root")

    monkeypatch.setattr(masthead.access, "list_things", broken)
    app = create_api(masthead)
    with serving(app) as client:
        response = client.get("/things")
    assert response.status_code == 500
    assert "secret" not in response.text
    assert error(response)["code"] == "Error"


def test_ready_only_when_every_part_is(masthead: Masthead, serving: Serving) -> None:
    parts = {"http": "", "devices": "starting"}
    with serving(create_api(masthead, process=Runtime(ready=lambda: parts))) as client:
        waiting = client.get("/readyz")
        assert (waiting.status_code, waiting.json()["parts"]["devices"]) == (503, "starting")
        assert client.get("/healthz").status_code == 200
        parts["devices"] = ""
        assert client.get("/readyz").json() == {"status": "ready", "parts": {"http": "up", "devices": "up"}}


def test_a_server_without_the_role_api_has_only_health(masthead: Masthead, serving: Serving) -> None:
    with serving(create_api(masthead, native=False)) as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/things").status_code == 404


def test_requests_are_counted_by_route_not_by_name(api: httpx.Client) -> None:
    api.get("/things/one"), api.get("/things/two")
    text = api.get("/metrics").text
    assert 'masthead_http_requests_total{method="GET",route="/things/{name}",status="404"}' in text
    assert "/things/one" not in text


def test_a_backup_asks_for_the_folders_own_token(masthead: Masthead, serving: Serving) -> None:
    asked: list[str] = []

    def backup(path: str) -> dict[str, str]:
        asked.append(path)
        return {"path": path}

    process = Runtime(backup=backup, token="right")
    with serving(create_api(masthead, process=process)) as client:
        for token in ("", "Bearer wrong", "Bearer", "right"):
            headers = {"authorization": token} if token else {}
            assert client.post("/backup", json={"path": "/x"}, headers=headers).status_code == 403
        bare = {"x-api-key": "", "authorization": "Bearer wrong"}
        assert client.post("/backup", json={"path": "/x"}, headers=bare).status_code == 401
        assert asked == []
        good = client.post("/backup", json={"path": "/x"}, headers={"authorization": "Bearer right"})
        assert (good.status_code, asked) == (200, ["/x"])


def test_a_demonstrations_clock_is_moved_by_the_folders_owner_only(
    masthead: Masthead, serving: Serving
) -> None:
    moved: list[Beat] = []

    def move(beat: Beat) -> float:
        moved.append(beat)
        return 1648164601.0

    process = Runtime(set_clock=move, token="right")
    owner = {"authorization": "Bearer right"}
    with serving(create_api(masthead, process=process)) as client:
        assert client.post("/clock", json={"time": 1.0}).status_code == 403
        broken = (
            {"time": "now"},
            {"time": 0},
            {"time": 1, "factor": -1},
            {"time": True},
            {"until": []},
            {"x": 1},
        )
        for one in broken:
            assert client.post("/clock", json=one, headers=owner).status_code == 400
        beat = {"time": 1648164600, "factor": 10, "until": 1648164900}
        assert client.post("/clock", json=beat, headers=owner).json() == {
            "virtual": True,
            "time": 1648164601.0,
        }
        assert client.get("/clock").json()["virtual"] is True
    assert moved == [Beat(1648164600, 10, 1648164900)]
    with serving(create_api(masthead, process=Runtime(token="right"))) as client:
        assert client.post("/clock", json={"time": 1.0}, headers=owner).status_code == 409
        assert client.get("/clock").json()["virtual"] is False


def test_an_unknown_path_or_method_is_told_what_exists(api: httpx.Client) -> None:
    assert (
        api.get("/detector/air")
        .json()["error"]["message"]
        .startswith("path: expected one below /healthz /readyz /metrics /things /policies /rules")
    )
    told = api.request("DELETE", "/things").json()["error"]["message"]
    assert told == "method: expected GET, POST, got DELETE"


def test_an_alert_rule_about_nothing_that_exists_is_kept_with_a_warning(api: httpx.Client) -> None:
    channel = {"kind": "webhook", "url": "http://127.0.0.1:9/"}
    api.post(
        "/detectors", json={"name": "air", "measures": [{"name": "CO"}], "dimensions": ["LOCATION_ID"]}
    ).raise_for_status()
    made = api.post("/alerts", json={"name": "night", "detector": "aire", "channel": channel})
    assert made.status_code == 201
    assert made.json()["warnings"] == ["detector: expected one that exists, such as air, got 'aire'"]
    changed = api.patch(
        "/alerts/night", json={"detector": "air", "measures": ["C0"], "dimensions": {"LOC": ["x"]}}
    )
    assert changed.json()["warnings"] == [
        "measures: expected one that exists, such as CO, got 'C0'",
        "dimensions: expected one that exists, such as LOCATION_ID, got 'LOC'",
    ]
    fine = api.patch("/alerts/night", json={**changed.json(), "measures": [], "dimensions": {}})
    assert fine.json()["warnings"] == api.get("/alerts/night").json()["warnings"] == []
