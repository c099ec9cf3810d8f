"""Names on the wire: ARNs to our names and back, group ids as the model wants them, and what a call touches."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from masthead.access.arns import ACCOUNT, Arn, alert_arn, detector_arn, metric_set_arn
from masthead.aws.operations import ANYTHING, Call
from masthead.base.errors import InvalidInput, NotFound, shown

if TYPE_CHECKING:
    pass

SERVICE = "lookoutmetrics"
_DETECTOR, _ALERT, _SET = "AnomalyDetector:", "Alert:", "MetricSet/"
_FORMS = {_DETECTOR: "AnomalyDetector:NAME", _ALERT: "Alert:NAME", _SET: "MetricSet/DETECTOR/NAME"}
_GROUP = re.compile(r"([a-z0-9]{8})-([a-z0-9]{4})-([a-z0-9]{4})-([a-z0-9]{4})-([0-9]{12})")


# --- ARNs --------------------------------------------------------------------------------------------------


def detector_name(call: Call, member: str = "AnomalyDetectorArn") -> str:
    """Return the name of the detector that a member of the input names.

    Raises:
        InvalidInput: It is no ARN of a detector. NotFound: It is of another account or region.
    """
    return _resource(call, member, _DETECTOR)


def alert_name(call: Call, member: str = "AlertArn") -> str:
    """Return the name of the alert rule that a member of the input names. Raises: As `detector_name`."""
    return _resource(call, member, _ALERT)


def set_names(call: Call, member: str = "MetricSetArn") -> tuple[str, str]:
    """Return the names of detector and data set that a member of the input names. Raises: As `detector_name`."""
    detector, slash, name = _resource(call, member, _SET).partition("/")
    if not slash or not detector or not name or "/" in name:
        raise _wrong(member, _SET, call.input[member])
    return detector, name


def _resource(call: Call, member: str, prefix: str) -> str:
    text = call.input[member]
    found = Arn.parse(text, member)
    if found.service != SERVICE or not found.resource.startswith(prefix):
        raise _wrong(member, prefix, text)
    if found.account != ACCOUNT or found.region != call.region:
        raise NotFound(f"{member}: there is no {text} in {call.region}", field=member)
    return found.resource.removeprefix(prefix)


def _wrong(member: str, prefix: str, text: str) -> InvalidInput:
    form = f"arn:aws:{SERVICE}:REGION:ACCOUNT:{_FORMS[prefix]}"
    return InvalidInput(f"{member}: expected {form}, got {shown(text)}", field=member)


# --- what a call touches, for policies ---------------------------------------------------------------------


def its_detector(call: Call) -> Sequence[str]:
    """Return the detector that the input names; any, when it may be left out and is."""
    if "AnomalyDetectorArn" not in call.input:
        return ANYTHING
    return (detector_arn(detector_name(call), call.region),)


def its_alert(call: Call) -> Sequence[str]:
    """Return the alert that the input names."""
    return (alert_arn(alert_name(call), call.region),)


def its_set(call: Call) -> Sequence[str]:
    """Return the metric set that the input names."""
    return (metric_set_arn(*set_names(call), call.region),)


def its_detector_and_set(call: Call) -> Sequence[str]:
    """Return the detector, and the metric set if there is one in the input."""
    return (*its_detector(call), *(its_set(call) if "MetricSetArn" in call.input else ()))


def its_resource(call: Call) -> Sequence[str]:
    """Return whatever the input names as a resource."""
    found = Arn.parse(call.input["ResourceArn"], "ResourceArn").resource
    if found.startswith(_DETECTOR):
        return (detector_arn(detector_name(call, "ResourceArn"), call.region),)
    if found.startswith(_ALERT):
        return (alert_arn(alert_name(call, "ResourceArn"), call.region),)
    return (metric_set_arn(*set_names(call, "ResourceArn"), call.region),)


def new_detector(call: Call) -> Sequence[str]:
    """Return the detector that is to be made."""
    return (detector_arn(call.input["AnomalyDetectorName"], call.region),)


def new_set(call: Call) -> Sequence[str]:
    """Return the detector, and its metric set that is to be made."""
    detector = detector_name(call)
    made = metric_set_arn(detector, call.input["MetricSetName"], call.region)
    return (detector_arn(detector, call.region), made)


def new_alert(call: Call) -> Sequence[str]:
    """Return the alert that is to be made, and its detector."""
    return (alert_arn(call.input["AlertName"], call.region), *its_detector(call))


# --- groups ------------------------------------------------------------------------------------------------


def group_on_wire(group: str) -> str:
    """Return a group's id in the form of a UUID that the model demands: twenty characters of the run, twelve digits.

    >>> group_on_wire("group-01arz3ndektsv4rrffq6-7")
    '01arz3nd-ekts-v4rr-ffq6-000000000007'
    """
    _, run, number = group.split("-")
    text = f"{run}{int(number):012d}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def group_of_wire(text: str) -> str:
    """Return the id of a group.

    Raises:
        NotFound: It is no id that we gave.

    >>> group_of_wire("01arz3nd-ekts-v4rr-ffq6-000000000007")
    'group-01arz3ndektsv4rrffq6-7'
    """
    match = _GROUP.fullmatch(text)
    if match is None:
        raise NotFound(f"AnomalyGroupId: there is no group {shown(text)}", field="AnomalyGroupId")
    return f"group-{''.join(match.groups()[:4])}-{int(match[5])}"
