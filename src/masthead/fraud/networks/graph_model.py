"""A trained graph model: network, trees, what blends them; its folder without pickle, and scores without torch."""

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet
from numpy.typing import NDArray

from masthead.base.clock import SystemClock
from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.fraud.networks.graph import (
    Direction,
    Floats,
    Graph,
    directions,
    empty_direction,
    with_attributes,
)
from masthead.fraud.networks.graph_features import Known, columns_of, folds_of, own_columns
from masthead.fraud.networks.rgcn_scoring import Numpy, Signature, forward, label_signal, wire
from masthead.fraud.networks.rgcn_task import Options
from masthead.learn.boosting import lightgbm

__all__ = ["BLENDS", "GraphModel", "require_room", "standardised"]

_FORMAT = 1
_KIND = "fraud-graph"
_MOST_DEVIATIONS = 10.0

# What may be averaged to a score. Own columns alone stand among them: where the graph says nothing, it must not hurt.
BLENDS: tuple[tuple[str, ...], ...] = (
    ("network",),
    ("network", "trees"),
    ("trees",),
    ("network", "own"),
    ("own",),
)


def standardised(x: Floats, centre: Floats, scale: Floats) -> Floats:
    """Return features in deviations of the training rows; a missing one is the mean, an extreme one is cut at 10."""
    values = (x - centre) / scale
    return np.asarray(np.clip(np.nan_to_num(values), -_MOST_DEVIATIONS, _MOST_DEVIATIONS), np.float32)


@dataclass(frozen=True, slots=True)
class GraphModel:
    """What training leaves and scoring needs.

    Attributes:
        target: Type of the target nodes. columns: Names of their features, in order.
        types: Node types, the target first. signatures: Directions of the relations.
        centre, scale: Of the features over training rows.
        weights: Of the network. vectors: Entity type -> (nodes, width). ids: Type -> their ids, as pa.StringArray.
        labels: Labels of the training rows, at ids[target].
        base: Share of fraud among these. shift: Added to the network's logits, undoes the class weight.
        chosen: Features whose means over neighbours the trees read. blend: What a score averages.
        trees, own: Boosters as text.
        card: What a person wants to know of it. ignored: Relations of payloads that it does not know, counted.
    """

    target: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    signatures: tuple[Signature, ...]
    options: Options
    centre: Floats
    scale: Floats
    weights: dict[str, Floats]
    vectors: dict[str, Floats]
    ids: dict[str, Any]
    labels: NDArray[np.int8]
    base: float
    shift: float
    chosen: tuple[int, ...]
    blend: tuple[str, ...]
    trees: str
    own: str
    card: dict[str, Any]
    ignored: Counter[str] = field(default_factory=Counter)
    _boosters: dict[str, Any] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    # ------------------------------------------------------------------ scores

    def score(
        self, graph: Graph, vectors: Mapping[str, Floats] | None = None, *, threads: int = 0
    ) -> NDArray[np.float64]:
        """Return P(label 1) of every target of a graph, which may hold new targets, entities and edges.

        Args:
            vectors: Entity type -> (nodes, width) in place of what was learned.
            threads: Cores that the trees use; 0: all.

        Raises:
            InvalidInput: Its targets have another type or other columns.
        """
        parts = self.parts(graph, vectors, threads=threads, wanted=self.blend)
        return np.asarray(np.mean([parts[name] for name in self.blend], axis=0), np.float64)

    def parts(
        self,
        graph: Graph,
        vectors: Mapping[str, Floats] | None = None,
        *,
        threads: int = 0,
        wanted: tuple[str, ...] = ("network", "trees", "own"),
        silent: NDArray[np.bool_] | None = None,
    ) -> dict[str, NDArray[np.float64]]:
        """Return the probabilities of each wanted part; `silent` targets send nothing."""
        graph = self.fitting(graph)
        found = self._directions(graph)
        labels = self._labels_of(graph)
        result: dict[str, NDArray[np.float64]] = {}
        if "network" in wanted:
            result["network"] = self._network(graph, found, labels, vectors, silent)
        if "trees" in wanted:
            speaks = np.ones(len(graph), bool) if silent is None else ~silent
            known = Known(graph.features, speaks, labels, folds_of(graph.ids[graph.target]), self.base)
            names = [one.name for one in self.signatures]
            x = columns_of(self.target, known, found, names, self.chosen)
            result["trees"] = self._predicted("trees", own_columns(x), threads)
        if "own" in wanted:
            result["own"] = self._predicted("own", own_columns(graph.features), threads)
        return result

    def mean_vector(self, kind: str) -> Floats:
        """Return the mean of a type's learned vectors: what an unseen entity has."""
        vectors = self.vectors[kind]
        return (
            vectors.mean(0).astype(np.float32)
            if len(vectors)
            else np.zeros(self.options.embedding_size, np.float32)
        )

    def relations(self) -> list[Signature]:
        """Return the relations as they were given, each once."""
        return [one for one in self.signatures if one.name[0] == ">"]

    def ignore(self, relation: str) -> None:
        """Count a relation of a payload that this model does not know."""
        with self._lock:
            self.ignored[relation] += 1

    def _network(
        self,
        graph: Graph,
        found: Mapping[str, Direction],
        labels: NDArray[np.int8],
        vectors: Mapping[str, Floats] | None,
        silent: NDArray[np.bool_] | None,
    ) -> NDArray[np.float64]:
        inputs = {self.target: standardised(graph.features, self.centre, self.scale)}
        for kind in self.types[1:]:
            given = vectors.get(kind) if vectors is not None else None
            inputs[kind] = given if given is not None else self._vectors_of(kind, graph.ids.get(kind, []))
        told = label_signal(labels, np.flatnonzero(labels >= 0), self.base)[:, None]
        wiring = wire(self.types, self.signatures, found, silent)
        logits = forward(self.weights, wiring, inputs, told, self.options.n_layers, Numpy())
        return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64) + self.shift, -500, 500))))

    def _vectors_of(self, kind: str, ids: list[str]) -> Floats:
        if not len(ids):
            return np.empty((0, self.options.embedding_size), np.float32)
        places = np.asarray(
            pc.index_in(pa.array(ids, pa.string()), self.ids[kind]).fill_null(len(self.vectors[kind]))
        )
        return np.asarray(np.concatenate([self.vectors[kind], self.mean_vector(kind)[None]])[places])

    def _labels_of(self, graph: Graph) -> NDArray[np.int8]:
        """Return the labels of training for the targets of a graph; those of the graph itself are not read."""
        places = pc.index_in(pa.array(graph.ids[graph.target], pa.string()), self.ids[self.target])
        places = np.asarray(places.fill_null(len(self.labels)))
        return np.asarray(np.concatenate([self.labels, np.array([-1], np.int8)])[places])

    def _directions(self, graph: Graph) -> dict[str, Direction]:
        """Return the directions that the model knows, with its attributes; those that the graph lacks are empty."""
        given = {(one.name, one.sender, one.receiver): one for one in directions(graph)}
        result = {}
        for known in self.signatures:
            found = given.get((known.name, known.sender, known.receiver))
            count = len(graph.ids.get(known.receiver, ()))
            result[known.name] = (
                empty_direction(known.name, known.sender, known.receiver, known.names, count)
                if found is None
                else with_attributes(found, known.names)
            )
        return result

    def _predicted(self, name: str, x: Floats, threads: int) -> NDArray[np.float64]:
        with self._lock:
            if name not in self._boosters:
                self._boosters[name] = lightgbm().Booster(model_str=getattr(self, name))
            booster = self._boosters[name]
        if not len(x):
            return np.empty(0)
        return np.asarray(booster.predict(x, num_threads=threads), np.float64)

    def fitting(self, graph: Graph) -> Graph:
        """Return the graph with its features in this model's order.

        Raises:
            InvalidInput: Its targets have another type or other columns.
        """
        if graph.target != self.target:
            raise InvalidInput(f"data: expected targets of type {self.target}, got {shown(graph.target)}")
        if graph.columns == self.columns:
            return graph
        places = {name: place for place, name in enumerate(graph.columns)}
        missing = [name for name in self.columns if name not in places]
        if missing:
            raise InvalidInput(
                f"data: expected the model's {len(self.columns)} columns of features, "
                f"got none named {shown(', '.join(missing[:5]))}"
            )
        order = [places[name] for name in self.columns]
        return replace(graph, features=graph.features[:, order], columns=self.columns)

    # ------------------------------------------------------------------ the folder

    def save(self, folder: Path) -> None:
        """Write the model's folder; the card, which vouches for the other files, comes last.

        Raises:
            InvalidInput: The folder holds something else.
        """
        require_room(folder)
        (folder / "nodes").mkdir(parents=True, exist_ok=True)
        (folder / "card.json").unlink(missing_ok=True)
        for old in (folder / "nodes").glob("*.parquet"):
            old.unlink()
        arrays = {**self.weights, "x.centre": self.centre, "x.scale": self.scale}
        np.savez(folder / "weights.npz", **arrays)  # type: ignore[arg-type]
        for kind in self.types:
            parquet.write_table(self._nodes(kind), folder / _nodes_file(kind))
        (folder / "model.txt").write_text(self.trees)
        (folder / "own.txt").write_text(self.own)
        (folder / "card.json").write_text(json.dumps(self._card(folder), indent=1, sort_keys=True) + "\n")

    def _nodes(self, kind: str) -> Any:
        if kind == self.target:
            return pa.table({"id": self.ids[kind], "label": pa.array(self.labels)})
        vectors = self.vectors[kind]
        flat = pa.array(vectors.ravel(), pa.float32())
        return pa.table(
            {"id": self.ids[kind], "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])}
        )

    def _card(self, folder: Path) -> dict[str, Any]:
        files = ["weights.npz", "model.txt", "own.txt", *(_nodes_file(kind) for kind in self.types)]
        sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
        whole = hashlib.sha256("".join(sums.values()).encode()).hexdigest()
        return {
            **self.card,
            "format": _FORMAT,
            "kind": _KIND,
            "id": f"graph-{whole[:10]}",
            "created": SystemClock().now().isoformat(timespec="seconds"),
            "target": self.target,
            "columns": list(self.columns),
            "types": list(self.types),
            "directions": [
                {name: getattr(one, name) for name in Signature.__slots__} for one in self.signatures
            ],
            "options": {name: getattr(self.options, name) for name in Options.__slots__},
            "base": self.base,
            "shift": self.shift,
            "chosen": list(self.chosen),
            "blend": list(self.blend),
            "files": sums,
        }

    @staticmethod
    def load(folder: Path) -> "GraphModel":
        """Return the model of a folder.

        Raises:
            NotFound: There is none. InvalidInput: It is damaged, or another version wrote it.
        """
        card = read_card(folder)
        try:
            return _loaded(folder, card)
        except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as error:
            raise InvalidInput(
                f"model: expected an intact folder, got {type(error).__name__}: {error}"
            ) from error


def read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a model's folder, whose other files are as it says.

    Raises:
        NotFound: There is none. InvalidInput: It is damaged, or another version wrote it.
    """
    try:
        card = json.loads((folder / "card.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"model: expected a folder with card.json, got {shown(str(folder))}") from error
    except ValueError as error:
        raise InvalidInput(f"model: expected a readable card.json, got {error}") from error
    if isinstance(card, dict) and card.get("kind") == "fraud":
        raise InvalidInput(
            f"model: expected a model of `masthead fraud graph train`, {shown(str(folder))} is one of "
            "`masthead fraud train`; it scores by `masthead fraud score` and is measured by `masthead fraud evaluate`"
        )
    if not isinstance(card, dict) or (card.get("kind"), card.get("format")) != (_KIND, _FORMAT):
        raise InvalidInput(f"model: expected a graph model of format {_FORMAT}, got {_told(card)}")
    try:
        sums = dict(card["files"])
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("model: expected an intact folder, got no list of its files") from error
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise InvalidInput(f"model: expected an intact folder, got no {name}")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            raise InvalidInput(f"model: expected an intact folder, got another content of {name}")
    return card


def require_room(folder: Path) -> None:
    """Check that a model may be written to a folder.

    Raises:
        InvalidInput: It holds something else, is a file, or cannot be made.
    """
    if folder.is_file() or (
        folder.exists() and any(folder.iterdir()) and not (folder / "card.json").exists()
    ):
        raise InvalidInput(f"out: expected a new folder or one of a model, got {shown(str(folder))}")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"out: expected a folder that can be made, got {shown(str(folder))}: {error.strerror}"
        ) from error


def _loaded(folder: Path, card: dict[str, Any]) -> GraphModel:
    with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
        weights = {name: arrays[name] for name in arrays.files}
    tables = {kind: parquet.read_table(folder / _nodes_file(kind)) for kind in card["types"]}
    width = card["options"]["embedding_size"]
    target = card["target"]
    return GraphModel(
        target,
        tuple(card["columns"]),
        tuple(card["types"]),
        tuple(_signature(one) for one in card["directions"]),
        Options(**card["options"]),
        weights.pop("x.centre"),
        weights.pop("x.scale"),
        weights,
        {
            kind: np.asarray(table["vector"].combine_chunks().flatten(), np.float32).reshape(-1, width)
            for kind, table in tables.items()
            if kind != target
        },
        {kind: table["id"].combine_chunks() for kind, table in tables.items()},
        np.asarray(tables[target]["label"], np.int8),
        card["base"],
        card["shift"],
        tuple(card["chosen"]),
        tuple(card["blend"]),
        (folder / "model.txt").read_text(),
        (folder / "own.txt").read_text(),
        card,
    )


def _signature(told: dict[str, Any]) -> Signature:
    centre, scale = (tuple(map(float, told[name])) for name in ("centre", "scale"))
    return Signature(told["name"], told["sender"], told["receiver"], tuple(told["names"]), centre, scale)


def _nodes_file(kind: str) -> str:
    return f"nodes/{quote(kind, safe='')}.parquet"


def _told(card: Any) -> str:
    return shown(f"{card.get('kind')} {card.get('format')}") if isinstance(card, dict) else shown(card)
