"""Bytes of a file to columns of what stood in it: JSON lines, CSV or Parquet, gzip or not, told by content.

Nothing is interpreted here beyond the file's own structure: CSV cells stay texts, JSON values stay what
they were. What has no structure becomes a problem with its line.
"""

import codecs
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from masthead.base.errors import InvalidInput, LimitReached, NotFound, shown
from masthead.metrics.csv_rows import read_csv
from masthead.metrics.json_rows import read_json
from masthead.metrics.problems import Problems
from masthead.metrics.raw import Format, Raw, Wanted, plain

GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
# Other packings are told apart from text that nobody can read.
_PACKED = (
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), "bzip2", "bunzip2"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz", "unxz"),
    (
        re.compile(rb"PK(\x03\x04|\x05\x06|\x07\x08)"),
        "zip or a spreadsheet",
        "unzip, or save the sheet as CSV",
    ),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "7z", "7z x"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd", "unzstd"),
)
MAX_BYTES = 4 << 30  # of one file after decompression; a gzip file may hold a thousand times its size
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True, slots=True)
class Source:
    """A named file: `data`, or the path to read it from."""

    name: str
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes.

        Raises:
            NotFound: There is no such file. InvalidInput: It cannot be read.
        """
        if self.data is not None:
            return self.data
        try:
            return Path(self.name).read_bytes()
        except FileNotFoundError as error:
            raise NotFound(f"file: expected an existing file, got {shown(self.name)}") from error
        except (OSError, ValueError) as error:
            raise InvalidInput(f"file: expected a readable file, got {shown(self.name)}: {error}") from error


def find_files(patterns: Sequence[str], what: str = "DATA", *, deep: bool = False) -> list[Source]:
    """Return the files that paths, folders (files directly inside) and globs name, each once, in order.

    Args:
        deep: Also read the folders inside folders. Names that begin with `.` or `_` are left out in any case.

    Raises:
        InvalidInput: A pattern matches nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = _inside(path, deep)
        else:
            matches = (
                [Path(name) for name in sorted(glob(pattern, recursive=True))] if has_magic(pattern) else []
            )
            matches = [entry for entry in matches if entry.is_file()]
        if not matches:
            raise InvalidInput(
                f"{what}: expected a file, a folder with files or a pattern that matches, got {shown(pattern)}"
            )
        found.update(dict.fromkeys(map(str, matches)))
    return [Source(name) for name in found]


def _inside(folder: Path, deep: bool) -> list[Path]:
    """Return the files of a folder by path, those of its sub-folders too if `deep`; links to folders are not followed."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if deep and name[0] not in "._"]
        found += [Path(here, name) for name in files if name[0] not in "._"]
    return sorted(path for path in found if path.is_file())


def load(source: Source, format: Format, wanted: Wanted, problems: Problems) -> Raw | None:
    """Return the columns of one file; None, with the reason among `problems`, when it holds nothing usable.

    Raises:
        NotFound, InvalidInput: The file cannot be opened. LimitReached: It is too large.
    """
    data = source.read()
    if data[:2] == GZIP:
        data = _gunzip(data, source.name, problems)
    if len(data) > MAX_BYTES:
        raise LimitReached(
            f"file: expected at most {MAX_BYTES >> 30} GiB, got {len(data):,} bytes in {source.name}"
        )
    if format.kind == "parquet" or (format.kind == "auto" and data[:4] == PARQUET):
        return _parquet(data, source.name, wanted, problems)
    for magic, packing, how in _PACKED:
        if magic.match(data):
            reason = f"packed with {packing}, which is not read: unpack it ({how}) or pack it with gzip"
            problems.add(source.name, 0, "", "", reason)
            return None
    data = _utf8(data, format.charset, source.name, problems)
    if not data.strip():
        problems.add(source.name, 0, "", "", "empty file")
        return None
    if format.kind == "json" or (format.kind == "auto" and data.lstrip()[:1] in b"{["):
        return read_json(data, source.name, wanted, problems)
    return read_csv(data, source.name, format, wanted, problems)


def _gunzip(data: bytes, name: str, problems: Problems) -> bytes:
    """Return what can be decompressed; an early end costs what was cut off, never what came before."""
    parts, size = [], 0
    while data:
        member = zlib.decompressobj(wbits=31)
        try:
            while data and not member.eof:
                part = member.decompress(data, 1 << 24)
                data = member.unconsumed_tail
                parts.append(part)
                size += len(part)
                if size > MAX_BYTES:
                    raise LimitReached(
                        f"file: expected at most {MAX_BYTES >> 30} GiB decompressed, got more in {name}"
                    )
        except zlib.error as error:
            problems.add(name, 0, "", str(error), "gzip is broken")
            break
        if not member.eof:
            problems.add(name, 0, "", "", "gzip ends early")
            break
        data = member.unused_data.lstrip(b"\0")  # tapes pad with zeros
    return b"".join(parts)


def _utf8(data: bytes, charset: str, name: str, problems: Problems) -> bytes:
    """Return the text as UTF-8 without byte order mark; bytes that are no text become U+FFFD, with a note."""
    for mark, marked in _BOMS:
        if data.startswith(mark):
            data, charset = data[len(mark) :], marked
            break
    try:
        text = data.decode(charset)
        return data if charset.lower().replace("-", "") == "utf8" else text.encode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        problems.note(name, line, repr(data[error.start : error.start + 8]), f"not {charset} text")
        return data.decode(charset, errors="replace").encode(errors="replace")
    except UnicodeEncodeError:
        return data.decode(charset, errors="replace").encode(errors="replace")


# --- Parquet ---------------------------------------------------------------------------------------------


def _parquet(data: bytes, name: str, wanted: Wanted, problems: Problems) -> Raw | None:
    try:
        file = parquet.ParquetFile(pa.BufferReader(data))
        names = tuple(file.schema_arrow.names)
        columns = [column for column in names if wanted.columns is None or column in wanted.columns]
        table = file.read(columns=columns, use_threads=False)
        arrays = {column: plain(table.column(column)) for column in columns}
    except (pa.ArrowException, OSError, ValueError) as error:
        problems.add(name, 0, "", str(error), "not a readable Parquet file")
        return None
    return Raw("parquet", arrays, names, np.arange(1, table.num_rows + 1))
