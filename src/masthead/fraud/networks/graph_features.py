"""Trees without a network, as a yardstick and a partner: a target's own columns, beside what its neighbours look like.

For each relation: how many neighbours, the mean of their features, what the edges carry, and the share of fraud among
those whose label is known. A target never counts itself, and while training it hears no label of its own fold: else
its own label would come back to it through what the others have in common.
"""

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.networks.graph import Direction, Floats
from masthead.learn.boosting import lightgbm

__all__ = ["Known", "columns_of", "fit_trees", "folds_of", "most_important", "own_columns"]

_FOLDS = 5
_PRIOR = 2.0  # neighbours of the base rate that are added to each count, so that one fraud among one is not certainty
MOST_COLUMNS = 600
_ROUNDS, _PATIENCE = 400, 30


@dataclass(frozen=True, slots=True)
class Known:
    """What may be heard of targets.

    Attributes:
        x: (targets, columns) features, NaN = missing. speaks: Whose features neighbours may see.
        labels: (targets,) 1, 0 or -1 where training knows none. folds: (targets,) 0 to 4.
        base: Share of fraud among the known labels.
    """

    x: Floats
    speaks: NDArray[np.bool_]
    labels: NDArray[np.int8]
    folds: NDArray[np.int8]
    base: float


def folds_of(ids: Sequence[str]) -> NDArray[np.int8]:
    """Return the fold of each id, the same wherever it is asked."""
    return np.array([zlib.crc32(one.encode()) % _FOLDS for one in ids], np.int8)


def columns_of(
    target: str,
    known: Known,
    directions: Mapping[str, Direction],
    names: Sequence[str],
    chosen: Sequence[int],
) -> Floats:
    """Return (targets, columns): the own features, then a block for each direction in the order of `names`.

    Args:
        names: Directions that training knew.
        chosen: Places of the features whose means over neighbours are taken.
    """
    blocks: list[Floats] = [known.x]
    heard = _Heard(known, chosen)
    for name in names:
        one = directions[name]
        if one.receiver != target:
            continue
        counts = np.log1p(one.rows.counts()).astype(np.float32)[:, None]
        blocks += [counts, one.attributes, one.totals, one.largest]
        if one.sender == target:
            blocks.append(heard.direct(one))
        else:
            blocks.append(heard.through(one, directions[_back(name)]))
    return np.concatenate(blocks, axis=1)


class _Heard:
    """Sums over neighbours of features, presence, labels and known labels by fold."""

    def __init__(self, known: Known, chosen: Sequence[int]) -> None:
        self._known, self._width = known, len(chosen)
        values = known.x[:, list(chosen)]
        there = known.speaks & ~np.isnan(known.x).all(1)
        filled = np.where(np.isnan(values), _means(values[there]), values) * there[:, None]
        marks = np.zeros((len(values), 2 * _FOLDS), np.float32)
        for fold in range(_FOLDS):
            mine = (known.folds == fold) & (known.labels >= 0)
            marks[mine, fold] = known.labels[mine]
            marks[mine, _FOLDS + fold] = 1
        self._said = np.concatenate([filled, there[:, None], marks], axis=1).astype(np.float32)

    def direct(self, one: Direction) -> Floats:
        """Return the block of a relation between targets."""
        return self._block(one.rows.times(self._said))

    def through(self, one: Direction, back: Direction) -> Floats:
        """Return the block of a relation with entities: the targets behind them, and how many there are."""
        behind = back.rows.times(self._said)
        degrees = np.log1p(back.rows.counts()).astype(np.float32)[:, None]
        sums = one.rows.times(behind)
        times = one.rows.counts().astype(np.float32)[:, None]  # so often a target meets itself
        sums[:, : self._width + 1] -= times * self._said[:, : self._width + 1]
        mean = one.rows.averaging().times(degrees)
        return np.concatenate([self._block(sums), mean, _largest(one, degrees)], axis=1)

    def _block(self, sums: Floats) -> Floats:
        """Return means of features, and the share of fraud among neighbours of other folds."""
        known, width = self._known, self._width
        present = sums[:, width : width + 1]
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.where(present > 0.5, sums[:, :width] / present, np.nan)
        frauds, labels = sums[:, width + 1 : width + 1 + _FOLDS], sums[:, width + 1 + _FOLDS :]
        # Targets whose label nobody knows leave out a fold too, so that they see as much as those of training did.
        row = np.arange(len(sums))
        frauds = frauds.sum(1) - frauds[row, known.folds]
        labels = labels.sum(1) - labels[row, known.folds]
        share = (frauds + _PRIOR * known.base) / (labels + _PRIOR)
        return np.column_stack([means, share, np.log1p(labels)]).astype(np.float32)


def _means(values: Floats) -> Floats:
    """Return the mean of each column, 0 of one in which every value is missing."""
    given = ~np.isnan(values)
    return np.asarray(np.where(given, values, 0).sum(0) / np.maximum(given.sum(0), 1), np.float32)


def _largest(one: Direction, values: Floats) -> Floats:
    found = np.zeros((len(one.rows), 1), np.float32)
    filled = np.flatnonzero(one.rows.counts())
    if len(filled):
        found[filled, 0] = np.maximum.reduceat(values[one.rows.places, 0], one.rows.starts[filled])
    return found


def _back(name: str) -> str:
    return ("<" if name[0] == ">" else ">") + name[1:]


def fit_trees(x: Floats, labels: NDArray[np.int8], fit: Any, check: Any, *, seed: int) -> Any:
    """Return a LightGBM booster of the rows `fit`, stopped where the rows `check` gain no more."""
    lgb = lightgbm()
    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 15 if len(fit) < 5_000 else 31,
        "min_data_in_leaf": 10 if len(fit) < 5_000 else 30,
        "feature_fraction": 0.5 if x.shape[1] > 4 else 1.0,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "num_threads": _threads(len(fit) * x.shape[1]),
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    data = lgb.Dataset(x[fit], labels[fit], free_raw_data=True)
    if not len(check):
        return lgb.train(settings, data, 100)
    later = lgb.Dataset(x[check], labels[check], reference=data)
    stop = lgb.early_stopping(_PATIENCE, verbose=False)
    return lgb.train(settings, data, _ROUNDS, valid_sets=[later], callbacks=[stop])


def _threads(cells: int) -> int:
    """Return how many threads help: one for what takes seconds."""
    return 1 if cells < 20_000_000 else max(1, min(4, os.cpu_count() or 1))


def own_columns(x: Floats) -> Floats:
    """Return columns for trees, which need at least one: without any of its own a target is like any other."""
    return x if x.shape[1] else np.zeros((len(x), 1), np.float32)


def most_important(booster: Any, width: int, blocks: int) -> tuple[int, ...]:
    """Return the features whose means over neighbours are taken: all, or those that tell most where they are many."""
    room = max(4, (MOST_COLUMNS - width) // max(blocks, 1))
    if width <= room:
        return tuple(range(width))
    gain = booster.feature_importance("gain")
    return tuple(sorted(np.argsort(-gain, kind="stable")[:room].tolist()))
