"""Anomaly detectors: made with a frequency alone, described by their state, begun, tested, stopped and deleted."""

from typing import Any

from masthead.access.arns import detector_arn
from masthead.aws.lookoutmetrics.kept import check_tags, forget, keep, note_of, set_name
from masthead.aws.lookoutmetrics.names import detector_name, its_detector, new_detector
from masthead.aws.lookoutmetrics.words import FREQUENCIES, interval_of, message, page_by_name, status_of
from masthead.aws.operations import Call, Operations
from masthead.base.errors import InvalidInput
from masthead.metrics.records import Detector, Execution

OPERATIONS = Operations("lookoutmetrics")


@OPERATIONS.serves("CreateAnomalyDetector", resources=new_detector)
def create_anomaly_detector(call: Call) -> dict[str, Any]:
    """Create a detector that has an interval and no data set yet."""
    check_tags(call)
    name = call.input["AnomalyDetectorName"]
    settings = {"name": name, "interval": _interval(call), "rollups": "none"}
    description = call.input.get("AnomalyDetectorDescription", "")
    made = call.masthead.metrics.create_detector({**settings, "description": description})
    arn = detector_arn(name, call.region)
    note = {"arn": arn, "KmsKeyArn": call.input.get("KmsKeyArn")}
    keep(call, (f"detector:{name}", made.created), note)
    return {"AnomalyDetectorArn": arn}


@OPERATIONS.serves("UpdateAnomalyDetector", resources=its_detector)
def update_anomaly_detector(call: Call) -> dict[str, Any]:
    """Change description, frequency or key of a detector that does not run."""
    name = detector_name(call)
    changes: dict[str, Any] = {}
    if "AnomalyDetectorDescription" in call.input:
        changes["description"] = call.input["AnomalyDetectorDescription"]
    if "AnomalyDetectorFrequency" in call.input.get("AnomalyDetectorConfig", {}):
        changes["interval"] = _interval(call)
    found = call.masthead.metrics.update_detector(name, changes)
    if "KmsKeyArn" in call.input:
        note = note_of(call, found) | {"KmsKeyArn": call.input["KmsKeyArn"]}
        keep(call, (f"detector:{name}", found.created), note)
    return {"AnomalyDetectorArn": detector_arn(name, call.region)}


@OPERATIONS.serves("DeleteAnomalyDetector", resources=its_detector)
def delete_anomaly_detector(call: Call) -> dict[str, Any]:
    """Delete a detector with its data set and alerts; one that runs is stopped first."""
    metrics, name = call.masthead.metrics, detector_name(call)
    data_set = f"dataset:{name}/{set_name(call, metrics.get_detector(name))}"
    alerts = [f"alert:{rule.name}" for rule in call.masthead.alerts.list_rules(name)]
    metrics.delete_detector(name, stop=True)
    forget(call, f"detector:{name}", data_set, *alerts)
    return {}


@OPERATIONS.serves("DescribeAnomalyDetector", resources=its_detector)
def describe_anomaly_detector(call: Call) -> dict[str, Any]:
    """Return a detector with its state."""
    found = call.masthead.metrics.get_detector(detector_name(call))
    frequency = FREQUENCIES.get(found.spec.interval)
    return {
        **_summary(call, found),
        "AnomalyDetectorConfig": {"AnomalyDetectorFrequency": frequency},
        "KmsKeyArn": note_of(call, found).get("KmsKeyArn"),
        **_failure(found),
    }


@OPERATIONS.serves("ListAnomalyDetectors")
def list_anomaly_detectors(call: Call) -> dict[str, Any]:
    """List detectors by name."""
    page, following = page_by_name(call, call.masthead.metrics.list_detectors())
    listed = [
        {
            **_summary(call, found),
            "Tags": call.masthead.notes.tags(f"detector:{found.name}", found.created) or None,
        }
        for found in page
    ]
    return {"AnomalyDetectorSummaryList": listed, "NextToken": following}


@OPERATIONS.serves("ActivateAnomalyDetector", resources=its_detector)
def activate_anomaly_detector(call: Call) -> dict[str, Any]:
    """Begin to learn and to watch; what is wrong with the data makes the detector fail."""
    call.masthead.metrics.activate(detector_name(call), later=True)
    return {}


@OPERATIONS.serves("DeactivateAnomalyDetector", resources=its_detector)
def deactivate_anomaly_detector(call: Call) -> dict[str, Any]:
    """Stop a detector that learns or is active."""
    call.masthead.metrics.deactivate(detector_name(call))
    return {}


@OPERATIONS.serves("BackTestAnomalyDetector", resources=its_detector)
def back_test_anomaly_detector(call: Call) -> dict[str, Any]:
    """Score past data: the oldest 70 % teach, the rest is tested."""
    call.masthead.metrics.backtest(detector_name(call), later=True)
    return {}


def _interval(call: Call) -> str:
    frequency = call.input["AnomalyDetectorConfig"].get("AnomalyDetectorFrequency")
    if frequency is None:
        member = "AnomalyDetectorConfig.AnomalyDetectorFrequency"
        raise InvalidInput(f"{member}: expected P1D, PT1H, PT10M or PT5M, got none", field=member)
    return interval_of(frequency)


def _summary(call: Call, found: Detector) -> dict[str, Any]:
    def latest() -> Execution | None:
        return next(iter(call.masthead.metrics.executions(found.name, limit=1).items), None)

    return {
        "AnomalyDetectorArn": detector_arn(found.name, call.region),
        "AnomalyDetectorName": found.name,
        "AnomalyDetectorDescription": message(found.spec.description),
        "CreationTime": found.created,
        "LastModificationTime": found.updated,
        "Status": status_of(found, latest),
    }


def _failure(found: Detector) -> dict[str, Any]:
    if found.state != "failed":
        return {}
    tested = found.spec.mode == "backtest"
    kind = "BACK_TEST_ACTIVATION_FAILURE" if tested else "ACTIVATION_FAILURE"
    return {"FailureType": kind, "FailureReason": message(found.failure)}
