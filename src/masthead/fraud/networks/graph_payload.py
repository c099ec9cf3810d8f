"""The article's payload to a score: a piece of graph around one target, with the features and vectors of its nodes.

    {"graph": {"target<>card1": [[3163166, 3161002], ["13926", "13926"]]},
     "n_feats": {"target": {"3163166": [...]}, "card1": {"13926": [...]}}, "target_id": 3163166}

Ids are compared as text. Edges count both ways. An entity without a vector, or with zeros alone, has the mean of its
type; a relation that the model does not know is ignored and counted in `GraphModel.ignored`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.data.values import key_text
from masthead.fraud.networks.graph import Edges, Floats, Graph
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.networks.rgcn_scoring import Signature

__all__ = ["score_payload"]

_TARGET = "target"


def score_payload(model: GraphModel, body: bytes | str | Mapping[str, Any]) -> float:
    """Return the probability that the target of a payload is labelled 1.

    Raises:
        InvalidInput: The payload is none, or a node's features have another length than the model's.
    """
    given = _parsed(body)
    wanted = _text(given.get("target_id"), "target_id")
    nodes = _Nodes(model, _mapping(given.get("n_feats", {}), "n_feats"))
    nodes.place(model.target, wanted)
    edges = [
        found
        for key, pairs in _mapping(given.get("graph", {}), "graph").items()
        if (found := _edges(model, key, pairs, nodes)) is not None
    ]
    features = nodes.features()
    if wanted not in nodes.told:
        raise InvalidInput(f"n_feats.{_TARGET}: expected the features of target_id, got none for it")
    count = len(features)
    graph = Graph(
        model.target,
        {kind: list(ids) for kind, ids in nodes.ids.items()},
        features,
        model.columns,
        tuple({one.name: one for one in edges}.values()),
        np.full(count, -1, np.int8),
        np.zeros(count, bool),
    )
    return float(model.score(graph, nodes.vectors(), threads=1)[0])


class _Nodes:
    """Nodes in the order in which they are met, and what the payload says of them."""

    def __init__(self, model: GraphModel, given: Mapping[str, Any]) -> None:
        self._model = model
        self.ids: dict[str, dict[str, int]] = {kind: {} for kind in model.types}
        self._given: dict[str, dict[str, Any]] = {}
        for key, values in given.items():
            kind = model.target if key == _TARGET and _TARGET not in model.types[1:] else key
            told = {
                key_text(name) or str(name): value
                for name, value in _mapping(values, f"n_feats.{key}").items()
            }
            self._given[kind] = {**self._given.get(kind, {}), **told}
        self.told = self._given.get(model.target, {})

    def place(self, kind: str, name: str) -> int:
        """Return the place of a node, a new one at first sight."""
        known = self.ids[kind]
        return known.setdefault(name, len(known))

    def features(self) -> Floats:
        """Return (targets, columns); a neighbour without features is missing in each."""
        model = self._model
        found = np.full((len(self.ids[model.target]), len(model.columns)), np.nan, np.float32)
        for name, place in self.ids[model.target].items():
            if name in self.told:
                found[place] = _numbers(self.told[name], len(model.columns), f"n_feats.{_TARGET}.{name}")
        return found

    def vectors(self) -> dict[str, Floats]:
        """Return (nodes, width) of each entity type."""
        model, found = self._model, {}
        width = model.options.embedding_size
        for kind in model.types[1:]:
            given, mean = self._given.get(kind, {}), model.mean_vector(kind)
            rows = np.tile(mean, (len(self.ids[kind]), 1)).astype(np.float32)
            for name, place in self.ids[kind].items():
                if given.get(name):
                    values = _numbers(given[name], width, f"n_feats.{kind}.{name}")
                    if np.any(values != 0):
                        rows[place] = np.nan_to_num(values)
            found[kind] = rows
        return found


def _edges(model: GraphModel, key: str, pairs: Any, nodes: _Nodes) -> Edges | None:
    """Return the edges of one key; None for what the model adds itself or does not know."""
    head, mark, tail = key.partition("<>")
    if not mark:
        raise InvalidInput(f"graph: expected keys of the form target<>relation, got {shown(key)}")
    if tail == "self_relation" or head == "self_relation":
        return None
    turned = head not in (_TARGET, model.target)
    relation = _relation(model, *((tail, head) if turned else (head, tail)))
    if relation is None:
        model.ignore(key)
        return None
    own, other = _pairs(pairs, key)
    if turned:
        own, other = other, own
    if relation.sender == relation.receiver == model.target or relation.sender == model.target:
        ends = own, other
    else:
        ends = other, own
    sources = [nodes.place(relation.sender, name) for name in ends[0]]
    targets = [nodes.place(relation.receiver, name) for name in ends[1]]
    return Edges(
        relation.name[1:],
        relation.sender,
        relation.receiver,
        np.array(sources, np.int64),
        np.array(targets, np.int64),
    )


def _relation(model: GraphModel, head: str, tail: str) -> Signature | None:
    """Return the relation that a key names: by its own name, else by the type at its far end."""
    if head not in (_TARGET, model.target):
        return None
    known = [one for one in model.relations() if model.target in (one.sender, one.receiver)]
    named = [one for one in known if one.name[1:] == tail]
    far = model.target if tail == _TARGET and _TARGET not in model.types[1:] else tail
    typed = [one for one in known if _far(one, model.target) == far]
    if named:
        return named[0]
    return typed[0] if len(typed) == 1 else None


def _far(one: Signature, target: str) -> str:
    return one.receiver if one.sender == target else one.sender


def _pairs(pairs: Any, key: str) -> tuple[list[str], list[str]]:
    ends = pairs if isinstance(pairs, Sequence) and not isinstance(pairs, str) else ()
    if len(ends) != 2 or not all(isinstance(one, Sequence) and not isinstance(one, str) for one in ends):
        raise InvalidInput(f"graph.{key}: expected a list of target ids and one of values")
    if len(ends[0]) != len(ends[1]):
        raise InvalidInput(
            f"graph.{key}: expected two lists of one length, got {len(ends[0])} and {len(ends[1])}"
        )
    first, second = ([_text(one, f"graph.{key}") for one in end] for end in ends)
    return first, second


def _numbers(values: Any, width: int, field: str) -> NDArray[np.float32]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise InvalidInput(f"{field}: expected a list of {width} numbers")
    if len(values) != width:
        raise InvalidInput(f"{field}: expected {width} numbers, got {len(values)}")
    try:
        found = np.array([np.nan if one is None else float(one) for one in values], np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"{field}: expected {width} numbers, got something else among them") from error
    found[~np.isfinite(found)] = np.nan
    return found


def _text(value: Any, field: str) -> str:
    name = None if isinstance(value, bool) or not isinstance(value, str | int | float) else key_text(value)
    if name is None:
        raise InvalidInput(f"{field}: expected an id, a text or a number")
    return name


def _mapping(value: Any, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{field}: expected an object")
    return value


def _parsed(body: bytes | str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(body, Mapping):
        return body
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInput("body: expected JSON") from error
    return _mapping(found, "body")
