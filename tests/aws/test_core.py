"""One request through every step: in which order, with which code it ends, and what the audit says of it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aws_bench import Bench, code_of, message_of

from masthead.access.keys import NewKey
from masthead.access.policy import Policy
from masthead.aws.core import Core
from masthead.aws.errors import Fault, answer
from masthead.aws.operations import Operation, Operations
from masthead.aws.protocol import Request, Response
from masthead.base.errors import InvalidInput

ALERT = "arn:aws:lookoutmetrics:us-east-1:000000000000:Alert:a"
JSON = {"content-type": "application/json"}
TARGET = "Firehose_20150804."
CALLS: dict[str, tuple[Any, ...]] = {
    "lookoutmetrics": (
        "lookoutmetrics",
        "POST",
        "/DeleteAlert",
        "",
        JSON,
        json.dumps({"AlertArn": ALERT}).encode(),
    ),
    "privatenetworks": ("private-networks", "POST", "/v1/networks", "", JSON, b'{"networkName": "n"}'),
    "sagemaker-runtime": ("sagemaker", "POST", "/endpoints/e/invocations", "", JSON, b"1"),
    "firehose": (
        "firehose",
        "POST",
        "/",
        "",
        {"x-amz-target": TARGET + "DescribeDeliveryStream"},
        b'{"DeliveryStreamName": "s"}',
    ),
}
BAD: dict[str, tuple[Any, ...]] = {
    "lookoutmetrics": ("lookoutmetrics", "POST", "/DeleteAlert", "", JSON, b"{}"),
    "privatenetworks": (
        "private-networks",
        "POST",
        "/v1/networks",
        "",
        JSON,
        b'{"networkName": "has space"}',
    ),
    "sagemaker-runtime": ("sagemaker", "POST", "/endpoints/-/invocations", "", JSON, b"1"),
    "firehose": ("firehose", "POST", "/", "", {"x-amz-target": TARGET + "DescribeDeliveryStream"}, b"{}"),
}


def audit(bench: Bench) -> list[dict[str, Any]]:
    """Return the lines of the test's key, the oldest first."""
    return list(bench.masthead.gate.audit.read(key=bench.key.key.id))


def header(response: Response, name: str) -> str:
    return {key.lower(): value for key, value in response.headers}.get(name.lower(), "")


def spelt(service: str) -> str:
    """Return how a service spells the member of its errors' text."""
    return "message" if service in ("privatenetworks", "firehose") else "Message"


def without_signature(request: Request) -> dict[str, str]:
    return {name: value for name, value in request.headers.items() if name != "authorization"}


# ---------------------------------------------------------------------- the table of errors

TABLE = [
    ("invalid", "lookoutmetrics", 400, "ValidationException"),
    ("invalid", "privatenetworks", 400, "ValidationException"),
    ("invalid", "sagemaker-runtime", 400, "ValidationError"),
    ("invalid", "firehose", 400, "InvalidArgumentException"),
    ("missing", "lookoutmetrics", 400, "ResourceNotFoundException"),
    ("missing", "privatenetworks", 400, "ValidationException"),  # CreateNetwork does not list it
    ("missing", "sagemaker-runtime", 400, "ValidationError"),
    ("missing", "firehose", 400, "ResourceNotFoundException"),
    ("conflict", "lookoutmetrics", 400, "ValidationException"),  # DeleteAlert does not list it
    ("conflict", "privatenetworks", 400, "ValidationException"),
    ("conflict", "sagemaker-runtime", 429, "ModelNotReadyException"),
    ("conflict", "firehose", 400, "InvalidArgumentException"),
    ("limit", "lookoutmetrics", 400, "ValidationException"),
    ("limit", "privatenetworks", 400, "LimitExceededException"),
    ("limit", "sagemaker-runtime", 503, "ServiceUnavailable"),
    ("limit", "firehose", 400, "InvalidArgumentException"),
    ("full", "lookoutmetrics", 503, "ServiceUnavailableException"),
    ("full", "privatenetworks", 503, "ServiceUnavailableException"),
    ("full", "sagemaker-runtime", 503, "ServiceUnavailable"),
    ("full", "firehose", 503, "ServiceUnavailableException"),
    ("bug", "lookoutmetrics", 500, "InternalServerException"),
    ("bug", "privatenetworks", 500, "InternalServerException"),
    ("bug", "sagemaker-runtime", 500, "InternalFailure"),
    ("bug", "firehose", 500, "InternalFailure"),
]


@pytest.mark.parametrize(("fails", "service", "status", "code"), TABLE)
def test_each_error_of_a_verb_has_its_code(
    bench: Bench, fails: str, service: str, status: int, code: str
) -> None:
    bench.fail = fails
    response = bench.ask(*CALLS[service])
    assert (response.status, code_of(response)) == (status, code)
    assert spelt(service) in json.loads(response.body)
    assert "a secret of the code" not in response.body.decode()


@pytest.mark.parametrize("service", BAD)
def test_what_fails_validation_is_told_by_field(bench: Bench, service: str) -> None:
    response = bench.ask(*BAD[service])
    told = json.loads(response.body)
    assert response.status == 400
    assert bench.calls == []
    if service == "lookoutmetrics":
        assert told["Reason"] == "FIELD_VALIDATION_FAILED"
        assert told["Fields"] == [{"Name": "AlertArn", "Message": "is required"}]
    if service == "privatenetworks":
        assert told["reason"] == "FIELD_VALIDATION_FAILED"
        assert told["fieldList"][0]["name"] == "networkName"
    assert message_of(response).count(": ") >= 1


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("lookoutmetrics", 400, "ValidationException"),
        ("privatenetworks", 400, "ValidationException"),
        ("firehose", 400, "SerializationException"),
    ],
)
def test_a_body_that_cannot_be_parsed_has_its_code(
    bench: Bench, service: str, status: int, code: str
) -> None:
    name, method, path, query, headers, _ = CALLS[service]
    response = bench.ask(name, method, path, query, headers, b"{NaN")
    assert (response.status, code_of(response)) == (status, code)
    told = json.loads(response.body)
    assert {**told, "reason": told.get("reason", told.get("Reason", "CANNOT_PARSE"))}[
        "reason"
    ] == "CANNOT_PARSE"


def test_a_missing_thing_is_named_by_its_arn(bench: Bench) -> None:
    bench.fail = "missing"
    table = Operations("lookoutmetrics")
    table.serves("DeleteAlert", resources=lambda call: [call.input["AlertArn"]])(bench.verb)
    bench.core = Core(
        bench.masthead, clock=bench.clock, served={"lookoutmetrics": table}, models=bench.core.models
    )
    told = json.loads(bench.ask(*CALLS["lookoutmetrics"]).body)
    assert (told["ResourceId"], told["ResourceType"]) == (ALERT, "Alert")


def test_a_fault_carries_its_members(bench: Bench) -> None:
    model = bench.core.models["sagemaker-runtime"]
    fault = Fault(
        "ModelError", "the model failed", OriginalStatusCode=500, OriginalMessage="x", LogStreamArn=""
    )
    told = answer(model, "InvokeEndpoint", fault)
    assert (told.code, told.status) == ("ModelError", 424)
    assert told.members == {
        "Message": "the model failed",
        "OriginalStatusCode": 500,
        "OriginalMessage": "x",
        "LogStreamArn": "",
    }
    clash = answer(
        bench.core.models["firehose"], "UpdateDestination", Fault("ConcurrentModificationException", "x")
    )
    assert (clash.status, clash.members) == (400, {"message": "x"})


def test_puts_answer_503_where_there_is_no_room(bench: Bench) -> None:
    bench.fail = "limit"
    put = {"x-amz-target": TARGET + "PutRecord"}
    response = bench.ask(
        "firehose", "POST", "/", "", put, b'{"DeliveryStreamName": "s", "Record": {"Data": "YQ=="}}'
    )
    assert (response.status, code_of(response)) == (503, "ServiceUnavailableException")


# ---------------------------------------------------------------------- routes


@pytest.mark.parametrize(
    ("service", "method", "path", "headers"),
    [
        ("lookoutmetrics", "POST", "/NoSuchOperation", JSON),
        ("lookoutmetrics", "GET", "/ListAlerts", JSON),
        ("lookoutmetrics", "POST", "/ListAlerts/", JSON),
        ("lookoutmetrics", "POST", "//ListAlerts", JSON),
        ("lookoutmetrics", "POST", "/./ListAlerts", JSON),
        ("lookoutmetrics", "POST", "/CreateAnomalyDetector", JSON),  # known, but not served here
        ("private-networks", "GET", "/v1/networks/a/b", {}),
        ("private-networks", "POST", "/v1/orders/acknowledge", JSON),
        ("sagemaker", "GET", "/v1/nothing", {}),
        (
            "sagemaker",
            "POST",
            "/endpoints/e/async-invocations",
            {"x-amzn-sagemaker-inputlocation": "s3://a/b"},
        ),
        ("firehose", "POST", "/", {"x-amz-target": TARGET + "Nothing"}),
        ("firehose", "POST", "/", {"x-amz-target": TARGET + "StopDeliveryStreamEncryption"}),
        ("firehose", "POST", "/x", {"x-amz-target": TARGET + "PutRecord"}),
        ("firehose", "POST", "/", JSON),
        ("execute-api", "POST", "/nothing", JSON),
    ],
)
def test_an_operation_that_is_not_served_is_said_so(
    bench: Bench, service: str, method: str, path: str, headers: dict[str, str]
) -> None:
    response = bench.ask(service, method, path, "", headers, b"{}")
    assert (response.status, code_of(response)) == (404, "UnknownOperationException")
    assert bench.calls == []


def test_the_same_path_of_two_services_goes_by_the_scope(bench: Bench) -> None:
    path = "/tags/" + quote(ALERT, safe="")
    assert bench.ask("lookoutmetrics", "GET", path).status == 200
    assert [call.operation for call in bench.calls] == ["ListTagsForResource"]
    assert code_of(bench.ask("private-networks", "GET", path)) == "UnknownOperationException"


def test_without_its_translator_a_service_is_still_asked_for_a_signature(bench: Bench) -> None:
    bench.core = Core(bench.masthead, clock=bench.clock, served={}, models=bench.core.models)
    assert code_of(bench.ask("private-networks", "GET", "/ping")) == "UnknownOperationException"
    assert code_of(bench.ask("private-networks", "GET", "/ping", secret="x")) == "InvalidSignatureException"


# ---------------------------------------------------------------------- the gate


def narrow(
    bench: Bench, action: str, resource: str = "*", condition: dict[str, Any] | None = None, **plan: Any
) -> NewKey:
    """Return a key with one statement."""
    statement = {"Effect": "Allow", "Action": action, "Resource": resource}
    document = {
        "Version": "2012-10-17",
        "Statement": [statement | ({"Condition": condition} if condition else {})],
    }
    Policy.parse(document)
    return bench.masthead.keys.create_key("", [("narrow", document)], **plan)


def test_a_policy_decides_before_anything_is_looked_up(bench: Bench) -> None:
    key = narrow(bench, "lookoutmetrics:List*")
    bench.fail = "missing"
    response = bench.ask(*CALLS["lookoutmetrics"], key=key)
    assert (response.status, code_of(response)) == (403, "AccessDeniedException")
    assert message_of(response) == (
        f"User: arn:aws:iam::000000000000:user/{key.key.name} is not authorized to perform: lookoutmetrics:DeleteAlert "
        "on resource: * because no identity-based policy allows the lookoutmetrics:DeleteAlert action"
    )
    assert bench.calls == []


@pytest.mark.parametrize(
    ("operation", "member", "resource"),
    [
        ("DescribeAnomalyDetector", "AnomalyDetectorArn", "AnomalyDetector:air"),
        ("DescribeMetricSet", "MetricSetArn", "MetricSet/air/air"),
        ("DescribeAlert", "AlertArn", "Alert:air"),
    ],
)
@pytest.mark.parametrize("place", ["eu-west-1:000000000000", "us-east-1:123456789012"])
def test_a_policy_decides_before_region_and_account_of_an_arn_are_looked_at(
    bench: Bench, operation: str, member: str, resource: str, place: str
) -> None:
    bench.core = Core(bench.masthead, clock=bench.clock, models=bench.core.models)
    asked = f"arn:aws:lookoutmetrics:{place}:{resource}"
    call = ("lookoutmetrics", "POST", f"/{operation}", "", JSON, json.dumps({member: asked}).encode())
    refused = bench.ask(*call, key=narrow(bench, "firehose:*"))
    assert (refused.status, code_of(refused)) == (403, "AccessDeniedException")
    assert f"on resource: {asked} because" in message_of(refused)
    missing = bench.ask(*call)
    assert (missing.status, code_of(missing)) == (400, "ResourceNotFoundException")
    told = json.loads(missing.body)
    assert (told["ResourceId"], told["ResourceType"]) == (asked, resource.replace("/", ":").split(":")[0])


def test_the_tags_of_a_request_are_conditions(bench: Bench) -> None:
    key = narrow(
        bench, "lookoutmetrics:TagResource", condition={"StringEquals": {"aws:RequestTag/site": "north"}}
    )
    path = "/tags/" + quote(ALERT, safe="")
    for site, status in (("north", 204), ("south", 403)):
        body = json.dumps({"tags": {"site": site}}).encode()
        assert bench.ask("lookoutmetrics", "POST", path, "", JSON, body, key=key).status == status
    key = narrow(
        bench, "lookoutmetrics:UntagResource", condition={"ForAllValues:StringEquals": {"aws:TagKeys": ["a"]}}
    )
    assert bench.ask("lookoutmetrics", "DELETE", path, "tagKeys=a", key=key).status == 204
    assert bench.ask("lookoutmetrics", "DELETE", path, "tagKeys=b", key=key).status == 403


def test_region_and_resource_reach_the_policy(bench: Bench) -> None:
    key = narrow(
        bench, "private-networks:*", condition={"StringEquals": {"aws:RequestedRegion": "eu-north-1"}}
    )
    assert bench.ask("private-networks", "GET", "/ping", key=key, region="eu-north-1").status == 200
    assert bench.ask("private-networks", "GET", "/ping", key=key, region="us-east-1").status == 403
    assert bench.calls[0].region == "eu-north-1"


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("lookoutmetrics", 429, "TooManyRequestsException"),
        ("privatenetworks", 429, "ThrottlingException"),
        ("sagemaker-runtime", 429, "ThrottlingException"),
        ("firehose", 400, "ThrottlingException"),
    ],
)
def test_a_caller_that_is_too_fast_is_told_when_to_come_again(
    bench: Bench, service: str, status: int, code: str
) -> None:
    key = bench.masthead.keys.create_key("", ["admin"], rate=1, burst=1)
    answers = [bench.ask(*CALLS[service], key=key) for _ in range(2)]
    assert answers[0].status < 300
    assert (answers[1].status, code_of(answers[1])) == (status, code)
    assert int(header(answers[1], "Retry-After")) >= 1


@pytest.mark.parametrize(
    ("service", "status", "code"),
    [
        ("lookoutmetrics", 402, "ServiceQuotaExceededException"),
        ("privatenetworks", 400, "LimitExceededException"),
        ("sagemaker-runtime", 400, "LimitExceededException"),
        ("firehose", 400, "LimitExceededException"),
    ],
)
def test_a_spent_quota_has_a_code_that_clients_do_not_repeat(
    bench: Bench, service: str, status: int, code: str
) -> None:
    key = bench.masthead.keys.create_key("", ["admin"], quota=1, window="day")
    answers = [bench.ask(*CALLS[service], key=key) for _ in range(2)]
    assert answers[0].status < 300
    assert (answers[1].status, code_of(answers[1])) == (status, code)


def test_throttles_come_before_the_body_is_read(bench: Bench) -> None:
    key = bench.masthead.keys.create_key("", ["admin"], quota=1, window="day")
    bench.ask(*CALLS["lookoutmetrics"], key=key)
    response = bench.ask("lookoutmetrics", "POST", "/DeleteAlert", "", JSON, b"{NaN", key=key)
    assert code_of(response) == "ServiceQuotaExceededException"


def test_a_key_is_bound_to_its_addresses(bench: Bench) -> None:
    key = bench.masthead.keys.create_key("", ["admin"], allow=["10.0.0.0/8"])
    assert bench.ask(*CALLS["firehose"], key=key, address="10.1.2.3").status == 200
    refused = bench.ask(*CALLS["firehose"], key=key, address="11.1.2.3")
    assert (refused.status, code_of(refused)) == (403, "AccessDeniedException")


@pytest.mark.parametrize(
    ("service", "code"),
    [
        ("lookoutmetrics", "TooManyRequestsException"),
        ("privatenetworks", "ThrottlingException"),
        ("sagemaker-runtime", "ThrottlingException"),
        ("firehose", "ThrottlingException"),
    ],
)
def test_an_address_that_failed_ten_times_is_told_so_in_the_words_of_each_service(
    bench: Bench, service: str, code: str
) -> None:
    for _ in range(10):
        bench.ask(*CALLS[service], secret="wrong", address="10.9.9.7")
    signed = bench.request(*CALLS[service], address="10.9.9.7")
    for headers in (signed.headers, without_signature(signed)):
        refused = bench.core.handle(replace(signed, headers=headers))
        assert (refused.status, code_of(refused)) == (429, code)
        assert spelt(service) in json.loads(refused.body)
        assert int(header(refused, "Retry-After")) >= 1


@pytest.mark.parametrize("service", CALLS)
def test_who_does_not_sign_is_told_so_in_the_form_of_the_service(bench: Bench, service: str) -> None:
    bare = without_signature(bench.request(*CALLS[service]))
    for shown, status in ({}, 403), ({"authorization": "AWS4-HMAC-SHA256 Credential=x"}, 400):
        refused = bench.core.handle(replace(bench.request(*CALLS[service]), headers=bare | shown))
        assert refused.status == status
        assert code_of(refused)
        assert spelt(service) in json.loads(refused.body)
        assert header(refused, "Content-Type") == bench.core.models[service].content_type


def test_ten_failures_of_an_address_close_it_for_a_while(bench: Bench) -> None:
    for _ in range(10):
        assert bench.ask(*CALLS["firehose"], secret="wrong", address="10.9.9.9").status == 403
    refused = bench.ask(*CALLS["firehose"], address="10.9.9.9")
    assert (refused.status, code_of(refused)) == (429, "ThrottlingException")
    assert bench.ask(*CALLS["firehose"], address="10.9.9.8").status == 200
    bench.clock.advance(61)
    assert bench.ask(*CALLS["firehose"], address="10.9.9.9").status == 200


def test_a_wrong_clock_is_no_guessing(bench: Bench) -> None:
    from datetime import timedelta

    for _ in range(15):
        bench.ask(*CALLS["firehose"], when=bench.clock.now() - timedelta(hours=1), address="10.8.8.8")
    assert bench.ask(*CALLS["firehose"], address="10.8.8.8").status == 200


# ---------------------------------------------------------------------- the audit


def test_mutations_and_refusals_have_a_line_and_reads_none(bench: Bench) -> None:
    bench.ask("private-networks", "GET", "/ping", headers={"user-agent": "Boto3/1"})
    assert audit(bench) == []
    response = bench.ask(*CALLS["lookoutmetrics"])
    bench.ask("lookoutmetrics", "POST", "/ListAlerts", "", JSON, b"{}", secret="wrong")
    first, second = audit(bench)
    assert first["request_id"] == header(response, "x-amzn-RequestId")
    assert first["operation"] == "DeleteAlert"
    assert first["action"] == "lookoutmetrics:DeleteAlert"
    assert (first["face"], first["status"], first["code"], first["region"]) == ("aws", 200, "", "us-east-1")
    assert (second["operation"], second["status"], second["code"]) == (
        "ListAlerts",
        403,
        "InvalidSignatureException",
    )
    assert len(second["body_sha256"]) == 64


def test_a_failed_mutation_is_told_with_its_code(bench: Bench) -> None:
    bench.fail = "missing"
    bench.ask(*CALLS["lookoutmetrics"])
    assert audit(bench)[-1]["code"] == "ResourceNotFoundException"


def test_neither_body_nor_secret_reaches_the_audit(bench: Bench) -> None:
    body = b'{"networkName": "has space", "tags": {"k": "s3cret"}, "description": "s3cret"}'
    bench.ask("private-networks", "POST", "/v1/networks", "", JSON, body)
    folder: Path = bench.masthead.folder.audit
    text = "".join(path.read_text() for path in folder.iterdir())
    assert "CreateNetwork" in text
    assert "s3cret" not in text
    assert bench.key.secret not in text


def test_mutations_stop_where_the_audit_cannot_be_written(bench: Bench) -> None:
    folder = bench.masthead.folder.audit
    bench.masthead.gate.audit.close()
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("in the way")
    try:
        response = bench.ask(*CALLS["lookoutmetrics"])
        assert (response.status, code_of(response)) == (503, "ServiceUnavailableException")
        assert bench.calls == []
        assert bench.ask("private-networks", "GET", "/ping").status == 200
    finally:
        folder.unlink()


# ---------------------------------------------------------------------- browsers


def test_a_page_may_call_with_a_key_that_names_its_origin(bench: Bench) -> None:
    origin = "https://app.example"
    key = bench.masthead.keys.create_key("", ["admin"], origins=[origin])
    asked = bench.request(*CALLS["sagemaker-runtime"])
    wanted = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "x-amz-date",
    }
    ahead = bench.core.handle(type(asked)("OPTIONS", asked.path, "", wanted, b""))
    assert ahead.status == 204
    assert header(ahead, "Access-Control-Allow-Origin") == origin
    assert header(ahead, "Access-Control-Allow-Headers") == "x-amz-date"
    name, method, path, query, headers, body = CALLS["sagemaker-runtime"]
    with_origin = {**headers, "origin": origin}
    assert (
        header(
            bench.ask(name, method, path, query, with_origin, body, key=key), "Access-Control-Allow-Origin"
        )
        == origin
    )
    refused = bench.ask(name, method, path, query, with_origin, body)
    assert (refused.status, header(refused, "Access-Control-Allow-Origin")) == (403, "")
    foreign = bench.core.handle(
        type(asked)("OPTIONS", asked.path, "", {**wanted, "origin": "https://evil.example"}, b"")
    )
    assert (foreign.status, header(foreign, "Access-Control-Allow-Origin")) == (403, "")
    assert header(ahead, "x-amzn-RequestId")
    assert header(foreign, "x-amzn-RequestId") != header(ahead, "x-amzn-RequestId")


@pytest.mark.parametrize("operation", ["InvokeEndpoint", "InvokeEndpointAsync"])
def test_a_page_may_read_each_header_that_the_model_has_for_an_answer(bench: Bench, operation: str) -> None:
    model = bench.core.models["sagemaker-runtime"].operations[operation]
    assert model.output is not None
    members = [one for one in model.output.members.values() if one.location == "header"]
    table = Operations("sagemaker")
    table.serves(operation)(lambda call: {one.name: "x" for one in members})
    served = {"sagemaker-runtime": table}
    bench.core = Core(bench.masthead, clock=bench.clock, served=served, models=bench.core.models)
    key = bench.masthead.keys.create_key("", ["admin"], origins=["*"])
    path = model.uri.replace("{EndpointName}", "e")
    headers = {**JSON, "origin": "https://a.example", "x-amzn-sagemaker-inputlocation": "s3://a/b"}
    told = bench.ask("sagemaker", "POST", path, "", headers, b"{}", key=key)
    assert told.status == model.status
    readable = header(told, "Access-Control-Expose-Headers").lower().split(", ")
    assert len(readable) == len(set(readable))
    assert {"x-amzn-requestid", "date", *(one.wire.lower() for one in members)} <= set(readable)


def test_a_key_for_pages_of_any_origin_answers_each_by_its_name(bench: Bench) -> None:
    key = bench.masthead.keys.create_key("", ["admin"], origins=["*"])
    name, method, path, query, headers, body = CALLS["sagemaker-runtime"]
    for origin in ("https://a.example", "https://b.example"):
        told = bench.ask(name, method, path, query, {**headers, "origin": origin}, body, key=key)
        assert header(told, "Access-Control-Allow-Origin") == origin
        wanted = {"origin": origin, "access-control-request-method": "POST"}
        asked = bench.request(*CALLS["sagemaker-runtime"])
        ahead = bench.core.handle(type(asked)("OPTIONS", asked.path, "", wanted, b""))
        assert (ahead.status, header(ahead, "Access-Control-Allow-Origin")) == (204, origin)


# ---------------------------------------------------------------------- calls


def test_pages_go_on_only_where_they_were_left(bench: Bench) -> None:
    bench.ask("lookoutmetrics", "POST", "/ListAlerts", "", JSON, b"{}")
    call = bench.calls[0]
    token = call.next_token([1.5, "a"], "air")
    assert call.after(token, "air") == [1.5, "a"]
    assert call.after(None, "air") is None
    with pytest.raises(InvalidInput, match="same filters"):
        call.after(token, "water")


def test_an_operation_is_entered_once_and_knows_what_it_is() -> None:
    table = Operations("firehose")
    table.serves("PutRecord")(lambda call: {})
    table.serves("ListDeliveryStreams", action="ListStreams")(lambda call: {})
    assert isinstance(table["PutRecord"], Operation)
    assert (table["PutRecord"].action, table["PutRecord"].mutates) == ("firehose:PutRecord", True)
    assert (table["ListDeliveryStreams"].action, table["ListDeliveryStreams"].mutates) == (
        "firehose:ListStreams",
        False,
    )
    with pytest.raises(InvalidInput, match="PutRecord twice"):
        table.serves("PutRecord")(lambda call: {})
