"""What a client says arrives as it was meant, and what a verb answers is parsed as it was meant: every operation.

Values are drawn from the models by hypothesis; the verbs are stand-ins that remember and repeat, since this is about
the wire alone. Real verbs answer in test_round_trips.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC
from functools import cache
from typing import Any

import pytest
from boto_agent import ClientFailed
from shape_violations import drawn, whole
from wire_matrix import MODELS, SERVED, VARIANTS, Variant, operations, the_key, variants

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.errors import Fault
from masthead.aws.operations import Call, Operations
from masthead.aws.shapes import Shape
from masthead.base.clock import SystemClock
from masthead.base.settings import Settings

EXAMPLES = 3


@dataclass
class Stand:
    """A core whose verbs repeat what they are told to."""

    key: NewKey
    by_variant: dict[tuple[str, str], Variant]
    heard: list[Call] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=dict)
    fault: Fault | None = None

    def verb(self, call: Call) -> dict[str, Any]:
        self.heard.append(call)
        if self.fault is not None:
            raise self.fault
        return self.answer


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with Masthead.open(Settings(data=tmp_path_factory.mktemp("stand") / "data")) as masthead:
        found = Stand(the_key(masthead), {})
        served = {name: Operations(name) for name in SERVED}
        for service, operation in operations(*SERVED):
            served[service].serves(operation)(found.verb)
        core = Core(masthead, clock=SystemClock(), served=served, models=MODELS)
        with variants(masthead, core) as found.by_variant:
            yield found


@cache
def examples(service: str, operation: str, side: str) -> list[Any]:
    shape: Shape | None = getattr(MODELS[service].operations[operation], side)
    if shape is None or any(member.shape.event_stream for member in shape.members.values()):
        return [{}]
    found = [whole(shape), *drawn(shape, EXAMPLES)]
    return [{name: value for name, value in one.items() if value is not None} for one in found]


def same(given: Any) -> Any:
    """Return a value in the one form that client and server are compared in."""
    if isinstance(given, dict):
        return {name: same(value) for name, value in given.items()}
    if isinstance(given, list):
        return [same(one) for one in given]
    return given.astimezone(UTC) if hasattr(given, "astimezone") else given


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize(("service", "operation"), operations(*SERVED))
def test_an_input_arrives_and_an_output_is_parsed(
    service: str, operation: str, variant: tuple[str, str], stand: Stand
) -> None:
    client = stand.by_variant[variant].boto(service, stand.key)
    inputs, outputs = examples(service, operation, "input"), examples(service, operation, "output")
    shape = MODELS[service].operations[operation]
    stand.fault = None
    for place in range(max(len(inputs), len(outputs))):
        given, stand.answer = inputs[place % len(inputs)], outputs[place % len(outputs)]
        answered = client.send(operation, given)
        assert same(stand.heard[-1].input) == same(given)
        assert stand.heard[-1].operation == operation
        if shape.output is not None and not any(
            one.shape.event_stream for one in shape.output.members.values()
        ):
            usual = {"ContentType": "application/json"} if shape.output.payload else {}  # a body has a type
            assert same(answered) == same(usual | stand.answer)


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize(("service", "operation"), operations(*SERVED))
def test_every_error_of_an_operation_is_raised_as_its_class_with_its_members(
    service: str, operation: str, variant: tuple[str, str], stand: Stand
) -> None:
    model = MODELS[service]
    client = stand.by_variant[variant].boto(service, stand.key)
    given = examples(service, operation, "input")[0]
    for code in sorted(model.operations[operation].errors):
        shape = model.shapes[code]
        members = {name: whole(member.shape) for name, member in shape.members.items()}
        rest = {name: value for name, value in members.items() if name.lower() != "message"}
        stand.fault = Fault(code, f"why {code}", **rest)
        with pytest.raises(ClientFailed) as caught:
            client.send(operation, given)
        failed = caught.value
        assert (failed.kind, failed.code, failed.message) == (code, code, f"why {code}")
        assert failed.status == (shape.status or 400)
        assert {name: failed.response.get(name) for name in rest} == rest
