"""LightGBM on rows of features: one configuration for all data, early stopping on the latest rows."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.learn.boosting import lightgbm

__all__ = ["CONFIGURATION", "Fit", "fit"]

CONFIGURATION: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "max_bin": 127,
    "metric": "binary_logloss",
    "deterministic": True,
    "force_row_wise": True,  # the fastest way is else chosen by a stopwatch, and the choice changes sums
    "verbose": -1,
}
"""Frozen: what differs between data sets is learned from their rows."""

ROUNDS = 1_000
PATIENCE = 30
MOST_TAUGHT = 128_000
"""So many rows teach at most: all of the rarer outcome, and of the others some, each of which counts for those left out.
LightGBM tells each tree's answer to all rows that it was given, drawn or not: that is what half a million would pay for."""
MOST_ROWS = 80_000
"""So many of them, drawn anew for each tree, teach it."""
_BLIND_ROUNDS = 150


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted forest in LightGBM's text form, and how many trees it has."""

    text: str
    trees: int


def fit(
    x: NDArray[np.float32],
    y: NDArray[np.int8],
    check: NDArray[np.bool_],
    *,
    names: list[str],
    categoricals: list[int],
    seed: int,
    threads: int,
    parameters: Mapping[str, float] | None = None,
    rounds: int = _BLIND_ROUNDS,
) -> Iterator[tuple[Fit | None, int]]:
    """Yield (None, rounds done) while it learns and (the fit, rounds) at the end.

    Args:
        x: (rows, columns), NaN = missing.
        y: (rows,) 1 or 0, both among the rows that are not to check.
        check: (rows,) which rows only tell when to stop.
        seed: Same data and seed, same forest, whatever `threads` is.
        threads: 0 = one per core.
        parameters: In place of those of `CONFIGURATION`.
        rounds: How many where the rows to check do not say when to stop: there are none, or all have one outcome.
    """
    lgb = lightgbm()
    taught, weight = _taught(y, np.flatnonzero(~check), seed)
    settings = {
        **CONFIGURATION,
        "bagging_fraction": min(CONFIGURATION["bagging_fraction"], MOST_ROWS / len(taught)),
        **(parameters or {}),
        "seed": seed,
        "num_threads": threads or os.cpu_count() or 1,
    }
    columns: dict[str, Any] = {
        "feature_name": [
            f"c{i}" for i in range(len(names))
        ],  # LightGBM refuses some of the characters of ours
        "categorical_feature": categoricals,
        "params": settings,
    }
    learn = lgb.Dataset(x[taught], y[taught], weight=weight, **columns)
    booster = lgb.Booster(settings, learn)
    blind = len(np.unique(y[check])) < 2
    if not blind:
        booster.add_valid(lgb.Dataset(x[check], y[check], reference=learn, **columns), "latest")
    best, best_round = np.inf, 0
    for done in range(1, (rounds if blind else ROUNDS) + 1):
        stuck = booster.update()
        loss = 0.0 if blind else float(booster.eval_valid()[0][2])
        if blind or loss < best:
            best, best_round = loss, done
        if stuck or done - best_round >= PATIENCE:
            break
        yield None, done
    text = booster.model_to_string(num_iteration=best_round)
    text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", text)  # how it was made is no part of it
    yield Fit(text, best_round), done


def _taught(
    y: NDArray[np.int8], rows: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """Return the rows that teach, at most `MOST_TAUGHT`, and how much each counts; None: all the same."""
    if len(rows) <= MOST_TAUGHT:
        return rows, None
    draw = np.random.default_rng(seed)
    fraud = y[rows] == 1
    few, many = sorted((rows[fraud], rows[~fraud]), key=len)
    some = draw.choice(few, min(len(few), MOST_TAUGHT // 2), replace=False)
    others = draw.choice(many, MOST_TAUGHT - len(some), replace=False)
    weight = np.zeros(len(y), np.float32)
    weight[some], weight[others] = len(few) / len(some), len(many) / len(others)
    taught = np.sort(np.concatenate([some, others]))
    return taught, weight[taught]
