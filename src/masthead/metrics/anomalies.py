"""The verbs about what was found: groups of anomalies, what people say of them, and what they are related to."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from masthead.base.clock import Clock
from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.base.log import Journal
from masthead.base.pages import Page, check_limit, decode_token, encode_token
from masthead.metrics import records
from masthead.metrics.export import groups_csv
from masthead.metrics.records import AnomalyGroup, Detector, Feedback
from masthead.metrics.related import Order, Related, Span, find_related
from masthead.store.engine import Database

if TYPE_CHECKING:
    from masthead.metrics.answers import GroupStatistics, GroupValues

__all__ = ["DEFAULT_SEVERITY", "AnomalyVerbs"]

DEFAULT_SEVERITY = 70.0
PAST_GROUPS = 2_000


class AnomalyVerbs:
    """The part of `MetricsService` that reads and judges anomalies; it needs no running detector."""

    _database: Database
    _clock: Clock
    _journal: Journal

    def _wake(self) -> None:
        raise NotImplementedError

    def list_groups(
        self,
        detector: str | None = None,
        *,
        min_severity: float = DEFAULT_SEVERITY,
        start: datetime | None = None,
        end: datetime | None = None,
        measure: str | None = None,
        state: str | None = None,
        limit: int = 100,
        token: str | None = None,
    ) -> Page[AnomalyGroup]:
        """Return groups that overlap a span of time, the latest first.

        Args:
            min_severity: Lowest severity shown, 0 to 100.
            start, end: Aware times; `end` is excluded.

        Raises:
            NotFound: There is no such detector.
            InvalidInput: A bound, the limit or the token is outside its domain.
        """
        check_limit(limit)
        if not 0 <= min_severity <= 100:
            raise InvalidInput(f"min_severity: expected 0 to 100, got {min_severity}")
        for name, moment in (("start", start), ("end", end)):
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput(f"{name}: expected a time with a zone, got {moment.isoformat()}")
        with self._database.read() as connection:
            if detector is not None:
                records.require_detector(connection, detector)
            found = records.find_groups(
                connection,
                detector=detector,
                min_severity=min_severity,
                start=start,
                end=end,
                measure=measure,
                state=state,
                after=_after(token),
                limit=limit + 1,
            )
        shown_ones = tuple(found[:limit])
        more = len(found) > limit
        last = shown_ones[-1] if more else None
        following = None if last is None else encode_token("groups", [last.start.isoformat(), last.id])
        return Page(shown_ones, following)

    def get_group(self, group: str) -> AnomalyGroup:
        """Return a group.

        Raises:
            NotFound: There is none of that id.
        """
        with self._database.read() as connection:
            return records.require_group(connection, group)

    def group_series(self, group: str) -> list[dict[str, Any]]:
        """Return the series of a group, the most severe first: value, expected, severity, reason, start and end."""
        return list(self.get_group(group).series)

    def group_values(
        self, group: str, measure: str, *, limit: int = 100, token: str | None = None
    ) -> "GroupValues":
        """Return the series of a group that are of one measure, each with its values from the group's start to its end.

        Raises:
            NotFound: There is no such group, or it has no series of this measure.
            InvalidInput: The limit or the token is outside its domain.
        """
        from masthead.metrics.answers import find_values

        with self._database.read() as connection:
            found = records.require_group(connection, group)
            detector = records.require_detector(connection, found.detector)
            return find_values(connection, detector, found, measure, limit=limit, token=token)

    def group_statistics(self, detector: str, min_severity: float = 0.0) -> "GroupStatistics":
        """Return how many groups of at least a severity a detector has, by measure, and since when it looks.

        Raises:
            NotFound: There is no such detector.
        """
        from masthead.metrics.answers import statistics_of

        with self._database.read() as connection:
            found = records.require_detector(connection, detector)
            return statistics_of(connection, found, min_severity)

    def related(self, group: str, *, order: Order | None = None) -> list[Related]:
        """Return which other measures moved beside a group, how often before, and which came first.

        Args:
            order: Only those that started `before` the group, `together` with it or `after` it.
        """
        with self._database.read() as connection:
            found = records.require_group(connection, group)
            detector = records.require_detector(connection, found.detector)
            others = records.find_groups(
                connection, detector=found.detector, end=_later(found.end, detector), limit=PAST_GROUPS
            )
        beside = find_related(
            _span(found), [_span(one) for one in others], interval_s=float(detector.spec.interval_s or 1)
        )
        return [one for one in beside if order in (None, one.order)]

    def acknowledge_group(self, group: str, acknowledged: bool = True) -> AnomalyGroup:
        """Mark a group as seen by a person (or not), and return it."""
        return self._tell_group(group, "acknowledged", acknowledged=acknowledged)

    def mute_group(self, group: str, until: datetime | None) -> AnomalyGroup:
        """Tell nobody of this group before `until` (aware); None ends the silence."""
        if until is not None and until.tzinfo is None:
            raise InvalidInput(f"until: expected a time with a zone, got {until.isoformat()}")
        return self._tell_group(group, "muted", muted_until=until)

    def _tell_group(self, group: str, event: str, **changes: Any) -> AnomalyGroup:
        with self._database.write() as connection:
            records.require_group(connection, group)
            found = records.update_group(connection, group, **changes)
        self._journal.write("detector", found.detector, f"group {event}", group=group, **changes)
        return found

    def give_feedback(
        self, group: str, series: Mapping[str, Any] | int | str | None = None, *, is_anomaly: bool
    ) -> list[Feedback]:
        """Store a person's word on a group, or on one of its series; the detector learns it at its next step.

        Args:
            series: Place in `group_series`, `{"measure", "dimensions"}` or its id; None = every listed series.

        Raises:
            NotFound: There is no such group or series.
            InvalidInput: The series is told by something else, or the group is a silence: there is no value to learn.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            found = records.require_group(connection, group)
            chosen = [one for one in _chosen(found, series) if one["value"] is not None]
            if not chosen:
                raise InvalidInput("series: expected one with a value, got silence only", field="series")
            told = [
                records.add_feedback(
                    connection,
                    Feedback(
                        id=0,
                        group=group,
                        detector=found.detector,
                        measure=one["measure"],
                        dimensions=one["dimensions"],
                        value=one["value"],
                        reason=one["reason"],
                        is_anomaly=is_anomaly,
                        given=now,
                        applied=False,
                        run=found.run,
                    ),
                )
                for one in chosen
            ]
        self._journal.write(
            "detector", found.detector, "feedback", group=group, is_anomaly=is_anomaly, series=len(told)
        )
        self._wake()
        return told

    def feedback(self, group: str) -> list[Feedback]:
        """Return what people said of a group, oldest first."""
        with self._database.read() as connection:
            records.require_group(connection, group)
            return records.find_feedback(connection, group=group)

    def latest_feedback(
        self, group: str, series: str = "", *, limit: int = 100, token: str | None = None
    ) -> Page[Feedback]:
        """Return the last word on each series of a group, or on the one whose id is `series`.

        Raises:
            NotFound: There is no such group.
            InvalidInput: The limit or the token is outside its domain.
        """
        from masthead.metrics.answers import latest_words

        return latest_words(self.feedback(group), limit=limit, token=token, series=series)

    def export_groups(self, detector: str, *, min_severity: float = 0.0) -> str:
        """Return a detector's groups as CSV with a header, oldest first."""
        with self._database.read() as connection:
            records.require_detector(connection, detector)
            found = records.find_groups(connection, detector=detector, min_severity=min_severity)
        return groups_csv(found[::-1])


def _after(token: str | None) -> tuple[datetime, str] | None:
    if token is None:
        return None
    place = decode_token("groups", token)
    try:
        return datetime.fromisoformat(place[0]), str(place[1])
    except (ValueError, TypeError, IndexError) as error:
        raise InvalidInput(
            f"token: expected the next_token of an earlier page, got {shown(token)}"
        ) from error


def _span(group: AnomalyGroup) -> Span:
    return Span(group.id, group.measure, group.start.timestamp(), group.end.timestamp())


def _later(end: datetime, detector: Detector) -> datetime:
    return end + timedelta(seconds=4 * max(1, detector.spec.interval_s))


def _chosen(group: AnomalyGroup, series: Mapping[str, Any] | int | str | None) -> list[dict[str, Any]]:
    if series is None:
        return group.series
    if isinstance(series, str):
        from masthead.metrics.answers import series_of

        return [series_of(group, series)]
    if isinstance(series, int):
        if not 0 <= series < len(group.series):
            raise NotFound(f"series: expected 0 to {len(group.series) - 1}, got {series}")
        return [group.series[series]]
    if set(series) - {"measure", "dimensions"}:
        raise InvalidInput(f"series: expected measure and dimensions, got {shown(dict(series))}")
    wanted = (series.get("measure", group.measure), dict(series.get("dimensions", {})))
    found = [one for one in group.series if (one["measure"], one["dimensions"]) == wanted]
    if not found:
        known = [one["dimensions"] for one in group.series if one["measure"] == wanted[0]]
        raise NotFound(f"series: the group has none with {shown(dict(series))}; there are {shown(known)}")
    return found
