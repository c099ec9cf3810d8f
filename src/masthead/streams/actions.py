"""Rule actions that leave the house: a bounded queue, one thread, at least once each, in order.

Who can send (a NATS subject, a webhook) is registered by the faces. A reading's actions are owed until its sender
returned or all tries failed; `owed_from` says from which sequence the log must be read again after a crash.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from masthead.base.errors import InvalidInput
from masthead.streams.readings import Reading

MOST_WAITING = 5000
TRY_DELAYS_S = (
    0.0,
    1.0,
    5.0,
    15.0,
)  # then the rule's error action; a dead receiver must not stop the others for long

Sender = Callable[[Mapping[str, Any], bytes, Reading], None]


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to send: the action as its rule says it, the selected payload, and the reading behind it."""

    sequence: int
    rule: str
    action: Mapping[str, Any]
    payload: bytes
    reading: Reading


@dataclass(frozen=True, slots=True)
class Failure:
    """An action that failed for good, with the last reason."""

    action: Action
    reason: str


class Outbox:
    """The queue. `put` from the reading thread; a daemon thread of its own sends."""

    def __init__(self, *, delays_s: tuple[float, ...] = TRY_DELAYS_S) -> None:
        self._senders: dict[str, Sender] = {}
        self._delays_s = delays_s
        self._waiting: deque[Action] = deque()
        self._failures: deque[Failure] = deque()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def register(self, kind: str, sender: Sender) -> None:
        """Let actions of a kind go through `sender(action, payload, reading)`, which raises what went wrong."""
        self._senders[kind] = sender

    def put(self, action: Action) -> None:
        """Queue an action; one that nobody can send fails at once."""
        with self._changed:
            self._waiting.append(action)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rule-actions", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def has_room(self) -> bool:
        """Return whether more may come; while not, the log is not read on."""
        return len(self._waiting) < MOST_WAITING

    def owed_from(self) -> int | None:
        """Return the lowest sequence with an action that is not settled, or None."""
        with self._changed:
            sequences = [each.sequence for each in self._waiting] + [
                each.action.sequence for each in self._failures
            ]
            return min(sequences, default=None)

    def failures(self) -> list[Failure]:
        """Return the actions that failed for good since the last call; settle them before the next `owed_from`."""
        with self._changed:
            found = list(self._failures)
            self._failures.clear()
            return found

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Return whether everything was sent or failed in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, timeout_s)

    def close(self) -> None:
        """Stop sending; what waits is owed and sent after the next start."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=35)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                action = self._waiting[0]
            reason = self._send(action)
            if reason is None and self._stopping.is_set():
                return
            with self._changed:
                if reason:
                    self._failures.append(Failure(action, reason))
                self._waiting.popleft()
                self._changed.notify_all()

    def _send(self, action: Action) -> str | None:
        """Send, with waits between tries. Return "" when it is sent, the reason when it failed, None when stopping."""
        sender = self._senders.get(action.action["kind"])
        if sender is None:
            return f"kind: nothing here sends {action.action['kind']}"
        reason = ""
        for delay_s in self._delays_s:
            if self._stopping.wait(delay_s):
                return None
            try:
                sender(action.action, action.payload, action.reading)
            except InvalidInput as error:  # no later try would mend it
                return error.message
            except Exception as error:  # whatever the receiver does: it is tried again, then told
                reason = f"{type(error).__name__}: {error}"[:500]
            else:
                return ""
        return reason
