"""`masthead fraud bench`: the figures of the durable path, measured here and now, in a temporary folder."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from masthead.cli.grammar import new_room
from masthead.cli.installation import AsJson
from masthead.cli.output import print_fields, print_json_line

__all__ = ["add", "bench"]

bench = new_room("Figures of the durable path, measured here and now.")

History = Annotated[int, typer.Option("--history", metavar="N", help="Transactions that are there before.")]
Hub = Annotated[int, typer.Option("--hub", metavar="N", help="How many of them share one entity.")]
Sync = Annotated[str, typer.Option("--sync", metavar="full|normal", help="As the setting fraud_sync.")]
Model = Annotated[
    Path | None,
    typer.Option("--model", metavar="DIR", help="A model; not given: one is trained on 20,000 rows."),
]


def add(app: typer.Typer) -> None:
    """Add the group to `masthead fraud`."""
    app.add_typer(bench, name="bench")


@bench.command("latency")
def latency(
    n: Annotated[int, typer.Option("--n", metavar="N", help="Transactions that are timed.")] = 3_000,
    runs: Annotated[
        int, typer.Option("--runs", metavar="N", min=1, help="So many times; medians are told.")
    ] = 1,
    history: History = 97_000,
    hub: Hub = 0,
    sync: Sync = "full",
    http: Annotated[bool, typer.Option("--http", help="Over HTTP, to a server of its own.")] = False,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """One transaction after the other: from the request to the durable answer."""
    from masthead.cli import fraud_measures

    measure = fraud_measures.latency_over_http if http else fraud_measures.latency
    _tell(measure(n=n, runs=runs, history=history, hub=hub, sync=_sync(sync), model=model), as_json)


@bench.command("throughput")
def throughput(
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="How long.")] = 30.0,
    clients: Annotated[int, typer.Option("--clients", metavar="N", help="Callers at once.")] = 64,
    rate: Annotated[
        float,
        typer.Option(
            "--rate", metavar="N", help="So many come a second in the first half, which is what is timed."
        ),
    ] = 1_000.0,
    history: History = 97_000,
    sync: Sync = "full",
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Many callers at once, whose transactions share commits: how long each takes at a rate, then how many can be."""
    from masthead.cli import fraud_measures

    found = fraud_measures.throughput(
        seconds=seconds, clients=clients, rate=rate, history=history, sync=_sync(sync), model=model
    )
    _tell(found, as_json)


@bench.command("store")
def store(
    backend: Annotated[
        str, typer.Option("--backend", metavar="sqlite|postgresql", help="Engine.")
    ] = "sqlite",
    transactions: Annotated[int, typer.Option("--transactions", metavar="N", help="How many.")] = 500_000,
    url: Annotated[str, typer.Option("--url", metavar="URL", help="Of an empty PostgreSQL database.")] = "",
    as_json: AsJson = False,
) -> None:
    """Bulk load, and the newest 20 neighbours of each entity of a transaction."""
    from masthead.base.errors import InvalidInput
    from masthead.cli import fraud_measures

    if (backend == "postgresql") != bool(url) or backend not in ("sqlite", "postgresql"):
        raise InvalidInput(
            "url: expected the URL of an empty database with --backend postgresql, and only then"
        )
    _tell(fraud_measures.store(transactions=transactions, url=url), as_json)


@bench.command("crash")
def crash(
    kills: Annotated[int, typer.Option("--kills", metavar="N", help="How often.")] = 20,
    history: History = 97_000,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Kill -9 under load: what was acknowledged is there, nothing is there in part, and scores are as without kills."""
    from masthead.cli import fraud_crash

    _tell(fraud_crash.crash(kills=kills, history=history, model=model), as_json)


def _sync(given: str) -> Literal["full", "normal"]:
    from masthead.base.errors import InvalidInput, shown

    if given == "full":
        return "full"
    if given == "normal":
        return "normal"
    raise InvalidInput(f"sync: expected full or normal, got {shown(given)}")


def _tell(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json_line(found)
    else:
        print_fields(found)
