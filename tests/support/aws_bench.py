"""A core over an installation with a key, which serves a few operations of each service.

The installation is made once for a file of tests; keys, gate, clock and core are new for each test.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_signer import sign

from masthead.access.audit import Audit
from masthead.access.gate import Gate
from masthead.access.key_records import KeyRecords
from masthead.access.keys import KeyService, NewKey
from masthead.access.throttle import Throttle
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.models import load_models
from masthead.aws.operations import Call, Operation, Operations
from masthead.aws.protocol import Request, Response
from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.settings import Settings

MODELS = load_models()
NOW = datetime(2026, 11, 23, 18, tzinfo=UTC)
ERRORS: Mapping[str, Exception] = {
    "invalid": InvalidInput("name: expected a name, got 'x'"),
    "missing": NotFound("detector: there is no detector x"),
    "conflict": Conflict("detector: x exists already"),
    "limit": LimitReached("detectors: there are 10 already"),
    "bug": RuntimeError("a secret of the code"),
    "full": OSError(28, "No space left on device"),
}


@dataclass
class Bench:
    """A core under test, a key, and what reached the verbs."""

    masthead: Masthead
    clock: ManualClock
    key: NewKey
    core: Core = field(init=False)
    calls: list[Call] = field(default_factory=list)
    fail: str = ""

    def request(
        self,
        service: str,
        method: str,
        path: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        key: NewKey | None = None,
        address: str = "127.0.0.1",
        **how: Any,
    ) -> Request:
        """Return a signed request."""
        used = key or self.key
        given = {"key_id": used.key.id, "secret": used.secret, "when": self.clock.now(), **how}
        signed = sign(method, path, query, headers, body, service=service, **given)
        return Request(method, path, query, signed, body, address)

    def ask(self, *arguments: Any, **named: Any) -> Response:
        """Return the answer to a signed request."""
        return self.core.handle(self.request(*arguments, **named))

    def verb(self, call: Call) -> dict[str, Any]:
        """Do nothing but remember, or fail as told."""
        self.calls.append(call)
        if self.fail:
            raise ERRORS[self.fail]
        shape = self.core.models[SERVICE_OF[call.operation]].operations[call.operation].output
        payload = shape.payload if shape is not None else ""
        return {payload: call.input.get(payload, b"")} if payload else {}


SERVICE_OF: dict[str, str] = {}
SERVED = {
    "lookoutmetrics": (
        "ListAlerts",
        "CreateAlert",
        "DeleteAlert",
        "TagResource",
        "UntagResource",
        "ListTagsForResource",
    ),
    "privatenetworks": ("Ping", "GetNetwork", "CreateNetwork", "ListNetworks"),
    "sagemaker-runtime": ("InvokeEndpoint",),
    "firehose": ("ListDeliveryStreams", "PutRecord", "DescribeDeliveryStream"),
}
PREFIXES = {"privatenetworks": "private-networks", "sagemaker-runtime": "sagemaker"}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Masthead]:
    """An installation without keys and gate."""
    with Masthead.open(Settings(data=tmp_path_factory.mktemp("aws") / "data")) as masthead:
        yield masthead


@pytest.fixture
def bench(installation: Masthead) -> Iterator[Bench]:
    """A core with a key that may do everything, and a clock that is turned by hand."""
    clock = ManualClock(NOW.timestamp())
    keys = KeyService(installation.database, installation.secrets, clock, installation.journal)
    throttle = Throttle(KeyRecords(installation.database), clock, "")
    gate = Gate(keys, throttle, Audit(installation.folder.audit, clock), clock)
    vars(installation).update(keys=keys, gate=gate)
    found = Bench(installation, clock, keys.create_key("anna", ["admin"]))
    served: dict[str, dict[str, Operation]] = {}
    for service, names in SERVED.items():
        served[service] = table = Operations(PREFIXES.get(service, service))
        for name in names:
            SERVICE_OF[name] = service
            table.serves(name)(found.verb)
    found.core = Core(installation, clock=clock, served=served, models=MODELS)
    yield found
    gate.close()


def code_of(response: Response) -> str:
    """Return an error's code, checked to be the same wherever it stands."""
    headers = {name.lower(): value for name, value in response.headers}
    assert headers["x-amzn-requestid"]
    code = headers.get("x-amzn-errortype", "")
    if code and headers["content-type"] == "application/x-amz-json-1.1":
        assert json.loads(response.body)["__type"] == code
    return code


def message_of(response: Response) -> str:
    """Return an error's text, in whichever case its service spells it."""
    document = json.loads(response.body)
    return str(document.get("message", document.get("Message", "")))
