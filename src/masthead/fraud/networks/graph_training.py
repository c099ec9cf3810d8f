"""From a graph to a model and what it is worth: validation rows, network, trees, and which of them a score averages.

Targets of `test.csv` keep their edges, so that degrees are those of the whole graph; their features and labels are
heard by nobody until the end.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.graph import Floats, Graph, directions
from masthead.fraud.networks.graph_features import (
    Known,
    columns_of,
    fit_trees,
    folds_of,
    most_important,
    own_columns,
)
from masthead.fraud.networks.graph_model import BLENDS, GraphModel, standardised
from masthead.fraud.networks.rgcn import Epoch, fit, signatures_of
from masthead.fraud.networks.rgcn_task import Options, Task
from masthead.learn.scores import average_precision, pr_auc, roc_auc

__all__ = ["Outcome", "Split", "measured", "split_of", "train_graph_model"]

_VALIDATED = 0.1
_HANDICAP = (
    0.02  # of 100 epochs the best on 150 rows is worth less elsewhere: 0.97 there, 0.67 on the test rows
)
_DATED = 0.9  # share of labelled rows with a time from which the latest are the validation rows


@dataclass(frozen=True, slots=True)
class Split:
    """Rows that are learned from, and those that choose; `latest`: whether these are the latest."""

    fit: NDArray[np.int64]
    check: NDArray[np.int64]
    latest: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A model and what it is worth.

    Attributes:
        metrics: Of the score on held-out rows; on validation rows when there are none (`on` is `validation`).
        members: Name -> {validation_ap, roc_auc, ap} of each part and of the blends.
    """

    model: GraphModel
    metrics: dict[str, Any]
    members: dict[str, dict[str, float | None]]
    on: str


def split_of(graph: Graph, seed: int) -> Split:
    """Return which labelled targets outside `test.csv` are learned from, and the tenth that chooses.

    The tenth is the latest where times are known, else drawn from both classes alike.

    Raises:
        InvalidInput: Labels of both kinds are not there.
    """
    rows = np.flatnonzero((graph.labels >= 0) & ~graph.held_out)
    positives = int((graph.labels[rows] == 1).sum())
    if not positives or positives == len(rows):
        raise InvalidInput(
            f"labels: expected targets labelled 0 and others labelled 1 that are not held out, "
            f"got {len(rows) - positives:,} labelled 0 and {positives:,} labelled 1; "
            "labels stand in tags.csv of --data, or in the file of --labels"
        )
    late = _latest(graph, rows)
    if late is not None and _both(graph.labels[late]) and _both(graph.labels[np.setdiff1d(rows, late)]):
        return Split(np.setdiff1d(rows, late), late, True)
    chance = np.random.default_rng(seed)
    drawn = []
    for label in (0, 1):
        mine = chance.permutation(rows[graph.labels[rows] == label])
        drawn.append(mine[: round(len(mine) * _VALIDATED) if len(mine) > 9 else int(len(mine) > 1)])
    check = np.sort(np.concatenate(drawn))
    if not _both(graph.labels[check]):
        check = np.empty(0, np.int64)
    return Split(np.setdiff1d(rows, check), check, False)


def train_graph_model(
    graph: Graph,
    options: Options,
    *,
    blend: bool = True,
    told: Callable[[Epoch], None] = lambda epoch: None,
    said: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Return a model of a graph and what it is worth.

    Args:
        blend: Whether a score may average network and trees; else the network scores alone.
        told: Hears of each epoch. said: Hears what goes on besides.

    Raises:
        InvalidInput: An option, the labels, or torch is not there.
    """
    options.check()
    begun = time.monotonic()
    split = split_of(graph, options.seed)
    ways = {one.name: one for one in directions(graph)}
    types = (graph.target, *(kind for kind in graph.ids if kind != graph.target))
    centre, scale = _moments(graph.features[~graph.held_out])
    known_labels = np.full(len(graph), -1, np.int8)
    known_labels[split.fit] = graph.labels[split.fit]
    base = float((known_labels[split.fit] == 1).mean())
    said("trees")
    folds = folds_of(graph.ids[graph.target])
    known = Known(graph.features, ~graph.held_out, known_labels, folds, base)
    own, trees, chosen = _trees(graph, known, ways, split, options)
    said("network")
    task = Task(
        types,
        tuple(len(graph.ids[kind]) for kind in types),
        standardised(graph.features, centre, scale),
        graph.labels,
        split.fit,
        split.check,
        graph.held_out,
        ways,
    )
    trained = fit(task, options, told)
    model = GraphModel(
        graph.target,
        graph.columns,
        types,
        trained.signatures or signatures_of(list(ways.values())),
        options,
        centre,
        scale,
        trained.weights,
        trained.vectors,
        {kind: pa.array(graph.ids[kind], pa.string()) for kind in types},
        known_labels,
        base,
        trained.shift,
        chosen,
        ("network",),
        trees.model_to_string(num_iteration=trees.best_iteration or -1),
        own.model_to_string(num_iteration=own.best_iteration or -1),
        {
            "epoch": trained.epoch,
            "rows": len(split.fit),
            "validation_rows": len(split.check),
            "nodes": {kind: len(graph.ids[kind]) for kind in types},
            "edges": {one.name: len(one.sources) for one in graph.relations},
        },
    )
    said("scoring")
    return _outcome(model, graph, split, blend=blend, seconds=time.monotonic() - begun)


def _trees(
    graph: Graph, known: Known, ways: dict[str, Any], split: Split, options: Options
) -> tuple[Any, Any, tuple[int, ...]]:
    """Return the trees of own columns, those with neighbours, and the features whose means they read."""
    how = {"seed": options.seed}
    own = fit_trees(own_columns(graph.features), graph.labels, split.fit, split.check, **how)
    blocks = sum(one.receiver == graph.target for one in ways.values())
    chosen = most_important(own, graph.features.shape[1], blocks)
    x = columns_of(graph.target, known, ways, list(ways), chosen)
    return own, fit_trees(own_columns(x), graph.labels, split.fit, split.check, **how), chosen


def _outcome(model: GraphModel, graph: Graph, split: Split, *, blend: bool, seconds: float) -> Outcome:
    """Choose what a score averages by average precision on validation rows, then score held-out rows once."""
    earlier = model.parts(graph, silent=graph.held_out)
    truth = graph.labels[split.check]
    ranked = {names: average_precision(truth, _mean(earlier, names)[split.check]) for names in BLENDS}
    best = _best(ranked) if blend else ("network",)
    held = np.flatnonzero(graph.held_out & (graph.labels >= 0))
    on, rows = ("test", held) if len(held) else ("validation", split.check)
    later = model.parts(graph) if len(held) else earlier
    members: dict[str, dict[str, float | None]] = {}
    for names in BLENDS:
        scores = _mean(later, names)[rows]
        members["+".join(names)] = {
            "validation_ap": ranked[names],
            "roc_auc": roc_auc(graph.labels[rows], scores),
            "ap": average_precision(graph.labels[rows], scores),
        }
    metrics = measured(graph.labels[rows], _mean(later, best)[rows], model.options.threshold)
    metrics |= {"epochs": model.options.n_epochs, "seconds": round(seconds, 3)}
    card = {
        **model.card,
        "measured_on": on,
        "metrics": {name: value for name, value in metrics.items() if name != "seconds"},
        "members": members,
        "validation": "latest" if split.latest else "stratified",
    }
    return Outcome(replace(model, blend=best, card=card), metrics, members, on)


def _best(ranked: dict[tuple[str, ...], float | None]) -> tuple[str, ...]:
    """Return what ranks the validation rows best; the network must win clearly, since its epoch was chosen on them."""
    if all(value is None for value in ranked.values()):
        return ("network", "trees")
    return max(
        ranked, key=lambda names: (ranked[names] or 0.0) - (names[0] == "network") * _HANDICAP / len(names)
    )


def measured(labels: NDArray[np.int8], scores: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """Return counts and measures at a threshold, and of the ranking; those that need both classes are None without.

    >>> measured(np.array([1, 0, 0]), np.array([0.9, 0.6, 0.1]), 0.5)["confusion"]
    {'tp': 1, 'fp': 1, 'fn': 0, 'tn': 1}
    """
    flagged, fraud = scores >= threshold, labels == 1
    tp, fp = int((flagged & fraud).sum()), int((flagged & ~fraud).sum())
    fn, tn = int((~flagged & fraud).sum()), int((~flagged & ~fraud).sum())
    return {
        "n_test": len(labels),
        "confusion": {"tp": tp, "fp": fp, "fn": fn, "tn": tn},
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
        "accuracy": (tp + tn) / max(len(labels), 1),
        "roc_auc": roc_auc(labels, scores),
        "pr_auc": pr_auc(labels, scores),
        "ap": average_precision(labels, scores),
    }


def _mean(parts: dict[str, NDArray[np.float64]], names: Sequence[str]) -> NDArray[np.float64]:
    return np.asarray(np.mean([parts[name] for name in names], axis=0))


def _moments(x: Floats) -> tuple[Floats, Floats]:
    """Return mean and deviation of each column over rows of training; a constant column has deviation 1."""
    values = x.astype(np.float64)
    there = ~np.isnan(values)
    counts = np.maximum(there.sum(0), 1)
    centre = np.where(there, values, 0).sum(0) / counts
    spread = np.sqrt((np.where(there, values - centre, 0) ** 2).sum(0) / counts)
    # Rounding leaves a constant column of 0.1 with a deviation of 1e-17.
    flat = spread <= 1e-7 * np.maximum(np.abs(centre), 1e-30)
    return centre.astype(np.float32), np.where(flat, 1.0, spread).astype(np.float32)


def _latest(graph: Graph, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if graph.times is None or np.isnan(graph.times[rows]).mean() > 1 - _DATED:
        return None
    order = np.argsort(np.nan_to_num(graph.times[rows], nan=-math.inf), kind="stable")
    return np.sort(rows[order[len(rows) - max(1, round(len(rows) * _VALIDATED)) :]])


def _both(labels: NDArray[np.int8]) -> bool:
    return bool((labels == 1).any() and (labels == 0).any())
