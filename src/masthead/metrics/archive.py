"""A scorer in one file: arrays and a header, no pickle, whole or absent."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, NotFound

__all__ = ["read_archive", "write_archive"]

_FORMAT = 1


def write_archive(path: Path, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    """Write header and arrays to exactly `path`: to a file beside it first, synced, then renamed.

    A reader, and a restart after a power failure, meet the old file or the new one.
    """
    text = json.dumps({"format": _FORMAT, **header}).encode()
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            np.savez(file, allow_pickle=False, header=np.frombuffer(text, np.uint8), **arrays)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_archive(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the arrays of a file that `write_archive` wrote; a checksum per array is checked.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no such archive, is damaged, or has a format this version does not know.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
    except FileNotFoundError as error:
        raise NotFound(f"path: expected a saved scorer, got no file at {path}") from error
    except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"path: expected a saved scorer, got {path}: {error}") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise InvalidInput(f"path: expected a saved scorer of format {_FORMAT}, got {path}")
    return header, arrays
