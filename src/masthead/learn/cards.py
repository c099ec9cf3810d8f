"""A model as a folder: files beside a card that knows the checksum of each, and its own.

No pickle: whoever can write a model must not be able to run code where it is loaded.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.base.ids import new_id

__all__ = ["read_folder", "require_place", "write_folder"]

_CARD = "card.json"


def require_place(path: Path) -> None:
    """Return if a model's folder may be made here, and make the folders above it: asked before it is learned.

    Raises:
        InvalidInput: Something that is no model stands there, or the folder cannot be made.
    """
    if path.exists() and not (path / _CARD).is_file() and (not path.is_dir() or any(path.iterdir())):
        raise InvalidInput(
            f"model: expected a new or empty folder or one with a model, got {shown(str(path))}"
        )
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"model: expected a folder that can be made, got {shown(str(path))}: {error.strerror}"
        ) from error


def write_folder(path: Path, files: Mapping[str, bytes], card: Mapping[str, Any]) -> None:
    """Write a model's folder, all or nothing: what stood there before is replaced only by a whole one.

    Raises:
        InvalidInput: As `require_place`.
    """
    require_place(path)
    told = {**card, "files": {name: _digest(data) for name, data in files.items()}}
    told["checksum"] = _digest(_bytes(told))
    beside = path.parent / f".{path.name}.{new_id('model')}"
    beside.mkdir()
    try:
        for name, data in {**files, _CARD: _bytes(told, orjson.OPT_INDENT_2)}.items():
            with (beside / name).open("wb") as file:
                file.write(data)
                os.fsync(file.fileno())
        if path.exists():
            shutil.rmtree(path)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_folder(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return the card of a model's folder and its files.

    Raises:
        NotFound: No such folder, or it holds no card.
        InvalidInput: A file is missing, or was changed after it was written.
    """
    try:
        text = (path / _CARD).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"model: expected a folder with {_CARD}, got {shown(str(path))}") from error
    try:
        card = orjson.loads(text)
        files: dict[str, str] = dict(card["files"])
        checksum = card.pop("checksum")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"model: expected {_CARD} as it was written, got another ({shown(str(path))})"
        ) from error
    if _digest(_bytes(card)) != checksum:
        raise InvalidInput(
            f"model: expected {_CARD} with checksum {checksum}, it was changed ({shown(str(path))})"
        )
    return card, {name: _read(path / name, digest) for name, digest in files.items()}


def _read(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"model: expected the file {path.name}, it is missing ({shown(str(path))})"
        ) from error
    if _digest(data) != digest:
        raise InvalidInput(
            f"model: expected {path.name} with SHA-256 {digest[:12]}..., got {_digest(data)[:12]}... ({shown(str(path))})"
        )
    return data


def _bytes(card: Mapping[str, Any], option: int = 0) -> bytes:
    return orjson.dumps(card, option=orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | option)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
