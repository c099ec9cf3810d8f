"""Who may do what to what: AWS identity policies, read strictly and decided quickly. Pure.

A matching Deny decides; else a matching Allow; else nothing is allowed. The order never matters. Where AWS's rules
leave room, less is allowed: a wildcard of an Allow stays inside its segment of a resource name, one of a Deny passes
colons, and the other way round in `NotResource`, which names what a statement spares.

    decide([("p", Policy.parse(document))], action="firehose:PutRecord", resource=arn, context={})

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html and
reference_policies_evaluation-logic.html
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from masthead.access.actions import known_actions
from masthead.access.conditions import Clause, Condition, Context, Missing, compile_conditions
from masthead.access.shipped import SHIPPED
from masthead.access.wildcards import Pattern, compile_pattern
from masthead.base.errors import InvalidInput, nearest, shown

__all__ = ["SHIPPED", "Decision", "Policy", "decide"]

MOST_BYTES = 65_536
"""Size of one document as JSON."""

MOST_POLICIES = 10
"""Policies of one key."""

_MOST_ELEMENTS = 1_000
_MOST_LENGTH = 2_048
_MOST_WARNINGS = 20
_MOST_REMEMBERED = 1_000  # actions of one policy; the faces know fewer
_VARIABLES = "2012-10-17"
_VERSIONS = (_VARIABLES, "2008-10-17")
_FIELDS = {"Version", "Id", "Statement"}
_STATEMENT = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"}
_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+")
_KEYS = (
    "aws:SourceIp",
    "aws:CurrentTime",
    "aws:EpochTime",
    "aws:SecureTransport",
    "aws:username",
    "aws:PrincipalArn",
    "aws:RequestedRegion",
    "aws:TagKeys",
    "aws:UserAgent",
    "iot:ClientId",
)
_KEY_FAMILIES = ("aws:requesttag/", "aws:resourcetag/", "iot:connection.thing.")


@dataclass(frozen=True, slots=True)
class Decision:
    """What policies say about one action on one resource.

    Attributes:
        allowed: Whether it may be done.
        explicit: A Deny said no; False where merely nothing allows it.
        statement: The policy and the statement that decided, by its Sid or number; "" when none did.
    """

    allowed: bool
    explicit: bool
    statement: str

    @property
    def word(self) -> str:
        """Return the decision as people say it."""
        return "allow" if self.allowed else "explicit deny" if self.explicit else "implicit deny"

    def to_json(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {"decision": self.word, "allowed": self.allowed, "statement": self.statement}


@dataclass(frozen=True, slots=True)
class _Statement:
    """One compiled statement.

    Attributes:
        path: Its place in the document.
        label: How a decision names it.
        deny: Its effect.
        exact: Actions without wildcards, in small letters.
        actions: Those with wildcards.
        not_action: It is about all other actions.
        resources: Patterns of resource names.
        not_resource: It is about all other resources.
        clauses: What must hold besides.
    """

    path: str
    label: str
    deny: bool
    exact: frozenset[str]
    actions: tuple[Pattern, ...]
    not_action: bool
    resources: tuple[Pattern, ...]
    not_resource: bool
    clauses: tuple[Clause, ...]

    def names(self, action: str) -> bool:
        """Return whether the statement is about an action, given in small letters."""
        named = action in self.exact or any(one.match(action, _no_value) for one in self.actions)
        return named is not self.not_action

    def applies(self, resource: str, context: Context) -> bool:
        """Return whether a statement that names the action is about this request."""
        return self._is_about(resource, context) and (
            not self.clauses or all(clause.holds(context) for clause in self.clauses)
        )

    def _is_about(self, resource: str, context: Context) -> bool:
        doubt = self.deny is not self.not_resource  # what a variable without a value counts as
        for pattern in self.resources:
            found = pattern.match(resource, context.resolve)
            if found or (found is None and doubt):
                return not self.not_resource
        return self.not_resource


class Policy:
    """A policy document that was read.

    Attributes:
        asks_for_tags: It speaks of the tags of resources, so that a decision must look them up.
    """

    __slots__ = ("_by_action", "asks_for_tags", "document", "statements")

    def __init__(self, document: Mapping[str, Any], statements: Sequence[_Statement]) -> None:
        self.document, self.statements = document, tuple(statements)
        self.asks_for_tags = "resourcetag/" in json.dumps(document).lower()
        self._by_action: dict[str, tuple[list[_Statement], list[_Statement]]] = {}

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what is probably not meant: actions and keys that nobody knows, variables of the older version.

        At most 20 are told: looking for the nearest name takes a millisecond each.
        """
        known = {name.lower(): name for name in known_actions()}
        found: list[str] = []
        for one in self.statements:
            found += islice(_doubts(one, known), _MOST_WARNINGS - len(found))
        version = self.document.get("Version", _VERSIONS[1])
        if version != _VARIABLES and "${" in json.dumps(self.document):
            found.append(f"Version: in {version} a variable is plain text; {_VARIABLES} knows them")
        return tuple(found)

    @classmethod
    def parse(cls, document: object) -> "Policy":
        """Return the policy that a document writes.

        Raises:
            InvalidInput: It is none; the message begins with the JSON path.
        """
        return _parse(document, lenient=False)

    @classmethod
    def stored(cls, document: object) -> "Policy":
        """Return a policy that was accepted earlier: an operator unknown to this version holds in a Deny only.

        Raises:
            InvalidInput: It is none.
        """
        return _parse(document, lenient=True)

    def about(self, action: str) -> tuple[list[_Statement], list[_Statement]]:
        """Return the statements that name an action, given in small letters: those that deny, those that allow."""
        found = self._by_action.get(action)
        if found is None:
            named = [one for one in self.statements if one.names(action)]
            found = [one for one in named if one.deny], [one for one in named if not one.deny]
            if len(self._by_action) >= _MOST_REMEMBERED:
                self._by_action.clear()
            self._by_action[action] = found
        return found

    def only_allows(self, action: str) -> bool:
        """Return whether it allows something, and nothing but this action."""
        wanted = frozenset({action.lower()})
        allows = [one for one in self.statements if not one.deny]
        return bool(allows) and all(
            one.exact == wanted and not one.actions and not one.not_action for one in allows
        )


_ALL = (compile_pattern("*", ""),)
NOTHING = Policy({}, [_Statement("", "unreadable", True, frozenset(), _ALL, False, _ALL, False, ())])
"""Stands for a stored policy that cannot be read: it denies everything."""


def decide(
    policies: Sequence[tuple[str, Policy]],
    *,
    action: str,
    resource: str,
    context: Mapping[str, str | Sequence[str]],
) -> Decision:
    """Return what the policies together say.

    Args:
        policies: Names, as the decision tells them, and policies.
        action: `service:Action`, in any case.
        resource: An ARN, or `*` for an action without one.
        context: What is known of the request, by the names of condition keys.
    """
    wanted, known = action.lower(), Context(context)
    named = [(name, policy.about(wanted)) for name, policy in policies]
    for name, (denies, _) in named:
        for statement in denies:
            if statement.applies(resource, known):
                return Decision(False, True, f"{name}: {statement.label}")
    for name, (_, allows) in named:
        for statement in allows:
            if statement.applies(resource, known):
                return Decision(True, False, f"{name}: {statement.label}")
    return Decision(False, False, "")


def _no_value(_name: str) -> None:
    """Return that a variable has no value: actions hold none."""


# ---------------------------------------------------------------------- reading


def _parse(document: object, *, lenient: bool) -> Policy:
    given = _copy(document)
    if unknown := sorted(set(given) - _FIELDS):
        raise _wrong(unknown[0], f"{', '.join(sorted(_FIELDS))} only", unknown[0])
    version = given.get("Version", _VERSIONS[1])
    if version not in _VERSIONS:
        raise _wrong("Version", " or ".join(_VERSIONS), version)
    if not isinstance(given.get("Id", ""), str):
        raise _wrong("Id", "a text", given["Id"])
    if "Statement" not in given:
        raise _wrong("Statement", "an object or a list of objects", None)
    listed = isinstance(given["Statement"], list)
    found = given["Statement"] if listed else [given["Statement"]]
    statements = []
    for number, one in enumerate(found):
        path = f"Statement[{number}]" if listed else "Statement"
        statements.append(_statement(one, path, number, variables=version == _VARIABLES, lenient=lenient))
    return Policy(given, statements)


def _copy(document: object) -> dict[str, Any]:
    """Return the document as JSON gives it back, so that nobody can change it afterwards."""
    if not isinstance(document, dict):
        raise _wrong("policy", "an object with Version and Statement", document)
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"policy: expected a JSON object: {error}") from error
    if size > MOST_BYTES:
        raise InvalidInput(f"policy: expected at most {MOST_BYTES} bytes, got {size}")
    found: dict[str, Any] = json.loads(text)
    return found


def _statement(given: Any, path: str, number: int, *, variables: bool, lenient: bool) -> _Statement:
    if not isinstance(given, dict):
        raise _wrong(path, "an object", given)
    if unknown := sorted(set(given) - _STATEMENT):
        raise _wrong(f"{path}.{unknown[0]}", f"one of {', '.join(sorted(_STATEMENT))}", unknown[0])
    if given.get("Effect") not in ("Allow", "Deny"):
        raise _wrong(f"{path}.Effect", "Allow or Deny", given.get("Effect"))
    sid = given.get("Sid", "")
    if not isinstance(sid, str) or len(sid) > 128:
        raise _wrong(f"{path}.Sid", "a text of at most 128 characters", sid)
    deny = given["Effect"] == "Deny"
    not_action, actions, action_path = _one_of(given, "Action", path)
    not_resource, resources, resource_path = _one_of(given, "Resource", path)
    for name in actions:
        if not _ACTION.fullmatch(name):
            raise _wrong(action_path, "SERVICE:ACTION or *", name)
    for name in resources:
        if name != "*" and not name.startswith("arn:"):
            raise _wrong(resource_path, "an ARN or *", name)
    exact = frozenset(name.lower() for name in actions if not set(name) & {"*", "?"})
    loose = deny is not not_resource
    return _Statement(
        path=path,
        label=sid or f"statement {number + 1}",
        deny=deny,
        exact=exact,
        actions=tuple(compile_pattern(name.lower(), action_path) for name in actions if name.lower() not in exact),
        not_action=not_action,
        resources=tuple(
            compile_pattern(name, resource_path, variables=variables, loose=loose) for name in resources
        ),
        not_resource=not_resource,
        clauses=compile_conditions(
            given["Condition"], f"{path}.Condition", deny=deny, variables=variables, lenient=lenient
        )
        if "Condition" in given
        else (),
    )  # fmt: skip


def _one_of(given: Mapping[str, Any], name: str, path: str) -> tuple[bool, list[str], str]:
    """Return whether `NotX` stands there instead of `X`, its texts and its path."""
    present = [word for word in (name, f"Not{name}") if word in given]
    if len(present) != 1:
        raise _wrong(path, f"exactly one of {name} and Not{name}", present)
    word, value = present[0], given[present[0]]
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= _MOST_ELEMENTS:
        raise _wrong(f"{path}.{word}", f"1 to {_MOST_ELEMENTS} texts", value)
    for one in values:
        if not isinstance(one, str) or not 1 <= len(one) <= _MOST_LENGTH:
            raise _wrong(f"{path}.{word}", f"texts of 1 to {_MOST_LENGTH} characters", one)
    return word != name, values, f"{path}.{word}"


def _doubts(statement: _Statement, known: Mapping[str, str]) -> Iterator[str]:
    """Yield what is probably not meant; `known` has every action by its name in small letters."""
    for name in sorted(statement.exact - set(known)):
        yield f"{statement.path}: no action is called {name}; the nearest is {known[nearest(name, known)]}"
    for pattern in statement.actions:
        if not any(pattern.match(name, _no_value) for name in known):
            near = known[nearest(pattern.text, known)]
            yield f"{statement.path}: no action is matched by {pattern.text}; the nearest is {near}"
    for clause in statement.clauses:
        if isinstance(clause, Condition | Missing) and not _is_known_key(clause.name):
            near = nearest(clause.name, _KEYS)
            yield f"{statement.path}: no request has the key {clause.name}; the nearest is {near}"


def _is_known_key(name: str) -> bool:
    return name.startswith(_KEY_FAMILIES) or name in map(str.lower, _KEYS)


def _wrong(path: str, expected: str, value: object) -> InvalidInput:
    return InvalidInput(f"{path}: expected {expected}, got {shown(value)}", field=path)
