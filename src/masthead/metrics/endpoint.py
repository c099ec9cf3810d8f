"""A detector behind an endpoint: a copy of what it has learned, which scores batches of readings and learns nothing.

The copy is taken when the detector is deployed. The detector goes on by itself; deploying it again brings the endpoint
up to date. Each call begins at the copy, so the same call gives the same answer.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import Clock, utc
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.folder import DataFolder, write_atomic
from masthead.base.ids import check_name, new_id
from masthead.learn.endpoints import Endpoints, check_endpoint_name
from masthead.learn.models import Answer, ModelFailure
from masthead.learn.payloads import chosen_type, read_rows, write_rows
from masthead.learn.records import Endpoint
from masthead.metrics.bounds import Limits
from masthead.metrics.contributions import SeriesKey
from masthead.metrics.cubes import Cube
from masthead.metrics.detection import cube_of
from masthead.metrics.intake import selection_of
from masthead.metrics.intervals import interval_start, interval_starts, next_start
from masthead.metrics.learned import read_learned
from masthead.metrics.live import run_folder
from masthead.metrics.problems import Problem, Problems
from masthead.metrics.readers import Rows, Selection, rows_of_records
from masthead.metrics.records import Detector
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.state import REASONS, SERIES
from masthead.metrics.timestamps import agree

__all__ = ["KIND", "DetectorModel", "deploy_detector", "load_detector", "remove_detector"]

KIND = "detector"
_FORMAT = 1
_SCORER, _REST = "scorer.npz", "model.json"
_MOST_CELLS = 1_000_000  # intervals times series of one batch: about 100 MB while it is scored
_MOST_SERIES = 10_000  # of one batch
_BAND = ("low", "high")  # told to who asks for an explanation


def deploy_detector(
    row: Detector, endpoint: str, *, folder: DataFolder, endpoints: Endpoints, clock: Clock, limits: Limits
) -> Endpoint:
    """Copy what a detector has learned and let the copy answer under a name; return the endpoint.

    Args:
        endpoint: Its name; "" = the detector's, with `-` for `_`.

    Raises:
        InvalidInput: The name cannot be an endpoint's.
        Conflict: The detector has learned nothing yet, or the endpoint serves another model.
    """
    name = check_endpoint_name(endpoint or row.name.replace("_", "-").strip("-"))
    _require_own(endpoints, name, row.name)
    if not row.run:
        raise Conflict(f"state: {row.name} has learned nothing yet; activate it first")
    learned = read_learned(run_folder(folder, row.name, row.run), row.spec, limits=limits)
    last_s = learned.detection.scorer.last_time_s
    model = DetectorModel(
        row.spec,
        learned.detection.cube,
        learned.detection.scorer,
        Copy(row.run, learned.entry, learned.time_format, last_s, clock.time()),
    )
    place = new_id("model")
    model.save(folder.models / place)
    source = {"detector": row.name, "folder": place}
    try:
        return endpoints.create(name, KIND, source)
    except BaseException:
        remove_detector(folder, source)
        raise


def _limits_of(spec: DetectorSpec) -> Limits:
    """Return the bounds of a copy: of measures and dimensions it has what its detector was allowed."""
    return Limits(series=_MOST_SERIES, measures=len(spec.measures), dimensions=len(spec.dimensions))


def _require_own(endpoints: Endpoints, name: str, detector: str) -> None:
    try:
        found = endpoints.get(name)
    except NotFound:
        return
    if found.source.get("detector") != detector:
        raise Conflict(
            f"endpoint: {name} serves {found.about.get('model')}; delete it first, or choose another name"
        )


def load_detector(folder: DataFolder, source: Mapping[str, Any]) -> "DetectorModel":
    """Return the copy that a deployment left.

    Raises:
        NotFound: It is gone.
        ModelFailure: Another version of the kernel wrote it.
    """
    return DetectorModel.load(folder.models / check_name(source["folder"]))


def remove_detector(folder: DataFolder, source: Mapping[str, Any]) -> None:
    """Remove the copy that a deployment left."""
    shutil.rmtree(folder.models / check_name(source["folder"]), ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Copy:
    """Where a copy comes from: run, last entry of its log, the stamps' format, its last interval, when it was taken."""

    run: str
    entry: int
    time_format: str
    last_s: float | None
    taken_s: float


class DetectorModel:
    """A detector's memory that stands still.

    Args:
        cube: Knows the series. scorer: Has seen what they were; neither is changed by any call.
    """

    def __init__(self, spec: DetectorSpec, cube: Cube, scorer: SeriesScorer, copy: Copy) -> None:
        self.spec, self._cube, self._scorer, self._copy = spec, cube, scorer, copy
        self._places = {key: place for place, key in enumerate(cube.keys)}
        self._cube.limits = _limits_of(spec)

    # ------------------------------------------------------------------ on disk

    def save(self, folder: Path) -> None:
        """Write the copy to a folder that is not there yet; the file that vouches for it comes last."""
        folder.mkdir(parents=True, mode=0o700)
        self._scorer.save(folder / _SCORER)
        copy = {name: getattr(self._copy, name) for name in Copy.__slots__}
        rest = {"format": _FORMAT, "spec": self.spec.to_json(), "cube": self._cube.to_json(), "copy": copy}
        write_atomic(folder / _REST, json.dumps(rest).encode())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Return the copy that `save` wrote.

        Raises:
            NotFound: There is none.
            ModelFailure: This version cannot use it.
        """
        try:
            found = json.loads((folder / _REST).read_bytes())
            if found.get("format") != _FORMAT:
                raise Conflict("format: another one")
            spec = DetectorSpec.from_json(found["spec"])
            cube = cube_of(spec, limits=_limits_of(spec))
            cube.restore(found["cube"])
            return cls(spec, cube, SeriesScorer.load(folder / _SCORER), Copy(**found["copy"]))
        except FileNotFoundError as error:
            raise NotFound("model: its files are gone; deploy the detector again") from error
        except (Conflict, InvalidInput, ValueError, LookupError, TypeError) as error:
            raise ModelFailure(
                500, "another version of Masthead wrote this copy; deploy the detector again"
            ) from error

    # ------------------------------------------------------------------ the model

    def describe(self) -> dict[str, Any]:
        """Return detector, version, what a reading holds, and how large the memory is."""
        spec, last_s = self.spec, self._copy.last_s
        until = (
            None if last_s is None else utc(next_start(int(last_s), spec.interval_s, spec.zone)).isoformat()
        )
        return {
            "model": f"detector {spec.name}",
            "version": f"{self._copy.run}-{self._copy.entry}",
            "learned_until": until,
            "interval": spec.interval,
            "time": spec.time.column,
            "columns": list(self._selection().numbers),
            "dimensions": list(spec.dimensions),
            "series": len(self._places),
            "bytes": len(self._places) * SERIES.itemsize,
        }

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        """Return one prediction for each interval and series that the readings of a body belong to.

        Raises:
            ModelFailure: 415 for a type, 400 for readings that cannot be used.
        """
        chosen_type(accept)
        try:
            rows = self._rows(read_rows(body, content_type))
            found = self._score(rows) if len(rows) else []
        except (InvalidInput, LimitReached) as error:
            raise ModelFailure(400, error.message) from error
        columns = ["time", "measure", *(f"dimensions.{name}" for name in self.spec.dimensions)]
        columns += ["value", "expected", "severity", "reason"]
        if explain:
            columns += _BAND
        else:
            found = [{name: value for name, value in one.items() if name not in _BAND} for one in found]
        return write_rows(found, columns, accept)

    def close(self) -> None:
        """Do nothing: all of it is memory."""

    # ------------------------------------------------------------------ readings

    def _selection(self) -> Selection:
        return selection_of(self.spec, self._copy.time_format)

    def _rows(self, given: Sequence[Mapping[str, Any]]) -> Rows:
        """Return readings as rows; all of them can be used, or none is."""
        selection, problems = self._selection(), Problems()
        for place, row in enumerate(given):
            if selection.numbers and not any(name in row for name in selection.numbers):
                raise ModelFailure(
                    400, f"instances[{place}]: expected one of the columns {', '.join(selection.numbers)}"
                )
        if selection.time and not selection.time_format:
            selection = replace(selection, time_format=self._format(given, selection.time))
        rows = rows_of_records(
            given,
            selection,
            arrived=[self._next_s()] * len(given),
            missing_values=self.spec.source.format.missing_values if self.spec.source else ("",),
            problems=problems,
        )
        if problems.kept:
            raise ModelFailure(400, _told(problems.kept[0], len(problems)))
        return rows

    def _format(self, given: Sequence[Mapping[str, Any]], column: str) -> str:
        stamps = [str(row[column]) for row in given[:1000] if row.get(column) not in (None, "")]
        try:
            return agree(stamps, self.spec.zone) if stamps else "iso"
        except InvalidInput:
            return "iso"

    def _next_s(self) -> float:
        """Return the interval after the last learned one: that of readings without a time."""
        spec, last_s = self.spec, self._copy.last_s
        if last_s is None:
            return float(interval_start(self._copy.taken_s, spec.interval_s, spec.zone))
        return float(next_start(int(last_s), spec.interval_s, spec.zone))

    # ------------------------------------------------------------------ scores

    def _score(self, rows: Rows) -> list[dict[str, Any]]:
        """Return the predictions, in order of time, then of series."""
        starts = interval_starts(rows.times, self.spec.interval_s, self.spec.zone)
        times, step = np.unique(starts, return_inverse=True)
        cube = self._cube.part(rows)
        order = np.argsort(step, kind="stable")
        self._require_room(cube, rows, step, len(times))
        block = cube.close_block(rows.take(order), step[order], len(times))
        # A batch is no stream: what it does not hold is unknown, neither silence nor a sum of nothing.
        held = block.present & (block.counts > 0)
        values = np.where(held, block.values, np.nan)
        scorer = self._scorer.part([self._places.get(key, -1) for key in block.keys])
        scores = scorer.score_many(times.astype(np.float64), values)
        return self._predictions(times, block.keys, values, scores)

    def _require_room(self, cube: Cube, rows: Rows, step: NDArray[np.int64], intervals: int) -> None:
        """Refuse a batch whose intervals times series are more than can be scored at once."""
        most_keys = len(rows) * len(self.spec.measures) * 2 ** len(self.spec.dimensions)
        if intervals * most_keys <= _MOST_CELLS:  # true of most batches, and counting exactly costs 1 ms
            return
        cells = intervals * len(cube.keys_after(rows, step))
        if cells > _MOST_CELLS:
            raise ModelFailure(
                400,
                f"body: expected at most {_MOST_CELLS:,} intervals times series, got {cells:,}; send smaller batches",
            )

    def _predictions(
        self,
        times: NDArray[np.int64],
        keys: Sequence[SeriesKey],
        values: NDArray[np.float64],
        scores: NDArray[np.void],
    ) -> list[dict[str, Any]]:
        stamps = [utc(float(start)).isoformat() for start in times.tolist()]
        found = []
        for step, series in zip(*(places.tolist() for places in np.nonzero(~np.isnan(values))), strict=True):
            measure, cell = keys[series]
            score = scores[step, series]
            found.append(
                {
                    "time": stamps[step],
                    "measure": measure,
                    "dimensions": dict(zip(self.spec.dimensions, cell, strict=True)),
                    "value": _number(values[step, series]),
                    "expected": _number(score["expected"]),
                    "severity": round(float(score["severity"]), 2),
                    "reason": REASONS[int(score["reason"])],
                    "low": _number(score["low"]),
                    "high": _number(score["high"]),
                }
            )
        return found


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)


def _told(problem: Problem, count: int) -> str:
    """Return what is wrong with a reading, without its values."""
    more = f"; {count - 1} more" if count > 1 else ""
    return f"instances[{problem.line - 1}].{problem.field}: {problem.reason}{more}"
