"""The data as one table of one form, by Ibis: typed, joined on the id, the same on every engine.

What the scorer reads by `events`, in expressions that also run where the data do not fit into memory. A row or value
that cannot be used is counted in column `faults`; whoever finds any takes the rows that `events` gives instead.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from masthead.base.clock import DAY_US
from masthead.fraud.data.columns import Events
from masthead.fraud.data.schema import UNITS_US, Schema
from masthead.fraud.data.tables import match, read_names
from masthead.fraud.data.values import EARLIEST_US, LATEST_US, NO_NUMBER, NO_VALUE, VERDICTS, time_us

if TYPE_CHECKING:
    import ibis

__all__ = ["FAULTS", "Files", "Shape", "canonical", "of_events", "shape_of"]

FAULTS = "faults"
_EXACT = float(1 << 53)
_FLOAT32 = 3.4028235e38
_NOT_FINITE = ("inf", "-inf", "Infinity", "-Infinity", "infinity", "-infinity")
_USUAL_STAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?Z?)?$"


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one data set: those with id and time, and those that are joined to them."""

    events: tuple[Path, ...]
    sides: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What of the schema the data hold: columns `id ts amount label`, keys k0.., numbers n0.., categories c0..

    Attributes:
        relations, numerics, categoricals: Places in the schema, of those that are there.
    """

    schema: Schema
    amount: bool
    relations: tuple[int, ...]
    numerics: tuple[int, ...]
    categoricals: tuple[int, ...]

    def names(self) -> tuple[str, ...]:
        """Return the columns of the canonical table."""
        keys = [f"k{place}" for place in self.relations]
        numbers = [f"n{place}" for place in self.numerics]
        categories = [self.category(place) for place in self.categoricals]
        return tuple(dict.fromkeys(["id", "ts", "amount", "label", *keys, *numbers, *categories]))

    def category(self, place: int) -> str:
        """Return the column of a categorical: a relation over the same column of the data has it already."""
        name = self.schema.categoricals[place]
        same = (one for one in self.relations if self.schema.relations[one].columns == (name,))
        return next((f"k{one}" for one in same), f"c{place}")


def shape_of(schema: Schema, there: frozenset[str]) -> Shape:
    """Return which parts of the schema these columns of the data can fill."""

    def known(name: str) -> bool:
        return (schema.derive[name].column if name in schema.derive else name) in there

    return Shape(
        schema,
        amount=schema.amount is not None and schema.amount in there,
        relations=tuple(
            place for place, one in enumerate(schema.relations) if all(known(part) for part in one.columns)
        ),
        numerics=tuple(place for place, name in enumerate(schema.numerics) if known(name)),
        categoricals=tuple(place for place, name in enumerate(schema.categoricals) if known(name)),
    )


def canonical(backend: "ibis.BaseBackend", shape: Shape, files: Files) -> "ibis.Table":
    """Return the expression of the canonical table, with `faults` behind its columns."""
    import ibis

    schema = shape.schema
    wanted = [name for name in schema.columns() if name != schema.id]
    parts = [_part(backend, path, schema, wanted, place) for place, path in enumerate(files.events)]
    types = {
        name: _common([part.schema()[name] for part in parts if name in part.columns]) for name in wanted
    }
    rows = (
        ibis.union(*(_filled(part, types) for part in parts)) if len(parts) > 1 else _filled(parts[0], types)
    )
    for place, path in enumerate(files.sides):
        side = _part(backend, path, schema, wanted, place + len(parts))
        rows = _joined(rows, side, schema.id, schema.time.column)
    # Engines plan what they are given: without a view each use of a column would repeat all that it is made of.
    raw = backend.create_view("raw", rows, overwrite=True)
    tidy = backend.create_view("tidy", _tidied(raw, shape), overwrite=True)
    clean = all(_is_clean(backend, path) for path in (*files.events, *files.sides))
    return tidy.select(**_columns(tidy, shape, None if clean else schema.missing))


def of_events(shape: Shape, events: Events) -> pa.Table:
    """Return the canonical table of transactions that were read one by one."""
    schema = shape.schema
    columns: dict[str, Any] = {
        "id": pa.array(events.ids, pa.string()),
        "ts": events.ts,
        "amount": _floats(events.amount),
        "label": pa.array(events.inline_label, mask=events.inline_label < 0),
    }
    for place in shape.relations:
        columns[f"k{place}"] = _spelled(events.codes[:, place], events.vocabularies[place])
    for place in shape.numerics:
        columns[f"n{place}"] = _short(events.numerics[:, place])
    for place in shape.categoricals:
        name, codes = shape.category(place), events.category_codes[:, place]
        if name not in columns:
            columns[name] = _spelled(codes, events.category_values[place])
    assert len(columns) == len(shape.names()), schema.name
    return pa.table(columns)


def _floats(values: Any) -> pa.Array:
    return pa.array(values, pa.float64(), from_pandas=True)  # NaN is null


def _short(values: Any) -> pa.Array:
    # By way of text: 0.1 of a file stays 0.1, though float32 holds another number.
    return pa.array(values, pa.float32(), from_pandas=True).cast(pa.string()).cast(pa.float64())


def _spelled(codes: Any, values: list[str]) -> pa.Array:
    places = pa.array(codes, pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(places, pa.array(values, pa.string())).cast(pa.string())


def _is_clean(backend: "ibis.BaseBackend", path: Path) -> bool:
    """Return whether the words for no value are left out where a file is read: in half the time of asking for them later."""
    return backend.name == "duckdb" and not path.name.lower().endswith(".parquet")


def _part(
    backend: "ibis.BaseBackend", path: Path, schema: Schema, wanted: Sequence[str], place: int
) -> "ibis.Table":
    """Return the wanted columns of a file under the names of the schema, the id as text."""
    name = f"part{place}"
    if path.name.lower().endswith(".parquet"):
        table = backend.read_parquet(str(path), table_name=name)
    elif backend.name == "duckdb":
        options = {
            # Without its columns it would look into the file at each question.
            "columns": dict.fromkeys(read_names(path), "varchar"),
            "header": True,
            "delim": ",",
            "quote": '"',
            "escape": '"',
            "nullstr": sorted(_nothing(schema.missing)),
        }
        table = backend.read_csv(str(path), table_name=name, **options)
    else:
        options = {"header": True, "inferSchema": False, "multiLine": True, "escape": '"'}
        table = backend.read_csv(str(path), table_name=name, **options)
    found = match(read_names(path), [schema.id, *wanted])
    columns = {name: table[there] for name, there in found.items()}
    columns[schema.id] = key(plain(columns[schema.id]), ())
    return table.select(**columns)


def _common(types: list[Any]) -> Any:
    """Return the one type of a column in several files, or text; None where no file has it."""
    distinct = {str(one.copy(nullable=True)) for one in types}
    return None if not types else types[0] if len(distinct) == 1 else "string"


def _filled(part: "ibis.Table", types: dict[str, Any]) -> "ibis.Table":
    import ibis

    fixed = {
        name: (_as(part[name], kind) if name in part.columns else ibis.null(kind))
        for name, kind in types.items()
        if kind is not None
    }
    others = {name: part[name] for name in part.columns if name not in fixed}
    return part.select(**others, **fixed)


def _as(value: Any, kind: Any) -> Any:
    return value if value.type() == kind else plain(value) if kind == "string" else value.cast(kind)


def _joined(rows: "ibis.Table", side: "ibis.Table", identity: str, time: str) -> "ibis.Table":
    """Return the rows with what a file of the same ids adds; where both speak, the rows' own word holds."""
    import ibis

    renamed = side.rename({f"side_{name}": name for name in side.columns})
    both = rows.left_join(renamed, rows[identity] == renamed[f"side_{identity}"])
    columns = {}
    for name in dict.fromkeys([*rows.columns, *side.columns]):
        if name in (identity, time) or name not in side.columns:
            columns[name] = both[name]
        elif name not in rows.columns:
            columns[name] = both[f"side_{name}"]
        else:
            own, other = both[name], both[f"side_{name}"]
            if own.type() != other.type():
                own, other = plain(own), plain(other)
            columns[name] = ibis.coalesce(own, other)
    return both.select(**columns)


def _tidied(raw: "ibis.Table", shape: Shape) -> "ibis.Table":
    """Return the id and the time, each column as text under `t_` and as a number under `n_`, as far as it is used."""
    schema = shape.schema
    derived = {one for one in schema.derive.values() if one.column in raw.columns}
    texts = {part for place in shape.relations for part in schema.relations[place].columns}
    texts |= {schema.categoricals[place] for place in shape.categoricals}
    texts = (texts - set(schema.derive)) | {one.column for one in derived if one.op == "lower"}
    numbers = {schema.numerics[place] for place in shape.numerics} - set(schema.derive)
    numbers |= {one.column for one in derived if one.op == "day_minus"}
    if shape.amount and schema.amount:
        numbers.add(schema.amount)
    columns = {"id": raw[schema.id], "ts": moment(raw[schema.time.column], schema)}
    columns |= {f"t_{name}": plain(raw[name]) for name in sorted(texts)}
    columns |= {f"n_{name}": number(raw[name], schema.missing) for name in sorted(numbers)}
    columns |= {f"w_{name}": raw[name] for name in sorted(numbers) if raw[name].type().is_string()}
    if schema.label_column in raw.columns:
        columns["said"] = plain(raw[schema.label_column]).lower().strip()
    return raw.select(**columns)


def _columns(tidy: "ibis.Table", shape: Shape, missing: Sequence[str] | None) -> dict[str, Any]:
    """Return the canonical columns; `missing` as in `key`."""
    import ibis

    schema = shape.schema

    def numbered(name: str) -> Any:
        derived = schema.derive.get(name)
        value = tidy[f"n_{name if derived is None else derived.column}"]
        return value if derived is None or derived.op == "lower" else _day(tidy.ts) - value

    def text(name: str) -> Any:
        derived = schema.derive.get(name)
        if derived is None:
            return key(tidy[f"t_{name}"], missing)
        if derived.op == "day_minus":
            return key(plain(numbered(name)), ())
        return key(tidy[f"t_{derived.column}"], missing).lower()

    columns: dict[str, Any] = {"id": tidy.id, "ts": tidy.ts, "label": ibis.null("int8")}
    columns["amount"] = numbered(schema.amount) if shape.amount and schema.amount else ibis.null("float64")
    if "said" in tidy.columns:
        columns["label"] = verdict(tidy.said)
    for place in shape.relations:
        columns[f"k{place}"] = entity([text(name) for name in schema.relations[place].columns])
    for place in shape.numerics:
        # The scorer keeps float32: what that cannot hold is missing here as well.
        value = numbered(schema.numerics[place])
        columns[f"n{place}"] = ibis.ifelse(value.abs() <= _FLOAT32, value, None)
    for place in shape.categoricals:
        if (name := shape.category(place)) not in columns:
            columns[name] = text(schema.categoricals[place])
    return {**columns, FAULTS: _faults(tidy, schema)}


def _faults(tidy: "ibis.Table", schema: Schema) -> Any:
    """Return 1 for a row that the reader of single rows must look at, else 0.

    A text that gave no number or verdict is suspected, and only of those the words are read: of most rows nobody asks.
    """
    import ibis

    suspected, wrong = [], []
    words = sorted({*NO_NUMBER, *schema.missing, *_NOT_FINITE})
    for name in tidy.columns:
        if name.startswith("w_"):
            suspected.append(tidy[name].notnull() & tidy[f"n_{name[2:]}"].isnull())
            wrong.append(suspected[-1] & ~tidy[name].strip().isin(words))
    if "said" in tidy.columns:
        suspected.append(tidy.said.notnull() & verdict(tidy.said).isnull())
        wrong.append(suspected[-1] & key(tidy.said, ()).notnull())
    unusable = (tidy.ts.isnull() | tidy.id.isnull()).cast("int32")
    if not suspected:
        return unusable
    # Numbers, since of truths an engine makes one condition, all of which it evaluates.
    return ibis.greatest(
        unusable, ibis.ifelse(ibis.or_(*suspected), ibis.or_(*wrong).fill_null(True).cast("int32"), 0)
    )


def plain(value: Any) -> Any:
    """Return a value as text; a whole number without a point."""
    import ibis

    kind = value.type()
    if kind.is_boolean():
        return ibis.ifelse(value, "true", "false")
    if kind.is_floating():
        whole = (value == value.floor()) & (value.abs() < _EXACT)
        return ibis.ifelse(whole, value.cast("int64").cast("string"), value.cast("string"))
    text = value.cast("string")
    return text if kind.is_integer() else ibis.ifelse(text.endswith("0"), _without_zeros(text), text)


def _without_zeros(text: Any) -> Any:
    import ibis

    whole = text.re_search(r"^-?[0-9]+[.]0+$")
    return ibis.ifelse(whole, text.substr(0, text.find(".")), text)


def key(text: Any, missing: Sequence[str] | None) -> Any:
    """Return the text under which a value is known, null where there is none; see `values.key_text`.

    Args:
        missing: What the schema says for none; None: the words for none were left out when the file was read.
    """
    import ibis

    # Several comparisons are cheaper than one with a list; what begins below "!" begins with a blank.
    words = () if missing is None else (text == word for word in sorted(_nothing(missing)))
    nothing = ibis.or_(*words, (text < "!") & (text.strip() == ""))
    return ibis.ifelse(nothing, ibis.null("string"), text)


def _nothing(missing: Sequence[str]) -> set[str]:
    return {"", *NO_VALUE, *missing, *_NOT_FINITE}


def number(value: Any, missing: Sequence[str]) -> Any:
    """Return a number, null where there is none or none that is finite."""
    import ibis

    if value.type().is_string():
        value = value.try_cast("float64")
    sentinels = [float(one) for one in missing if _is_number(one)]
    found = value.cast("float64")
    found = ibis.ifelse(found.isnan() | found.isinf(), None, found)
    return ibis.ifelse(found.isin(sentinels), None, found) if sentinels else found


def moment(value: Any, schema: Schema) -> Any:
    """Return UTC microseconds; null also for forms that only the reader of single rows knows."""
    import ibis

    kind = value.type()
    if not kind.is_timestamp() and not kind.is_date() and schema.time.unit:
        origin = time_us(schema.time, 0)
        scaled = number(value, ()) * ibis.literal(float(UNITS_US[schema.time.unit]), "float64")
        within = scaled.between(
            max(float(EARLIEST_US - origin), -_EXACT), min(float(LATEST_US - origin), _EXACT)
        )
        return ibis.ifelse(within, scaled.round().cast("int64"), None) + ibis.literal(origin, "int64")
    if not kind.is_timestamp() and not kind.is_date():
        usual = value.cast("string").re_search(_USUAL_STAMP)
        bare = value.cast("string").replace("T", " ").replace("Z", "")
        value = ibis.ifelse(usual, bare, ibis.null("string")).try_cast("timestamp")
    stamp = value.cast("timestamp") if kind.is_date() else value
    return stamp.epoch_seconds().cast("int64") * 1_000_000 + stamp.microsecond().cast("int64")


def verdict(value: Any) -> Any:
    """Return 1, 0 or null of what is said in trimmed small letters."""
    import ibis

    words = {said: [word for word, verdict in VERDICTS.items() if verdict == said] for said in (1, 0)}
    return ibis.cases(*((value.isin(words[said]), ibis.literal(said, "int8")) for said in words))


def entity(parts: list[Any]) -> Any:
    """Return the key of an entity: its value, or the JSON array of its values; null if one is missing."""
    if len(parts) == 1:
        return parts[0]
    import ibis

    text = ibis.literal("[")
    for place, part in enumerate(parts):
        escaped = part.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        text = text + ('"' if place == 0 else ',"') + escaped + '"'
    return text + "]"


def _day(ts: Any) -> Any:
    import ibis

    day = ibis.literal(DAY_US, "int64")
    return ((ts - (ts % day + day) % day) / DAY_US).round().cast("float64")  # engines differ in % below 0


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
