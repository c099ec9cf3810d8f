"""The first rows of files as they stand, and what can be guessed of files that nobody has described yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from masthead.base.errors import InvalidInput, MastheadError
from masthead.metrics.columns import texts_of
from masthead.metrics.csv_rows import find_delimiter, first_row, has_header
from masthead.metrics.files import GZIP, PARQUET, Source, load
from masthead.metrics.problems import Problems
from masthead.metrics.raw import Format, Raw, Wanted
from masthead.metrics.readers import Selection, read_rows
from masthead.metrics.sources import sampled_sources
from masthead.metrics.spec import Source as SpecSource
from masthead.metrics.validation import Expectation, validate_files
from masthead.store.objects import Objects

__all__ = ["Guess", "Sample", "detect", "sample_rows"]

_HEAD = 1 << 16
_ROWS_EACH = 10_000
_INTERVALS = ((300, "5m"), (600, "10m"), (3600, "1h"), (86_400, "1d"))
_SURE = 0.9  # share of the steps between rows that agree

Confidence = Literal["high", "low", "none"]


@dataclass(frozen=True, slots=True)
class Sample:
    """The first rows of one file: names and cells as they stand, an empty text for no value."""

    file: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"file": self.file, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True, slots=True)
class Guess:
    """What something probably is, and how sure that is; `message` says why."""

    value: Any
    confidence: Confidence
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {"value": self.value, "confidence": self.confidence, "message": self.message}


def sample_rows(source: SpecSource, objects: Objects, *, limit: int = 20) -> Sample:
    """Return the first rows of the first file of a source that holds any.

    Raises:
        InvalidInput: There is no file, or none that can be read; why is told.
    """
    sources, problems = _sources(source, objects), Problems()
    for file in sources:
        raw = load(file, source.format, Wanted(), problems)
        if raw is not None and len(raw.lines):
            return Sample(file.name, raw.names, _cells(raw, limit))
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in problems.by_reason.most_common(3))
    raise InvalidInput(f"source: expected files with rows, got {reasons or 'none'}", field="source")


def _cells(raw: Raw, limit: int) -> tuple[tuple[str, ...], ...]:
    columns = [texts_of(raw.columns[name][:limit]) for name in raw.names]
    return tuple(tuple(text or "" for text in row) for row in zip(*columns, strict=True))


def detect(source: SpecSource, objects: Objects, *, zone: str = "UTC") -> dict[str, Guess]:
    """Return what the files of a source seem to be: how they are written, and their interval.

    Keys: kind, compression, charset; for CSV header, delimiter, quote, columns; interval, delay_s.

    Raises:
        InvalidInput: There is no file, or none that can be read.
    """
    sources = _sources(source, objects)
    data = sources[0].read()
    packed = data[:2] == GZIP
    found = {"compression": Guess("gzip" if packed else "none", "high", "told by the first two bytes")}
    raw = load(sources[0], Format(), Wanted(), Problems())
    if raw is None:
        raise InvalidInput(f"source: expected rows in {sources[0].name}, got none", field="source")
    found["kind"] = Guess(raw.kind, "high", "told by the content")
    if raw.kind != "parquet":
        found["charset"] = _charset(data if not packed else b"")
    if raw.kind == "csv" and not packed:
        found |= _csv(data[:_HEAD].decode("utf-8-sig", errors="replace"))
    return found | {
        "interval": _interval(sources, source.format, zone),
        "delay_s": Guess(0, "none", "files do not say how long after an interval's end they are written"),
    }


def _sources(source: SpecSource, objects: Objects) -> list[Source]:
    sources = sampled_sources(source, objects)
    if not sources:
        raise InvalidInput("source: expected files, got none below this path yet", field="source")
    return sources


def _charset(data: bytes) -> Guess:
    if not data or data[:4] == PARQUET:
        return Guess("UTF-8", "low", "assumed")
    for mark, name in ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16LE"), (b"\xfe\xff", "UTF-16BE")):
        if data.startswith(mark):
            return Guess(name, "high", "told by the byte order mark")
    try:
        data.decode()
    except UnicodeDecodeError:
        return Guess("ISO-8859-1", "low", "it is no UTF-8")
    return Guess("UTF-8", "high", "all bytes are UTF-8")


def _csv(head: str) -> dict[str, Guess]:
    quote = '"'
    delimiter = find_delimiter(head, quote)
    lines = [line for line in head.splitlines()[:50] if line.strip()]
    widths = [len(first_row(line, delimiter, quote)) for line in lines]
    even = widths[0] > 1 and len(set(widths)) == 1
    names = first_row(head, delimiter, quote)
    headed = has_header(names, Format(), Wanted())
    below = first_row(lines[1], delimiter, quote) if len(lines) > 1 else []
    sure = headed != has_header(below, Format(), Wanted()) if below else False
    quoted = quote in head
    return {
        "delimiter": Guess(delimiter, "high" if even else "low", "it splits every row into as many cells"),
        "header": Guess(headed, "high" if sure else "low", f"the first row is {','.join(names)}"[:200]),
        "columns": Guess(tuple(names) if headed else (), "high" if headed and sure else "low", ""),
        "quote": Guess(quote, "high" if quoted else "low", "it is used" if quoted else "the usual one"),
    }


def _interval(sources: Sequence[Source], format: Format, zone: str) -> Guess:
    """Return the shortest of the usual intervals that most steps between rows fill."""
    try:
        used = validate_files(sources, Expectation(zone=zone), format).used
        selection = Selection(used.time, used.time_format, zone)
        times = np.unique(read_rows(sources, selection, format, rows_each=_ROWS_EACH).times)
    except MastheadError as error:
        return Guess(None, "none", error.message[:200])
    steps = np.diff(times)
    if not len(steps):
        return Guess(None, "none", "there is one time only")
    usual = float(np.median(steps))
    for length_s, name in _INTERVALS:
        if usual <= length_s:
            share = float(np.mean(steps == length_s))
            return Guess(
                name, "high" if share >= _SURE else "low", f"rows of {used.time} mostly lie {usual:g} s apart"
            )
    return Guess(None, "none", f"rows of {used.time} mostly lie {usual:g} s apart")
