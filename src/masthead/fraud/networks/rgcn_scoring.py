"""The relational graph network as one formula over arrays, which training runs in torch and serving in numpy.

A layer is `h' = h + leaky(LayerNorm(W_self h + sum_r mean_{u in N_r} W_r h_u))` with r over both directions of every
relation; edges' attributes take part in the message, which is a second product since means are linear. Targets speak to
their neighbours with their known label too, and nobody hears his own. The output reads the states of all layers.

Source: Schlichtkrull et al., arXiv 1703.06103, section 2; Zhu et al., arXiv 2006.11468, section 3 (self apart from
neighbours, all layers read).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.networks.graph import Direction, Floats, Rows, rows_of

__all__ = ["Numpy", "Operations", "Signature", "Wiring", "forward", "kind_of", "label_signal", "wire"]

_SLOPE, _EPSILON = 0.01, 1e-5
_MOST_DEVIATIONS = 10.0  # an amount a thousand deviations away would drown its neighbours


class Operations(Protocol):
    """What torch and numpy each do in their own way."""

    def times(self, rows: Any, values: Any) -> Any:
        """Return sparse times dense."""

    def stack(self, parts: Sequence[Any]) -> Any:
        """Return parts one below the other."""

    def beside(self, parts: Sequence[Any]) -> Any:
        """Return parts side by side."""

    def rise(self, values: Any, gain: Any, shift: Any) -> Any:
        """Return values after LayerNorm, leaky ReLU and, while training, dropout."""


class Numpy:
    """The operations of serving."""

    def times(self, rows: Rows, values: Floats) -> Floats:
        """Return sparse times dense."""
        return rows.times(values)

    def stack(self, parts: Sequence[Floats]) -> Floats:
        """Return parts one below the other."""
        return np.concatenate(parts)

    def beside(self, parts: Sequence[Floats]) -> Floats:
        """Return parts side by side."""
        return np.concatenate(parts, axis=1)

    def rise(self, values: Floats, gain: Floats, shift: Floats) -> Floats:
        """Return values after LayerNorm and leaky ReLU."""
        centred = values - values.mean(1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(1, keepdims=True) + _EPSILON) * gain + shift
        return np.asarray(np.where(scaled > 0, scaled, _SLOPE * scaled), np.float32)


@dataclass(frozen=True, slots=True)
class Signature:
    """One direction as a network knows it.

    Attributes:
        names: Its edges' attributes. centre, scale: Their mean and deviation over training's receivers.
    """

    name: str
    sender: str
    receiver: str
    names: tuple[str, ...]
    centre: tuple[float, ...]
    scale: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Who hears whom, in the form in which it costs least.

    Attributes:
        types: Node types, the target first.
        spread: receiver -> (rows over the stacked senders, places of their directions): messages are made at the
            senders, then summed over all relations in one pass.
        gather: receiver -> directions whose neighbours are averaged first, because the receivers are fewer.
        attributes: direction -> (receivers, names) standardised means, 0 where nothing is known.
    """

    types: tuple[str, ...]
    directions: tuple[Signature, ...]
    spread: dict[str, tuple[Any, tuple[int, ...]]]
    gather: dict[str, tuple[tuple[int, Any], ...]]
    attributes: dict[int, Any]


def wire(
    types: Sequence[str],
    signatures: Sequence[Signature],
    directions: Mapping[str, Direction],
    silent: NDArray[np.bool_] | None = None,
) -> Wiring:
    """Return the wiring of a graph for a network that knows `signatures`.

    Args:
        types: Node types, the target first.
        directions: Those of the graph by name; what is not there sends nothing.
        silent: (targets,) targets that send nothing: those held out while training.
    """
    spread: dict[str, list[tuple[int, Rows]]] = {kind: [] for kind in types}
    gather: dict[str, list[tuple[int, Rows]]] = {kind: [] for kind in types}
    attributes: dict[int, Any] = {}
    for place, known in enumerate(signatures):
        found = directions.get(known.name)
        if found is None or not len(found.rows):
            continue
        rows = found.rows
        if silent is not None and known.sender == types[0]:
            rows = _without(rows, silent)
        rows = rows.averaging()
        (gather if len(rows) < rows.width else spread)[known.receiver].append((place, rows))
        if known.names:
            attributes[place] = _standardised(found, known)
    stacked = {kind: _beside(parts) for kind, parts in spread.items() if parts}
    return Wiring(
        tuple(types),
        tuple(signatures),
        stacked,
        {kind: tuple(parts) for kind, parts in gather.items()},
        attributes,
    )


def forward(
    weights: Mapping[str, Any],
    wiring: Wiring,
    inputs: Mapping[str, Any],
    told: Any,
    layers: int,
    does: Operations,
) -> Any:
    """Return (targets,) logits.

    Args:
        weights: By the names that `rgcn` gives them.
        inputs: (nodes, width) of each type: standardised features, or learned vectors.
        told: (targets, 1) known labels around 0, 0 where none is known.
    """
    target = wiring.types[0]
    h = {
        kind: inputs[kind] @ weights[f"in.{place}.w"] + weights[f"in.{place}.b"]
        for place, kind in enumerate(wiring.types)
    }
    states = [h[target]]
    for layer in range(layers):
        voice = {**h, target: h[target] + told @ weights[f"{layer}.label"]}
        needed = wiring.types if layer + 1 < layers else (target,)
        h = {kind: _next(weights, wiring, h[kind], voice, layer, kind, does) for kind in needed}
        states.append(h[target])
    return (does.beside(states) @ weights["out.w"] + weights["out.b"])[:, 0]


def _next(
    weights: Mapping[str, Any],
    wiring: Wiring,
    own: Any,
    voice: Mapping[str, Any],
    layer: int,
    kind: str,
    does: Operations,
) -> Any:
    role = kind_of(kind, wiring)
    heard = own @ weights[f"{layer}.self.{role}.w"] + weights[f"{layer}.self.{role}.b"]
    between = weights[f"{layer}.rel"]
    for place, rows in wiring.gather[kind]:
        heard = heard + does.times(rows, voice[wiring.directions[place].sender]) @ between[place]
    if kind in wiring.spread:
        rows, places = wiring.spread[kind]
        sent = [voice[wiring.directions[place].sender] @ between[place] for place in places]
        heard = heard + does.times(rows, does.stack(sent))
    for place, values in wiring.attributes.items():
        if wiring.directions[place].receiver == kind:
            heard = heard + values @ weights[f"{layer}.att.{place}"]
    return own + does.rise(heard, weights[f"{layer}.norm.{role}.w"], weights[f"{layer}.norm.{role}.b"])


def label_signal(labels: NDArray[np.int8], known: NDArray[np.int64], base: float) -> Floats:
    """Return (targets,) float32: 0 without a known label, else the label minus the base rate, in deviations."""
    found = np.zeros(len(labels), np.float32)
    deviation = math.sqrt(max(base * (1 - base), 1e-6))
    found[known] = (labels[known] - base) / deviation
    return found


def kind_of(kind: str, wiring: Wiring) -> str:
    """Return whose weights a node type uses for itself: those of targets or those that entities share."""
    return "target" if kind == wiring.types[0] else "entity"


def _without(rows: Rows, silent: NDArray[np.bool_]) -> Rows:
    kept = ~silent[rows.places]
    row = np.repeat(np.arange(len(rows)), rows.counts())[kept]
    return rows_of(row, rows.places[kept], rows.weights[kept], (len(rows), rows.width))


def _beside(parts: list[tuple[int, Rows]]) -> tuple[Rows, tuple[int, ...]]:
    """Return one matrix over the senders of all parts, stacked."""
    row, place, weight, width = [], [], [], 0
    for _, rows in parts:
        row.append(np.repeat(np.arange(len(rows)), rows.counts()))
        place.append(rows.places + width)
        weight.append(rows.weights)
        width += rows.width
    shape = (len(parts[0][1]), width)
    joined = rows_of(np.concatenate(row), np.concatenate(place), np.concatenate(weight), shape)
    return joined, tuple(at for at, _ in parts)


def _standardised(found: Direction, known: Signature) -> Floats:
    """Return the edges' attributes that the network knows, 0 where an edge does not tell them."""
    values = np.zeros((len(found.rows), len(known.names)), np.float32)
    for place, name in enumerate(known.names):
        if name in found.names:
            given = found.attributes[:, found.names.index(name)]
            values[:, place] = (given - known.centre[place]) / known.scale[place]
    return np.clip(np.nan_to_num(values), -_MOST_DEVIATIONS, _MOST_DEVIATIONS)
