"""The article's files of a graph: which they are, what they are called, and how a table becomes one of them.

    features    target id, numbers; one row per target
    tags        target id, 0 or 1; a target without a row is unlabelled
    test        target ids, no header
    relation_<name>_edgelist    target id, entity; the two cells of the header are the types of the nodes

Each is a file of CSV or Parquet, or a folder of such parts, which Spark writes.
"""

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ibis

__all__ = ["Format", "edge_list", "formats", "write_table"]

Format = Literal["csv", "parquet"]


def edge_list(relation: str) -> str:
    """Return the name of a relation's edge list; what a file's name cannot hold becomes `_`.

    >>> edge_list("card1"), edge_list("from/to")
    ('relation_card1_edgelist', 'relation_from_to_edgelist')
    """
    return f"relation_{re.sub(r'[^A-Za-z0-9_.-]', '_', relation)}_edgelist"


def formats(wanted: str) -> tuple[Format, ...]:
    """Return what `csv`, `parquet` or `both` asks for."""
    return ("csv", "parquet") if wanted == "both" else ("parquet",) if wanted == "parquet" else ("csv",)


def write_table(
    backend: "ibis.BaseBackend",
    table: "ibis.Table",
    folder: Path,
    name: str,
    kind: Format,
    *,
    header: bool = True,
) -> Path:
    """Write a table as one file, or on Spark as a folder of parts, instead of what stood there; return its path.

    On DuckDB over a connection of its own, so that several tables may be written at once.
    """
    path = folder / f"{name}.{kind}"
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if backend.name == "duckdb":
        options = "FORMAT parquet" if kind == "parquet" else f"FORMAT csv, HEADER {header}"
        target = str(path).replace("'", "''")
        with backend.con.cursor() as cursor:
            cursor.execute(f"COPY ({backend.compile(table)}) TO '{target}' ({options})")
    elif kind == "parquet":
        backend.to_parquet(table, str(path))
    else:
        from pyspark.sql import SparkSession

        # Through Ibis it would pass this process; the session writes its parts where they are.
        SparkSession.builder.getOrCreate().sql(backend.compile(table)).write.csv(
            str(path), header=header, escape='"'
        )
    return path
