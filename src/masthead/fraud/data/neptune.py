"""Transactions as a property graph in the CSV of Neptune's bulk loader, out and in again.

    vertices_transaction.csv    ~id t-<id>, ~label transaction, props_values, amount, ts
    vertices_<relation>.csv     ~id <relation>-<key>, ~label <relation>, props_values
    edges_<relation>.csv        ~id, ~from t-<id>, ~to <relation>-<key>, ~label <relation>

`props_values` is one JSON object, as in the reference implementation. A date of Neptune has whole seconds: the exact
time stands in the object. Source: Amazon Neptune User Guide, "Gremlin load data format".
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.columns import Events, Source, narrow
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import Frame, Problems, read_frame, read_names
from masthead.fraud.data.values import key_text, number_of, verdict_of

__all__ = ["Exported", "export", "exported_schema", "exporting", "is_neptune", "read_neptune"]

TRANSACTION = "t"
_TIME = "time_us"
_SCHEMA = "schema.toml"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_VERTEX = ("~id", "~label", "props_values:String", "amount:Double", "ts:Date")
_ENTITY = ("~id", "~label", "props_values:String")
_EDGE = ("~id", "~from", "~to", "~label")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    transactions: int
    entities: int
    edges: int
    problems: int
    files: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def export(schema: Schema, events: Events, out: Path) -> Exported:
    """Write the graph of some transactions into a folder and return what was written.

    Raises:
        InvalidInput: Names of relations that would give two nodes one id.
    """
    found = None
    for done, _, _ in exporting(schema, events, out):
        found = done
    assert found is not None
    return found


def exporting(schema: Schema, events: Events, out: Path) -> Iterator[tuple[Exported | None, float, str]]:
    """Yield (what was written at the end, share done, what goes on); see `export`."""
    _refuse_twins(schema)
    out.mkdir(parents=True, exist_ok=True)
    yield None, 0.0, "transactions"
    nodes = pc.binary_join_element_wise(f"{TRANSACTION}-", pa.array(events.ids, pa.string()), "")
    _write(out / "vertices_transaction.csv", _VERTEX, _transactions(schema, events, nodes))
    files, entities, edges = ["vertices_transaction.csv"], 0, 0
    for place, relation in enumerate(schema.relations):
        codes = events.codes[:, place]
        if not (codes >= 0).any():
            continue
        yield None, 0.3 + 0.7 * place / len(schema.relations), relation.name
        keys, ends = _entities(relation.name, events.vocabularies[place], codes)
        names = [f"vertices_{_file(relation.name)}.csv", f"edges_{_file(relation.name)}.csv"]
        _write(out / names[0], _ENTITY, keys)
        links = _edges(relation.name, nodes, ends, codes)
        _write(out / names[1], _EDGE, links)
        files, entities, edges = files + names, entities + keys.num_rows, edges + links.num_rows
    script = resources.files("masthead.fraud") / "schemas" / "load.groovy"
    (out / "load.groovy").write_text(script.read_text(encoding="utf-8"), encoding="utf-8")
    (out / _SCHEMA).write_text(schema.to_toml(), encoding="utf-8")
    files += ["load.groovy", _SCHEMA]
    yield Exported(len(events), entities, edges, events.problems.num_rows, tuple(files)), 1.0, "done"


def is_neptune(path: Path) -> bool:
    """Return whether a folder holds Neptune's CSV: a table whose header begins `~id,~label` says so."""
    if not path.is_dir():
        return False
    for one in sorted(path.glob("*.csv")):
        with contextlib.suppress(InvalidInput):  # who reads it says what is wrong with it
            if read_names(one)[:2] == _VERTEX[:2]:
                return True
    return False


def exported_schema(paths: Sequence[Path]) -> Schema | None:
    """Return the schema that lies in an exported folder, None where the paths are no such folder, or it holds none."""
    for path in paths:
        if is_neptune(path) and (path / _SCHEMA).is_file():
            return Schema.read(path / _SCHEMA)
    return None


def read_neptune(schema: Schema, folder: Path) -> Events:
    """Return the transactions of a folder that `export` wrote, with all that their schema names.

    Raises:
        InvalidInput: No such folder, or files of another form.
    """
    path = folder / "vertices_transaction.csv"
    if not path.is_file():
        raise InvalidInput(f"data: expected vertices_transaction.csv in {shown(str(folder))}, got none")
    problems = Problems()
    rows = _Rows(schema, path.name, problems)
    table = _read(path, _VERTEX, problems)
    rows.read = len(table) + table.torn
    columns = (table.columns[name].to_pylist() for name in ("~id", "props_values:String", "amount:Double"))
    for number, node, props, amount in zip(table.rows.tolist(), *columns, strict=True):
        rows.add(number, node, props, amount)
    places = {f"{TRANSACTION}-{identity}": place for place, identity in enumerate(rows.ids)}
    keys = [_linked(folder, relation.name, places, problems) for relation in schema.relations]
    whole = rows.events(keys)
    return whole.take(np.argsort(whole.ts, kind="stable"))


def _refuse_twins(schema: Schema) -> None:
    names = [TRANSACTION, *(relation.name for relation in schema.relations)]
    for name in names:
        for other in names[1:]:
            if other == TRANSACTION or other.startswith(f"{name}-"):
                raise InvalidInput(
                    f"entities.{other}: expected a name that is not {TRANSACTION} and does not begin with another's "
                    f"and a dash: ids of the graph are <relation>-<value>, got {shown(other)}"
                )


def _transactions(schema: Schema, events: Events, nodes: pa.Array) -> pa.Table:
    numbers = [(place, name) for place, name in enumerate(schema.numerics) if name not in events.absent]
    props: list[str] = []
    for row in range(len(events)):
        found: dict[str, Any] = {_TIME: int(events.ts[row])}
        for place, name in numbers:
            value = events.numerics[row, place]
            if value == value:
                found[name] = float(str(value))  # 0.1 of a float32 is written as 0.1
        for place, name in enumerate(schema.categoricals):
            code = events.category_codes[row, place]
            if code >= 0:
                found[name] = events.category_values[place][code]
        if schema.label_column is not None and events.inline_label[row] >= 0:
            found[schema.label_column] = int(events.inline_label[row])
        props.append(json.dumps(found, ensure_ascii=False))
    dates = [
        # strftime writes years before 1000 without their zeros.
        (_EPOCH + timedelta(microseconds=ts)).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
        for ts in events.ts.tolist()
    ]
    label = pa.repeat(pa.scalar("transaction"), len(events))
    amount = pa.array(events.amount, from_pandas=True)
    return pa.table(
        [nodes, label, pa.array(props, pa.string()), amount, pa.array(dates, pa.string())], list(_VERTEX)
    )


def _entities(relation: str, values: list[str], codes: NDArray[np.int32]) -> tuple[pa.Table, pa.Array]:
    """Return the vertices of the entities that occur, and the id of each value."""
    ends = pc.binary_join_element_wise(f"{relation}-", pa.array(values, pa.string()), "")
    used = np.unique(codes[codes >= 0])
    props = [json.dumps({"key": values[place]}, ensure_ascii=False) for place in used.tolist()]
    columns = [
        ends.take(pa.array(used)),
        pa.repeat(pa.scalar(relation), len(used)),
        pa.array(props, pa.string()),
    ]
    return pa.table(columns, list(_ENTITY)), ends


def _edges(relation: str, nodes: pa.Array, ends: pa.Array, codes: NDArray[np.int32]) -> pa.Table:
    rows = np.flatnonzero(codes >= 0)
    sources, label = nodes.take(pa.array(rows)), pa.repeat(pa.scalar(relation), len(rows))
    return pa.table(
        [
            pc.binary_join_element_wise(sources, label, "|"),
            sources,
            ends.take(pa.array(codes[rows])),
            label,
        ],
        list(_EDGE),
    )


def _file(relation: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "_.-" else "_" for letter in relation)


def _write(path: Path, header: tuple[str, ...], table: pa.Table) -> None:
    with path.open("wb") as file:
        file.write((",".join(header) + "\n").encode())
        pa.csv.write_csv(table, file, pa.csv.WriteOptions(include_header=False))


def _read(path: Path, columns: tuple[str, ...], problems: Problems) -> Frame:
    table = read_frame(path, columns, (), problems)
    if len(table.columns) < len(columns):
        raise InvalidInput(
            f"data: expected the columns {', '.join(columns)} in {shown(str(path))}, got {', '.join(table.names)}"
        )
    return table


def _linked(
    folder: Path, relation: str, places: Mapping[str, int], problems: Problems
) -> tuple[NDArray[np.int32], list[str]]:
    """Return (codes, values) of a relation's keys; no file is no edge."""
    codes = np.full(len(places), -1, np.int32)
    path = folder / f"edges_{_file(relation)}.csv"
    values: dict[str, int] = {}
    if path.is_file():
        table = _read(path, _EDGE, problems).columns
        for source, target in zip(table["~from"].to_pylist(), table["~to"].to_pylist(), strict=True):
            place = places.get(source)
            if place is not None:
                codes[place] = values.setdefault(target.removeprefix(f"{relation}-"), len(values))
    return codes, list(values)


class _Rows:
    """Transactions as they are read, vertex by vertex."""

    def __init__(self, schema: Schema, file: str, problems: Problems) -> None:
        self.schema, self.file, self.problems = schema, file, problems
        self.ids: list[str] = []
        self.ts: list[int] = []
        self.amounts: list[float] = []
        self.labels: list[int] = []
        self.numbers: list[list[float]] = []
        self.texts: list[list[str | None]] = []
        self.known: set[str] = set()
        self.rows: list[int] = []
        self.read = 0

    def add(self, number: int, node: str, props: str, amount: str | None) -> None:
        """Take one vertex, or keep why it cannot be used."""
        try:
            found = json.loads(props)
            ts, identity = int(found[_TIME]), node.removeprefix(f"{TRANSACTION}-")
            numbers = [number_of(found.get(name)) for name in self.schema.numerics]
            texts = [key_text(found.get(name)) for name in self.schema.categoricals]
            label = verdict_of(found.get(self.schema.label_column or ""))
            paid = number_of(amount)
        except (ValueError, TypeError, KeyError, AttributeError, InvalidInput) as error:
            self.problems.add(number, self.file, "props_values:String", f"no transaction: {str(error)[:80]}")
            return
        if identity in self.known:
            self.problems.add(number, self.file, "~id", f"id repeated: {shown(identity, 40)}")
            return
        self.known.add(identity)
        self.rows.append(number)
        self.ids.append(identity)
        self.ts.append(ts)
        self.amounts.append(paid)
        self.labels.append(label)
        self.numbers.append(numbers)
        self.texts.append(texts)

    def events(self, keys: list[tuple[NDArray[np.int32], list[str]]]) -> Events:
        """Return them as columns, in the order of the file."""
        n, schema = len(self.ids), self.schema
        categories = [_coded([row[place] for row in self.texts]) for place in range(len(schema.categoricals))]
        ts = np.array(self.ts, np.int64)
        return Events(
            ids=self.ids,
            ts=ts,
            amount=np.array(self.amounts, np.float64),
            codes=np.array([codes for codes, _ in keys], np.int32).reshape(len(keys), n).T.copy(),
            vocabularies=[values for _, values in keys],
            numerics=narrow(np.array(self.numbers, np.float64).reshape(n, len(schema.numerics))),
            category_codes=np.array([codes for codes, _ in categories], np.int32)
            .reshape(len(categories), n)
            .T.copy(),
            category_values=[values for _, values in categories],
            raw_ids=pa.array(self.ids, pa.string()),
            raw_times=pa.array(ts, pa.timestamp("us", "UTC")),
            inline_label=np.array(self.labels, np.int8),
            absent=(),
            problems=self.problems.table(),
            source=Source((self.file,), self.places(), self.read),
        )

    def places(self) -> NDArray[np.int64]:
        """Return (0, row of the file) of each."""
        return np.column_stack([np.zeros(len(self.rows), np.int64), np.array(self.rows, np.int64)])


def _coded(texts: list[str | None]) -> tuple[list[int], list[str]]:
    values: dict[str, int] = {}
    return [-1 if text is None else values.setdefault(text, len(values)) for text in texts], list(values)
