"""Old files through the same path as live data: rows, cube, scores, groups. Orchestration, nothing of its own."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput
from masthead.metrics.bounds import Limits
from masthead.metrics.contributions import SeriesKey
from masthead.metrics.cubes import Block, Cube
from masthead.metrics.files import Source
from masthead.metrics.groups import Group, GroupChange, Grouper, IntervalResult
from masthead.metrics.intervals import interval_range, interval_starts
from masthead.metrics.problems import Problems
from masthead.metrics.quality import DataQuality, measure_quality
from masthead.metrics.raw import Format
from masthead.metrics.readers import Rows, Selection, read_rows
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.spec import Measure, require_apart
from masthead.metrics.state import REASONS
from masthead.metrics.zones import check_interval

_CELLS = 1_000_000  # intervals times series scored at once: about 60 MB
_LEARN_SHARE, _LEARN_LEAST, _LEARN_MOST = 0.15, 100, 300
# With a share of one's own, as Lookout for Metrics documents its back-tests (developer guide, 2022).
_SHARED_LEAST, _TESTED_MOST = 200, 900


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backtest is told.

    Attributes:
        time: Column of the event time. time_format: "" = found. zone: IANA name.
        measures: What is watched. dimensions: Columns of categories.
        interval_s: Length of an interval; 0 = each record is the next point of its series.
        rollups, filters, limits: As in `Cube` and `Selection`.
        dedupe: none, exact or key; key needs `dedupe_key`, a column.
        data_format, history_format: How the files are written.
        learn: Intervals at the start whose groups are not reported; None = none after a history, else
            15 %, at least 100 and at most 300.
        learning_share: Without `learn`: the share of the intervals that only teaches, at least 200; at most 900 are
            tested. 0 = none given.
    """

    time: str
    measures: tuple[Measure, ...]
    dimensions: tuple[str, ...] = ()
    interval_s: int = 300
    time_format: str = ""
    zone: str = "UTC"
    rollups: str = "none"
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dedupe: str = "none"
    dedupe_key: str = ""
    limits: Limits = field(default_factory=Limits)
    data_format: Format = field(default_factory=Format)
    history_format: Format = field(default_factory=Format)
    learn: int | None = None
    learning_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Scored:
    """Intervals of DATA as they were scored, in time order.

    Attributes:
        keys: Every series of the whole run, in index order; `block` has the first of them.
        times: (intervals,) float64 UTC epoch seconds of their starts.
        block: Keys, values and counts.
        scores: (intervals, series) records of `masthead.metrics.state.SCORE`.
    """

    keys: Sequence[SeriesKey]
    times: NDArray[np.float64]
    block: Block
    scores: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a backtest found.

    Attributes:
        groups: In order of start, most severe first; of any severity from the opening bar on.
        quality: Of DATA. history: Of the history, or None.
        configuration: Hash of the kernel's configuration.
        keys: Every series. learned: Intervals of DATA whose groups were not reported. tested: Whether there
            are others.
    """

    groups: tuple[Group, ...]
    quality: DataQuality
    history: DataQuality | None
    configuration: str
    keys: Sequence[SeriesKey]
    learned: int
    tested: bool

    def to_json(self, severity: float = 0.0) -> dict[str, Any]:
        """Return groups of at least `severity`, quality and configuration as JSON values."""
        quality = self.quality.to_json()
        if self.history is not None:
            quality["history"] = self.history.to_json()
        return {
            "groups": [group_json(group) for group in self.groups if group.severity >= severity],
            "quality": quality,
            "configuration": self.configuration,
        }


def group_json(group: Group) -> dict[str, Any]:
    """Return a group as a backtest prints it; `end` is the start of its last interval."""
    return {
        "start": utc(group.start_s).isoformat(),
        "end": utc(group.end_s).isoformat(),
        "measure": group.measure,
        "severity": round(group.severity, 2),
        "reason": group.reason,
        "contributions": group.contributions,
        "series": group.series_count,
    }


def run_backtest(
    data: Sequence[Source],
    plan: Plan,
    *,
    history: Sequence[Source] = (),
    sink: Callable[[Scored], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Backtest:
    """Score `data`, after `history` if any, and return its groups.

    Args:
        sink: Called with the scored intervals of DATA, in order.
        progress: Called with (intervals done, intervals in all).

    Raises:
        InvalidInput: Files, columns or times cannot be used. LimitReached: Too many series or records.
    """
    trial = Trial(plan)
    past, past_quality = trial.read(history, plan.history_format) if history else (None, None)
    # A file without header takes the names of the history, as the published sample needs it.
    names = past.names if past is not None else ()
    rows, quality = trial.read(data, plan.data_format, names)
    if past is not None:
        trial.learn(past, before=rows)
    groups, learned = trial.test(rows, sink=sink, progress=progress, after_history=past is not None)
    return Backtest(
        groups=groups,
        quality=quality,
        history=past_quality,
        configuration=trial.scorer.configuration_hash,
        keys=trial.cube.keys,
        learned=learned,
        tested="tested_first" in trial.split,
    )


def _learned(plan: Plan, steps: int, *, after_history: bool) -> int:
    if plan.learn is not None:
        return min(plan.learn, steps)
    if plan.learning_share and not after_history:
        return _learned_by_share(plan.learning_share, steps)
    return 0 if after_history else min(max(int(_LEARN_SHARE * steps), _LEARN_LEAST), _LEARN_MOST, steps)


def _learned_by_share(share: float, steps: int) -> int:
    """Return how many of the oldest intervals only teach.

    Raises:
        InvalidInput: None would be left to be tested.

    >>> _learned_by_share(0.7, 1000), _learned_by_share(0.7, 250), _learned_by_share(0.7, 10_000)
    (700, 200, 9100)
    """
    tested = min(steps - max(math.ceil(round(share * steps, 6)), _SHARED_LEAST), _TESTED_MOST)
    if tested < 1:
        raise InvalidInput(
            f"data: expected more than {_SHARED_LEAST} intervals, of which the oldest teach, got {steps:,}",
            field="data",
        )
    return steps - tested


def _before(past: Rows, rows: Rows, plan: Plan) -> Rows:
    """Return the history's rows from before the first interval of DATA; a row is scored once."""
    first = float(rows.times.min())
    if plan.interval_s:
        first = float(interval_starts(np.array([first]), plan.interval_s, plan.zone)[0])
    kept = past.times < first
    if not kept.any():
        raise InvalidInput(
            f"history: expected rows before {utc(first).isoformat()}, where the data starts, got none"
        )
    return past.take(kept)


class Trial:
    """A backtest in its stages: `read`, `learn` from a history, `test`; between the last two it can be kept in files.

    `tested` is, after the last, the starts of the first and the last interval that only taught (if any did), and of
    the first and the last that were tested.

    Raises:
        InvalidInput: The plan's interval is outside its domain, or a column is a measure and a dimension.
    """

    def __init__(self, plan: Plan) -> None:
        if plan.interval_s:
            check_interval(plan.interval_s)
        require_apart(plan.measures, plan.dimensions)
        self.plan = plan
        dedupe: Any = plan.dedupe
        self.cube = Cube(plan.measures, plan.dimensions, plan.rollups, plan.limits, dedupe)
        self.scorer = SeriesScorer(0, plan.interval_s, silence=False, zone=plan.zone)
        self.split: dict[str, float] = {}

    def read(
        self, sources: Sequence[Source], format: Format, names: tuple[str, ...] = ()
    ) -> tuple[Rows, DataQuality]:
        """Return the rows of files and what is to be said about them.

        Raises: As `run_backtest`.
        """
        plan, problems = self.plan, Problems()
        selection = Selection(
            plan.time,
            plan.time_format,
            plan.zone,
            numbers=self.cube.columns,
            labels=plan.dimensions,
            filters=plan.filters,
            key=plan.dedupe_key,
        )
        rows = read_rows(sources, selection, format, problems=problems, inherited=names)
        return rows, measure_quality(rows, problems, interval_s=plan.interval_s, zone=plan.zone)

    def learn(self, past: Rows, *, before: Rows, progress: Callable[[int, int], None] | None = None) -> int:
        """Score the history's rows from before DATA's first interval; return how many rows those are.

        Raises:
            InvalidInput: There are none.
        """
        kept = _before(past, before, self.plan)
        self._score(kept, lambda scored: None, progress)
        self.scorer.pause()
        return len(kept)

    def save(self, path: Path) -> dict[str, Any]:
        """Write the scorer to a file and return the rest as JSON values."""
        self.scorer.save(path)
        return self.cube.to_json()

    def restore(self, path: Path, state: Mapping[str, Any]) -> None:
        """Take over what `save` wrote; this trial must be fresh.

        Raises: As `SeriesScorer.load` and `Cube.restore`.
        """
        self.cube.restore(state)
        self.scorer = SeriesScorer.load(path)

    def test(
        self,
        rows: Rows,
        *,
        after_history: bool,
        sink: Callable[[Scored], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[tuple[Group, ...], int]:
        """Score DATA; return its groups in order of start, and how many intervals at the start only taught."""
        finder = _Finder(self, self.plan)

        def took(scored: Scored) -> None:
            finder.take(scored)
            if sink is not None:
                sink(scored)

        def steps_known(times: NDArray[np.float64]) -> None:
            finder.skip = _learned(self.plan, len(times), after_history=after_history)
            parts = {"learned": times[: finder.skip], "tested": times[finder.skip :]}
            self.split = {
                f"{name}_{end}": float(part[place])
                for name, part in parts.items()
                for end, place in (("first", 0), ("last", -1))
                if len(part)
            }

        self._score(rows, took, progress, steps_known)
        return finder.groups(), finder.skip

    def _score(
        self,
        rows: Rows,
        sink: Callable[[Scored], None],
        progress: Callable[[int, int], None] | None,
        steps_known: Callable[[NDArray[np.float64]], None] = lambda times: None,
    ) -> None:
        """Close and score every interval from the first row to the last, in order."""
        times, step = self._steps(rows)
        steps_known(times)
        order = np.argsort(step, kind="stable")
        rows, step = rows.take(order), step[order]
        keys = self.cube.keys_after(rows, step)
        size = max(1, _CELLS // max(1, len(keys)))
        for start in range(0, len(times), size):
            end = min(start + size, len(times))
            inside = slice(*np.searchsorted(step, [start, end]).tolist())
            places = np.arange(inside.start, inside.stop)
            block = self.cube.close_block(rows.take(places), step[inside] - start, end - start)
            self.scorer.grow(len(block.keys))
            scores = self.scorer.score_many(times[start:end], block.values)
            sink(Scored(keys, times[start:end], block, scores))
            if progress is not None:
                progress(end, len(times))

    def _steps(self, rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return (intervals,) start times and (rows,) the interval of each row."""
        if self.plan.interval_s:
            starts = interval_starts(rows.times, self.plan.interval_s, self.plan.zone)
            times = interval_range(int(starts.min()), int(starts.max()), self.plan.interval_s, self.plan.zone)
            return times.astype(np.float64), np.searchsorted(times, starts)
        # Without aggregation a step is one instant; rows of a series that share it follow each other.
        codes = _codes(rows, self.plan.dimensions)
        order = np.lexsort([codes, rows.times])
        fresh = np.ones(len(rows), bool)
        fresh[1:] = (np.diff(rows.times[order]) != 0) | (np.diff(codes[order]) != 0)
        runs = np.flatnonzero(fresh)
        repeat = np.empty(len(rows), np.int64)
        repeat[order] = np.arange(len(rows)) - runs[np.cumsum(fresh) - 1]
        pairs = np.stack([rows.times, repeat.astype(np.float64)], axis=1)
        unique, step = np.unique(pairs, axis=0, return_inverse=True)
        return np.ascontiguousarray(unique[:, 0]), step.reshape(-1)


def _codes(rows: Rows, dimensions: Sequence[str]) -> NDArray[np.int64]:
    codes = np.zeros(len(rows), np.int64)
    for name in dimensions:
        column = rows.labels[name]
        _, codes = np.unique(codes * len(column.values) + column.codes, return_inverse=True)
    return codes


class _Finder:
    """Feeds scored intervals to the grouper and keeps what it says last of each group."""

    def __init__(self, run: Trial, plan: Plan) -> None:
        self._run = run
        self._grouper = Grouper(
            (),
            plan.interval_s,
            dimensions=plan.dimensions,
            aggregations={measure.name: measure.aggregation for measure in plan.measures},
        )
        self._last: dict[int, Group] = {}
        self._done = 0
        self.skip = 0

    def take(self, scored: Scored) -> None:
        """Let the grouper see the intervals after the learning part."""
        values, scores = scored.block.values, scored.scores
        seen = self._run.scorer.seen() - (~np.isnan(values)).sum(axis=0)
        hot: NDArray[np.bool_] = np.any(scores["severity"] >= self._grouper.open_at, axis=1)
        for step in range(len(scored.times)):
            seen = seen + ~np.isnan(values[step])
            self._done += 1
            # While nothing is open, an interval without anything to open changes nothing.
            if self._done <= self.skip or not (hot[step] or self._grouper.open_groups):
                continue
            row = scores[step]
            result = IntervalResult(
                start_s=float(scored.times[step]),
                keys=list(scored.block.keys[: values.shape[1]]),
                values=values[step],
                expected=row["expected"],
                severity=row["severity"],
                undamped=row["undamped"],
                reasons=[REASONS[code] for code in row["reason"].tolist()],
                counts=scored.block.counts[step],
                seen=seen,
            )
            self._note(self._grouper.close_interval(result.start_s, result))

    def groups(self) -> tuple[Group, ...]:
        """Return every group, in order of start, the most severe first."""
        return tuple(
            sorted(self._last.values(), key=lambda group: (group.start_s, -group.severity, group.measure))
        )

    def _note(self, changes: Sequence[GroupChange]) -> None:
        for change in changes:
            self._last[change.group.number] = change.group
