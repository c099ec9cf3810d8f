"""`masthead fraud generate|etl|export`: tables of transactions, and the files of a graph made of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.cli.installation import AsJson, as_typed, warn
from masthead.cli.progress import follow, working

if TYPE_CHECKING:
    from masthead.fraud.data.etl import Extracted

SchemaFile = Annotated[
    str,
    typer.Option("--schema", metavar="FILE|NAME", help="What the columns mean: a TOML file, or ieee-cis."),
]
Tables = Annotated[
    list[Path],
    typer.Option("--data", metavar="PATH...", help="CSV, CSV.gz or Parquet files, or folders of them."),
]
More = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH...]", help="Further paths of --data.", hidden=True)
]
"""What follows the first path of `--data`: an option of a command line takes one value."""
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write to.")]
_SHOWN_PROBLEMS = 5


def add(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(generate)
    app.command()(etl)
    app.command()(export)


def generate(
    transactions: Annotated[
        int, typer.Option("--transactions", metavar="N", help="How many, over 180 days; 3.5 % are fraud.")
    ],
    out: Out,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="The same seed gives the same bytes.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write tables of card payments with collusive rings in them, their labels, their truth and their schema."""
    from masthead.fraud.data.generate import generating

    done = follow(lambda: generating(transactions, seed, out), "generating")
    assert done is not None
    if as_json:
        from masthead.cli.output import print_json

        print_json(done.to_json())
        return
    print(f"{done.transactions} transactions, {done.frauds} of them fraud, {done.rings} rings")
    print(f"wrote {', '.join(done.files)} to {out}")


def etl(
    schema: SchemaFile,
    data: Tables,
    out: Out,
    more: More = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="PATH", help="Labels with their arrival, in place of those in the data."
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", metavar="duckdb|spark", help="What computes it.")
    ] = "duckdb",
    format: Annotated[
        str, typer.Option("--format", metavar="csv|parquet|both", help="What is written.")
    ] = "csv",
    test_from: Annotated[
        str,
        typer.Option(
            "--test-from",
            metavar="T",
            help="Hold out transactions from this time on: ISO 8601, or a number in the schema's unit. "
            "Default: the last 20 %.",
            show_default=False,
        ),
    ] = "",
    checksums: Annotated[
        bool, typer.Option("--checksums", help="Also sum up each table, to compare two engines.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the files of a graph: features, tags, ids held out, and an edge list per relation."""
    from masthead.fraud.data.etl import Order, extracting
    from masthead.fraud.data.schema import Schema

    order = Order(
        Schema.read(schema),
        (*data, *(more or ())),
        out,
        labels=labels,
        engine=engine,  # type: ignore[arg-type]
        format=format,
        test_from=test_from,
        checksums=checksums,
    )
    with as_typed("test_from"):
        done = follow(lambda: extracting(order), "etl")
    assert done is not None
    if test_from and done.test in (0, done.transactions):
        which = "no transaction is" if not done.test else "all transactions are"
        warn(f"--test-from {test_from}: {which} that late; {done.test} of {done.transactions} are held out")
    if as_json:
        from masthead.cli.output import print_json

        print_json(done.to_json())
    else:
        _tell(done, out)


def _tell(done: "Extracted", out: Path) -> None:
    from masthead.cli.output import print_table

    rows = [
        {"table": name, "rows": count, "checksum": done.checksums.get(name)}
        for name, count in done.tables.items()
    ]
    columns = [("TABLE", "table"), ("ROWS", "rows")] + ([("CHECKSUM", "checksum")] if done.checksums else [])
    print_table(columns, rows, empty="")
    print(
        f"{done.transactions} transactions, {done.test} of them held out, {done.positives} called fraud; in {out}"
    )
    _tell_problems(done.problems, done.absent, out / "problems.parquet")


def _tell_problems(problems: dict[str, int], absent: tuple[str, ...], where: Path | None) -> None:
    from masthead.fraud.data.schema import collapsed

    if absent:
        print(f"the data lack {', '.join(collapsed(absent))}")
    for reason, count in sorted(problems.items(), key=lambda one: -one[1])[:_SHOWN_PROBLEMS]:
        print(f"{count} times: {reason}")
    if problems and where is not None:
        print(f"rows and columns of {sum(problems.values())} problems are in {where}")


def export(
    schema: SchemaFile,
    data: Tables,
    out: Out,
    more: More = None,
    format: Annotated[
        str, typer.Option("--format", metavar="neptune-csv", help="For which graph database.")
    ] = "neptune-csv",
    as_json: AsJson = False,
) -> None:
    """Write transactions and what they share as a property graph, for Neptune's bulk loader or any Gremlin server."""
    from masthead.base.errors import InvalidInput, shown
    from masthead.fraud.data.events import read_events
    from masthead.fraud.data.neptune import exporting
    from masthead.fraud.data.schema import Schema

    if format != "neptune-csv":
        raise InvalidInput(f"format: expected neptune-csv, got {shown(format)}")
    meaning = Schema.read(schema)
    with working("reading"):
        events = read_events(meaning, [*data, *(more or ())])
    done: Any = follow(lambda: exporting(meaning, events, out), "exporting")
    if as_json:
        from masthead.cli.output import print_json

        print_json(done.to_json())
        return
    print(f"{done.transactions} transactions, {done.entities} entities, {done.edges} edges; in {out}")
    if events.problems.num_rows:
        import pyarrow.parquet as pq

        pq.write_table(events.problems, out / "problems.parquet")
        print(f"rows and columns of {events.problems.num_rows} problems are in {out / 'problems.parquet'}")
