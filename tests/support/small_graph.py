"""A small graph of transactions and what they share, and the article's payload around one of them."""

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from masthead.fraud.networks.graph import Edges, Graph
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.networks.rgcn_task import Options

OPTIONS = Options(n_hidden=8, embedding_size=3, n_epochs=3)


def the_graph() -> Graph:
    chance = np.random.default_rng(5)
    count = 200
    labels = (chance.random(count) < 0.3).astype(np.int8)
    return Graph(
        "TransactionID",
        {
            "TransactionID": [str(3_000_000 + place) for place in range(count)],
            "card1": [str(100 + place) for place in range(40)],
            "addr": [f"a-{place}" for place in range(10)],
        },
        (chance.normal(size=(count, 2)) + labels[:, None]).astype(np.float32),
        ("amount", "age"),
        (
            Edges("card1", "TransactionID", "card1", np.arange(count), chance.integers(0, 40, count)),
            Edges("addr", "addr", "TransactionID", chance.integers(0, 10, count), np.arange(count)),
        ),
        labels,
        np.zeros(count, bool),
    )


def payload(model: GraphModel, place: int = 7) -> dict[str, Any]:
    """Return the whole graph as a payload around one target: a piece that is large enough to lose nothing."""
    graph = the_graph()
    found: dict[str, Any] = {"graph": {}, "n_feats": {"target": {}}, "target_id": 3_000_000 + place}
    for edges in graph.relations:
        ends = edges.sources, edges.targets
        own, other = ends if edges.source == graph.target else ends[::-1]
        far = edges.target if edges.source == graph.target else edges.source
        targets = [int(graph.ids[graph.target][at]) for at in own]
        found["graph"][f"target<>{edges.name}"] = [targets, [graph.ids[far][at] for at in other]]
        vectors = model.vectors[far].tolist()
        found["n_feats"][far] = dict(zip(graph.ids[far], vectors, strict=True))
    found["n_feats"]["target"] = dict(zip(graph.ids[graph.target], graph.features.tolist(), strict=True))
    return found


@functools.cache
def folder() -> Path:
    """Return a folder with a trained network in `model`: one for all tests of a process, made by another one."""
    home = Path(tempfile.mkdtemp(prefix="masthead-graph-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    subprocess.run([sys.executable, __file__, str(home / "model")], check=True)
    return home


if (
    __name__ == "__main__"
):  # a process that has torch in it cannot serve: its warnings are met by whoever looks at every object
    from masthead.fraud.networks.graph_training import train_graph_model

    train_graph_model(the_graph(), OPTIONS, blend=False).model.save(Path(sys.argv[1]))
