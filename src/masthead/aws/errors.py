"""From what went wrong to what an AWS client understands: one table, one row for each outcome, one column a service.

The members of an answer come from the model's own exception shape, so that their names and case are right by
construction (`message` in privatenetworks and firehose, `Message` elsewhere: the wrong case leaves an exception's
text empty in boto3).
"""

import errno
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError, NotFound

if TYPE_CHECKING:
    from masthead.aws.models import Model
    from masthead.aws.shapes import Problem

# Outcomes that are no error of the core.
UNREADABLE, THROTTLED, QUOTA, DENIED, BUG = "unreadable", "throttled", "quota", "denied", "bug"
INVALID, MISSING, CONFLICT, LIMIT, UNAVAILABLE = "invalid", "missing", "conflict", "limit", "unavailable"
UNKNOWN_OPERATION, TOO_LARGE, FAILURES = "unknown operation", "too large", "failures"

FIELD, PARSE, OTHER = "FIELD_VALIDATION_FAILED", "CANNOT_PARSE", "OTHER"

_EVERYWHERE = {
    DENIED: ("AccessDeniedException", 403),
    UNAVAILABLE: ("ServiceUnavailableException", 503),
    UNKNOWN_OPERATION: ("UnknownOperationException", 404),
    TOO_LARGE: ("RequestEntityTooLargeException", 413),
    THROTTLED: ("ThrottlingException", 429),
    FAILURES: (
        "ThrottlingException",
        429,
    ),  # of an address, whatever a service answers a key that is too fast
    QUOTA: ("LimitExceededException", 400),
    BUG: ("InternalServerException", 500),
    INVALID: ("ValidationException", 400),
    UNREADABLE: ("ValidationException", 400),
    MISSING: ("ResourceNotFoundException", 404),
    CONFLICT: ("ConflictException", 409),
    LIMIT: ("LimitExceededException", 400),
}
TABLE: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "": _EVERYWHERE,
    "privatenetworks": _EVERYWHERE,
    "lookoutmetrics": {
        **_EVERYWHERE,
        MISSING: ("ResourceNotFoundException", 400),
        LIMIT: ("ServiceQuotaExceededException", 402),
        QUOTA: ("ServiceQuotaExceededException", 402),
        THROTTLED: ("TooManyRequestsException", 429),
        FAILURES: ("TooManyRequestsException", 429),
    },
    "sagemaker-runtime": {
        **_EVERYWHERE,
        INVALID: ("ValidationError", 400),
        UNREADABLE: ("ValidationError", 400),
        MISSING: ("ValidationError", 400),
        CONFLICT: ("ModelNotReadyException", 429),
        LIMIT: ("ServiceUnavailable", 503),
        UNAVAILABLE: ("ServiceUnavailable", 503),
        BUG: ("InternalFailure", 500),
    },
    "firehose": {
        **_EVERYWHERE,
        INVALID: ("InvalidArgumentException", 400),
        UNREADABLE: ("SerializationException", 400),
        MISSING: ("ResourceNotFoundException", 400),
        CONFLICT: ("ResourceInUseException", 400),
        LIMIT: ("LimitExceededException", 400),
        THROTTLED: ("ThrottlingException", 400),
        BUG: ("InternalFailure", 500),
    },
}
_OUTCOMES: Mapping[type[MastheadError], str] = {
    InvalidInput: INVALID,
    NotFound: MISSING,
    Conflict: CONFLICT,
    LimitReached: LIMIT,
}
# An operation that does not list the error of one of these answers its validation error instead, so that a client
# always meets an exception that it knows.
_LISTED_ONLY = frozenset({MISSING, CONFLICT, LIMIT})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
_FULL_TEXTS = ("database or disk is full", "No space left", "could not extend file", "disk quota exceeded")


class Fault(Exception):
    """An error that a translator raises by its name in the model, with its members.

    >>> raise Fault("ConcurrentModificationException", "CurrentDeliveryStreamVersionId: expected 3, got 2")
    Traceback (most recent call last):
    masthead.aws.errors.Fault: ConcurrentModificationException: CurrentDeliveryStreamVersionId: expected 3, got 2
    """

    def __init__(self, code: str, message: str = "", status: int | None = None, /, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.members = code, message, status, members


class Rejected(Exception):
    """A request that the core itself refuses, by one of the outcomes above."""

    def __init__(
        self, outcome: str, message: str, problems: Sequence["Problem"] = (), retry_after_s: float = 0.0
    ) -> None:
        super().__init__(message)
        self.outcome, self.message, self.problems = outcome, message, problems
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What an error is on the wire: code, HTTP status, members by their name in the model."""

    code: str
    status: int
    members: dict[str, Any]
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of an error, for whichever members its shape has."""

    message: str
    reason: str = OTHER
    fields: tuple[tuple[str, str], ...] = ()
    resources: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)


def answer(
    model: "Model | None", operation: str, error: Exception, resources: Sequence[str] = ()
) -> ErrorAnswer:
    """Return how a service answers an error of one of its operations; what nobody expected is our bug, 500.

    Args:
        model: The service; None when the request belonged to none.
        operation: The operation's name, "" when none was found.
        error: A `Fault`, a `Rejected`, one of the four errors, or anything else.
        resources: The ARNs that the call touched, for errors that name one.
    """
    if isinstance(error, Fault):
        shape = model.shapes.get(error.code) if model else None
        status = error.status or (shape.status if shape else 0) or 400
        told = _Told(error.message, resources=tuple(resources), given=error.members)
        return ErrorAnswer(error.code, status, _members(model, error.code, told))
    if isinstance(error, Rejected):
        fields = tuple((problem.path, problem.expected) for problem in error.problems)
        reason = FIELD if fields else PARSE if error.outcome == UNREADABLE else OTHER
        found = _row(model, operation, error.outcome, _Told(error.message, reason, fields))
        return ErrorAnswer(found.code, found.status, found.members, error.retry_after_s)
    for kind, outcome in _OUTCOMES.items():
        if isinstance(error, kind):
            named = ((error.field, error.message),) if kind is InvalidInput and error.field else ()
            told = _Told(error.message, FIELD if named else OTHER, named, tuple(resources))
            return _row(model, operation, outcome, told)
    if _is_full(error):
        return _row(model, operation, UNAVAILABLE, _Told("no space is left on the disk; nothing was changed"))
    return _row(model, operation, BUG, _Told("an internal error; the server's log has it by its request id"))


def _row(model: "Model | None", operation: str, outcome: str, told: _Told) -> ErrorAnswer:
    table = TABLE[model.name if model else ""]
    code, status = table[outcome]
    if model is not None and outcome in _LISTED_ONLY:
        listed = model.operations[operation].errors if operation in model.operations else frozenset()
        if outcome == LIMIT and "ServiceUnavailableException" in listed:  # firehose's puts
            code, status = "ServiceUnavailableException", 503
        elif code not in listed:
            code, status = table[INVALID]
    return ErrorAnswer(code, status, _members(model, code, told))


def _members(model: "Model | None", code: str, told: _Told) -> dict[str, Any]:
    """Return the members that the exception's shape has, each filled with what is known."""
    shape = model.shapes.get(code) if model else None
    if model is None or shape is None:
        return {model.message_member if model else "message": told.message, **told.given}
    arn = told.resources[0] if told.resources else ""
    known = {
        "message": told.message,
        "reason": told.reason,
        "resourceid": arn or "unknown",
        "resourcetype": _resource_type(arn),
    }
    found: dict[str, Any] = {name: known[name.lower()] for name in shape.members if name.lower() in known}
    for name, member in shape.members.items():
        if name.lower() in ("fields", "fieldlist") and told.fields and member.shape.item is not None:
            key, text = sorted(member.shape.item.members, key=lambda one: one.lower() == "message")
            found[name] = [{key: path, text: expected} for path, expected in told.fields]
    return found | told.given


def _resource_type(arn: str) -> str:
    """Return the kind of thing that an ARN names.

    >>> _resource_type("arn:aws:lookoutmetrics:us-east-1:000000000000:AnomalyDetector:air")
    'AnomalyDetector'
    """
    parts = arn.split(":", 5)
    return parts[5].replace("/", ":").partition(":")[0] if len(parts) == 6 else "resource"


def _is_full(error: BaseException) -> bool:
    return any(
        (isinstance(one, OSError) and one.errno in _FULL) or any(text in str(one) for text in _FULL_TEXTS)
        for one in _causes(error)
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
