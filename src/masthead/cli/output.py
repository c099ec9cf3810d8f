"""How commands answer: JSON for programs, tables and plain lines for people."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

_PIPE_WIDTH = 240  # Rich would cut cells at 80 columns where no terminal tells its width


def print_json(value: Any) -> None:
    """Print one JSON document."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, default=_plain, option=options).decode() + "\n")


def print_json_line(value: Any) -> None:
    """Print one JSON object on one line, at once."""
    import orjson

    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[tuple[str, str]], rows: Iterable[Mapping[str, Any]], *, empty: str) -> None:
    """Print rows as a table.

    Args:
        columns: (title, field of a row).
        rows: JSON forms of nouns.
        empty: What to say when there are none.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    found = list(rows)
    if not found:
        print(empty)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title, _ in columns:
        table.add_column(title, overflow="fold")
    for row in found:
        table.add_row(*(cell(row.get(field)) for _, field in columns))
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, markup=False, highlight=False, emoji=False).print(table)


def print_fields(found: Mapping[str, Any]) -> None:
    """Print one noun as lines of `field: value`."""
    width = max((len(name) for name in found), default=0)
    for name, value in found.items():
        lines = cell(value, whole=True).splitlines() or [""]
        print(f"{name + ':':<{width + 1}} {lines[0]}")
        for line in lines[1:]:
            print(" " * (width + 2) + line)


def cell(value: Any, *, whole: bool = False) -> str:
    """Return a value as people read it: short times, lists by commas, small objects as words, others as JSON.

    Args:
        whole: It stands alone, so an object is JSON over several lines.

    >>> cell(None), cell(True), cell(["a", "b"]), cell(0.5), cell("2026-01-02T03:04:05.678+00:00")
    ('', 'yes', 'a, b', '0.5', '2026-01-02 03:04:05Z')
    >>> cell({"kind": "webhook", "tries": 2})
    'kind webhook, tries 2'
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return cell(value.isoformat())
    if isinstance(value, list | tuple) and _is_flat(value):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping) and not whole and all(_is_flat(one) for one in value.values()):
        return ", ".join(f"{name} {cell(one)}" for name, one in value.items())
    if isinstance(value, dict | list | tuple):
        return _as_text(value, whole=whole)
    return _short_time(str(value))


def _is_flat(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(isinstance(one, str | int | float) for one in value)
    return not isinstance(value, Mapping)


def _as_text(value: Any, *, whole: bool) -> str:
    import orjson

    options = orjson.OPT_NON_STR_KEYS | (orjson.OPT_INDENT_2 if whole and len(str(value)) > 80 else 0)
    return orjson.dumps(value, default=_plain, option=options).decode()


def _short_time(text: str) -> str:
    if len(text) >= 20 and text[4:5] == text[7:8] == "-" and text[10:11] == "T":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return text
        if moment.tzinfo is not None and not moment.utcoffset():
            return moment.strftime("%Y-%m-%d %H:%M:%SZ")
    return text


def _plain(value: Any) -> Any:
    """Return the JSON form of what orjson does not know."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)
