"""Requests and answers of every operation, and the ways in which a request can be broken."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from shape_values import values

from masthead.aws.errors import INVALID, UNREADABLE, Rejected
from masthead.aws.models import Model, OperationModel, load_models
from masthead.aws.protocol import Request, output_problems, read_input, write_output

MODELS = load_models()
OPERATIONS = [
    pytest.param(model, operation, id=f"{model.name}-{operation.name}")
    for model in MODELS.values()
    for operation in model.operations.values()
    if not (operation.output and any(one.shape.event_stream for one in operation.output.members.values()))
]
DRAWN = settings(
    max_examples=2,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def request_of(operation: OperationModel, given: dict[str, Any]) -> Request:
    """Return the request in which a client sends an input, by the model's word and none of our code."""
    path, pairs, headers, body = operation.uri, [], {}, b""
    shape = operation.input
    document = {}
    for member in shape.members.values() if shape else ():
        if member.name not in given or shape is None:
            continue
        value = given[member.name]
        if member.name == shape.payload:
            body = value
        elif member.location == "uri":
            path = path.replace("{" + member.wire + "}", quote(value, safe="-_.~"))
        elif member.location == "querystring":
            found = value if isinstance(value, list) else [value]
            pairs += [f"{member.wire}={quote(one, safe='-_.~')}" for one in found]
        elif member.location == "header":
            headers[member.wire.lower()] = str(value)
        else:
            document[member.wire] = member.shape.write(value)
    if shape is not None and not shape.payload:
        body = json.dumps(document).encode()
    return Request(operation.method, path, "&".join(pairs), headers, body)


@pytest.mark.parametrize(("model", "operation"), OPERATIONS)
def test_an_input_arrives_as_it_was_meant(model: Model, operation: OperationModel) -> None:
    if operation.input is None:
        assert read_input(operation, {}, Request("GET", "/", "", {}, b"")).input == {}
        return

    @DRAWN
    @given(values(operation.input))
    def check(meant: dict[str, Any]) -> None:
        if any(meant.get(member.name) == "" for member in _labels(operation)):
            return  # an empty label is no request of this operation
        request = request_of(operation, meant)
        labels: dict[str, bytes] = {}
        if not model.target:
            found = model.match(request.method, request.path)
            assert found is not None
            name, labels = found
            assert name == operation.name
        empty_lists = {
            member.name
            for member in operation.input.members.values()  # type: ignore[union-attr]
            if member.location == "querystring" and meant.get(member.name) == []
        }
        wanted = {name: value for name, value in meant.items() if name not in empty_lists}
        if not empty_lists:
            assert read_input(operation, labels, request).input == wanted

    check()


def _labels(operation: OperationModel) -> list[Any]:
    assert operation.input is not None
    return [one for one in operation.input.members.values() if one.location == "uri"]


@pytest.mark.parametrize(("model", "operation"), OPERATIONS)
def test_an_output_is_written_as_the_model_says(model: Model, operation: OperationModel) -> None:
    if operation.output is None:
        assert write_output(model, operation, {}, "r").body == (b"" if operation.status == 204 else b"{}")
        return

    @DRAWN
    @given(values(operation.output))
    def check(meant: dict[str, Any]) -> None:
        assert output_problems(operation, meant) == []
        response = write_output(model, operation, meant, "r-1")
        headers = {name.lower(): value for name, value in response.headers}
        assert response.status == operation.status
        assert headers["x-amzn-requestid"] == "r-1"
        shape = operation.output
        assert shape is not None
        if operation.status == 204:
            assert response.body == b""
            return
        assert headers["content-length"] == str(len(response.body))
        for member in shape.members.values():
            if member.location == "header" and member.name in meant:
                assert headers[member.wire.lower()] == str(meant[member.name])
        if shape.payload:
            assert response.body == meant.get(shape.payload, b"")
        else:
            documents = {one.wire for one in shape.documents if one.name in meant}
            assert set(json.loads(response.body)) == documents

    check()


def test_an_answer_says_what_it_is() -> None:
    network, stream = MODELS["privatenetworks"], MODELS["firehose"]
    answer = write_output(network, network.operations["Ping"], {"status": "ok", "absent": None}, "r")
    assert answer.body == b'{"status":"ok"}'
    assert ("Content-Type", "application/json") in answer.headers
    answer = write_output(stream, stream.operations["DeleteDeliveryStream"], {}, "r")
    assert answer.body == b"{}"
    assert ("Content-Type", "application/x-amz-json-1.1") in answer.headers
    untag = MODELS["lookoutmetrics"].operations["UntagResource"]
    assert write_output(MODELS["lookoutmetrics"], untag, {}, "r").status == 204


def test_an_output_that_a_translator_misspelt_is_seen() -> None:
    operation = MODELS["lookoutmetrics"].operations["CreateAlert"]
    assert output_problems(operation, {"AlertARN": "x", "AlertArn": "x"}) == [
        "AlertARN: the model does not know it",
        "AlertArn: expected text that matches arn:([a-z\\d-]+):.*:.*:.*:.+, got 'x'",
    ]


CREATE = MODELS["lookoutmetrics"].operations["CreateAnomalyDetector"]
DETECTOR = b'{"AnomalyDetectorName": "air", "AnomalyDetectorConfig": {"AnomalyDetectorFrequency": "PT5M"}'


def read(operation: OperationModel, body: bytes, path: str = "", query: str = "") -> dict[str, Any]:
    labels = {}
    if path:
        found = next(
            model.match(operation.method, path)
            for model in MODELS.values()
            if operation.name in model.operations
        )
        assert found is not None
        labels = found[1]
    return read_input(operation, labels, Request(operation.method, path, query, {}, body)).input


@pytest.mark.parametrize(
    "body",
    [
        b'{"x": NaN}',
        b'{"x": Infinity}',
        b'{"x": -Infinity}',
        b'{"x": "\\ud800"}',
        b'{"x": "\xff\xfe"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"x":' * 50_000,
        b"[1]",
        b"null",
        b'"text"',
        b"7",
        b"{",
        b"{}{}",
        b"{'x': 1}",
        b"\x00",
        b" ",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_a_body_that_is_no_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        read(CREATE, body)
    assert caught.value.outcome == UNREADABLE


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (b', "AnomalyDetectorDescription": "a\\u0000b"', "AnomalyDetectorDescription"),
        (b', "AnomalyDetectorDescription": 7', "AnomalyDetectorDescription"),
        (b', "Tags": {"k": "v", "k2": 1}', "Tags[k2]"),
        (b', "Tags": [1]', "Tags"),
    ],
)
def test_a_member_that_cannot_be_used_is_named(more: bytes, field: str) -> None:
    known = {member.wire: member.name for member in CREATE.input.documents} if CREATE.input else {}
    body = DETECTOR + more.replace(b'"Tags"', f'"{"Tags" if "Tags" in known else "tags"}"'.encode()) + b"}"
    with pytest.raises(Rejected) as caught:
        read(CREATE, body)
    assert caught.value.outcome == INVALID
    assert caught.value.problems[0].path.replace("'", "").lower() == field.lower()


@pytest.mark.parametrize(
    "number", [b"1" * 5000, b"1e999", b"1.5", b"true", b'"5"', b"99999999999999999999", b"0", b"101"]
)
def test_a_number_that_is_none_is_refused(number: bytes) -> None:
    operation = MODELS["lookoutmetrics"].operations["ListAlerts"]
    with pytest.raises(Rejected) as caught:
        read(operation, b'{"MaxResults": ' + number + b"}")
    assert caught.value.outcome in (INVALID, UNREADABLE)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("data", ["a", "====", "YQ", "YQ==\n", "Y Q=="])
def test_a_blob_is_strict_base64(data: str) -> None:
    operation = MODELS["firehose"].operations["PutRecord"]
    body = json.dumps({"DeliveryStreamName": "s", "Record": {"Data": data}}).encode()
    with pytest.raises(Rejected, match=r"Record\.Data: expected text in base64"):
        read(operation, body)


def test_absent_and_null_are_equal_and_unknown_members_are_counted() -> None:
    operation = MODELS["lookoutmetrics"].operations["ListAlerts"]
    found = read_input(
        operation, {}, Request("POST", "/ListAlerts", "", {}, b'{"MaxResults": null, "New": 1, "Newer": []}')
    )
    assert (found.input, found.unknown) == ({}, 2)
    assert read(operation, b"") == {}


def test_an_arn_in_a_path_is_one_segment_and_decoded_once() -> None:
    operation = MODELS["privatenetworks"].operations["GetNetwork"]
    arn = "arn:aws:private-networks:us-east-1:000000000000:network/n1"
    assert read(operation, b"", "/v1/networks/" + quote(arn, safe="")) == {"networkArn": arn}
    twice = quote(quote(arn, safe=""), safe="")
    with pytest.raises(Rejected):
        read(operation, b"", "/v1/networks/" + twice)
    assert MODELS["privatenetworks"].match("GET", "/v1/networks/" + arn) is None
    with pytest.raises(Rejected, match="UTF-8"):
        read(operation, b"", "/v1/networks/arn%3Aaws%ff")


def test_values_of_a_query_are_decoded_once_and_lists_repeat_the_key() -> None:
    untag = MODELS["lookoutmetrics"].operations["UntagResource"]
    path = "/tags/" + quote("arn:aws:lookoutmetrics:us-east-1:0:Alert:a", safe="")
    found = read(untag, b"", path, "tagKeys=a%20b&tagKeys=%C3%A9&tagKeys=1%2B1&other=x")
    assert found["TagKeys"] == ["a b", "\u00e9", "1+1"]
    with pytest.raises(Rejected, match="UTF-8"):
        read(untag, b"", path, "tagKeys=%ff")
    with pytest.raises(Rejected, match="TagKeys: is required"):
        read(untag, b"", path)
    delete = MODELS["privatenetworks"].operations["DeleteNetwork"]
    arn = quote("arn:aws:private-networks:us-east-1:0:network/n", safe="")
    with pytest.raises(Rejected, match="clientToken: expected once"):
        read(delete, b"", f"/v1/networks/{arn}", "clientToken=a&clientToken=b")


def test_literal_paths_come_before_paths_with_labels() -> None:
    model = MODELS["privatenetworks"]
    assert model.match("POST", "/v1/networks/list") == ("ListNetworks", {})
    assert model.match("GET", "/v1/networks/list") == ("GetNetwork", {"networkArn": b"list"})
    assert model.match("GET", "/v1/networks/") is None
    assert model.match("GET", "/v1/networks/a/b") is None
