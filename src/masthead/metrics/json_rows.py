"""JSON lines to columns: also several objects on a line, arrays, NaN, and whole documents."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.errors import LimitReached
from masthead.metrics.problems import Problems
from masthead.metrics.raw import MAX_COLUMNS, Raw, Wanted

_CHUNK = 20_000  # lines decoded at once


def read_json(data: bytes, name: str, wanted: Wanted, problems: Problems) -> Raw | None:
    """Return the columns of JSON text in UTF-8; None when it holds no object."""
    seen: dict[str, list[Any]] = {column: [] for column in sorted(wanted.columns or ())}
    names: dict[str, None] = {}
    lines: list[NDArray[np.int64]] = []
    rows = 0
    for records, numbers in _json_records(data, name, problems):
        for record in records[:1000] if wanted.columns is not None else records:
            names.update(dict.fromkeys(record))
        if len(names) > MAX_COLUMNS:
            raise LimitReached(
                f"columns: expected at most {MAX_COLUMNS:,} different keys, got more in {name}"
            )
        if wanted.columns is None:
            for column in names:
                seen.setdefault(column, [None] * rows)
        for column, values in seen.items():
            values.extend([record.get(column) for record in records])
        lines.append(numbers)
        rows += len(records)
    # Names come from the head of each chunk; a key that turned up only later shows by its values.
    for column in [column for column in seen if column not in names]:
        if all(value is None for value in seen[column]):
            del seen[column]
        else:
            names[column] = None
    return Raw("json", dict(seen), tuple(names), np.concatenate(lines)) if rows else None


def _json_records(
    data: bytes, name: str, problems: Problems
) -> Iterator[tuple[list[dict[str, Any]], NDArray[np.int64]]]:
    """Yield (objects, their lines) in chunks; a whole document over many lines counts as its first line."""
    lines = data.split(b"\n")
    first = next(line.strip() for line in lines if line.strip())
    if first in (b"{", b"[") or (first[:1] == b"[" and first[-1:] in b"[{,"):
        whole = _json_values(data.decode(errors="replace"), lambda rest: None)
        if whole:
            yield _objects(whole, [1] * len(whole), name, problems)
            return
    for start in range(0, len(lines), _CHUNK):
        chunk = lines[start : start + _CHUNK]
        filled = [place for place, line in enumerate(chunk) if line.strip()]
        try:
            values = orjson.loads(b"[" + b",".join([chunk[place] for place in filled]) + b"]")
        except orjson.JSONDecodeError:
            values = []
        if len(values) == len(filled) and not any(type(value) is list for value in values):
            yield _objects(values, [start + place + 1 for place in filled], name, problems)
        else:
            yield _json_lines(chunk, filled, start + 1, name, problems)


def _json_lines(
    chunk: list[bytes], filled: list[int], first: int, name: str, problems: Problems
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    values: list[Any] = []
    numbers: list[int] = []
    for place in filled:
        try:
            found = [orjson.loads(chunk[place])]
        except orjson.JSONDecodeError:
            line = first + place

            def refuse(rest: str, line: int = line) -> None:
                problems.add(name, line, "", rest, "not JSON")

            found = _json_values(chunk[place].decode(errors="replace"), refuse)
        for value in found:
            inner = value if isinstance(value, list) else [value]
            values.extend(inner)
            numbers.extend([first + place] * len(inner))
    return _objects(values, numbers, name, problems)


def _json_values(text: str, refuse: Callable[[str], None]) -> list[Any]:
    """Return the JSON values that stand one after another in `text`; `refuse` hears what is left over.

    Python's decoder is used because it knows NaN and Infinity, which some writers put into JSON.
    """
    decoder, place, found = json.JSONDecoder(), 0, []
    while place < len(text):
        if text[place] in " \t\r\n,\0":
            place += 1
            continue
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            refuse(text[place:].rstrip())
            break
        found.extend(value if isinstance(value, list) else [value])
    return found


def _objects(
    values: list[Any], lines: list[int], name: str, problems: Problems
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    if all(type(value) is dict for value in values):
        return values, np.array(lines, np.int64)
    kept = []
    for value, line in zip(values, lines, strict=True):
        if isinstance(value, dict):
            kept.append((value, line))
        else:
            problems.add(name, line, "", value, "not a JSON object")
    return [value for value, _ in kept], np.array([line for _, line in kept], np.int64)
