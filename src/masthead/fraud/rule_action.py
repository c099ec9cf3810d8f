"""Messages that are transactions: those that a topic rule's action `fraud` selected, and those of a subject of NATS.

Exactly once by the transaction's id: after a crash messages come again, and get the decision that is stored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError
from masthead.streams.actions import Action
from masthead.streams.works import DECISIONS, Intake, Outcome

if TYPE_CHECKING:
    from masthead.fraud.service import FraudService

__all__ = ["score_actions", "score_messages"]


def score_actions(service: "FraudService", actions: Sequence[Action]) -> list[Outcome]:
    """Return a decision for each action once all are durable, or why its transaction cannot be used.

    Raises:
        LimitReached: Too many wait, or the disk is full: all of them are to come again.
    """
    found: list[Outcome] = [Outcome()] * len(actions)
    places: dict[str, list[int]] = {}
    for place, action in enumerate(actions):
        places.setdefault(action.action["name"], []).append(place)
    for name, mine in places.items():
        for place, outcome in zip(mine, _scored(service, name, [actions[one] for one in mine]), strict=True):
            found[place] = outcome
    return found


def score_messages(service: "FraudService", intake: Intake, payloads: Sequence[bytes]) -> list[Outcome]:
    """Return the decision on each message of a subject once all are durable, or why it cannot be used.

    Raises:
        LimitReached: Too many wait, the disk is full, or nothing is deployed there now: all of them are to come again.
    """
    try:
        found = _decided(service, intake.name, payloads)
    except LimitReached:
        raise
    except MastheadError as error:  # nobody refused these transactions
        raise LimitReached(error.message) from error
    return [_outcome(intake.answers, one) for one in found]


def _scored(service: "FraudService", name: str, actions: Sequence[Action]) -> list[Outcome]:
    try:
        found = _decided(service, name, [action.payload for action in actions])
    except LimitReached:
        raise
    except MastheadError as error:  # nothing of that name is deployed
        return [Outcome(error.message)] * len(actions)
    return [
        _outcome(action.action.get("subject") or DECISIONS + name, one)
        for action, one in zip(actions, found, strict=True)
    ]


def _decided(
    service: "FraudService", name: str, payloads: Sequence[bytes]
) -> "list[dict[str, Any] | MastheadError]":
    records = [_record(payload) for payload in payloads]
    answers = iter(_answers(service, name, [one for one in records if not isinstance(one, MastheadError)]))
    return [one if isinstance(one, MastheadError) else next(answers) for one in records]


def _answers(
    service: "FraudService", name: str, records: Sequence[dict[str, Any]]
) -> "list[dict[str, Any] | MastheadError]":
    space = service.space_of(name)
    try:
        return service.score_many(records, space=space, alias=name)
    except Conflict:  # deployed a moment ago, by another process
        service.refresh()
        return service.score_many(records, space=space, alias=name)


def _record(payload: bytes) -> dict[str, Any] | InvalidInput:
    try:
        found = orjson.loads(payload)
    except orjson.JSONDecodeError:
        found = None
    return (
        found if isinstance(found, dict) else InvalidInput("payload: expected a transaction as JSON object")
    )


def _outcome(subject: str, found: "dict[str, Any] | MastheadError") -> Outcome:
    if isinstance(found, LimitReached):
        raise found
    if isinstance(found, MastheadError):
        return Outcome(found.message)
    return Outcome(subject=subject, payload=orjson.dumps(found), key=str(found["id"]))
