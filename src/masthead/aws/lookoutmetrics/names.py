"""Names on the wire: ARNs to our names and back, group ids as the model wants them, and what a call touches."""

import re
from collections.abc import Sequence

from masthead.access.arns import ACCOUNT, Arn, alert_arn, detector_arn, metric_set_arn
from masthead.aws.errors import Fault
from masthead.aws.operations import ANYTHING, Call
from masthead.base.errors import InvalidInput, NotFound, shown

SERVICE = "lookoutmetrics"
_DETECTOR, _ALERT, _SET = "AnomalyDetector:NAME", "Alert:NAME", "MetricSet/DETECTOR/NAME"
_FORMS = {
    _DETECTOR: re.compile(r"AnomalyDetector:(.+)"),
    _ALERT: re.compile(r"Alert:(.+)"),
    _SET: re.compile(r"MetricSet/([^/]+)/([^/]+)"),
}
_GROUP = re.compile(r"([a-z0-9]{8})-([a-z0-9]{4})-([a-z0-9]{4})-([a-z0-9]{4})-([0-9]{12})")


# --- ARNs --------------------------------------------------------------------------------------------------


def detector_name(call: Call, member: str = "AnomalyDetectorArn") -> str:
    """Return the name of the detector that a member of the input names.

    Raises:
        InvalidInput: It is no ARN of a detector. NotFound: It is of another account or region.
    """
    return _local_names(call, member, _DETECTOR)[0]


def alert_name(call: Call, member: str = "AlertArn") -> str:
    """Return the name of the alert rule that a member of the input names. Raises: As `detector_name`."""
    return _local_names(call, member, _ALERT)[0]


def set_names(call: Call, member: str = "MetricSetArn") -> tuple[str, str]:
    """Return the names of detector and data set that a member of the input names. Raises: As `detector_name`."""
    detector, name = _local_names(call, member, _SET)
    return detector, name


def resource_names(call: Call) -> tuple[str, ...]:
    """Return the names of whatever the input names as a resource: of a data set two. Raises: As `detector_name`."""
    return _local_names(call, "ResourceArn", _form_of_resource(call))


def _form_of_resource(call: Call) -> str:
    kind = re.split("[:/]", Arn.parse(call.input["ResourceArn"], "ResourceArn").resource)[0]
    return {"AnomalyDetector": _DETECTOR, "Alert": _ALERT}.get(kind, _SET)


def _local_names(call: Call, member: str, form: str) -> tuple[str, ...]:
    found, names = _read(call, member, form)
    if found.account != ACCOUNT or found.region != call.region:
        raise NotFound(f"{member}: there is no {found} in {call.region}", field=member)
    return names


def _read(call: Call, member: str, form: str) -> tuple[Arn, tuple[str, ...]]:
    """Return an ARN of the input and the names in it, of whichever region and account."""
    text = call.input[member]
    found = Arn.parse(text, member)
    match = _FORMS[form].fullmatch(found.resource)
    if found.service != SERVICE or match is None:
        expected = f"arn:aws:{SERVICE}:REGION:ACCOUNT:{form}"
        raise InvalidInput(f"{member}: expected {expected}, got {shown(text)}", field=member)
    return found, match.groups()


# --- what a call touches, for policies: as it was asked for, since a look at region and account is a look-up -


def its_detector(call: Call) -> Sequence[str]:
    """Return the detector that the input names; any, when it may be left out and is."""
    return _asked(call, "AnomalyDetectorArn", _DETECTOR) if "AnomalyDetectorArn" in call.input else ANYTHING


def its_alert(call: Call) -> Sequence[str]:
    """Return the alert that the input names."""
    return _asked(call, "AlertArn", _ALERT)


def its_set(call: Call) -> Sequence[str]:
    """Return the metric set that the input names."""
    return _asked(call, "MetricSetArn", _SET)


def its_detector_and_set(call: Call) -> Sequence[str]:
    """Return the detector, and the metric set if there is one in the input."""
    return (*its_detector(call), *(its_set(call) if "MetricSetArn" in call.input else ()))


def its_resource(call: Call) -> Sequence[str]:
    """Return whatever the input names as a resource."""
    return _asked(call, "ResourceArn", _form_of_resource(call))


def _asked(call: Call, member: str, form: str) -> tuple[str]:
    return (str(_read(call, member, form)[0]),)


def new_detector(call: Call) -> Sequence[str]:
    """Return the detector that is to be made."""
    return (detector_arn(call.input["AnomalyDetectorName"], call.region),)


def new_set(call: Call) -> Sequence[str]:
    """Return the detector, and its metric set that is to be made."""
    found, (detector,) = _read(call, "AnomalyDetectorArn", _DETECTOR)
    return (str(found), metric_set_arn(detector, call.input["MetricSetName"], call.region))


def new_alert(call: Call) -> Sequence[str]:
    """Return the alert that is to be made, and its detector."""
    return (alert_arn(call.input["AlertName"], call.region), *its_detector(call))


# --- what an error is about --------------------------------------------------------------------------------


def not_found(message: str, id: str, kind: str) -> Fault:
    """Return the error that tells which thing of several that a call names does not exist, by the id that was sent."""
    return Fault("ResourceNotFoundException", message, ResourceId=id, ResourceType=kind)


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
