"""Tables too large for one process's arrays: Ibis expressions that run on DuckDB here and on Spark elsewhere.

One expression, two engines. Nothing leaves the machine: Spark listens on loopback only and has no web page.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from masthead.base.errors import InvalidInput, shown

if TYPE_CHECKING:
    import ibis

Engine = Literal["duckdb", "spark"]


def connect(engine: Engine = "duckdb", *, threads: int = 2, memory: str = "1GB") -> "ibis.BaseBackend":
    """Return a backend whose times are UTC.

    Args:
        engine: duckdb, in this process; spark, a local session with `threads` workers, which needs the extra
            `spark` and Java 17.
        threads: Cores that it may use. memory: What it may hold; beyond, DuckDB spills to disk.

    Raises:
        InvalidInput: An unknown engine, or Spark without its parts.
    """
    if engine == "duckdb":
        import ibis

        backend = ibis.duckdb.connect(threads=threads, memory_limit=memory)
        backend.raw_sql("SET TimeZone = 'UTC'")
        return backend
    if engine == "spark":
        return _spark(threads, memory)
    raise InvalidInput(f"engine: expected duckdb or spark, got {shown(engine)}")


def _spark(threads: int, memory: str) -> "ibis.BaseBackend":
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise InvalidInput(
            "engine: expected the extra 'spark' to be installed (pip install masthead[spark])"
        ) from error
    import ibis

    # Workers are children of this process: they must find the same Python and the same loopback.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": memory.lower().removesuffix("b"),
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(max(2, threads)),
        "spark.sql.ansi.enabled": "false",
        "spark.log.level": "ERROR",
    }
    builder = SparkSession.builder.master(f"local[{threads}]").appName("masthead")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return ibis.pyspark.connect(builder.getOrCreate())


def ask(backend: "ibis.BaseBackend", table: "ibis.Table") -> list[dict[str, Any]]:
    """Return a small answer, row by row. On DuckDB without pandas, which Ibis takes half a second to load for it."""
    if backend.name != "duckdb":
        found: list[dict[str, Any]] = table.to_pyarrow().to_pylist()
        return found
    cursor = backend.con.execute(backend.compile(table))
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def read(backend: "ibis.BaseBackend", paths: Sequence[str], name: str = "rows") -> "ibis.Table":
    """Return the table of Parquet, CSV or JSON-lines files, told by their endings.

    Raises:
        InvalidInput: Another ending, or endings that differ.
    """
    endings = {path.removesuffix(".gz").rpartition(".")[2].lower() for path in paths}
    readers: Mapping[str, Any] = {
        "parquet": backend.read_parquet,
        "csv": backend.read_csv,
        "json": backend.read_json,
        "jsonl": backend.read_json,
    }
    if len(endings) != 1 or not endings <= set(readers):
        raise InvalidInput(f"files: expected all .parquet, .csv or .json, got {shown(list(paths))}")
    options = (
        {"header": True, "inferSchema": True} if backend.name == "pyspark" and endings == {"csv"} else {}
    )
    return readers[endings.pop()](list(paths) if len(paths) > 1 else paths[0], table_name=name, **options)


def cube(
    rows: "ibis.Table",
    *,
    seconds: "ibis.Value",
    interval_s: int,
    measures: Mapping[str, tuple[str, str]],
    dimensions: Sequence[str],
) -> "ibis.Table":
    """Return one row per interval and tuple of dimension values: `start_s`, the dimensions, the measures, `records`.

    What `masthead.metrics.cubes` gives for files that fit into memory, up to the order of summation. Labels
    are trimmed, an empty one is `(none)`; a measure's missing values are left out.

    Args:
        seconds: Event time of a row as UTC epoch seconds, an integer expression.
        interval_s: A divisor or multiple of an hour up to 24 h; starts are multiples of it in UTC.
        measures: Name -> (column, aggregation: avg sum min max count p50).

    Raises:
        InvalidInput: An unknown aggregation or an interval that is no length.

    Source: the cube of Gray et al., "Data Cube", 1997; roll-ups follow from sums and counts of the leaves.
    """
    import ibis

    if interval_s < 1:
        raise InvalidInput(f"interval_s: expected 1 or more, got {interval_s}")
    whole = seconds.cast("int64")
    labels = {name: _label(rows[name]) for name in dimensions}
    prepared = rows.select(
        start_s=whole - whole % ibis.literal(interval_s, "int64"),
        **labels,
        **{f"m{place}": rows[column].cast("float64") for place, (column, _) in enumerate(measures.values())},
    ).filter(ibis._.start_s.notnull())
    found = {
        name: _aggregated(prepared[f"m{place}"], aggregation)
        for place, (name, (_, aggregation)) in enumerate(measures.items())
    }
    grouped = prepared.group_by(["start_s", *dimensions])
    return grouped.aggregate(**found, records=prepared.count()).order_by(["start_s", *dimensions])


def _label(column: "ibis.Value") -> "ibis.Value":
    import ibis

    trimmed = column.cast("string").strip()
    return ibis.coalesce(trimmed.nullif(""), ibis.literal("(none)"))


def _aggregated(column: "ibis.Value", aggregation: str) -> "ibis.Value":
    known = column.notnull() & ~column.isnan()
    found = {
        "avg": lambda: column.mean(where=known),
        "sum": lambda: column.sum(where=known),
        "min": lambda: column.min(where=known),
        "max": lambda: column.max(where=known),
        "count": lambda: column.count(where=known),
        "p50": lambda: column.quantile(0.5, where=known),
    }.get(aggregation)
    if found is None:
        raise InvalidInput(
            f"aggregation: expected avg, sum, min, max, count or p50, got {shown(aggregation)}"
        )
    return found()
