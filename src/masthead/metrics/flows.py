"""The room's long jobs: a warm start from history, and a backtest.

A job belongs to a run, named in the detector's row; its state there (`activating`, `backtesting`) is what makes it
start again after a crash. Each begins by clearing what an interrupted try of the same run left, so a job done twice
is a job done once.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from masthead.base.clock import utc
from masthead.metrics import records, results
from masthead.metrics.backtest import Backtest, Plan, Scored, run_backtest
from masthead.metrics.cubes import Limits
from masthead.metrics.detection import Detection, fresh_grouper, pack_results
from masthead.metrics.effects import facts_of, group_of, progress_of
from masthead.metrics.groups import learning_points
from masthead.metrics.intake import selection_of
from masthead.metrics.intervals import interval_range, interval_starts, next_start
from masthead.metrics.live import Surroundings, run_folder
from masthead.metrics.open_intervals import Counts, OpenIntervals
from masthead.metrics.problems import Problems
from masthead.metrics.quality import measure_quality
from masthead.metrics.raw import Format
from masthead.metrics.readers import Rows, read_rows
from masthead.metrics.records import Detector
from masthead.metrics.snapshots import Snapshot, write_snapshot
from masthead.metrics.sources import fixed_part, open_sources
from masthead.metrics.spec import DetectorSpec

__all__ = ["Report", "backtest", "warm_start"]

Report = Callable[[float, str], None]
"""Told of progress: the share done, 0 to 1, and a sentence. It raises to end the job."""

_CELLS = 500_000  # intervals times series scored at once
_CHARTED = 10_000  # intervals of a history that are kept for charts
_CHARTED_SERIES = 1_000  # of a wider history none are: live intervals fill the chart soon enough


@dataclass(frozen=True, slots=True)
class Warmth:
    """What a warm start found: intervals with data, the state to begin in, and what is to be said of the rows."""

    learned: int
    state: str
    quality: dict[str, Any]


def warm_start(detector: Detector, around: Surroundings, report: Report) -> Warmth:
    """Score a detector's history with a fresh memory, and leave that as the first snapshot of its run.

    Raises:
        InvalidInput: Files, columns or times cannot be used.
        LimitReached: More series or records than allowed.
    """
    spec, folder = detector.spec, run_folder(around.folder, detector.name, detector.run)
    for part in ("log", "snapshots"):
        shutil.rmtree(folder / part, ignore_errors=True)
    with around.database.write() as connection:
        results.remove_results(connection, run=detector.run)
    detection = Detection.fresh(spec, most_series=around.bounds.series)
    floor_s, learned, time_format = -np.inf, 0, ""
    quality: dict[str, Any] = {}
    if spec.history is not None:
        report(0.0, "reading the history")
        problems = Problems()
        sources = open_sources(spec.history.paths, around.objects, "history.paths")
        rows = read_rows(sources, selection_of(spec), spec.history.format, problems=problems)
        quality = {
            "history": measure_quality(rows, problems, interval_s=spec.interval_s, zone=spec.zone).to_json()
        }
        learned, floor_s = _learn(detection, rows, detector, around, report)
        time_format = rows.time_format
    intervals = OpenIntervals(spec, detection.cube, floor_s=floor_s)
    state = {
        "detection": detection.to_json(),
        "format": time_format,
        "learned_before": learned,
        "started": False,
        "intervals": intervals.to_json(),
    }
    write_snapshot(folder / "snapshots", Snapshot(0, state, detection.scorer))
    with around.database.write() as connection:
        results.put_series(connection, detector.run, detector.name, detection.cube.keys)
        progress = facts_of(progress_of(spec, learned), Counts())
        records.put_progress(
            around.database,
            connection,
            run=detector.run,
            detector=detector.name,
            entry=0,
            last_interval=None,
            facts=progress,
        )
    return Warmth(
        learned, "active" if learned >= learning_points(spec.interval_s)[1] else "learning", quality
    )


def _learn(
    detection: Detection, rows: Rows, detector: Detector, around: Surroundings, report: Report
) -> tuple[int, float]:
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
            with around.database.write() as connection:
                results.put_results(
                    connection, detector.run, detector.name, times[first + charted : end].tolist(), packed
                )
        report(end / len(times), f"{end:,} of {len(times):,} intervals of the history")
    detection.scorer.pause()
    detection.grouper = fresh_grouper(spec)
    return learned, float(next_start(int(times[-1]), spec.interval_s, spec.zone))


def _shares(intervals: int, series: int) -> Iterator[tuple[int, int]]:
    size = max(1, _CELLS // max(1, series))
    for first in range(0, intervals, size):
        yield first, min(first + size, intervals)


def backtest(detector: Detector, around: Surroundings, report: Report) -> dict[str, Any]:
    """Score all of a detector's data, store its groups and scores, and return what is to be said of the data.

    Raises:
        InvalidInput: Files, columns or times cannot be used.
        LimitReached: More series or records than allowed.
    """
    spec = detector.spec
    assert spec.source is not None
    with around.database.write() as connection:
        results.remove_results(connection, run=detector.run)
        records.remove_groups(connection, detector.run)
    report(0.0, "reading the data")
    paths = spec.source.paths or (fixed_part(spec.source.template),)
    data = open_sources(paths, around.objects, "source.paths")
    past = (
        open_sources(spec.history.paths, around.objects, "history.paths") if spec.history is not None else []
    )
    stored = 0

    def keep(scored: Scored) -> None:
        nonlocal stored
        keys = scored.block.keys
        with around.database.write() as connection:
            results.put_series(connection, detector.run, detector.name, keys[stored:], first=stored)
            if spec.interval_s and len(keys):
                packed = pack_results(scored.block.values, scored.scores)
                results.put_results(
                    connection, detector.run, detector.name, [int(time) for time in scored.times], packed
                )
        stored = len(keys)

    found = run_backtest(
        data,
        _plan(spec, around.bounds.series),
        history=past,
        sink=keep,
        progress=lambda done, total: report(done / total, f"{done:,} of {total:,} intervals"),
    )
    _store(detector, around, found)
    told = found.quality.to_json()
    if found.history is not None:
        told["history"] = found.history.to_json()
    return told


def _plan(spec: DetectorSpec, most_series: int) -> Plan:
    """Return what a backtest is told of a specification."""
    assert spec.source is not None
    return Plan(
        time=spec.time.column,
        time_format=spec.time.format,
        zone=spec.zone,
        measures=spec.measures,
        dimensions=spec.dimensions,
        interval_s=spec.interval_s,
        rollups=spec.rollups,
        filters=spec.filters,
        dedupe=("key" if spec.dedupe_key else "exact") if spec.drops_duplicates else "none",
        dedupe_key=spec.dedupe_key,
        limits=Limits(series=most_series),
        data_format=spec.source.format,
        history_format=spec.history.format if spec.history is not None else Format(),
    )


def _store(detector: Detector, around: Surroundings, found: Backtest) -> None:
    """Store groups and counts of a backtest."""
    spec = detector.spec
    now = around.clock.now()
    with around.database.write() as connection:
        for group in found.groups:
            records.put_group(connection, group_of(group, detector=detector.name, run=detector.run, now=now))
        records.close_groups(connection, detector.run)
        quality = found.quality
        counts = Counts(
            rows=quality.rows,
            intervals=quality.intervals_present,
            empty=quality.intervals_empty,
            duplicates=quality.duplicates,
        )
        counts.refused.update(quality.refused_by_reason)
        records.put_progress(
            around.database,
            connection,
            run=detector.run,
            detector=detector.name,
            entry=0,
            last_interval=_last(found.quality.last, spec.interval_s, spec.zone),
            facts=facts_of(progress_of(spec, quality.intervals_present), counts),
        )


def _last(stamp: str | None, interval_s: int, zone: str) -> Any:
    from datetime import datetime

    if stamp is None or not interval_s:
        return None
    moment = datetime.fromisoformat(stamp).timestamp()
    return utc(int(interval_starts(np.array([moment]), interval_s, zone)[0]))
