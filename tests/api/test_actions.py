"""Each route asks for the action of its verb, on what the route itself will do it to."""

import re

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from keyed import header_of

from masthead.access.actions import known_actions
from masthead.access.arns import ACCOUNT
from masthead.access.verbs import VERBS
from masthead.api.actions import ANY_KEY, OPEN, OWNER, ROUTES
from masthead.api.factory import create_api
from masthead.app import Masthead

POLICY = "2012-10-17"
NOT_ROUTES = {"/ui/signin", "/ui/signout"}  # before anybody has shown who they are


def routes_of(app: FastAPI) -> list[APIRoute]:
    found = [one for router in app.routes for one in router.original_router.routes]
    assert all(isinstance(one, APIRoute) for one in found)
    assert len(found) > 70
    return [one for one in found if one.path not in NOT_ROUTES]


def test_no_route_is_without_an_action(masthead: Masthead) -> None:
    names = {
        f"{method} {one.path}"
        for one in routes_of(create_api(masthead, console=True))
        for method in one.methods
    }
    assert names - set(ROUTES) == set()


def test_every_verb_of_a_route_has_a_known_action() -> None:
    for told in ROUTES.values():
        verb = told if isinstance(told, str) else told[0]
        assert verb in (OPEN, OWNER, ANY_KEY) or verb in VERBS, verb
    assert {deed.action for deed in VERBS.values()} <= set(known_actions())


def test_only_health_is_open_and_only_the_owner_makes_backups_and_moves_clocks() -> None:
    assert {name for name, told in ROUTES.items() if told == OPEN} == {
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
    }
    assert {name for name, told in ROUTES.items() if told == OWNER} == {
        "POST /backup",
        "POST /clock",
        "POST /follow",
    }


def asked_about(masthead: Masthead, request: httpx.Request | None, client: httpx.Client) -> list[str]:
    """Send a request with a key that may do nothing; return action and resource of the denial."""
    assert request is not None
    answer = client.send(request)
    assert answer.status_code == 403, answer.text
    found = re.search(r"perform: (\S+) on resource: (\S+) because", answer.json()["error"]["message"])
    assert found is not None
    return [found[1], found[2].replace(f":us-east-1:{ACCOUNT}:", ":")]


@pytest.fixture
def nobody(masthead: Masthead, serving) -> httpx.Client:
    """A client whose key has no policy."""
    with serving(create_api(masthead), header_of(masthead.keys.create_key("nobody"))) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body", "action", "resource"),
    [
        ("GET", "/things", None, "iot:ListThings", "*"),
        ("POST", "/things", {"name": "B-101"}, "iot:CreateThing", "arn:aws:iot:thing/B-101"),
        ("POST", "/things", {"name": 5}, "iot:CreateThing", "arn:aws:iot:thing/*"),
        ("PUT", "/rules/mine", {"name": "yours"}, "iot:ReplaceTopicRule", "arn:aws:iot:rule/mine"),
        ("POST", "/rules/test", {"sql": "x"}, "masthead:TestRule", "arn:aws:iot:rule/*"),
        (
            "GET",
            "/detectors/air/chart?measure=CO&detector=mine&name=mine",
            None,
            "masthead:GetChart",
            "arn:aws:lookoutmetrics:AnomalyDetector:air",
        ),
        (
            "GET",
            "/groups?detector=air",
            None,
            "lookoutmetrics:ListAnomalyGroupSummaries",
            "arn:aws:lookoutmetrics:AnomalyDetector:air",
        ),
        (
            "GET",
            "/groups",
            None,
            "lookoutmetrics:ListAnomalyGroupSummaries",
            "arn:aws:lookoutmetrics:AnomalyDetector:*",
        ),
        (
            "POST",
            "/groups/group-x/mute",
            {"until": None},
            "masthead:MuteGroup",
            "arn:aws:lookoutmetrics:AnomalyDetector:*",
        ),
        ("GET", "/objects/air/a/b", None, "s3:GetObject", "arn:aws:s3:::air/a/b"),
        ("POST", "/ingest/sensors/x/air", None, "iot:Publish", "arn:aws:iot:topic/sensors/x/air"),
        (
            "DELETE",
            "/streams/air",
            None,
            "firehose:DeleteDeliveryStream",
            "arn:aws:firehose:deliverystream/air",
        ),
        ("GET", "/logs/thing/x", None, "masthead:GetLog", "arn:aws:masthead:log/thing/x"),
        ("GET", "/clock", None, "masthead:DescribeClock", "*"),
    ],
)
def test_a_denial_names_action_and_resource_and_tells_nothing_of_what_exists(
    masthead: Masthead, nobody: httpx.Client, method: str, path: str, body: object, action: str, resource: str
) -> None:
    request = nobody.build_request(method, path, json=body)
    assert asked_about(masthead, request, nobody) == [action, resource]


def test_an_upload_is_asked_about_by_the_topic_of_its_form(masthead: Masthead, nobody: httpx.Client) -> None:
    request = nobody.build_request(
        "POST", "/ingest/files?topic=mine", files={"files": ("x", b"{}")}, data={"topic": "air/x"}
    )
    assert asked_about(masthead, request, nobody) == ["iot:Publish", "arn:aws:iot:topic/air/x"]


def allowing(masthead: Masthead, action: str, *resources: str) -> dict[str, str]:
    statement = {"Effect": "Allow", "Action": action, "Resource": list(resources)}
    document = {"Version": POLICY, "Statement": [statement]}
    return header_of(masthead.keys.create_key("some", [("own", document)]))


def test_a_new_alert_needs_its_detector_too(masthead: Masthead, serving) -> None:
    arn = "arn:aws:lookoutmetrics:*:*:"
    headers = allowing(masthead, "lookoutmetrics:*", f"{arn}Alert:*", f"{arn}AnomalyDetector:air")
    rule = {"name": "a", "channel": {"kind": "webhook", "url": "http://127.0.0.1:9/x"}}
    with serving(create_api(masthead), headers) as client:
        assert client.post("/alerts", json=rule | {"detector": "sea"}).status_code == 403
        assert client.post("/alerts", json=rule).status_code == 403  # every detector
        assert client.post("/alerts", json=rule | {"detector": "air"}).status_code == 201
        assert client.patch("/alerts/a", json={"threshold": 80}).status_code == 200
        assert client.patch("/alerts/a", json={"detector": "sea"}).status_code == 403
        assert client.patch("/alerts/a", json={"detector": None}).status_code == 403


def test_a_policy_may_ask_for_tags_at_this_face_too(masthead: Masthead, serving) -> None:
    masthead.streams.create_stream({"name": "air", "destination": "s3://air/"})
    condition = {"StringEquals": {"aws:ResourceTag/site": "north"}}
    allow = {"Effect": "Allow", "Action": "firehose:*", "Resource": "*", "Condition": condition}
    key = masthead.keys.create_key("tagged", [("own", {"Version": POLICY, "Statement": [allow]})])
    with serving(create_api(masthead), header_of(key)) as client:
        assert client.get("/streams/air").status_code == 403
        masthead.notes.tag("stream:air", masthead.streams.stream_born("air"), {"site": "north"})
        assert client.get("/streams/air").status_code == 200


def test_a_narrow_key_does_its_own_and_nothing_else(masthead: Masthead, serving) -> None:
    with serving(create_api(masthead), allowing(masthead, "iot:*Thing", "arn:aws:iot:*:*:thing/B-*")) as one:
        assert one.post("/things", json={"name": "B-101"}).status_code == 201
        assert one.get("/things/B-101").status_code == 200
        assert one.get("/things/B-102").status_code == 404
        assert one.get("/things/C-101").status_code == 403
        assert one.post("/things", json={"name": "C-101"}).status_code == 403
        assert one.post("/things/B-101/revoke").status_code == 403
