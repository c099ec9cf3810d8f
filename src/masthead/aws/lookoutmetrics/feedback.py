"""A person's word on the series of a group."""

from typing import Any

from masthead.aws.lookoutmetrics.anomalies import found_group
from masthead.aws.lookoutmetrics.names import its_detector, not_found
from masthead.aws.lookoutmetrics.words import limit_of, native_token, wire_token
from masthead.aws.operations import Call, Operations
from masthead.base.errors import NotFound
from masthead.base.ids import series_id

OPERATIONS = Operations("lookoutmetrics")
_MEMBER = "AnomalyGroupTimeSeriesFeedback"


@OPERATIONS.serves("PutFeedback", resources=its_detector)
def put_feedback(call: Call) -> dict[str, Any]:
    """Say whether a series of a group is an anomaly; later severities follow."""
    given = call.input[_MEMBER]
    _, group = found_group(call, given["AnomalyGroupId"])
    series = given["TimeSeriesId"]
    try:
        call.masthead.metrics.give_feedback(group.id, series, is_anomaly=given["IsAnomaly"])
    except NotFound as error:
        raise not_found(error.message, series, "TimeSeries") from error
    return {}


@OPERATIONS.serves("GetFeedback", resources=its_detector)
def get_feedback(call: Call) -> dict[str, Any]:
    """Return the last word on each series of a group, or on one."""
    given = call.input[_MEMBER]
    id, series = given["AnomalyGroupId"], given.get("TimeSeriesId", "")
    _, group = found_group(call, id)
    page = call.masthead.metrics.latest_feedback(
        group.id, series, limit=limit_of(call), token=native_token(call, id, series)
    )
    told = [
        {
            "TimeSeriesId": series_id(one.detector, one.measure, one.dimensions),
            "IsAnomaly": one.is_anomaly,
        }
        for one in page.items
    ]
    return {_MEMBER: told, "NextToken": wire_token(call, page.next_token, id, series)}
