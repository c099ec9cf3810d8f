"""What a thing published against its policies: read from the broker's log and told to its owner.

MQTT 3.1.1 has no refusal: the broker acknowledges a forbidden publish, drops it and writes a line. The line
names the connection by number; the broker is asked whose certificate it came with.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from nats.aio.client import Client

from masthead.access.subjects import topic_for
from masthead.base.errors import shown
from masthead.base.log import get_logger
from masthead.devices.telemetry import FORBIDDEN

_LOG = get_logger("devices")
_LINE = re.compile(r'\S+ - mid:(\d+) - "(?:[^"\\]|\\.)*" - Publish Violation - Subject "((?:[^"\\]|\\.)*)"')
_MOST_WAITING = 10_000
_PAGE = 1024
_ALL_STATES = 2
_THING = re.compile(r"OU=[0-9a-f]{40},CN=([A-Za-z0-9_-]+)")


def parse_line(text: str) -> tuple[int, str] | None:
    """Return connection number and topic of a publish violation, or None for any other line.

    >>> parse_line('127.0.0.1:1 - mid:27 - "c" - Publish Violation - Subject "air.b"')
    (27, 'air/b')
    """
    match = _LINE.fullmatch(text)
    if not match:
        return None
    try:
        subject = json.loads(f'"{match[2]}"')
    except ValueError:  # Go's quoting knows escapes that JSON does not
        subject = match[2]
    return int(match[1]), topic_for(str(subject))


def thing_of(user: str) -> str | None:
    """Return the thing whose certificate has this subject."""
    match = _THING.fullmatch(user)
    return match[1] if match else None


class Violations:
    """Counts between two calls of `tell`; a device that floods costs a count, not a row each."""

    def __init__(self, record: Callable[[str, str, int], None]) -> None:
        """Prepare; `record(thing, topic, count)` may touch the database."""
        self._record = record
        self._lock = threading.Lock()
        self._waiting: Counter[tuple[int, str]] = Counter()
        self._named: Counter[tuple[str, str]] = Counter()

    def note(self, text: str) -> bool:
        """Take a line of the log, from any thread; return whether it was a violation."""
        found = parse_line(text)
        if found is None:
            return False
        with self._lock:
            if found in self._waiting or len(self._waiting) < _MOST_WAITING:
                self._waiting[found] += 1
        return True

    def note_reserved(self, thing: str | None, topic: str) -> None:
        """Take a publish that the broker let pass and we do not."""
        found = (thing or "unknown", topic)
        with self._lock:
            if found in self._named or len(self._named) < _MOST_WAITING:
                self._named[found] += 1

    def waits(self) -> bool:
        """Return whether there is something to tell."""
        return bool(self._waiting or self._named)

    def take(self) -> Counter[tuple[int, str]]:
        """Return and forget what was noted."""
        with self._lock:
            found, self._waiting = self._waiting, Counter()
        return found

    def tell(self, counts: Counter[tuple[int, str]], things: dict[int, str]) -> None:
        """Record each count under the thing that the connection belongs to."""
        with self._lock:
            by_thing, self._named = self._named, Counter()
        for (connection, topic), count in counts.items():
            by_thing[things.get(connection, "unknown"), topic] += count
        for (thing, topic), count in by_thing.items():
            FORBIDDEN.labels(thing).inc(count)
            self._record(thing, topic, count)
            _LOG.warning("forbidden publish", thing=thing, topic=shown(topic), count=count)


async def connections(system: Client, *, closed: bool = False) -> list[dict[str, Any]]:
    """Return the broker's MQTT connections (`cid`, `authorized_user`, `mqtt_client`, ...); with `closed` the late ones too."""
    found: list[dict[str, Any]] = []
    while True:
        request: dict[str, Any] = {"auth": True, "limit": _PAGE, "offset": len(found)}
        if closed:
            request["state"] = _ALL_STATES
        answer = await system.request("$SYS.REQ.SERVER.PING.CONNZ", json.dumps(request).encode(), timeout=5)
        page = json.loads(answer.data).get("data", {}).get("connections") or []
        found += page
        if len(page) < _PAGE:
            return [one for one in found if one.get("type") == "mqtt" or one.get("mqtt_client")]


def things_by_connection(found: list[dict[str, Any]]) -> dict[int, str]:
    """Return the thing behind each connection number."""
    named = ((one["cid"], thing_of(one.get("authorized_user", ""))) for one in found)
    return {cid: thing for cid, thing in named if thing}
