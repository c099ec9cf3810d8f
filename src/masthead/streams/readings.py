"""Readings as they cross the durable log: one message of the log carries one packed batch.

    magic "MR" | version u8 | count u32 | count x ( topic u16 | payload u32 | thing u16 | arrived f64 |
                                                    topic bytes | payload bytes | thing bytes )

Integers are little-endian; texts are UTF-8; a thing length of 65535 says that no thing is known.
Pure: bytes in, values out.
"""

import json
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from masthead.base.errors import InvalidInput

_MAGIC = b"MR\x01"
_START = struct.Struct("<3sI")
_HEAD = struct.Struct("<HIHd")
_NO_THING = 0xFFFF
_MAX_TEXT = _NO_THING - 1
_MAX_PAYLOAD = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Reading:
    """One published message: topic with `/`, the bytes as sent, when it arrived (epoch s), who sent it."""

    topic: str
    payload: bytes
    arrived: float
    thing: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """The readings of one message of the log. Sequences rise, gaps are legal; (sequence, index) is an identity."""

    sequence: int
    readings: tuple[Reading, ...]


class Ingest(Protocol):
    """Stores readings durably and returns the sequence of each; with `partly` perhaps of the first ones only."""

    def __call__(self, readings: Sequence[Reading], *, partly: bool = False) -> Sequence[int]: ...


def pack(readings: Iterable[Reading]) -> bytes:
    """Return the readings as one message.

    Raises:
        InvalidInput: A topic or thing over 65,534 bytes or not UTF-8, a payload over 4 GiB, a time not finite.

    >>> unpack(pack([Reading("air/b-101", b"{}", 1.5, "b-101")]))[0].thing
    'b-101'
    """
    parts = [b""]
    for reading in readings:
        topic = _encoded(reading.topic, "topic")
        thing = b"" if reading.thing is None else _encoded(reading.thing, "thing")
        if len(reading.payload) > _MAX_PAYLOAD:
            raise InvalidInput(f"payload: expected at most {_MAX_PAYLOAD} bytes, got {len(reading.payload)}")
        if not math.isfinite(reading.arrived):
            raise InvalidInput(f"arrived: expected seconds since the epoch, got {reading.arrived}")
        thing_length = _NO_THING if reading.thing is None else len(thing)
        parts.append(_HEAD.pack(len(topic), len(reading.payload), thing_length, reading.arrived))
        parts += (topic, reading.payload, thing)
    parts[0] = _START.pack(_MAGIC, len(parts) // 4)
    return b"".join(parts)


def unpack(data: bytes) -> tuple[Reading, ...]:
    """Return the readings of one message, in their order.

    Raises:
        InvalidInput: The bytes were not made by `pack`.
    """
    if len(data) < _START.size or data[:3] != _MAGIC:
        raise InvalidInput(f"batch: expected packed readings of version 1, got {len(data)} other bytes")
    count = _START.unpack_from(data)[1]
    if count * _HEAD.size > len(data):
        raise InvalidInput(f"batch: expected {count} readings, got {len(data)} bytes")
    data = bytes(data)
    readings: list[Reading] = []
    place = _START.size
    try:
        for _ in range(count):
            topic_length, payload_length, thing_length, arrived = _HEAD.unpack_from(data, place)
            topic_end = place + _HEAD.size + topic_length
            payload_end = topic_end + payload_length
            thing = None
            place, start = payload_end, place + _HEAD.size
            if thing_length != _NO_THING:
                place += thing_length
                thing = data[payload_end:place].decode()
            if not math.isfinite(arrived):
                raise InvalidInput(f"batch: expected a finite arrival time, got {arrived}")
            topic = data[start:topic_end].decode()
            readings.append(Reading(topic, data[topic_end:payload_end], arrived, thing))
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"batch: expected {count} whole readings, got a break in number {len(readings)}"
        ) from error
    if place != len(data):
        raise InvalidInput(f"batch: expected {place} bytes, got {len(data)}")
    return tuple(readings)


def _encoded(text: str, field: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"{field}: expected text that UTF-8 can carry, got {text!r}") from error
    if len(data) > _MAX_TEXT:
        raise InvalidInput(f"{field}: expected at most {_MAX_TEXT} bytes, got {len(data)}")
    return data


def json_value(data: bytes) -> Any:
    """Return the JSON value that a reading holds; NaN, which Python's json and others write, is null, as it is in files.

    Infinity is infinite: whoever wants a number refuses that value and no other.

    Raises:
        orjson.JSONDecodeError: It is no JSON.

    >>> json_value(b'{"CO": NaN, "NO2": 3}')
    {'CO': None, 'NO2': 3}
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if not _may_hold_constants(data):
            raise
        try:
            return json.loads(
                data.decode(), parse_constant=lambda name: None if name == "NaN" else float(name)
            )
        except (ValueError, RecursionError):
            pass
        raise


def is_strict_json(data: bytes) -> bool:
    """Return whether what `json_value` reads is JSON for everybody: no number in it is NaN or infinite."""
    if not _may_hold_constants(data):
        return True
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _may_hold_constants(data: bytes) -> bool:
    return b"NaN" in data or b"Infinity" in data
