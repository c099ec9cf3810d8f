"""Trains the relational graph network on a whole graph at once, in plain torch.

Held-out targets take no part: their features, labels and messages change nothing that is learned or printed before the
end. Which epoch is kept is decided on validation rows.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.graph import Direction, Floats, Rows
from masthead.fraud.networks.rgcn_network import Network
from masthead.fraud.networks.rgcn_scoring import Signature, Wiring, forward, label_signal, wire
from masthead.fraud.networks.rgcn_task import Options, Task
from masthead.learn.scores import average_precision

__all__ = ["Epoch", "Trained", "calm", "class_weight", "csr", "fit", "signatures_of", "spread", "torch_of"]

_MOST_WEIGHT = 12.0
_SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass: mean loss on training rows, f1 and average precision on validation rows (NaN without any)."""

    number: int
    seconds: float
    loss: float
    f1: float
    ap: float


@dataclass(frozen=True, slots=True)
class Trained:
    """What training leaves.

    Attributes:
        weights: By name, float32. vectors: Of each entity type, (nodes, embedding size).
        epoch: The kept one. shift: Add to a logit to undo the class weight.
    """

    weights: dict[str, Floats]
    vectors: dict[str, Floats]
    signatures: tuple[Signature, ...]
    epoch: int
    shift: float


def class_weight(labels: NDArray[Any]) -> float:
    """Return how much a positive counts: negatives / positives, at most 12.

    >>> class_weight(np.array([1, 0, 0, 0]))
    3.0
    """
    positives = int((labels == 1).sum())
    return min(_MOST_WEIGHT, max(1.0, int((labels == 0).sum()) / max(positives, 1)))


def signatures_of(directions: Sequence[Direction]) -> tuple[Signature, ...]:
    """Return the directions with the mean and deviation of what their edges carry."""
    found = []
    for one in directions:
        values = one.attributes.astype(np.float64)
        there = ~np.isnan(values)
        some = np.atleast_1d(np.asarray(there.any(0)))
        centre = [float(values[there[:, i], i].mean()) if some[i] else 0.0 for i in range(len(one.names))]
        spread = [float(values[there[:, i], i].std()) if some[i] else 1.0 for i in range(len(one.names))]
        scale = tuple(value if value > 1e-9 else 1.0 for value in spread)
        found.append(Signature(one.name, one.sender, one.receiver, one.names, tuple(centre), scale))
    return tuple(found)


def fit(task: Task, options: Options, told: Callable[[Epoch], None] = lambda epoch: None) -> Trained:
    """Return the network of the best epoch; `told` hears of each.

    Raises:
        InvalidInput: torch is not installed.
    """
    torch = torch_of()
    with calm(torch, options.seed):
        return _fit(torch, task, options, told)


def _fit(torch: Any, task: Task, options: Options, told: Callable[[Epoch], None]) -> Trained:
    signatures = signatures_of(list(task.directions.values()))
    wiring = _in_torch(torch, wire(task.types, signatures, task.directions, task.silent))
    network = Network(torch, task, signatures, options)
    optimizer = _optimizer(torch, network.parameters, options)
    x = torch.from_numpy(task.x)
    weight = class_weight(task.labels[task.fit])
    shift = -math.log(weight)
    speaker = _Labels(task, options.seed)
    does = _Torch(torch, options.dropout)
    best, kept = -1.0, (0, network.copy())
    for number in range(options.n_epochs):
        begun = time.monotonic()
        rows, signal = speaker.some()
        logits = forward(
            network.weights(),
            wiring,
            network.inputs(x, replaced=True),
            _column(torch, signal),
            options.n_layers,
            does,
        )
        truth = torch.from_numpy(task.labels[rows].astype(np.float32))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            logits[torch.from_numpy(rows)], truth, pos_weight=torch.tensor(weight)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            f1, ap = _checked(torch, task, options, network, wiring, x, speaker, shift)
        if not ap < best:  # NaN, where nothing can be checked, keeps the last epoch
            best, kept = (ap if ap == ap else best), (number, network.copy())
        told(Epoch(number, time.monotonic() - begun, float(loss.detach()), f1, ap))
    epoch, (weights, vectors) = kept
    return Trained(weights, vectors, signatures, epoch, shift)


def _checked(
    torch: Any,
    task: Task,
    options: Options,
    network: Network,
    wiring: Wiring,
    x: Any,
    speaker: "_Labels",
    shift: float,
) -> tuple[float, float]:
    """Return f1 at the threshold and average precision on the validation rows."""
    if not len(task.check):
        return math.nan, math.nan
    logits = forward(
        network.weights(),
        wiring,
        network.inputs(x, replaced=False),
        _column(torch, speaker.all()),
        options.n_layers,
        _Torch(torch, 0.0),
    )
    scores = torch.sigmoid(logits + shift).numpy()[task.check]
    truth = task.labels[task.check]
    hits = int(((scores >= options.threshold) & (truth == 1)).sum())
    wrong = int(((scores >= options.threshold) != (truth == 1)).sum())
    ap = average_precision(truth, scores)
    return (2 * hits / max(2 * hits + wrong, 1)), math.nan if ap is None else ap


class _Labels:
    """What targets tell their neighbours: in training half of the labels, and the other half is learned."""

    def __init__(self, task: Task, seed: int) -> None:
        self._task, self._chance = task, np.random.default_rng(seed)
        self._base = float((task.labels[task.fit] == 1).mean())

    def all(self) -> Floats:
        """Return the signal of all training labels."""
        return label_signal(self._task.labels, self._task.fit, self._base)

    def some(self) -> tuple[NDArray[np.int64], Floats]:
        """Return rows to learn, and the signal of the others."""
        task = self._task
        hidden = self._chance.random(len(task.fit)) < 0.5
        if not hidden.any() or not (task.labels[task.fit[hidden]] == 1).any():
            hidden[:] = True
        return task.fit[hidden], label_signal(task.labels, task.fit[~hidden], self._base)


class _Torch:
    """The operations of training."""

    def __init__(self, torch: Any, dropout: float) -> None:
        self._torch, self._dropout = torch, dropout
        self._spread = spread(torch)

    def times(self, rows: tuple[Any, Any], values: Any) -> Any:
        return self._spread.apply(*rows, values)

    def stack(self, parts: Sequence[Any]) -> Any:
        return self._torch.cat(list(parts))

    def beside(self, parts: Sequence[Any]) -> Any:
        return self._torch.cat(list(parts), 1)

    def rise(self, values: Any, gain: Any, shift: Any) -> Any:
        done = self._torch.nn.functional
        values = done.leaky_relu(done.layer_norm(values, gain.shape, gain, shift), _SLOPE)
        return done.dropout(values, self._dropout) if self._dropout else values


def spread(torch: Any) -> Any:
    """Return sparse times dense as an operation of torch, with the transpose at hand: torch would make it again in every backward pass."""

    class Spread(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(context: Any, rows: Any, transposed: Any, values: Any) -> Any:
            context.transposed = transposed
            return rows @ values

        @staticmethod
        def backward(context: Any, gradient: Any) -> Any:
            return None, None, context.transposed @ gradient

    return Spread


def _in_torch(torch: Any, wiring: Wiring) -> Wiring:
    def both(rows: Rows) -> tuple[Any, Any]:
        return csr(torch, rows), csr(torch, rows.transposed())

    return Wiring(
        wiring.types,
        wiring.directions,
        {kind: (both(rows), places) for kind, (rows, places) in wiring.spread.items()},
        {kind: tuple((place, both(rows)) for place, rows in parts) for kind, parts in wiring.gather.items()},
        {place: torch.from_numpy(values) for place, values in wiring.attributes.items()},
    )


def csr(torch: Any, rows: Rows) -> Any:
    parts = (torch.from_numpy(one) for one in (rows.starts, rows.places, rows.weights))
    return torch.sparse_csr_tensor(*parts, (len(rows), rows.width), check_invariants=False)


def _column(torch: Any, values: Floats) -> Any:
    return torch.from_numpy(values)[:, None]


def _optimizer(torch: Any, parameters: list[Any], options: Options) -> Any:
    kept = {"lr": options.lr, "weight_decay": options.weight_decay}
    if options.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=0.9, **kept)
    made = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    return made(parameters, **kept)


@contextlib.contextmanager
def calm(torch: Any, seed: int) -> Iterator[None]:
    """Seed and bound torch for a while, then leave it as it was."""
    before = torch.get_num_threads()
    # One thread: the same sums in the same order everywhere. Two on a busy machine wait for each other in loops:
    # 2.7 s an epoch of 500,000 edges instead of 0.45 s.
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # Told once per process of a state that we know: compressed rows are in beta.
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)


def torch_of() -> Any:
    """Return torch, loaded.

    Raises:
        InvalidInput: It is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InvalidInput(
            "torch: expected torch 2.13.0 for training a graph network, found none; pip install 'masthead[gnn]'"
        ) from error
    return torch
