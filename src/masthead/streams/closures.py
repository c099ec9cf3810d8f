"""The closures that expressions become: each takes a payload and its message, and gives a value or Undefined. Pure."""

import hashlib
import uuid
from collections.abc import Callable
from typing import Any

from masthead.streams.values import UNDEFINED, Message, Undefined, arithmetic, equal, truth

Expression = Callable[[dict[str, Any], Message], Any]


def constant(value: Any) -> Expression:
    return lambda payload, message: value


def walk(steps: list[str | int]) -> Expression:
    if len(steps) == 1:
        only = steps[0]
        return lambda payload, message: payload.get(only, UNDEFINED)  # type: ignore[arg-type]

    def walk(payload: dict[str, Any], message: Message) -> Any:
        value: Any = payload
        for step in steps:
            if isinstance(step, int):
                value = value[step] if isinstance(value, list) and step < len(value) else UNDEFINED
            else:
                value = value.get(step, UNDEFINED) if isinstance(value, dict) else UNDEFINED
        return value

    return walk


def pair(function: Callable[[Any, Any], Any], left: Expression, right: Expression) -> Expression:
    return lambda payload, message: function(left(payload, message), right(payload, message))


def applied(function: Callable[..., Any], arguments: list[Expression]) -> Expression:
    return lambda payload, message: function(*[argument(payload, message) for argument in arguments])


def either(parts: list[Expression]) -> Expression:
    """OR: true if any is true, else Undefined if any is Undefined, else false."""

    def either(payload: dict[str, Any], message: Message) -> Any:
        known: bool | Undefined = False
        for part in parts:
            value = truth(part(payload, message))
            if value is True:
                return True
            if isinstance(value, Undefined):
                known = value
        return known

    return either


def every(parts: list[Expression]) -> Expression:
    """AND: false if any is false, else Undefined if any is Undefined, else true."""

    def every(payload: dict[str, Any], message: Message) -> Any:
        known: bool | Undefined = True
        for part in parts:
            value = truth(part(payload, message))
            if value is False:
                return False
            if isinstance(value, Undefined):
                known = value
        return known

    return every


def negated(inner: Expression, flip: bool) -> Expression:
    def negated(payload: dict[str, Any], message: Message) -> Any:
        value = truth(inner(payload, message))
        return value if isinstance(value, Undefined) else value is not flip

    return negated


def signed(inner: Expression, sign: int) -> Expression:
    multiply = arithmetic("*")
    return lambda payload, message: multiply(inner(payload, message), sign)


def folded(first: Expression, rest: list[tuple[Callable[[Any, Any], Any], Expression]]) -> Expression:
    def folded(payload: dict[str, Any], message: Message) -> Any:
        value = first(payload, message)
        for function, operand in rest:
            value = function(value, operand(payload, message))
        return value

    return folded


def among(left: Expression, options: list[Expression]) -> Expression:
    def among(payload: dict[str, Any], message: Message) -> Any:
        return _contains([option(payload, message) for option in options], left(payload, message))

    return among


def within(left: Expression, array: Expression) -> Expression:
    def within(payload: dict[str, Any], message: Message) -> Any:
        items = array(payload, message)
        return _contains(items, left(payload, message)) if isinstance(items, list) else UNDEFINED

    return within


def within_or_equal(left: Expression, only: Expression) -> Expression:
    def test(payload: dict[str, Any], message: Message) -> Any:
        items = only(payload, message)
        return _contains(items if isinstance(items, list) else [items], left(payload, message))

    return test


def _contains(items: list[Any], value: Any) -> bool | Undefined:
    if isinstance(value, Undefined):
        return UNDEFINED
    return any(equal(item, value) is True for item in items)


def choice(branches: list[tuple[Expression, Expression]], default: Expression) -> Expression:
    def choice(payload: dict[str, Any], message: Message) -> Any:
        for test, value in branches:
            if test(payload, message) is True:
                return value(payload, message)
        return default(payload, message)

    return choice


def topic_level(level: int) -> Expression:
    def topic_level(payload: dict[str, Any], message: Message) -> Any:
        levels = message.topic.split("/")
        return levels[level - 1] if level <= len(levels) else UNDEFINED

    return topic_level


def drawn_uuid(number: int) -> Expression:
    """newuuid(): drawn from the reading's place in the log, so that a replay after a crash gives the same one."""

    def new_uuid(payload: dict[str, Any], message: Message) -> str:
        seed = f"{message.sequence}/{message.index}/{number}/{message.arrived!r}/{message.topic}"
        digest = hashlib.blake2b(seed.encode(errors="replace"), digest_size=16).digest()
        return str(uuid.UUID(bytes=digest, version=4))

    return new_uuid


CONTEXT: dict[str, Expression] = {
    "topic": lambda payload, message: message.topic,
    "timestamp": lambda payload, message: int(message.arrived * 1000),
    "clientid": lambda payload, message: message.thing if message.thing is not None else "n/a",
}
