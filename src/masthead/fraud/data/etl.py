"""From tables of transactions to the files of a graph: one set of Ibis expressions, on DuckDB here or on Spark.

Missing numbers are 0 in the features, as the contract of these files demands; the scorer sees none.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.canonical import FAULTS, Files, Shape, canonical, of_events, shape_of
from masthead.fraud.data.columns import Labels
from masthead.fraud.data.contract import edge_list, formats, write_table
from masthead.fraud.data.events import read_events, read_labels, sort_files
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import PROBLEMS, match, read_names
from masthead.fraud.data.unused import by_reason
from masthead.fraud.data.values import parse_time
from masthead.store.tables import Engine, ask, connect

if TYPE_CHECKING:
    import ibis

__all__ = ["Extracted", "Order", "extract", "extracting"]

TEST_SHARE = 0.2
KEPT_VALUES = 64
"""Values of a categorical that get a column; the others are in none."""
SMALLEST_AMOUNT = 0.01
_AT_ONCE = 2
_TEST, _ORDER = "is_test", ("ts", "id")
_HASHED_DIGITS = 6  # of MD5: enough to tell two tables apart, and no engine's sum of them overflows


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for.

    Attributes:
        engine: duckdb or spark. format: csv, parquet or both.
        labels: A file of labels, which takes the place of those in the data.
        test_from: Transactions from this time on are held out, as on a command line; "" = the last 20 %.
        threads, memory: What the engine may use.
        checksums: Also sum up each table, to compare two engines.
    """

    schema: Schema
    data: tuple[Path, ...]
    out: Path
    labels: Path | None = None
    engine: Engine = "duckdb"
    format: str = "csv"
    test_from: str = ""
    threads: int = 2
    memory: str = "2GB"
    checksums: bool = False


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written.

    Attributes:
        tables: Name -> rows. checksums: Name -> a number that two engines share.
        problems: What could not be used, by reason; `problems.parquet` has row, file and column.
        absent: Columns of the schema that the data lack.
    """

    transactions: int
    test: int
    positives: int
    tables: dict[str, int]
    checksums: dict[str, int]
    problems: dict[str, int]
    absent: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def extract(order: Order) -> Extracted:
    """Write the files of a graph and return what they hold; see `Order`.

    Raises:
        InvalidInput: Data that the schema does not fit or without a usable row, an unknown engine or format.
    """
    found = None
    for done, _, _ in extracting(order):
        found = done
    assert found is not None
    return found


def extracting(order: Order) -> Iterator[tuple[Extracted | None, float, str]]:
    """Yield (what was written at the end, share done, what goes on); see `extract`."""
    if order.format not in ("csv", "parquet", "both"):
        raise InvalidInput(f"format: expected csv, parquet or both, got {shown(order.format)}")
    test_from = parse_time(order.schema, order.test_from, field="test_from") if order.test_from else None
    yield None, 0.0, "looking for files"
    events, sides = sort_files(order.schema, order.data)
    there = frozenset(
        one for path in (*events, *sides) for one in match(read_names(path), order.schema.columns())
    )
    shape = shape_of(order.schema, there)
    backend = connect(order.engine, threads=order.threads, memory=order.memory)
    order.out.mkdir(parents=True, exist_ok=True)
    yield None, 0.05, "reading"
    said = None if order.labels is None else read_labels(order.schema, None, order.labels)
    with tempfile.TemporaryDirectory(prefix="masthead-etl-") as scratch:
        rows, problems = _rows(backend, shape, Files(tuple(events), tuple(sides)), Path(scratch))
        if said is not None:
            rows = _labelled(backend, rows, order.schema, said, Path(scratch))
            problems = pa.concat_tables([problems, said.problems])
        pq.write_table(problems, order.out / "problems.parquet")
        graph = Graph(backend, shape, rows, test_from, in_order=backend.name == "duckdb")
        if not graph.count:
            raise InvalidInput("data: expected at least one usable transaction, got none")
        tables = graph.tables()
        for place, name in enumerate(_written(backend, tables, order)):
            yield None, 0.3 + 0.7 * place / len(tables), name
        sums = {name: checksum(backend, table) for name, table in tables.items()} if order.checksums else {}
    absent = tuple(name for name in order.schema.columns() if name not in there)
    reasons = by_reason(problems)
    done = Extracted(graph.count, graph.held_out, graph.positives, graph.counts(), sums, reasons, absent)
    yield done, 1.0, "done"


def _written(backend: "ibis.BaseBackend", tables: dict[str, "ibis.Table"], order: Order) -> Iterator[str]:
    """Yield the name of each table, and write it: on DuckDB two at once, since a CSV file is mostly the work of one core."""
    with ThreadPoolExecutor(_AT_ONCE if backend.name == "duckdb" else 1) as pool:
        jobs = {name: pool.submit(_write, backend, table, order, name) for name, table in tables.items()}
        for name, job in jobs.items():
            yield name
            job.result()


def _write(backend: "ibis.BaseBackend", table: "ibis.Table", order: Order, name: str) -> None:
    for kind in formats(order.format):
        # A CSV edge list has two columns: the reference's reader splits on one comma.
        narrow = table.drop("time") if kind == "csv" and name.startswith("relation_") else table
        write_table(backend, narrow, order.out, name, kind, header=name != "test")


def _rows(
    backend: "ibis.BaseBackend", shape: Shape, files: Files, scratch: Path
) -> tuple["ibis.Table", pa.Table]:
    """Return the canonical rows in the order of time, and what could not be used.

    The engine reads the files; if it meets anything that is not as it should be, rows are read one by one instead, by
    what also reads for the scorer: so a problem has the number of its row, and both leave out the same rows.
    """
    import ibis

    try:
        rows = _kept(backend, canonical(backend, shape, files), scratch, "kept")
        asked = rows.aggregate(n=rows.count(), ids=rows.id.nunique(), faults=rows[FAULTS].sum())
        (found,) = ask(backend, asked)
        if found["n"] == found["ids"] and not found["faults"]:
            return rows, pa.Table.from_batches([], PROBLEMS)  # an array of a list would load pandas
    except _engine_errors(backend):
        pass  # a torn line or a broken file: the other reader says where
    read = read_events(shape.schema, [*files.events, *files.sides])
    pq.write_table(of_events(shape, read), scratch / "rows.parquet")
    clean = backend.read_parquet(str(scratch / "rows.parquet"), table_name="clean")
    return _kept(backend, clean.mutate(**{FAULTS: ibis.literal(0)}), scratch, "kept_clean"), read.problems


def _labelled(
    backend: "ibis.BaseBackend", rows: "ibis.Table", schema: Schema, said: Labels, scratch: Path
) -> "ibis.Table":
    """Return the rows with what a file says of them in the end: the latest arrival of each, and who was not called fraud
    until `label.maturity` has passed is legitimate, as `truth.outcome` has it for training.
    """
    import ibis

    latest = dict(zip(said.ids, said.value.tolist(), strict=True))  # in the order of arrival
    columns = [pa.array(list(latest), pa.string()), pa.array(list(latest.values()), pa.int8())]
    pq.write_table(pa.table(columns, ["said_of", "said"]), scratch / "labels.parquet")
    told = backend.read_parquet(str(scratch / "labels.parquet"), table_name="labels")
    (latest_row,) = ask(backend, rows.aggregate(ts=rows.ts.max()))
    ends = [latest_row["ts"], *said.arrived_at[-1:].tolist()]
    end = max((one for one in ends if one is not None), default=0)
    mature = rows.ts <= ibis.literal(end - schema.maturity_us, "int64")
    presumed = ibis.ifelse(mature, ibis.literal(0, "int8"), ibis.null("int8"))
    both = rows.left_join(told, rows.id == told.said_of)
    kept = {name: both[name] for name in rows.columns if name != "label"}
    found = both.select(**kept, label=ibis.coalesce(both.said, presumed))
    return _kept(backend, found, scratch, "kept_labelled")


def _kept(backend: "ibis.BaseBackend", rows: "ibis.Table", scratch: Path, name: str) -> "ibis.Table":
    """Return the rows, computed once: every edge list would read and join the files anew."""
    if backend.name == "duckdb":
        return backend.create_table(name, rows.order_by(_ORDER))
    path = str(scratch / f"{name}.parquet")
    backend.to_parquet(rows, path)
    return backend.read_parquet(path, table_name=name)


def _engine_errors(backend: "ibis.BaseBackend") -> type[Exception] | tuple[type[Exception], ...]:
    if backend.name == "duckdb":
        import duckdb

        return duckdb.Error
    from pyspark.errors import PySparkException

    return PySparkException


class Graph:
    """The tables of one graph, as expressions over the canonical rows."""

    def __init__(
        self,
        backend: "ibis.BaseBackend",
        shape: Shape,
        rows: "ibis.Table",
        test_from: int | None,
        *,
        in_order: bool,
    ) -> None:
        self._backend, self.shape, self.schema = backend, shape, shape.schema
        self.label = shape.schema.label_column or "label"
        self.count = int(self._one(rows.aggregate(n=rows.count()))["n"])
        held_out = self._last(rows) if test_from is None else rows.ts >= test_from
        # DuckDB hands a table on in the order in which it was made.
        self.order = () if in_order else _ORDER
        self.rows = rows.mutate(**{_TEST: held_out})
        self._counted = self._count()
        self.held_out, self.positives = self._counted["test"], self._counted.pop("positives")

    def _count(self) -> dict[str, int]:
        """Return rows per table and frauds, asked at once: each question walks through all that there is."""
        rows = self.rows
        asked = {"tags": rows.label.count(), "positives": rows.label.sum(), "test": rows[_TEST].sum()}
        asked |= {self._edges(place): rows[f"k{place}"].count() for place in self.shape.relations}
        found = self._one(rows.aggregate(**asked))
        return {"features": self.count, **{name: int(value or 0) for name, value in found.items()}}

    def _one(self, table: "ibis.Table") -> dict[str, Any]:
        (found,) = ask(self._backend, table)
        return found

    def counts(self) -> dict[str, int]:
        """Return name -> rows of what `tables` gives."""
        return dict(self._counted)

    def _edges(self, place: int) -> str:
        return edge_list(self.schema.relations[place].name)

    def _last(self, rows: "ibis.Table") -> Any:
        """Return which rows are of the last fifth; a number for each row would cost another sort of all of it."""
        import ibis

        wanted = round(TEST_SHARE * self.count)
        if not wanted:
            return rows.ts.isnull()
        # Not by an offset: Ibis's own for Spark leaves a column of its making behind.
        newest = rows.select(*_ORDER).order_by([ibis.desc(name) for name in _ORDER]).limit(wanted)
        edge = self._one(newest.order_by(_ORDER).limit(1))
        return (rows.ts > edge["ts"]) | ((rows.ts == edge["ts"]) & (rows.id >= edge["id"]))

    def tables(self) -> dict[str, "ibis.Table"]:
        """Return name -> table, all in the order of time."""
        identity, rows = self.schema.id, self.rows
        labelled = rows.filter(rows.label.notnull())
        found = {
            "features": self._sorted(rows).select(**{identity: rows.id, **self._features()}),
            "tags": self._sorted(labelled).select(
                **{identity: labelled.id, self.label: labelled.label.cast("int32")}
            ),
            "test": self._sorted(rows.filter(rows[_TEST])).select(**{identity: rows.id}),
        }
        for place in self.shape.relations:
            name = self.schema.relations[place].name
            linked = rows.filter(rows[f"k{place}"].notnull())
            columns = {identity: linked.id, name: linked[f"k{place}"], "time": linked.ts}
            found[self._edges(place)] = linked.select(**columns)
        return found

    def _sorted(self, rows: "ibis.Table") -> "ibis.Table":
        return rows.order_by(self.order) if self.order else rows

    def _features(self) -> dict[str, Any]:
        import ibis

        columns: dict[str, Any] = {}
        if self.shape.amount and self.schema.amount:
            amount = self.rows.amount
            least = ibis.greatest(amount, SMALLEST_AMOUNT)
            columns[self.schema.amount] = ibis.ifelse(amount.isnull(), 0.0, least.log10())
            columns[f"{self.schema.amount}_refund"] = (amount < 0).fill_null(False).cast("int32")
        for place in self.shape.numerics:
            columns[self.schema.numerics[place]] = self.rows[f"n{place}"].fill_null(0.0)
        for place, value in self._values():
            is_it = (self.rows[self.shape.category(place)] == value).fill_null(False).cast("int32")
            columns[f"{self.schema.categoricals[place]}_{value}"] = is_it
        return columns

    def _values(self) -> list[tuple[int, str]]:
        """Return (categorical, value) of the values that training rows hold most often, in the order of columns."""
        import ibis

        training = self.rows.filter(~self.rows[_TEST])
        counted = [
            training.group_by(value=training[self.shape.category(place)])
            .aggregate(n=training.count())
            .mutate(place=ibis.literal(place))
            for place in self.shape.categoricals
        ]
        if not counted:
            return []
        whole = ibis.union(*counted) if len(counted) > 1 else counted[0]
        found = ask(self._backend, whole.filter(whole.value.notnull()))
        kept: list[tuple[int, str]] = []
        for place in self.shape.categoricals:
            mine = sorted((-row["n"], row["value"]) for row in found if row["place"] == place)
            kept += sorted((place, value) for _, value in mine[:KEPT_VALUES])
        return kept


def checksum(backend: "ibis.BaseBackend", table: "ibis.Table") -> int:
    """Return a sum over all cells, whatever their order: of thousandths of numbers, of digits of texts' MD5."""
    total = None
    for name in table.columns:
        column = table[name]
        if column.type().is_string():
            digest = column.hexdigest("md5")
            digits = [digest.substr(place, 1).ascii_str().cast("int64") for place in range(_HASHED_DIGITS)]
            part = digits[0]
            for place, digit in enumerate(digits[1:], 1):
                part = part + digit * 131**place
        else:
            part = (column.cast("float64") * 1000).round().cast("int64") % 1_000_000_007
        total = part if total is None else total + part
    return 0 if total is None else int(ask(backend, table.aggregate(total=total.sum()))[0]["total"] or 0)
