"""Scorers against each other on one table, split by time: what the graph adds, and what a stream takes from a network
that was rated with the test transactions in its training graph.

All learn from the first 80 % of the transactions and are rated on the rest, on the final truth.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import FOREVER_US
from masthead.base.errors import InvalidInput
from masthead.fraud.data.columns import Events
from masthead.fraud.data.schema import Schema
from masthead.fraud.networks.article import ArticleGraph, ArticleNetwork, ArticleOptions
from masthead.fraud.networks.graph import Floats
from masthead.fraud.scoring.features import Encoder, Layout
from masthead.fraud.scoring.model import FraudModel, Table
from masthead.fraud.scoring.truth import UNKNOWN, end_of, outcome, training_rows
from masthead.learn.scores import average_precision, roc_auc

__all__ = ["BARS", "Contest", "compared"]

Json = dict[str, Any]
Steps = Iterator[tuple[Json | None, float | None, str]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TRAINED = 0.8
_STREAMED = ("article_stream_mean", "article_stream_zero", "article_stream_same_weights")

BARS: dict[str, float] = {
    "default_ap": 0.85,
    "default_over_article": 2.5,
    "default_above_own": 0.2,
    "inductive_over_article": 2.0,
}
"""What ring data must show, each at least."""


@dataclass(frozen=True, slots=True)
class Contest:
    """One table and where its test begins."""

    schema: Schema
    table: Table
    seed: int = 0
    threads: int = 0

    def running(self) -> Steps:
        """Yield (None, share done, what goes on) and at the end `scorers`, each with `average_precision`, `roc_auc`
        and `seconds`, and `transactions`, `test`, `positives`.

        Raises:
            InvalidInput: Too few transactions, or test rows of one outcome; torch is not installed.
        """
        events, labels = self.table.events, self.table.labels
        first = int(np.searchsorted(events.ts, events.ts[int(len(events) * _TRAINED)])) if len(events) else 0
        truth = outcome(
            self.schema, events, labels, until=end_of(events, labels), from_file=self.table.from_file
        )
        test = first + np.flatnonzero(truth.value[first:] != UNKNOWN)
        y = truth.value[test]
        if len(np.unique(y)) < 2:
            raise InvalidInput(
                f"data: expected frauds and others among the last fifth, got {len(test)} labelled transactions there"
            )
        scorers: Json = {}
        for name, scores, seconds, share, text in self._scored(first, test):
            if scores is None:
                yield None, share, text
            else:
                figures = {"average_precision": average_precision(y, scores), "roc_auc": roc_auc(y, scores)}
                scorers[name] = {**figures, "seconds": round(seconds, 3)}
        found = {
            "transactions": len(events),
            "test": len(test),
            "positives": int(y.sum()),
            "scorers": scorers,
        }
        yield found, 1.0, "done"

    def _scored(
        self, first: int, test: NDArray[np.int64]
    ) -> Iterator[tuple[str, NDArray[np.float64] | None, float, float, str]]:
        """Yield (name, scores of `test` when they are there, seconds, share done, what goes on)."""
        bare = replace(
            self.schema,
            relations=tuple(replace(one, aggregate=False) for one in self.schema.relations),
            counterparties=(),
        )
        entrants = (
            ("own", bare, "lightgbm"),
            ("default", self.schema, "lightgbm"),
            ("inductive", self.schema, "gnn"),
        )
        for place, (name, schema, scorer) in enumerate(entrants):
            yield name, None, 0.0, place / 4, name
            began = time.perf_counter()
            yield (
                name,
                self._streamed(schema, scorer, first)[test - first],
                time.perf_counter() - began,
                0,
                name,
            )
        yield from self._article(first, test)

    def _streamed(self, schema: Schema, scorer: str, first: int) -> NDArray[np.float64]:
        """Return the scores of all from `first` on, through the serving path."""
        cut = _EPOCH + timedelta(microseconds=int(self.table.events.ts[first]))
        model = FraudModel.train(
            schema, self.table, train_until=cut, scorer=scorer, seed=self.seed, threads=self.threads
        )
        found = model.evaluate(self.table, test_from=cut, test_until=None)
        return np.asarray(found.scores["score"].to_numpy(), np.float64)

    def _article(
        self, first: int, test: NDArray[np.int64]
    ) -> Iterator[tuple[str, NDArray[np.float64] | None, float, float, str]]:
        events, options = self.table.events, ArticleOptions(seed=self.seed)
        wait = self.schema.maturity_us if self.table.from_file else self.schema.label_delay_us
        until = int(events.ts[first])
        rows, truth, _ = training_rows(
            self.schema,
            events,
            self.table.labels,
            window=(-FOREVER_US, until),
            labels_until=until + wait,
            from_file=self.table.from_file,
        )
        graph = article_graph(self.schema, events, rows, truth.value)
        for seen, name in ((len(events), "article_transductive"), (first, "article_stream")):
            began = time.perf_counter()
            network = ArticleNetwork(graph, seen, rows, options)
            for epoch, loss in network.training():
                yield name, None, 0.0, 0.9, f"{name}, epoch {epoch}, loss {loss:.4f}"
            if seen > first:
                yield name, network.transductive()[test], time.perf_counter() - began, 0.9, name
                yield f"{name[:8]}stream_same_weights", network.streamed(test), 0.0, 0.9, name
                continue
            for unseen in ("mean", "zero"):
                scores = network.streamed(test, unseen=unseen)
                yield f"{name}_{unseen}", scores, time.perf_counter() - began, 1.0, name


def article_graph(
    schema: Schema, events: Events, rows: NDArray[np.int64], y: NDArray[np.int8]
) -> ArticleGraph:
    """Return transactions as the article's ETL has them: log amount, numerics, a column for each categorical's value."""
    layout = Layout.learn(schema, events, rows)
    _, numerics, categories = Encoder(layout).of_events(events)
    amount = np.log10(np.maximum(events.amount, 0.01)).astype(np.float32)[:, None]
    spread = [
        (categories[:, [place]] == np.arange(len(kept) + 1)).astype(np.float32)
        for place, kept in enumerate(layout.kept)
    ]
    x = np.concatenate([amount, numerics, *spread], axis=1)
    places = [r for r, one in enumerate(schema.relations) if one.name in layout.present]
    counts = tuple(len(events.vocabularies[r]) for r in places)
    members = events.codes[:, places].astype(np.int64)
    return ArticleGraph(_standardised(x, rows), y, members, counts)


def compared(scorers: Json) -> Json:
    """Return how scorers stand to each other: ratios of average precision, and what a stream takes from the article's.

    Of the ways to serve the article's network as a stream the best one counts.
    """
    ap = {name: one["average_precision"] for name, one in scorers.items()}
    article = max(ap[name] for name in _STREAMED)
    rated, served = (scorers[name] for name in ("article_transductive", "article_stream_same_weights"))
    return {
        "default_ap": ap["default"],
        "default_over_article": ap["default"] / article,
        "default_above_own": ap["default"] - ap["own"],
        "inductive_over_article": ap["inductive"] / article,
        "transductive_to_stream": {
            name: rated[name] - served[name] for name in ("average_precision", "roc_auc")
        },
    }


def _standardised(x: Floats, rows: NDArray[np.int64]) -> Floats:
    known = x[rows].astype(np.float64)
    there = np.isfinite(known)
    counts = np.maximum(there.sum(axis=0), 1)
    centre = np.where(there, known, 0).sum(axis=0) / counts
    spread = np.sqrt((np.where(there, known - centre, 0) ** 2).sum(axis=0) / counts)
    values = (x - centre) / np.where(spread > 1e-6, spread, 1.0)
    return np.asarray(np.clip(np.nan_to_num(values), -10, 10), np.float32)
