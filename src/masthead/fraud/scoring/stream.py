"""Transactions one by one, in memory: look, score, decide, remember; labels come in when they arrive."""

import heapq
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from masthead.base.errors import Conflict, InvalidInput, shown
from masthead.fraud.data.columns import Event, Events, Labels
from masthead.fraud.data.differences import differences
from masthead.fraud.data.messages import parse_record
from masthead.fraud.data.values import key_text, parse_time, read_source, read_value
from masthead.fraud.scoring.reasons import count_distinct, find_reasons
from masthead.fraud.scoring.state import GraphState

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["Decision", "Stream", "decide"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said of one transaction.

    Attributes:
        flag: `pred_prob >= threshold`.
        threshold: The cut from which a transaction is reviewed.
        action: pass, review or block.
        model: Id of the model.
        reasons: At most five, where it is flagged.
        latency_ms: From receipt to decision.
    """

    id: str
    flag: bool
    pred_prob: float
    threshold: float
    action: str
    model: str
    reasons: tuple[Mapping[str, Any], ...]
    latency_ms: float

    @property
    def time(self) -> float:
        """Return the latency in seconds."""
        return self.latency_ms / 1000

    def to_json(self) -> dict[str, Any]:
        """Return the answer to a caller."""
        return {**asdict(self), "reasons": list(self.reasons), "time": self.time}


def decide(model: "FraudModel", identity: str, probability: float, latency_ms: float) -> Decision:
    """Return the decision that a model's thresholds make of a probability."""
    cut = model.thresholds.review
    action = model.thresholds.action(probability)
    return Decision(identity, probability >= cut, probability, cut, action, model.id, (), latency_ms)


class Stream:
    """A model at work on a graph of its own, in memory. One thread at a time.

    Args:
        reasons: Give them with flagged decisions; no latency counts them.
    """

    def __init__(self, model: "FraudModel", *, reasons: bool = True) -> None:
        self.model, self._reasons = model, reasons
        self._state = GraphState(model.layout)
        self._seqs: dict[str, int] = {}
        self._answered: dict[int, tuple[Event, Decision]] = {}
        self._coming: list[tuple[int, int, str, int]] = []  # labels by arrival
        self._waiting: dict[str, list[tuple[int, int]]] = {}  # labels of transactions not seen yet
        self._told = 0
        self._now = 0

    def warm(self, events: Events, labels: Labels, *, until: int | None) -> None:
        """Take the past: transactions and labels before `until`; labels from then on come when they arrive.

        Args:
            until: UTC microseconds. None: all transactions, and labels up to the last of them.
        """
        until = int(events.ts[-1]) + 1 if until is None and len(events) else until or 0
        self._state.replay(events, labels, until=until)
        known = len(self._state)
        self._seqs = {identity: seq for seq, identity in enumerate(events.ids[:known])}
        self._now = int(events.ts[known - 1]) if known else 0
        later = (labels.arrived_at >= until) | (labels.rows >= known) | (labels.rows < 0)
        for k in later.nonzero()[0].tolist():
            self._tell(labels.ids[k], int(labels.value[k]), int(labels.arrived_at[k]))

    def score(self, record: Mapping[str, Any] | Event) -> Decision:
        """Return the decision on a transaction; the same one again gets the first answer.

        Raises:
            InvalidInput: The record has no id or no time, or a value is none.
            Conflict: The id has come before with other content.
        """
        began = time.perf_counter()
        event = record if isinstance(record, Event) else parse_record(self.model.schema, record)
        seq = self._seqs.get(event.id)
        if seq is not None:
            return self._again(seq, event)
        self._arrive(event.ts)
        seq = len(self._state)
        x = self._state.observe(seq, event)
        _, probability = self.model.scorer.score(x)
        self._now = max(self._now, event.ts)
        self._seqs[event.id] = seq
        for value, arrived_at in self._waiting.pop(event.id, ()):
            self._state.label(seq, value, arrived_at)
        decision = decide(self.model, event.id, probability, (time.perf_counter() - began) * 1000)
        if decision.flag and self._reasons:
            (parts,) = self.model.contributions(x)
            facts = _Remembered(self._state, seq, event.ts)
            found = find_reasons(self.model.schema, self.model.layout, event, x, parts, facts)
            decision = replace(decision, reasons=tuple(one.to_json() for one in found))
        self._answered[seq] = (event, decision)
        return decision

    def label(
        self, transaction_id: str, value: object, arrived_at: object = None, source: str = "import"
    ) -> None:
        """Take a label; one of a transaction that has not come yet waits for it.

        Args:
            value: 1, true, fraud or 0, false, legit, legitimate.
            arrived_at: When it became known, as the schema writes times, or a datetime: no transaction before
                that knows it. None: it has just arrived.
            source: chargeback, analyst or import.

        Raises:
            InvalidInput: A value outside of that.
        """
        verdict = read_value(value)
        read_source(source)
        identity = key_text(transaction_id)
        if identity is None:
            raise InvalidInput(f"id: expected a transaction's id, got {shown(transaction_id)}")
        at = self._now if arrived_at is None else parse_time(self.model.schema, arrived_at)
        self._tell(identity, verdict, at)
        self._arrive(self._now)

    def _tell(self, identity: str, value: int, at: int) -> None:
        self._told += 1  # of labels that arrive at once the first one told comes first
        heapq.heappush(self._coming, (at, self._told, identity, value))

    def _arrive(self, now: int) -> None:
        """Make labels known that have arrived by now."""
        while self._coming and self._coming[0][0] <= now:
            at, _, identity, value = heapq.heappop(self._coming)
            seq = self._seqs.get(identity)
            if seq is None:
                self._waiting.setdefault(identity, []).append((value, at))
            else:
                self._state.label(seq, value, at)

    def _again(self, seq: int, event: Event) -> Decision:
        if seq not in self._answered:
            raise Conflict(f"id: {shown(event.id)} belongs to the history, which is not scored again")
        first, decision = self._answered[seq]
        if differ := differences(self.model.schema, first, event):
            raise Conflict(f"id: {shown(event.id)} has come with other content: {differ}")
        return decision


@dataclass(frozen=True, slots=True)
class _Remembered:
    """What texts of reasons need, as the state has it when a transaction has just been taken."""

    state: GraphState
    seq: int
    ts: int

    def distinct(self, relation: str, other: str) -> tuple[int, bool, str]:
        return count_distinct(self.ts, *self.state.met(self.seq, self.ts, relation, other))

    def confirmed(self, relation: str) -> Sequence[int]:
        return self.state.confirmed(self.seq, self.ts, relation)
