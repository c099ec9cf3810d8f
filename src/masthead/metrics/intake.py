"""Records of a stream to rows a detector can use, and what cannot be used with its reason."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import orjson

from masthead.base.errors import InvalidInput
from masthead.metrics.cubes import columns_of
from masthead.metrics.open_intervals import Arrivals, oldest_first_s
from masthead.metrics.problems import KEPT, Problems
from masthead.metrics.readers import Selection, rows_of_records
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.timestamps import agree

__all__ = ["RecordLike", "Refused", "arrivals_of", "chunks_of", "error_lines", "format_of", "selection_of"]


class RecordLike(Protocol):
    """One record as a topic rule lets it through."""

    @property
    def fields(self) -> Mapping[str, Any]: ...
    @property
    def thing(self) -> str | None: ...
    @property
    def arrived(self) -> float: ...
    @property
    def raw(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Refused:
    """Something in the record at `place` of its message that cannot be used."""

    place: int
    field: str
    reason: str


def selection_of(spec: DetectorSpec, time_format: str = "") -> Selection:
    """Return which columns of the source mean what; `time_format` is used where the specification names none."""
    columns = dict.fromkeys(column for measure in spec.measures for column in columns_of(measure))
    return Selection(
        time=spec.time.column,
        time_format=spec.time.format or time_format,
        zone=spec.zone,
        numbers=tuple(columns),
        labels=spec.dimensions,
        filters=spec.filters,
        key=spec.dedupe_key,
    )


def format_of(spec: DetectorSpec, records: Sequence[RecordLike]) -> str:
    """Return the one format that the stamps of the first records agree on; ISO 8601 where they do not."""
    if not spec.time.column or spec.time.format:
        return spec.time.format
    stamps = [str(record.fields[spec.time.column]) for record in records if spec.time.column in record.fields]
    try:
        return agree(stamps, spec.zone)
    except InvalidInput:
        return "iso"


def chunks_of(spec: DetectorSpec, records: Sequence[RecordLike]) -> list[tuple[int, Sequence[RecordLike]]]:
    """Return (place of the first, records) in pieces small enough that each problem is kept by name."""
    size = max(1, KEPT // (len(spec.measures) + 3))
    return [(first, records[first : first + size]) for first in range(0, len(records), size)]


def arrivals_of(
    records: Sequence[RecordLike], selection: Selection, spec: DetectorSpec, *, sequence: int, first: int
) -> tuple[Arrivals, list[Refused]]:
    """Return the usable rows of a piece of a message, and what cannot be used; `place` counts in the whole message.

    An event time more than one interval after the record's arrival is refused: one sensor whose clock stands in
    2038 must not close the world. The arrival counts, not the present: a record given again is judged the same.
    """
    problems = Problems()
    arrived = np.array([record.arrived for record in records])
    things = [record.thing for record in records]
    rows = rows_of_records(
        [record.fields for record in records],
        selection,
        arrived=arrived.tolist(),
        origins=things if not spec.dedupe_key and spec.drops_duplicates else None,
        missing_values=spec.source.format.missing_values if spec.source else ("",),
        problems=problems,
    )
    refused = [
        Refused(problem.line - 1, problem.field, _reason(records[problem.line - 1], problem.reason))
        for problem in problems.kept
    ]
    ahead = rows.times > arrived[rows.lines - 1] + spec.interval_s
    if ahead.any():
        refused += [
            Refused(int(line) - 1, selection.time, "time is more than one interval in the future")
            for line in rows.lines[ahead]
        ]
        rows = rows.take(~ahead)
    refused.sort(key=lambda one: (one.place, one.field))
    told = [(one.place, one.reason) for one in refused]
    old = rows.times < arrived[rows.lines - 1] - oldest_first_s(spec)
    return Arrivals(rows, things, old, told, sequence, first, len(records)), refused


def error_lines(records: Sequence[RecordLike], refused: Sequence[Refused], sequence: int) -> bytes:
    """Return JSON lines for the error place: error, field, the bytes as sent in base64, sequence and arrival."""
    lines = []
    for one in refused:
        record = records[one.place]
        lines.append(
            orjson.dumps(
                {
                    "error": one.reason,
                    "field": one.field,
                    "raw": base64.b64encode(record.raw).decode(),
                    "thing": record.thing,
                    "sequence": sequence,
                    "arrived": record.arrived,
                }
            )
        )
    return b"\n".join(lines) + b"\n"


def _reason(record: RecordLike, reason: str) -> str:
    return reason if record.fields else "payload is no JSON object"
