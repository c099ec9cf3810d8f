"""Which relation of a graph is which of a trained model: by name, else by what it links, where only one can be meant.

A relation is called as its file, and files of another day have other names; what the columns are called stays.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.networks.graph import Edges, Graph
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.networks.rgcn_scoring import Signature

__all__ = ["Matched", "as_trained"]


@dataclass(frozen=True, slots=True)
class Matched:
    """A graph whose relations are called as in training.

    Attributes:
        graph: Without what the model does not know; its notes tell what was renamed, left out, or is missing.
        renamed: Given name -> that of training.
        unknown: Given relations that the model does not know. missing: Those of training that were not given.
    """

    graph: Graph
    renamed: dict[str, str]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form of what became of the relations."""
        return {
            "used": len(self.graph.relations),
            "renamed": self.renamed,
            "unknown": list(self.unknown),
            "missing": list(self.missing),
        }


def as_trained(model: GraphModel, graph: Graph) -> Matched:
    """Return the graph as the model knows it.

    Raises:
        InvalidInput: None of the relations of training is there, or the targets do not fit the model.
    """
    graph = model.fitting(graph)
    trained = {one.name[1:]: one for one in model.relations()}
    found = _found(graph.relations, trained)
    unknown = tuple(one.name for one in graph.relations if one.name not in found)
    missing = tuple(name for name in trained if name not in found.values())
    if trained and not found:
        raise InvalidInput(
            f"edges: expected at least one relation of the model ({_listed(_told(*one) for one in _ends(trained))}), "
            f"got {_listed(_told(one.name, one.source, one.target) for one in graph.relations) or 'no edge list'}; "
            "name the files and their columns as in training"
        )
    renamed = {given: name for given, name in found.items() if given != name}
    kept = [_as(one, trained[found[one.name]]) for one in graph.relations if one.name in found]
    by_name = {one.name: one for one in graph.relations}
    notes = [
        *(
            f"relation {given}: read as {name} of the training, which links the same"
            for given, name in renamed.items()
        ),
        *(
            f"relation {_told(name, by_name[name].source, by_name[name].target)}: the model does not know it; left out"
            for name in unknown
        ),
        *(
            f"relation {_told(name, trained[name].sender, trained[name].receiver)}: trained on, but no edge list of it given"
            for name in missing
        ),
    ]
    return Matched(replace(graph, relations=tuple(kept)).with_notes(*notes), renamed, unknown, missing)


def _found(given: Iterable[Edges], trained: dict[str, Signature]) -> dict[str, str]:
    """Return given name -> trained name: by name and ends, then by ends and what edges carry, then by ends alone."""
    left, known = list(given), dict(trained)
    found: dict[str, str] = {}
    keys: tuple[tuple[Callable[[Edges], Hashable], Callable[[Signature], Hashable]], ...] = (
        (lambda one: (one.name, _pair(one)), lambda one: (one.name[1:], _pair_of(one))),
        (lambda one: (_pair(one), one.names), lambda one: (_pair_of(one), one.names)),
        (_pair, _pair_of),
    )
    for key, key_of in keys:
        mine, theirs = Counter(map(key, left)), Counter(map(key_of, known.values()))
        names = {key_of(one): name for name, one in known.items()}
        for edges in left:
            # Two of one kind on either side: which is which nobody can tell.
            if mine[key(edges)] == theirs[key(edges)] == 1:
                found[edges.name] = names[key(edges)]
        left = [one for one in left if one.name not in found]
        known = {name: one for name, one in known.items() if name not in found.values()}
    return found


def _pair(edges: Edges) -> Hashable:
    return frozenset((edges.source, edges.target))


def _pair_of(one: Signature) -> Hashable:
    return frozenset((one.sender, one.receiver))


def _as(edges: Edges, known: Signature) -> Edges:
    """Return edges under the name of training, and the way round."""
    if edges.source == known.sender:
        return replace(edges, name=known.name[1:])
    return replace(
        edges,
        name=known.name[1:],
        source=edges.target,
        target=edges.source,
        sources=edges.targets,
        targets=edges.sources,
    )


def _ends(trained: dict[str, Signature]) -> list[tuple[str, str, str]]:
    return [(name, one.sender, one.receiver) for name, one in trained.items()]


def _told(name: str, source: str, target: str) -> str:
    return f"{name} of {source} and {target}"


def _listed(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return shown(text) if text else ""
