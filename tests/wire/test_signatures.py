"""What AWS's own signer signs is believed, and not when one character of it was changed."""

import base64
import json
import random
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aws_clients import PINNED, client_python

from masthead.aws.errors import Fault
from masthead.aws.protocol import Request
from masthead.aws.sigv4 import SigningKeys, read_signature, verify

CLIENTS = Path(__file__).parent / "clients"
KEY, SECRET = "MHAKEXAMPLE", "secret/xyz+1~A"
COUNT = 5000


@pytest.fixture(scope="module")
def signed() -> list[tuple[str, Request]]:
    """Random requests with the signing name of their service."""
    command = [str(client_python(*PINNED)), str(CLIENTS / "sign.py"), str(COUNT), KEY, SECRET]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = []
    for service, method, path, query, headers, body in map(json.loads, lines):
        found.append((service, Request(method, path, query, headers, base64.b64decode(body))))
    assert len(found) == COUNT
    return found


def believed(service: str, request: Request, keys: SigningKeys) -> bool:
    try:
        verify(
            request,
            read_signature(request),
            service=service,
            region="",
            carried=frozenset({"x-amzn-sagemaker-custom-attributes"}),
            secret_of={KEY: SECRET}.get,
            keys=keys,
            now=datetime.now(UTC),
        )
    except Fault:
        return False
    return True


def test_five_thousand_requests_signed_by_botocore_are_believed(signed: list[tuple[str, Request]]) -> None:
    keys = SigningKeys()
    began = time.process_time()
    refused = [(service, request) for service, request in signed if not believed(service, request, keys)]
    cost_us = (time.process_time() - began) / COUNT * 1e6
    assert refused == []
    assert cost_us < 400  # 40 to 60 on a quiet machine; benchmarks/wire.py measures


def test_none_is_believed_when_a_part_was_changed(signed: list[tuple[str, Request]]) -> None:
    rng, keys = random.Random(1), SigningKeys()
    for service, request in signed[:1000]:
        place = rng.randrange(len(request.body) + 1)
        changed = [
            (
                service,
                Request(request.method, request.path + "x", request.query, request.headers, request.body),
            ),
            (
                service,
                Request(request.method, request.path, request.query + "&z", request.headers, request.body),
            ),
            (service, Request("PATCH", request.path, request.query, request.headers, request.body)),
            (
                service,
                Request(
                    request.method,
                    request.path,
                    request.query,
                    request.headers,
                    request.body[:place] + b"\x01" + request.body[place:],
                ),
            ),
            (
                service,
                Request(
                    request.method,
                    request.path,
                    request.query,
                    {**request.headers, "host": "other"},
                    request.body,
                ),
            ),
            ("s3", request),
        ]
        assert [believed(*one, keys) for one in changed] == [False] * len(changed)
