"""Rule actions that another room of the house does, in batches, and every queue that actions wait in.

A sender's receiver may be dead, so it gets four tries. A room is not: what has no room there now is tried until it has,
and only what the room refuses fails. What the room answers is published from a queue of its own, so that a webhook
that does not answer holds up nothing else. An action is owed until its answer is published.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import TypeVar

from masthead.base.errors import LimitReached
from masthead.base.log import get_logger
from masthead.streams.actions import Action, Failure, Outbox, Queue, Sender

__all__ = ["DECISIONS", "MOST_TOGETHER", "REFUSED", "Intake", "Outboxes", "Outcome", "Worker", "outcomes_of"]

DECISIONS = (
    "masthead.fraud."  # and the deployment's name: where decisions are told, unless another subject is named
)
REFUSED = ".refused"  # behind it: where it is told what cannot be used, and why
MOST_TOGETHER = 256
_FIRST_DELAY_S, _MOST_DELAY_S = 0.5, 10.0
_TRIES = 4  # of what fails in a way that nobody foresaw


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an action: a `reason` when it was refused, else what is published on `subject`, "" = nothing.

    Attributes:
        key: Equal for what tells the same again; "" = nothing tells it again.
    """

    reason: str = ""
    subject: str = ""
    payload: bytes = b""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Intake:
    """A subject of NATS whose messages a room answers, without the log of readings and its rules.

    Attributes:
        name: Whose it is; names the durable consumer.
        subject: Where messages come from; `*` and a last `>` as in NATS.
        answers: Where each is answered. refused: Where what cannot be used goes, with its reason.
    """

    name: str
    subject: str
    answers: str
    refused: str


_One = TypeVar("_One")

# Returns one outcome per action, in order. LimitReached: none of them counts, all come again later.
Worker = Callable[[Sequence[Action]], Sequence[Outcome]]


def outcomes_of(
    worker: Callable[[Sequence[_One]], Sequence[Outcome]], batch: Sequence[_One], stopping: threading.Event
) -> list[Outcome] | None:
    """Return what became of each, once the room has had room for all; None when `stopping` is set before."""
    delay_s, failed, told = _FIRST_DELAY_S, 0, False
    while True:
        try:
            return list(worker(batch))
        except LimitReached as error:
            reason = error.message
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if len(batch) > 1:  # one of them may be the cause: it must not hold up the others
                return _one_by_one(worker, batch, stopping)
            failed += 1
            if failed == _TRIES:
                return [Outcome(reason)]
        if not told:
            get_logger("streams").warning("what another room does waits", count=len(batch), reason=reason)
            told = True
        if stopping.wait(delay_s):
            return None
        delay_s = min(2 * delay_s, _MOST_DELAY_S)


def _one_by_one(
    worker: Callable[[Sequence[_One]], Sequence[Outcome]], batch: Sequence[_One], stopping: threading.Event
) -> list[Outcome] | None:
    found: list[Outcome] = []
    for action in batch:
        one = outcomes_of(worker, [action], stopping)
        if one is None:
            return None
        found += one
    return found


class _Works(Queue):
    """The queue of what rooms do; the answers go to `told`."""

    def __init__(self, told: Outbox) -> None:
        super().__init__()
        self._told = told
        self._workers: dict[str, Worker] = {}
        self._waiting: deque[Action] = deque()

    def register_work(self, kind: str, worker: Worker) -> None:
        self._workers[kind] = worker

    def does(self, kind: str) -> bool:
        return kind in self._workers

    def put(self, action: Action) -> None:
        with self._lock:
            self._waiting.append(action)
            if not self._threads:
                self._start_thread("rule-works")
            self._work.notify()

    def _waiting_now(self) -> Iterable[Action]:
        return self._waiting

    def _run(self) -> None:
        while True:
            with self._lock:
                self._work.wait_for(lambda: bool(self._waiting) or self._stopping.is_set())
                if self._stopping.is_set():
                    return
                batch = self._batch()
            found = outcomes_of(self._workers[batch[0].action["kind"]], batch, self._stopping)
            if found is None:
                return
            for action, outcome in zip(batch, found, strict=True):
                if outcome.subject:  # owed there before it is no longer owed here
                    to = {"kind": "subject", "name": outcome.subject}
                    self._told.put(Action(action.sequence, action.rule, to, outcome.payload, action.reading))
            with self._lock:
                for action, outcome in zip(batch, found, strict=True):
                    if outcome.reason:
                        self._failures.append(Failure(action, outcome.reason[:500]))
                    self._waiting.popleft()
                self._changed.notify_all()

    def _batch(self) -> list[Action]:
        """Return the oldest actions of one kind."""
        kind = self._waiting[0].action["kind"]
        return list(islice(takewhile(lambda each: each.action["kind"] == kind, self._waiting), MOST_TOGETHER))


class Outboxes:
    """Every queue that actions of rules wait in, as one."""

    def __init__(self) -> None:
        self._sent, self._told = Outbox(), Outbox()
        self._works = _Works(self._told)
        # An action moves from the works to what is told, never back: looked at in this order, none is missed.
        self._all = (self._works, self._told, self._sent)

    def register(self, kind: str, sender: Sender) -> None:
        """Let actions of a kind go through `sender(action, payload, reading)`, which raises what went wrong."""
        self._sent.register(kind, sender)
        self._told.register(kind, sender)

    def register_work(self, kind: str, worker: Worker) -> None:
        """Let actions of a kind be done by `worker(actions)`, many at a time."""
        self._works.register_work(kind, worker)

    def put(self, action: Action) -> None:
        """Queue an action; one that nobody can do fails at once."""
        (self._works if self._works.does(action.action["kind"]) else self._sent).put(action)

    def keep(self, rules: Collection[str]) -> None:
        """Forget what is still to be sent for rules that were deleted; what rooms were given they do."""
        self._sent.keep(rules)
        self._told.keep(rules)

    def has_room(self) -> bool:
        """Return whether more may come; while not, the log is not read on."""
        return all(each.has_room() for each in self._all)

    def owed_from(self) -> int | None:
        """Return the lowest sequence with an action that is not settled, or None."""
        return min((owed for each in self._all if (owed := each.owed_from()) is not None), default=None)

    def failures(self) -> list[Failure]:
        """Return the actions that failed for good since the last call; settle them before the next `owed_from`."""
        return [failure for each in self._all for failure in each.failures()]

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Return whether everything was done or failed in time."""
        return all(each.wait_until_empty(timeout_s) for each in self._all)

    def close(self) -> None:
        """Stop; what waits is owed and done after the next start."""
        for each in self._all:
            each.close()
