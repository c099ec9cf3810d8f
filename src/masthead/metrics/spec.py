"""What a detector is told: which data, which measures by which dimensions, in which intervals.

The same names in JSON, TOML, the API, the command line and the console. A specification may be built in parts (a
name first, its data set later); `require_complete` says what is still missing before it can be activated.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePosixPath
from typing import Any, Literal, get_args

from masthead.base.errors import InvalidInput, shown
from masthead.base.ids import check_name
from masthead.base.units import parse_duration_s, short_duration
from masthead.metrics.raw import Format
from masthead.metrics.toml import write_toml
from masthead.metrics.zones import check_interval, zone_of
from masthead.streams.topics import check_readings

__all__ = [
    "AGGREGATIONS",
    "DetectorSpec",
    "History",
    "Measure",
    "Source",
    "TimeColumn",
    "aggregation_of",
    "dimension_values",
    "require_apart",
]

Mode = Literal["continuous", "backtest"]
Rollups = Literal["none", "single", "all"]
SourceKind = Literal["stream", "path", "files"]

AGGREGATIONS = ("avg", "sum", "min", "max", "count", "last", "p50", "p95", "ratio")
_RATIO = re.compile(r"ratio\s*\(([^,()]+),([^,()]+)\)", re.IGNORECASE)
ANY_INTERVAL = "any"
MOST_DELAY_S = 432_000  # five days, as in Lookout for Metrics
MOST_FILTERS = 10


@dataclass(frozen=True, slots=True)
class Measure:
    """A number to watch: `aggregation` of `column` per interval; a ratio divides two summed columns."""

    name: str
    column: str = ""
    aggregation: str = "avg"
    numerator: str = ""
    denominator: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it is made from."""
        if self.aggregation == "ratio":
            return (self.numerator, self.denominator)
        return (self.column,)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return {entry.name: value for entry in fields(self) if (value := getattr(self, entry.name))}

    @classmethod
    def from_json(cls, value: object) -> "Measure":
        """Return a checked measure; a bare text is the average of the column of that name."""
        given = {"name": value} if isinstance(value, str) else _table(value, "measures", cls)
        texts = {key: _text(item, f"measures.{key}") for key, item in given.items()}
        if "aggregation" in texts:
            texts |= aggregation_of(texts["aggregation"], "measures.aggregation")
        measure = cls(**{"name": texts.get("column", ""), **texts})
        if not measure.name or measure.name == "*":
            raise InvalidInput(f"measures.name: expected a name, got {shown(measure.name)}")
        if measure.aggregation != "ratio":
            return replace(measure, column=measure.column or measure.name)
        if not (measure.numerator and measure.denominator):
            raise InvalidInput(f"measures.numerator: expected two columns for a ratio, got {shown(given)}")
        return measure


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """Where the event time stands; format "" = the one that the first 1,000 rows agree on (ISO 8601 in a stream)."""

    column: str = ""
    format: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set."""
        return {entry.name: value for entry in fields(self) if (value := getattr(self, entry.name))}

    @classmethod
    def from_json(cls, value: object) -> "TimeColumn":
        """Return a checked time column; a bare text is its name."""
        given = {"column": value} if isinstance(value, str) else _table(value, "time", cls)
        found = cls(**{key: _text(item, f"time.{key}") for key, item in given.items()})
        if found.format:
            from masthead.metrics.timestamps import compile_pattern

            compile_pattern(found.format)
        return found


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: a `stream` (a topic filter or a rule), a `path` template or `files`."""

    kind: SourceKind
    topic: str = ""
    rule: str = ""
    template: str = ""
    paths: tuple[str, ...] = ()
    format: Format = field(default_factory=Format)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set."""
        found = {name: getattr(self, name) for name in ("kind", "topic", "rule", "template")}
        found |= {"paths": list(self.paths), "format": _format_json(self.format)}
        return {key: value for key, value in found.items() if value}

    @classmethod
    def from_json(cls, value: object) -> "Source":
        """Return a checked source."""
        source = cls.read(value)
        source.check()
        return source

    @classmethod
    def read(cls, value: object) -> "Source":
        """Return a source whose fields are what they should be, each for itself; `check` judges them."""
        given = _table(value, "source", cls)
        kind = given.get("kind")
        if kind not in get_args(SourceKind):
            raise InvalidInput(f"source.kind: expected stream, path or files, got {shown(kind)}")
        texts = {
            key: _text(given.get(key, ""), f"source.{key}") for key in ("kind", "topic", "rule", "template")
        }
        return cls(
            **texts,  # type: ignore[arg-type]
            paths=_texts(given.get("paths", ()), "source.paths"),
            format=_format(given.get("format", {}), "source.format"),
        )

    def check(self) -> None:
        """Refuse a source from which no row could ever come.

        Raises:
            InvalidInput: A field does not fit the kind, or leads nowhere; named.
        """
        wanted = {"stream": ("topic", "rule"), "path": ("template",), "files": ("paths",)}[self.kind]
        for name in ("topic", "rule", "template", "paths"):
            if name not in wanted and getattr(self, name):
                raise InvalidInput(f"source.{name}: expected none for the kind {self.kind}")
        if self.kind == "stream" and bool(self.topic) == bool(self.rule):
            raise InvalidInput("source.topic: expected either a topic filter or the name of a rule")
        if self.topic:
            check_readings(self.topic, "source.topic")
        if self.kind == "path":
            from masthead.metrics.timestamps import folder_for

            if not self.template.startswith("s3://") or "{{" not in self.template:
                raise InvalidInput(
                    "source.template: expected s3://bucket/path with {{yyyyMMdd}} or the like, "
                    f"got {shown(self.template)}"
                )
            folder_for(self.template, 0.0)
        if self.kind == "files" and not self.paths:
            raise InvalidInput("source.paths: expected at least one file, folder or pattern, got none")


@dataclass(frozen=True, slots=True)
class History:
    """Past rows that warm a detector up before it goes live."""

    paths: tuple[str, ...]
    format: Format = field(default_factory=Format)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that are set."""
        found = {"paths": list(self.paths), "format": _format_json(self.format)}
        return {key: value for key, value in found.items() if value}

    @classmethod
    def from_json(cls, value: object) -> "History":
        """Return a checked history; a bare list is its paths."""
        given = {"paths": value} if isinstance(value, (list, tuple)) else _table(value, "history", cls)
        paths = _texts(given.get("paths", ()), "history.paths")
        if not paths:
            raise InvalidInput("history.paths: expected at least one file, folder or pattern, got none")
        return cls(paths, _format(given.get("format", {}), "history.format"))


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """One detector's settings.

    Attributes:
        name: 1 to 63 letters, digits, `-` or `_`.
        mode: `continuous` goes on for ever; `backtest` scores what is there, once.
        interval: Length of an interval (`5m`, `1d`); `any`, in a backtest only: each record is the next point.
        zone: IANA name; zone of stamps without offset and of local days.
        delay_s: How long after its end an interval waits for its records, 0 to 432,000 s.
        rollups: `none`, `single` (each single value and the total) or `all`.
        dimensions: Columns of categories.
        dedupe: `exact` drops records equal in sender, time, dimensions and measures; default for a stream.
        dedupe_key: A column whose equal values mark a record sent twice; "" = none.
        learning_share: Of a backtest without history: the share of the oldest intervals that only teach, below 1; at
            least 200 do, and at most 900 are tested. 0 = the first 15 %, at least 100 and at most 300.
        time: The event time; without a column a stream's time of arrival is taken.
        filters: Column -> values; rows with other values are left out.
    """

    name: str
    mode: Mode = "continuous"
    interval: str = "5m"
    zone: str = "UTC"
    delay_s: int = 0
    rollups: Rollups = "single"
    dimensions: tuple[str, ...] = ()
    dedupe: str = ""
    dedupe_key: str = ""
    description: str = ""
    learning_share: float = 0.0
    time: TimeColumn = field(default_factory=TimeColumn)
    measures: tuple[Measure, ...] = ()
    source: Source | None = None
    history: History | None = None
    filters: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def interval_s(self) -> int:
        """Length of an interval in seconds; 0 = each record is the next point."""
        return 0 if self.interval == ANY_INTERVAL else parse_duration_s(self.interval, "interval")

    @property
    def drops_duplicates(self) -> bool:
        """Whether equal records count once: by default where a stream may have sent them again."""
        if self.dedupe_key or self.dedupe:
            return bool(self.dedupe_key) or self.dedupe == "exact"
        return self.source is not None and self.source.kind == "stream"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads back as an equal specification."""
        found: dict[str, Any] = {
            name: getattr(self, name) for name in ("name", "mode", "interval", "zone", "delay_s", "rollups")
        }
        found["dimensions"] = list(self.dimensions)
        found |= {
            name: getattr(self, name)
            for name in ("dedupe", "dedupe_key", "description", "learning_share")
            if getattr(self, name)
        }
        found |= {"time": self.time.to_json(), "measures": [measure.to_json() for measure in self.measures]}
        for name in ("source", "history"):
            if (part := getattr(self, name)) is not None:
                found[name] = part.to_json()
        if self.filters:
            found["filters"] = {column: list(values) for column, values in self.filters.items()}
        return found

    @classmethod
    def from_json(cls, value: object) -> "DetectorSpec":
        """Return a checked specification.

        Raises:
            InvalidInput: A field is unknown or outside its domain; the message names it.
        """
        spec = cls.read(value)
        spec.check()
        return spec

    @classmethod
    def read(cls, value: object) -> "DetectorSpec":
        """Return a specification as it was stored; `check` judges whether it would be taken today.

        What came in before a check was there must not keep the others from being read.
        """
        given = _table(value, "detector", cls)
        plain = {
            key: _text(item, key)
            for key, item in given.items()
            if key in ("name", "mode", "zone", "rollups", "dedupe", "dedupe_key", "description")
        }
        check_name(plain.get("name"))
        return cls(
            **plain,  # type: ignore[arg-type]
            interval=_interval(given.get("interval", "5m")),
            delay_s=_delay(given.get("delay_s", 0)),
            learning_share=_share(given.get("learning_share", 0.0)),
            dimensions=_texts(given.get("dimensions", ()), "dimensions"),
            time=TimeColumn.from_json(given.get("time", {})),
            measures=tuple(
                Measure.from_json(item) for item in _listed(given.get("measures", ()), "measures")
            ),
            source=None if given.get("source") is None else Source.read(given["source"]),
            history=None if given.get("history") in (None, {}) else History.from_json(given["history"]),
            filters=_filters(given.get("filters", {})),
        )

    @classmethod
    def from_toml(cls, text: str) -> "DetectorSpec":
        """Return the specification of a TOML file.

        Raises:
            InvalidInput: It is no TOML, or a field is outside its domain.
        """
        try:
            return cls.from_json(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"detector: expected TOML: {error}", field="detector") from error

    def to_toml(self) -> str:
        """Return the specification as a TOML file that `from_toml` reads back."""
        return write_toml(self.to_json())

    def changed(self, part: Mapping[str, Any]) -> "DetectorSpec":
        """Return the specification with some fields replaced; `time` and `source` whole, None = back to default."""
        merged = {**self.to_json(), **part}
        return DetectorSpec.from_json({key: value for key, value in merged.items() if value is not None})

    def require_complete(self) -> None:
        """Refuse a specification that cannot be activated yet.

        Raises:
            InvalidInput: Source, measures or time are missing, or do not fit the mode; named.
        """
        if self.source is None:
            raise InvalidInput("source: expected where the rows come from, got none")
        self.source.check()
        if not self.measures:
            raise InvalidInput("measures: expected at least one, got none")
        if not self.time.column and self.source.kind != "stream":
            raise InvalidInput("time: expected the column of the event time, got none")
        self.require_fit()

    def require_fit(self) -> None:
        """Refuse a source that the mode cannot read.

        Raises:
            InvalidInput: Files in continuous mode, or a stream, which is never at its end, in a backtest.
        """
        kind = None if self.source is None else self.source.kind
        if self.mode == "continuous" and kind == "files":
            raise InvalidInput(
                "source.kind: expected stream or path in continuous mode, got files; use mode backtest"
            )
        if self.mode == "backtest" and kind == "stream":
            raise InvalidInput(
                "source.kind: expected files or path in backtest mode, got stream; use mode continuous"
            )

    def check(self) -> None:
        """Refuse what cannot be a detector's settings, whole or in parts.

        Raises:
            InvalidInput: A field is outside its domain; named.
        """
        if self.source is not None:
            self.source.check()
        if self.mode == "backtest":  # the other mode is what nobody chose yet: it may follow its data
            self.require_fit()
        for name, kinds in (("mode", Mode), ("rollups", Rollups)):
            if getattr(self, name) not in get_args(kinds):
                raise InvalidInput(
                    f"{name}: expected one of {', '.join(get_args(kinds))}, got {shown(getattr(self, name))}"
                )
        if self.dedupe not in ("", "exact", "none"):
            raise InvalidInput(f"dedupe: expected exact or none, got {shown(self.dedupe)}")
        if self.learning_share and (self.mode != "backtest" or self.history is not None):
            raise InvalidInput("learning_share: expected none but in backtest mode without a history")
        if self.interval == ANY_INTERVAL and self.mode != "backtest":
            raise InvalidInput("interval: expected a duration in continuous mode, got any")
        zone_of(self.zone)
        _distinct([measure.name for measure in self.measures], "measures")
        _distinct(self.dimensions, "dimensions")
        if self.time.column and self.time.column in self.dimensions:
            raise InvalidInput(f"dimensions: expected columns other than the time, got {self.time.column}")


def require_apart(measures: Sequence[Measure], dimensions: Sequence[str]) -> None:
    """Refuse a column that is to be a number and a category: within a series it is one value for ever.

    Not a part of `DetectorSpec.from_json`, which reads also what was stored before this was asked. Rows may be counted
    by any column.

    Raises:
        InvalidInput: There is one; it is named.
    """
    for measure in measures:
        for column in measure.columns if measure.aggregation != "count" else ():
            if column in dimensions:
                raise InvalidInput(
                    f"measures: expected columns other than the dimensions, got {shown(column)} in both"
                    " measures and dimensions"
                )


def aggregation_of(text: str, name: str = "aggregation") -> dict[str, str]:
    """Return the fields of a measure that an aggregation says, in any case: `AVG`, `p95`, `RATIO(errors, calls)`.

    Raises:
        InvalidInput: There is no such aggregation; the message lists them.

    >>> aggregation_of("RATIO(errors, calls)")
    {'aggregation': 'ratio', 'numerator': 'errors', 'denominator': 'calls'}
    """
    if (found := text.strip().lower()) in AGGREGATIONS:
        return {"aggregation": found}
    if (ratio := _RATIO.fullmatch(text.strip())) is not None:
        return {"aggregation": "ratio", "numerator": ratio[1].strip(), "denominator": ratio[2].strip()}
    raise InvalidInput(f"{name}: expected one of {', '.join(AGGREGATIONS)}, got {shown(text)}")


def dimension_values(texts: Sequence[str]) -> dict[str, str]:
    """Return the dimensions of a series that were written as `NAME=VALUE`.

    Raises:
        InvalidInput: One of them has no equals sign.

    >>> dimension_values(["LOCATION_ID=B-101"])
    {'LOCATION_ID': 'B-101'}
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"dimension: expected NAME=VALUE, got {shown(text)}")
        found[name] = value
    return found


# --- values as people give them ---------------------------------------------------------------------------


def _table(value: object, name: str, kind: type[Any]) -> dict[str, Any]:
    """Return a mapping whose keys are all fields of `kind`; keys that are None count as absent."""
    known = [entry.name for entry in fields(kind)]
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name}: expected a table with {', '.join(known)}, got {shown(value)}")
    for key in value:
        if key not in known:
            prefix = "" if name == "detector" else f"{name}."
            raise InvalidInput(f"{prefix}{key}: expected one of {', '.join(known)}, got another name")
    return {key: item for key, item in value.items() if item is not None}


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > 4096 or any(ord(char) < 32 for char in value):
        raise InvalidInput(f"{name}: expected a text on one line, got {shown(value)}")
    return value


def _listed(value: object, name: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise InvalidInput(f"{name}: expected a list, got {shown(value)}")
    return list(value)


def _texts(value: object, name: str) -> tuple[str, ...]:
    found = tuple(_text(item, name) for item in _listed(value, name))
    if any(not item for item in found):
        raise InvalidInput(f"{name}: expected texts that are not empty, got {shown(value)}")
    return found


def _interval(value: object) -> str:
    if value == ANY_INTERVAL:
        return ANY_INTERVAL
    if not isinstance(value, (str, int, float)):
        raise InvalidInput(f"interval: expected a duration such as 5m, 1h or 1d, got {shown(value)}")
    return short_duration(check_interval(parse_duration_s(value, "interval")))


def _delay(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_DELAY_S:
        raise InvalidInput(f"delay_s: expected 0 to {MOST_DELAY_S:,} seconds, got {shown(value)}")
    return value


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise InvalidInput(f"learning_share: expected a share from 0 to below 1, got {shown(value)}")
    return float(value)


def _format(value: object, name: str) -> Format:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{name}: expected a table, got {shown(value)}")
    return Format.from_json(value)


def _format_json(value: Format) -> dict[str, Any]:
    """Return the parts that differ from the default."""
    default = Format()
    found = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    return {
        key: list(item) if isinstance(item, tuple) else item
        for key, item in found.items()
        if item != getattr(default, key)
    }


def _filters(value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping) or len(value) > MOST_FILTERS:
        raise InvalidInput(
            f"filters: expected a table of at most {MOST_FILTERS} columns and their values, got {shown(value)}"
        )
    return {_text(key, "filters"): _texts(items, f"filters.{key}") for key, items in value.items()}


def _distinct(names: tuple[str, ...] | list[str], what: str) -> None:
    if len(set(names)) != len(names):
        raise InvalidInput(f"{what}: expected different names, got {shown(list(names))}")


def is_local(path: str) -> bool:
    """Return whether a path of a source lies in the file system rather than among the objects.

    >>> is_local("/data/a.csv"), is_local("s3://air/a.csv")
    (True, False)
    """
    return not path.startswith("s3:") and PurePosixPath(path).parts[:1] != ("s3:",)
