"""The steps of an activation: a detector's history read, then scored with a fresh memory, its first snapshot."""

import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from masthead.metrics import records, results
from masthead.metrics.detection import Detection, fresh_grouper, pack_results
from masthead.metrics.effects import facts_of, progress_of
from masthead.metrics.groups import learning_points
from masthead.metrics.intake import selection_of
from masthead.metrics.intervals import interval_range, interval_starts, next_start
from masthead.metrics.open_intervals import Counts, OpenIntervals
from masthead.metrics.problems import Problems
from masthead.metrics.quality import measure_quality
from masthead.metrics.readers import Rows, read_rows
from masthead.metrics.snapshots import Snapshot, write_snapshot
from masthead.metrics.sources import open_sources
from masthead.metrics.work import Work

__all__ = ["go_live", "learn_history", "read_history"]

_CELLS = 500_000  # intervals times series scored at once
_CHARTED = 10_000  # intervals of a history that are kept for charts
_CHARTED_SERIES = 1_000  # of a wider history none are: live intervals fill the chart soon enough


def read_history(work: Work) -> dict[str, Any]:
    """Keep the rows of the history in a file; return `{"rows", "format", "quality"}`.

    Raises:
        InvalidInput: Files, columns or times cannot be used. LimitReached: More records than allowed.
    """
    if work.row().spec.history is None:
        return {"rows": 0, "format": "", "quality": {}}
    work.report(0.0, "reading the history")
    problems = Problems()
    rows = _read(work, problems)
    work.keep_rows("history", rows)
    spec = work.row().spec
    quality = measure_quality(rows, problems, interval_s=spec.interval_s, zone=spec.zone).to_json()
    return {"rows": len(rows), "format": rows.time_format, "quality": {"history": quality}}


def _read(work: Work, problems: Problems) -> Rows:
    spec = work.row().spec
    assert spec.history is not None
    sources = open_sources(spec.history.paths, work.around.objects, "history.paths")
    return read_rows(sources, selection_of(spec), spec.history.format, problems=problems)


def learn_history(work: Work, read: dict[str, Any]) -> dict[str, Any]:
    """Score the history with a fresh memory and leave that as the run's first snapshot; return `{"learned", "state"}`.

    Raises:
        LimitReached: More series than allowed.
    """
    row, around = work.row(), work.around
    spec = row.spec
    for part in ("log", "snapshots"):
        shutil.rmtree(work.run_folder / part, ignore_errors=True)
    with around.database.write() as connection:
        results.remove_results(connection, run=row.run)
    detection = Detection.fresh(spec, limits=around.bounds.cube)
    floor_s, learned = -np.inf, 0
    if read["rows"]:
        rows = work.kept_rows("history", lambda: _read(work, Problems()))
        learned, floor_s = _learn(detection, rows, work)
    intervals = OpenIntervals(spec, detection.cube, floor_s=floor_s)
    state = {
        "detection": detection.to_json(),
        "format": read["format"],
        "learned_before": learned,
        "started": False,
        "intervals": intervals.to_json(),
    }
    write_snapshot(work.run_folder / "snapshots", Snapshot(0, state, detection.scorer))
    with around.database.write() as connection:
        results.put_series(connection, row.run, row.name, detection.cube.keys)
        records.put_progress(
            around.database,
            connection,
            run=row.run,
            detector=row.name,
            entry=0,
            last_interval=None,
            facts=facts_of(progress_of(spec, learned), Counts()),
        )
    whole = learned >= learning_points(spec.interval_s)[1]
    return {"learned": learned, "state": "active" if whole else "learning"}


def go_live(work: Work, read: dict[str, Any], learned: dict[str, Any]) -> None:
    """Hand the detector over to the readings."""
    if not work.is_done():
        work.hand_over(work.row(), learned["state"], read["quality"], lambda connection: None)


def _learn(detection: Detection, rows: Rows, work: Work) -> tuple[int, float]:
    """Close and score every interval of the history; return how many had data, and where the next one begins."""
    spec = detection.spec
    starts = interval_starts(rows.times, spec.interval_s, spec.zone)
    times = interval_range(int(starts.min()), int(starts.max()), spec.interval_s, spec.zone)
    order = np.argsort(starts, kind="stable")
    rows, step = rows.take(order), np.searchsorted(times, starts[order])
    learned = 0
    for first, end in _shares(len(times), len(detection.cube.keys_after(rows, step))):
        inside = slice(*np.searchsorted(step, [first, end]).tolist())
        part = rows.take(np.arange(inside.start, inside.stop))
        block = detection.cube.close_block(part, step[inside] - first, end - first)
        detection.scorer.grow(len(block.keys))
        scores = detection.scorer.score_many(times[first:end].astype(np.float64), block.values)
        learned += int((block.records > 0).sum())
        charted = max(0, len(times) - _CHARTED - first)
        if charted < end - first and 0 < len(block.keys) <= _CHARTED_SERIES:
            packed = pack_results(block.values[charted:], scores[charted:])
            with work.around.database.write() as connection:
                results.put_results(
                    connection, work.run.id, work.name, times[first + charted : end].tolist(), packed
                )
        work.report(end / len(times), f"{end:,} of {len(times):,} intervals of the history")
    detection.scorer.pause()
    detection.grouper = fresh_grouper(spec)
    return learned, float(next_start(int(times[-1]), spec.interval_s, spec.zone))


def _shares(intervals: int, series: int) -> Iterator[tuple[int, int]]:
    size = max(1, _CELLS // max(1, series))
    for first in range(0, intervals, size):
        yield first, min(first + size, intervals)
