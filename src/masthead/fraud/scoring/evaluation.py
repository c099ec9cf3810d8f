"""What a model would have said, had it been at work: the past is replayed, then the window streams through the
serving path one transaction after the other, and labels come in on their date."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from masthead.base.clock import DAY_US
from masthead.base.errors import InvalidInput
from masthead.fraud.data.columns import Events, Labels
from masthead.fraud.data.moments import told
from masthead.fraud.scoring.stream import Stream
from masthead.fraud.scoring.truth import UNKNOWN, end_of, outcome
from masthead.learn.scores import average_precision, confusion, precision_at, roc_auc

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import FraudModel

__all__ = ["Evaluation", "evaluate"]

_STEP = 500  # transactions between two signs of life


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A streamed evaluation.

    Attributes:
        scores: The id and the time as in the data, `score` float64, `label` int8 or null where nobody knows.
        metrics: What `masthead fraud evaluate --json` prints.
    """

    scores: pa.Table
    metrics: dict[str, Any]


def evaluate(
    model: "FraudModel", events: Events, labels: Labels, *, window: tuple[int, int], from_file: bool
) -> Iterator[tuple[Evaluation | None, float | None, str]]:
    """Yield (None, share done, what goes on) and at the end the evaluation of a half-open window of time.

    Raises:
        InvalidInput: No transaction lies in it.
    """
    began = time.perf_counter()
    first, end = (int(place) for place in np.searchsorted(events.ts, window))
    if first >= end:
        span = f"{told(int(events.ts[0]))} to {told(int(events.ts[-1]))}" if len(events) else "no transaction"
        raise InvalidInput(
            f"test_from: expected transactions from {told(window[0])} until {told(window[1])}, the data have {span}"
        )
    yield None, 0.0, f"replaying {first} transactions"
    stream = Stream(model, reasons=False)
    model.warm_up()  # else the first answer waits for a compiler
    stream.warm(events, labels, until=window[0])
    n = end - first
    score, latency = np.empty(n), np.empty(n)
    for i in range(n):
        decision = stream.score(events.event(first + i))
        score[i], latency[i] = decision.pred_prob, decision.latency_ms
        if i % _STEP == 0:
            yield None, i / n, f"{i} of {n} transactions"
    truth = outcome(model.schema, events, labels, until=end_of(events, labels), from_file=from_file)
    rows = np.arange(first, end)
    metrics = {
        **_ranking(model, events.ts[rows], score, truth.value[rows], window),
        "unseen_share": _unseen(model, events, rows),
        "labels_after_test_start": int(np.sum(model.labels_known_at > window[0])),
        "late_share": _late(events, rows),
        "latency_ms": {"p50": float(np.percentile(latency, 50)), "p99": float(np.percentile(latency, 99))},
        "seconds": round(time.perf_counter() - began, 3),
    }
    yield Evaluation(_scores(model, events, rows, score, truth.value[rows]), metrics), 1.0, "done"


def _ranking(
    model: "FraudModel",
    ts: NDArray[np.int64],
    score: NDArray[np.float64],
    value: NDArray[np.int8],
    window: tuple[int, int],
) -> dict[str, Any]:
    """Return how well the scores rank and what the threshold makes of them."""
    known = value != UNKNOWN
    y, s = value[known], score[known]
    threshold = model.thresholds.review
    days = max((min(window[1], int(ts[-1]) + 1) - max(window[0], int(ts[0]))) / DAY_US, 1.0)
    both = len(np.unique(y)) == 2
    return {
        "n": len(score),
        "n_labelled": int(known.sum()),
        "positives": int(y.sum()),
        "roc_auc": roc_auc(y, s),
        "average_precision": average_precision(y, s),
        "precision_at_100_per_day": precision_at(100, y, s, ts[known] // DAY_US) if both else None,
        "threshold": threshold,
        "confusion": confusion(y, s >= threshold),
        "alerts_per_day": float(np.sum(score >= threshold) / days),
    }


def _unseen(model: "FraudModel", events: Events, rows: NDArray[np.int64]) -> dict[str, float | None]:
    """Return per relation which share of the window's values had never been seen before them; None without values."""
    found: dict[str, float | None] = {}
    for r, relation in enumerate(model.schema.relations):
        codes = events.codes[: rows[-1] + 1, r]
        _, first = np.unique(codes, return_index=True)
        new = np.zeros(len(codes), bool)
        new[first] = True
        filled = codes[rows] >= 0
        found[relation.name] = float(np.mean(new[rows][filled])) if filled.any() else None
    return found


def _late(events: Events, rows: NDArray[np.int64]) -> float | None:
    """Return which share of the window's transactions stand in their file behind a later one; None without files."""
    if events.source is None:
        return None
    late = np.zeros(len(events), bool)
    file, line = events.source.places.T
    for one in np.unique(file):
        # Each file by itself: in which order several were named says nothing of when their rows came.
        written = np.flatnonzero(file == one)
        written = written[np.argsort(line[written])]
        late[written] = events.ts[written] < np.maximum.accumulate(events.ts[written])
    return float(np.mean(late[rows]))


def _scores(
    model: "FraudModel",
    events: Events,
    rows: NDArray[np.int64],
    score: NDArray[np.float64],
    value: NDArray[np.int8],
) -> pa.Table:
    places = pa.array(rows)
    columns = {
        model.schema.id: events.raw_ids.take(places),
        model.schema.time.column: events.raw_times.take(places),
        "score": pa.array(score),
        "label": pa.array(value, mask=value == UNKNOWN),
    }
    return pa.table(columns)
