"""Rows that were read, in one file: what a long job does not read again after a crash."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from masthead.metrics.archive import read_archive, write_archive
from masthead.metrics.columns import Labels
from masthead.metrics.readers import Rows

__all__ = ["load_rows", "save_rows"]

_PLAIN = ("files", "time_format", "names", "repeated", "moved", "filtered")
_ARRAYS = ("times", "file", "lines")


def save_rows(path: Path, rows: Rows) -> None:
    """Write rows to exactly `path`, whole or not at all; arrays as they are, no pickle."""
    assert {*_PLAIN, *_ARRAYS, "numbers", "labels", "key"} == {one.name for one in fields(rows)}
    arrays: dict[str, NDArray[Any]] = {f"row {name}": getattr(rows, name) for name in _ARRAYS}
    arrays |= {f"number {place}": values for place, values in enumerate(rows.numbers.values())}
    columns = list(rows.labels.values()) + ([rows.key] if rows.key is not None else [])
    arrays |= {f"codes {place}": column.codes for place, column in enumerate(columns)}
    header = {
        "rows": {name: getattr(rows, name) for name in _PLAIN},
        "numbers": list(rows.numbers),
        "labels": list(rows.labels),
        "values": [column.values for column in columns],
        "key": rows.key is not None,
    }
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_archive(path, header, arrays)


def load_rows(path: Path) -> Rows:
    """Return the rows that `save_rows` wrote.

    Raises:
        NotFound: There is no such file. InvalidInput: It is damaged.
    """
    header, arrays = read_archive(path)
    columns = [
        Labels(arrays[f"codes {place}"], tuple(values)) for place, values in enumerate(header["values"])
    ]
    key = columns.pop() if header["key"] else None
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in header["rows"].items()
    }
    return Rows(
        **plain,
        times=arrays["row times"],
        file=arrays["row file"],
        lines=arrays["row lines"],
        numbers={name: arrays[f"number {place}"] for place, name in enumerate(header["numbers"])},
        labels=dict(zip(header["labels"], columns, strict=True)),
        key=key,
    )
