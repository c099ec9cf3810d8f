"""The scores of every series and interval, for charts: bounded by age and bytes, derived, and so never a reason to fail.

One row holds `CHUNK` series of one interval, packed: one row per value would cost 50,000 inserts an interval, one row
per interval would make the chart of one series read them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from masthead.base.clock import utc
from masthead.base.errors import NotFound, shown
from masthead.metrics.contributions import SeriesKey
from masthead.metrics.state import REASONS
from masthead.store.schema import Blob, Json, metadata

CHUNK = 64

detector_series = Table(
    "detector_series",
    metadata,
    Column("run", String(40), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("detector", String(63), nullable=False, index=True),
    Column("measure", Text, nullable=False),
    Column("dimensions", Json, nullable=False),
)
detector_results = Table(
    "detector_results",
    metadata,
    Column("run", String(40), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("start", BigInteger, primary_key=True),
    Column("detector", String(63), nullable=False, index=True),
    Column("size", Integer, nullable=False),
    Column("data", Blob, nullable=False),
    Index("ix_detector_results_start", "start"),
)

RESULT = np.dtype(
    [
        ("value", "<f8"),
        ("expected", "<f8"),
        ("low", "<f8"),
        ("high", "<f8"),
        ("severity", "<f4"),
        ("reason", "i1"),
    ]
)
"""One series in one interval; `reason` is a place in `state.REASONS`."""


_COLUMNS = {"values": "value", "expected": "expected", "low": "low", "high": "high"}


@dataclass(frozen=True, slots=True)
class Chart:
    """One series over time, oldest first; all lists have one entry per interval, None = missing or unknown.

    `times` are the intervals' starts; `low` and `high` bound what would have been ordinary.
    """

    detector: str
    measure: str
    dimensions: dict[str, str]
    interval_s: int
    times: list[datetime]
    values: list[float | None]
    expected: list[float | None]
    low: list[float | None]
    high: list[float | None]
    severity: list[float]
    reason: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the chart as JSON values; times in ISO 8601 with offset."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return found | {"times": [time.isoformat() for time in self.times]}


def put_series(
    connection: Connection, run: str, detector: str, keys: Sequence[SeriesKey], *, first: int = 0
) -> None:
    """Store the series with the numbers `first`, `first + 1`, ..."""
    rows = [
        {
            "run": run,
            "number": first + place,
            "detector": detector,
            "measure": key[0],
            "dimensions": list(key[1]),
        }
        for place, key in enumerate(keys)
    ]
    if rows:
        connection.execute(insert(detector_series), rows)


def count_series(connection: Connection, run: str) -> int:
    """Return how many series of a run are stored."""
    statement = select(func.count()).where(detector_series.c.run == run)
    return int(connection.execute(statement).scalar_one())


def find_series(connection: Connection, detector: str) -> list[tuple[str, int, SeriesKey]]:
    """Return (run, number, key) of every series of a detector."""
    table = detector_series.c
    statement = select(detector_series).where(table.detector == detector).order_by(table.run, table.number)
    rows = connection.execute(statement).mappings()
    return [(row["run"], row["number"], (row["measure"], tuple(row["dimensions"]))) for row in rows]


def find_starts(
    connection: Connection,
    run: str,
    *,
    limit: int,
    before_s: int | None = None,
    span: tuple[float, float] | None = None,
) -> list[int]:
    """Return the starts of a run's scored intervals, the latest first, those within `span` (its end excluded)."""
    table = detector_results.c
    statement = select(table.start).where(table.run == run, table.chunk == 0)
    if before_s is not None:
        statement = statement.where(table.start < before_s)
    if span is not None:
        statement = statement.where(table.start >= span[0], table.start < span[1])
    return [
        int(at) for at in connection.execute(statement.order_by(table.start.desc()).limit(limit)).scalars()
    ]


def put_results(
    connection: Connection,
    run: str,
    detector: str,
    starts: Sequence[int],
    results: NDArray[np.void],
    *,
    without_empty: bool = False,
) -> None:
    """Store the results of intervals: `results` (intervals, series) of `RESULT`.

    `without_empty` leaves out rows without any value: where each record is a point, most series miss most points.
    """
    rows = []
    for place, start in enumerate(starts):
        for first in range(0, results.shape[1], CHUNK):
            part = results[place, first : first + CHUNK]
            if without_empty and np.isnan(part["value"]).all():
                continue
            data = part.tobytes()
            rows.append(
                {
                    "run": run,
                    "chunk": first // CHUNK,
                    "start": int(start),
                    "detector": detector,
                    "size": len(data),
                    "data": data,
                }
            )
    if rows:
        connection.execute(insert(detector_results), rows)


def find_results(
    connection: Connection, run: str, number: int, *, start_s: float, end_s: float, limit: int
) -> tuple[list[int], NDArray[np.void]]:
    """Return (starts, (intervals,) of `RESULT`) of one series from `start_s` to before `end_s`; the last `limit`."""
    table = detector_results.c
    statement = (
        select(table.start, table.data)
        .where(table.run == run, table.chunk == number // CHUNK, table.start >= start_s, table.start < end_s)
        .order_by(table.start.desc())
        .limit(limit)
    )
    starts, found = [], []
    for start, data in connection.execute(statement):
        chunk = np.frombuffer(data, RESULT)
        if number % CHUNK < len(chunk):  # it was not yet seen before
            starts.append(int(start))
            found.append(chunk[number % CHUNK])
    return starts[::-1], np.array(found[::-1], RESULT)


def find_chart(
    connection: Connection,
    detector: str,
    key: SeriesKey,
    *,
    names: Sequence[str],
    interval_s: int,
    start_s: float,
    end_s: float,
    limit: int,
) -> Chart:
    """Return the last `limit` intervals of a series over all runs; of an interval scored twice the later run counts.

    Raises:
        NotFound: No run has such a series.
    """
    table = detector_series.c
    statement = select(table.run, table.number).where(
        table.detector == detector, table.measure == key[0], table.dimensions == list(key[1])
    )
    places = connection.execute(statement.order_by(table.run)).all()
    if not places:
        raise NotFound(f"series: {detector} has none of {shown(key[0])} with {shown(list(key[1]))}")
    rows: dict[int, Any] = {}
    for run, number in places:
        starts, found = find_results(connection, run, number, start_s=start_s, end_s=end_s, limit=limit)
        rows.update(
            (at, one)
            for at, one in zip(starts, found, strict=True)
            if interval_s or one["value"] == one["value"]  # without intervals nothing can be missing
        )
    order = sorted(rows)[-limit:]
    block = np.array([rows[start] for start in order], RESULT)
    return Chart(
        detector=detector,
        measure=key[0],
        dimensions=dict(zip(names, key[1], strict=True)),
        interval_s=interval_s,
        times=[utc(start) for start in order],
        **{column: _numbers_or_none(block[field]) for column, field in _COLUMNS.items()},
        severity=[round(float(value), 2) for value in block["severity"]],
        reason=[REASONS[code] for code in block["reason"].tolist()],
    )


def remove_results(connection: Connection, *, detector: str | None = None, run: str | None = None) -> None:
    """Delete the results and series of a detector or of one run."""
    for table in (detector_results, detector_series):
        statement = delete(table)
        if detector is not None:
            statement = statement.where(table.c.detector == detector)
        if run is not None:
            statement = statement.where(table.c.run == run)
        connection.execute(statement)


def trim_results(
    connection: Connection, *, before: datetime, most_bytes: int, keep: Sequence[str] = ()
) -> int:
    """Delete results older than `before`, and the oldest beyond `most_bytes`; return how many rows.

    Args:
        keep: Runs whose age does not count: a back-test's data are old from the beginning.
    """
    table = detector_results.c
    aged = delete(detector_results).where(table.start < before.timestamp(), table.run.not_in(keep))
    removed = connection.execute(aged).rowcount
    total = int(connection.execute(select(func.coalesce(func.sum(table.size), 0))).scalar_one())
    if total <= most_bytes:
        return removed
    # A twentieth more than needed, so that this is not done again at once.
    surplus, latest = total - int(most_bytes * 0.95), None
    for start, size in connection.execute(
        select(table.start, func.sum(table.size)).group_by(table.start).order_by(table.start)
    ):
        latest, surplus = start, surplus - size
        if surplus <= 0:
            break
    if latest is not None:
        removed += connection.execute(delete(detector_results).where(table.start <= latest)).rowcount
    return removed


def _numbers_or_none(column: NDArray[np.float64]) -> list[float | None]:
    return [None if value != value else value for value in column.tolist()]
