"""The demonstration's own data folder: marked as such when made, and removable by that mark alone."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import orjson

from masthead.base.errors import Conflict, InvalidInput
from masthead.base.folder import DataFolder, write_atomic

MARKER = "masthead-demo.json"


def prepare(path: Path) -> list[str]:
    """Make the folder and mark it; what an earlier demonstration left in it is removed. Return what was removed.

    Raises:
        Conflict: It holds something else, or a server runs over it.
    """
    removed = []
    if path.exists() and any(path.iterdir()):
        if not (path / MARKER).is_file():
            raise Conflict(
                f"data: {path} exists and no demonstration made it; name another folder with --data"
            )
        removed = clean(path)
    DataFolder(path).create()
    _write(path, [])
    return removed


def note(path: Path) -> None:
    """Write down what the demonstration has made in the folder so far.

    Only what a running product makes is listed: a file that somebody put there is not the demonstration's.
    """
    made = {entry.name for entry in path.iterdir() if _is_ours(entry.name)}
    _write(path, sorted(made | set(_read(path))))


def clean(path: Path) -> list[str]:
    """Remove what a demonstration made in the folder, and the folder if nothing else is in it; return the names.

    Raises:
        InvalidInput: There is no such folder, or no demonstration made it.
        Conflict: A server runs over it.
    """
    if not path.is_dir():
        raise InvalidInput(f"data: expected the folder of a demonstration, got {path}, which does not exist")
    made = _read(path)
    served = DataFolder(path).served_by()
    if served is not None:
        raise Conflict(f"data: {path} is in use by the server with process id {served}; stop it first")
    removed = []
    for name in [*made, MARKER]:
        entry = path / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.exists() or entry.is_symlink():
            entry.unlink()
        else:
            continue
        removed.append(name)
    if not any(path.iterdir()):
        path.rmdir()
    return removed


_OURS = (
    "audit",
    "credentials",
    "ca.pem",
    "objects",
    "nats",
    "metrics",
    "streams",
    "things",
    "logs",
    "history",
    "https",
    "backups",
    "fraud",
    "models",
)
_OURS_BEGIN = ("masthead.db", "flows.db", "serve.", "master.key", "access", "readings-log.")


def _is_ours(name: str) -> bool:
    return name in _OURS or name.startswith(_OURS_BEGIN)


def _read(path: Path) -> list[str]:
    try:
        found = orjson.loads((path / MARKER).read_bytes())
        names = [str(name) for name in found["made"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"data: expected the folder of a demonstration, which holds {MARKER}, got {path}"
        ) from error
    if any("/" in name or name in ("", ".", "..") for name in names):
        raise InvalidInput(f"data: expected names of files in {path / MARKER}, got a path")
    return names


def _write(path: Path, names: list[str]) -> None:
    told = {"made_by": "masthead demo", "at": datetime.now(UTC).isoformat(), "made": names}
    write_atomic(path / MARKER, orjson.dumps(told, option=orjson.OPT_INDENT_2))
