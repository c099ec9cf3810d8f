"""How files are written and what a file's columns are before anything is interpreted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeAlias

from masthead.base.errors import InvalidInput, shown

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

MAX_COLUMNS = 10_000

Column: TypeAlias = Any  # a pyarrow.Array, or a list of what stood in JSON


@dataclass(frozen=True, slots=True)
class Format:
    """How files are written; every part may be left to be found from the content.

    Attributes:
        kind: auto, json, csv or parquet.
        delimiter: Of CSV cells, one character; "" = found among comma, semicolon, tab and bar.
        quote: Around cells that hold a delimiter or a line break; one character.
        charset: Of the text; a byte order mark overrules it.
        header: Whether the first CSV row holds names; None = found.
        columns: Names for a CSV file without header.
        missing_values: Texts (and numbers) that stand for "no value".
    """

    kind: str = "auto"
    delimiter: str = ""
    quote: str = '"'
    charset: str = "utf-8"
    header: bool | None = None
    columns: tuple[str, ...] = ()
    missing_values: tuple[str, ...] = ("", "null", "NaN", "NA")

    def __post_init__(self) -> None:
        if self.kind not in ("auto", "json", "csv", "parquet"):
            raise InvalidInput(f"format: expected auto, json, csv or parquet, got {shown(self.kind)}")
        for name, value in (("delimiter", self.delimiter), ("quote", self.quote)):
            if len(value) > 1 or not value.isascii() or (value and value in "\r\n\0"):
                raise InvalidInput(f"{name}: expected one ASCII character, got {shown(value)}")
        if self.quote and self.quote == self.delimiter:
            raise InvalidInput(
                f"quote: expected another character than the delimiter, got {shown(self.quote)}"
            )
        try:
            "".encode(self.charset)
        except (LookupError, ValueError) as error:
            raise InvalidInput(
                f"charset: expected a known one such as utf-8, got {shown(self.charset)}"
            ) from error

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Format":
        """Return the format of a `format = {...}` table.

        Raises:
            InvalidInput: An unknown key, or a value of the wrong kind; named.
        """
        known = {entry.name: entry.type for entry in fields(cls)}
        for key, given in value.items():
            listed = key in ("columns", "missing_values")
            good = (
                isinstance(given, (list, tuple))
                if listed
                else isinstance(given, bool if key == "header" else str)
            )
            if key not in known or not (good or (key == "header" and given is None)):
                raise InvalidInput(
                    f"format: expected keys {', '.join(known)} of their kinds, got {shown({key: given})}"
                )
        lists = {
            key: tuple(str(item) for item in given)
            for key, given in value.items()
            if isinstance(given, (list, tuple))
        }
        return cls(**{**value, **lists})


@dataclass(slots=True)
class Raw:
    """One file's columns as they stood.

    Attributes:
        kind: json, csv or parquet.
        columns: Name -> column; those asked for, or all.
        names: Every column of the file, in order.
        lines: (rows,) int64, line of each row (row number in Parquet), from 1.
        headerless: Whether the names were given and not read.
    """

    kind: str
    columns: dict[str, Column]
    names: tuple[str, ...]
    lines: "NDArray[np.int64]"
    headerless: bool = False


@dataclass(slots=True)
class Wanted:
    """What to take from a file: `columns` (None = all), `key` to tell a header by, names when there is none."""

    columns: frozenset[str] | None = None
    key: str = ""
    inherited: tuple[str, ...] = field(default=())


def plain(column: Any) -> "pa.Array":
    """Return a table's column as one array without dictionary."""
    # Settings name a `Format` without any file being read: pyarrow's tenth of a second is spent only here.
    import pyarrow as pa

    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
