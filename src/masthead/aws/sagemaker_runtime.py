"""SageMaker Runtime over `masthead.endpoints`: a body in, the model's answer out, with all that its headers say."""

from collections.abc import Mapping, Sequence
from typing import Any

from masthead.access.arns import ACCOUNT, compose, endpoint_arn
from masthead.aws.errors import Fault
from masthead.aws.operations import Call, Operations
from masthead.base.errors import InvalidInput, NotFound
from masthead.learn.models import ModelFailure

OPERATIONS = Operations("sagemaker")
_VARIANT = "AllTraffic"  # the one that every endpoint has
_TTL_S = 21_600  # of a call that nobody waits for, as documented
_MOST_MESSAGE = 2048  # characters of the shape `Message`
_ABSENT = {
    "TargetModel": "an endpoint serves one model; give another EndpointName",
    "TargetContainerHostname": "an endpoint has no containers; leave it out",
    "InferenceComponentName": "an endpoint has no inference components; leave it out",
    "SessionId": "models keep no sessions; leave it out",
}


def _endpoint(call: Call) -> Sequence[str]:
    return (endpoint_arn(call.input["EndpointName"], call.region),)


@OPERATIONS.serves("InvokeEndpoint", resources=_endpoint)
def invoke_endpoint(call: Call) -> Mapping[str, Any]:
    """Return the model's answer; what it refuses or fails at is ModelError, with the status that it gave."""
    given, name = call.input, call.input["EndpointName"]
    _require_plain(given)
    try:
        found = call.masthead.endpoints.invoke(
            name,
            given["Body"],
            content_type=given.get("ContentType", ""),
            accept=given.get("Accept", ""),
            explain=_explains(given),
            key=call.caller.key.id,
        )
    except ModelFailure as error:
        raise _model_error(error, name, call.region) from error
    except NotFound:
        raise _unknown(name) from None
    return {
        "Body": found.body,
        "ContentType": found.content_type,
        "InvokedProductionVariant": found.variant,
        "CustomAttributes": given.get("CustomAttributes"),
    }


@OPERATIONS.serves("InvokeEndpointAsync", resources=_endpoint)
def invoke_endpoint_async(call: Call) -> Mapping[str, Any]:
    """Begin a durable job that reads the body from an object and writes the answer to one."""
    given, name = call.input, call.input["EndpointName"]
    where = given["InputLocation"]
    if not where.startswith("s3://"):
        raise InvalidInput("InputLocation: expected s3://BUCKET/KEY", field="InputLocation")
    ttl_s, timeout_s = given.get("RequestTTLSeconds", _TTL_S), given.get("InvocationTimeoutSeconds")
    try:
        found = call.masthead.invoke_later(
            name,
            where,
            keep_s=float(ttl_s),
            content_type=given.get("ContentType", ""),
            accept=given.get("Accept", ""),
            explain=_explains(given),
            key=call.caller.key.id,
            timeout_s=None if timeout_s is None else float(timeout_s),
        )
    except NotFound:
        raise _unknown(name) from None
    return {
        "InferenceId": given.get("InferenceId") or found.id,
        "OutputLocation": found.output,
        "FailureLocation": found.failure,
    }


@OPERATIONS.serves("InvokeEndpointWithResponseStream", resources=_endpoint)
def invoke_endpoint_with_response_stream(call: Call) -> Mapping[str, Any]:
    """Refuse: every model answers in one piece."""
    _require_known(call)
    raise InvalidInput(
        "InvokeEndpointWithResponseStream: not supported; models answer in one piece, use InvokeEndpoint",
        field="EndpointName",
    )


def _require_known(call: Call) -> None:
    name = call.input["EndpointName"]
    try:
        call.masthead.endpoints.get(name)
    except NotFound:
        raise _unknown(name) from None


def _unknown(name: str) -> NotFound:
    return NotFound(f"Endpoint {name} of account {ACCOUNT} not found.")


def _require_plain(given: Mapping[str, Any]) -> None:
    """Refuse what would choose between parts that an endpoint does not have."""
    for member, advice in _ABSENT.items():
        if given.get(member) is not None:
            raise InvalidInput(f"{member}: {advice}", field=member)
    if given.get("TargetVariant", _VARIANT) != _VARIANT:
        raise InvalidInput(
            f"TargetVariant: expected {_VARIANT}, the one variant of an endpoint, got another",
            field="TargetVariant",
        )


def _explains(given: Mapping[str, Any]) -> bool:
    """Return whether reasons are asked for: by the header of Clarify, or by an attribute `explain=...`."""
    text = given.get("EnableExplanations", "false").strip("`").lower()
    if text not in ("true", "false"):
        raise InvalidInput("EnableExplanations: expected true or false", field="EnableExplanations")
    attributes = given.get("CustomAttributes", "").split(",")
    return text == "true" or any(part.strip().startswith("explain=") for part in attributes)


def _model_error(error: ModelFailure, name: str, region: str) -> Fault:
    who = "client" if error.status < 500 else "server"
    message = (
        f'Received {who} error ({error.status}) from {_VARIANT} with message "{error.reason}". '
        f"See masthead logs endpoint {name}"
    )
    log = f"log-group:/aws/sagemaker/Endpoints/{name}:log-stream:{_VARIANT}"
    return Fault(
        "ModelError",
        message[:_MOST_MESSAGE],
        OriginalStatusCode=error.status,
        OriginalMessage=error.reason[:_MOST_MESSAGE],
        LogStreamArn=compose("logs", region, log),
    )
