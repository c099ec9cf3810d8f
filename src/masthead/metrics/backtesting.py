"""The steps of a back-test that is kept: files read, history learned, data tested, groups and scores stored."""

import itertools
import json
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection

from masthead.base.clock import utc
from masthead.base.errors import MastheadError
from masthead.base.folder import write_atomic
from masthead.metrics import records, results
from masthead.metrics.backtest import Plan, Scored, Trial
from masthead.metrics.bounds import Limits
from masthead.metrics.detection import pack_results
from masthead.metrics.effects import facts_of, group_of, progress_of
from masthead.metrics.files import Source
from masthead.metrics.intervals import interval_starts
from masthead.metrics.open_intervals import Counts
from masthead.metrics.quality import DataQuality
from masthead.metrics.raw import Format
from masthead.metrics.readers import Rows
from masthead.metrics.records import TESTING, AnomalyGroup
from masthead.metrics.sources import fixed_part, open_sources
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.work import Work

__all__ = ["learn", "read", "store", "test"]


def read(work: Work) -> dict[str, Any]:
    """Keep the rows of data and history in files; return what is to be said of them, `{"rows", "quality"}`.

    Raises:
        InvalidInput: Files, columns or times cannot be used. LimitReached: More records than allowed.
    """
    work.report(0.0, "reading the data")
    spec = work.row().spec
    trial, told = Trial(_plan(spec, work.around.bounds.cube)), dict[str, Any]()
    names: tuple[str, ...] = ()
    if spec.history is not None:
        past, quality = _read_history(work, trial)
        names, told["history"] = past.names, quality.to_json()
        work.keep_rows("history", past)
        work.report(0.0, "reading the data")
    rows, quality = _read_data(work, trial, names)
    work.keep_rows("data", rows)
    return {"rows": len(rows), "quality": {**quality.to_json(), **told}}


def _read_history(work: Work, trial: Trial) -> tuple[Rows, DataQuality]:
    spec = work.row().spec
    assert spec.history is not None
    return trial.read(_sources(work, spec.history.paths, "history.paths"), spec.history.format)


def _read_data(work: Work, trial: Trial, names: tuple[str, ...]) -> tuple[Rows, DataQuality]:
    """Read the data; a file without header takes the names of the history."""
    source = work.row().spec.source
    assert source is not None
    paths = source.paths or (fixed_part(source.template),)
    return trial.read(_sources(work, paths, "source.paths"), source.format, names)


def _sources(work: Work, paths: tuple[str, ...], what: str) -> list[Source]:
    return open_sources(paths, work.around.objects, what)


def learn(work: Work) -> dict[str, Any]:
    """Score the history, and keep what was learned in files; return `{"rows"}`, those that lie before the data.

    Raises:
        InvalidInput: None does.
    """
    if work.row().spec.history is None:
        return {"rows": 0}
    trial = _trial(work)
    past, rows = _rows(work)
    assert past is not None
    found = trial.learn(
        past,
        before=rows,
        progress=lambda done, total: work.report(done / total, f"{done:,} of {total:,} intervals learned"),
    )
    state = trial.save(work.folder / "learned.npz")
    write_atomic(work.folder / "learned.json", json.dumps(state).encode())
    return {"rows": found}


def test(work: Work) -> dict[str, Any]:
    """Score the data; store the scores, keep the groups in a file; return `{"groups", "learned", "series"}`.

    Raises:
        LimitReached: More series than allowed.
    """
    row = work.row()
    with work.around.database.write() as connection:
        results.remove_results(connection, run=row.run)
    past, rows = _rows(work)
    work.report(0.0, TESTING)
    trial = _trial(work) if past is None else _learned(work)
    chart = _Chart(work, row.spec)
    groups, learned = trial.test(
        rows,
        after_history=past is not None,
        sink=chart.take,
        progress=lambda done, total: work.report(done / total, f"{TESTING}: {done:,} of {total:,} intervals"),
    )
    chart.close()
    now = work.around.clock.now()
    told = [group_of(group, detector=row.name, run=row.run, now=now) for group in groups]
    write_atomic(work.folder / "groups.json", json.dumps([one.to_json() for one in told]).encode())
    return {"groups": len(groups), "learned": learned, "series": len(trial.cube.keys), "split": _split(trial)}


def _split(trial: Trial) -> dict[str, str]:
    """Return the starts of the first and the last interval that taught, and that were tested, ISO 8601."""
    return {name: utc(at).isoformat() for name, at in trial.split.items()}


def store(work: Work, read: dict[str, Any], found: dict[str, Any]) -> None:
    """Store groups and counts and end the run, in one transaction; earlier runs of the detector make room."""
    if work.is_done():
        return
    row = work.row()
    groups = [_group(one) for one in json.loads((work.folder / "groups.json").read_bytes())]

    def write(connection: Connection) -> None:
        for run in records.other_runs(connection, row.name, row.run):
            records.remove_groups(connection, run)
            results.remove_results(connection, run=run)
        records.remove_groups(connection, row.run)
        for group in groups:
            records.put_group(connection, group)
        records.close_groups(connection, row.run)
        _put_progress(work, connection, row.spec, read["quality"])

    work.hand_over(row, "backtested", {**read["quality"], "split": found["split"]}, write)


def _put_progress(work: Work, connection: Connection, spec: DetectorSpec, quality: dict[str, Any]) -> None:
    counts = Counts(
        rows=quality["rows"],
        intervals=quality["intervals_present"],
        empty=quality["intervals_empty"],
        duplicates=quality["duplicates"],
    )
    counts.refused.update(quality["refused_by_reason"])
    records.put_progress(
        work.around.database,
        connection,
        run=work.run.id,
        detector=work.name,
        entry=0,
        last_interval=_last(quality["last"], spec.interval_s, spec.zone),
        facts=facts_of(progress_of(spec, quality["intervals_present"]), counts),
    )


def _trial(work: Work) -> Trial:
    return Trial(_plan(work.row().spec, work.around.bounds.cube))


def _rows(work: Work) -> tuple[Rows | None, Rows]:
    """Return the rows of the history, if there is one, and of the data."""
    trial = _trial(work)
    past = None
    if work.row().spec.history is not None:
        past = work.kept_rows("history", lambda: _read_history(work, trial)[0])
    names = past.names if past is not None else ()
    return past, work.kept_rows("data", lambda: _read_data(work, trial, names)[0])


def _learned(work: Work) -> Trial:
    """Return a trial as `learn` left it; what cannot be taken up, say another kernel's memory, is learned again."""
    try:
        return _taken_up(work)
    except (OSError, ValueError, MastheadError):
        learn(work)
        return _taken_up(work)


def _taken_up(work: Work) -> Trial:
    trial = _trial(work)
    trial.restore(work.folder / "learned.npz", json.loads((work.folder / "learned.json").read_bytes()))
    return trial


class _Chart:
    """Stores scores as charts want them; without intervals one a second and series, the most severe."""

    def __init__(self, work: Work, spec: DetectorSpec) -> None:
        self._work, self._any = work, not spec.interval_s
        self._stored = 0
        self._held: tuple[int, NDArray[np.void]] | None = None

    def take(self, scored: Scored) -> None:
        """Store a block of intervals."""
        keys = scored.block.keys
        packed = pack_results(scored.block.values, scored.scores)
        times = np.floor(scored.times).astype(np.int64)
        if self._any and len(keys):
            times, packed = self._by_second(times, packed)
        with self._work.around.database.write() as connection:
            results.put_series(
                connection, self._work.run.id, self._work.name, keys[self._stored :], first=self._stored
            )
            self._put(connection, times, packed)
        self._stored = len(keys)

    def close(self) -> None:
        """Store what is held back."""
        if self._held is not None:
            second, row = self._held
            with self._work.around.database.write() as connection:
                self._put(connection, np.array([second]), row[None, :])

    def _put(self, connection: Connection, times: NDArray[np.int64], packed: NDArray[np.void]) -> None:
        if packed.shape[1]:
            results.put_results(
                connection,
                self._work.run.id,
                self._work.name,
                times.tolist(),
                packed,
                without_empty=self._any,
            )

    def _by_second(
        self, times: NDArray[np.int64], packed: NDArray[np.void]
    ) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """Return (seconds,) and (seconds, series); the last second is held back, its rest may come."""
        if self._held is not None:
            second, row = self._held
            known = np.full((1, packed.shape[1]), np.nan, np.float64)
            older = pack_results(known, np.zeros(known.shape, packed.dtype))
            older[0, : len(row)] = row
            times, packed = np.concatenate([[second], times]), np.concatenate([older, packed])
        edges = [0, *(np.flatnonzero(np.diff(times)) + 1).tolist(), len(times)]
        rows = [
            _worst(packed[first:end]) if end - first > 1 else packed[first]
            for first, end in itertools.pairwise(edges)
        ]
        seconds = times[edges[:-1]]
        self._held = int(seconds[-1]), rows[-1]
        return seconds[:-1], np.array(rows[:-1], packed.dtype).reshape(len(rows) - 1, packed.shape[1])


def _worst(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Return per series the most severe of (steps, series) that has a value.

    >>> import numpy as np
    >>> rows = np.zeros((3, 1), [("value", float), ("severity", float)])
    >>> rows["value"], rows["severity"] = [[1], [2], [np.nan]], [[5], [80], [99]]
    >>> _worst(rows)["value"]
    array([2.])
    """
    weight = np.where(np.isnan(rows["value"]), -1.0, rows["severity"])
    found: NDArray[np.void] = rows[weight.argmax(axis=0), np.arange(rows.shape[1])]
    return found


def _group(stored: dict[str, Any]) -> AnomalyGroup:
    times = {name: datetime.fromisoformat(stored[name]) for name in ("start", "end", "created")}
    return AnomalyGroup(**{**stored, **times})


def _plan(spec: DetectorSpec, limits: Limits) -> Plan:
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
        learning_share=spec.learning_share,
        limits=limits,
        data_format=spec.source.format,
        history_format=spec.history.format if spec.history is not None else Format(),
    )


def _last(stamp: str | None, interval_s: int, zone: str) -> datetime | None:
    if stamp is None:
        return None
    moment = datetime.fromisoformat(stamp).timestamp()
    return utc(float(interval_starts(np.array([moment]), interval_s, zone)[0]) if interval_s else int(moment))
