"""Rule actions that leave the house: for each rule and target a bounded queue, at least once each, in order.

Who can send (a NATS subject, a webhook) is registered by the faces. A reading's actions are owed until its sender
returned or all tries failed; `owed_from` says from which sequence the log must be read again after a crash. A target
that is dead or slow to answer occupies one of the threads while it is tried, none while it waits for its next try.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from masthead.base.errors import InvalidInput
from masthead.streams.readings import Reading

MOST_WAITING = 5000
WORKERS = 16  # so many targets may hang for their whole time limit before another one waits, as with alerts
TRY_DELAYS_S = (
    0.0,
    1.0,
    5.0,
    15.0,
)  # then the rule's error action; what follows must not wait for long behind a dead receiver

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


class Queue:
    """What every queue of actions is: some wait, some have failed for good, daemon threads settle the others."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._changed, self._work = threading.Condition(self._lock), threading.Condition(self._lock)
        self._failures: deque[Failure] = deque()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def has_room(self) -> bool:
        """Return whether more may come; while not, the log is not read on."""
        with self._lock:
            return sum(1 for _ in self._waiting_now()) < MOST_WAITING

    def owed_from(self) -> int | None:
        """Return the lowest sequence with an action that is not settled, or None."""
        with self._lock:
            failed = (each.action for each in self._failures)
            return min((each.sequence for each in chain(self._waiting_now(), failed)), default=None)

    def failures(self) -> list[Failure]:
        """Return the actions that failed for good since the last call; settle them before the next `owed_from`."""
        with self._lock:
            found = list(self._failures)
            self._failures.clear()
            return found

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Return whether everything was sent or failed in time."""
        with self._lock:
            return self._changed.wait_for(lambda: not any(True for _ in self._waiting_now()), timeout_s)

    def close(self) -> None:
        """Stop sending; what waits is owed and sent after the next start."""
        self._stopping.set()
        with self._lock:
            self._changed.notify_all()
            self._work.notify_all()
        deadline = time.monotonic() + 35
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _start_thread(self, name: str) -> None:
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _waiting_now(self) -> Iterable[Action]:
        """Return every action that is neither settled nor failed; under the lock."""
        raise NotImplementedError

    def _run(self) -> None:
        """Settle actions until the queue stops."""
        raise NotImplementedError


@dataclass(slots=True)
class _Lane:
    """What waits for one target of one rule, with the time since when; the first one is tried.

    Attributes:
        tries: Of the first one, all failed. lost: How many failed for good in a row. reason: Why the last try failed.
        due: When the first one may be tried. busy: It is being tried.
    """

    waiting: deque[tuple[float, Action]] = field(default_factory=deque)
    tries: int = 0
    lost: int = 0
    reason: str = ""
    due: float = 0.0
    busy: bool = False

    @property
    def fails(self) -> bool:
        return bool(self.tries or self.lost)


class Outbox(Queue):
    """The queues of what is sent. `put` from the reading thread; daemon threads send, a target's actions in order.

    An action has as many tries as there are delays. Behind one that failed for good each has one until a try succeeds,
    and when two in a row have failed so, those that have waited as long as all tries take fail with them.
    """

    def __init__(self, *, delays_s: tuple[float, ...] = TRY_DELAYS_S) -> None:
        super().__init__()
        self._senders: dict[str, Sender] = {}
        self._delays_s = delays_s
        self._lanes: dict[tuple[str, ...], _Lane] = {}  # in the order of their turns

    def register(self, kind: str, sender: Sender) -> None:
        """Let actions of a kind go through `sender(action, payload, reading)`, which raises what went wrong.

        What it raises as `InvalidInput` no later try would mend: it fails at once.
        """
        self._senders[kind] = sender

    def put(self, action: Action) -> None:
        """Queue an action; one that nobody can send, and one more for a target that fails and is full, fails at once."""
        with self._lock:
            lane = self._lanes.setdefault(_target(action), _Lane())
            if lane.fails and len(lane.waiting) >= MOST_WAITING:
                self._failures.append(Failure(action, f"{lane.reason}; {MOST_WAITING:,} wait for it already"))
                return
            lane.waiting.append((time.monotonic(), action))
            if len(self._threads) < min(WORKERS, len(self._lanes)):
                self._start_thread("rule-actions")
            if not lane.busy:
                self._work.notify()

    def has_room(self) -> bool:
        """Return whether more may come; what waits for targets that fail counts not, as it holds up no other."""
        with self._lock:
            return sum(len(lane.waiting) for lane in self._lanes.values() if not lane.fails) < MOST_WAITING

    def keep(self, rules: Collection[str]) -> None:
        """Forget what is owed for any other rule: it was deleted, and nobody wants its actions any more."""
        with self._lock:
            self._lanes = {key: lane for key, lane in self._lanes.items() if key[0] in rules}
            self._failures = deque(each for each in self._failures if each.action.rule in rules)
            self._changed.notify_all()

    def _waiting_now(self) -> Iterable[Action]:
        return (action for lane in self._lanes.values() for _, action in lane.waiting)

    def _run(self) -> None:
        while True:
            with self._lock:
                turn = self._next()
                if turn is None:
                    return
                key, lane = turn
                lane.busy, action = True, lane.waiting[0][1]
            reason, again = self._send(action)
            with self._lock:
                lane.busy = False
                if self._lanes.get(key) is lane:  # else its rule was deleted meanwhile
                    self._settle(lane, reason, again=again)
                    if not lane.waiting:
                        del self._lanes[key]
                self._changed.notify_all()
                self._work.notify()  # who waits may have to wake earlier now

    def _next(self) -> tuple[tuple[str, ...], _Lane] | None:
        """Return the lane whose turn it is, once there is one, and let it be the last from now on; None when stopping."""
        while not self._stopping.is_set():
            now, soonest = time.monotonic(), float("inf")
            for key, lane in self._lanes.items():
                if not lane.busy and lane.due <= now:
                    self._lanes[key] = self._lanes.pop(key)
                    return key, lane
                soonest = min(soonest, float("inf") if lane.busy else lane.due)
            self._work.wait(None if soonest == float("inf") else soonest - now)
        return None

    def _send(self, action: Action) -> tuple[str, bool]:
        """Try once. Return "" when it is sent, else the reason, and whether another try may mend it."""
        sender = self._senders.get(action.action["kind"])
        if sender is None:
            return f"kind: nothing here sends {action.action['kind']}", False
        try:
            sender(action.action, action.payload, action.reading)
        except InvalidInput as error:
            return error.message, False
        except Exception as error:  # whatever the receiver does: it is tried again, then told
            return f"{type(error).__name__}: {error}"[:500], True
        return "", True

    def _settle(self, lane: _Lane, reason: str, *, again: bool) -> None:
        """Take what the first one's try came to into its lane."""
        now = time.monotonic()
        lane.reason = reason
        if not reason:
            lane.waiting.popleft()
            lane.tries = lane.lost = 0
            return
        lane.tries += 1
        if again and not lane.lost and lane.tries < len(self._delays_s):
            lane.due = now + self._delays_s[lane.tries]
            return
        self._fail_first(lane)
        if not again:  # that says nothing of the target
            return
        lane.lost += 1
        while lane.lost > 1 and lane.waiting and now - lane.waiting[0][0] >= sum(self._delays_s):
            self._fail_first(lane)

    def _fail_first(self, lane: _Lane) -> None:
        self._failures.append(Failure(lane.waiting.popleft()[1], lane.reason))
        lane.tries = 0


def _target(action: Action) -> tuple[str, ...]:
    """Return what an action's order and failures are told by: its rule and where it goes."""
    wanted = action.action
    return action.rule, wanted["kind"], str(wanted.get("name") or wanted.get("url"))
