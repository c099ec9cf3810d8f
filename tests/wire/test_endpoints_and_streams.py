"""SageMaker Runtime and Firehose over loopback by unmodified boto3, against a whole server with its own broker."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_clients import MATRIX, client_python
from served_air import served_air
from waiting import eventually

from masthead.server import Server

PROGRAM = Path(__file__).parent / "clients" / "endpoints_and_streams.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose detector has learned the article's history and is deployed."""
    with served_air(tmp_path_factory.mktemp("wire")) as found:
        yield found


def told(client: str, part: str, server: Server) -> dict[str, Any]:
    """Return what a client's program printed."""
    credentials = server.settings.data / "credentials"
    done = subprocess.run(
        [str(client_python(*MATRIX[client])), str(PROGRAM), part],
        env={
            "PATH": os.environ["PATH"],
            "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
            "AWS_PROFILE": "masthead",
            "NO_PROXY": "127.0.0.1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_error(found: dict[str, Any] | None, code: str, status: int, text: str) -> bool:
    """Return whether a client met a modelled exception."""
    assert found is not None
    assert (found["code"], found["status"], found["class"]) == (code, status, code)
    assert text in found["message"]
    return True


@pytest.mark.parametrize("client", MATRIX)
def test_an_endpoint_answers_boto3(client: str, server: Server) -> None:
    server.masthead.objects.put("s3://inputs/one.json", b'{"TIMESTAMP": "2022-03-24 23:30", "SO2": 61}')
    found = told(client, "endpoints", server)
    [one] = found["json"]["predictions"]
    assert (one["measure"], one["value"], one["dimensions"]) == ("SO2", 120.0, {"LOCATION_ID": "B-101"})
    assert one["severity"] > 70
    assert one["low"] < one["high"]
    assert (found["type"], found["variant"], found["attributes"]) == (
        "application/json",
        "AllTraffic",
        "trace=7",
    )
    assert found["csv_type"] == "text/csv; charset=utf-8"
    assert found["csv"].splitlines()[0] == "time,measure,LOCATION_ID,value,expected,severity,reason"
    assert found["later_status"] == 202
    answer = found["later"]["OutputLocation"]
    eventually(lambda: server.masthead.objects.exists(answer))
    assert json.loads(server.masthead.objects.get(answer))["predictions"][0]["value"] == 61.0
    assert is_error(
        found["unknown"], "ValidationError", 400, "Endpoint none of account 000000000000 not found."
    )
    assert is_error(found["bad"], "ModelError", 424, "instances[0].TIMESTAMP: time missing")
    assert (found["bad"]["OriginalStatusCode"], found["bad"]["OriginalMessage"]) == (
        400,
        "instances[0].TIMESTAMP: time missing",
    )
    assert is_error(found["type_refused"], "ModelError", 424, "content-type: expected one of")
    assert found["type_refused"]["OriginalStatusCode"] == 415
    assert is_error(found["variant_refused"], "ValidationError", 400, "TargetVariant: expected AllTraffic")
    assert is_error(found["streamed"], "ValidationError", 400, "use InvokeEndpoint")


@pytest.mark.parametrize("client", MATRIX)
def test_a_delivery_stream_takes_records_of_boto3(client: str, server: Server) -> None:
    found = told(client, "streams", server)
    arn = "arn:aws:firehose:us-east-1:000000000000:deliverystream/sales"
    assert (found["made"], found["status"], found["listed"]) == (arn, "ACTIVE", ["sales"])
    assert (found["failed"], found["ids"]) == (0, 500)
    assert found["one"].endswith("-0")
    assert found["tags"] == []
    assert is_error(found["again"], "ResourceInUseException", 400, "sales already")
    assert is_error(found["stale"], "ConcurrentModificationException", 400, "CurrentDeliveryStreamVersionId")
    assert is_error(found["unknown"], "ResourceNotFoundException", 400, "Firehose none under account")
    assert is_error(
        found["not_served"], "InvalidArgumentException", 400, "SplunkDestinationConfiguration: not supported"
    )
    assert is_error(found["encrypted"], "InvalidArgumentException", 400, "encrypt_streams")
    assert is_error(found["decrypted"], "InvalidArgumentException", 400, "encrypt_streams")
    objects = server.masthead.objects

    def lines() -> list[bytes]:
        stored = [objects.get(one.uri) for one in objects.list("s3://readings/")]
        return b"".join(stored).splitlines()

    eventually(lambda: len(lines()) == 501)
    assert sorted(lines()) == sorted([b"one", *(b"%d" % number for number in range(500))])
    server.masthead.streams.delete_stream("sales")
    for one in list(objects.list("s3://readings/")):
        objects.delete(one.uri)
