"""What answers inside a model: trees, the graph network, or trees that read the network's state beside the columns.

Each is arrays and text, so a model's folder holds nothing that could run, and serving needs no torch.
"""

import io
import zipfile
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.networks.temporal_network import TemporalNetwork
from masthead.fraud.scoring.forest import Forest
from masthead.learn.boosting import lightgbm

__all__ = ["SCORERS", "EmbeddedTrees", "Engine", "Network", "Trees", "engine_of"]

Floats = NDArray[np.float32]

SCORERS = ("lightgbm", "gnn")


class Engine(Protocol):
    """From vectors to scores in log-odds."""

    def raw(self, x: Floats) -> float:
        """Return the score of one vector. `x`: (columns,) of the layout."""

    def raws(self, x: Floats) -> NDArray[np.float64]:
        """Return the scores of many, equal to the bit to `raw`'s. `x`: (rows, columns)."""

    def contributions(self, x: Floats) -> NDArray[np.float64]:
        """Return (rows, columns + 1): what each column adds, and last the base; each row's sum is its score."""

    def files(self, **more: NDArray[Any]) -> dict[str, bytes]:
        """Return its files by name, `more` among the arrays of one of them; `engine_of` takes them back."""


class Trees:
    """LightGBM's trees, walked without LightGBM."""

    def __init__(self, text: str, forest: Forest | None = None) -> None:
        self.text = text
        self.forest = Forest.parse(text) if forest is None else forest

    def raw(self, x: Floats) -> float:
        """Return the sum of the leaves."""
        return self.forest.raw(x)

    def raws(self, x: Floats) -> NDArray[np.float64]:
        """Return the sums of the leaves."""
        return self.forest.raws(x)

    def contributions(self, x: Floats) -> NDArray[np.float64]:
        """Return exact Shapley values of the trees."""
        return np.asarray(self._booster.predict(x, pred_contrib=True, num_threads=1), np.float64)

    def files(self, **more: NDArray[Any]) -> dict[str, bytes]:
        """Return the text, and the same as arrays."""
        return {"model.txt": self.text.encode(), "forest.npz": self.forest.to_bytes(**more)}

    @cached_property
    def _booster(self) -> Any:
        return lightgbm().Booster(model_str=self.text)


class Network:
    """The inductive temporal graph network."""

    def __init__(self, network: TemporalNetwork) -> None:
        self.network = network

    def raw(self, x: Floats) -> float:
        """Return the logit."""
        return float(self.network.read(self.network.embed_one(x)[None])[0])

    def raws(self, x: Floats) -> NDArray[np.float64]:
        """Return the logits."""
        return self.network.raw(x)

    def contributions(self, x: Floats) -> NDArray[np.float64]:
        """Return integrated gradients."""
        return self.network.contributions(x)

    def files(self, **more: NDArray[Any]) -> dict[str, bytes]:
        """Return the weights."""
        return {"network.npz": _packed({**self.network.arrays(), **more})}


class EmbeddedTrees:
    """Trees over the columns and the network's state of them."""

    def __init__(self, trees: Trees, network: TemporalNetwork) -> None:
        self.trees, self.network = trees, network

    def raw(self, x: Floats) -> float:
        """Return the sum of the leaves."""
        return self.trees.raw(np.concatenate([x, self.network.embed_one(x)]))

    def raws(self, x: Floats) -> NDArray[np.float64]:
        """Return the sums of the leaves."""
        return self.trees.raws(self._beside(x))

    def contributions(self, x: Floats) -> NDArray[np.float64]:
        """Return Shapley values of the trees; what the state adds goes to the columns that move the network most."""
        width = x.shape[1]
        found = self.trees.contributions(self._beside(x))
        moved = np.abs(self.network.contributions(x)[:, :-1])
        total = moved.sum(axis=1, keepdims=True)
        share = np.divide(moved, total, out=np.zeros_like(moved), where=total > 0)
        states = found[:, width:-1].sum(axis=1, keepdims=True)
        base = found[:, -1:] + np.where(total > 0, 0.0, states)
        return np.concatenate([found[:, :width] + share * states, base], axis=1)

    def files(self, **more: NDArray[Any]) -> dict[str, bytes]:
        """Return the files of both."""
        return {**self.trees.files(**more), "network.npz": _packed(self.network.arrays())}

    def _beside(self, x: Floats) -> Floats:
        return np.concatenate([x, self.network.embed(x)], axis=1)


def engine_of(files: Mapping[str, bytes], columns: int) -> Engine:
    """Return the engine that a model's files hold.

    Args:
        columns: Of the model's layout.

    Raises:
        InvalidInput: There is none among them, or one for another number of columns.
    """
    network = _network(files["network.npz"], columns) if "network.npz" in files else None
    if {"model.txt", "forest.npz"} <= files.keys():
        forest = Forest.from_bytes(files["forest.npz"])
        width = columns + (network.hidden if network else 0)
        if forest.columns != width:
            raise InvalidInput(f"forest.npz: expected trees over {width} columns, got {forest.columns}")
        trees = Trees(files["model.txt"].decode(), forest)
        return trees if network is None else EmbeddedTrees(trees, network)
    if network is None:
        raise InvalidInput(
            f"model: expected forest.npz or network.npz, got {shown(', '.join(sorted(files)))}"
        )
    return Network(network)


def _network(data: bytes, columns: int) -> TemporalNetwork:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            network = TemporalNetwork.of_arrays({name: found[name] for name in found.files})
        network.wires  # noqa: B018 - what lacks a weight is told here
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"network.npz: expected the arrays of a network, got {shown(error)}") from error
    if len(network.centre) != columns:
        raise InvalidInput(
            f"network.npz: expected a network over {columns} columns, got {len(network.centre)}"
        )
    return network


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
