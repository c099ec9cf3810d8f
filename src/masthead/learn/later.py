"""A call that nobody waits for: its body is an object, and so is its answer, or what went wrong.

The step of a durable job: it may run twice, and then writes the same object again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError, NotFound
from masthead.learn.endpoints import MOST_BODY, Endpoints
from masthead.learn.models import ModelFailure
from masthead.store.objects import Objects, check_bucket, check_key, parse_uri

__all__ = ["BUCKET", "Later", "answer_later", "tell_failure"]

BUCKET = "async-inference"
"""Where answers lie, as `s3://async-inference/ENDPOINT/ID.out`, and failures, as `.../ID-error.out`."""


@dataclass(frozen=True, slots=True)
class Later:
    """One such call.

    Attributes:
        id: Of the job.
        endpoint: Who is to answer.
        input: Address of the body.
        content_type, accept, explain, key: As in `Endpoints.invoke`.
        timeout_s: How long the model may take; None: as for other calls.
        until_s: Epoch seconds after which nobody wants the answer any more.
    """

    id: str
    endpoint: str
    input: str
    content_type: str = ""
    accept: str = ""
    explain: bool = False
    key: str = ""
    timeout_s: float | None = None
    until_s: float = 0.0

    def __post_init__(self) -> None:
        bucket, key = parse_uri(self.input)
        check_bucket(bucket)
        check_key(key)

    @property
    def output(self) -> str:
        """Address of the answer."""
        return f"s3://{BUCKET}/{self.endpoint}/{self.id}.out"

    @property
    def failure(self) -> str:
        """Address of what went wrong."""
        return f"s3://{BUCKET}/{self.endpoint}/{self.id}-error.out"

    def to_json(self) -> dict[str, Any]:
        """Return the call as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Self:
        """Return the call that `to_json` wrote."""
        return cls(**given)


def answer_later(endpoints: Endpoints, objects: Objects, given: Mapping[str, Any], now_s: float) -> str:
    """Put the answer of a model, or what went wrong, where the caller looks for it; return its address.

    Raises:
        LimitReached: The model is busy: try again.
    """
    call = Later.from_json(given)
    try:
        if now_s > call.until_s:
            raise ModelFailure(504, "nobody waits for the answer any more")
        if objects.head(call.input).size > MOST_BODY:
            raise InvalidInput(f"body: expected at most {MOST_BODY:,} bytes in the input object")
        found = endpoints.invoke(
            call.endpoint,
            objects.get(call.input),
            content_type=call.content_type,
            accept=call.accept,
            explain=call.explain,
            key=call.key,
            timeout_s=call.timeout_s,
        )
    except Conflict as error:  # it is being loaded
        raise LimitReached(error.message) from error
    except (ModelFailure, InvalidInput, NotFound) as error:
        return tell_failure(objects, given, error)
    objects.put(call.output, found.body)
    return call.output


def tell_failure(objects: Objects, given: Mapping[str, Any], error: MastheadError) -> str:
    """Put what went wrong where the caller looks for it; return its address."""
    call = Later.from_json(given)
    status = (
        error.status if isinstance(error, ModelFailure) else 503 if isinstance(error, LimitReached) else 400
    )
    objects.put(call.failure, orjson.dumps({"status": status, "message": error.message}))
    return call.failure
