"""What the pipeline finds in files before it uses them: which they are, to the byte, and what their columns hold."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from masthead.base.errors import Conflict, InvalidInput, NotFound, shown
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import find_files, match, read_names
from masthead.learn.packages import file_sha256
from masthead.store.tables import connect

if TYPE_CHECKING:
    import ibis

__all__ = ["catalogue", "manifest", "require_same"]

Told = tuple[dict[str, Any] | None, float, str]
_SHOWN_COLUMNS = 500


def manifest(schema: Schema, data: list[Path], labels: Path | None) -> Iterator[Told]:
    """Yield (None, share, what goes on) and at the end every file with its SHA-256, rows and bytes.

    Raises:
        InvalidInput: A path leads nowhere, or to no table. NotFound: There is no file of labels.
    """
    if labels is not None and not labels.exists():
        raise NotFound(f"labels: there is no file {labels}")
    paths = [path for path, _ in find_files(data if labels is None else [*data, labels])]
    total = sum(path.stat().st_size for path in paths) or 1
    files: list[dict[str, Any]] = []
    done = 0
    for path in paths:
        yield None, done / total, path.name
        before = path.stat()
        digest = file_sha256(path)
        rows = _rows(path)
        done += before.st_size
        files.append(
            {
                "path": str(path),
                "bytes": before.st_size,
                "modified_ns": before.st_mtime_ns,
                "rows": rows,
                "sha256": digest,
            }
        )
    found = {
        "schema": schema.name,
        "schema_digest": schema.digest(),
        "files": files,
        "bytes": sum(one["bytes"] for one in files),
        "rows": sum(one["rows"] for one in files),
    }
    yield found, 1.0, f"{len(files)} files"


def require_same(found: dict[str, Any]) -> None:
    """Return if the files of a manifest are those that it tells of: a run must not mix two states of the data.

    Raises:
        Conflict: One was changed, or is gone.
    """
    for one in found["files"]:
        path = Path(one["path"])
        now = path.stat() if path.exists() else None
        if now is None or (now.st_size, now.st_mtime_ns) != (one["bytes"], one["modified_ns"]):
            raise Conflict(
                f"data: {path} was {'changed' if now else 'removed'} after the run took it in; start another run"
            )


def catalogue(schema: Schema, files: list[dict[str, Any]]) -> Iterator[Told]:
    """Yield (None, share, what goes on) and at the end the columns: type, share of nulls, values, use in the schema."""
    backend, columns = connect("duckdb"), []
    for done, file in enumerate(files):
        path = Path(file["path"])
        yield None, done / max(len(files), 1), path.name
        columns += _columns(schema, _read(backend, path), path.name)
    there = {one["column"] for one in columns}
    wanted = schema.columns()
    absent = [name for name in wanted if name not in match(sorted(there), wanted)]
    found = {
        "columns": columns[:_SHOWN_COLUMNS],
        "matched": sum(one["used"] for one in columns),
        "absent": absent,
    }
    yield found, 1.0, f"{len(columns)} columns"


def _columns(schema: Schema, table: "ibis.Table", file: str) -> list[dict[str, Any]]:
    names = list(table.columns)
    used = set(match(names, schema.columns()).values())
    counted = {"rows": table.count()}
    for place, name in enumerate(names):
        counted[f"n{place}"] = table[name].count()
        # To be exact costs four times as much, 16 s for 100 columns of half a million rows, and the memory of all values.
        counted[f"d{place}"] = table[name].approx_nunique()
    row = table.aggregate(**counted).to_pyarrow().to_pylist()[0]
    rows = max(row["rows"], 1)
    return [
        {
            "file": file,
            "column": name,
            "null_share": round(1 - row[f"n{place}"] / rows, 6),
            "distinct_about": int(row[f"d{place}"]),
            "used": name in used,
        }
        for place, name in enumerate(names)
    ]


def _rows(path: Path) -> int:
    """Return how many rows a file has, read in pieces."""
    if path.name.lower().endswith(".parquet"):
        return int(pq.read_metadata(path).num_rows)
    names = read_names(path)
    try:
        with pa.csv.open_csv(
            path,
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=lambda row: "skip"
            ),
            convert_options=pa.csv.ConvertOptions(
                include_columns=[names[0]], column_types={names[0]: pa.string()}
            ),
        ) as reader:
            return sum(batch.num_rows for batch in reader)
    except pa.ArrowException as error:
        raise InvalidInput(f"data: expected a table in {shown(str(path))}: {error}") from error


def _read(backend: "ibis.BaseBackend", path: Path) -> "ibis.Table":
    """Return a file as a table of texts, or of what a Parquet file says."""
    if path.name.lower().endswith(".parquet"):
        return backend.read_parquet(str(path))
    return backend.read_csv(str(path), header=True, all_varchar=True, ignore_errors=True)
