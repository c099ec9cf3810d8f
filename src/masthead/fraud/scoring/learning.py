"""From vectors to an engine: trees, the graph network, or trees that also read the network's state if that helps.

A state that a row's own label has shaped looks better in training than it ever will in serving. So each row reads the
state of a network fitted on earlier rows, and the states stay only where the latest rows are ranked better by more than
chance.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import DAY_US
from masthead.fraud.networks.temporal import Epoch, TemporalOptions, chained_embeddings, fitting
from masthead.fraud.networks.temporal_network import Blocks
from masthead.fraud.scoring.engines import EmbeddedTrees, Engine, Network, Trees
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.fitting import CONFIGURATION, Fit, fit
from masthead.learn.scores import average_precision, gain_error

__all__ = ["Learned", "Material", "learn"]

_LATEST = 0.1  # of the rows choose the network's epoch where the latest 15 % of the time cannot

Floats = NDArray[np.float32]
Steps = Iterator[tuple["Learned | None", str]]


@dataclass(frozen=True, slots=True)
class Material:
    """What is learned from.

    Attributes:
        x: (rows, columns) in the order of time. y: (rows,) 1 or 0. ts: (rows,) UTC microseconds.
        check: (rows,) which only say when to stop and what is kept.
        threads, parameters: Of LightGBM, the latter in place of its own.
    """

    layout: Layout
    x: Floats
    y: NDArray[np.int8]
    ts: NDArray[np.int64]
    check: NDArray[np.bool_]
    seed: int
    threads: int
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned.

    Attributes:
        engine: Taught by all rows: it serves.
        judged: The same without the latest rows, by which it may thus be validated and calibrated.
        card: What is told of both.
    """

    engine: Engine
    judged: Engine
    card: dict[str, Any]


def blocks_of(layout: Layout) -> Blocks:
    """Return the blocks of a layout: what is the transaction's own, and each aggregated relation's columns."""
    places: dict[str, list[int]] = {name: [] for name in layout.tracked if name in layout.aggregated}
    own: list[int] = []
    for place, column in enumerate(layout.columns):
        if column.group != "categorical":
            (places[column.relation] if column.relation else own).append(place)
    return Blocks(tuple(own), tuple(layout.categorical_positions), tuple(map(tuple, places.values())))


def learn(given: Material, *, scorer: str, embeddings: bool) -> Steps:
    """Yield (None, what goes on) and at the end what was learned.

    Args:
        scorer: lightgbm or gnn. embeddings: Try the network's state as columns of the trees.
    """
    if scorer == "gnn":
        yield from _network(given)
    elif embeddings:
        yield from _embedded(given)
    else:
        yield from _trees(given, given.x, "tree")


def _trees(given: Material, x: Floats, name: str) -> Steps:
    judged = Fit("", 0)
    for found, text in _forest(given, x, name, given.check):
        judged = found or judged
        yield None, text
    served = judged
    if (
        given.check.any()
    ):  # the latest rows have said how many trees; they are the best teachers of what comes next
        none = np.zeros(len(x), bool)
        for found, text in _forest(given, x, f"{name} of all rows:", none, rounds=max(1, judged.trees)):
            served = found or served
            yield None, text
    card = {"trees": served.trees, "configuration": {**CONFIGURATION, **given.parameters}}
    yield Learned(Trees(served.text), Trees(judged.text), card), "done"


def _forest(
    given: Material, x: Floats, name: str, check: NDArray[np.bool_], **rounds: int
) -> Iterator[tuple[Fit | None, str]]:
    layout = given.layout
    names = [*layout.names, *(f"state.{place}" for place in range(x.shape[1] - layout.width))]
    steps = fit(
        x,
        given.y,
        check,
        names=names,
        categoricals=layout.categorical_positions,
        seed=given.seed,
        threads=given.threads,
        parameters=given.parameters,
        **rounds,
    )
    for found, done in steps:
        yield found, f"{name} {done}, {len(x)} rows, {len(names)} columns"


def _network(given: Material) -> Steps:
    options, epoch = TemporalOptions(seed=given.seed), None
    rows, check = np.flatnonzero(~given.check), np.flatnonzero(given.check)
    if len(np.unique(given.y[check])) < 2:
        cut = len(rows) - int(len(rows) * _LATEST)
        if len(np.unique(given.y[rows[cut:]])) == 2 == len(np.unique(given.y[rows[:cut]])):
            rows, check = rows[:cut], rows[cut:]
    for epoch in fitting(given.x, given.y, blocks_of(given.layout), rows=rows, check=check, options=options):
        yield None, f"epoch {epoch.number}, {len(rows)} rows, loss {epoch.loss:.4f}"
    assert isinstance(epoch, Epoch)  # there is at least one
    card = {"epochs": epoch.best + 1, "configuration": asdict(options)}
    engine = Network(epoch.network)
    yield Learned(engine, engine, card), "done"


def _embedded(given: Material) -> Steps:
    unborn = Trees.__new__(Trees)
    plain = Learned(unborn, unborn, {})
    for found, text in _trees(given, given.x, "tree"):
        plain = found or plain
        yield None, text
    rows, network, states = np.flatnonzero(~given.check), None, np.empty(0, np.float32)
    options = TemporalOptions(seed=given.seed)
    chain = chained_embeddings(
        given.x, given.y, given.ts, blocks_of(given.layout), rows=rows, options=options
    )
    for place, (states, network) in enumerate(chain, 1):  # noqa: B007 - the last ones stay
        yield None, f"network {place} of 5"
    if network is None or len(np.unique(given.y[given.check])) < 2:
        told: dict[str, Any] = {"kept": False, "why": "the latest rows have one outcome"}
        yield replace(plain, card={**plain.card, "embeddings": told}), "done"
        return
    rich = plain
    for found, text in _trees(given, np.concatenate([given.x, states], axis=1), "tree with states"):
        rich = found or rich
        yield None, text
    assert isinstance(rich.engine, Trees)  # as `_trees` makes them
    assert isinstance(rich.judged, Trees)
    with_states = Learned(EmbeddedTrees(rich.engine, network), EmbeddedTrees(rich.judged, network), rich.card)
    told = _gain(given, plain.judged, with_states.judged)
    best = with_states if told["kept"] else plain
    yield replace(best, card={**best.card, "embeddings": told}), "done"


def _gain(given: Material, plain: Engine, rich: Engine) -> dict[str, Any]:
    """Return what the states add to average precision on the latest rows, and its standard error: days drawn anew."""
    x, y, day = given.x[given.check], given.y[given.check], given.ts[given.check] // DAY_US
    before, after = plain.raws(x), rich.raws(x)
    ap = [average_precision(y, scores) or 0.0 for scores in (before, after)]
    error = gain_error(y, before, after, day, seed=given.seed)
    return {
        "kept": bool(ap[1] - ap[0] > error),
        "average_precision": {"without": ap[0], "with": ap[1]},
        "standard_error": error if np.isfinite(error) else None,
        "days": len(np.unique(day)),
    }
