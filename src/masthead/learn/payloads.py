"""Bodies of endpoints to rows and rows to bodies: JSON, JSON lines, CSV with a header. No message quotes a body."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from masthead.learn.models import Answer, ModelFailure

__all__ = ["CSV", "JSON", "LINES", "MOST_ROWS", "chosen_type", "read_rows", "write_rows"]

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
_WEIGHT = re.compile(r";\s*q=([01](?:\.\d{0,3})?)\s*(?:;|$)", re.IGNORECASE)
_ALIASES = {
    "application/x-jsonlines": LINES,
    "application/x-ndjson": LINES,
    "application/ndjson": LINES,
    "application/csv": CSV,
}
_KNOWN = (JSON, LINES, CSV)
MOST_ROWS = 100_000
_BOM = b"\xef\xbb\xbf"


def read_rows(body: bytes, content_type: str) -> list[dict[str, Any]]:
    """Return the rows of a body.

    JSON is `{"instances": [rows]}`, an array of rows or one row; JSON lines are a row each; CSV begins with the names.

    Raises:
        ModelFailure: 415 for another type, 400 for a body that is not what its type says, or has too many rows.
    """
    kind = _media_type(content_type) or JSON
    if kind not in _KNOWN:
        raise ModelFailure(415, f"content-type: expected one of {', '.join(_KNOWN)}")
    body = body.removeprefix(_BOM)
    rows = _csv_rows(body) if kind == CSV else _json_lines(body) if kind == LINES else _json_rows(body)
    if not rows:
        raise ModelFailure(400, "body: expected at least one row, got none")
    if len(rows) > MOST_ROWS:
        raise ModelFailure(400, f"body: expected at most {MOST_ROWS:,} rows, got {len(rows):,}")
    return rows


def _json_rows(body: bytes) -> list[dict[str, Any]]:
    found = _parsed(body, "body")
    if isinstance(found, dict) and "instances" in found:
        found = found["instances"]
        if not isinstance(found, list):
            raise ModelFailure(400, "instances: expected a list of rows")
    rows = found if isinstance(found, list) else [found]
    return [_row(row, f"instances[{place}]") for place, row in enumerate(rows)]


def _json_lines(body: bytes) -> list[dict[str, Any]]:
    lines = ((number, line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip())
    return [_row(_parsed(line, f"line {number}"), f"line {number}") for number, line in lines]


def _parsed(text: bytes, place: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ModelFailure(
            400, f"{place}: expected JSON: {error.msg} at character {error.pos}; a missing value is null"
        ) from None


def _row(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModelFailure(400, f"{place}: expected an object with the columns as its names")
    return value


def _csv_rows(body: bytes) -> list[dict[str, Any]]:
    try:
        reader = csv.reader(io.StringIO(body.decode(), newline=""))
        rows = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError:
        raise ModelFailure(400, "body: expected text in UTF-8") from None
    except csv.Error as error:
        raise ModelFailure(400, f"body: expected CSV: {error}") from None
    if not rows:
        return []
    names = [name.strip() for name in rows[0][1]]
    if len(set(names)) != len(names) or "" in names:
        raise ModelFailure(400, "line 1: expected the names of the columns, each once")
    for number, row in rows[1:]:
        if len(row) != len(names):
            raise ModelFailure(400, f"line {number}: expected {len(names)} cells, got {len(row)}")
    return [dict(zip(names, row, strict=True)) for _, row in rows[1:]]


def chosen_type(accept: str) -> str:
    """Return the media type to answer with: what `accept` wants most of those that are known; JSON where anything will do.

    Of types that are wanted alike it is the first.

    Raises:
        ModelFailure: 415, none of them is known.

    >>> chosen_type("*/*"), chosen_type("image/png, text/*"), chosen_type("text/csv;q=0.1, application/json;q=0.9")
    ('application/json', 'text/csv', 'application/json')
    """
    parts = sorted((part for part in accept.split(",") if _media_type(part)), key=_weight, reverse=True)
    for kind in [_media_type(part) for part in parts if _weight(part)] if parts else ["*/*"]:
        if kind in ("*/*", "application/*"):
            return JSON
        if kind == "text/*":
            return CSV
        if kind in _KNOWN:
            return kind
    raise ModelFailure(415, f"accept: expected one of {', '.join(_KNOWN)}")


def write_rows(rows: Iterable[Mapping[str, Any]], names: Sequence[str], accept: str) -> Answer:
    """Return rows as `{"predictions": [rows]}`, JSON lines, or CSV of the columns `names`, which may be `outer.inner`.

    Raises:
        ModelFailure: 415, the type is not known.
    """
    kind = chosen_type(accept)
    if kind == JSON:
        return Answer(orjson.dumps({"predictions": list(rows)}), kind)
    if kind == LINES:
        return Answer(b"".join(orjson.dumps(row) + b"\n" for row in rows), kind)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name.rpartition(".")[2] for name in names])
    for row in rows:
        writer.writerow([_cell(row, name) for name in names])
    return Answer(text.getvalue().encode(), f"{kind}; charset=utf-8")


def _cell(row: Mapping[str, Any], name: str) -> Any:
    outer, dot, inner = name.partition(".")
    value = row[outer][inner] if dot and isinstance(row.get(outer), Mapping) else row.get(name)
    return "" if value is None else value


def _weight(part: str) -> float:
    """Return how much a type is wanted, 0: not at all (RFC 9110, section 12.4.2)."""
    found = _WEIGHT.search(part)
    return float(found[1]) if found else 1.0


def _media_type(header: str) -> str:
    """Return a media type without its parameters, in lower case."""
    kind = header.partition(";")[0].strip().lower()
    return _ALIASES.get(kind, kind)
