"""What a person must know before a data set is used: columns, rows as parsed, and each obstacle with its way out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, MastheadError, shown
from masthead.base.units import short_duration
from masthead.metrics.columns import labels_of, numbers_of, texts_of
from masthead.metrics.files import Source, load
from masthead.metrics.groups import learning_points
from masthead.metrics.intervals import interval_starts
from masthead.metrics.problems import Problems
from masthead.metrics.quality import DataQuality, describe, measure_quality
from masthead.metrics.raw import Column, Format, Raw, Wanted
from masthead.metrics.readers import Rows, Selection, Unusable, read_rows
from masthead.metrics.spec import Measure, require_apart
from masthead.metrics.timestamps import agree, compile_pattern, fitting

ROWS_PER_SOURCE = 10_000
SAMPLE_ROWS = 20
_GUESS_ROWS = 1000
_CATEGORIES = 0.2  # a text column with fewer different values than this share of its rows is a dimension
_MOST_SERIES = 50_000

Level = Literal["error", "warning", "info"]
Type = Literal["time", "number", "category", "text", "empty"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the caller already knows of the data; the rest is guessed from it.

    Attributes:
        time, time_format, zone, measures, dimensions, filters: As in a detector; "" and () = guess.
        interval_s: Length of an interval; 0 = each record is one.
    """

    time: str = ""
    time_format: str = ""
    zone: str = "UTC"
    measures: tuple[Measure, ...] = ()
    dimensions: tuple[str, ...] = ()
    interval_s: int = 300
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ColumnFound:
    """A column of the data: its guessed type, how many values are missing, some examples."""

    name: str
    type: Type
    missing: int
    different: int
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to know, and what to do next; an error stands in the way of using the data."""

    level: Level
    field: str
    message: str
    action: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Validation:
    """The answer to "can this data be used?".

    Attributes:
        valid: No finding is an error.
        columns: As found, with guessed types. sample: 20 rows as parsed.
        used: The expectation with what was guessed filled in.
        quality: Counts, of no rows when none could be used; None when nothing could be read.
        enough_at: When the data will be enough to learn from, ISO 8601; None when unknown.
        complete: Whether every row was looked at; False where a file was longer than 10,000 rows.
    """

    valid: bool
    columns: tuple[ColumnFound, ...]
    sample: tuple[dict[str, Any], ...]
    used: Expectation
    quality: DataQuality | None
    findings: tuple[Finding, ...]
    enough_at: str | None = None
    complete: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "valid": self.valid,
            "columns": [column.to_json() for column in self.columns],
            "sample": list(self.sample),
            "time": {"column": self.used.time, "format": self.used.time_format, "zone": self.used.zone},
            "measures": [measure.to_json() for measure in self.used.measures],
            "dimensions": list(self.used.dimensions),
            "interval": short_duration(self.used.interval_s) if self.used.interval_s else "any",
            "quality": None if self.quality is None else self.quality.to_json(),
            "findings": [finding.to_json() for finding in self.findings],
            "enough_at": self.enough_at,
            "complete": self.complete,
        }

    def require_valid(self) -> None:
        """Refuse data that cannot be used.

        Raises:
            InvalidInput: The first error, with its action.
        """
        for finding in self.findings:
            if finding.level == "error":
                action = f"; {finding.action}" if finding.action else ""
                raise InvalidInput(finding.message + action, field=finding.field or None)

    def lines(self) -> list[str]:
        """Return the answer as people read it."""
        found = []
        if self.quality is not None and self.quality.rows:
            found.append(
                f"{self.quality.rows:,} rows from {self.quality.first} to {self.quality.last}, "
                f"{self.quality.series:,} tuples of {', '.join(self.used.dimensions) or 'no dimensions'}, "
                f"times as {self.quality.time_format!r}"
            )
        for finding in self.findings:
            found.append(
                f"{finding.level}: {finding.message}" + (f" -> {finding.action}" if finding.action else "")
            )
        return [*found, "Validation successful" if self.valid else "Validation failed"]


def validate_files(
    sources: Sequence[Source],
    expected: Expectation,
    format: Format | None = None,
    *,
    inherited: tuple[str, ...] = (),
    judge: Callable[[Rows], Sequence[Finding]] = lambda rows: (),
) -> Validation:
    """Return what up to 10,000 rows of each source hold; never raises for what is wrong with the data.

    Args:
        inherited: Names for a CSV file without header.
        judge: What else is to be said of the rows.
    """
    format = format or Format()
    findings: list[Finding] = []
    columns: tuple[ColumnFound, ...] = ()
    try:
        raws, problems, complete = _heads(sources, format, expected.time, inherited)
        if not raws:
            raise InvalidInput(_nothing(problems))
        columns = tuple(_column(name, raws[0].columns[name], expected.zone) for name in raws[0].names)
        expected = _filled(expected, columns, raws[0], findings)
        rows, quality = _rows(sources, expected, format, inherited, findings)
    except MastheadError as error:
        findings.append(_failure(error))
        return Validation(False, columns, (), expected, None, tuple(findings))
    if _has_error(findings):
        return Validation(False, columns, (), expected, quality, tuple(findings))
    expected = replace(expected, time_format=rows.time_format)
    findings += [*_judged(quality, expected), *judge(rows)]
    sample = tuple(_sample_row(rows, row) for row in range(min(SAMPLE_ROWS, len(rows))))
    valid = not _has_error(findings)
    return Validation(
        valid, columns, sample, expected, quality, tuple(findings), _enough_at(rows, expected), complete
    )


def _heads(
    sources: Sequence[Source], format: Format, key: str, inherited: tuple[str, ...]
) -> tuple[list[Raw], Problems, bool]:
    """Return the columns of every source, cut to the rows that are looked at."""
    problems, found, complete = Problems(), [], True
    for source in sources:
        raw = load(source, format, Wanted(None, key, inherited), problems)
        if raw is None:
            continue
        complete = complete and len(raw.lines) <= ROWS_PER_SOURCE
        raw.columns = {name: column[:ROWS_PER_SOURCE] for name, column in raw.columns.items()}
        raw.lines = raw.lines[:ROWS_PER_SOURCE]
        found.append(raw)
    return found, problems, complete


def _rows(
    sources: Sequence[Source],
    expected: Expectation,
    format: Format,
    inherited: tuple[str, ...],
    findings: list[Finding],
) -> tuple[Rows, DataQuality]:
    """Return the rows and what was counted, which is told of rows, too, of which none can be used."""
    from masthead.metrics.cubes import columns_of

    problems = Problems()
    numbers = tuple(dict.fromkeys(column for measure in expected.measures for column in columns_of(measure)))
    selection = Selection(
        expected.time, expected.time_format, expected.zone, numbers, expected.dimensions, expected.filters
    )
    try:
        rows = read_rows(
            sources, selection, format, problems=problems, inherited=inherited, rows_each=ROWS_PER_SOURCE
        )
    except Unusable as error:
        if not _has_error(findings):  # a format that fits no row says more
            findings.append(_failure(error))
        rows = error.rows
    return rows, measure_quality(rows, problems, interval_s=expected.interval_s, zone=expected.zone)


# --- guessing --------------------------------------------------------------------------------------------


def _column(name: str, column: Column, zone: str) -> ColumnFound:
    """Return a column's guessed type from its first rows."""
    head = column[:_GUESS_ROWS]
    texts = [text for text in texts_of(head) if text is not None and text.strip()]
    labels = labels_of(head)
    known = len(texts)
    type_: Type = "text"
    if isinstance(column, pa.Array) and pa.types.is_temporal(column.type):
        type_ = "time"
    elif not known:
        type_ = "empty"
    else:
        type_ = _type(head, texts, len(labels.values), zone)
    examples = tuple(dict.fromkeys(text.strip()[:40] for text in texts[:50]))[:3]
    return ColumnFound(name, type_, len(head) - known, len(labels.values), examples)


def _type(head: Column, texts: list[str], different: int, zone: str) -> Type:
    values, bad = numbers_of(head, ("", "null", "NaN", "NA"))
    numeric = int((~np.isnan(values)).sum())
    if numeric > 0.5 * len(texts) and not any(len(rows) > 0.2 * len(texts) for rows in bad.values()):
        return "time" if _fits_epoch(texts) else "number"
    try:
        agree(texts, zone)
        return "time"
    except InvalidInput as error:
        if "both fit" in error.message:
            return "time"
    best = next(iter(fitting(texts[:100], zone).values()), 0)
    if best > 0.5 * min(100, len(texts)):
        return "time"
    return "category" if different <= max(20, _CATEGORIES * len(texts)) else "text"


def _fits_epoch(texts: list[str]) -> bool:
    """Return whether whole numbers rise like a clock between 2000 and 2060, in s or ms."""
    try:
        return (
            len(set(texts)) > 1
            and agree(texts) in ("epoch_s", "epoch_ms")
            and all("." not in t for t in texts[:50])
        )
    except InvalidInput:
        return False


def _filled(
    expected: Expectation, columns: tuple[ColumnFound, ...], raw: Raw, findings: list[Finding]
) -> Expectation:
    """Return the expectation with time, measures and dimensions guessed where none were given."""
    by_type: dict[str, list[str]] = {}
    for column in columns:
        by_type.setdefault(column.type, []).append(column.name)
    if not expected.time:
        times = by_type.get("time", [])
        if not times:
            raise InvalidInput(
                f"time: expected a column of times, got {shown(list(raw.names), 400)}", field="time"
            )
        expected = replace(expected, time=times[0])
        findings.append(Finding("info", "time", f"{times[0]} looks like the event time"))
    if not expected.measures:
        numbers = [name for name in by_type.get("number", ()) if name not in expected.dimensions]
        if not numbers:
            raise InvalidInput("measures: expected a column of numbers, got none", field="measures")
        expected = replace(expected, measures=tuple(Measure(name, name) for name in numbers[:10]))
        if not expected.dimensions:
            guessed = tuple(name for name in by_type.get("category", ()) if name != expected.time)
            expected = replace(expected, dimensions=guessed[:10])
    require_apart(expected.measures, expected.dimensions)
    _check_format(expected, raw, findings)
    return expected


def _check_format(expected: Expectation, raw: Raw, findings: list[Finding]) -> None:
    """Say how many stamps the given format reads, and which one would read more."""
    column = raw.columns.get(expected.time)
    if column is None or (isinstance(column, pa.Array) and pa.types.is_temporal(column.type)):
        return
    texts = [text for text in texts_of(column) if text is not None and text.strip()]
    if not expected.time_format:
        return
    parser = compile_pattern(expected.time_format, expected.zone)
    findings += [
        Finding("warning", "time.format", f"{expected.time_format}: {text}") for text in parser.warnings
    ]
    fits = int((~np.isnan(parser.parse_many(texts).seconds)).sum())
    if fits == len(texts):
        return
    others = {form: count for form, count in fitting(texts, expected.zone).items() if count > fits}
    better = next(iter(others.items()), None)
    message = f"{expected.time}: {fits:,} of {len(texts):,} rows match {expected.time_format}"
    if better is not None:
        action = f"use {better[0]}, which matches {'all' if better[1] == len(texts) else f'{better[1]:,}'}"
    else:
        action = "name the format that these stamps have" if not fits else "mend or drop the other rows"
    findings.append(Finding("error" if fits == 0 else "warning", "time.format", message, action))


# --- judging ---------------------------------------------------------------------------------------------


def _judged(quality: DataQuality, expected: Expectation) -> list[Finding]:
    """Return what the counts mean, each with the next action."""
    found = [Finding("info", "", line) for line in describe(quality)]
    if quality.duplicates:
        message = f"{quality.duplicates:,} rows are equal in time, dimensions and measures"
        found.append(Finding("warning", "dedupe", message, "set dedupe = exact if a sender repeats itself"))
    for name, missing in quality.missing.items():
        if missing == quality.rows:
            found.append(Finding("error", name, f"{name}: no row has a value", "choose another measure"))
        elif missing > 0.5 * quality.rows:
            found.append(
                Finding("warning", name, f"{name}: {missing:,} of {quality.rows:,} rows have no value")
            )
    series = quality.series * len(expected.measures)
    if series > _MOST_SERIES:
        widest = max(quality.labels, key=lambda name: quality.labels[name])
        message = (
            f"{widest}: {quality.labels[widest]:,} values make {series:,} series, more than {_MOST_SERIES:,}"
        )
        found.append(Finding("error", widest, message, "leave this dimension out or filter it"))
    if quality.refused > 0.5 * (quality.refused + quality.rows):
        found.append(Finding("warning", "", "more is refused than used", "look at the problems listed"))
    if expected.interval_s and quality.intervals_empty > 0.5 * quality.intervals_expected:
        message = f"{quality.intervals_empty:,} of {quality.intervals_expected:,} intervals are empty"
        found.append(Finding("warning", "interval", message, "choose a longer interval"))
    return found


def _enough_at(rows: Rows, expected: Expectation) -> str | None:
    """Return when the data reaches the intervals of full confidence, from its own pace; its end when it has."""
    if not expected.interval_s or not len(rows):
        return None
    starts = np.unique(interval_starts(rows.times, expected.interval_s, expected.zone))
    missing = max(0, learning_points(expected.interval_s)[1] - len(starts))
    return utc(float(starts[-1]) + (missing + 1) * expected.interval_s).isoformat()


def _sample_row(rows: Rows, row: int) -> dict[str, Any]:
    numbers = {
        name: None if np.isnan(values[row]) else float(values[row]) for name, values in rows.numbers.items()
    }
    labels = {name: column.values[column.codes[row]] for name, column in rows.labels.items()}
    return {"time": utc(float(rows.times[row])).isoformat(), **labels, **numbers}


def _nothing(problems: Problems) -> str:
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in problems.by_reason.most_common(3))
    return f"data: expected rows, got {reasons or 'none'}"


def _has_error(findings: Sequence[Finding]) -> bool:
    return any(finding.level == "error" for finding in findings)


def _failure(error: MastheadError) -> Finding:
    """Return the finding of an error that reading met."""
    return Finding("error", error.field or "", error.message, _remedy(error))


def _remedy(error: MastheadError) -> str:
    """Return what to do about an error that reading met."""
    if error.field == "columns":
        return "name the columns in order: columns = A, B, C"
    if error.field == "format" and "both fit" in error.message:
        return "name the one that is meant as the time format"
    if error.field in ("time", "data"):
        return "check the column and the format of the time"
    return ""
