"""Every client environment through every door, and a ledger of what really ran.

The doors: over loopback, and in process, where the request that botocore has signed is handed to the core.
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aws_clients import MATRIX, client_python, version_of
from boto_agent import Agent, Boto, ClientFailed, agent, wire

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.errors import INVALID, TABLE, UNKNOWN_OPERATION
from masthead.aws.models import Model, OperationModel, load_models
from masthead.aws.shapes import Problems, Shape

MODELS = load_models()
SERVED = ("lookoutmetrics", "sagemaker-runtime", "firehose")
DOORS = ("in process", "loopback")
VARIANTS = [(name, door) for name in MATRIX for door in DOORS]
REGION = "eu-west-1"


def operations(*services: str) -> list[tuple[str, str]]:
    """Return every operation of services."""
    return [(service, name) for service in services for name in MODELS[service].operations]


@dataclass
class Row:
    """What tests have seen of one operation."""

    clients: dict[str, set[str]] = field(default_factory=dict)
    answered: bool = False
    errors: set[str] = field(default_factory=set)
    verbs: list[str] = field(default_factory=list)


@dataclass
class Ledger:
    """What ran, by service and operation."""

    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def note(self, service: str, operation: str, client: str, door: str, code: str = "") -> Row:
        """Enter a call that was asserted: its error's code, or "" when it was answered."""
        row = self.rows.setdefault((service, operation), Row())
        row.clients.setdefault(client, set()).add(door)
        if code:
            row.errors.add(code)
        else:
            row.answered = True
        return row

    def results(self) -> list[dict[str, Any]]:
        """Return a row for every operation of every model, also for those that no test ran."""
        return [self._result(service, operation) for service, operation in operations(*sorted(MODELS))]

    def _result(self, service: str, operation: str) -> dict[str, Any]:
        row = self.rows.get((service, operation), Row())
        state, code = "served", ""
        if not row.answered:
            outcome = INVALID if service in SERVED else UNKNOWN_OPERATION
            state, code = "refused" if service in SERVED else "later", TABLE[service][outcome][0]
        return {
            "service": service,
            "operation": operation,
            "state": state if row.clients else "",
            "code": code if row.clients else "",
            "clients": sorted(row.clients),
            "doors": sorted({door for doors in row.clients.values() for door in doors}),
            "errors": sorted(row.errors),
            "verbs": row.verbs,
        }


@dataclass
class Wired:
    """A client of one service, which checks each answer against the model and enters it into the ledger."""

    boto: Boto
    model: Model
    client: str
    door: str
    ledger: Ledger

    def __call__(self, operation: str, /, **given: Any) -> dict[str, Any]:
        """Return an answer, parsed by the client."""
        answer = self.boto.send(operation, given)
        assert answer_problems(self.model.operations[operation], answer) == []
        self.ledger.note(self.model.name, operation, self.client, self.door)
        return answer

    def refused(
        self, operation: str, code: str, text: str, /, document: object = None, **given: Any
    ) -> ClientFailed:
        """Return the error of a call, checked to be this one with its modelled members.

        Args:
            operation: That is called.
            code: Of the error; when the model has it, the client must raise its class.
            text: That the message holds.
            document: Sent in the place of the client's own body.
            given: The input.
        """
        body = None if document is None else json.dumps(document)
        try:
            answer = self.boto.send(operation, given, body)
        except ClientFailed as failed:
            self._check(failed, code, text)
            self.ledger.note(self.model.name, operation, self.client, self.door, code)
            return failed
        raise AssertionError(f"{operation} was answered: {answer}")

    def _check(self, failed: ClientFailed, code: str, text: str) -> None:
        assert failed.code == code, failed
        assert text in failed.message, failed
        shape = self.model.shapes.get(code)
        assert failed.kind == (code if shape is not None else "ClientError"), failed
        if shape is not None:
            for name in shape.required:
                known = failed.message if name.lower() == "message" else failed.response[name]
                assert known


def answer_problems(operation: OperationModel, answer: dict[str, Any]) -> list[str]:
    """Return how an answer that a client has parsed differs from what the model promises."""
    shape = operation.output
    if shape is None:
        return [f"{name}: unexpected" for name in answer]
    problems = Problems()
    for member in shape.members.values():
        value = answer.get(member.name)
        if value is not None and not member.shape.event_stream:
            member.shape.read(json_value(member.shape, value), member.name, problems)
    unknown = [f"{name}: unknown" for name in answer if name not in shape.members]
    absent = [f"{name}: absent" for name in shape.required if name not in answer]
    return unknown + absent + [problems.told()] * bool(problems)


def json_value(shape: Shape, value: Any) -> Any:
    """Return a parsed value as its JSON was."""
    return value if shape.kind == "blob" else shape.write(value)


@dataclass
class Variant:
    """One client environment through one door."""

    agent: Agent
    name: str
    door: str
    port: int

    def settings(self, key: NewKey) -> dict[str, Any]:
        """Return the settings of a client that acts as a key."""
        return {
            "endpoint_url": f"http://127.0.0.1:{self.port}",
            "region_name": REGION,
            "aws_access_key_id": key.key.id,
            "aws_secret_access_key": key.secret,
            "door": "pipe" if self.door == "in process" else "",
        }

    def boto(self, service: str, key: NewKey, *, validates: bool = True) -> Boto:
        """Return a client of a service."""
        return self.agent.client(service, validates=validates, **self.settings(key))

    def wired(self, service: str, key: NewKey, ledger: Ledger, *, validates: bool = True) -> Wired:
        """Return a client whose calls are entered into the ledger."""
        boto = self.boto(service, key, validates=validates)
        return Wired(boto, MODELS[service], self.name, self.door, ledger)


@contextlib.contextmanager
def variants(masthead: Masthead, core: Core) -> Iterator[dict[tuple[str, str], Variant]]:
    """Give every environment through every door, before one core."""
    with wire(masthead, core) as port, contextlib.ExitStack() as stack:
        found = {}
        for matrix, packages in MATRIX.items():
            python = client_python(*packages)
            one = stack.enter_context(agent(python, core))
            label = f"boto3 {version_of(python, 'boto3')}"
            for door in DOORS:
                found[matrix, door] = Variant(one, label, door, port)
        yield found


def the_key(masthead: Masthead) -> NewKey:
    """Return a new key that may do everything."""
    return masthead.keys.create_key("matrix", ["admin"])


def results_path() -> Path:
    """Return where the results of the matrix are kept."""
    return Path(__file__).resolve().parents[2] / "src/masthead/aws/coverage.json"
