"""What was counted about a detector's data, and the jobs and intervals that it has done."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from masthead.access.arns import metric_set_arn
from masthead.aws.lookoutmetrics.kept import set_name
from masthead.aws.lookoutmetrics.names import (
    detector_name,
    its_detector,
    its_detector_and_set,
    not_found,
    set_names,
)
from masthead.aws.lookoutmetrics.words import (
    limit_of,
    message,
    moment_text,
    native_token,
    read_moment,
    wire_token,
)
from masthead.aws.operations import Call, Operations
from masthead.metrics.records import Detector, Execution

OPERATIONS = Operations("lookoutmetrics")
_STATUS = {"running": "IN_PROGRESS", "finished": "COMPLETED", "failed": "FAILED", "cancelled": "FAILED"}
_PARTS = ("not a number", "infinite or beyond 1e15")  # reasons that cost a value and leave its row
_SPLIT = {
    "BACKTEST_TRAINING_DATA_START_TIME_STAMP": ("learned_first", "Start of the first interval that taught"),
    "BACKTEST_TRAINING_DATA_END_TIME_STAMP": ("learned_last", "Start of the last interval that taught"),
    "BACKTEST_INFERENCE_DATA_START_TIME_STAMP": ("tested_first", "Start of the first tested interval"),
    "BACKTEST_INFERENCE_DATA_END_TIME_STAMP": ("tested_last", "Start of the last tested interval"),
}


@OPERATIONS.serves("GetDataQualityMetrics", resources=its_detector_and_set)
def get_data_quality_metrics(call: Call) -> dict[str, Any]:
    """Return counts about the data of a detector's one data set; none before any were read."""
    metrics, name = call.masthead.metrics, detector_name(call)
    found = metrics.get_detector(name)
    data_set = set_name(call, found)
    if "MetricSetArn" in call.input and set_names(call) != (name, data_set):
        reason = f"MetricSetArn: {name} has no such metric set"
        raise not_found(reason, call.input["MetricSetArn"], "MetricSet")
    told = list(_metrics(found, metrics.data_quality(name)))
    if not told:
        return {"AnomalyDetectorDataQualityMetricList": []}
    began = next((one.started for one in metrics.executions(name, limit=1).items), found.created)
    of_set = {
        "MetricSetArn": metric_set_arn(name, data_set, call.region),
        "DataQualityMetricList": told,
    }
    return {
        "AnomalyDetectorDataQualityMetricList": [
            {"StartTimestamp": began, "MetricSetDataQualityMetricList": [of_set]}
        ]
    }


@OPERATIONS.serves("DescribeAnomalyDetectionExecutions", resources=its_detector)
def describe_anomaly_detection_executions(call: Call) -> dict[str, Any]:
    """List what a detector has done, the latest first: activations, back-tests, and each interval that it scored."""
    metrics, name, text = call.masthead.metrics, detector_name(call), call.input.get("Timestamp")
    zone = metrics.get_detector(name).spec.zone
    page = metrics.executions(
        name,
        limit=limit_of(call),
        token=native_token(call, name, text),
        at=None if text is None else read_moment(text, "Timestamp"),
        intervals=True,
    )
    listed = [_execution(one, zone) for one in page.items]
    return {"ExecutionList": listed, "NextToken": wire_token(call, page.next_token, name, text)}


def _execution(one: Execution, zone: str) -> dict[str, Any]:
    failure = one.failure or ("it was stopped" if one.state == "cancelled" else "")
    return {
        "Timestamp": moment_text(one.started, zone),
        "Status": _STATUS[one.state],
        "FailureReason": message(failure),
    }


def _metrics(found: Detector, quality: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield one metric for each count: of all data of a back-test, else of the live records or the history."""
    stored = quality["data"]
    data = stored if "rows" in stored else stored.get("history", {})
    live = quality if quality.get("rows") or not data else data
    reasons: Mapping[str, int] = live.get("refused_by_reason", {})
    if "rows" not in live:
        return
    partial = sum(count for reason, count in reasons.items() if reason in _PARTS)
    invalid = sum(reasons.values()) - partial
    yield _metric("ROWS_PROCESSED", live["rows"] + invalid, "Rows that were read, usable or not")
    yield _metric(
        "ROWS_PARTIAL_COMPLIANCE", partial, "Values that were no number; the rest of their row counts"
    )
    yield _metric("INVALID_ROWS_COMPLIANCE", invalid, "Rows that could not be used")
    if data:
        series = data["series"] * len(found.spec.measures)
        yield _metric("TIME_SERIES_COUNT", series, "Measures times tuples of dimension values")
    for column, missing in data.get("missing", {}).items():
        complete = 100.0 * (1 - missing / data["rows"]) if data["rows"] else 0.0
        yield _metric("COLUMN_COMPLETENESS", complete, "Percent of the rows that have a value", column)
    for column, count in data.get("labels", {}).items():
        yield _metric("DIMENSION_UNIQUENESS", count, "Different values", column)
    for kind, (name, text) in _SPLIT.items():
        if name in stored.get("split", {}):
            moment = datetime.fromisoformat(stored["split"][name]).timestamp()
            yield _metric(kind, moment, f"{text}, seconds since 1970")


def _metric(kind: str, value: float, description: str, column: str | None = None) -> dict[str, Any]:
    return {
        "MetricType": kind,
        "MetricDescription": description,
        "RelatedColumnName": column,
        "MetricValue": float(value),
    }
