"""Files to columns: CSV, CSV.gz, Parquet and folders of them, as arrays with the number of each row in its file.

CSV is read as text, but for columns of numbers: an id `007` and a key `1e5` stay what they are.
"""

import csv
import gzip
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.values import NO_NUMBER, key_text, number_of

__all__ = [
    "Frame",
    "Problems",
    "find_files",
    "numbers_of",
    "read_frame",
    "require_commas",
    "require_flat",
    "texts_of",
]

PROBLEMS = pa.schema(
    [("row", pa.int64()), ("file", pa.string()), ("column", pa.string()), ("reason", pa.string())]
)
_ENDINGS = (".csv", ".csv.gz", ".parquet")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_DERIVED = re.compile(r"[._].*|(problems|features|tags|test|relation_.*_edgelist)\.(csv|parquet)")
"""What is no table of transactions in a folder: hidden files, and what is made of such tables and may lie beside them."""


@dataclass(slots=True)
class Problems:
    """What could not be used: row of the file (from 1, the header not counted), file, column, reason."""

    found: list[tuple[int, str, str, str]] = field(default_factory=list)

    def add(self, row: int, file: str, column: str, reason: str) -> None:
        """Keep one."""
        self.found.append((int(row), file, column, reason))

    def table(self) -> pa.Table:
        """Return them in the order of files and rows."""
        columns = list(zip(*dict.fromkeys(self.found), strict=True)) or [(), (), (), ()]
        return pa.table(
            [pa.array(one, kind.type) for one, kind in zip(columns, PROBLEMS, strict=True)], PROBLEMS
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """The wanted columns of one file.

    Attributes:
        path: The file. names: All its columns, in order.
        columns: Asked name -> values, those that are there.
        rows: (n,) int64, number of each row in the file, from 1.
        torn: How many rows of the file are not among them.
    """

    path: Path
    names: tuple[str, ...]
    columns: dict[str, pa.ChunkedArray]
    rows: NDArray[np.int64]
    torn: int = 0

    def __len__(self) -> int:
        return len(self.rows)


def find_files(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Return (file, whether it was named itself); a folder gives the files in it, by name.

    Raises:
        InvalidInput: A path that leads nowhere, a file of another kind, a folder without files.
    """
    found: list[tuple[Path, bool]] = []
    for path in paths:
        if path.is_dir():
            inside = [one for one in sorted(path.rglob("*")) if _is_table(one, path)]
            if not inside:
                raise InvalidInput(
                    f"data: expected .csv, .csv.gz or .parquet files in {shown(str(path))}, got none"
                )
            found += [(one, False) for one in inside]
        elif not path.is_file():
            raise InvalidInput(f"data: expected a file or a folder, got {shown(str(path))}")
        elif not path.name.lower().endswith(_ENDINGS):
            raise InvalidInput(f"data: expected a .csv, .csv.gz or .parquet file, got {shown(str(path))}")
        else:
            found.append((path, True))
    return found


def _is_table(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder).parts
    return (
        path.name.lower().endswith(_ENDINGS) and not any(map(_DERIVED.fullmatch, inside)) and path.is_file()
    )


def read_names(path: Path) -> tuple[str, ...]:
    """Return the columns of a file.

    Raises:
        InvalidInput: It is empty, broken, or none of these kinds.
    """
    try:
        if path.name.lower().endswith(".parquet"):
            return tuple(pq.read_schema(path).names)
        opener = gzip.open if path.name.lower().endswith(".gz") else open
        with opener(path, "rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file:
            names = next(csv.reader(file), None)
    except (OSError, EOFError, UnicodeDecodeError, pa.ArrowException, csv.Error) as error:
        raise InvalidInput(f"data: expected a table in {shown(str(path))}: {_line(error)}") from error
    if not names:
        raise InvalidInput(f"data: expected a header in {shown(str(path))}, got an empty file")
    return tuple(names)


def require_commas(path: Path, names: Sequence[str]) -> None:
    """Return if a header does not look as if something else than commas stood between its cells.

    Raises:
        InvalidInput: It is one cell with semicolons, tabs or bars in it.
    """
    if len(names) != 1:
        return
    for sign, name in _SEPARATORS.items():
        if sign in names[0]:
            raise InvalidInput(
                f"data: expected commas between the columns of {shown(str(path))}, got {name}: {shown(names[0], 80)}"
            )


def require_flat(path: Path, schema: pa.Schema, names: Collection[str]) -> None:
    """Return if each value of these columns is one value.

    Raises:
        InvalidInput: A column holds structs, lists or maps.
    """
    for one in schema:
        if one.name in names and pa.types.is_nested(one.type):
            raise InvalidInput(
                f"{one.name}: expected single values in this column of {shown(str(path))}, "
                f"got {shown(str(one.type), 80)}; write what it holds as columns of their own"
            )


def require_usable(path: Path, names: Collection[str]) -> None:
    """Return if these columns of a file can be read, as far as its kind and its header tell; see `require_flat`."""
    if path.name.lower().endswith(".parquet"):
        require_flat(path, pq.read_schema(path), names)


def match(names: Sequence[str], wanted: Collection[str]) -> dict[str, str]:
    """Return wanted name -> column; `id-01` serves for `id_01`, as in the published identity test file.

    >>> match(["id-01", "b"], ["id_01", "c"])
    {'id_01': 'id-01'}
    """
    known = set(names)
    found = {}
    for name in wanted:
        if name in known:
            found[name] = name
        elif (dashed := name.replace("_", "-")) in known:
            found[name] = dashed
    return found


def read_frame(
    path: Path,
    wanted: Collection[str],
    numeric: Collection[str],
    problems: Problems,
    missing: Collection[str] = (),
) -> Frame:
    """Return a file's columns of these names; those in `numeric` as numbers where all their values are.

    Raises:
        InvalidInput: The file is broken, or a wanted column is there twice.
    """
    names = read_names(path)
    found = match(names, wanted)
    for name in found.values():
        if names.count(name) > 1:
            raise InvalidInput(f"{name}: expected one column of this name in {shown(str(path))}, got several")
    require_usable(path, found.values())
    try:
        if path.name.lower().endswith(".parquet"):
            table = pq.read_table(path, columns=list(dict.fromkeys(found.values())), partitioning=None)
            rows, torn = np.arange(1, table.num_rows + 1), 0
        else:
            table, rows, torn = _read_csv(path, found, numeric, problems, missing)
    except (OSError, EOFError, pa.ArrowException) as error:
        raise InvalidInput(f"data: expected a table in {shown(str(path))}: {_line(error)}") from error
    return Frame(path, names, {name: table.column(there) for name, there in found.items()}, rows, torn)


def texts_of(column: pa.ChunkedArray, missing: Collection[str]) -> tuple[NDArray[np.int32], list[str]]:
    """Return (codes, values) of a column's keys; -1 = no value."""
    indices, dictionary = _distinct(column)
    values: dict[str, int] = {}
    places = np.full(len(dictionary) + 1, -1, np.int32)
    for place, value in enumerate(dictionary):
        text = key_text(value, missing)
        if text is not None:
            places[place] = values.setdefault(text, len(values))
    return places[indices], list(values)


def numbers_of(
    column: pa.ChunkedArray, missing: Collection[str]
) -> tuple[NDArray[np.float64], list[tuple[int, Any]]]:
    """Return a column's numbers, NaN = no value, and (place, value) of what is none."""
    kind = column.type
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        plain = pc.cast(column, pa.float64(), safe=False).combine_chunks()
        values = np.array(plain.fill_null(np.nan).to_numpy(zero_copy_only=False))
        values[~np.isfinite(values)] = np.nan
        for text in missing:
            values[values == _sentinel(text)] = np.nan
        return values, []
    indices, dictionary = _distinct(column)
    numbers = np.full(len(dictionary) + 1, np.nan)
    bad: dict[int, Any] = {}
    for place, value in enumerate(dictionary):
        try:
            numbers[place] = number_of(value, missing)
        except InvalidInput:
            bad[place] = value
    wrong = np.flatnonzero(np.isin(indices, list(bad))) if bad else ()
    return numbers[indices], [(int(place), bad[int(indices[place])]) for place in wrong]


def _sentinel(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan  # equals nothing


def _distinct(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[Any]]:
    """Return (places, distinct values); a null's place is one behind the last."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return np.zeros(len(column), np.int64), []
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    values = coded.dictionary.to_pylist()
    return coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False).astype(np.int64), values


def _read_csv(
    path: Path, found: dict[str, str], numeric: Collection[str], problems: Problems, missing: Collection[str]
) -> tuple[pa.Table, NDArray[np.int64], int]:
    """Return the table, its rows' numbers and how many rows it lacks: first with numbers as such, else as text, else without torn rows."""
    numbers = {there for name, there in found.items() if name in numeric}
    table = None
    for floats in (numbers, set()):
        try:
            table = _parse_csv(path, found, floats, missing, None)
            break
        except pa.ArrowInvalid:
            continue
    if table is not None:
        return table, np.arange(1, table.num_rows + 1), 0
    torn: list[int] = []

    def skipped(row: Any) -> str:
        # The reader counts the lines with the header; without threads it knows the number.
        torn.append(row.number - 1)
        problems.add(
            row.number - 1,
            path.name,
            "",
            f"expected {row.expected_columns} columns, got {row.actual_columns}",
        )
        return "skip"

    table = _parse_csv(path, found, set(), missing, skipped)
    return table, np.setdiff1d(np.arange(1, table.num_rows + len(torn) + 1), torn), len(torn)


def _parse_csv(
    path: Path, found: dict[str, str], floats: Collection[str], missing: Collection[str], skipped: Any
) -> pa.Table:
    wanted = list(dict.fromkeys(found.values()))
    return pyarrow.csv.read_csv(
        path,
        read_options=pa.csv.ReadOptions(use_threads=skipped is None, block_size=8 << 20),
        parse_options=pa.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=skipped),
        convert_options=pa.csv.ConvertOptions(
            include_columns=wanted,
            column_types={name: pa.float64() if name in floats else pa.string() for name in wanted},
            null_values=sorted(NO_NUMBER.union(missing)),
            strings_can_be_null=False,
        ),
    )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
