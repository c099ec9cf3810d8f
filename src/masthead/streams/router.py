"""Which reading goes where: rules evaluated once per reading, results sorted by receiver. Pure but for its counters."""

import base64
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from prometheus_client import Counter

from masthead.base.clock import utc
from masthead.base.errors import InvalidInput
from masthead.base.log import Journal
from masthead.base.telemetry import REGISTRY
from masthead.streams.actions import Action
from masthead.streams.delivery import Entry, parsed_object
from masthead.streams.readings import Batch, Reading, is_strict_json, json_value
from masthead.streams.records import Configuration, TopicRule
from masthead.streams.rules import Rule, parse_rule
from masthead.streams.topics import compile_filter
from masthead.streams.values import Message
from masthead.streams.works import DECISIONS, REFUSED

DIRECT = "$streams/"  # a reading on `$streams/NAME` goes to that delivery stream as it is, past all rules
_MOST_TOPICS = 10_000  # topics whose rules are remembered
_MOST_REASONS = 10  # of a report, that are told each
_OTHERS = "other reasons, which are not told each"
_NO_OBJECT = "payload: expected a JSON object"

MATCHED = Counter("masthead_rule_matched", "Readings that a rule selected.", ["rule"], registry=REGISTRY)
FAILED = Counter(
    "masthead_rule_errors", "Readings or actions that failed in a rule.", ["rule"], registry=REGISTRY
)


@dataclass(frozen=True, slots=True)
class Record:
    """One reading for a detector: the selected fields, who sent it, when it arrived (epoch s), the bytes as sent.

    `fields` is empty for a payload that is no JSON object.
    """

    fields: dict[str, Any]
    thing: str | None
    arrived: float
    raw: bytes


@dataclass(frozen=True, slots=True)
class Routed:
    """The records of one sequence for one detector, in the order of arrival."""

    detector: str
    sequence: int
    records: tuple[Record, ...]


@dataclass(slots=True)
class Routing:
    """All that one batch leads to."""

    sequence: int
    entries: dict[str, list[Entry]] = field(default_factory=dict)
    actions: list[Action] = field(default_factory=list)
    records: dict[str, list[Record]] = field(default_factory=dict)

    @property
    def routed(self) -> list[Routed]:
        return [Routed(name, self.sequence, tuple(records)) for name, records in self.records.items()]


@dataclass(slots=True)
class _Compiled:
    """A rule with its statement parsed, and what it counted since the last report.

    Attributes:
        target: The action for what fails; None: the error place of its first delivery stream, if it has one.
        reasons: Reason -> how often; the first few, and what others there were.
    """

    rule: TopicRule
    parsed: Rule
    separators: list[tuple[dict[str, Any], bytes | None]]
    target: dict[str, Any] | None
    splits: bool  # an array of objects is taken as several records
    matched: int = 0
    errors: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class Router:
    """The rules and routes of one configuration.

    Args:
        routes: Detector -> topic filter. by_rule: Detector -> rule whose selection it reads.
    """

    def __init__(
        self,
        configuration: Configuration,
        routes: Mapping[str, str],
        journal: Journal,
        by_rule: Mapping[str, str] | None = None,
    ) -> None:
        self._streams = configuration.streams
        self._journal = journal
        self._rules: dict[str, _Compiled] = {}
        for rule in configuration.rules.values():
            if rule.enabled:
                readers = [name for name, wanted in (by_rule or {}).items() if wanted == rule.name]
                with self._alone("rule", rule.name):
                    self._rules[rule.name] = _compiled(rule, readers)
        self._routes: dict[str, Callable[[str], bool]] = {}
        for name, text in sorted(routes.items()):
            with self._alone("detector", name):
                self._routes[name] = compile_filter(text)
        self._by_topic: dict[str, tuple[list[_Compiled], list[str]]] = {}

    def route(self, batch: Batch) -> Routing:
        """Return where each reading of the batch goes."""
        routing = Routing(batch.sequence)
        for index, reading in enumerate(batch.readings):
            if reading.topic.startswith(DIRECT):
                self._direct(routing, reading)
                continue
            rules, detectors = self._by_topic.get(reading.topic) or self._receivers(reading.topic)
            if not rules and not detectors:
                continue
            payload = parsed_object(reading.payload)
            for name in detectors:
                routing.records.setdefault(name, []).append(
                    Record(payload or {}, reading.thing, reading.arrived, reading.payload)
                )
            message = Message(reading.topic, reading.thing, reading.arrived, batch.sequence, index)
            for compiled in rules:
                if payload is not None:
                    self._evaluate(compiled, payload, reading, message, routing, whole=True)
                elif compiled.splits and (elements := _parsed_array(reading.payload)):
                    for element in elements:
                        self._evaluate(compiled, element, reading, message, routing, whole=False)
                else:
                    self._fail(compiled, reading, routing, reason=_NO_OBJECT, action="sql")
        return routing

    def failed_action(self, action: Action, reason: str) -> Routing:
        """Return where an action that failed for good goes: its rule's error action, if there is one."""
        routing = Routing(action.sequence)
        compiled = self._rules.get(action.rule)
        is_error_action = compiled is not None and action.action == compiled.target
        if compiled is not None and not is_error_action:
            self._fail(compiled, action.reading, routing, reason=reason, action=action.action["kind"])
        else:
            self._journal.write("rule", action.rule, "action failed", error=reason)
        return routing

    def test(self, rule: TopicRule, reading: Reading) -> dict[str, Any]:
        """Return what a rule makes of one reading: matched, result, error, actions."""
        parsed = parse_rule(rule.sql)
        answer: dict[str, Any] = {
            "matched": False,
            "result": None,
            "error": None,
            "actions": list(rule.actions),
        }
        if not parsed.matches(reading.topic):
            return answer | {"error": f"topic: {reading.topic} is not taken by {parsed.topic}"}
        payload = parsed_object(reading.payload)
        if payload is None:
            return answer | {"error": _NO_OBJECT}
        result = parsed.select(payload, Message(reading.topic, reading.thing, reading.arrived))
        return answer | {"matched": result is not None, "result": result}

    def report(self) -> None:
        """Write what failed since the last call to the rules' logs and counters: one line a reason, however many failed."""
        for name, compiled in self._rules.items():
            if compiled.matched:
                MATCHED.labels(name).inc(compiled.matched)
            if compiled.errors:
                FAILED.labels(name).inc(compiled.errors)
                for reason, count in compiled.reasons.items():
                    self._journal.write("rule", name, "failed", count=count, error=reason)
            compiled.matched = compiled.errors = 0
            compiled.reasons.clear()

    @contextlib.contextmanager
    def _alone(self, kind: str, name: str) -> Iterator[None]:
        """Leave out a stored rule or route that cannot be used: its log tells why, and the others are served."""
        try:
            yield
        except InvalidInput as error:
            self._journal.write(kind, name, "takes no readings", reason=error.message)

    def _receivers(self, topic: str) -> tuple[list[_Compiled], list[str]]:
        if len(self._by_topic) >= _MOST_TOPICS:
            self._by_topic.clear()
        rules = [compiled for compiled in self._rules.values() if compiled.parsed.matches(topic)]
        found = (rules, [name for name, matches in self._routes.items() if matches(topic)])
        self._by_topic[topic] = found
        return found

    def _direct(self, routing: Routing, reading: Reading) -> None:
        stream = self._streams.get(reading.topic.removeprefix(DIRECT))
        if stream is not None:
            separator = stream.separator.encode()
            line = reading.payload if reading.payload.endswith(separator) else reading.payload + separator
            routing.entries.setdefault(stream.name, []).append(Entry(reading, line))

    def _evaluate(
        self,
        compiled: _Compiled,
        payload: dict[str, Any],
        reading: Reading,
        message: Message,
        routing: Routing,
        *,
        whole: bool,
    ) -> None:
        result = compiled.parsed.select(payload, message)
        if result is None:
            return
        try:
            line = _line(result, reading.payload if whole and compiled.parsed.takes_all else None)
        except (TypeError, ValueError) as error:
            self._fail(compiled, reading, routing, reason=f"result: {error}", action="sql")
            return
        compiled.matched += 1
        for action, separator in compiled.separators:
            self._act(compiled, action, separator, result, line, reading, routing)

    def _act(
        self,
        compiled: _Compiled,
        action: dict[str, Any],
        separator: bytes | None,
        result: dict[str, Any],
        line: bytes,
        reading: Reading,
        routing: Routing,
    ) -> None:
        kind = action["kind"]
        if kind == "delivery_stream":
            stream = self._streams.get(action["name"])
            if stream is None:
                reason = f"actions: there is no delivery stream {action['name']}"
                self._fail(compiled, reading, routing, reason=reason, action=kind)
                return
            end = stream.separator.encode() if separator is None else separator
            routing.entries.setdefault(stream.name, []).append(Entry(reading, line + end, result))
        elif kind == "detector":
            record = Record(result, reading.thing, reading.arrived, reading.payload)
            routing.records.setdefault(action["name"], []).append(record)
        else:
            routing.actions.append(Action(routing.sequence, compiled.rule.name, action, line, reading))

    def _fail(
        self, compiled: _Compiled, reading: Reading, routing: Routing, *, reason: str, action: str
    ) -> None:
        """Bring a reading to the rule's error action; without one, to the error place of its first delivery stream."""
        compiled.errors += 1
        kept = reason if reason in compiled.reasons or len(compiled.reasons) < _MOST_REASONS else _OTHERS
        compiled.reasons[kept] = compiled.reasons.get(kept, 0) + 1
        target = compiled.target
        if target is None:
            names = [each["name"] for each in compiled.rule.actions if each["kind"] == "delivery_stream"]
            known = [name for name in names if name in self._streams]
            if known:
                routing.entries.setdefault(known[0], []).append(Entry(reading, b"", error=reason))
            return
        document = _error_document(compiled.rule.name, reading, reason, action)
        line = orjson.dumps(document)
        if target["kind"] == "delivery_stream":
            stream = self._streams.get(target["name"])
            if stream is not None:
                entry = Entry(reading, line + stream.separator.encode(), document)
                if stream.event_time is not None:  # the document tells no event time
                    entry = Entry(reading, b"", error=reason)
                routing.entries.setdefault(stream.name, []).append(entry)
        elif target["kind"] == "detector":
            record = Record(document, reading.thing, reading.arrived, reading.payload)
            routing.records.setdefault(target["name"], []).append(record)
        else:
            routing.actions.append(Action(routing.sequence, compiled.rule.name, target, line, reading))


def _compiled(rule: TopicRule, readers: Sequence[str] = ()) -> _Compiled:
    """Return a rule ready for use; detectors that read it need not be named among its actions."""
    named = {action["name"] for action in rule.actions if action["kind"] == "detector"}
    implied = [{"kind": "detector", "name": name} for name in sorted(readers) if name not in named]
    separators = [(action, _separator_of(action)) for action in [*rule.actions, *implied]]
    splits = any(action.get("batch") for action in rule.actions)
    return _Compiled(rule, parse_rule(rule.sql), separators, _target_of(rule), splits)


def _target_of(rule: TopicRule) -> dict[str, Any] | None:
    """Return a rule's error action; without one, and without an error place, transactions have one beside decisions."""
    kinds = {action["kind"] for action in rule.actions}
    if rule.error_action is not None or "delivery_stream" in kinds or "fraud" not in kinds:
        return rule.error_action
    first = next(action for action in rule.actions if action["kind"] == "fraud")
    told = str(first.get("subject") or DECISIONS + first["name"])
    return {"kind": "subject", "name": told + (REFUSED.replace(".", "/") if "/" in told else REFUSED)}


def _separator_of(action: Mapping[str, Any]) -> bytes | None:
    separator = action.get("separator")
    return None if separator is None else str(separator).encode()


def _line(result: dict[str, Any], raw: bytes | None) -> bytes:
    """Return the record as one line of JSON; `SELECT *` passes the sender's own bytes, so that no digit changes."""
    if raw is not None and b"\n" not in raw and b"\r" not in raw and is_strict_json(raw):
        return raw.removeprefix(b"\xef\xbb\xbf").strip()
    return orjson.dumps(result)


def _parsed_array(data: bytes) -> list[dict[str, Any]]:
    try:
        found = json_value(data)
    except orjson.JSONDecodeError:
        return []
    is_list = isinstance(found, list) and all(isinstance(each, dict) for each in found)
    return found if is_list else []


def _error_document(rule: str, reading: Reading, reason: str, action: str) -> dict[str, Any]:
    return {
        "rule": rule,
        "topic": reading.topic,
        "thing": reading.thing,
        "arrived": utc(reading.arrived).isoformat(),
        "base64OriginalPayload": base64.b64encode(reading.payload).decode(),
        "failures": [{"failedAction": action, "errorMessage": reason}],
    }
