"""CSV to columns of text: delimiter and header found, quoted line breaks kept, broken rows told by line."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, LimitReached, shown
from masthead.metrics.problems import Problems
from masthead.metrics.raw import MAX_COLUMNS, Column, Format, Raw, Wanted, plain

_HEAD = 1 << 16  # bytes in which the first row must end to be understood
_BLOCK = 16 << 20
_NUMERIC = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")


def read_csv(data: bytes, name: str, format: Format, wanted: Wanted, problems: Problems) -> Raw | None:
    """Return the columns of CSV text in UTF-8 without byte order mark.

    Raises:
        InvalidInput: There is no header and no names fit. LimitReached: Too many columns.
    """
    skipped = len(data) - len(data.lstrip(b"\r\n"))
    line_offset = data.count(b"\n", 0, skipped)
    data = data[skipped:]
    head = data[:_HEAD].decode(errors="ignore")
    delimiter = format.delimiter or _delimiter(head, format.quote, wanted.key)
    first = _first_row(head, delimiter, format.quote)
    if len(first) > MAX_COLUMNS:
        raise LimitReached(f"columns: expected at most {MAX_COLUMNS:,}, got {len(first):,} in {name}")
    header = _has_header(first, format, wanted)
    names = _unique(first if header else _given_names(first, format, wanted, name))
    columns = [column for column in names if wanted.columns is None or column in wanted.columns]
    bad: list[tuple[int, int, str]] = []
    try:
        arrays = _arrow_csv(
            data, names, columns, header=header, delimiter=delimiter, quote=format.quote, bad=bad
        )
        records = _record_lines(data, format.quote)
    except (pa.ArrowException, ValueError):
        arrays, records, bad = _python_csv(
            data, names, columns, header=header, delimiter=delimiter, quote=format.quote
        )
    rows = len(next(iter(arrays.values()))) if arrays else len(records) - header - len(bad)
    lines = _lines(records, rows, bad, header=header) + line_offset
    for number, cells, text in bad:
        line = int(records[number - 1]) + line_offset if number <= len(records) else 0
        problems.add(name, line, "", text, f"expected {len(names)} cells, got {cells}")
    return Raw("csv", dict(arrays), tuple(names), lines, headerless=not header)


def _delimiter(head: str, quote: str, key: str) -> str:
    """Return the delimiter that shows the key column in the first row, else the one that splits it most."""
    best = ","
    widest = 0
    for delimiter in ",;\t|":
        first = _first_row(head, delimiter, quote)
        width = len(first) + (MAX_COLUMNS if key and key in first else 0)
        if width > widest:
            best, widest = delimiter, width
    return best


def _first_row(head: str, delimiter: str, quote: str) -> list[str]:
    try:
        cells = next(_reader(head, delimiter, quote), [])
    except csv.Error:
        cells = (head.splitlines() or [""])[0].split(delimiter)
    return [cell.strip() for cell in cells]


def _reader(text: str, delimiter: str, quote: str) -> Iterator[list[str]]:
    quoting: Any = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    return csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote or None, quoting=quoting
    )


def _has_header(first: list[str], format: Format, wanted: Wanted) -> bool:
    """Return whether the first row holds names: the key column among them, else texts that are no numbers."""
    if format.header is not None:
        return format.header
    if wanted.key in first:
        return True
    named = len(set(first)) == len(first) and not any(not cell or _NUMERIC.match(cell) for cell in first)
    return named and not format.columns


def _given_names(first: list[str], format: Format, wanted: Wanted, name: str) -> list[str]:
    for names in (format.columns, wanted.inherited):
        if names and len(names) == len(first):
            return list(names)
    if not wanted.key and not format.columns:
        return [f"column {place}" for place in range(1, len(first) + 1)]
    given = f"{len(format.columns)} names" if format.columns else "none"
    raise InvalidInput(
        f"columns: expected names for the {len(first)} cells of {name}, whose first row "
        f"{shown(','.join(first))} is no header with {wanted.key!r}, got {given}; "
        "name them all in their order: --columns A,B,C, in settings format.columns"
    )


def _unique(names: Sequence[str]) -> list[str]:
    taken: dict[str, int] = {}
    result = []
    for place, name in enumerate(names, start=1):
        name = name or f"column {place}"
        taken[name] = taken.get(name, 0) + 1
        result.append(name if taken[name] == 1 else f"{name}.{taken[name]}")
    return (
        result
        if len(set(result)) == len(result)
        else [f"{name}#{place}" for place, name in enumerate(result, 1)]
    )


def _arrow_csv(
    data: bytes,
    names: list[str],
    columns: list[str],
    *,
    header: bool,
    delimiter: str,
    quote: str,
    bad: list[tuple[int, int, str]],
) -> dict[str, Column]:
    """Return the columns as arrays of text; rows of another width are appended to `bad`."""

    def skip(row: Any) -> str:
        bad.append((row.number, row.actual_columns, row.text))
        return "skip"

    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        # One thread: only then does a broken row know its number.
        read_options=arrow_csv.ReadOptions(
            column_names=names, skip_rows_after_names=int(header), use_threads=False, block_size=_BLOCK
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=delimiter,
            quote_char=quote or False,
            newlines_in_values=bool(quote),
            invalid_row_handler=skip,
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=columns, strings_can_be_null=False
        ),
    )
    return {column: plain(table.column(column)) for column in columns}


def _python_csv(
    data: bytes, names: list[str], columns: list[str], *, header: bool, delimiter: str, quote: str
) -> tuple[dict[str, Column], NDArray[np.int64], list[tuple[int, int, str]]]:
    """Read what the fast reader gives up on (a cell of many megabytes, a stray quote), record by record."""
    places = [names.index(column) for column in columns]
    cells: list[list[str]] = [[] for _ in columns]
    records: list[int] = []
    bad: list[tuple[int, int, str]] = []
    for number, (line, row) in enumerate(
        _python_rows(data.decode(errors="replace"), delimiter, quote), start=1
    ):
        records.append(line)
        if number == 1 and header:
            continue
        if row is None or len(row) != len(names):
            bad.append((number, len(row or ()), delimiter.join(row or ())))
            continue
        for column, place in zip(cells, places, strict=True):
            column.append(row[place])
    return dict(zip(columns, cells, strict=True)), np.array(records, np.int64), bad


def _python_rows(text: str, delimiter: str, quote: str) -> Iterator[tuple[int, list[str] | None]]:
    """Yield (line, cells) of each record; None where a cell is beyond what a CSV reader takes."""
    reader: Any = _reader(text, delimiter, quote)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            row = None
        if row != []:
            yield line, row


def _record_lines(data: bytes, quote: str) -> NDArray[np.int64]:
    """Return (records,) int64: the line on which each record that is not blank starts, from 1."""
    points = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(points == 10)
    if not len(ends) and 13 in points:  # an old Mac's line ends
        ends = np.flatnonzero(points == 13)
    if ends.size == 0 or ends[-1] != len(points) - 1:
        ends = np.append(ends, len(points))
    starts = np.concatenate(([0], ends[:-1] + 1))
    lines = np.arange(1, len(ends) + 1)
    if quote and quote.encode() in data:
        quotes = np.flatnonzero(points == ord(quote))
        outside = np.searchsorted(quotes, starts) % 2 == 0
        return _not_blank(
            points, starts[outside], np.append(starts[outside][1:] - 1, ends[-1]), lines[outside]
        )
    return _not_blank(points, starts, ends, lines)


def _not_blank(
    points: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64], lines: NDArray[np.int64]
) -> NDArray[np.int64]:
    length = ends - starts
    first = points[np.minimum(starts, len(points) - 1)]
    return np.asarray(lines[(length > 1) | ((length == 1) & (first != 13))], np.int64)


def _lines(
    records: NDArray[np.int64], rows: int, bad: list[tuple[int, int, str]], *, header: bool
) -> NDArray[np.int64]:
    """Return (rows,) int64 lines of the rows that were kept; plain numbers where quotes defy counting."""
    kept = np.ones(len(records), bool)
    kept[: int(header)] = False
    kept[[number - 1 for number, _, _ in bad if number <= len(records)]] = False
    return records[kept] if int(kept.sum()) == rows else np.arange(1 + header, rows + 1 + header)
