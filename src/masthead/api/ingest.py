"""`/ingest`: the second door for readings: JSON lines by topic, and files of any known format.

An answer means that the readings are stored durably. What is no JSON is told with its line and not stored; the rest is.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, File, Form, Header, UploadFile

from masthead.api.factory import Product, product
from masthead.api.shapes import Json, raw_body
from masthead.app import Masthead
from masthead.base.errors import InvalidInput, LimitReached, Unavailable, shown
from masthead.base.topics import check_topic
from masthead.metrics.files import Source, load
from masthead.metrics.problems import Problems
from masthead.metrics.raw import Format, Raw, Wanted
from masthead.streams.readings import Reading, is_strict_json, json_value

router = APIRouter(tags=["ingest"])

_AT_ONCE = 20_000
_BOM = b"\xef\xbb\xbf"
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][+-]?\d+)?")  # a JSON number; `007` is a name
_LINES: Json = {
    "requestBody": {
        "required": True,
        "description": "One JSON object a line, or an array of objects.",
        "content": {
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"CO": 2.4, "TIMESTAMP": "2022-03-24 23:30"}\n',
            }
        },
    }
}


@router.post("/ingest/files")
def ingest_files(
    masthead: Annotated[Masthead, Depends(product)],
    topic: Annotated[str, Form(description="The topic under which each row is stored.")],
    files: Annotated[list[UploadFile], File(description="JSON lines, CSV or Parquet, gzip or not.")],
    format: Annotated[str, Form(description="JSON: delimiter, quote, charset, header, columns.")] = "{}",
) -> Json:
    """Store each row of some files as a reading; formats are told by content."""
    _publishable(topic)
    form, problems, stored = Format.from_json(_object(format)), Problems(), 0
    for upload in files:
        source = Source(upload.filename or "upload", upload.file.read())
        raw = load(source, form, Wanted(), problems)
        if raw is not None:
            stored += _store(masthead, topic, _rows(raw, form))
    return _told(stored, problems)


@router.post("/ingest/{topic:path}", openapi_extra=_LINES)
def ingest(
    masthead: Product,
    topic: str,
    content: Annotated[bytes, Depends(raw_body)],
    content_encoding: Annotated[str, Header(description="`gzip`, or nothing.")] = "",
) -> Json:
    """Store each JSON line of the body as a reading of `topic`."""
    _publishable(topic)
    content = _decoded(content, content_encoding, int(masthead.settings.max_body_mib * 2**20))
    problems = Problems()
    stored = _store(masthead, topic, _payloads(content.removeprefix(_BOM), problems))
    return _told(stored, problems)


def _decoded(content: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return a body as it was before its encoding; a whole one, or nothing is stored."""
    if encoding.lower() in ("", "identity"):
        return content
    if encoding.lower() not in ("gzip", "x-gzip"):
        raise InvalidInput(f"content-encoding: expected gzip or none, got {shown(encoding)}")
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        plain = gzip.decompress(content, most_bytes + 1)
    except zlib.error as error:
        raise InvalidInput(f"body: expected gzip as its content-encoding says: {error}") from error
    if len(plain) > most_bytes:
        raise LimitReached(f"body: expected at most {most_bytes} bytes unpacked (max_body_mib)")
    if not gzip.eof:
        raise InvalidInput("body: the gzip ends early; nothing was stored")
    return plain


def _publishable(topic: str) -> None:
    check_topic(topic)
    if topic.startswith(("$", "masthead/")):
        raise InvalidInput(f"topic: expected one that does not begin with $ or masthead/, got {shown(topic)}")


def _store(masthead: Masthead, topic: str, payloads: Iterable[bytes]) -> int:
    """Store readings in batches; return how many. A batch is stored whole or not at all."""
    stored, arrived = 0, masthead.clock.time()
    batch: list[Reading] = []

    def flush() -> None:
        nonlocal stored
        try:
            masthead.ingest(batch)
        except LimitReached as error:
            said = f" ({stored} readings before were stored)" if stored else ""
            raise Unavailable(error.message + said, field="ingest") from error
        stored += len(batch)
        batch.clear()

    for payload in payloads:
        batch.append(Reading(topic, payload, arrived))
        if len(batch) >= _AT_ONCE:
            flush()
    if batch:
        flush()
    return stored


def _told(stored: int, problems: Problems) -> Json:
    if not stored:
        first = problems.kept[0] if problems.kept else None
        detail = f"line {first.line}: {first.reason}" if first else "an empty body"
        raise InvalidInput(f"body: expected at least one JSON object, got {detail}")
    return {"stored": stored, "refused": len(problems), "problems": problems.to_json()["first"]}


def _payloads(content: bytes, problems: Problems) -> Iterator[bytes]:
    """Yield the JSON objects of a body: of its lines, or of one document over several lines."""
    whole = _document(content)
    if whole is not None:
        infinite = not is_strict_json(
            content
        )  # which orjson would write as null, as if nothing had been sent
        for place, one in enumerate(whole, start=1):
            if isinstance(one, dict):
                yield json.dumps(one).encode() if infinite else orjson.dumps(one)
            else:
                problems.add("body", place, "", one, "no JSON object")
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json_value(line)
        except orjson.JSONDecodeError as error:
            problems.add("body", number, "", line.decode(errors="replace"), f"no JSON: {error.msg}")
            continue
        if isinstance(found, dict):
            yield line.strip()
        else:
            problems.add("body", number, "", found, "no JSON object")


def _document(content: bytes) -> list[Any] | None:
    """Return the values of an array, or of one object over several lines; None for lines of JSON."""
    head = content.lstrip()[:1]
    first_line = content.lstrip().partition(b"\n")[0]
    if head == b"[" or (head == b"{" and not _is_json(first_line)):
        try:
            found = json_value(content)
        except orjson.JSONDecodeError:
            return None
        return found if isinstance(found, list) else [found]
    return None


def _is_json(text: bytes) -> bool:
    try:
        json_value(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _rows(raw: Raw, form: Format) -> Iterator[bytes]:
    """Yield each row of a file as a JSON object; cells of CSV that are numbers become numbers."""
    names = list(raw.columns)
    columns = [column if isinstance(column, list) else column.to_pylist() for column in raw.columns.values()]
    missing = frozenset(form.missing_values)
    as_text = raw.kind == "csv"
    for values in zip(*columns, strict=True):
        cells = (_cell(value, missing) for value in values) if as_text else values
        row = {name: cell for name, cell in zip(names, cells, strict=True) if cell is not None}
        if row:
            yield orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS)


def _cell(value: Any, missing: frozenset[str]) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text in missing:
        return None
    if not _NUMBER.fullmatch(text):
        return value
    return int(text) if text.lstrip("-").isdigit() else float(text)


def _object(text: str) -> Json:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"format: expected a JSON object, got {shown(text)}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"format: expected a JSON object, got {shown(text)}")
    return found
