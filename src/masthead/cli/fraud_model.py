"""`masthead fraud train`, `evaluate`, `score`: models from tables, what they would have said, what they say."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput, MastheadError, shown
from masthead.cli.fraud_data import More, SchemaFile, Tables
from masthead.cli.installation import INVALID, AsJson
from masthead.cli.output import print_fields, print_json_line
from masthead.cli.progress import follow, working

if TYPE_CHECKING:
    from masthead.fraud.scoring.model import Table

Labels = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Labels: id, value, arrived_at.")
]
Model = Annotated[Path, typer.Option("--model", metavar="DIR", help="The model's folder.")]
TIME_HELP = "ISO 8601, or a number in the schema's unit."


def train(
    schema: SchemaFile,
    data: Tables,
    model: Model,
    more: More = None,
    labels: Labels = None,
    train_from: Annotated[
        str | None, typer.Option("--train-from", metavar="T", help=f"First transaction. {TIME_HELP}")
    ] = None,
    train_until: Annotated[
        str | None, typer.Option("--train-until", metavar="T", help="End of the transactions, not included.")
    ] = None,
    labels_until: Annotated[
        str | None,
        typer.Option("--labels-until", metavar="T", help="Labels that arrive later teach nothing; or now."),
    ] = None,
    scorer: Annotated[
        str, typer.Option("--scorer", metavar="lightgbm|gnn", help="Trees, or the graph network without ids.")
    ] = "lightgbm",
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Trees read the network's state, too, if that helps.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Same data and seed, same model.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Of the fit; 0: one per core.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Learn a model from transactions on their graph, and save it in a folder."""
    from masthead.base.clock import SystemClock
    from masthead.fraud.data.schema import Schema
    from masthead.fraud.scoring.model import FraudModel, Table

    began = time.perf_counter()
    known = Schema.read(schema)
    with working("reading"):
        table = Table.read(known, [*data, *(more or ())], labels)
    _tell_problems(table)
    until: Any = SystemClock().now() if labels_until == "now" else labels_until
    found: FraudModel | None = follow(
        lambda: FraudModel.training(
            known,
            table,
            train_from=train_from,
            train_until=train_until,
            labels_until=until,
            scorer=scorer,
            embeddings=embeddings,
            seed=seed,
            threads=threads,
            out=model,
        ),
        "training",
    )
    assert found is not None  # the last step of the training has it
    card = found.card
    answer = {
        "model_id": found.id,
        **{name: card[name] for name in ("rows", "positives", "excluded_immature", "validation")},
        "thresholds": {"review": found.thresholds.review, "block": found.thresholds.block},
        "columns_absent": card["columns_absent"],
        **({"embeddings": card["embeddings"]} if embeddings else {}),
        "seconds": round(time.perf_counter() - began, 3),
    }
    _print(answer, as_json=as_json)


def evaluate(
    model: Model,
    data: Tables,
    test_from: Annotated[str, typer.Option("--test-from", metavar="T", help=f"First one. {TIME_HELP}")],
    test_until: Annotated[str, typer.Option("--test-until", metavar="T", help="End, not included.")],
    more: More = None,
    labels: Labels = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="FILE", help="Write each score to a Parquet file.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Stream a window of the past through the serving path, labels arriving on their date, and rate it."""
    from masthead.fraud.scoring.model import FraudModel, Table

    known = FraudModel.load(model)
    with working("reading"):
        table = Table.read(known.schema, [*data, *(more or ())], labels)
    _tell_problems(table)
    found = follow(
        lambda: known.evaluating(table, test_from=test_from, test_until=test_until), f"evaluating {known.id}"
    )
    assert found is not None  # the last step of the evaluation has it
    if scores is not None:
        from pyarrow import parquet

        scores.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(found.scores, scores)
    _print(found.metrics, as_json=as_json)


def score(
    model: Model,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data", metavar="PATH...", help="Transactions that came before; none: an empty graph."
        ),
    ] = None,
    more: More = None,
    labels: Labels = None,
) -> None:
    """Answer transactions on standard input, one JSON object a line, with one decision a line."""
    import orjson

    from masthead.fraud.scoring.model import FraudModel, Table

    known = FraudModel.load(model)
    with working("warming up"):
        known.warm_up()
        stream = known.stream()
        if data:
            table = Table.read(known.schema, [*data, *(more or ())], labels)
            _tell_problems(table)
            stream.warm(table.events, table.labels, until=None)
    refused = 0
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            answer = stream.score(_object(line)).to_json()
        except MastheadError as error:
            refused += 1
            answer = {"line": number, "error": {"code": error.code, "message": error.message}}
        sys.stdout.write(orjson.dumps(answer).decode() + "\n")
        sys.stdout.flush()
    if refused:
        sys.stderr.write(f"masthead: {refused} of the lines could not be scored\n")
        raise typer.Exit(INVALID)


def add(app: typer.Typer) -> None:
    """Add the commands of models to the group."""
    app.command()(train)
    app.command()(evaluate)
    app.command()(score)


def _object(line: str) -> dict[str, Any]:
    import orjson

    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"transaction: expected a JSON object, got {shown(line.strip())}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"transaction: expected a JSON object, got {shown(found)}")
    return found


def _tell_problems(table: "Table") -> None:
    """Say on standard error what could not be used, and what the schema names that the data lack."""
    for what, problems in (("transactions", table.events.problems), ("labels", table.labels.problems)):
        if problems.num_rows:
            first = problems.slice(0, 1).to_pylist()[0]
            sys.stderr.write(
                f"masthead: {problems.num_rows} rows of {what} cannot be used; the first: {first}\n"
            )
    if table.events.absent:
        sys.stderr.write(f"masthead: the data lack {', '.join(table.events.absent)}\n")


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json_line(found)
    else:
        print_fields(found)
