"""The two protocols that the four services speak, rest-json and json 1.1: from a request to an input, from an output
to an answer. What differs between services is in their models, not here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from masthead.aws.errors import INVALID, UNREADABLE, ErrorAnswer, Rejected
from masthead.aws.models import Model, OperationModel
from masthead.aws.shapes import Member, Problems, Shape

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        path: Undecoded, without the query.
        query: Undecoded.
        headers: By lower-case name; several lines of one name are joined by commas.
        address: Of who called, behind trusted proxies.
        secure: Whether it came over TLS.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    address: str = "127.0.0.1"
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer; `close`: what the client still sends is not read."""

    status: int
    headers: Headers
    body: bytes
    close: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """An input, and how many members of the document nobody knows (newer clients; they are passed over)."""

    input: dict[str, Any]
    unknown: int = 0


def read_input(operation: OperationModel, labels: Mapping[str, bytes], request: Request) -> Read:
    """Return the validated input of a request.

    Raises:
        Rejected: The document cannot be read, or members are not what the model asks for; all problems at once.
    """
    shape = operation.input
    if shape is None:
        return Read({})
    problems = Problems()
    document = {} if shape.payload else _document(request.body)
    found: dict[str, Any] = {}
    query = (
        _query(request.query) if any(one.location == "querystring" for one in shape.members.values()) else {}
    )
    for member in shape.members.values():
        if member.name == shape.payload:
            value = member.shape.read(request.body, member.name, problems)
        elif member.location:
            value = _located(member, labels, query, request.headers, problems)
        elif (given := document.get(member.wire)) is not None:
            value = member.shape.read(given, member.name, problems)
        else:
            continue
        if value is not None:
            found[member.name] = value
    told = {problem.path.partition(".")[0].partition("[")[0] for problem in problems}
    for name in shape.required:
        if name not in found and name not in told:
            problems.tell(name, "is required")
    if problems:
        raise Rejected(INVALID, problems.told(), tuple(problems))
    known = sum(member.wire in document for member in shape.documents)
    return Read(found, len(document) - known)


def _document(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body; an empty body is an empty one.

    orjson refuses NaN, Infinity, invalid UTF-8, lone surrogates and nesting bombs; whole numbers beyond 64 bits become
    doubles, which no integer shape takes.
    """
    if not body:
        return {}
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Rejected(UNREADABLE, f"body: expected JSON: {error.msg}") from error
    if not isinstance(found, dict):
        raise Rejected(UNREADABLE, "body: expected a JSON object")
    return found


def _query(text: str) -> dict[str, list[str]]:
    """Return the values of each key, decoded once."""
    found: dict[str, list[str]] = {}
    for pair in text.split("&"):
        if pair:
            key, _, value = pair.partition("=")
            found.setdefault(_decoded(key), []).append(_decoded(value))
    return found


def _decoded(text: str) -> str:
    return _text(unquote_to_bytes(text.replace("+", " ")), "query")


def _text(raw: bytes, where: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Rejected(UNREADABLE, f"{where}: expected UTF-8") from error


def _located(
    member: Member,
    labels: Mapping[str, bytes],
    query: Mapping[str, list[str]],
    headers: Mapping[str, str],
    problems: Problems,
) -> Any:
    """Return the value of a member of path, query or headers; None when it is absent or wrong."""
    if member.location == "uri":
        return member.shape.read_text(_text(labels[member.wire], member.name), member.name, problems)
    if member.location == "header":
        text = headers.get(member.wire.lower())
        return None if text is None else member.shape.read_text(text, member.name, problems)
    values = query.get(member.wire)
    if values is None:
        return None
    if member.shape.kind == "list":
        return member.shape.read(values, member.name, problems)
    if len(values) > 1:
        return problems.tell(member.name, f"expected once, got {len(values)} times")
    return member.shape.read_text(values[0], member.name, problems)


# ---------------------------------------------------------------------- answers


def write_output(
    model: Model, operation: OperationModel, output: Mapping[str, Any], request_id: str
) -> Response:
    """Return the answer of a call.

    Raises:
        ValueError: The output cannot be written: the translator's mistake.
    """
    shape = operation.output
    headers: list[tuple[str, str]] = [("x-amzn-RequestId", request_id)]
    if operation.status == 204:
        return Response(204, tuple(headers), b"")
    body, content_type = b"{}", model.content_type
    if shape is not None:
        for member in shape.members.values():
            value = output.get(member.name)
            if member.location == "header" and value is not None:
                if member.wire.lower() == "content-type":
                    content_type = _header(member, value)
                else:
                    headers.append((member.wire, _header(member, value)))
        body = bytes(output.get(shape.payload) or b"") if shape.payload else _dumped(shape, output)
    headers += [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    return Response(operation.status, tuple(headers), body)


def write_error(model: Model | None, error: ErrorAnswer, request_id: str, *, close: bool = False) -> Response:
    """Return the answer of a refused or failed request."""
    shape = model.shapes.get(error.code) if model else None
    document = {
        (shape.members[name].wire if shape and name in shape.members else name): value
        for name, value in error.members.items()
    }
    content_type = "application/json"
    if model is not None:
        content_type = model.content_type
        if model.protocol != "rest-json":
            document = {"__type": error.code, **document}
    body = orjson.dumps(document, default=str)
    headers = [
        ("x-amzn-RequestId", request_id),
        ("x-amzn-errortype", error.code),
        ("Content-Type", content_type),
        ("Content-Length", str(len(body))),
    ]
    if error.retry_after_s > 0:
        headers.append(("Retry-After", str(max(1, round(error.retry_after_s + 0.499)))))
    return Response(error.status, tuple(headers), body, close)


def output_problems(operation: OperationModel, output: Mapping[str, Any]) -> Sequence[str]:
    """Return how an output differs from its shape; tests ask this of every answer."""
    shape = operation.output
    if shape is None:
        return [f"{name}: the model has no output" for name in output]
    unknown = [f"{name}: the model does not know it" for name in output if name not in shape.members]
    problems = Problems()
    for member in shape.members.values():
        value = output.get(member.name)
        if value is None:
            if member.name in shape.required:
                problems.tell(member.name, "is required")
        elif member.name == shape.payload or member.location == "header":
            member.shape.read(value, member.name, problems)
        else:
            member.shape.read(orjson.loads(orjson.dumps(member.shape.write(value))), member.name, problems)
    return unknown + [f"{one.path}: {one.expected}" for one in problems]


def _dumped(shape: Shape, output: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(shape.write(output))
    except TypeError as error:
        raise ValueError(f"{shape.name}: {error}") from error


def _header(member: Member, value: object) -> str:
    text = str(value)
    if not (text.isascii() and text.isprintable()):
        raise ValueError(f"{member.name}: expected printable ASCII for a header")
    return text
