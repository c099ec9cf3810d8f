"""The learner's parameters by trials, chained forward in time: each is judged by what came after what it learned from."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import FOREVER_US
from masthead.base.errors import InvalidInput
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.values import parse_time
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.fitting import Fit, fit
from masthead.fraud.scoring.forest import Forest
from masthead.fraud.scoring.model import Table
from masthead.fraud.scoring.state import GraphState
from masthead.fraud.scoring.truth import training_rows
from masthead.learn.scores import average_precision
from masthead.learn.splits import last_share

__all__ = ["tuning"]

_CUTS = (0.6, 0.8, 1.0)
_CHECK_SHARE = 0.15
_MOST_JUDGED = 20_000
Told = tuple[dict[str, Any] | None, float | None, str]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def tuning(
    schema: Schema,
    data: list[Path] | Table,
    labels: Path | None = None,
    *,
    window: tuple[str, str, str],
    given: Mapping[str, float],
    trials: int,
    seed: int,
) -> Iterator[Told]:
    """Yield (None, share, what goes on) and at the end what was `chosen` and how each of the `trials` did.

    Args:
        data: Files, or what has been read of them, with its labels.
        window: From, until, labels until, as on a command line; "" = all.
        given: Parameters that stay as they are. The first trial has no others.
        trials: How many more are drawn.

    Raises:
        InvalidInput: No fold has both outcomes on both of its sides.
    """
    yield None, 0.0, "reading"
    table = data if isinstance(data, Table) else Table.read(schema, list(data), labels)
    yield None, 0.1, f"replaying {len(table.events)} transactions"
    x, y, ts, known_at, names, categoricals = _rows(schema, table, window)
    folds = _folds(y, ts, known_at)
    if not folds:
        raise InvalidInput(
            "train.trials: expected frauds and legitimate transactions in each part of the time"
        )
    results: list[dict[str, Any]] = []
    for place, drawn in enumerate([{}, *_draws(trials, seed)]):
        parameters = {**drawn, **given}
        scores = []
        for learn, judge in folds:
            yield None, 0.15 + 0.85 * place / (trials + 1), f"trial {place} of {trials}"
            scores.append(_judge(x, y, ts, learn, judge, names, categoricals, parameters, seed))
        results.append({"parameters": parameters, "average_precision": float(np.mean(scores))})
    best = max(results, key=lambda one: one["average_precision"])  # the first of equals: the plainest
    yield {"chosen": best["parameters"], "trials": results}, 1.0, f"best of {len(results)}"


def _rows(
    schema: Schema, table: Table, window: tuple[str, str, str]
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int64], NDArray[np.int64], list[str], list[int]]:
    """Return features, outcomes, times and when each outcome was known, of the rows that may teach."""
    events = table.events
    if not len(events):
        raise InvalidInput("data: expected at least one usable transaction, got none")
    first = parse_time(schema, window[0]) if window[0] else -FOREVER_US
    until = parse_time(schema, window[1]) if window[1] else int(events.ts[-1]) + 1
    wait = schema.maturity_us if table.from_file else schema.label_delay_us
    known = parse_time(schema, window[2]) if window[2] else until + wait
    rows, truth, _ = training_rows(
        schema,
        events,
        table.labels,
        window=(first, until),
        labels_until=known,
        from_file=table.from_file,
    )
    if not len(rows):
        raise InvalidInput("train.until: expected labelled transactions in the window, got none")
    layout = Layout.learn(schema, events, rows)
    x = GraphState(layout).replay(events, table.labels, until=until, rows=rows)
    names, places = layout.names, layout.categorical_positions
    return x, truth.value[rows], events.ts[rows], truth.known_at[rows], names, places


def _folds(y: NDArray[np.int8], ts: NDArray[np.int64], known_at: NDArray[np.int64]) -> list[Fold]:
    """Return (rows to learn from, later rows to judge by): what was not known at the cut teaches nothing."""
    cuts = [int(ts[0] + share * (ts[-1] - ts[0])) for share in _CUTS]
    cuts[-1] += 1
    found = []
    for cut, end in pairwise(cuts):
        learn = np.flatnonzero((ts < cut) & (known_at <= cut))
        judge = np.flatnonzero((ts >= cut) & (ts < end))
        judge = judge[:: max(1, len(judge) // _MOST_JUDGED)]
        if all(len(part) and 0 < y[part].sum() < len(part) for part in (learn, judge)):
            found.append((learn, judge))
    return found


def _draws(trials: int, seed: int) -> list[dict[str, float]]:
    """Return parameters drawn at random; the same for the same seed."""
    chance = np.random.default_rng(seed)
    return [
        {
            "learning_rate": round(float(np.exp(chance.uniform(np.log(0.02), np.log(0.15)))), 4),
            "num_leaves": int(chance.choice([15, 31, 63, 127])),
            "min_data_in_leaf": int(chance.choice([20, 50, 100, 200])),
            "feature_fraction": round(float(chance.uniform(0.3, 0.9)), 2),
            "lambda_l2": round(float(np.exp(chance.uniform(0.0, np.log(30.0)))), 2),
        }
        for _ in range(trials)
    ]


def _judge(
    x: NDArray[np.float32],
    y: NDArray[np.int8],
    ts: NDArray[np.int64],
    learn: NDArray[np.int64],
    judge: NDArray[np.int64],
    names: list[str],
    categoricals: list[int],
    parameters: Mapping[str, float],
    seed: int,
) -> float:
    """Return the average precision on later rows of what is learned from earlier ones."""
    check, *_ = last_share(ts[learn], _CHECK_SHARE)
    if len(np.unique(y[learn][~check])) < 2:
        check = np.zeros(len(learn), bool)
    found: Fit | None = None
    for found, _ in fit(  # noqa: B007 - the last one stays
        x[learn],
        y[learn],
        check,
        names=names,
        categoricals=categoricals,
        seed=seed,
        threads=0,
        parameters=parameters,
    ):
        pass
    assert found is not None  # the last step has it
    forest = Forest.parse(found.text)
    raw = np.array([forest.raw(one) for one in x[judge]])
    return average_precision(y[judge], raw) or 0.0
