"""Settings as files: written as TOML in the order given, and paths in them made independent of where one stands.

The standard library reads TOML and does not write it. Source: TOML v1.0.0, https://toml.io/en/v1.0.0.
"""

import json
import re
from collections.abc import Mapping
from glob import has_magic
from pathlib import Path
from typing import Any

__all__ = ["absolute_paths", "write_toml"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def write_toml(values: Mapping[str, Any]) -> str:
    """Return `values` as a TOML document; None is left out.

    >>> print(write_toml({"name": "air", "time": {"column": "T"}, "measures": [{"name": "CO"}]}), end="")
    name = "air"
    <BLANKLINE>
    [time]
    column = "T"
    <BLANKLINE>
    [[measures]]
    name = "CO"
    """
    lines: list[str] = []
    _write_table(values, "", lines)
    return "\n".join(lines).lstrip("\n") + "\n"


def _write_table(values: Mapping[str, Any], path: str, lines: list[str]) -> None:
    """Add plain values first: what follows a table's header belongs to that table."""
    tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    lists = {key: value for key, value in values.items() if _is_list_of_tables(value)}
    for key, value in values.items():
        if key not in tables and key not in lists and value is not None:
            lines.append(f"{_key(key)} = {_value(value)}")
    for key, value in tables.items():
        place = f"{path}{_key(key)}"
        lines += ["", f"[{place}]"]
        _write_table(value, f"{place}.", lines)
    for key, items in lists.items():
        place = f"{path}{_key(key)}"
        for item in items:
            lines += ["", f"[[{place}]]"]
            _write_table(item, f"{place}.", lines)


def _is_list_of_tables(value: object) -> bool:
    return (
        isinstance(value, (list, tuple)) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    # A JSON string is a TOML basic string, but for one character: TOML wants DEL escaped as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    return _string(str(value))


def absolute_paths(settings: Mapping[str, Any], beside: Path) -> dict[str, Any]:
    """Return a detector's settings with the local paths of source and history absolute: the server stands elsewhere.

    A relative path is one of the working folder; if nothing lies there, one of `beside`, where the settings' own file
    lies. Addresses (`s3://`) and what is no path stay as they are.

    >>> absolute_paths({"history": ["/data/a.csv", "s3://air/a.csv"]}, Path("/etc"))
    {'history': ['/data/a.csv', 's3://air/a.csv']}
    """
    changed = dict(settings)
    for part in ("source", "history"):
        inner = changed.get(part)
        if isinstance(inner, Mapping) and isinstance(inner.get("paths"), (list, tuple)):
            changed[part] = {**inner, "paths": [_absolute(path, beside) for path in inner["paths"]]}
        elif part == "history" and isinstance(inner, (list, tuple)):
            changed[part] = [_absolute(path, beside) for path in inner]
    return changed


def _absolute(path: Any, beside: Path) -> Any:
    if not isinstance(path, str) or not path or "://" in path:
        return path
    there = beside / path
    is_here, is_there = (_leads_somewhere(place) for place in (Path(path), there))
    return str((there if is_there and not is_here else Path(path)).absolute())


def _leads_somewhere(path: Path) -> bool:
    if has_magic(str(path)):
        return next(Path(path.anchor).glob(str(path.relative_to(path.anchor))), None) is not None
    return path.exists()
