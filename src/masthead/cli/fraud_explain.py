"""`masthead fraud explain | reproduce | rings | outcomes` and `masthead fraud bench explain`: why, with whom, whether so."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from masthead.base.clock import FOREVER_US
from masthead.cli.fraud_bench import History, Hub, Model, bench
from masthead.cli.fraud_serve import Limit, Since, Space, Until, micros
from masthead.cli.installation import OTHER, AsJson, installation
from masthead.cli.output import print_fields, print_json, print_json_line, print_table

__all__ = ["add"]

Id = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
_REASONS = (("Log-odds", "contribution"), ("Reason", "text"))
_RINGS = (
    *(("Ring", "ring"), ("Size", "size"), ("Amount", "amount"), ("Confirmed", "confirmed")),
    *(("Flagged", "flagged"), ("First seen", "first_seen"), ("Last seen", "last_seen"), ("Shared", "shared")),
)
_SHARED = 3
_OUTCOMES = (
    *(("Of", "of"), ("Decided", "decided"), ("Known", "known"), ("Flagged", "flagged"), ("Caught", "caught")),
    *(("Frauds", "frauds"), ("Precision", "precision"), ("Recall", "recall")),
)


def add(app: typer.Typer) -> None:
    """Add the commands to `masthead fraud`."""
    app.command("explain")(explain)
    app.command("reproduce")(reproduce)
    app.command("rings")(rings)
    app.command("outcomes")(outcomes)


def explain(
    id: Id,
    space: Space = "live",
    graph: Annotated[
        bool, typer.Option("--graph", help="The graph around it instead: nodes and edges, as JSON.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say why a transaction was decided so, with what was known then."""
    with installation(None) as masthead:
        found = (
            masthead.fraud.graph(id, space=space) if graph else masthead.fraud.explanation(id, space=space)
        )
    if as_json or graph:
        print_json(found)
    else:
        _tell(found)


def _tell(found: dict[str, Any]) -> None:
    if found["model"] is None:
        print(f"transaction {found['id']} of {found['as_of']}: {found['note']}")
    else:
        print(f"transaction {found['id']} of {found['as_of']}: {found['pred_prob']:.4f} by {found['model']}")
        print_table(_REASONS, found["reasons"], empty=f"No reasons: {found['note']}.")
    for path in found["paths"]:
        print(path["text"])
    if not found["paths"]:
        print("No path leads to a fraud that was known then.")


def reproduce(
    id: Id,
    endpoint: Annotated[
        str,
        typer.Option(
            "--endpoint", metavar="NAME", help="Which deployment's; not given: the one that decided."
        ),
    ] = "",
    space: Space = "live",
    as_json: AsJson = False,
) -> None:
    """Make a decision again from what was kept of it. Exit status 1 when it is not the one that is stored."""
    with installation(None) as masthead:
        found = masthead.fraud.reproduction(id, space=space, alias=endpoint)
    if as_json:
        print_json(found)
    else:
        _tell_again(found)
    if not found["equal"]:
        raise typer.Exit(OTHER)


def _tell_again(found: dict[str, Any]) -> None:
    said = "the same decision again" if found["equal"] else "ANOTHER decision than the one that is stored"
    print(f"transaction {found['id']}, {found['model']} as {found['deployment']}: {said}")
    rows = [
        {"part": name, "stored": _exact(value), "again": _exact(found["recomputed"][name])}
        for name, value in found["stored"].items()
    ]
    print_table((("", "part"), ("Stored", "stored"), ("Made again", "again")), rows, empty="")
    for name in found["not_recorded"]:
        print(f"{name} was not recorded with this decision: what hangs on it is not compared")


def _exact(value: Any) -> str:
    """Return a value in full: what differs in its last bit is not the same."""
    if isinstance(value, dict):
        return f"{value['list']} {value['relation']}={value['value']}"
    return "" if value is None else (repr(value) if isinstance(value, float) else str(value).lower())


def rings(space: Space = "live", limit: Limit = 100, as_json: AsJson = False) -> None:
    """List the rings of the 30 days before the latest transaction, the largest first."""
    with installation(None) as masthead:
        found = masthead.fraud.rings(space=space, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [one | {"shared": [entity["text"] for entity in one["entities"][:_SHARED]]} for one in found]
    print_table(_RINGS, rows, empty="There is no ring.")


def outcomes(start: Since = None, end: Until = None, space: Space = "live", as_json: AsJson = False) -> None:
    """Tell how decisions turned out: precision and recall of all, and of the sample that was released from review."""
    with installation(None) as masthead:
        found = masthead.fraud.outcomes(space=space, start=micros(start, 0), end=micros(end, FOREVER_US))
    if as_json:
        print_json(found)
    else:
        print_table(_OUTCOMES, [{"of": name, **told} for name, told in found.items()], empty="")


@bench.command("explain")
def bench_explain(
    n: Annotated[int, typer.Option("--n", metavar="N", help="Transactions that are explained.")] = 1_000,
    history: History = 97_000,
    hub: Hub = 0,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Reasons and paths, and the graph, of scored transactions with the labels that were known."""
    found = _measured(n, history, hub, model)
    if as_json:
        print_json_line(found)
    else:
        print_fields(found)


def _measured(n: int, history: int, hub: int, model: Path | None) -> dict[str, Any]:
    """Return how long explanations, graphs and the rings of a store took."""
    from masthead.cli.fraud_ground import figures, ground, machine, opened
    from masthead.fraud.data.events import read_labels
    from masthead.fraud.reasons.explaining import Explainer
    from masthead.fraud.store.loading import load_labels
    from masthead.fraud.store.records import LIVE

    with ground(history, n, hub=hub, model=model) as here, opened(here) as (store, _):
        marks = read_labels(here.model.schema, here.events, None)
        load_labels(store, LIVE, marks, source="import")
        stream = store.stream(here.model, reasons=False)
        for event in here.rows():
            stream.score(event)
        stream.close()
        explainer = Explainer(store, lambda id: here.model, lambda space: here.model.schema)
        ids = here.events.ids[history:]
        explainer.explanation(ids[0], LIVE)  # brings LightGBM and the known frauds
        took: dict[str, list[float]] = {"explanation": [], "explanation_cpu": [], "graph": []}
        paths = 0
        for id in ids:
            start, cpu = time.perf_counter(), time.thread_time()
            found = explainer.explanation(id, LIVE)
            middle = time.perf_counter()
            took["explanation_cpu"].append(time.thread_time() - cpu)  # what a quiet machine would take
            explainer.graph(id, LIVE)
            took["graph"].append(time.perf_counter() - middle)
            took["explanation"].append(middle - start)
            paths += bool(found["paths"])
        start = time.perf_counter()
        rings = explainer.rings(LIVE, 1_000)
        rings_s = time.perf_counter() - start
    told = {f"{what}_{name}": value for what, times in took.items() for name, value in figures(times).items()}
    counts = {"with_paths": paths, "rings": len(rings), "rings_s": round(rings_s, 3)}
    return {**told, **counts, "n": n, "history": history, "hub": hub, **machine()}
