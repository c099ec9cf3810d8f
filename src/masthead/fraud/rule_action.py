"""The action `fraud` of a topic rule: what the rule selected is a transaction, scored by a deployment.

Exactly once by the transaction's id: after a crash the log's readings come again, and get the decision that is stored.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import orjson

from masthead.base.errors import Conflict, InvalidInput, LimitReached, MastheadError
from masthead.streams.actions import Action
from masthead.streams.works import Outcome

if TYPE_CHECKING:
    from masthead.fraud.service import FraudService

__all__ = ["DECISIONS", "score_actions"]

DECISIONS = (
    "masthead.fraud."  # and the deployment's name: the subject of its decisions, unless the action names one
)


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


def _scored(service: "FraudService", name: str, actions: Sequence[Action]) -> list[Outcome]:
    records = [_record(action.payload) for action in actions]
    usable = [one for one in records if not isinstance(one, MastheadError)]
    try:
        answers = iter(_answers(service, name, usable))
    except LimitReached:
        raise
    except MastheadError as error:  # nothing of that name is deployed
        return [Outcome(error.message)] * len(actions)
    found = [one if isinstance(one, MastheadError) else next(answers) for one in records]
    return [_outcome(action, one) for action, one in zip(actions, found, strict=True)]


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


def _outcome(action: Action, found: "dict[str, Any] | MastheadError") -> Outcome:
    if isinstance(found, LimitReached):
        raise found
    if isinstance(found, MastheadError):
        return Outcome(found.message)
    subject = action.action.get("subject") or DECISIONS + action.action["name"]
    return Outcome(subject=subject, payload=orjson.dumps(found))
