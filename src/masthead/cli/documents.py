"""Files that describe a noun: JSON or TOML, told by content where the name does not say."""

import sys
from pathlib import Path
from typing import Any

from masthead.base.errors import InvalidInput, shown

_MOST_BYTES = 16 << 20


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes; `-` is standard input.

    Raises:
        InvalidInput: It cannot be read, or is larger than 16 MiB.
    """
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"file: cannot read {path}: {error.strerror or error}") from error
    if len(data) > _MOST_BYTES:
        raise InvalidInput(f"file: expected at most {_MOST_BYTES} bytes in {path}")
    return data


def read_document(path: Path) -> dict[str, Any]:
    """Return the object that a JSON or TOML file holds; a byte order mark is skipped.

    Raises:
        InvalidInput: It is neither, or holds no object; the place is named.
    """
    text = _text(read_bytes(path), path)
    as_toml = path.suffix.lower() == ".toml" or (
        path.suffix.lower() != ".json" and not text.lstrip().startswith(("{", "["))
    )
    found = _toml(text, path) if as_toml else _json(text, path)
    if not isinstance(found, dict):
        raise InvalidInput(f"file: expected an object in {path}, got {shown(found)}")
    return found


def _text(data: bytes, path: Path) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"file: expected UTF-8 in {path}, got other bytes at {error.start}") from error


def _toml(text: str, path: Path) -> Any:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"file: expected TOML in {path}: {error}") from error


def _json(text: str, path: Path) -> Any:
    import json

    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"file: expected JSON in {path}: {error}") from error


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
