"""Alerts: rules that speak to the local channel named like an SNS topic or a Lambda function, once there is one."""

from collections.abc import Mapping
from typing import Any

from masthead.access.arns import Arn, alert_arn, detector_arn
from masthead.alerts.rules import AlertRule
from masthead.aws.lookoutmetrics.kept import check_tags, forget, keep
from masthead.aws.lookoutmetrics.names import (
    alert_name,
    detector_name,
    its_alert,
    its_detector,
    new_alert,
    not_found,
)
from masthead.aws.lookoutmetrics.words import message, page_by_name
from masthead.aws.operations import Call, Operations
from masthead.base.errors import InvalidInput, NotFound, shown

OPERATIONS = Operations("lookoutmetrics")
_FORMS = {"LONG_TEXT": "long", "SHORT_TEXT": "short", "JSON": "json"}
_FUNCTION = "function:"


@OPERATIONS.serves("CreateAlert", resources=new_alert)
def create_alert(call: Call) -> dict[str, Any]:
    """Create an alert rule of a detector; the channel that it speaks to may come later."""
    check_tags(call)
    detector, name = _its_detector(call), call.input["AlertName"]
    made = call.masthead.alerts.create_rule({"name": name, "detector": detector, **_changes(call.input)})
    arn = alert_arn(name, call.region)
    keep(call, (f"alert:{name}", made.created), {"arn": arn, "Action": call.input["Action"]})
    return {"AlertArn": arn}


@OPERATIONS.serves("UpdateAlert", resources=its_alert)
def update_alert(call: Call) -> dict[str, Any]:
    """Change an alert rule; what is not given stays."""
    name = alert_name(call)
    made = call.masthead.alerts.update_rule(name, _changes(call.input))
    if "Action" in call.input:
        note = {**_note(call, made), "Action": call.input["Action"]}
        call.masthead.notes.keep_note(f"alert:{name}", _born(made), note)
    return {"AlertArn": alert_arn(name, call.region)}


@OPERATIONS.serves("DeleteAlert", resources=its_alert)
def delete_alert(call: Call) -> dict[str, Any]:
    """Delete an alert rule."""
    name = alert_name(call)
    call.masthead.alerts.delete_rule(name)
    forget(call, f"alert:{name}")
    return {}


@OPERATIONS.serves("DescribeAlert", resources=its_alert)
def describe_alert(call: Call) -> dict[str, Any]:
    """Return an alert rule."""
    rule = call.masthead.alerts.get_rule(alert_name(call))
    action = _action(call, rule)
    return {
        "Alert": {
            **_summary(call, rule),
            "Action": action,
            "AlertDescription": message(rule.description),
            "AlertFilters": _filters(rule),
        }
    }


@OPERATIONS.serves("ListAlerts", resources=its_detector)
def list_alerts(call: Call) -> dict[str, Any]:
    """List alert rules by name, all or those of a detector."""
    asked = detector_name(call) if "AnomalyDetectorArn" in call.input else None
    if asked is not None:
        call.masthead.metrics.get_detector(asked)
    page, following = page_by_name(call, call.masthead.alerts.list_rules(asked), asked)
    listed = [
        {**_summary(call, rule), "Tags": call.masthead.notes.tags(f"alert:{rule.name}", _born(rule)) or None}
        for rule in page
    ]
    return {"AlertSummaryList": listed, "NextToken": following}


def _its_detector(call: Call) -> str:
    """Return the name of the detector that a new alert is to watch.

    Raises:
        Fault: There is none.
    """
    try:
        return call.masthead.metrics.get_detector(detector_name(call)).name
    except NotFound as error:
        raise not_found(error.message, call.input["AnomalyDetectorArn"], "AnomalyDetector") from error


# --- from the wire -----------------------------------------------------------------------------------------


def _changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a rule that the input gives."""
    found: dict[str, Any] = {}
    if "Action" in given:
        found |= {"channel": _channel(given["Action"]), "form": _form(given["Action"])}
    if "AlertSensitivityThreshold" in given:
        found["threshold"] = given["AlertSensitivityThreshold"]
    if "AlertDescription" in given:
        found["description"] = given["AlertDescription"]
    if "AlertFilters" in given:
        filters = given["AlertFilters"]
        found["measures"] = filters.get("MetricList", [])
        found["dimensions"] = dict(_dimension(one) for one in filters.get("DimensionFilterList", ()))
    return found


def _channel(action: Mapping[str, Any]) -> dict[str, str]:
    """Return the channel of an action: the local one that is named like its topic or function.

    Raises:
        InvalidInput: There is not exactly one target, or it is no topic and no function.
    """
    if len(action) != 1:
        raise InvalidInput(
            f"Action: expected an SNSConfiguration or a LambdaConfiguration, got {len(action)} of them",
            field="Action",
        )
    if "SNSConfiguration" in action:
        member = "Action.SNSConfiguration.SnsTopicArn"
        found = Arn.parse(action["SNSConfiguration"]["SnsTopicArn"], member)
        if found.service == "sns" and ":" not in found.resource:
            return {"kind": "named", "name": found.resource}
        raise InvalidInput(f"{member}: expected arn:aws:sns:REGION:ACCOUNT:TOPIC, got {shown(str(found))}")
    member = "Action.LambdaConfiguration.LambdaArn"
    found = Arn.parse(action["LambdaConfiguration"]["LambdaArn"], member)
    if found.service == "lambda" and found.resource.startswith(_FUNCTION):
        return {"kind": "named", "name": found.resource.removeprefix(_FUNCTION).partition(":")[0]}
    raise InvalidInput(
        f"{member}: expected arn:aws:lambda:REGION:ACCOUNT:function:NAME, got {shown(str(found))}"
    )


def _form(action: Mapping[str, Any]) -> str:
    """Return the form of the messages: JSON unless a topic asks for another."""
    return _FORMS[action.get("SNSConfiguration", {}).get("SnsFormat", "JSON")]


def _dimension(given: Mapping[str, Any]) -> tuple[str, list[str]]:
    if "DimensionName" not in given or "DimensionValueList" not in given:
        raise InvalidInput(
            f"AlertFilters.DimensionFilterList: expected a name and values, got {shown(dict(given))}",
            field="AlertFilters.DimensionFilterList",
        )
    return given["DimensionName"], given["DimensionValueList"]


# --- to the wire -------------------------------------------------------------------------------------------


def _summary(call: Call, rule: AlertRule) -> dict[str, Any]:
    return {
        "AlertArn": alert_arn(rule.name, call.region),
        "AnomalyDetectorArn": detector_arn(rule.detector, call.region) if rule.detector else None,
        "AlertName": rule.name,
        "AlertSensitivityThreshold": round(rule.threshold),
        "AlertType": "LAMBDA" if _is_function(call, rule) else "SNS",
        "AlertStatus": "ACTIVE" if rule.enabled else "INACTIVE",
        "LastModificationTime": rule.updated,
        "CreationTime": rule.created,
    }


def _is_function(call: Call, rule: AlertRule) -> bool:
    """Return whether a rule calls a program; one that another face made does when its channel is a command."""
    action = _action(call, rule)
    return rule.channel["kind"] == "command" if action is None else "LambdaConfiguration" in action


def _action(call: Call, rule: AlertRule) -> dict[str, Any] | None:
    """Return the action as it was given; None when the rule speaks to something else now."""
    action: dict[str, Any] | None = _note(call, rule).get("Action")
    return action if action is not None and _channel(action) == dict(rule.channel) else None


def _filters(rule: AlertRule) -> dict[str, Any] | None:
    if not rule.measures and not rule.dimensions:
        return None
    dimensions = [
        {"DimensionName": name, "DimensionValueList": list(values)}
        for name, values in rule.dimensions.items()
    ]
    return {"MetricList": list(rule.measures) or None, "DimensionFilterList": dimensions or None}


def _note(call: Call, rule: AlertRule) -> dict[str, Any]:
    return call.masthead.notes.note(f"alert:{rule.name}", _born(rule))


def _born(rule: AlertRule) -> Any:
    assert rule.created is not None  # every stored rule has it
    return rule.created
