"""IAM-shaped policies of things, compiled to what the broker can enforce. Pure.

Denied unless allowed; an explicit deny wins. One certificate is one thing, so the variables of a policy are
resolved when it is compiled. What a subject permission cannot say (a wildcard inside a level, a rule on the
client id, a condition) is refused when the policy is made, with the reason, and never widened.

Two places where the broker says less than AWS, both on the narrow side: a subscription must lie wholly inside
what `iot:Subscribe` and `iot:Receive` both allow, and `a/#` needs the parent `a` as well.

Source: https://docs.aws.amazon.com/iot/latest/developerguide/iot-policies.html, pub-sub-policy.html and
iot-policy-variables.html; https://docs.nats.io/running-a-nats-service/configuration/securing_nats/authorization
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from masthead.access.subjects import (
    covers,
    intersection,
    matches,
    patterns_for,
    subject_for,
    without_covered,
)
from masthead.base.errors import InvalidInput, shown

KINDS = {
    "iot:Connect": "client",
    "iot:Publish": "topic",
    "iot:Receive": "topic",
    "iot:Subscribe": "topicfilter",
}
"""Each action, and the kind of resource that it is about."""

NEVER_PUBLISH = (
    "$JS.>",
    "$MQTT.>",
    "$SYS.>",
    "$KV.>",
    "$O.>",
    "$SRV.>",
    "$NRG.>",
    "$JSC.>",
    "_INBOX.>",
    "masthead.>",
)
"""Subjects of the broker and of Masthead; a thing that wrote there could speak for another or stop the clock."""

_STORES = ("msgs", "rmsgs", "qos2", "sess", "out", "JSA")
NEVER_SUBSCRIBE = (
    *(pattern for pattern in NEVER_PUBLISH if pattern not in ("$MQTT.>", "masthead.>")),
    "masthead.readings.>",
    "$MQTT",
    "$MQTT.*",
    *(f"$MQTT.{store}.>" for store in _STORES),
)
"""Not `$MQTT.>` as a whole: nats-server delivers QoS 1 and 2 to a device by subjects under `$MQTT.sub` and
`$MQTT.deliver`, on which it lets no device subscribe by name."""

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_ATTRIBUTE = re.compile(r"iot:Connection\.Thing\.Attributes\[([^\]]+)\]")
_ARN = re.compile(r"arn:aws[a-z-]*:iot:[^:]*:[^:]*:(.+)", re.DOTALL)
_STATEMENT_KEYS = {"Sid", "Effect", "Action", "Resource"}
_MOST_STATEMENTS = 50

SENSOR: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "client/*"},
        {
            "Effect": "Allow",
            "Action": "iot:Publish",
            "Resource": "topic/sensors/${iot:Connection.Thing.ThingName}/#",
        },
        {
            "Effect": "Allow",
            "Action": "iot:Subscribe",
            "Resource": "topicfilter/commands/${iot:Connection.Thing.ThingName}/#",
        },
        {
            "Effect": "Allow",
            "Action": "iot:Receive",
            "Resource": "topic/commands/${iot:Connection.Thing.ThingName}/#",
        },
    ],
}
"""A thing publishes under its own name and hears commands to itself, nothing else."""

ALERT_LISTENER: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "client/*"},
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "topicfilter/masthead/alerts/#"},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": "topic/masthead/alerts/#"},
    ],
}
"""A thing that acts on alerts."""

BUILT_IN: dict[str, dict[str, Any]] = {"sensor": SENSOR, "alert-listener": ALERT_LISTENER}


@dataclass(frozen=True, slots=True)
class Permissions:
    """What one thing may do, as subject patterns. A subject must be allowed and not be denied."""

    connect: bool = False
    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    publish_deny: tuple[str, ...] = NEVER_PUBLISH
    subscribe_deny: tuple[str, ...] = NEVER_SUBSCRIBE

    def may_publish(self, subject: str) -> bool:
        """Return whether a message to `subject` passes."""
        allowed = self.connect and any(matches(pattern, subject) for pattern in self.publish)
        return allowed and not any(matches(pattern, subject) for pattern in self.publish_deny)

    def may_subscribe(self, pattern: str) -> bool:
        """Return whether a subscription to `pattern` is accepted."""
        allowed = self.connect and any(covers(wide, pattern) for wide in self.subscribe)
        return allowed and not any(covers(wide, pattern) for wide in self.subscribe_deny)


@dataclass(frozen=True, slots=True)
class _Grant:
    """One action on one resource, as subject patterns; no pattern for `iot:Connect`."""

    allow: bool
    action: str
    patterns: tuple[str, ...]


def check_document(document: object) -> dict[str, Any]:
    """Return the policy if the broker can enforce every word of it.

    Raises:
        InvalidInput: It is no policy, or says what a subject permission cannot; the message names the place.
    """
    for statement in _statements(document):
        _grants(statement, _Placeholders())
    assert isinstance(document, dict)
    return document


def compile_policies(
    documents: Iterable[Mapping[str, Any]], *, thing: str, attributes: Mapping[str, str]
) -> Permissions:
    """Return what `thing` may do under all of `documents` together.

    A resource that names an attribute which the thing lacks matches nothing, as in AWS IoT.
    """
    grants: list[_Grant] = []
    for document in documents:
        for statement in _statements(document):
            grants += _grants(statement, _Values(thing, attributes))

    def of(action: str, *, allow: bool) -> list[str]:
        found = (grant for grant in grants if grant.action == action and grant.allow is allow)
        return [pattern for grant in found for pattern in grant.patterns]

    connects = {grant.allow for grant in grants if grant.action == "iot:Connect"}
    heard = (
        intersection(wanted, received)
        for wanted in without_covered(of("iot:Subscribe", allow=True))
        for received in without_covered(of("iot:Receive", allow=True))
    )
    silent = of("iot:Subscribe", allow=False) + of("iot:Receive", allow=False)
    subscribe = without_covered(pattern for pattern in heard if pattern is not None)
    if silent and any(pattern[0] in "*>" for pattern in subscribe):
        # `$MQTT/+/+` would hear what is delivered to others at QoS 1, past the denials. Such a thing subscribes
        # at QoS 0 only.
        silent.append("$MQTT.>")
    return Permissions(
        connect=connects == {True},
        publish=without_covered(of("iot:Publish", allow=True)),
        subscribe=subscribe,
        publish_deny=without_covered([*NEVER_PUBLISH, *of("iot:Publish", allow=False)]),
        subscribe_deny=without_covered([*NEVER_SUBSCRIBE, *silent]),
    )


def allows(permissions: Permissions, *, action: str, resource: str) -> bool:
    """Return whether compiled permissions allow `action` on one topic, filter or client.

    Args:
        resource: A topic for Publish and Receive, a topic filter for Subscribe, a client id for Connect; with or
            without `topic/`, `topicfilter/`, `client/` or an ARN before it.

    Raises:
        InvalidInput: The action or the resource is none.
    """
    kind = KINDS.get(action)
    if kind is None:
        raise InvalidInput(f"action: expected one of {', '.join(KINDS)}, got {shown(action)}")
    text = _without_arn(resource)
    text = text.removeprefix(f"{kind}/")
    if action == "iot:Connect":
        return permissions.connect
    if action == "iot:Publish":
        return not reserved(text) and permissions.may_publish(subject_for(text))
    if action == "iot:Receive":
        return permissions.may_subscribe(subject_for(text))
    return all(permissions.may_subscribe(pattern) for pattern in patterns_for(text))


def reserved(topic: str) -> bool:
    """Return whether a topic is the broker's own (MQTT 3.1.1 section 4.7.2): no thing may publish there.

    The broker cannot deny a part of a level, so what it lets pass is dropped behind it and told as forbidden.
    """
    return topic.startswith("$")


class _Values:
    """The variables of one thing; None for an attribute that it lacks."""

    def __init__(self, thing: str, attributes: Mapping[str, str]) -> None:
        self._thing, self._attributes = thing, attributes

    def get(self, variable: str) -> str | None:
        if variable in ("iot:ClientId", "iot:Connection.Thing.ThingName"):
            return self._thing
        if match := _ATTRIBUTE.fullmatch(variable):
            return self._attributes.get(match[1])
        raise InvalidInput(
            "Resource: expected one of the variables iot:ClientId, iot:Connection.Thing.ThingName and "
            f"iot:Connection.Thing.Attributes[...], got {shown(variable)}"
        )


class _Placeholders(_Values):
    """Stand-ins for a policy that is checked before it has a thing."""

    def __init__(self) -> None:
        super().__init__("thing", {})

    def get(self, variable: str) -> str | None:
        return super().get(variable) or "value"


def _statements(document: object) -> list[Mapping[str, Any]]:
    if not isinstance(document, Mapping):
        raise InvalidInput(f"document: expected a policy as a JSON object, got {shown(document)}")
    if document.get("Version", "2012-10-17") != "2012-10-17" or set(document) - {
        "Version",
        "Id",
        "Statement",
    }:
        raise InvalidInput(
            f"document: expected Version 2012-10-17 and Statement alone, got {shown(sorted(map(str, document)))}"
        )
    found = document.get("Statement")
    statements = [found] if isinstance(found, Mapping) else found
    if not isinstance(statements, list) or not 1 <= len(statements) <= _MOST_STATEMENTS:
        raise InvalidInput(f"Statement: expected 1 to {_MOST_STATEMENTS} statements, got {shown(found)}")
    return [_checked(statement) for statement in statements]


def _checked(statement: object) -> Mapping[str, Any]:
    if not isinstance(statement, Mapping):
        raise InvalidInput(f"Statement: expected a JSON object, got {shown(statement)}")
    if strange := set(statement) - _STATEMENT_KEYS:
        raise InvalidInput(
            f"Statement: expected Effect, Action and Resource; the broker cannot say {shown(sorted(map(str, strange)))}"
        )
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise InvalidInput(f"Effect: expected Allow or Deny, got {shown(statement.get('Effect'))}")
    return statement


def _grants(statement: Mapping[str, Any], values: _Values) -> list[_Grant]:
    allow = statement["Effect"] == "Allow"
    actions = [name for text in _texts(statement, "Action") for name in _actions(text)]
    grants, fitting = [], False
    for resource in _texts(statement, "Resource"):
        for action in actions:
            kind, _, text = _without_arn(resource).partition("/")
            if resource == "*" or _without_arn(resource) == "*":
                kind, text = KINDS[action], "*"
            if kind not in KINDS.values():
                raise InvalidInput(
                    f"Resource: expected topic/..., topicfilter/..., client/... or *, got {shown(resource)}"
                )
            if kind != KINDS[action]:
                continue
            fitting = True
            patterns = _client(text) if kind == "client" else _patterns(text, values)
            if patterns is not None:
                grants.append(_Grant(allow, action, patterns))
    if not fitting:
        pairs = ", ".join(f"{kind}/ for {action}" for action, kind in KINDS.items())
        raise InvalidInput(
            f"Resource: expected one that fits the action ({pairs}), got {shown(dict(statement))}"
        )
    return grants


def _actions(text: str) -> list[str]:
    if text in ("*", "iot:*"):
        return list(KINDS)
    if text not in KINDS:
        raise InvalidInput(f"Action: expected one of {', '.join(KINDS)}, iot:* and *, got {shown(text)}")
    return [text]


def _texts(statement: Mapping[str, Any], field: str) -> list[str]:
    found = statement.get(field)
    texts = [found] if isinstance(found, str) else found
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise InvalidInput(f"{field}: expected a text or a list of texts, got {shown(found)}")
    return texts


def _without_arn(resource: str) -> str:
    match = _ARN.fullmatch(resource)
    return match[1] if match else resource


def _client(text: str) -> tuple[str, ...]:
    if text != "*":
        raise InvalidInput(
            f"Resource: expected client/*, got {shown('client/' + text)}; a thing is known by its certificate, "
            "and the broker cannot tie it to a client id"
        )
    return ()


def _patterns(text: str, values: _Values) -> tuple[str, ...] | None:
    """Return the subject patterns of a topic resource, or None when it names an attribute that is not there."""
    missing = False
    if text.startswith(("$", "_INBOX")) and not text.startswith("${"):
        raise InvalidInput(f"Resource: expected no topic of the broker's own, got {shown(text)}")

    def value(match: re.Match[str]) -> str:
        nonlocal missing
        found = values.get(match[1])
        missing = missing or found is None
        return found or ""

    wanted = _VARIABLE.sub(value, text)
    if missing:
        return None
    if wanted == "*":
        return (">",)
    if wanted.endswith("/*") and not any(sign in wanted[:-2] for sign in "*?#"):
        # A last `*` means any remainder of at least one character in AWS, of at least one level here: the same.
        return (patterns_for(wanted[:-1] + "x")[0][:-1] + ">",)
    if "*" in wanted or "?" in wanted:
        raise InvalidInput(
            f"Resource: expected '*' as the whole last level or '+' for one level, got {shown(text)}; "
            "the broker cannot match a part of a level"
        )
    return patterns_for(wanted)
