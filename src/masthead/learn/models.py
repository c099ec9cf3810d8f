"""What may stand behind an endpoint: one method that takes a body and gives a body."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from masthead.base.errors import MastheadError

__all__ = ["Answer", "ModelFailure", "ServedModel"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answers: the body, its content type, and the variant that made it."""

    body: bytes
    content_type: str
    variant: str = "AllTraffic"


class ModelFailure(MastheadError):
    """The model, not Masthead, refused or failed.

    Args:
        status: As a model container answers over HTTP: 400 the payload, 415 its type, 500 the model, 504 its time.
        reason: What was expected; never a part of the payload.
    """

    code = "ModelFailure"

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"model: answered {status}: {reason}")
        self.status, self.reason = status, reason


class ServedModel(Protocol):
    """A model in memory. Its methods are called from many threads at once: it may put calls together itself."""

    def describe(self) -> Mapping[str, Any]:
        """Return what people want to know of it, as JSON values; `model` names it, `version` tells it from others."""

    def invoke(self, body: bytes, *, content_type: str, accept: str, explain: bool) -> Answer:
        """Return the answer to one request. Nothing that it does changes what the next call is answered.

        Args:
            content_type: Media type of the body as the caller gave it; "" = JSON.
            accept: What the caller wants; "" or `*/*` = JSON.
            explain: Whether reasons are asked for.

        Raises:
            ModelFailure: The payload cannot be used, or the model failed.
            LimitReached: Too many calls wait; come again.
        """

    def close(self) -> None:
        """Let go of what memory alone does not hold: processes, files. Called once, when no call is under way."""
