"""What a detector would make of a message: its rows by series, or why it cannot be used. Nothing is taken."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from masthead.base.clock import utc
from masthead.base.errors import MastheadError
from masthead.metrics.cubes import columns_of
from masthead.metrics.files import Source
from masthead.metrics.intake import arrivals_of, format_of, selection_of
from masthead.metrics.intervals import interval_start
from masthead.metrics.problems import Problems
from masthead.metrics.readers import Rows, read_rows
from masthead.metrics.spec import DetectorSpec
from masthead.streams.delivery import parsed_object
from masthead.streams.router import Record

__all__ = ["try_message"]

_MOST_ROWS = 20
_Refused = list[dict[str, Any]]


def try_message(spec: DetectorSpec, payload: bytes, arrived: float) -> dict[str, Any]:
    """Return `rows`, `refused` and how many the filters leave out (`filtered`).

    A stream's message is one record; of a source with folders or files it is read as one of its files.

    Args:
        arrived: When the message comes, epoch seconds.

    Raises:
        InvalidInput: The specification is not complete.
    """
    spec.require_complete()
    assert spec.source is not None
    is_record = spec.source.kind == "stream"
    rows, refused = _record(spec, payload, arrived) if is_record else _file(spec, payload)
    told = [] if rows is None else [*_told(spec, rows)]
    return {"rows": told, "refused": refused, "filtered": 0 if rows is None else rows.filtered}


def _record(spec: DetectorSpec, payload: bytes, arrived: float) -> tuple[Rows, _Refused]:
    record = Record(parsed_object(payload) or {}, None, arrived, payload)
    selection = selection_of(spec, format_of(spec, [record]))
    found, refused = arrivals_of([record], selection, spec, sequence=0, first=0)
    return found.rows, [{"row": one.place + 1, "field": one.field, "reason": one.reason} for one in refused]


def _file(spec: DetectorSpec, payload: bytes) -> tuple[Rows | None, _Refused]:
    assert spec.source is not None
    problems, rows = Problems(), None
    selection = selection_of(spec)
    refused: _Refused = []
    try:
        rows = read_rows([Source("message", payload)], selection, spec.source.format, problems=problems)
    except MastheadError as error:
        refused = [{"row": 0, "field": error.field or "", "reason": error.message}]
    refused += [{"row": one.line, "field": one.field, "reason": one.reason} for one in problems.kept]
    return rows, refused[:_MOST_ROWS]


def _told(spec: DetectorSpec, rows: Rows) -> Iterator[dict[str, Any]]:
    """Yield the first rows: time, interval, and each measure's columns at the row's dimension values."""
    for row in range(min(len(rows), _MOST_ROWS)):
        at = float(rows.times[row])
        numbers = {name: _number(values[row]) for name, values in rows.numbers.items()}
        measures = {
            measure.name: {name: numbers[name] for name in columns_of(measure)} for measure in spec.measures
        }
        start = utc(interval_start(at, spec.interval_s, spec.zone)).isoformat() if spec.interval_s else None
        yield {
            "time": utc(at).isoformat(),
            "interval": start,
            "dimensions": {name: column.values[column.codes[row]] for name, column in rows.labels.items()},
            "measures": measures,
        }


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
