"""`masthead fraud graph train|predict`: a graph network on any graph in the file contract."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput
from masthead.cli.grammar import new_room
from masthead.cli.installation import as_typed

if TYPE_CHECKING:
    from masthead.fraud.networks.graph import Graph
    from masthead.fraud.networks.graph_training import Outcome
    from masthead.fraud.networks.rgcn import Epoch

room = new_room("Graph networks on the file contract: features, tags, test ids and edge lists.")

Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder with features, tags, test and relation_*_edgelist."),
]
Nodes = Annotated[
    Path | None, typer.Option("--nodes", metavar="FILE", help="Instead of --data: ids and features.")
]
Edges = Annotated[
    str, typer.Option("--edges", metavar="F1,F2,...", help="With --nodes: edge lists.", show_default=False)
]
Labels = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="With --nodes: ids and labels 0 or 1.")
]
Model = Annotated[Path, typer.Option("--model", metavar="DIR", help="Folder of the model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


def add(app: typer.Typer) -> None:
    """Mount `graph` in the group of fraud."""
    app.add_typer(room, name="graph")


@room.command()
def train(
    out: Annotated[Path, typer.Option("--out", metavar="MODEL", help="Folder to write the model to.")],
    data: Data = None,
    nodes: Nodes = None,
    edges: Edges = "",
    labels: Labels = None,
    test: Annotated[
        Path | None,
        typer.Option("--test", metavar="FILE", help="With --nodes: ids that are held out, one a line."),
    ] = None,
    n_layers: Annotated[int, typer.Option("--n-layers", help="How far a target hears.")] = 2,
    n_hidden: Annotated[int, typer.Option("--n-hidden", help="Width of a state.")] = 64,
    embedding_size: Annotated[
        int, typer.Option("--embedding-size", help="Width of an entity's learned vector.")
    ] = 64,
    n_epochs: Annotated[int, typer.Option("--n-epochs", help="Passes over the graph.")] = 100,
    optimizer: Annotated[
        str, typer.Option("--optimizer", metavar="adam|adamw|sgd", help="How weights follow the gradient.")
    ] = "adam",
    lr: Annotated[float, typer.Option("--lr", help="Learning rate.")] = 1e-2,
    dropout: Annotated[
        float, typer.Option("--dropout", help="Share of a state that is left out in training.")
    ] = 0.2,
    weight_decay: Annotated[float, typer.Option("--weight-decay", help="Pull of all weights to 0.")] = 5e-4,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Probability from which a target is called positive.")
    ] = 0.5,
    seed: Annotated[int, typer.Option("--seed", help="Equal seeds give equal models.")] = 0,
    no_blend: Annotated[
        bool, typer.Option("--no-blend", help="Score by the network alone, not averaged with trees.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train the relational graph network, print its measures, and write the model."""
    _wait_politely()
    from masthead.fraud.networks.graph_model import require_room
    from masthead.fraud.networks.graph_training import train_graph_model
    from masthead.fraud.networks.rgcn_task import Options

    options = Options(
        n_layers, n_hidden, embedding_size, n_epochs, optimizer, lr, dropout, weight_decay, threshold, seed
    )
    options.check()
    require_room(out)
    with as_typed():
        graph = _graph(data, nodes, edges, labels, test)
    _note(graph)
    with _bar(n_epochs) as (told, said):
        outcome = train_graph_model(graph, options, blend=not no_blend, told=told, said=said)
    outcome.model.save(out)
    _tell(outcome)
    if as_json:
        print(json.dumps(outcome.metrics))


@room.command()
def predict(
    model: Model,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="CSV to write the scores to.")],
    data: Data = None,
    nodes: Nodes = None,
    edges: Edges = "",
    ids: Annotated[
        Path | None, typer.Option("--ids", metavar="FILE", help="Score these targets only, one a line.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score the targets of a graph, which may hold new targets, entities and edges."""
    _wait_politely()
    from masthead.fraud.networks.graph_files import read_ids
    from masthead.fraud.networks.graph_matching import as_trained
    from masthead.fraud.networks.graph_model import GraphModel
    from masthead.fraud.networks.graph_scores import write_scores

    with as_typed():
        learned = GraphModel.load(model)
        matched = as_trained(learned, _graph(data, nodes, edges, None, None))
        _note(matched.graph)
        written = write_scores(learned, matched.graph, out, None if ids is None else read_ids(ids))
    written["relations"] = matched.to_json()
    if as_json:
        print(json.dumps(written))
    else:
        print(f"{written['n']:,} scores in {out}")


def _graph(
    data: Path | None, nodes: Path | None, edges: str, labels: Path | None, test: Path | None
) -> "Graph":
    from masthead.fraud.networks.graph_files import read_graph, read_graph_files

    if (data is None) == (nodes is None):
        raise InvalidInput("data: expected --data DIR, or --nodes FILE with --edges, and not both")
    if data is not None:
        if edges or labels or test:
            raise InvalidInput("data: expected --edges, --labels and --test with --nodes only")
        return read_graph(data)
    assert nodes is not None
    return read_graph_files(
        nodes, [Path(one.strip()) for one in edges.split(",") if one.strip()], labels, test
    )


def _note(graph: "Graph") -> None:
    for line in graph.notes:
        typer.echo(f"masthead: note: {line}", err=True)


def _tell(outcome: "Outcome") -> None:
    from masthead.fraud.networks.graph_report import metrics_text

    print(metrics_text(outcome), flush=True)


@contextmanager
def _bar(epochs: int) -> "Iterator[tuple[Callable[[Epoch], None], Callable[[str], None]]]":
    """Print each epoch, with a bar under them on a terminal; yields who hears of epochs and of what goes on."""
    from masthead.fraud.networks.graph_report import epoch_text

    if not sys.stderr.isatty():
        yield lambda epoch: print(epoch_text(epoch), flush=True), lambda text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Lines go above the bar where both are on the terminal; into a file they go as they are.
    shown = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=shown) as bar:
        task: Any = bar.add_task("reading", total=epochs)

        def told(epoch: "Epoch") -> None:
            print(epoch_text(epoch), flush=True)
            bar.update(task, completed=epoch.number + 1)

        yield told, lambda text: bar.update(task, description=text)


def _wait_politely() -> None:
    # Read once, when torch and LightGBM load: threads that wait in loops take the core from those that work.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
