"""Our own models of the two living services say what the clients' say, but for what was left out on purpose."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aws_clients import PINNED, client_python

from masthead.aws.models import RETIRED, SERVICES, read_model

CLIENTS = Path(__file__).parent / "clients"
FACTS = ("type", "min", "max", "pattern", "enum", "required", "payload", "sensitive", "exception", "fault")


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    command = [str(client_python(*PINNED)), str(CLIENTS / "models.py")]
    found = subprocess.run(command, capture_output=True, check=True).stdout
    return dict(json.loads(found))


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in RETIRED])
def test_operations_and_shapes_are_equal(service: str, theirs: dict[str, Any]) -> None:
    ours, their = read_model(service), theirs[service]
    assert set(ours["operations"]) == set(their["operations"])
    for name, operation in ours["operations"].items():
        other = their["operations"][name]
        assert operation["http"] == other["http"], name
        for part in ("input", "output"):
            assert operation.get(part) == ({"shape": other[part]["shape"]} if part in other else None), name
        assert [one["shape"] for one in operation["errors"]] == [
            one["shape"] for one in other.get("errors", [])
        ]
    for name, shape in ours["shapes"].items():
        other = their["shapes"][name]
        if shape.get("opaque"):  # destinations and sources that are refused by name
            assert other["type"] == "structure"
            continue
        assert {fact: shape.get(fact) for fact in FACTS} == {fact: other.get(fact) for fact in FACTS}, name
        members = {
            key: {part: member.get(part) for part in ("shape", "location", "locationName")}
            for key, member in other.get("members", {}).items()
        }
        assert {
            key: {part: member.get(part) for part in ("shape", "location", "locationName")}
            for key, member in shape.get("members", {}).items()
        } == members, name
        for part in ("member", "key", "value"):
            assert shape.get(part, {}).get("shape") == other.get(part, {}).get("shape"), name
