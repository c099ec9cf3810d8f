"""Find labelled anomalies planted in real air: recall and false alerts on Beijing's hourly stations.

    python benchmarks/beijing.py --data DIR [--seed 11] [--per-series 21] [--threshold 70]

DIR holds one parquet file per station with the columns timestamp (local), station, PM25, PM10, SO2, NO2, CO, O3
(UCI set 501, "Beijing Multi-Site Air-Quality", CC BY 4.0). Two runs over the same hours through scorer and grouper:
as the data are, and with anomalies planted at random hours after the first 2,000. Sizes are multiples of the
series' own robust scatter about its 25-hour median, so 5 lies inside what the air itself does and 20 is plain.

A dip has little room where the air is clean already, since nothing falls below 0.

found = a group of that series at or above the threshold begins or lasts between the anomaly's first hour and three
hours after its last, and no such group did in the untouched run. The data carry no labels of their own: smog and
sandstorms are real, so "other groups" counts them too and is a ceiling for false alerts, not their number.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from masthead.metrics.configuration import configuration_hash
from masthead.metrics.contributions import SeriesKey
from masthead.metrics.groups import Group, Grouper, IntervalResult
from masthead.metrics.injections import SIZELESS, Injection
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.state import REASONS

MEASURES = ("PM25", "PM10", "SO2", "NO2", "CO", "O3")
HOUR_S = 3600
BEIJING_OFFSET_S = 8 * HOUR_S  # no daylight saving in these years
LEARNING = 2000
LENGTHS = {"spike": 1, "shock": 6, "dip": 3, "level": 24, "drift": 24, "flatline": 24, "silence": 24}
SIZES = (5.0, 10.0, 20.0)
SLACK_HOURS = 3


@dataclass(frozen=True)
class Planted:
    """One anomaly: series, first hour, hours, kind and size in units of the series' scatter."""

    series: int
    start: int
    length: int
    kind: str
    size: float


def read_stations(folder: Path) -> tuple[np.ndarray, list[SeriesKey], np.ndarray]:
    """Return hours (UTC epoch s), series keys and values (hours, series); NaN = missing."""
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    if not tables:
        raise SystemExit(f"{folder}: no *.parquet")
    columns: dict[SeriesKey, dict[int, float]] = {}
    for table in tables:
        naive = table["timestamp"].to_pylist()
        hours = [int(stamp.replace(tzinfo=UTC).timestamp()) - BEIJING_OFFSET_S for stamp in naive]
        station = table["station"][0].as_py()
        for measure in MEASURES:
            values = table[measure].to_pylist()
            columns[(measure, (station,))] = {
                hour: value for hour, value in zip(hours, values, strict=True) if value is not None
            }
    first, last = (pick(pick(column) for column in columns.values()) for pick in (min, max))
    times = np.arange(first, last + HOUR_S, HOUR_S)
    matrix = np.full((len(times), len(columns)), np.nan)
    for place, column in enumerate(columns.values()):
        rows = (np.fromiter(column, np.int64) - first) // HOUR_S
        matrix[rows, place] = list(column.values())
    return times, list(columns), matrix


def scatter(values: np.ndarray) -> float:
    """Return the robust standard deviation of a series about its running 25-hour median."""
    windows = np.lib.stride_tricks.sliding_window_view(values, 25)
    calm = windows[~np.isnan(windows).any(axis=1)]
    return float(1.4826 * np.median(np.abs(calm[:, 12] - np.median(calm, axis=1))))


def plan(rng: np.random.Generator, matrix: np.ndarray, per_series: int) -> list[Planted]:
    """Return anomalies of every kind and size in turn, at hours that hold data and lie 100 h apart."""
    planted = []
    kinds = [(kind, size) for kind in LENGTHS for size in SIZES]
    for series in range(matrix.shape[1]):
        slots = rng.permutation(np.arange(LEARNING, len(matrix) - 48, 148))
        usable = (s for s in slots if not np.isnan(matrix[s - 1 : s + 30, series]).any())
        planted += [
            Planted(series, int(start) + int(rng.integers(0, 4)), LENGTHS[kind], kind, size)
            for start, (kind, size) in zip(usable, (kinds * per_series)[:per_series], strict=False)
        ]
    return planted


def plant(matrix: np.ndarray, planted: Iterable[Planted]) -> np.ndarray:
    """Return a copy of the values with the anomalies in it; nothing falls below 0."""
    changed = matrix.copy()
    units = [scatter(matrix[:, series]) for series in range(matrix.shape[1])]
    for one in planted:
        hours = slice(one.start, one.start + one.length)
        if one.kind in SIZELESS:
            changed[hours, one.series] = np.nan if one.kind == "silence" else matrix[one.start, one.series]
            continue
        shape = Injection("", one.kind, f"+{one.size * units[one.series]:.6f}", "+0", one.length)
        moved = [shape.moved(value, step) for step, value in enumerate(matrix[hours, one.series])]
        changed[hours, one.series] = np.maximum(moved, 0)
    return changed


def groups(times: np.ndarray, keys: list[SeriesKey], matrix: np.ndarray) -> list[Group]:
    """Return every group of the run as it was told last."""
    scorer = SeriesScorer(series=len(keys), interval_s=HOUR_S, zone="Asia/Shanghai")
    scores = scorer.score_many(times, matrix)
    seen = np.cumsum(~np.isnan(matrix), axis=0)
    grouper = Grouper(keys, HOUR_S, dimensions=("station",))
    told: dict[int, Group] = {}
    for step, start_s in enumerate(times):
        row = scores[step]
        closed = IntervalResult(
            start_s=float(start_s),
            keys=keys,
            values=matrix[step],
            expected=row["expected"],
            severity=row["severity"],
            undamped=row["undamped"],
            reasons=[REASONS[code] for code in row["reason"]],
            seen=seen[step],
        )
        told.update(
            (change.group.number, change.group) for change in grouper.close_interval(float(start_s), closed)
        )
    return list(told.values())


def alerted(found: Iterable[Group], keys: list[SeriesKey], first_s: int, threshold: float) -> list[set[int]]:
    """Return per series the hours that lie in a group at or above the threshold."""
    places = {key: place for place, key in enumerate(keys)}
    hours: list[set[int]] = [set() for _ in keys]
    for group in found:
        if group.severity >= threshold:
            for one in group.series:
                if one.severity >= threshold:
                    place = places[(one.measure, tuple(one.dimensions.values()))]
                    begin, end = (int(at - first_s) // HOUR_S for at in (one.start_s, one.end_s))
                    hours[place].update(range(begin, end + 1))
    return hours


def report(planted: list[Planted], calm: list[set[int]], moved: list[set[int]], threshold: float) -> None:
    """Print recall by kind and size."""
    tally: dict[tuple[str, float], list[int]] = defaultdict(lambda: [0, 0])
    for one in planted:
        window = set(range(one.start, one.start + one.length + SLACK_HOURS))
        hit = bool(window & moved[one.series]) and not window & calm[one.series]
        keys = {(one.kind, 0.0), ("all", 0.0)}
        if one.kind not in SIZELESS:
            keys |= {(one.kind, one.size), ("all", one.size)}
        for key in keys:
            tally[key][0] += hit
            tally[key][1] += 1
    print(f"severity {threshold:g}: recall by kind and size (found / planted)")
    for kind in [*LENGTHS, "all"]:
        sized = kind not in SIZELESS
        cells = [
            f"size {size:g}: {tally[(kind, size)][0]}/{tally[(kind, size)][1]}" for size in SIZES if sized
        ]
        found, whole = tally[(kind, 0.0)]
        print(f"  {kind:9} {found / max(whole, 1):.3f}  ({'; '.join([*cells, f'all: {found}/{whole}'])})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of parquet stations")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--per-series", type=int, default=21)
    parser.add_argument("--threshold", type=float, nargs="+", default=[50, 70, 90])
    arguments = parser.parse_args()
    times, keys, matrix = read_stations(arguments.data)
    points = int((~np.isnan(matrix[LEARNING:])).sum())
    planted = plan(np.random.default_rng(arguments.seed), matrix, arguments.per_series)
    started = time.process_time()
    calm_groups = groups(times, keys, matrix)
    one_run_s = time.process_time() - started
    moved_groups = groups(times, keys, plant(matrix, planted))
    print(
        f"configuration {configuration_hash()}; {len(keys)} series, {len(times)} hours, {points} values after "
        f"learning, {len(planted)} anomalies planted (seed {arguments.seed}); {one_run_s:.1f} s CPU a run"
    )
    after_s = float(times[LEARNING])
    for threshold in arguments.threshold:
        calm, moved = (
            alerted(found, keys, int(times[0]), threshold) for found in (calm_groups, moved_groups)
        )
        report(planted, calm, moved, threshold)
        other = [g for g in calm_groups if g.severity >= threshold and g.start_s >= after_s]
        kinds = {kind: sum(g.kind == kind for g in other) for kind in ("value", "flatline", "silence")}
        print(
            f"  groups in the untouched data: {len(other)} = {1000 * len(other) / points:.2f} per 1,000 values "
            f"({', '.join(f'{kind} {count}' for kind, count in kinds.items())}), {len(other) / (len(times) / 24):.2f} a day"
        )
    worst = sorted(calm_groups, key=lambda g: (-g.series_count, -g.severity))[:3]
    for group in worst:
        when = datetime.fromtimestamp(group.start_s + BEIJING_OFFSET_S, UTC).strftime("%Y-%m-%d %H:%M")
        print(
            f"  widest untouched: {when} local, {group.measure} {group.kind} {group.severity:.0f}, {group.series_count} series"
        )


if __name__ == "__main__":
    main()
