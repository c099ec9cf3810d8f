"""`masthead fraud bench model`: scorers against each other, in a temporary folder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from masthead.cli.installation import AsJson
from masthead.cli.output import print_fields, print_json_line, print_table
from masthead.cli.progress import follow

__all__ = ["add"]

Json = dict[str, Any]


def model(
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="rings|PATH", help="Ring data of the generator, or a folder with schema.toml."
        ),
    ] = "rings",
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="N,...", help="Of the generator, and of every fit.")
    ] = "7,11,13",
    transactions: Annotated[
        int, typer.Option("--transactions", metavar="N", help="How many the generator makes.")
    ] = 100_000,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Of the fits of trees, as in train.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Trees with and without the graph, the network without ids, and the article's, all served as a stream."""
    found = follow(lambda: running(data, _numbers(seeds), transactions, threads), "bench")
    assert found is not None  # the last step has it
    if as_json:
        print_json_line(found)
        return
    rows = [
        {"seed": run["seed"], "scorer": name, **one}
        for run in found["runs"]
        for name, one in run["scorers"].items()
    ]
    names = ("seed", "scorer", "average_precision", "roc_auc", "seconds")
    print_table([(name.replace("_", " "), name) for name in names], rows, empty="nothing was run")
    print_fields({**found["bars"], "load1": found["load1"]})


def running(
    data: str, seeds: list[int], transactions: int, threads: int
) -> Iterator[tuple[Json | None, float | None, str]]:
    """Yield (None, share done, what goes on) and at the end `runs`, one for each seed, and `bars`."""
    import os
    import platform
    import tempfile

    from masthead.fraud.data.generate import generate
    from masthead.fraud.scoring.contest import BARS, Contest, compared

    runs: list[Json] = []
    with tempfile.TemporaryDirectory(prefix="masthead-bench-") as home:
        for seed in seeds:
            folder = Path(data)
            if data == "rings":
                yield None, None, f"seed {seed}: generating"
                folder = Path(home) / str(seed)
                generate(transactions, seed, folder)
            schema, table = _read(folder)
            for found, _, text in Contest(schema, table, seed, threads).running():
                if found is None:
                    yield None, len(runs) / len(seeds), f"seed {seed}: {text}"
                else:
                    runs.append({"seed": seed, **found, "compared": compared(found["scorers"])})
    worst = {name: min(run["compared"][name] for run in runs) for name in BARS}
    bars = {
        name: {"worst": worst[name], "at_least": least, "met": worst[name] >= least}
        for name, least in BARS.items()
    }
    answer: Json = {"data": "rings" if data == "rings" else folder.name, "runs": runs, "bars": bars}
    answer |= {
        "load1": round(os.getloadavg()[0], 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    yield answer, 1.0, "done"


def add(bench: typer.Typer) -> None:
    """Add the command to the group of benches."""
    bench.command()(model)


def _read(folder: Path) -> Any:
    from masthead.base.errors import InvalidInput, shown
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.scoring.model import Table

    if not (folder / "schema.toml").is_file():
        raise InvalidInput(f"data: expected rings or a folder with schema.toml, got {shown(str(folder))}")
    schema = Schema.read(folder / "schema.toml")
    labels = folder / "labels.csv"
    return schema, Table.read(schema, folder, labels if labels.is_file() else None)


def _numbers(text: str) -> list[int]:
    from masthead.base.errors import InvalidInput, shown

    if not all(part.strip().isdigit() for part in text.split(",")):
        raise InvalidInput(f"seeds: expected whole numbers separated by commas, got {shown(text)}")
    return [int(part) for part in text.split(",")]
