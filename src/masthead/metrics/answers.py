"""What a detector answers in pages: values of a group's series over its time, counts of groups, executions, feedback."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput, MastheadError, NotFound, shown
from masthead.base.ids import series_id
from masthead.base.pages import Page, check_limit, decode_token, encode_token
from masthead.metrics import records, results
from masthead.metrics.records import AnomalyGroup, Detector, Execution, Feedback

__all__ = [
    "GroupStatistics",
    "GroupValues",
    "SeriesValues",
    "find_values",
    "latest_words",
    "page_executions",
    "series_of",
    "statistics_of",
]

_MOST_INTERVALS = 10_000


@dataclass(frozen=True, slots=True)
class SeriesValues:
    """One series of a group: `id`, `dimensions`, and a value per time of the page, None = missing."""

    id: str
    dimensions: dict[str, str]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class GroupValues:
    """The series of a group that are of one measure, the most severe first, over the intervals of the group."""

    group: str
    measure: str
    times: tuple[datetime, ...]
    series: tuple[SeriesValues, ...]
    next_token: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the page as JSON values; times in ISO 8601 with offset."""
        return {
            "group": self.group,
            "measure": self.measure,
            "times": [time.isoformat() for time in self.times],
            "series": [
                {entry.name: getattr(one, entry.name) for entry in fields(one)} for one in self.series
            ],
            "next_token": self.next_token,
        }


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """How many groups a detector has, in all and by measure, and since when it has looked for them."""

    since: datetime | None
    total: int
    by_measure: dict[str, int]


def series_of(group: AnomalyGroup, id: str) -> dict[str, Any]:
    """Return the listed series of a group that has an id.

    Raises:
        NotFound: None has.
    """
    for one in group.series:
        if series_id(group.detector, one["measure"], one["dimensions"]) == id:
            return one
    raise NotFound(f"series: the group has none with the id {shown(id)}")


def find_values(
    connection: Connection,
    detector: Detector,
    group: AnomalyGroup,
    measure: str,
    *,
    limit: int,
    token: str | None,
) -> GroupValues:
    """Return a page of the series of a group, with their values from its start to its end.

    Raises:
        NotFound: The group has no series of this measure.
        InvalidInput: The limit or the token is outside its domain.
    """
    check_limit(limit)
    known = [one for one in group.series if one["measure"] == measure]
    if not known:
        raise NotFound(f"measure: the group has no series of {shown(measure)}")
    keyed = {series_id(detector.name, measure, one["dimensions"]): one for one in known}
    order = sorted(keyed, key=lambda id: (-keyed[id]["severity"], id))
    if token is not None:
        last = decode_token("group values", token)
        order = [id for id in order if [-keyed[id]["severity"], id] > last]
    page = order[:limit]
    found = {id: _values(connection, detector, group, keyed[id]) for id in page}
    times = sorted({at for values in found.values() for at in values})
    more = len(order) > limit
    return GroupValues(
        group=group.id,
        measure=measure,
        times=tuple(times),
        series=tuple(
            SeriesValues(id, keyed[id]["dimensions"], tuple(found[id].get(at) for at in times)) for id in page
        ),
        next_token=encode_token("group values", [-keyed[page[-1]]["severity"], page[-1]]) if more else None,
    )


def _values(
    connection: Connection, detector: Detector, group: AnomalyGroup, one: Mapping[str, Any]
) -> dict[datetime, float | None]:
    """Return start -> value of one series; where its scores were trimmed, the worst value alone, at its start."""
    names = detector.spec.dimensions
    key = (one["measure"], tuple(one["dimensions"].get(name, "*") for name in names))
    try:
        chart = results.find_chart(
            connection,
            detector.name,
            key,
            names=names,
            interval_s=detector.spec.interval_s,
            start_s=group.start.timestamp(),
            end_s=group.end.timestamp() + 1,
            limit=_MOST_INTERVALS,
        )
    except NotFound:
        chart = None
    if chart is None or not chart.times:
        return {datetime.fromisoformat(one["start"]): one["value"]}
    return dict(zip(chart.times, chart.values, strict=True))


def statistics_of(connection: Connection, detector: Detector, min_severity: float) -> GroupStatistics:
    """Return counts of the groups that a detector has from a severity on."""
    by_measure = records.count_by_measure(connection, detector.name, min_severity)
    return GroupStatistics(_since(connection, detector), sum(by_measure.values()), by_measure)


def _since(connection: Connection, detector: Detector) -> datetime | None:
    """Return where the tested part of a back-test begins, else when the present run began."""
    split = records.find_quality(connection, detector.name).get("split", {})
    if detector.state == "backtested" and "tested_first" in split:
        return datetime.fromisoformat(split["tested_first"])
    latest = records.find_executions(connection, detector.name, limit=1)
    return latest[0].started if latest else None


def page_executions(
    connection: Connection,
    detector: Detector,
    *,
    limit: int,
    token: str | None,
    at: datetime | None,
    intervals: bool,
) -> Page[Execution]:
    """Return a detector's jobs, and with `intervals` also the scored intervals of its present run, the latest first."""
    check_limit(limit)
    after = _place("executions", token)
    span = None if at is None else (at, at + timedelta(seconds=1))
    found = records.find_executions(connection, detector.name, limit=limit + 1, after=after, span=span)
    if intervals and detector.run:
        found += _intervals(connection, detector, limit + 1, after, span)
        found.sort(key=lambda one: (one.started, one.id), reverse=True)
    shown_ones = tuple(found[:limit])
    last = shown_ones[-1] if len(found) > limit else None
    following = None if last is None else encode_token("executions", [last.started.isoformat(), last.id])
    return Page(shown_ones, following)


def _intervals(
    connection: Connection,
    detector: Detector,
    limit: int,
    after: tuple[datetime, str] | None,
    span: tuple[datetime, datetime] | None,
) -> list[Execution]:
    seconds = None if span is None else (span[0].timestamp(), span[1].timestamp())
    before_s = None if after is None else int(after[0].timestamp()) + 1
    starts = results.find_starts(connection, detector.run, limit=limit + 1, before_s=before_s, span=seconds)
    found = [
        Execution(f"{detector.run}-{start}", detector.name, "interval", "finished", utc(start), done=1.0)
        for start in starts
    ]
    return [one for one in found if after is None or (one.started, one.id) < after][:limit]


def latest_words(
    words: Sequence[Feedback], *, limit: int, token: str | None, series: str = ""
) -> Page[Feedback]:
    """Return the last word on each series of a group, the earliest first; `series` = on that one only."""
    check_limit(limit)
    last = {series_id(one.detector, one.measure, one.dimensions): one for one in words}
    kept = sorted(one.id for id, one in last.items() if series in ("", id))
    by_id = {one.id: one for one in words}
    if token is not None:
        after = decode_token("feedback", token)
        if len(after) != 1 or not isinstance(after[0], int):
            raise InvalidInput(f"token: expected the next_token of an earlier page, got {shown(token)}")
        kept = [id for id in kept if id > after[0]]
    page = kept[:limit]
    following = encode_token("feedback", [page[-1]]) if len(kept) > limit else None
    return Page(tuple(by_id[id] for id in page), following)


def _place(kind: str, token: str | None) -> tuple[datetime, str] | None:
    if token is None:
        return None
    try:
        place = decode_token(kind, token)
        return datetime.fromisoformat(place[0]), str(place[1])
    except (ValueError, TypeError, IndexError, MastheadError) as error:
        raise InvalidInput(
            f"token: expected the next_token of an earlier page, got {shown(token)}"
        ) from error
