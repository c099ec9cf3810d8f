"""Who is let in, and what is told of who is not: keys, sessions, pages of other origins, plans, and the audit."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from keyed import header_of, key_header, session_of

from masthead.api.factory import create_api
from masthead.app import Masthead

PAGE = "https://app.example"


@pytest.fixture
def door(masthead: Masthead, serving: Any) -> Iterator[httpx.Client]:
    """A client that shows nothing, of a server with a console."""
    with serving(create_api(masthead, console=True), {}) as client:
        yield client


def cookie(client: httpx.Client, token: str) -> dict[str, str]:
    return {"cookie": f"masthead_session_{client.base_url.port}={token}"}


def told(masthead: Masthead) -> list[dict[str, Any]]:
    return list(masthead.gate.audit.read())


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_is_told_to_everybody(door: httpx.Client, path: str) -> None:
    assert door.get(path).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/things", "/docs", "/openapi.json", "/docs/swagger-ui.css", "/favicon.svg", "/", "/ui/", "/nowhere"],
)
def test_anything_else_needs_a_key_or_a_session(masthead: Masthead, door: httpx.Client, path: str) -> None:
    refused = door.get(path)
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "Unauthenticated")
    assert refused.headers["www-authenticate"].startswith("Bearer")
    for shown in (key_header(masthead), cookie(door, session_of(masthead))):
        assert door.get(path, headers=shown).status_code in (200, 307, 404)


def test_a_key_is_shown_in_either_header(masthead: Masthead, door: httpx.Client) -> None:
    token = key_header(masthead)["x-api-key"]
    assert door.get("/things", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert door.get("/things", headers={"authorization": f"bearer  {token}"}).status_code == 200
    for wrong in (f"Basic {token}", token, "Bearer", f"Bearer {token}x", f"Bearer {token.partition('.')[0]}"):
        assert door.get("/things", headers={"authorization": wrong}).status_code == 401


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_key_that_has_ended_opens_nothing(masthead: Masthead, door: httpx.Client, end: str) -> None:
    made = masthead.keys.create_key("short", ["admin"])
    assert door.get("/things", headers=header_of(made)).status_code == 200
    session = masthead.keys.open_session(masthead.keys.make_link(made.key.id))
    if end == "revoked":
        masthead.keys.revoke_key(made.key.id)
    else:
        masthead.keys.update_key(made.key.id, expires_s=1)
        time.sleep(1.1)
    assert door.get("/things", headers=header_of(made)).status_code == 401
    assert door.get("/things", headers=cookie(door, session or "")).status_code == 401


def test_ten_failures_a_minute_shut_the_door_for_keys_of_an_address(
    masthead: Masthead, door: httpx.Client
) -> None:
    right, session = key_header(masthead), session_of(masthead)
    for _ in range(10):
        assert door.get("/things", headers={"x-api-key": "MHAKNOBODY.secret"}).status_code == 401
    shut = door.get("/things", headers=right)
    assert (shut.status_code, shut.json()["error"]["code"]) == (429, "LimitReached")
    assert 0 < int(shut.headers["retry-after"]) <= 60
    assert door.post("/ui/signin", data={"key": "x.y"}).status_code == 429
    assert door.get("/healthz").status_code == 200
    # A session is no guess: whoever has one goes on.
    assert door.get("/things", headers=cookie(door, session)).status_code == 200


def test_who_shows_nothing_is_not_shut_out(door: httpx.Client) -> None:
    assert {door.get("/things").status_code for _ in range(12)} == {401}


def test_a_plan_is_told_in_the_one_shape(masthead: Masthead, door: httpx.Client) -> None:
    made = masthead.keys.create_key("slow", ["admin"], rate=2, burst=2)
    answers = [door.get("/things", headers=header_of(made)) for _ in range(4)]
    assert [one.status_code for one in answers][:2] == [200, 200]
    slow = answers[-1]
    assert (slow.status_code, set(slow.json()["error"])) == (429, {"code", "message", "field"})
    assert int(slow.headers["retry-after"]) >= 1
    spent = masthead.keys.create_key("small", ["admin"], quota=1, window="day")
    assert door.get("/things", headers=header_of(spent)).status_code == 200
    over = door.get("/things", headers=header_of(spent))
    assert (over.status_code, "Quota" in over.json()["error"]["message"]) == (429, True)


def test_a_key_is_good_only_where_it_may_be_used(masthead: Masthead, door: httpx.Client) -> None:
    inside = masthead.keys.create_key("inside", ["admin"], allow=["127.0.0.0/8"])
    outside = masthead.keys.create_key("outside", ["admin"], deny=["127.0.0.1"])
    assert door.get("/things", headers=header_of(inside)).status_code == 200
    refused = door.get("/things", headers=header_of(outside))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "Forbidden")
    assert "127.0.0.1" in refused.json()["error"]["message"]


# ---------------------------------------------------------------------------------------- other pages


def test_a_page_may_call_with_a_key_that_names_its_origin(masthead: Masthead, door: httpx.Client) -> None:
    its = masthead.keys.create_key("app", ["admin"], origins=[PAGE])
    other = masthead.keys.create_key("other", ["admin"], origins=["https://other.example"])
    asks = {"origin": PAGE, "access-control-request-method": "GET"}
    before = door.options("/things", headers=asks | {"access-control-request-headers": "x-api-key"})
    assert before.status_code == 204
    assert before.headers["access-control-allow-origin"] == PAGE
    assert "x-api-key" in before.headers["access-control-allow-headers"]
    good = door.get("/things", headers=header_of(its) | {"origin": PAGE})
    assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, PAGE)
    assert good.headers["vary"] == "Origin"
    missing = door.get("/things/x", headers=header_of(its) | {"origin": PAGE})
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (404, PAGE)
    foreign = door.get("/things", headers=header_of(other) | {"origin": PAGE})
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers


def test_a_page_that_no_key_names_is_refused_before_it_calls(masthead: Masthead, door: httpx.Client) -> None:
    asks = {"origin": PAGE, "access-control-request-method": "POST"}
    assert door.options("/things", headers=asks).status_code == 403
    made = masthead.keys.create_key("app", ["admin"], origins=[PAGE])
    assert door.options("/things", headers=asks).status_code == 204
    masthead.keys.revoke_key(made.key.id)
    assert door.options("/things", headers=asks).status_code == 403


def test_a_cookie_never_speaks_for_another_page(masthead: Masthead, door: httpx.Client) -> None:
    masthead.keys.create_key("app", ["admin"], origins=["*"])
    headers = cookie(door, session_of(masthead)) | {"origin": PAGE}
    answer = door.post("/things", json={"name": "a"}, headers=headers)
    assert answer.status_code == 403
    neighbour = cookie(door, session_of(masthead)) | {"origin": "http://127.0.0.1:1"}
    assert door.post("/things", json={"name": "a"}, headers=neighbour).status_code == 403
    assert masthead.access.list_things() == []


# -------------------------------------------------------------------------------------------- sessions


def test_a_person_is_led_to_the_sign_in_page_and_back(masthead: Masthead, door: httpx.Client) -> None:
    person = {"accept": "text/html,*/*"}
    led = door.get("/ui/groups?x=1", headers=person)
    assert (led.status_code, led.headers["location"]) == (303, "/ui/signin?next=/ui/groups%3Fx%3D1")
    page = door.get(led.headers["location"])
    assert "masthead console link" in page.text
    assert 'value="/ui/groups?x=1"' in page.text
    link = masthead.keys.make_link(masthead.keys.create_key("p", ["admin"]).key.id)
    for _ in range(2):  # looking at the address does not use it up
        assert link in door.get("/ui/signin", params={"link": link}).text
    opened = door.post("/ui/signin", data={"link": link, "next": "/ui/groups?x=1"})
    assert (opened.status_code, opened.headers["location"]) == (303, "/ui/groups?x=1")
    kept = opened.headers["set-cookie"].lower()
    assert "httponly" in kept
    assert "samesite=strict" in kept
    assert "secure" not in kept
    assert door.get("/things").status_code == 200  # the client keeps the cookie
    again = door.post("/ui/signin", data={"link": link})
    assert (again.status_code, "used before" in again.text) == (401, True)


def test_a_key_may_be_given_instead_and_a_wrong_one_not(masthead: Masthead, door: httpx.Client) -> None:
    wrong = door.post("/ui/signin", data={"key": "MHAKNOBODY.secret"})
    assert (wrong.status_code, "No key is like this one" in wrong.text) == (401, True)
    assert "set-cookie" not in wrong.headers
    token = key_header(masthead)["x-api-key"]
    right = door.post("/ui/signin", data={"key": token, "next": "//evil.example/"})
    assert (right.status_code, right.headers["location"]) == (303, "/ui/")
    assert token not in right.headers["set-cookie"]


def test_signing_out_ends_the_session_everywhere(masthead: Masthead, door: httpx.Client) -> None:
    session = cookie(door, session_of(masthead))
    assert door.get("/things", headers=session).status_code == 200
    out = door.post("/ui/signout", headers=session)
    assert (out.status_code, out.headers["location"]) == (303, "/ui/signin")
    assert door.get("/things", headers=session).status_code == 401


def test_a_foreign_page_cannot_sign_anybody_in(masthead: Masthead, door: httpx.Client) -> None:
    masthead.keys.create_key("app", ["admin"], origins=["*"])
    token = key_header(masthead)["x-api-key"]
    answer = door.post("/ui/signin", data={"key": token}, headers={"origin": PAGE})
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


def test_a_form_that_is_too_large_is_not_read(door: httpx.Client) -> None:
    assert door.post("/ui/signin", data={"key": "x" * 9_000}).status_code == 413


def test_what_a_person_gives_stands_in_the_page_as_text(door: httpx.Client) -> None:
    page = door.get("/ui/signin", params={"link": '"><script>alert(1)</script>', "next": '"><b>'})
    assert "<script>alert" not in page.text
    assert "<b>" not in page.text


# ----------------------------------------------------------------------------------------------- audit


def test_the_audit_tells_changes_and_refusals_and_no_reads(masthead: Masthead, door: httpx.Client) -> None:
    admin, reader = key_header(masthead), header_of(masthead.keys.create_key("reader", ["read-only"]))
    made = door.post("/things", json={"name": "B-101"}, headers=admin)
    door.get("/things", headers=admin)
    door.post("/things", json={"name": "B-102"}, headers=reader)
    door.post("/things", json={"name": "B-101"}, headers=admin)
    door.get("/things", headers={"x-api-key": "MHAKNOBODY.secret"})
    lines = told(masthead)
    assert [(one["operation"], one["status"], one["code"]) for one in lines] == [
        ("access.create_thing", 201, ""),
        ("access.create_thing", 403, "Forbidden"),
        ("access.create_thing", 409, "Conflict"),
        ("GET /things", 401, "Unauthenticated"),
    ]
    first = lines[0]
    assert first["request_id"] == made.headers["x-request-id"]
    assert (first["face"], first["action"], first["key_name"]) == ("api", "iot:CreateThing", "test")
    assert first["resources"] == ["arn:aws:iot:us-east-1:000000000000:thing/B-101"]
    assert len(first["body_sha256"]) == 64
    assert (first["address"], lines[1]["key_name"]) == ("127.0.0.1", "reader")


def test_signing_in_stands_in_the_audit_and_no_secret_does(masthead: Masthead, door: httpx.Client) -> None:
    token = key_header(masthead)["x-api-key"]
    door.post("/ui/signin", data={"key": token})
    door.post("/ui/signin", data={"key": token + "x"})
    door.get("/things", headers={"x-api-key": token + "y"})
    assert [(one["operation"], one["status"]) for one in told(masthead)] == [
        ("sign in", 303),
        ("sign in", 401),
        ("GET /things", 401),
    ]
    secret = token.partition(".")[2].encode()
    kept = [path.read_bytes() for path in masthead.folder.path.rglob("*") if path.is_file()]
    assert not any(secret in one for one in kept)


def test_without_an_audit_nothing_is_changed_and_reads_go_on(masthead: Masthead, door: httpx.Client) -> None:
    admin = key_header(masthead)
    shutil.rmtree(masthead.folder.audit, ignore_errors=True)
    masthead.folder.audit.write_text("in the way")
    answer = door.post("/things", json={"name": "B-101"}, headers=admin)
    assert (answer.status_code, answer.json()["error"]["field"]) == (503, "audit")
    assert masthead.access.list_things() == []
    assert door.get("/things", headers=admin).status_code == 200
    assert door.post("/ui/signin", data={"key": admin["x-api-key"]}).status_code == 503
