"""What a demonstration came to: the anomalies that were to be found, the others, and where each reading lies."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from masthead.cli.demo.stories import ARTICLE_SEVERITY, Expected, Story
from masthead.metrics.records import AnomalyGroup

if TYPE_CHECKING:
    from masthead.app import Masthead

_SEVERITY = 70.0


def gather(masthead: "Masthead", stories: Iterable[Story], alerted: Mapping[str, float]) -> dict[str, Any]:
    """Return the outcome as JSON values; `ok` when an alert of each planted anomaly arrived.

    Args:
        masthead: The product, after the story.
        stories: What it was told.
        alerted: Group -> seconds from the closing of its interval to the webhook.
    """
    anomalies: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    known: list[dict[str, Any]] = []
    for story in stories:
        groups = list(masthead.metrics.list_groups(story.name, min_severity=_SEVERITY, limit=500).items)
        rest = {group.id: group for group in groups}
        for expected in story.planted:
            group = _matching(story, expected, groups)
            anomalies.append(_told(story, expected, group, alerted))
            rest.pop(group.id if group else "", None)
        for expected in story.known:
            known.append(_told(story, expected, _within(story, expected, groups), alerted))
        if story.planted:
            others += [shown(story, group) for group in rest.values()]
        else:
            known_ones = [shown(story, group) for group in groups]
            known += [one for one in known_ones if one["id"] not in {told.get("id") for told in known}]
    return {
        "ok": bool(anomalies) and all(one["alert_after_s"] is not None for one in anomalies),
        "anomalies": anomalies,
        "other_groups": others,
        "stations": known,
        "objects": _objects(masthead, next(iter(stories))),
        "detectors": {story.name: _counts(masthead, story) for story in stories},
    }


def shown(story: Story, group: AnomalyGroup) -> dict[str, Any]:
    """Return a group with its original times."""
    first = group.series[0] if group.series else {}
    return {
        "id": group.id,
        "detector": group.detector,
        "measure": group.measure,
        "start": group.start.isoformat(),
        "end": group.end.isoformat(),
        "original_start": story.original(group.start),
        "original_end": story.original(group.end),
        "value": first.get("value"),
        "expected": first.get("expected"),
        "severity": group.severity,
        "reason": group.reason,
        "contributions": group.contributions,
    }


def epoch(moment: str) -> float:
    """Return the epoch seconds of an ISO 8601 text."""
    return datetime.fromisoformat(moment).timestamp()


def iso(moment: float) -> str:
    """Return epoch seconds as ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


def _matching(story: Story, expected: Expected, groups: Iterable[AnomalyGroup]) -> AnomalyGroup | None:
    wanted = (expected.measure, expected.start, expected.end)
    for group in groups:
        if (group.measure, story.original(group.start), story.original(group.end)) == wanted:
            return group
    return None


def _within(story: Story, expected: Expected, groups: Iterable[AnomalyGroup]) -> AnomalyGroup | None:
    """Return the group that holds the expected moment, whatever its length."""
    for group in groups:
        start, end = story.original(group.start), story.original(group.end)
        if group.measure == expected.measure and start <= expected.end and end >= expected.start:
            return group
    return None


def _told(
    story: Story, expected: Expected, group: AnomalyGroup | None, alerted: Mapping[str, float]
) -> dict[str, Any]:
    found = {
        "what": expected.what,
        "measure": expected.measure,
        "original_start": expected.start,
        "original_end": expected.end,
        "severity": None,
    }
    if group is not None:
        found |= shown(story, group)
    delay_s = alerted.get(group.id) if group is not None else None
    article = {"article_severity": ARTICLE_SEVERITY} if story.planted else {}
    return {**found, **article, "alert_after_s": None if delay_s is None else round(delay_s, 3)}


def _objects(masthead: "Masthead", story: Story) -> dict[str, int]:
    """Return how many readings were published, and how many lie in objects and in the error place."""
    count = records = errors = 0
    for found in masthead.objects.list("s3://air/"):
        lines = masthead.objects.get(found.uri).count(b"\n")
        if found.uri.startswith("s3://air/errors/"):
            errors += lines
        else:
            count, records = count + 1, records + lines
    return {"published": len(story.readings), "records": records, "count": count, "errors": errors}


def _counts(masthead: "Masthead", story: Story) -> dict[str, Any]:
    found = masthead.metrics.get_detector(story.name)
    return {
        "state": found.state,
        "late": found.late,
        "duplicates": found.duplicates,
        "refused": found.refused,
        "last_interval": None if found.last_interval is None else story.original(found.last_interval),
    }
