"""Scores for many series, interval by interval: the kernel with its memory, its clock and its threads."""

import functools
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from masthead.base.errors import Conflict, InvalidInput, shown
from masthead.metrics.archive import read_archive, write_archive
from masthead.metrics.configuration import DEFAULT, Configuration, configuration_hash
from masthead.metrics.feedback import learn_feedback
from masthead.metrics.moments import Moments
from masthead.metrics.parameters import parameters
from masthead.metrics.state import NOTHING, REASONS, SCORE, SERIES

__all__ = ["LARGEST", "SeriesScorer"]

LARGEST = 1e15
"""Values beyond this are problems of the source, not numbers: a double no longer counts single units there."""

# Fewer series than this are scored by the calling thread: handing work to others would cost more than the work.
_SHARE = 64
# Steps of `update_many` whose full scores are held at once, times series.
_HELD = 1_000_000


class SeriesScorer:
    """Scores each value of many series by how surprising it is for its own series so far.

    Args:
        series: How many series there are, 0 where none is known yet; `grow` adds more.
        interval_s: Length of an interval in seconds. 0: every call is the next point, and times serve the season
            only; they may repeat or fall.
        silence: Whether a series that falls silent is reported.
        configuration: The numbers behind the scores.
        zone: IANA zone whose days and weeks are the season's; None: UTC.

    Raises:
        InvalidInput: An argument lies outside its range.

    >>> scorer = SeriesScorer(series=2, interval_s=300)
    >>> scorer.update(0, [20.0, float("nan")]), scorer.reasons()
    (array([0., 0.], dtype=float32), ['', ''])
    """

    def __init__(
        self,
        series: int,
        interval_s: int = 300,
        silence: bool = True,
        configuration: Configuration = DEFAULT,
        zone: str | None = None,
    ) -> None:
        for name, what, value in (
            ("series", "a whole number", series),
            ("interval_s", "whole seconds", interval_s),
        ):
            if not _is_count(value):
                raise InvalidInput(f"{name}: expected {what}, 0 or more, got {shown(value)}")
        self.interval_s = int(interval_s)
        self.silence = silence
        self.configuration = configuration
        self.zone = zone
        try:
            self._moments = Moments(self.interval_s, zone)
        except (KeyError, ValueError, OSError) as error:
            raise InvalidInput(
                f"zone: expected an IANA time zone such as Europe/Rome, got {zone!r}"
            ) from error
        self._parameters = parameters(configuration, self.interval_s)
        self._state = np.zeros(int(series), SERIES)
        self._scores = _no_scores(1, int(series))

    @property
    def series(self) -> int:
        """How many series are scored."""
        return len(self._state)

    @property
    def configuration_hash(self) -> str:
        """Sixteen hexadecimal digits that stand for everything that decides a score."""
        return configuration_hash(self.configuration)

    @property
    def last_time_s(self) -> float | None:
        """Start of the interval scored last, epoch seconds; None before the first."""
        return self._moments.last_s

    def update(self, time_s: float, values: ArrayLike) -> NDArray[np.float32]:
        """Score one interval and return the severities, (series,), 0 to 100.

        Args:
            time_s: UTC epoch seconds of the interval start, floored to the interval. Must rise when `interval_s` is
                above 0; a jump over k intervals counts k - 1 missing ones for all series.
            values: (series,) float64; NaN = missing: state and severity 0, until the gap is silence.

        Raises:
            InvalidInput: Time or values cannot be used; the state is untouched.
        """
        self._scores = self._score(np.array([time_s], np.float64), self._checked(values, 1))
        severities: NDArray[np.float32] = self._scores["severity"][0].copy()
        return severities

    def update_many(self, times: Sequence[float] | ArrayLike, values: ArrayLike) -> NDArray[np.float32]:
        """Score many intervals, values (steps, series), and return the severities, the same as by single calls."""
        moments = np.array(times, np.float64, ndmin=1)
        matrix = self._checked(values, len(moments))
        severity = np.zeros(matrix.shape, np.float32)
        self._moments.following(moments)  # refuse all of it or nothing
        step = max(1, _HELD // max(1, self.series))
        for k in range(0, len(moments), step):
            scores = self._score(moments[k : k + step], matrix[k : k + step])
            severity[k : k + step] = scores["severity"]
            self._scores = scores[-1:].copy()
        return severity

    def score_many(self, times: Sequence[float] | ArrayLike, values: ArrayLike) -> NDArray[np.void]:
        """Score many intervals and return all that is known of each value, (steps, series) records of `SCORE`.

        40 bytes for each value: severity, undamped, expected, low, high, and the code of the reason in `REASONS`.
        """
        moments = np.array(times, np.float64, ndmin=1)
        scores = self._score(moments, self._checked(values, len(moments)))
        if len(scores):
            self._scores = scores[-1:].copy()
        return scores

    def reasons(self) -> list[str]:
        """Return why each series surprised in the last update; "" = nothing to say.

        There is something to say from severity 50 on, while the event so opened lasts (its undamped severity stays at 50
        or above), and as long as a flat line or silence is in effect.
        """
        return [REASONS[code] for code in self._scores["reason"][0].tolist()]

    def expected(self) -> NDArray[np.float64]:
        """Return what was expected of each series before the last update, NaN where nothing was."""
        expected: NDArray[np.float64] = self._scores["expected"][0].copy()
        return expected

    def band(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the lower and upper edge of what would have been ordinary in the last update."""
        return self._scores["low"][0].copy(), self._scores["high"][0].copy()

    def undamped(self) -> NDArray[np.float32]:
        """Return the severities of the last update without damping: high as long as an event lasts."""
        undamped: NDArray[np.float32] = self._scores["undamped"][0].copy()
        return undamped

    def seen(self) -> NDArray[np.int64]:
        """Return how many values each series has had."""
        return self._state["points"].copy()

    def grow(self, series: int) -> None:
        """Make room for `series` series in all; the new ones have seen nothing.

        Raises:
            InvalidInput: There are more already.
        """
        added = series - self.series
        if added < 0:
            raise InvalidInput(f"series: expected {self.series} or more, got {series}")
        self._state = np.concatenate([self._state, np.zeros(added, SERIES)])
        self._scores = np.concatenate([self._scores, _no_scores(1, added)], axis=1)

    def part(self, places: Sequence[int]) -> "SeriesScorer":
        """Return a scorer of its own for the series at `places`, -1 = one that has seen nothing; it knows no silence.

        What it learns stays with it. It takes any time next, as after `pause`.
        """
        found = SeriesScorer(0, self.interval_s, False, self.configuration, self.zone)
        at = np.array(places, np.int64)
        known = at >= 0
        state = np.zeros(len(at), SERIES)
        state[known] = self._state[at[known]]
        scores = _no_scores(1, len(at))
        scores[:, known] = self._scores[:, at[known]]
        found._state, found._scores = state, scores
        return found

    def pause(self) -> None:
        """Let the next interval be any later one without counting those between as missing.

        The span between the end of a history and the first live interval is not silence.
        """
        self._moments.last_s = None

    def give_feedback(self, index: int, value: float, is_anomaly: bool, reason: str = "") -> None:
        """Learn a person's word on a value that was scored.

        "No anomaly": the neighbourhood of the value counts as seen, and the channels that raised it speak more
        softly from now on. "Anomaly": the value counts as never seen, so that its repeat is news again.

        Args:
            index: Of the series.
            value: The value as it was scored.
            is_anomaly: What the person says.
            reason: Of the score in question; "" takes the last reason that could have opened an event.

        Raises:
            InvalidInput: There is no such series or reason, or the value is not finite.
        """
        if not 0 <= index < self.series:
            raise InvalidInput(f"index: expected 0 to {self.series - 1}, got {index}")
        if not math.isfinite(value):
            raise InvalidInput(f"value: expected a finite number, got {value}")
        if reason not in REASONS:
            raise InvalidInput(f"reason: expected one of {', '.join(filter(None, REASONS))}, got {reason!r}")
        learn_feedback(self._state[index], value, is_anomaly, reason, self.configuration)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one file at exactly `path`; after `load` the next scores are equal to the bit."""
        header = {
            "interval_s": self.interval_s,
            "silence": self.silence,
            "zone": self.zone,
            "last_time_s": self._moments.last_s,
            "configuration": asdict(self.configuration),
            "configuration_hash": self.configuration_hash,
        }
        write_archive(Path(path), header, {"state": self._state, "scores": self._scores})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the scorer that `save` wrote.

        Raises:
            NotFound: There is no such file.
            InvalidInput: It is no saved scorer, or damaged.
            Conflict: Another version of the kernel wrote it: its memory means nothing here. Score the history again.
        """
        header, arrays = read_archive(Path(path))
        wrote = header.get("configuration_hash")
        try:
            configuration = Configuration(**header["configuration"])
        except (KeyError, TypeError):
            configuration = None
        if configuration is None or configuration_hash(configuration) != wrote:
            raise Conflict(f"path: expected a scorer saved by this kernel, got one of configuration {wrote}")
        state, scores = arrays.get("state"), arrays.get("scores")
        if scores is not None and scores.dtype != SCORE:
            scores = _widened(scores)
        if state is None or scores is None or state.dtype != SERIES or scores.shape != (1, *state.shape):
            raise InvalidInput(f"path: expected a saved scorer, got {os.fspath(path)} without its arrays")
        scorer = cls(0, header["interval_s"], header["silence"], configuration, header["zone"])
        scorer._state, scorer._scores = state, scores
        scorer._moments.last_s = header["last_time_s"]
        return scorer

    def _checked(self, values: ArrayLike, steps: int) -> NDArray[np.float64]:
        """Return the values as (steps, series), or raise InvalidInput."""
        try:
            matrix = np.array(values, np.float64, order="C")
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"values: expected numbers, got {type(values).__name__}: {error}") from error
        if matrix.shape not in ((steps, self.series), (self.series,) if steps == 1 else ()):
            raise InvalidInput(
                f"values: expected {steps} times {self.series} numbers, got the shape {matrix.shape}"
            )
        largest = np.fmax.reduce(np.abs(matrix), axis=None, initial=0.0)
        if largest > LARGEST:
            raise InvalidInput(f"values: expected finite numbers up to {LARGEST:g} or NaN, got {largest}")
        return matrix.reshape(steps, self.series)

    def _score(self, times: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.void]:
        """Run the kernel over (steps, series), in this thread or in shares of series over all cores."""
        moments, last = self._moments.following(times)
        scores = np.empty(values.shape, SCORE)
        in_event = self._scores["in_event"][0].copy()  # contiguous, for one series as for many: compiled once
        kernel, n = _kernel(), self.series

        def share(first: int, end: int) -> None:
            kernel(self._state, first, end, values, moments, self._parameters, self.silence, in_event, scores)

        if n < 2 * _SHARE:
            share(0, n)
        else:
            pool, cores = _threads(os.getpid())
            size = max(_SHARE, -(-n // (4 * cores)))
            for done in [pool.submit(share, at, min(at + size, n)) for at in range(0, n, size)]:
                done.result()
        self._moments.last_s = last
        return scores


def _is_count(value: object) -> bool:
    """Return whether a value is a whole number of at least 0, of any type of numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer)):
        return False
    return bool(math.isfinite(value) and value >= 0 and value == int(value))


def _no_scores(steps: int, series: int) -> NDArray[np.void]:
    """Return scores that say nothing."""
    scores = np.zeros((steps, series), SCORE)
    scores["reason"] = NOTHING
    for name in ("expected", "low", "high"):
        scores[name] = np.nan
    return scores


def _widened(scores: NDArray[np.void]) -> NDArray[np.void] | None:
    """Return scores saved before they told of open events; None when they are none. An event is open from 50 on."""
    names = set(scores.dtype.names or ())
    if names != set(SCORE.names or ()) - {"in_event"}:
        return None
    found = np.zeros(scores.shape, SCORE)
    for name in names:
        found[name] = scores[name]
    found["in_event"] = found["severity"] >= 50.0
    return found


@functools.cache
def _kernel() -> Any:
    """Return the compiled kernel; numba is loaded here, at the first score, and not before."""
    from masthead.metrics.kernel import score_all

    return score_all


@functools.lru_cache(maxsize=1)
def _threads(process: int) -> tuple[ThreadPoolExecutor, int]:
    """Return this process's threads for scoring (a fork has none of its parent's) and their number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(cores, thread_name_prefix=f"masthead-score-{process}"), cores
