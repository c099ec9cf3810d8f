"""Anomaly groups: listed, looked into, with the values of their series and what moved beside them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from masthead.aws.lookoutmetrics.names import (
    detector_name,
    group_of_wire,
    group_on_wire,
    its_detector,
    not_found,
)
from masthead.aws.lookoutmetrics.words import limit_of, moment_text, native_token, wire_token
from masthead.aws.operations import Call, Operations
from masthead.base.errors import NotFound, shown
from masthead.metrics.answers import GroupValues
from masthead.metrics.records import AnomalyGroup, Detector
from masthead.metrics.related import Order, Related

OPERATIONS = Operations("lookoutmetrics")
_EVERY_MEASURE = "*"  # a source of several measures that fell silent: the model wants the name of one
_RELATIONS: Mapping[str, Order] = {
    "CAUSE_OF_INPUT_ANOMALY_GROUP": "before",
    "EFFECT_OF_INPUT_ANOMALY_GROUP": "after",
}
_WORDS = {order: word for word, order in _RELATIONS.items()}


@OPERATIONS.serves("ListAnomalyGroupSummaries", resources=its_detector)
def list_anomaly_group_summaries(call: Call) -> dict[str, Any]:
    """List the groups of at least a severity, the latest first, and count them."""
    metrics, name, least = call.masthead.metrics, detector_name(call), call.input["SensitivityThreshold"]
    detector = metrics.get_detector(name)
    page = metrics.list_groups(
        name, min_severity=least, limit=limit_of(call), token=native_token(call, name, least)
    )
    counted = metrics.group_statistics(name, least)
    since = counted.since or detector.created
    return {
        "AnomalyGroupSummaryList": [_summary(one, detector) for one in page.items],
        "AnomalyGroupStatistics": {
            "EvaluationStartDate": moment_text(since, detector.spec.zone),
            "TotalCount": counted.total,
            "ItemizedMetricStatsList": [
                {"MetricName": _measure(measure, detector), "OccurrenceCount": count}
                for measure, count in counted.by_measure.items()
            ],
        },
        "NextToken": wire_token(call, page.next_token, name, least),
    }


@OPERATIONS.serves("GetAnomalyGroup", resources=its_detector)
def get_anomaly_group(call: Call) -> dict[str, Any]:
    """Return a group with what each value of each dimension contributes to it."""
    detector, group = found_group(call, call.input["AnomalyGroupId"])
    measures = [group.measure]
    if group.measure == _EVERY_MEASURE:
        measures = list(dict.fromkeys(one["measure"] for one in group.series))
    impacts = [
        {
            "MetricName": measure,
            "NumTimeSeries": _count(group, measure),
            "ContributionMatrix": {"DimensionContributionList": _contributions(group)},
        }
        for measure in measures
    ]
    return {"AnomalyGroup": {**_summary(group, detector), "MetricLevelImpactList": impacts}}


@OPERATIONS.serves("ListAnomalyGroupTimeSeries", resources=its_detector)
def list_anomaly_group_time_series(call: Call) -> dict[str, Any]:
    """List the series of a group with their values over its intervals."""
    id, measure = call.input["AnomalyGroupId"], call.input["MetricName"]
    detector, group = found_group(call, id)
    try:
        found = call.masthead.metrics.group_values(
            group.id, measure, limit=limit_of(call), token=native_token(call, id, measure)
        )
    except NotFound as error:
        raise not_found(error.message, measure, "Metric") from error
    times, kept = _whole(found)
    return {
        "AnomalyGroupId": id,
        "MetricName": measure,
        "TimestampList": [moment_text(time, detector.spec.zone) for time in times],
        "TimeSeriesList": [
            {
                "TimeSeriesId": one.id,
                "DimensionList": [
                    {"DimensionName": name, "DimensionValue": value}
                    for name, value in one.dimensions.items()
                    if value != "*"
                ],
                "MetricValueList": [one.values[place] for place in kept],
            }
            for one in found.series
        ],
        "NextToken": wire_token(call, found.next_token, id, measure),
    }


@OPERATIONS.serves("ListAnomalyGroupRelatedMetrics", resources=its_detector)
def list_anomaly_group_related_metrics(call: Call) -> dict[str, Any]:
    """List the groups of other measures beside a group; what came first is called a cause, what came later an effect."""
    id, wanted = call.input["AnomalyGroupId"], call.input.get("RelationshipTypeFilter")
    _, group = found_group(call, id)
    found = call.masthead.metrics.related(group.id, order=_RELATIONS[wanted] if wanted else None)
    after = call.after(call.input.get("NextToken"), id, wanted)
    rest = _behind(found, after)
    page = rest[: limit_of(call)]
    more = len(rest) > len(page)
    return {
        "InterMetricImpactList": [
            {
                "MetricName": one.measure,
                "AnomalyGroupId": group_on_wire(one.id),
                "RelationshipType": _WORDS.get(one.order),
                "ContributionPercentage": 100.0 * one.together / one.past if one.past else None,
            }
            for one in page
        ],
        "NextToken": call.next_token([page[-1].id], id, wanted) if more else None,
    }


def found_group(call: Call, id: str) -> tuple[Detector, AnomalyGroup]:
    """Return the detector that the input names and one of its groups.

    Raises:
        NotFound: There is no such detector. Fault: It has no such group.
    """
    detector = call.masthead.metrics.get_detector(detector_name(call))
    with suppress(NotFound):  # which tells our own id, unknown to the client
        group = call.masthead.metrics.get_group(group_of_wire(id))
        if group.detector == detector.name:
            return detector, group
    raise not_found(f"AnomalyGroupId: {detector.name} has no group {shown(id)}", id, "AnomalyGroup")


def _summary(group: AnomalyGroup, detector: Detector) -> dict[str, Any]:
    zone = detector.spec.zone
    return {
        "StartTime": moment_text(group.start, zone),
        "EndTime": moment_text(group.end, zone),
        "AnomalyGroupId": group_on_wire(group.id),
        "AnomalyGroupScore": group.severity,
        "PrimaryMetricName": _measure(group.measure, detector),
    }


def _measure(measure: str, detector: Detector) -> str:
    return detector.spec.measures[0].name if measure == _EVERY_MEASURE else measure


def _count(group: AnomalyGroup, measure: str) -> int:
    if group.measure == measure:
        return group.series_count
    return sum(one["measure"] == measure for one in group.series)


def _contributions(group: AnomalyGroup) -> list[dict[str, Any]]:
    return [
        {
            "DimensionName": name,
            "DimensionValueContributionList": [
                {"DimensionValue": value, "ContributionScore": percent} for value, percent in values.items()
            ],
        }
        for name, values in group.contributions.items()
    ]


def _whole(found: GroupValues) -> tuple[list[datetime], list[int]]:
    """Return the intervals in which every series has a value, and their places: the model has no word for none."""
    kept = [
        place
        for place in range(len(found.times))
        if all(one.values[place] is not None for one in found.series)
    ]
    return [found.times[place] for place in kept], kept


def _behind(found: Sequence[Related], after: list[Any] | None) -> list[Related]:
    if after is None:
        return list(found)
    places = [place for place, one in enumerate(found) if one.id == after[0]]
    return list(found[places[0] + 1 :]) if places else []
