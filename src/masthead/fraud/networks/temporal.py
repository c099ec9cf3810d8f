"""Trains the inductive temporal graph network in plain torch: on vectors of the replay, the latest rows choose the epoch.

What is trained stands in `temporal_network`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.graph import Floats
from masthead.fraud.networks.rgcn import calm, torch_of
from masthead.fraud.networks.temporal_network import Blocks, TemporalNetwork, spread_codes, standardised
from masthead.learn.scores import average_precision

__all__ = ["Epoch", "TemporalOptions", "chained_embeddings", "fit", "fitting"]

_MOST_CODES = 65  # of a categorical: 64 kept values and the rest
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class TemporalOptions:
    """How to train; start values as measured on ring data (validation average precision 0.29, 0.65, 0.73 after the
    first three epochs, 0.786 after 40)."""

    hidden: int = 32
    epochs: int = 12
    lr: float = 3e-3
    batch: int = 1024
    positive_weight: float = 4.0
    patience: int = 4
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass: mean loss, average precision on the rows that check (NaN without both classes there), and the network
    of the best epoch so far."""

    number: int
    loss: float
    ap: float
    best: int
    network: TemporalNetwork


def fit(
    x: Floats,
    y: NDArray[np.int8],
    blocks: Blocks,
    *,
    rows: NDArray[np.int64],
    check: NDArray[np.int64],
    options: TemporalOptions | None = None,
) -> TemporalNetwork:
    """Return the network of the epoch that ranks `check` best, learned from `rows`; the last of `fitting`.

    Raises:
        InvalidInput: One class alone, or torch is not installed.
    """
    *_, last = fitting(x, y, blocks, rows=rows, check=check, options=options)
    return last.network


def fitting(
    x: Floats,
    y: NDArray[np.int8],
    blocks: Blocks,
    *,
    rows: NDArray[np.int64],
    check: NDArray[np.int64],
    options: TemporalOptions | None = None,
) -> Iterator[Epoch]:
    """Yield each epoch.

    Args:
        x: (n, columns), NaN = missing. y: (n,) 0 or 1.
        rows: Those that teach. check: Those that say which epoch is kept; none: the last.
    """
    options = options or TemporalOptions()
    positives = int((y[rows] == 1).sum())
    if positives in (0, len(rows)):
        raise InvalidInput(
            f"labels: expected both classes among the training rows, got {positives} frauds of {len(rows)}"
        )
    torch = torch_of()
    codes = tuple(_codes(x[rows, place]) for place in blocks.categoricals)
    centre, scale = _moments(x, rows)
    with calm(torch, options.seed):
        weights = _drawn(torch, blocks, codes, options.hidden)
        lesson = _Lesson(x, y, rows, TemporalNetwork(blocks, codes, centre, scale, {}))
        yield from _fitting(torch, lesson, weights, check, options)


def chained_embeddings(
    x: Floats,
    y: NDArray[np.int8],
    ts: NDArray[np.int64],
    blocks: Blocks,
    *,
    rows: NDArray[np.int64],
    options: TemporalOptions | None = None,
    parts: int = 5,
) -> Iterator[tuple[Floats, TemporalNetwork | None]]:
    """Yield after each part (n, hidden) embeddings that no row's own label has touched, and the network so far; the
    last one is what serving uses, None if no part had both classes before it.

    Training time is cut into `parts` of equally many rows. A part has the embeddings of a network fitted on the parts
    before it, the first part NaN; rows after training have those of the last network.
    """
    options = options or TemporalOptions()
    order = rows[np.argsort(ts[rows], kind="stable")]
    pieces = np.array_split(order, parts)
    found = np.full((len(x), options.hidden), np.nan, np.float32)
    network: TemporalNetwork | None = None
    for place in range(1, parts + 1):
        before = np.concatenate(pieces[:place])
        held = max(1, len(before) // 10)
        if len(np.unique(y[before[:-held]])) == 2:
            network = fit(x, y, blocks, rows=before[:-held], check=before[-held:], options=options)
        after = pieces[place] if place < parts else np.flatnonzero(ts > ts[order[-1]])
        if len(after) and network is not None:
            found[after] = network.embed(x[after])
        yield found, network


class _Lesson:
    """The rows that teach, standardised once: to do it for each batch would take longer than to learn from it."""

    def __init__(
        self, x: Floats, y: NDArray[np.int8], rows: NDArray[np.int64], network: TemporalNetwork
    ) -> None:
        self.x, self.y, self.rows, self.network = x, y, rows, network
        self._filled = np.empty((len(rows), x.shape[1]), np.float32)
        for first in range(0, len(rows), _CHUNK):
            some = x[rows[first : first + _CHUNK]]
            self._filled[first : first + _CHUNK] = standardised(some, network.centre, network.scale)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, some: NDArray[np.int64]) -> tuple[Floats, list[tuple[Floats, Floats]], Floats]:
        """Return the own columns with codes spread out, of each relation its block and whether it is there, labels."""
        blocks, x, filled = self.network.blocks, self.x[self.rows[some]], self._filled[some]
        own = np.concatenate(
            [filled[:, list(blocks.own)], spread_codes(x, blocks, self.network.codes)], axis=1
        )
        relations = []
        for block in blocks.relations:
            there = np.asarray((~np.isnan(x[:, list(block)])).any(1), np.float32)
            relations.append((np.ascontiguousarray(filled[:, list(block)]), there.reshape(-1, 1)))
        return own, relations, self.y[self.rows[some]].astype(np.float32)


def _fitting(
    torch: Any,
    lesson: _Lesson,
    weights: dict[str, Any],
    check: NDArray[np.int64],
    options: TemporalOptions,
) -> Iterator[Epoch]:
    optimizer = torch.optim.Adam(weights.values(), lr=options.lr)
    weight = torch.tensor(options.positive_weight)
    best, number, kept = -1.0, 0, _exported(lesson.network, weights, options)
    chance = np.random.default_rng(options.seed)
    for epoch in range(options.epochs):
        order, losses = chance.permutation(len(lesson)), []
        for first in range(0, len(order), options.batch):
            own, relations, y = lesson.batch(order[first : first + options.batch])
            logits = _logits(torch, weights, own, relations)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, torch.from_numpy(y), pos_weight=weight
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        now = _exported(lesson.network, weights, options)
        ap = average_precision(lesson.y[check], now.raw(lesson.x[check])) if len(check) else None
        if ap is None or ap > best:
            best, number, kept = ap or best, epoch, now
        yield Epoch(epoch, float(np.mean(losses)), math.nan if ap is None else ap, number, kept)
        if epoch - number >= options.patience:
            break


def _logits(
    torch: Any, weights: Mapping[str, Any], own: Floats, relations: Sequence[tuple[Floats, Floats]]
) -> Any:
    heard = 0
    for place, (block, there) in enumerate(relations):
        state = torch.relu(torch.from_numpy(block) @ weights[f"{place}.w"] + weights[f"{place}.b"])
        heard = heard + (state * torch.from_numpy(there)) @ weights[f"{place}.u"]
    said = torch.relu(torch.from_numpy(own) @ weights["own.w"] + weights["own.b"])
    heard = torch.relu(heard) if relations else torch.zeros_like(said)
    z = torch.relu(torch.cat([heard, said], 1) @ weights["mix.w"] + weights["mix.b"])
    return (z @ weights["out.w"] + weights["out.b"])[:, 0]


def _exported(
    network: TemporalNetwork, weights: Mapping[str, Any], options: TemporalOptions
) -> TemporalNetwork:
    """Return the network as arrays; its bias takes back what the class weight added to the log-odds."""
    arrays = {name: value.detach().numpy().copy() for name, value in weights.items()}
    arrays["out.b"] = (arrays["out.b"] - math.log(options.positive_weight)).astype(np.float32)
    return TemporalNetwork(network.blocks, network.codes, network.centre, network.scale, arrays)


def _drawn(torch: Any, blocks: Blocks, codes: Sequence[int], hidden: int) -> dict[str, Any]:
    def matrix(rows: int, columns: int) -> Any:
        return torch.nn.Parameter(torch.randn(rows, columns) / max(rows, 1) ** 0.5)

    def zeros(count: int) -> Any:
        return torch.nn.Parameter(torch.zeros(count))

    found: dict[str, Any] = {}
    for place, block in enumerate(blocks.relations):
        found |= {f"{place}.w": matrix(len(block), hidden), f"{place}.b": zeros(hidden)}
        found[f"{place}.u"] = matrix(hidden, hidden)
    width = len(blocks.own) + sum(codes)
    found |= {"own.w": matrix(width, hidden), "own.b": zeros(hidden)}
    found |= {"mix.w": matrix(2 * hidden, hidden), "mix.b": zeros(hidden)}
    return found | {"out.w": matrix(hidden, 1), "out.b": zeros(1)}


def _moments(x: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return mean and deviation of the squeezed columns; one column at a time, since all would fill the memory."""
    centre, scale = np.zeros(x.shape[1], np.float32), np.ones(x.shape[1], np.float32)
    for place in range(x.shape[1]):
        values = x[rows, place].astype(np.float64)
        values = values[np.isfinite(values)]
        if len(values):
            values = np.sign(values) * np.log1p(np.abs(values))
            centre[place] = values.mean()
            spread = float(values.std())
            scale[place] = spread if spread > 1e-6 else 1.0
    return centre, scale


def _codes(values: Floats) -> int:
    known = values[~np.isnan(values)]
    return int(min(max(known.max(initial=0), 0) + 1, _MOST_CODES))
