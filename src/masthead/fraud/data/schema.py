"""What a table of transactions means: which column is the id, the time, the amount, the label, and what links them.

A schema is one TOML file. It names what may exist: columns that the data lack are absent, never an error, but for
the id and the time. Source of the first one: the tables of the contest IEEE-CIS Fraud Detection, as published.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Never

from masthead.base.errors import InvalidInput, nearest, shown

__all__ = ["Derived", "Relation", "Schema", "TimeColumn"]

UNITS_US: Mapping[str, float] = MappingProxyType(
    {
        "ns": 0.001,
        "us": 1,
        "ms": 1_000,
        "s": 1_000_000,
        "m": 60_000_000,
        "h": 3_600_000_000,
        "d": 86_400_000_000,
    }
)
"""Unit of time -> microseconds."""
OPS = ("day_minus", "lower")
_MOST_COUNTERPARTIES = 4  # each costs every entity's ring one more column
_TABLES: Mapping[str, tuple[str, ...]] = {
    "": (
        *("name", "hubs", "counterparties", "numerics", "categoricals", "missing"),
        *("transaction", "label", "entities", "derive"),
    ),
    "transaction": ("id", "time", "amount"),
    "transaction.time": ("column", "unit", "origin", "format"),
    "label": ("column", "delay", "maturity"),
}
_MATURITY = "60d"
_RANGE = re.compile(r"(.*?)(\d+)-\1(\d+)")
_NUMBERED = re.compile(r"(.*?)(\d+)")


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """The column of the event time: numbers of a `unit` since an `origin`, or texts of a `format`.

    Attributes:
        unit: ns, us, ms, s, m, h or d; "" = texts.
        origin: What 0 means, aware and UTC; None = 1970.
        format: iso8601, or "" where there is a unit. Columns of timestamps are taken under any.
    """

    column: str
    unit: str = ""
    origin: datetime | None = None
    format: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """How transactions are linked: those with equal values of these columns share an entity.

    Attributes:
        columns: One, or several for a composite entity.
        aggregate: Whether its entities' histories are features of the scorer.
        hub: Its entities are never in paths and rings.
    """

    name: str
    columns: tuple[str, ...]
    aggregate: bool = True
    hub: bool = False


@dataclass(frozen=True, slots=True)
class Derived:
    """A column that is computed: `day_minus` = day of the time (UTC, since 1970) minus the column; `lower` = lower case."""

    op: str
    column: str


@dataclass(frozen=True, slots=True)
class Schema:
    """What the columns of a data set mean.

    Attributes:
        id: Column of the transaction's id, kept as text.
        amount: Its column, or None. label_column: Column of inline labels, or None.
        label_delay_us: Inline labels become known at time + this.
        maturity_us: Not called fraud within this = presumed legitimate.
        relations: In the order of `[entities]`.
        counterparties: Relations whose distinct values every entity counts; at most 4.
        numerics, categoricals: Columns, ranges expanded.
        derive: Name -> how it is computed.
        missing: Texts that stand for no value, besides NaN, None and "".
        source, lines: The file it was read from, and the line of each key in it; no part of the meaning.
    """

    name: str
    id: str
    time: TimeColumn
    amount: str | None
    label_column: str | None
    label_delay_us: int
    maturity_us: int
    relations: tuple[Relation, ...]
    counterparties: tuple[str, ...]
    numerics: tuple[str, ...]
    categoricals: tuple[str, ...]
    derive: Mapping[str, Derived]
    missing: tuple[str, ...]
    source: str = field(default="", compare=False, repr=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def read(source: str | Path) -> "Schema":
        """Return the schema of a file, or the built-in one of that name: `ieee-cis`.

        Raises:
            InvalidInput: No such file, no TOML, a key that is unknown or missing, a value that is none.
        """
        name, text = schema_text(source)
        return Schema.parse(text, source=name)

    @staticmethod
    def parse(text: str, *, source: str = "schema.toml") -> "Schema":
        """Return the schema of a TOML document; `source` is what messages call it.

        Raises:
            InvalidInput: As for `read`.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"schema: expected TOML, {source} is none: {error}") from error
        return _Reader(document, source, _lines_of(text)).schema()

    def columns(self) -> tuple[str, ...]:
        """Return every column of the data that this schema names, without repetition."""
        named = [self.id, self.time.column, self.amount, self.label_column]
        named += [part for relation in self.relations for part in relation.columns]
        named += [*self.numerics, *self.categoricals]
        raw = [self.derive[one].column if one in self.derive else one for one in named if one]
        return tuple(dict.fromkeys(raw))

    def line(self, key: str) -> str:
        """Return where a key stands, for messages: `schema.toml line 7`."""
        place = self.lines.get(key) or self.lines.get(key.rpartition(".")[0])
        return f"{self.source or 'schema.toml'} line {place}" if place else self.source or "the schema"

    def digest(self) -> str:
        """Return 16 hexadecimal digits that two schemas share only if they mean the same."""
        return hashlib.sha256(self.to_toml().encode()).hexdigest()[:16]

    def to_toml(self) -> str:
        """Return the file that reads as this schema."""
        lists: dict[str, Sequence[str]] = {
            "hubs": [relation.name for relation in self.relations if relation.hub],
            "counterparties": self.counterparties,
            "numerics": self.numerics,
            "categoricals": self.categoricals,
            "missing": self.missing,
        }
        lines = [f"name = {_quoted(self.name)}"]
        lines += [f"{key} = {_list(values)}" for key, values in lists.items() if values]
        lines += ["", "[transaction]", f"id = {_quoted(self.id)}", f"time = {_time_text(self.time)}"]
        if self.amount is not None:
            lines.append(f"amount = {_quoted(self.amount)}")
        lines += ["", "[label]"]
        if self.label_column is not None:
            lines.append(f"column = {_quoted(self.label_column)}")
        lines += [
            f'delay = "{self.label_delay_us}us"',
            f'maturity = "{self.maturity_us}us"',
            "",
            "[entities]",
        ]
        lines += [f"{_quoted(relation.name)} = {_relation_text(relation)}" for relation in self.relations]
        lines += ["", "[derive]"]
        lines += [
            f"{_quoted(name)} = {{ op = {_quoted(one.op)}, column = {_quoted(one.column)} }}"
            for name, one in self.derive.items()
        ]
        return "\n".join(lines) + "\n"


def duration_us(text: str) -> int:
    """Return a length of time such as `7d`, `12h` or `0s` in microseconds.

    Raises:
        InvalidInput: It is none, or below 0.

    >>> duration_us("7d")
    604800000000
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d)", text.strip())
    if match is None:
        raise InvalidInput(
            f"duration: expected a number and us, ms, s, m, h or d, such as 7d, got {shown(text)}"
        )
    return round(float(match[1]) * UNITS_US[match[2]])


def expand(names: list[str]) -> tuple[str, ...]:
    """Return column names with ranges written out; digits keep the width of the range's first.

    >>> expand(["dist1", "C1-C3", "id_09-id_11"])
    ('dist1', 'C1', 'C2', 'C3', 'id_09', 'id_10', 'id_11')
    """
    found: list[str] = []
    for name in names:
        match = _RANGE.fullmatch(name)
        if match is None or int(match[2]) > int(match[3]):
            found.append(name)
            continue
        width = len(match[2]) if match[2].startswith("0") else 0
        found += [f"{match[1]}{number:0{width}d}" for number in range(int(match[2]), int(match[3]) + 1)]
    return tuple(dict.fromkeys(found))


def collapsed(names: Sequence[str]) -> list[str]:
    """Return column names with three and more that follow each other as a range: what `expand` reads.

    >>> collapsed(["dist1", "C1", "C2", "C3", "id_09", "id_10"])
    ['dist1', 'C1-C3', 'id_09', 'id_10']
    """
    runs: list[list[str]] = []
    for name in names:
        # As `expand` would write the last run on by one.
        if runs and runs[-1][-1] != name and _following(runs[-1]) == name:
            runs[-1].append(name)
        else:
            runs.append([name])
    return [one for run in runs for one in ([f"{run[0]}-{run[-1]}"] if len(run) > 2 else run)]


def _following(run: list[str]) -> str:
    match = _NUMBERED.fullmatch(run[-1])
    if match is None:
        return ""
    width = len(run[0]) - len(match[1]) if run[0][len(match[1]) :].startswith("0") else 0
    return f"{match[1]}{int(match[2]) + 1:0{width}d}"


@dataclass(frozen=True, slots=True)
class _Reader:
    """The document of a schema, read key by key; every refusal names key and line."""

    document: dict[str, Any]
    source: str
    lines: Mapping[str, int]

    def schema(self) -> Schema:
        self._known("", self.document)
        transaction, label = self._table("transaction"), self._table("label")
        self._known("transaction", transaction)
        self._known("label", label)
        derive = {name: self._derived(name, given) for name, given in self._table("derive").items()}
        hubs, relations = self._names("hubs"), self._table("entities")
        found = tuple(self._relation(name, given, name in hubs) for name, given in relations.items())
        counterparties = self._names("counterparties")
        self._are_relations("hubs", hubs, relations)
        self._are_relations("counterparties", counterparties, relations)
        if len(counterparties) > _MOST_COUNTERPARTIES:
            self._refuse("counterparties", f"at most {_MOST_COUNTERPARTIES} relations", list(counterparties))
        made = Schema(
            name=self._text("name", self.document.get("name", Path(self.source).stem)),
            id=self._text("transaction.id", transaction.get("id")),
            time=self._time(transaction.get("time")),
            amount=self._optional("transaction.amount", transaction.get("amount")),
            label_column=self._optional("label.column", label.get("column")),
            label_delay_us=self._duration("label.delay", label.get("delay", "0s")),
            maturity_us=self._duration("label.maturity", label.get("maturity", _MATURITY)),
            relations=found,
            counterparties=counterparties,
            numerics=expand(list(self._names("numerics"))),
            categoricals=expand(list(self._names("categoricals"))),
            derive=MappingProxyType(derive),
            missing=self._names("missing"),
            source=self.source,
            lines=self.lines,
        )
        if not made.relations and not made.numerics:
            self._refuse("entities", "at least one relation, or one column in numerics", {})
        return made

    def _time(self, given: Any) -> TimeColumn:
        given = {"column": given, "format": "iso8601"} if isinstance(given, str) else given
        if not isinstance(given, dict):
            self._refuse(
                "transaction.time", "a column, or { column, unit, origin } or { column, format }", given
            )
        self._known("transaction.time", given)
        column = self._text("transaction.time.column", given.get("column"))
        unit, form = given.get("unit", ""), given.get("format", "")
        if unit and unit not in UNITS_US:
            self._refuse("transaction.time.unit", f"one of {', '.join(UNITS_US)}", unit)
        if form not in ("", "iso8601"):
            self._refuse("transaction.time.format", "iso8601", form)
        return TimeColumn(
            column, unit, self._origin(given.get("origin")), form or ("" if unit else "iso8601")
        )

    def _origin(self, given: Any) -> datetime | None:
        try:
            moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        except ValueError:
            moment = given
        if moment is None:
            return None
        if not isinstance(moment, datetime):
            self._refuse("transaction.time.origin", "a moment in ISO 8601", given)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

    def _relation(self, name: str, given: Any, hub: bool) -> Relation:
        key = f"entities.{name}"
        given = {"columns": [given]} if isinstance(given, str) else given
        given = {"columns": given} if isinstance(given, list) else given
        if not isinstance(given, dict) or not isinstance(given.get("columns"), list) or not given["columns"]:
            self._refuse(key, 'a column, or { columns = ["..."], aggregate = false }', given)
        self._refuse_unknown(key, given, ("columns", "aggregate"))
        aggregate = given.get("aggregate", True)
        if not isinstance(aggregate, bool):
            self._refuse(f"{key}.aggregate", "true or false", aggregate)
        return Relation(name, tuple(self._text(key, one) for one in given["columns"]), aggregate, hub)

    def _derived(self, name: str, given: Any) -> Derived:
        key = f"derive.{name}"
        if not isinstance(given, dict):
            self._refuse(key, "{ op, column }", given)
        self._refuse_unknown(key, given, ("op", "column"))
        if given.get("op") not in OPS:
            self._refuse(f"{key}.op", " or ".join(OPS), given.get("op"))
        return Derived(given["op"], self._text(f"{key}.column", given.get("column")))

    def _table(self, key: str) -> dict[str, Any]:
        given = self.document.get(key, {})
        if not isinstance(given, dict):
            self._refuse(key, "a table", given)
        return dict(given)

    def _names(self, key: str) -> tuple[str, ...]:
        given = self.document.get(key, [])
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            self._refuse(key, "a list of texts", given)
        return tuple(dict.fromkeys(given))

    def _are_relations(self, key: str, names: tuple[str, ...], relations: Mapping[str, Any]) -> None:
        for name in names:
            if name not in relations:
                self._refuse(key, f"names of [entities] ({', '.join(relations) or 'there are none'})", name)

    def _text(self, key: str, given: Any) -> str:
        if not isinstance(given, str) or not given:
            self._refuse(key, "a name", given)
        return str(given)

    def _optional(self, key: str, given: Any) -> str | None:
        return None if given is None else self._text(key, given)

    def _duration(self, key: str, given: Any) -> int:
        try:
            return duration_us(given if isinstance(given, str) else "")
        except InvalidInput:
            self._refuse(key, "a number and us, ms, s, m, h or d, such as 7d", given)

    def _known(self, key: str, given: Mapping[str, Any]) -> None:
        self._refuse_unknown(key, given, _TABLES[key])

    def _refuse_unknown(self, key: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for name in given:
            if name not in known:
                place = f"{key}.{name}" if key else name
                self._refuse(place, f"one of {', '.join(known)} (near: {nearest(name, known)})", name)

    def _refuse(self, key: str, expected: str, given: Any) -> Never:
        place = self.lines.get(key) or self.lines.get(key.rpartition(".")[0])
        where = f"{self.source} line {place}" if place else self.source
        raise InvalidInput(f"{key}: expected {expected}, got {shown(given)} ({where})", field=key)


def schema_text(source: str | Path) -> tuple[str, str]:
    """Return what messages call the schema of a file or of a built-in name, and its text.

    Raises:
        InvalidInput: There is no such file.
    """
    if isinstance(source, str) and re.fullmatch(r"[a-z0-9-]+", source):
        shipped = resources.files("masthead.fraud") / "schemas" / f"{source}.toml"
        if shipped.is_file():
            return source, shipped.read_text(encoding="utf-8")
    path = Path(source)
    try:
        return path.name, path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"schema: expected a TOML file or ieee-cis, got {shown(str(source))}") from error


def _lines_of(text: str) -> dict[str, int]:
    """Return the line of each key, as `table.key`; the standard parser keeps none."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]\s*(#.*)?$", line):
            table = header[1].strip()
            found.setdefault(table, number)
        elif pair := re.match(r"""\s*["']?([\w. -]+?)["']?\s*=""", line):
            found.setdefault(f"{table}.{pair[1]}" if table else pair[1], number)
    return found


def _quoted(text: str) -> str:
    # A JSON string is a TOML basic string, but for one character: TOML wants DEL escaped as well.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, values))}]"


def _time_text(time: TimeColumn) -> str:
    given = {"column": time.column, "unit": time.unit, "format": time.format}
    if time.origin is not None:
        given["origin"] = time.origin.isoformat()
    return "{ " + ", ".join(f"{key} = {_quoted(value)}" for key, value in given.items() if value) + " }"


def _relation_text(relation: Relation) -> str:
    if relation.aggregate and len(relation.columns) == 1:
        return _quoted(relation.columns[0])
    flag = "" if relation.aggregate else ", aggregate = false"
    return f"{{ columns = {_list(relation.columns)}{flag} }}"
