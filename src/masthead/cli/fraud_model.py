"""`masthead fraud train`, `evaluate`, `score`: models from tables, what they would have said, what they say."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput, MastheadError, shown
from masthead.cli.fraud_data import More, SchemaFile, Tables
from masthead.cli.installation import INVALID, AsJson, as_typed
from masthead.cli.output import print_fields, print_json_line
from masthead.cli.progress import follow, working

if TYPE_CHECKING:
    import pyarrow as pa

    from masthead.fraud.data.schema import Schema
    from masthead.fraud.data.unused import Unused
    from masthead.fraud.scoring.model import Table

Labels = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Labels: id, value, arrived_at.")
]
Problems = Annotated[
    Path | None,
    typer.Option(
        "--problems",
        metavar="FILE",
        help="Where each row and value that cannot be used is written, as Parquet, if there are any.",
        show_default=False,
    ),
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
    problems: Problems = None,
    as_json: AsJson = False,
) -> None:
    """Learn a model from transactions on their graph, and save it in a folder."""
    from masthead.base.clock import SystemClock
    from masthead.fraud.data.schema import Schema, collapsed
    from masthead.fraud.scoring.model import FraudModel, Table
    from masthead.learn.cards import require_place

    began = time.perf_counter()
    known = Schema.read(schema)
    with as_typed("model"):
        require_place(model)
    with working("reading"), as_typed():
        table = Table.read(known, [*data, *(more or ())], labels)
    unused = _tell_unused(table, known, problems or _beside(model))
    until: Any = SystemClock().now() if labels_until == "now" else labels_until
    with as_typed("train_from", "train_until", "labels_until"):
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
        "columns_absent": card["columns_absent"] if as_json else collapsed(card["columns_absent"]),
        "labels_of_unknown": unused.strangers,
        "problems": unused.counts(),
        **({"embeddings": card["embeddings"]} if embeddings else {}),
        "seconds": round(time.perf_counter() - began, 3),
        "peak_mb": _peak_mb(),
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
        Path | None,
        typer.Option(
            "--scores", metavar="FILE", help="Write each score: CSV where it ends in .csv, else Parquet."
        ),
    ] = None,
    problems: Problems = None,
    as_json: AsJson = False,
) -> None:
    """Stream a window of the past through the serving path, labels arriving on their date, and rate it."""
    from masthead.fraud.scoring.model import FraudModel, Table

    with as_typed():
        known = FraudModel.load(model)
    with working("reading"), as_typed():
        table = Table.read(known.schema, [*data, *(more or ())], labels)
    # The model's own name is taken by what its training left out.
    unused = _tell_unused(
        table, known.schema, problems or _beside(scores or model.with_name(f"{model.name}.evaluation"))
    )
    with as_typed("test_from", "test_until"):
        found = follow(
            lambda: known.evaluating(table, test_from=test_from, test_until=test_until),
            f"evaluating {known.id}",
        )
    assert found is not None  # the last step of the evaluation has it
    if scores is not None:
        _write_scores(found.scores, scores)
    _print({**found.metrics, "problems": unused.counts()}, as_json=as_json)


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
    problems: Problems = None,
) -> None:
    """Answer transactions on standard input, one JSON object a line, with one decision a line."""
    import orjson

    from masthead.fraud.scoring.model import FraudModel, Table

    with as_typed():
        known = FraudModel.load(model)
    with working("warming up"), as_typed():
        known.warm_up()
        stream = known.stream()
        if data:
            table = Table.read(known.schema, [*data, *(more or ())], labels)
            _tell_unused(table, known.schema, problems)
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


def _peak_mb() -> float:
    """Return how much memory the process has held at most, in MB of a million bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        # What getrusage tells begins with the peak of the process that started this one.
        (held,) = (1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except OSError:  # no Linux
        import resource

        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(held / 1e6, 1)


def _object(line: str) -> dict[str, Any]:
    import json

    try:
        found = json.loads(line)  # takes NaN, which Python's own writer makes of a missing number
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"transaction: expected a JSON object, got {shown(line.strip())}") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"transaction: expected a JSON object, got {shown(found)}")
    return found


def _tell_unused(table: "Table", schema: "Schema", path: Path | None) -> "Unused":
    """Return what could not be used, said on standard error and written to a file; and say what the data lack."""
    from masthead.fraud.data.schema import collapsed
    from masthead.fraud.data.unused import Unused

    found = Unused.of(schema, table.events, table.labels)
    lines = found.lines()
    # A file of an earlier run must not stand for this one.
    if path is not None and (found.table.num_rows or path.is_file()):
        found.write(path)
        lines += [f"each with its row, column and reason: {path}"] if found.table.num_rows else []
    if table.events.absent:
        lines.append(f"the data lack {', '.join(collapsed(table.events.absent))}")
    for line in lines:
        sys.stderr.write(f"masthead: {line}\n")
    return found


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.problems.parquet")


def _write_scores(scores: "pa.Table", path: Path) -> None:
    from pyarrow import csv, parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".csv":
        csv.write_csv(scores, path, csv.WriteOptions(quoting_style="needed"))
    else:
        parquet.write_table(scores, path)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json_line(found)
    else:
        print_fields(found)
