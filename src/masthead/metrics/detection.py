"""What a detector remembers between intervals: the registry of its series, the scorer and the open groups.

A closed interval is a `Decision`: plain values that can be written down. Deciding and scoring are apart, so that a
decision read back from the log gives the same scores and groups, to the bit, as the one that was made live.
"""

import base64
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.metrics.bounds import Limits
from masthead.metrics.contributions import SeriesKey
from masthead.metrics.cubes import Cube, together
from masthead.metrics.groups import GroupChange, Grouper, IntervalResult
from masthead.metrics.readers import Rows
from masthead.metrics.repeats import Repeats
from masthead.metrics.results import RESULT
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.spec import DetectorSpec, Measure
from masthead.metrics.state import REASONS

__all__ = ["Decision", "Detection", "Scored", "cube_of"]

_VERSION = 1
_TOGETHER = 32  # batches put together at once: each row is copied a few times in all


@dataclass(frozen=True, slots=True)
class Decision:
    """One closed interval.

    Attributes:
        start_s: Start of the interval, UTC epoch seconds.
        leaves: Tuples of dimension values met for the first time, in the order of their numbers.
        seen: (cells,) bool: which cells had rows.
        values: (series,) float64, NaN = missing.
        counts: (series,) int64, records behind each value.
    """

    start_s: int
    leaves: tuple[tuple[str, ...], ...]
    seen: NDArray[np.bool_]
    values: NDArray[np.float64]
    counts: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return all but the arrays of values and counts as JSON values."""
        bits = base64.b64encode(np.packbits(self.seen).tobytes()).decode()
        return {"start": self.start_s, "leaves": self.leaves, "cells": len(self.seen), "seen": bits}

    @classmethod
    def from_json(
        cls, found: Mapping[str, Any], values: NDArray[np.float64], counts: NDArray[np.int64]
    ) -> "Decision":
        """Return the decision that `to_json` and its arrays describe."""
        bits = np.frombuffer(base64.b64decode(found["seen"]), np.uint8)
        seen = np.unpackbits(bits, count=found["cells"]).astype(bool)
        leaves = tuple(tuple(leaf) for leaf in found["leaves"])
        return cls(int(found["start"]), leaves, seen, values, counts)


@dataclass(frozen=True, slots=True)
class Scored:
    """What a decision led to: `results` (series,) of `RESULT`, the changes of groups, and the series that are new."""

    start_s: int
    results: NDArray[np.void]
    changes: list[GroupChange]
    new_keys: Sequence[SeriesKey]


class LoggedCube(Cube):
    """A cube whose every close can be written down and followed without its rows."""

    def __init__(
        self,
        measures: Sequence[Measure],
        dimensions: Sequence[str],
        rollups: str,
        limits: Limits,
        dedupe: Literal["none", "exact", "key"],
    ) -> None:
        super().__init__(measures, dimensions, rollups, limits, dedupe)
        self._repeats: dict[int, Repeats] = {}

    def add(self, start_s: int, rows: Rows) -> None:
        """As a cube's; small batches are put together as they come, or a day of single readings would cost 3 GB."""
        super().add(start_s, rows)
        parts = self._pending[start_s]
        while len(parts) >= _TOGETHER and len(parts[-_TOGETHER]) <= _TOGETHER * len(parts[-1]):
            whole = together(parts[-_TOGETHER:])
            assert whole is not None
            parts[-_TOGETHER:] = [whole]

    def waiting(self) -> tuple[int, int]:
        """Return how many rows wait in open intervals, and how many of them repeat another and will be dropped."""
        repeated = 0
        for start_s, parts in self._pending.items() if self.dedupe != "none" else ():
            if start_s not in self._repeats:
                by_key = self.dedupe == "key"
                self._repeats[start_s] = Repeats(self.columns, self.dimensions, by_key=by_key)
            repeated += self._repeats[start_s].look(parts)
        return sum(self._waiting.values()), repeated

    def decide(self, start_s: int) -> tuple[Decision, int, int]:
        """Close an interval; return the decision, the rows used and the rows dropped as equal.

        Raises:
            LimitReached: Its rows need more series than allowed.
        """
        before = len(self._registry.leaves)
        self._repeats.pop(start_s, None)
        closed = self.close(start_s)
        leaves = tuple(itertools.islice(self._registry.leaves, before, None))
        seen = self._last_seen == self._closes - 1
        decision = Decision(start_s, leaves, seen, closed.values, closed.counts)
        return decision, closed.records, closed.duplicates

    def follow(self, decision: Decision) -> None:
        """Bring the registry to where `decide` left it."""
        for leaf in decision.leaves:
            self._registry.add_leaf(leaf)
        self._registry.note_values(decision.leaves)
        born = len(self._registry.cells) - len(self._last_seen)
        self._last_seen = np.concatenate([self._last_seen, np.full(born, self._closes)])
        self._last_seen[decision.seen] = self._closes
        self._closes += 1
        self._name_series()


def cube_of(spec: DetectorSpec, *, limits: Limits | None = None) -> LoggedCube:
    """Return a fresh cube for a specification."""
    how: Literal["none", "exact", "key"] = "none"
    if spec.drops_duplicates:
        how = "key" if spec.dedupe_key else "exact"
    return LoggedCube(spec.measures, spec.dimensions, spec.rollups, limits or Limits(), how)


class Detection:
    """Scores decisions in order.

    Args:
        cube: The registry; its open rows are the caller's business.
        scorer: Has one place per series of the cube.
        grouper: Has seen what the scorer has, or nothing.
    """

    def __init__(self, spec: DetectorSpec, cube: LoggedCube, scorer: SeriesScorer, grouper: Grouper) -> None:
        self.spec, self.cube, self.scorer, self.grouper = spec, cube, scorer, grouper

    @classmethod
    def fresh(cls, spec: DetectorSpec, *, limits: Limits | None = None) -> "Detection":
        """Return a detection that has seen nothing."""
        scorer = SeriesScorer(0, spec.interval_s, True, zone=None if spec.zone == "UTC" else spec.zone)
        return cls(spec, cube_of(spec, limits=limits), scorer, fresh_grouper(spec))

    def follow(self, decision: Decision) -> Scored:
        """Score a decision that was made elsewhere: read from the log."""
        self.cube.follow(decision)
        return self.score(decision)

    def score(self, decision: Decision) -> Scored:
        """Score a decision that this cube has just made."""
        known = self.scorer.series
        keys = self.cube.keys
        self.scorer.grow(len(keys))
        scores = self.scorer.score_many([decision.start_s], decision.values[None, :])[0]
        changes = self.grouper.close_interval(
            decision.start_s,
            IntervalResult(
                start_s=decision.start_s,
                keys=keys,
                values=decision.values,
                expected=scores["expected"],
                severity=scores["severity"],
                undamped=scores["undamped"],
                reasons=[REASONS[code] for code in scores["reason"].tolist()],
                counts=decision.counts,
                seen=self.scorer.seen(),
            ),
        )
        return Scored(decision.start_s, pack_results(decision.values, scores), changes, keys[known:])

    def learn(self, key: SeriesKey, value: float, is_anomaly: bool, reason: str) -> bool:
        """Learn a person's word on a value; return whether the series is known."""
        try:
            index = self.cube.keys.index(key)
        except ValueError:
            return False
        self.scorer.give_feedback(index, value, is_anomaly, reason if reason in REASONS else "")
        return True

    def to_json(self) -> dict[str, Any]:
        """Return registry and groups as JSON values; the scorer saves itself."""
        return {"version": _VERSION, "cube": self.cube.to_json(), "grouper": self.grouper.to_json()}

    @classmethod
    def restored(
        cls,
        spec: DetectorSpec,
        state: Mapping[str, Any],
        scorer: SeriesScorer,
        *,
        limits: Limits | None = None,
    ) -> "Detection":
        """Return the detection that `to_json` and the scorer's file describe.

        Raises:
            InvalidInput: They do not fit each other or the specification.
        """
        if state.get("version") != _VERSION:
            raise InvalidInput(f"state: expected version {_VERSION}, got {state.get('version')!r}")
        cube = cube_of(spec, limits=limits)
        cube.restore(state["cube"])
        if len(cube.keys) != scorer.series:
            raise InvalidInput(f"state: expected {scorer.series} series, got {len(cube.keys)}")
        return cls(spec, cube, scorer, Grouper.from_json(state["grouper"], cube.keys))


def fresh_grouper(spec: DetectorSpec) -> Grouper:
    """Return a grouper without past."""
    aggregations = {measure.name: measure.aggregation for measure in spec.measures}
    return Grouper((), spec.interval_s, dimensions=spec.dimensions, aggregations=aggregations)


def pack_results(values: NDArray[np.float64], scores: NDArray[np.void]) -> NDArray[np.void]:
    """Return values (..., series) and scores of `SCORE` as `RESULT`."""
    found = np.empty(values.shape, RESULT)
    found["value"] = values
    for name in ("expected", "low", "high", "severity", "reason"):
        found[name] = scores[name]
    return found
