"""Scores of a graph's targets as a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masthead.base.errors import InvalidInput, shown
from masthead.fraud.networks.graph import Graph
from masthead.fraud.networks.graph_model import GraphModel

__all__ = ["write_scores"]


def write_scores(
    model: GraphModel, graph: Graph, path: Path, wanted: Sequence[str] | None = None
) -> dict[str, Any]:
    """Write `<target id name>,score`, one row per target in the order of the features, or per wanted id.

    Targets without a row of features follow those that have one. Returns counts: scores, targets and entities that
    training did not see.

    Raises:
        InvalidInput: A wanted id is no target of the graph, or the graph does not fit the model.
    """
    ids = graph.ids[graph.target]
    scores = model.score(graph)
    if wanted is not None:
        places = {one: place for place, one in enumerate(ids)}
        unknown = [one for one in wanted if one not in places]
        if unknown:
            raise InvalidInput(
                f"ids: expected targets of this graph, got {shown(unknown[0])} and {len(unknown) - 1} more"
                if len(unknown) > 1
                else f"ids: expected targets of this graph, got {shown(unknown[0])}"
            )
        rows = [places[one] for one in wanted]
        ids, scores = list(wanted), scores[rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((graph.target, "score"))
        writer.writerows(zip(ids, scores.tolist(), strict=True))
    unseen = {
        kind: len(set(graph.ids[kind]) - set(model.ids[kind].to_pylist()))
        for kind in model.types
        if kind in graph.ids
    }
    mean = float(np.mean(scores)) if len(scores) else None
    return {"n": len(ids), "mean_score": mean, "unseen": unseen, "blend": list(model.blend)}
