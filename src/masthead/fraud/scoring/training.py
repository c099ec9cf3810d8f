"""From transactions and labels to a fitted scorer: replay, rows that may teach, engine, calibration, cuts."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import DAY_US
from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.columns import Events, Labels
from masthead.fraud.data.moments import told
from masthead.fraud.data.schema import Schema
from masthead.fraud.networks.rgcn import torch_of
from masthead.fraud.scoring.engines import SCORERS, Engine
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.learning import Learned, Material, learn
from masthead.fraud.scoring.reference import histogram, histograms
from masthead.fraud.scoring.state import GraphState
from masthead.fraud.scoring.thresholds import Costs, Thresholds, choose
from masthead.fraud.scoring.truth import Truth, training_rows
from masthead.learn.calibration import Calibration
from masthead.learn.scores import average_precision, roc_auc
from masthead.learn.splits import last_share

__all__ = ["Lesson", "Trained", "train"]

_CHECK_SHARE = 0.15  # of training time: the latest rows stop the fit, calibrate it and choose the cuts


@dataclass(frozen=True, slots=True)
class Lesson:
    """All that a model is learned from.

    Attributes:
        from_file: Labels come from a file, not from the data.
        window: Half open, of the transactions that teach. labels_until: inclusive. All UTC microseconds.
        threads: For the fit; the result does not depend on it.
        parameters: Of the learner, in place of its own.
        scorer: One of `SCORERS`. embeddings: Try the network's state as columns of the trees.
    """

    schema: Schema
    events: Events
    labels: Labels
    from_file: bool
    window: tuple[int, int]
    labels_until: int
    seed: int
    costs: Costs
    threads: int
    parameters: Mapping[str, float] = field(default_factory=dict)
    scorer: str = "lightgbm"
    embeddings: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """What was learned. `card` holds what is told of it; `labels_known_at` (rows,) int64, sorted, UTC microseconds."""

    layout: Layout
    engine: Engine
    calibration: Calibration
    thresholds: Thresholds
    card: dict[str, Any]
    labels_known_at: NDArray[np.int64]


def train(lesson: Lesson) -> Iterator[tuple[Trained | None, float | None, str]]:
    """Yield (None, share done, what goes on) and at the end what was learned.

    Raises:
        InvalidInput: No row of the window may teach, or all have the same outcome; another scorer; torch is needed and
            not installed.
    """
    _refuse_scorer(lesson)
    rows, truth, immature = training_rows(
        lesson.schema,
        lesson.events,
        lesson.labels,
        window=lesson.window,
        labels_until=lesson.labels_until,
        from_file=lesson.from_file,
    )
    y = truth.value[rows]
    _refuse_nothing_to_learn(lesson, rows, y, immature)
    yield None, 0.0, f"replaying {len(lesson.events)} transactions"
    layout = Layout.learn(lesson.schema, lesson.events, rows)
    x = GraphState(layout).replay(lesson.events, lesson.labels, until=lesson.window[1], rows=rows)
    check, *checked = last_share(lesson.events.ts[rows], _CHECK_SHARE)
    if len(np.unique(y[~check])) < 2:
        check = np.zeros(len(rows), bool)  # all that there is to learn from came last
    given = Material(
        layout, x, y, lesson.events.ts[rows], check, lesson.seed, lesson.threads, lesson.parameters
    )
    found: Learned | None = None
    for found, text in learn(given, scorer=lesson.scorer, embeddings=lesson.embeddings):  # noqa: B007 - the last stays
        yield None, None, text
    assert found is not None  # the last step has it
    yield None, 0.9, "calibrating"
    yield _trained(lesson, found, (rows, truth, immature), given, (checked[0], checked[1])), 1.0, "done"


def _trained(
    lesson: Lesson,
    found: Learned,
    taught: tuple[NDArray[np.int64], Truth, int],
    given: Material,
    checked: tuple[int, int],
) -> Trained:
    (rows, truth, immature), layout, x, y, check = taught, given.layout, given.x, given.y, given.check
    # Without later rows those that taught must calibrate, but they do not tell what the model is worth.
    validated = bool(check.any())
    check = check if validated else np.ones(len(rows), bool)
    raw = found.judged.raws(x[check])
    # With one outcome among them the latest rows cannot say what a score is worth.
    calibration = Calibration.learn(raw, y[check])
    p = calibration.probabilities(raw)
    days = max((checked[1] - checked[0]) / DAY_US, 1.0)
    thresholds = choose(p, y[check], lesson.events.amount[rows[check]], days, lesson.costs)
    judged = (roc_auc(y[check], raw), average_precision(y[check], raw)) if validated else (None, None)
    card = {
        "scorer": lesson.scorer,
        "rows": len(rows),
        "positives": int(y.sum()),
        "excluded_immature": immature,
        "columns_absent": list(lesson.events.absent),
        "windows": {
            "train_from": told(max(lesson.window[0], int(lesson.events.ts[0]))),
            "train_until": told(lesson.window[1]),
            "labels_until": told(lesson.labels_until),
            "validation_from": told(checked[0]) if validated else None,
        },
        "seed": lesson.seed,
        **found.card,
        "validation": dict(zip(("roc_auc", "average_precision"), judged, strict=True)),
        "transductive": _transductive(lesson, layout, found.judged, rows[check], y[check]),
        "data_sha256": _digest(lesson),
        "reference": {**histograms(layout.names, x, given.ts), "score": histogram(p)},
    }
    known_at = np.sort(truth.known_at[rows])
    return Trained(layout, found.engine, calibration, thresholds, card, known_at)


def _transductive(
    lesson: Lesson, layout: Layout, engine: Engine, rows: NDArray[np.int64], y: NDArray[np.int8]
) -> dict[str, float | None]:
    """Return what validation would say if labels of the past were known at once: flattering, so told beside it."""
    order = np.argsort(lesson.events.ts[lesson.labels.rows], kind="stable")
    order = order[lesson.labels.rows[order] >= 0]
    chosen = lesson.labels.rows[order]
    at_once = replace(
        lesson.labels,
        rows=chosen,
        ids=[lesson.labels.ids[k] for k in order.tolist()],
        value=lesson.labels.value[order],
        arrived_at=lesson.events.ts[chosen],
    )
    x = GraphState(layout).replay(lesson.events, at_once, until=lesson.window[1], rows=rows)
    raw = engine.raws(x)
    return {"roc_auc": roc_auc(y, raw), "average_precision": average_precision(y, raw)}


def _refuse_scorer(lesson: Lesson) -> None:
    if lesson.scorer not in SCORERS:
        raise InvalidInput(f"scorer: expected {' or '.join(SCORERS)}, got {shown(lesson.scorer)}")
    if lesson.scorer == "gnn" and lesson.embeddings:
        raise InvalidInput("embeddings: expected the scorer lightgbm, whose columns they become, got gnn")
    if lesson.scorer == "gnn" and lesson.parameters:
        raise InvalidInput("parameters: expected the scorer lightgbm, whose they are, got gnn")
    if lesson.scorer == "gnn" or lesson.embeddings:
        torch_of()  # before the replay: who has no torch shall not wait for it


def _refuse_nothing_to_learn(
    lesson: Lesson, rows: NDArray[np.int64], y: NDArray[np.int8], immature: int
) -> None:
    ts = lesson.events.ts
    first, last = told(max(lesson.window[0], int(ts[0]))), told(min(lesson.window[1] - 1, int(ts[-1])))
    inside = int(((ts >= lesson.window[0]) & (ts < lesson.window[1])).sum())
    if not inside:
        field, side = ("train_from", "until") if lesson.window[0] > ts[-1] else ("train_until", "after")
        moment = ts[-1] if side == "until" else ts[0]
        given = lesson.window[0] if side == "until" else lesson.window[1]
        raise InvalidInput(
            f"{field}: expected a time {side} {told(int(moment))}, got {told(given)}: no transaction is in the window"
        )
    if not len(rows):
        raise InvalidInput(
            f"labels: expected labelled transactions from {first} to {last}, got none of {inside} "
            f"({immature} are not mature by {told(lesson.labels_until)}); give labels of them, or an earlier window"
        )
    if y.min() == y.max():
        which = "frauds" if y[0] else "legitimate ones"
        raise InvalidInput(
            f"labels: expected frauds and legitimate transactions among the {len(rows)} that may teach "
            f"({first} to {last}), got {which} alone"
        )


def _digest(lesson: Lesson) -> str:
    """Return the SHA-256 of all that was learned from."""
    made = hashlib.sha256(lesson.schema.digest().encode())
    events, labels = lesson.events, lesson.labels
    columns: tuple[NDArray[Any], ...] = (
        *(events.ts, events.amount, events.codes, events.numerics, events.category_codes),
        *(labels.rows, labels.value, labels.arrived_at),
    )
    for array in columns:
        made.update(np.ascontiguousarray(array).data)
    for values in (*events.vocabularies, *events.category_values):
        made.update("\n".join(values).encode())
    return made.hexdigest()
