"""The article's graph network as a baseline: two relational layers and a learned vector for every entity.

Its own way of scoring has the test transactions in the training graph. A stream has not: at its time a transaction
knows the neighbours that came before, and an entity that is new has no vector. `streamed` answers as a stream must.

Layer 1 of a transaction is `S_1 x + sum_r W_r v_e`, of an entity `V_r mean(x of its transactions)`; layer 2 reads both.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.networks.graph import Floats, rows_of
from masthead.fraud.networks.rgcn import calm, csr, spread, torch_of

__all__ = ["ArticleGraph", "ArticleNetwork", "ArticleOptions", "last_mean"]

_LAST = 20  # neighbours of an entity that a served subgraph holds
_SLOPE = 0.01


@dataclass(frozen=True, slots=True)
class ArticleOptions:
    """How to train; more epochs or less weight decay memorise the ids and lose in a stream."""

    hidden: int = 16
    epochs: int = 40
    lr: float = 1e-2
    weight_decay: float = 5e-4
    positive_weight: float = 12.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class ArticleGraph:
    """Transactions in the order of time.

    Attributes:
        x: (n, columns) standardised, nothing missing. y: (n,) 1 or 0 where it teaches.
        members: (n, relations) entities of each relation from 0 on; -1 = none. counts: Entities of each.
    """

    x: Floats
    y: NDArray[np.int8]
    members: NDArray[np.int64]
    counts: tuple[int, ...]


class ArticleNetwork:
    """The network, trained on the first transactions of a graph."""

    def __init__(
        self, graph: ArticleGraph, seen: int, rows: NDArray[np.int64], options: ArticleOptions
    ) -> None:
        self._graph, self._seen, self._rows, self._options = graph, seen, rows, options
        self._torch = torch = torch_of()
        members = graph.members[:seen]
        self._starts = np.cumsum([0, *graph.counts])
        place, relation = np.nonzero(members >= 0)
        entity = members[place, relation] + self._starts[relation]
        shape = (seen, int(self._starts[-1]))
        links = rows_of(place, entity, np.ones(len(place), np.float32), shape)
        back = links.transposed()
        self._degree = back.counts()
        self._means = torch.from_numpy(back.averaging().times(graph.x[:seen]))
        self._x = torch.from_numpy(graph.x[:seen])
        self._times = spread(torch)
        with calm(torch, options.seed):
            self._links, self._back = csr(torch, links), csr(torch, back)
            self._weights = self._drawn()

    def training(self) -> Iterator[tuple[int, float]]:
        """Yield each epoch and its loss."""
        torch, options = self._torch, self._options
        optimizer = torch.optim.Adam(self._weights.values(), lr=options.lr, weight_decay=options.weight_decay)
        rows = torch.from_numpy(self._rows)
        truth = torch.from_numpy(self._graph.y[self._rows].astype(np.float32))
        weight = torch.tensor(options.positive_weight)
        with calm(torch, options.seed):
            for epoch in range(options.epochs):
                loss = torch.nn.functional.binary_cross_entropy_with_logits(
                    self._logits()[rows], truth, pos_weight=weight
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                yield epoch, float(loss.detach())

    def transductive(self) -> NDArray[np.float64]:
        """Return the logits of all transactions that it was trained among."""
        with self._torch.no_grad(), calm(self._torch, 0):
            return np.asarray(self._logits().numpy(), np.float64)

    def streamed(self, rows: NDArray[np.int64], *, unseen: str = "mean") -> NDArray[np.float64]:
        """Return the logits of transactions from what was known at their time.

        Args:
            unseen: What an entity outside of training has: the `mean` of its type's vectors, or `zero`.
        """
        torch, w, graph = self._torch, self._weights, self._graph
        relu, x = self._relu, torch.from_numpy(graph.x[rows])
        with torch.no_grad(), calm(torch, 0):
            first, second = x @ w["s1"] + w["b1"], 0
            for r in range(len(graph.counts)):
                part = slice(self._starts[r], self._starts[r + 1])
                entity = graph.members[rows, r]
                there = torch.from_numpy((entity >= 0).astype(np.float32))[:, None]
                vectors = w["vectors"][part].numpy()
                known = self._degree[part] > 0
                found = vectors[np.maximum(entity, 0)]
                mean = vectors[known].mean(0) if known.any() else 0.0
                found[~known[np.maximum(entity, 0)]] = mean if unseen == "mean" else 0.0
                first = first + (torch.from_numpy(found) @ w[f"w.{r}"] + w[f"wb.{r}"]) * there
                near = torch.from_numpy(last_mean(graph.x, graph.members[:, r], rows))
                state = relu(near @ w[f"v.{r}"] + w[f"vb.{r}"])
                second = second + (state @ w[f"u.{r}"] + w[f"ub.{r}"]) * there
            z = second + relu(first) @ w["s2"] + w["b2"]
            return np.asarray((z @ w["out.w"] + w["out.b"])[:, 0].numpy(), np.float64)

    def _logits(self) -> Any:
        torch, w, counts = self._torch, self._weights, self._graph.counts
        parts = [slice(self._starts[r], self._starts[r + 1]) for r in range(len(counts))]
        sent = [w["vectors"][part] @ w[f"w.{r}"] + w[f"wb.{r}"] for r, part in enumerate(parts)]
        first = self._times.apply(self._links, self._back, torch.cat(sent))
        first = first + self._x @ w["s1"] + w["b1"]
        entities = [
            self._relu(self._means[part] @ w[f"v.{r}"] + w[f"vb.{r}"]) for r, part in enumerate(parts)
        ]
        sent = [entities[r] @ w[f"u.{r}"] + w[f"ub.{r}"] for r in range(len(counts))]
        second = self._times.apply(self._links, self._back, torch.cat(sent))
        z = second + self._relu(first) @ w["s2"] + w["b2"]
        return (z @ w["out.w"] + w["out.b"])[:, 0]

    def _relu(self, values: Any) -> Any:
        return self._torch.nn.functional.leaky_relu(values, _SLOPE)

    def _drawn(self) -> dict[str, Any]:
        torch, hidden, width = self._torch, self._options.hidden, self._graph.x.shape[1]
        sizes = {"1": width, "2": hidden}
        found: dict[str, Any] = {
            f"s{name}": torch.randn(size, hidden) / size**0.5 for name, size in sizes.items()
        }
        found |= {f"b{name}": torch.zeros(hidden) for name in sizes}
        for r in range(len(self._graph.counts)):
            for name, size in (("w", width), ("v", width), ("u", hidden)):
                found[f"{name}.{r}"] = torch.randn(size, hidden) / size**0.5
                found[f"{name}b.{r}"] = torch.zeros(hidden)
        found |= {"out.w": torch.randn(hidden, 1) / hidden**0.5, "out.b": torch.zeros(1)}
        found["vectors"] = torch.empty(int(self._starts[-1]), width).uniform_(-0.02, 0.02)
        return {name: torch.nn.Parameter(value) for name, value in found.items()}


def last_mean(x: Floats, members: NDArray[np.int64], rows: NDArray[np.int64]) -> Floats:
    """Return (rows, columns): the mean of a transaction and of the last 20 before it that share its entity.

    Args:
        x: (n, columns) in the order of time. members: (n,) entities of one relation; -1 = none: the row itself.

    >>> last_mean(np.array([[1], [2], [6], [9]], np.float32), np.array([0, 1, 0, -1]), np.array([2, 3]))
    array([[3.5],
           [9. ]], dtype=float32)
    """
    order = np.flatnonzero(members >= 0)
    order = order[np.argsort(members[order], kind="stable")]
    who = members[order]
    new = np.concatenate([[True], np.diff(who) != 0])[: len(order)]
    begin = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    place = np.full(len(members), -1, np.int64)
    place[order] = np.arange(len(order))
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x[order], axis=0, dtype=np.float64)])
    found = x[rows].copy()
    at = place[rows]
    some = np.flatnonzero(at >= 0)
    last = at[some]
    first = np.maximum(begin[last], last - _LAST)
    found[some] = (sums[last + 1] - sums[first]) / (last + 1 - first)[:, None]
    return found
