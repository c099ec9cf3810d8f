"""One table of the file contract to columns: CSV (gzip too), Parquet, or a folder of part files of either.

Header cells are read as they stand, since `user_id,user_id` is a relation of users with users and readers of tables
rename the second one. Ids become text by the rule that transactions have (`values.key_text`): 7, 7.0 and
"7" are one node, whatever the file, "007" is another.
"""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.fraud.data.tables import require_commas, require_flat
from masthead.fraud.data.values import NO_VALUE, key_text

__all__ = ["Table", "epoch_seconds", "numbers", "read_table", "texts"]

EMPTY = ("", "NaN", "nan", "NA", "N/A", "null", "NULL", "None", "none")
_PARQUET = (".parquet", ".pq")


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one file or of a folder's part files, with the header's cells as they stand."""

    path: Path
    names: list[str]
    columns: list[Any]
    is_parquet: bool

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def place(self, name: str) -> int:
        """Return the place of a column; -1 when there is none."""
        return self.names.index(name) if name in self.names else -1


def read_table(
    path: Path, *, header: bool = True, id_columns: int = 1, others: Any = None, may_be_empty: bool = False
) -> Table:
    """Return a table's columns.

    Args:
        header: Whether a CSV file begins with one.
        id_columns: So many columns at the left are ids, read as text.
        others: Type that the rest of a CSV is tried with; text where one cell does not fit, or None.
        may_be_empty: Whether files without a byte are a table without columns.

    Raises:
        NotFound: There is no such file. InvalidInput: It is no such table.
    """
    files = _parts(path)
    tables = [_one(file, header=header, id_columns=id_columns, others=others) for file in files]
    tables = [one for one in tables if one.columns]
    if not tables and may_be_empty:
        return Table(path, [], [], False)
    if not tables:
        raise InvalidInput(f"{path.name}: expected a table with columns, got an empty file")
    first = tables[0]
    for one, file in zip(tables, files, strict=False):
        if one.names != first.names:
            raise InvalidInput(
                f"{path.name}: expected the header {shown(','.join(first.names))} in all of its files, "
                f"got {shown(','.join(one.names))} in {file.name}"
            )
    if len(tables) == 1:
        return first
    joined = [_joined([one.columns[place] for one in tables]) for place in range(len(first.names))]
    return Table(path, first.names, joined, first.is_parquet)


def texts(column: Any) -> Any:
    """Return ids as text (pa.StringArray) as `key_text` has them: null for none, a whole number without `.0`."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_floating(kind) and _whole(column):
        column = column.cast(pa.int64())
    elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.array([key_text(one) for one in column.to_pylist()], pa.string())
    column = column.cast(pa.string())
    # Arrow's expressions are slow, and hardly any column needs them.
    if pc.any(pc.match_substring(column, ".0")).as_py():
        column = pc.replace_substring_regex(column, r"^-0\.0+$", "0")
        column = pc.replace_substring_regex(column, r"^(-?[0-9]+)\.0+$", r"\1")
    nothing = pc.or_(pc.is_in(column, pa.array(sorted(NO_VALUE))), pc.utf8_is_space(column))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), column)


def numbers(column: Any, name: str, file: str, notes: list[str]) -> NDArray[np.float64] | None:
    """Return a column as float64 with NaN for missing; None when it holds texts, not numbers.

    Infinite values are missing, too, and a note tells how many there are.

    Raises:
        InvalidInput: Most cells are numbers, and one is not.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return numbers(column.cast(kind.value_type), name, file, notes)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif pa.types.is_temporal(kind):
        return epoch_seconds(column)
    elif _is_text(kind):
        return _parsed(column, name, file, notes)
    found = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).copy()
    if infinite := int(np.isinf(found).sum()):
        notes.append(f"{file}: {infinite:,} infinite values in column {name} are read as missing")
    found[~np.isfinite(found)] = np.nan
    return np.asarray(found, np.float64)


def epoch_seconds(column: Any) -> NDArray[np.float64] | None:
    """Return times as seconds since 1970, UTC where no zone stands; None when the column holds no times."""
    kind = column.type
    try:
        if _is_text(kind):
            found = _plain_numbers(column)
            if found is not None:
                return found
            column = _stamps(column)
        elif not pa.types.is_temporal(kind):
            column = column.cast(pa.float64(), safe=False)
            return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
        stamps = column.cast(pa.timestamp("us")).cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return None
    found = stamps.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(found, np.float64) / 1e6


def _plain_numbers(column: Any) -> NDArray[np.float64] | None:
    """Return times that are written as plain numbers; None when they are not."""
    cells = column.cast(pa.string())
    cells = pc.if_else(pc.is_in(cells, pa.array(EMPTY)), pa.scalar(None, pa.string()), cells)
    try:
        return np.asarray(cells.cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)
    except pa.ArrowInvalid:
        return None


def _stamps(column: Any) -> Any:
    cells = pc.if_else(
        pc.is_in(column.cast(pa.string()), pa.array(EMPTY)),
        pa.scalar(None, pa.string()),
        column.cast(pa.string()),
    )
    try:
        return cells.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return cells.cast(pa.timestamp("us"))


def _parsed(column: Any, name: str, file: str, notes: list[str]) -> NDArray[np.float64] | None:
    cells = column.cast(pa.string())
    cells = pc.if_else(pc.is_in(cells, pa.array(EMPTY)), pa.scalar(None, pa.string()), cells)
    try:
        found = pc.utf8_trim_whitespace(cells).cast(pa.float64())
    except pa.ArrowInvalid:
        values = cells.to_pylist()
        wrong = [row for row, cell in enumerate(values) if cell is not None and not _is_number(cell)]
        if len(wrong) * 2 > len(values) - cells.null_count:
            return None
        raise InvalidInput(
            f"{file}: expected a number in column {shown(name)}, row {wrong[0] + 1}, got {shown(values[wrong[0]])}"
        ) from None
    return numbers(found, name, file, notes)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _whole(column: Any) -> bool:
    values = np.asarray(column.to_numpy(zero_copy_only=False), np.float64)
    values = values[~np.isnan(values)]
    return bool(np.all(np.abs(values) < 2**53) and np.all(values == np.rint(values)))


def _parts(path: Path) -> list[Path]:
    if not path.exists():
        raise NotFound(f"file: expected an existing file or folder, got {shown(str(path))}")
    if path.is_file():
        return [path]
    found = sorted(file for file in path.iterdir() if file.is_file() and file.name[0] not in "._")
    if not found:
        raise InvalidInput(f"{path.name}: expected part files in the folder, got none")
    return found


def _one(file: Path, *, header: bool, id_columns: int, others: Any) -> Table:
    try:
        if file.suffix in _PARQUET:
            read = parquet.read_table(file)
            require_flat(file, read.schema, read.column_names)
            columns = [one.combine_chunks() for one in read.columns]
            return Table(file, list(read.column_names), columns, True)
        names = _header(file) if header else []
        require_commas(file, names)
        columns = _csv(file, names, id_columns, others)
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowInvalid, csv.Error) as error:
        reason = " ".join(str(error).split())[:200]
        raise InvalidInput(f"{file.name}: expected a readable CSV or Parquet file, got: {reason}") from error
    return Table(file, names or [str(place) for place in range(len(columns))], columns, False)


def _header(file: Path) -> list[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8-sig", newline="") as lines:
        return [cell.strip() for cell in next(csv.reader(lines), [])]


def _csv(file: Path, names: Sequence[str], id_columns: int, others: Any) -> list[Any]:
    if _is_empty(file):
        return []
    if not names:
        width = 1
    else:
        width = len(names)
    columns = [f"c{place}" for place in range(width)]
    kinds = {
        name: pa.string() if place < id_columns or others is None else others
        for place, name in enumerate(columns)
    }
    read = pacsv.ReadOptions(column_names=columns, skip_rows=1 if names else 0)
    parse = pacsv.ParseOptions(newlines_in_values=False)
    try:
        convert = pacsv.ConvertOptions(column_types=kinds, null_values=list(EMPTY), strings_can_be_null=False)
        found = pacsv.read_csv(file, read, parse, convert)
    except pa.ArrowInvalid:
        if others is None:
            raise
        return _csv(file, names, id_columns, None)
    return [one.combine_chunks() for one in found.columns]


def _is_empty(file: Path) -> bool:
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as content:
        return not content.read(1)


def _joined(parts: list[Any]) -> Any:
    if len({str(one.type) for one in parts}) > 1:
        parts = [one.cast(pa.string()) for one in parts]
    return pa.chunked_array(parts).combine_chunks()
