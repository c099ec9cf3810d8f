"""Files and messages to rows: times, numbers and labels as arrays, and a problem for all that is none.

A row without a usable time is refused whole. A number that is none costs that one value: the row and its
other numbers stay. Every refusal is counted by reason; the first 1,000 are kept with file, line and value.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.metrics.columns import Labels, join_labels, labels_of, no_labels, numbers_of, texts_of
from masthead.metrics.files import Source, load
from masthead.metrics.intervals import utc_of_local
from masthead.metrics.problems import Problems, shorten
from masthead.metrics.raw import Column, Format, Raw, Wanted
from masthead.metrics.timestamps import EARLIEST_S, LATEST_S, Parser, agree, compile_pattern
from masthead.metrics.zones import DAY_S

_FAR_WIDTHS = 20.0
_FAR_SLACK_S = 366.0 * DAY_S


@dataclass(frozen=True, slots=True)
class Selection:
    """Which columns of a source mean what.

    Attributes:
        time: Column of the event time; "" = the time of arrival (messages only).
        time_format: Java letters, epoch_s, epoch_ms or iso; "" = found from the first 1,000 rows.
        zone: IANA zone of stamps without an offset.
        numbers: Columns of the measures.
        labels: Columns of the dimensions.
        filters: Column -> labels; rows with another label are left out.
        key: Column whose equal values mark a record sent twice; "" = none.
    """

    time: str
    time_format: str = ""
    zone: str = "UTC"
    numbers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    key: str = ""

    def columns(self) -> frozenset[str]:
        """Return every column that is read."""
        return frozenset({self.time, *self.numbers, *self.labels, *self.filters, self.key} - {""})


@dataclass(frozen=True, slots=True)
class Rows:
    """What was read, in the order of reading.

    Attributes:
        times: (rows,) float64 UTC epoch seconds, never NaN.
        numbers: Column -> (rows,) float64, NaN = missing.
        labels: Column -> labels. key: Labels of the key column, or None.
        files: Names; `file` (rows,) int64 are places in it. lines: (rows,) int64 from 1.
        time_format: The format that was used.
        names: Columns of the source, in order.
        repeated, moved: Stamps of the autumn hour that occurs twice and of the spring hour that does not.
        filtered: Rows that the filters left out.
    """

    times: NDArray[np.float64]
    numbers: dict[str, NDArray[np.float64]]
    labels: dict[str, Labels]
    key: Labels | None
    files: tuple[str, ...]
    file: NDArray[np.int64]
    lines: NDArray[np.int64]
    time_format: str = ""
    names: tuple[str, ...] = ()
    repeated: int = 0
    moved: int = 0
    filtered: int = 0

    def __len__(self) -> int:
        return len(self.times)

    def take(self, rows: NDArray[Any]) -> "Rows":
        """Return the rows at these places, or where a mask of all rows is true."""
        return replace(
            self,
            times=self.times[rows],
            numbers={name: values[rows] for name, values in self.numbers.items()},
            labels={name: Labels(column.codes[rows], column.values) for name, column in self.labels.items()},
            key=None if self.key is None else Labels(self.key.codes[rows], self.key.values),
            file=self.file[rows],
            lines=self.lines[rows],
        )


class Unusable(InvalidInput):
    """Files were read, and nothing can be learned from them; `rows` are those that have a time, which may be none."""

    def __init__(self, message: str, rows: Rows, *, field: str | None = None) -> None:
        super().__init__(message, field=field)
        self.rows = rows


def read_rows(
    sources: Sequence[Source],
    selection: Selection,
    format: Format | None = None,
    *,
    problems: Problems | None = None,
    inherited: tuple[str, ...] = (),
    latest_s: float = LATEST_S,
    rows_each: int | None = None,
) -> Rows:
    """Return the rows of all `sources`, one after another.

    Args:
        problems: Takes what could not be used.
        inherited: Names for a CSV file without header, when their number fits.
        latest_s: Later event times are refused: a clock that runs ahead.
        rows_each: Look at no more rows of each source.

    Raises:
        Unusable: No source has a usable row, or a measure holds no number.
        InvalidInput: A column is nowhere, or times agree on no format.
        NotFound: A file is gone. LimitReached: A file is too large.
    """
    format = format or Format()
    problems = problems if problems is not None else Problems()
    wanted = Wanted(selection.columns(), selection.time, inherited)
    parts: list[Rows] = []
    form = selection.time_format
    names: tuple[str, ...] = ()
    headed = ""  # the file that has them
    checks = _Checks(selection)
    for place, source in enumerate(sources):
        raw = load(source, format, wanted, problems)
        if raw is None:
            continue
        if rows_each is not None:
            raw.columns = {name: column[:rows_each] for name, column in raw.columns.items()}
            raw.lines = raw.lines[:rows_each]
        names, headed = (names, headed) if names else (raw.names, source.name)
        checks.seen.update(raw.names)
        if selection.time not in raw.columns:
            problems.add(source.name, 0, selection.time, "", "no such column")
            continue
        if not form:
            sample = _sample(raw.columns[selection.time])
            if not sample:
                problems.add(source.name, 0, selection.time, "", "no times")
                continue
            form = agree(sample, selection.zone)
        rows = _rows(
            raw, source.name, replace(selection, time_format=form), format, problems, checks, latest_s
        )
        parts.append(replace(rows, file=np.full(len(rows), place)))
    checks.settle_columns(names, headed)
    rows = _joined(parts, tuple(source.name for source in sources), selection, form, names)
    checks.settle_numbers(rows)
    rows = _without_far(rows, selection, problems)
    if not len(rows):
        raise Unusable(_nothing(sources, selection, problems, rows.filtered), rows)
    return rows


def rows_of_records(
    records: Sequence[Mapping[str, Any]],
    selection: Selection,
    *,
    arrived: Sequence[float],
    origins: Sequence[str | None] | None = None,
    missing_values: tuple[str, ...] = Format().missing_values,
    name: str = "",
    latest_s: float = LATEST_S,
    problems: Problems | None = None,
) -> Rows:
    """Return the rows of decoded messages; `lines` are places in `records`, from 1.

    Args:
        arrived: (records,) UTC epoch seconds, used where the selection has no time column and to choose
            between the two readings of a repeated autumn hour.
        origins: Who sent each record; the key when the selection names none.
        name: What problems call the source.
    """
    problems = problems if problems is not None else Problems()
    columns: dict[str, Column] = {
        column: [record.get(column) for record in records] for column in selection.columns()
    }
    raw = Raw("json", columns, tuple(columns), np.arange(1, len(records) + 1))
    format = Format(missing_values=missing_values)
    rows = _rows(raw, name, selection, format, problems, _Checks(selection), latest_s, arrived)
    if origins is not None and not selection.key:
        found = labels_of([origin or "" for origin in origins])
        rows = replace(rows, key=Labels(found.codes[rows.lines - 1], found.values))
    return replace(rows, files=(name,))


def _rows(
    raw: Raw,
    name: str,
    selection: Selection,
    format: Format,
    problems: Problems,
    checks: "_Checks",
    latest_s: float,
    arrived: Sequence[float] | None = None,
) -> Rows:
    """Return the usable rows of one file's columns."""
    count = len(raw.lines)
    labels = {
        column: labels_of(raw.columns[column]) if column in raw.columns else no_labels(count)
        for column in {*selection.labels, *selection.filters, *([selection.key] if selection.key else ())}
    }
    keep, filtered = _filtered(labels, selection, count)
    times, repeated, moved = _times(raw, name, selection, labels, keep, problems, arrived)
    late = keep & (times > latest_s)
    if late.any():
        at = np.flatnonzero(late)
        problems.add_rows(
            name, raw.lines[at].tolist(), selection.time, _shown(raw, selection.time, at), "in the future"
        )
    keep &= ~np.isnan(times) & ~late
    numbers = {}
    for column in dict.fromkeys(selection.numbers):
        if column in raw.columns:
            numbers[column] = _numbers(raw, name, column, keep, format.missing_values, problems, checks)
        else:
            numbers[column] = np.full(count, np.nan)
    rows = Rows(
        times=times,
        numbers=numbers,
        labels={column: labels[column] for column in selection.labels},
        key=labels.get(selection.key),
        files=(name,),
        file=np.zeros(count, np.int64),
        lines=raw.lines,
        time_format=selection.time_format,
        names=raw.names,
        repeated=repeated,
        moved=moved,
        filtered=filtered,
    )
    return rows if keep.all() else rows.take(keep)


def _filtered(
    labels: Mapping[str, Labels], selection: Selection, count: int
) -> tuple[NDArray[np.bool_], int]:
    """Return (rows,) bool: which rows pass every filter, and how many do not."""
    keep = np.ones(count, bool)
    for column, allowed in selection.filters.items():
        wanted = np.array([value in allowed for value in labels[column].values] or [False])
        keep &= wanted[labels[column].codes] if count else keep
    return keep, count - int(keep.sum())


# --- times -----------------------------------------------------------------------------------------------


def _times(
    raw: Raw,
    name: str,
    selection: Selection,
    labels: Mapping[str, Labels],
    keep: NDArray[np.bool_],
    problems: Problems,
    arrived: Sequence[float] | None,
) -> tuple[NDArray[np.float64], int, int]:
    """Return (rows,) float64 with NaN where a row has no time, told to `problems`, and the two odd counts."""
    if not selection.time:
        return np.array(arrived if arrived is not None else [np.nan] * len(raw.lines), np.float64), 0, 0
    column = raw.columns[selection.time]
    if isinstance(column, pa.Array) and pa.types.is_temporal(column.type):
        return _typed_times(column, selection.zone)
    parser = compile_pattern(selection.time_format or "iso", selection.zone)
    texts = texts_of(column)
    series = (
        _series([labels[label] for label in selection.labels], len(texts))
        if selection.zone != "UTC"
        else None
    )
    found = parser.parse_many(texts, series)
    if arrived is not None and found.repeated:
        _settle_by_arrival(found.seconds, texts, parser, arrived)
    refused = [row for row in found.reasons if keep[row]]
    by_reason: dict[str, list[int]] = {}
    for row in sorted(refused):
        by_reason.setdefault(_short_reason(found.reasons[row], selection.time_format), []).append(row)
    for reason, at in by_reason.items():
        problems.add_rows(name, raw.lines[at].tolist(), selection.time, (texts[row] for row in at), reason)
    return found.seconds, found.repeated, found.moved


def _short_reason(message: str, form: str) -> str:
    """Return a reason that equal problems share: without the value."""
    if message in ("time: missing", "time: outside 1970 to 2099"):
        return message.replace("time: ", "time ")
    return f"time is not {form}"


def _settle_by_arrival(
    seconds: NDArray[np.float64], texts: Sequence[str | None], parser: Parser, arrived: Sequence[float]
) -> None:
    for row in np.flatnonzero(~np.isnan(seconds)).tolist():
        seconds[row] = parser.parse(texts[row], near_s=arrived[row])


def _typed_times(column: pa.Array, zone: str) -> tuple[NDArray[np.float64], int, int]:
    """Return the seconds of a Parquet column of dates or timestamps; those without zone are local."""
    aware = pa.types.is_timestamp(column.type) and column.type.tz is not None
    micros = column.cast(pa.timestamp("us", tz=column.type.tz if aware else None), safe=False).cast(
        pa.int64()
    )
    known = ~np.asarray(micros.is_null())
    values = np.asarray(micros.fill_null(0), np.int64)
    seconds, micro = values // 1_000_000, values % 1_000_000
    known &= (seconds >= EARLIEST_S) & (seconds < LATEST_S)
    repeated = moved = 0
    if not aware and known.any():
        seconds[known], repeated, moved = utc_of_local(seconds[known], zone)
    return np.where(known, seconds + micro / 1e6, np.nan), repeated, moved


def _series(labels: Sequence[Labels], rows: int) -> NDArray[np.int64] | None:
    """Return (rows,) int64: one number per tuple of labels; None without labels."""
    if not labels:
        return None
    codes = np.zeros(rows, np.int64)
    for column in labels:
        _, codes = np.unique(codes * len(column.values) + column.codes, return_inverse=True)
    return codes


def _sample(column: Column) -> list[str]:
    """Return up to 1,000 stamps to find a format from; those of a typed column need none."""
    if isinstance(column, pa.Array) and pa.types.is_temporal(column.type):
        return ["1970-01-01"]
    texts = [text for text in texts_of(column[:5000]) if text is not None and text.strip()]
    return texts[:1000]


def _without_far(rows: Rows, selection: Selection, problems: Problems) -> Rows:
    """Return the rows without those years away from all others: one clock reset to 1970 is not 50 years of gap."""
    if len(rows) < 4:
        return rows
    low, high = np.quantile(rows.times, [0.25, 0.75], method="inverted_cdf")
    slack = _FAR_WIDTHS * (high - low) + _FAR_SLACK_S
    far = (rows.times < low - slack) | (rows.times > high + slack)
    for row in np.flatnonzero(far).tolist():
        stamp = dt.datetime.fromtimestamp(rows.times[row], dt.UTC).isoformat()
        problems.add(
            rows.files[rows.file[row]],
            int(rows.lines[row]),
            selection.time,
            stamp,
            "time far from all others",
        )
    return rows.take(~far) if far.any() else rows


# --- numbers ---------------------------------------------------------------------------------------------


class _Checks:
    """Sees across files whether a measure ever was a number, and which columns were there at all."""

    def __init__(self, selection: Selection) -> None:
        self.good = dict.fromkeys(selection.numbers, 0)
        self.bad = dict.fromkeys(selection.numbers, 0)
        self.example: dict[str, str] = {}
        self.columns = selection.columns()
        self.seen: set[str] = set()

    def settle_columns(self, names: tuple[str, ...], file: str) -> None:
        """Raise InvalidInput for a column that no file has."""
        for column in sorted(self.columns - self.seen) if names else ():
            raise InvalidInput(
                f"{column}: expected a column among {shown(list(names), 400)} of {file}, got none of that name",
                field=column,
            )

    def settle_numbers(self, rows: Rows) -> None:
        """Raise Unusable for a measure without any number."""
        for column, bad in self.bad.items():
            if bad and not self.good[column]:
                raise Unusable(
                    f"{column}: expected numbers, got {shown(self.example[column])} and the like in all {bad:,} rows",
                    rows,
                    field=column,
                )


def _numbers(
    raw: Raw,
    name: str,
    column: str,
    keep: NDArray[np.bool_],
    missing: tuple[str, ...],
    problems: Problems,
    checks: _Checks,
) -> NDArray[np.float64]:
    """Return (rows,) float64 of one measure, NaN = missing; what is no number is told to `problems`."""
    values, bad = numbers_of(raw.columns[column], missing)
    for reason, at in bad.items():
        rows = at[keep[at]]
        problems.add_rows(name, raw.lines[rows].tolist(), column, _shown(raw, column, rows), reason)
        if len(rows):
            checks.bad[column] += len(rows)
            checks.example.setdefault(column, next(iter(_shown(raw, column, rows[:1]))))
    checks.good[column] += int((~np.isnan(values[keep])).sum())
    return values


def _shown(raw: Raw, column: str, rows: NDArray[np.int64]) -> Iterable[str]:
    values = raw.columns.get(column)
    for row in rows.tolist():
        value = None if values is None else values[row]
        yield shorten(value.as_py() if isinstance(value, pa.Scalar) else value)


# --- joining ---------------------------------------------------------------------------------------------


def _joined(
    parts: Sequence[Rows], files: tuple[str, ...], selection: Selection, form: str, names: tuple[str, ...]
) -> Rows:
    """Return the rows of all files as one, with one list of labels per column."""
    empty = np.zeros(0, np.int64)
    return Rows(
        times=np.concatenate([part.times for part in parts] or [np.zeros(0)]),
        numbers={
            name: np.concatenate([part.numbers[name] for part in parts] or [np.zeros(0)])
            for name in dict.fromkeys(selection.numbers)
        },
        labels={name: join_labels([part.labels[name] for part in parts]) for name in selection.labels},
        key=join_labels([part.key for part in parts if part.key is not None]) if selection.key else None,
        files=files,
        file=np.concatenate([part.file for part in parts] or [empty]),
        lines=np.concatenate([part.lines for part in parts] or [empty]),
        time_format=form,
        names=names,
        repeated=sum(part.repeated for part in parts),
        moved=sum(part.moved for part in parts),
        filtered=sum(part.filtered for part in parts),
    )


def _nothing(sources: Sequence[Source], selection: Selection, problems: Problems, filtered: int) -> str:
    """Return why there is no row, by what was refused or left out."""
    names = ", ".join(source.name for source in sources[:3]) + (", ..." if len(sources) > 3 else "")
    why = ", ".join(f"{reason} ({count:,})" for reason, count in problems.by_reason.most_common(3))
    if filtered:
        why = f"{filtered:,} rows that no filter lets through" + (f", {why}" if why else "")
    first = next((p for p in problems.kept if p.field == selection.time and p.value), None)
    example = f"; {first.field} is {first.value!r} in line {first.line} of {first.file}" if first else ""
    return f"data: expected at least one usable row in {names or 'the files'}, got {why or 'none'}{example}"
