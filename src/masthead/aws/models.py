"""Service models: read once when the listener starts, compiled to routes and shapes; botocore is never imported.

The two retired services come from frozen packages, found by distribution (an import path misses them when botocore
lies in another folder); they cannot change again. The two living ones are our own files in the same form: a package of
theirs would shadow the newer model of the boto3 that somebody has beside us.
"""

import importlib.metadata
import importlib.resources
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from masthead.aws.patterns import compile_pattern
from masthead.aws.shapes import Member, Shape

RETIRED = ("privatenetworks", "lookoutmetrics")
SERVICES = (*RETIRED, "sagemaker-runtime", "firehose")
_PACKAGE = "botocore-a-la-carte-"
_UNBOUNDED = {"Arn": 2048}  # shapes of these names have no bound of their own [ours]


@dataclass(frozen=True, slots=True)
class Route:
    """Where an operation with labels lives; a label is one raw segment, since an ARN arrives percent-encoded."""

    method: str
    path: re.Pattern[str]
    operation: str


@dataclass(frozen=True, slots=True)
class OperationModel:
    """What the model says of an operation."""

    name: str
    method: str
    uri: str
    status: int
    input: Shape | None
    output: Shape | None
    errors: frozenset[str]
    signed: frozenset[str] = field(default=frozenset())  # headers that carry an input


@dataclass(frozen=True, slots=True)
class Model:
    """One service.

    Attributes:
        name: As boto3 calls it.
        signing_name: As signatures spell it.
        target: What its `X-Amz-Target` begins with, "" in rest-json.
        message_member: How its errors spell their text.
        literals: Operations by method and path, where the path has no label.
        routes: The others.
    """

    name: str
    signing_name: str
    protocol: str
    api_version: str
    target: str
    message_member: str
    shapes: Mapping[str, Shape]
    operations: Mapping[str, OperationModel]
    literals: Mapping[tuple[str, str], str]
    routes: tuple[Route, ...]

    @property
    def content_type(self) -> str:
        """Return the type of its documents."""
        return "application/json" if self.protocol == "rest-json" else "application/x-amz-json-1.1"

    def match(self, method: str, raw_path: str) -> tuple[str, dict[str, bytes]] | None:
        """Return the operation at a raw path and its labels, decoded once; None when there is none."""
        # Literal paths before paths with labels: `/v1/networks/list` is no network's name.
        if (literal := self.literals.get((method, raw_path))) is not None:
            return literal, {}
        for route in self.routes:
            if route.method == method and (found := route.path.fullmatch(raw_path)):
                return route.operation, {k: unquote_to_bytes(v) for k, v in found.groupdict().items()}
        return None


def load_models() -> dict[str, Model]:
    """Return every model by name."""
    return {name: compile_model(name, read_model(name)) for name in SERVICES}


def read_model(name: str) -> dict[str, Any]:
    """Return a service's model as its file has it."""
    if name in RETIRED:
        text = next(path for path in retired_files(name) if path.name == "service-2.json").read_bytes()
    else:
        text = importlib.resources.files("masthead.aws").joinpath("models", f"{name}.json").read_bytes()
    found: dict[str, Any] = orjson.loads(text)
    return found


def retired_files(name: str) -> Iterator[Path]:
    """Return the files of a retired service's model."""
    distribution = importlib.metadata.distribution(_PACKAGE + name)
    for file in distribution.files or ():
        if file.suffix == ".json" and name in file.parts:
            yield Path(str(distribution.locate_file(file)))


def compile_model(name: str, model: Mapping[str, Any]) -> Model:
    """Return a model ready for use."""
    meta = model["metadata"]
    shapes = {key: _shape(key, spec) for key, spec in model["shapes"].items()}
    for key, spec in model["shapes"].items():
        _link(shapes[key], spec, shapes)
    operations = {key: _operation(key, spec, shapes) for key, spec in model["operations"].items()}
    placed = () if "targetPrefix" in meta else tuple(operations.values())
    return Model(
        name=name,
        signing_name=meta.get("signingName", meta["endpointPrefix"]),
        protocol=meta["protocol"],
        api_version=meta["apiVersion"],
        target=meta.get("targetPrefix", ""),
        message_member=_message_member(shapes),
        shapes=shapes,
        operations=operations,
        literals={(one.method, one.uri): one.name for one in placed if "{" not in one.uri},
        routes=tuple(_route(one) for one in placed if "{" in one.uri),
    )


def _shape(name: str, spec: Mapping[str, Any]) -> Shape:
    pattern = spec.get("pattern", "")
    kind = spec["type"]
    return Shape(
        name=name,
        kind=kind,
        least=spec.get("min"),
        most=spec.get("max", _UNBOUNDED.get(name) if kind == "string" else None),
        choices=frozenset(spec.get("enum", ())),
        pattern=compile_pattern(pattern) if pattern else None,
        pattern_text=pattern,
        iso=spec.get("timestampFormat") == "iso8601",
        sensitive=spec.get("sensitive", False),
        opaque=spec.get("opaque", False),
        event_stream=spec.get("eventstream", False),
        exception=spec.get("exception", False),
        status=spec.get("error", {}).get("httpStatusCode", 503 if spec.get("fault") else 0),
        payload=spec.get("payload", ""),
        required=tuple(spec.get("required", ())),
    )


def _link(shape: Shape, spec: Mapping[str, Any], shapes: Mapping[str, Shape]) -> None:
    for name, member in spec.get("members", {}).items():
        made = Member(
            name, shapes[member["shape"]], member.get("locationName", name), member.get("location", "")
        )
        shape.members[name] = made
    shape.documents = tuple(
        one for one in shape.members.values() if not one.location and one.name != shape.payload
    )
    shape.item = shapes[spec["member"]["shape"]] if "member" in spec else None
    shape.key = shapes[spec["key"]["shape"]] if "key" in spec else None
    shape.value = shapes[spec["value"]["shape"]] if "value" in spec else None


def _operation(name: str, spec: Mapping[str, Any], shapes: Mapping[str, Shape]) -> OperationModel:
    http = spec["http"]
    given = shapes[spec["input"]["shape"]] if "input" in spec else None
    carried = (
        one.wire.lower() for one in (given.members.values() if given else ()) if one.location == "header"
    )
    return OperationModel(
        name=name,
        method=http["method"],
        uri=http["requestUri"].partition("?")[0],
        status=http.get("responseCode", 200),
        input=given,
        output=shapes[spec["output"]["shape"]] if "output" in spec else None,
        errors=frozenset(error["shape"] for error in spec.get("errors", ())),
        # Programs that add an `Accept` of their own do not sign it, and it chooses no more than the answer's form.
        signed=frozenset(carried) - {"accept"},
    )


def _route(operation: OperationModel) -> Route:
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(operation.uri))
    return Route(operation.method, re.compile(pattern), operation.name)


def _message_member(shapes: Mapping[str, Shape]) -> str:
    for shape in shapes.values():
        if shape.exception:
            for name in shape.members:
                if name.lower() == "message":
                    return name
    return "message"
