"""Two things under one client id: read from the broker's log and told to their owner.

MQTT 3.1.1 section 3.1.4 has the broker end the session that an id had before. Two that insist cut each other about
once a second, and each sees only a lost connection. A thing that follows itself is one that came back after its network
had failed, and is not told.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable

from masthead.base.errors import shown
from masthead.base.log import get_logger
from masthead.devices.telemetry import TAKEOVERS

_LOG = get_logger("devices")
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_LINE = re.compile(
    rf"\S+ - mid:(\d+) - {_QUOTED} - Replacing old client ({_QUOTED}) since both have the same client ID ({_QUOTED})"
)
_OLD = re.compile(rf"\S+ - mid:(\d+) - {_QUOTED}")
_MOST_WAITING = 10_000


def parse_takeover(text: str) -> tuple[int, int, str] | None:
    """Return the connection that was ended, the one that ended it, and their client id; None for any other line.

    >>> parse_takeover(
    ...     '1.2.3.4:5 - mid:23 - "c" - Replacing old client "1.2.3.4:4 - mid:19 - \\\\"c\\\\"" since both '
    ...     'have the same client ID "c"'
    ... )
    (19, 23, 'c')
    """
    match = _LINE.fullmatch(text)
    if not match:
        return None
    try:
        old, client_id = _OLD.fullmatch(json.loads(match[2])), json.loads(match[3])
    except ValueError:  # Go's quoting knows escapes that JSON does not; the broker takes no such client id
        return None
    return (int(old[1]), int(match[1]), str(client_id)) if old else None


class Takeovers:
    """Counts between two calls of `tell`."""

    def __init__(self, record: Callable[[str, str, str, int], None]) -> None:
        """Prepare; `record(client id, thing, thing that ended its session, count)` may touch the database."""
        self._record = record
        self._lock = threading.Lock()
        self._waiting: Counter[tuple[int, int, str]] = Counter()

    def note(self, text: str) -> None:
        """Take a line of the log, from any thread."""
        found = parse_takeover(text)
        if found is None:
            return
        with self._lock:
            if found in self._waiting or len(self._waiting) < _MOST_WAITING:
                self._waiting[found] += 1

    def take(self) -> Counter[tuple[int, int, str]]:
        """Return and forget what was noted."""
        with self._lock:
            found, self._waiting = self._waiting, Counter()
        return found

    def tell(self, counts: Counter[tuple[int, int, str]], things: dict[int, str]) -> None:
        """Record what one thing did to another; `things` are those behind the connections."""
        told: Counter[tuple[str, str, str]] = Counter()
        for (ended, by, client_id), count in counts.items():
            names = things.get(ended), things.get(by)
            if names[0] and names[1] and names[0] != names[1]:
                told[client_id, names[0], names[1]] += count
        for (client_id, thing, other), count in told.items():
            TAKEOVERS.labels(thing).inc(count)
            self._record(client_id, thing, other, count)
            _LOG.warning(
                "two things under one client id",
                client_id=shown(client_id),
                thing=thing,
                by=other,
                count=count,
            )
