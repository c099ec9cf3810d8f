"""`masthead metrics`: score files without a server, look at data before it is used."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput, LimitReached, shown
from masthead.cli.grammar import new_room
from masthead.cli.installation import INVALID
from masthead.cli.progress import working
from masthead.cli.rooms import ROOMS
from masthead.cli.simulate import simulate

if TYPE_CHECKING:
    from masthead.metrics.backtest import Backtest, Plan
    from masthead.metrics.raw import Format
    from masthead.metrics.spec import Measure
    from masthead.metrics.validation import Validation

app = new_room(ROOMS["metrics"])
app.command()(simulate)

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="DATA...", help="Files, folders with all folders inside, or patterns.", show_default=False
    ),
]
Timestamp = Annotated[str, typer.Option("--timestamp", metavar="COL", help="Column of the event time.")]
TimestampFormat = Annotated[
    str,
    typer.Option(
        "--timestamp-format",
        metavar="F",
        help="Java letters, epoch_s, epoch_ms or iso; found when not given.",
    ),
]
Zone = Annotated[str, typer.Option("--zone", metavar="NAME", help="Zone of stamps without an offset.")]
Measures = Annotated[
    list[str] | None,
    typer.Option("--measure", metavar="NAME[:avg|sum|...]", help="Column to watch; repeatable."),
]
Watched = Annotated[
    list[str], typer.Option("--measure", metavar="NAME[:avg|sum|...]", help="Column to watch; repeatable.")
]
Dimensions = Annotated[
    list[str] | None, typer.Option("--dimension", metavar="COL", help="Column of categories; repeatable.")
]
Interval = Annotated[
    str,
    typer.Option(
        "--interval", metavar="<N>s|m|h|d|any", help="Length of an interval; any: each record is one."
    ),
]
Columns = Annotated[
    str,
    typer.Option(
        "--columns", metavar="A,B,C", help="Names for a CSV file without header.", show_default=False
    ),
]
Missing = Annotated[
    list[str] | None,
    typer.Option("--missing", metavar="VALUE", help="Text that stands for no value; repeatable."),
]
Filters = Annotated[
    list[str] | None, typer.Option("--filter", metavar="COL=VALUE", help="Keep only these rows; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def backtest(
    data: Files,
    timestamp: Timestamp,
    measure: Watched,
    timestamp_format: TimestampFormat = "",
    dimension: Dimensions = None,
    interval: Interval = "5m",
    history: Annotated[
        list[str] | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="Earlier rows to learn from: file, folder or pattern; repeatable.",
        ),
    ] = None,
    sensitivity: Annotated[
        float, typer.Option("--sensitivity", metavar="N", help="Lowest severity that is printed, 0 to 100.")
    ] = 70.0,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="FILE", help="Also write every score to a Parquet file."),
    ] = None,
    zone: Zone = "UTC",
    columns: Columns = "",
    missing: Missing = None,
    filter: Filters = None,
    as_json: AsJson = False,
) -> None:
    """Score old files and print the anomaly groups, one per line."""
    from masthead.metrics.backtest import Plan

    if not 0 <= sensitivity <= 100:
        raise InvalidInput(f"sensitivity: expected 0 to 100, got {sensitivity}")
    format = _format(columns, missing or [])
    plan = Plan(
        time=timestamp,
        time_format=timestamp_format,
        zone=zone,
        measures=_measures(measure),
        dimensions=tuple(dimension or ()),
        interval_s=_interval_s(interval),
        filters=_filters(filter or []),
        data_format=format,
        history_format=format,
    )
    with working("scoring"):
        result = _backtest(data, history or [], plan, scores)
    if as_json:
        from masthead.cli.output import print_json

        print_json(result.to_json(sensitivity))
    else:
        _tell(result, sensitivity)


@app.command()
def validate(
    data: Files,
    timestamp: Timestamp = "",
    timestamp_format: TimestampFormat = "",
    measure: Measures = None,
    dimension: Dimensions = None,
    interval: Interval = "5m",
    zone: Zone = "UTC",
    columns: Columns = "",
    missing: Missing = None,
    filter: Filters = None,
    as_json: AsJson = False,
) -> None:
    """Say what files hold and what stands in the way of using them; exit 2 when something does."""
    from masthead.metrics.files import find_files
    from masthead.metrics.validation import Expectation, validate_files

    expected = Expectation(
        time=timestamp,
        time_format=timestamp_format,
        zone=zone,
        measures=_measures(measure) if measure else (),
        dimensions=tuple(dimension or ()),
        interval_s=_interval_s(interval),
        filters=_filters(filter or []),
    )
    with working("reading"):
        found = validate_files(find_files(data, deep=True), expected, _format(columns, missing or []))
    if as_json:
        from masthead.cli.output import print_json

        print_json(found.to_json())
    else:
        _show(found)
    if not found.valid:
        raise typer.Exit(INVALID)


def _backtest(data: list[str], history: list[str], plan: "Plan", scores: Path | None) -> "Backtest":
    from masthead.metrics.backtest import run_backtest
    from masthead.metrics.files import find_files
    from masthead.metrics.scores_file import ScoresFile

    files, past = find_files(data, deep=True), find_files(history, "history", deep=True)
    try:
        if scores is None:
            return run_backtest(files, plan, history=past)
        with ScoresFile(scores, plan.dimensions, sparse=plan.interval_s == 0) as written:
            return run_backtest(files, plan, history=past, sink=written.take)
    except LimitReached as error:  # too many series, say: here it is the files that cannot be used
        raise InvalidInput(error.message, field=error.field) from error


def _measures(given: list[str]) -> "tuple[Measure, ...]":
    """Return the measures of `NAME` and `NAME:aggregation`; the second one of a column carries both in its name."""
    from masthead.metrics.spec import AGGREGATIONS, Measure

    found: dict[str, Measure] = {}
    for text in given:
        column, colon, suffix = text.rpartition(":")
        aggregation = suffix.lower()
        if not colon or aggregation not in AGGREGATIONS:
            column, aggregation = text, "avg"
        if aggregation == "ratio" or not column:
            raise InvalidInput(
                f"measure: expected NAME or NAME:avg, sum, min and the like, got {shown(text)}"
            )
        name = column if column not in found else f"{column}:{aggregation}"
        if name in found:
            raise InvalidInput(f"measure: expected each one once, got {shown(text)} twice")
        found[name] = Measure(name, column, aggregation)
    return tuple(found.values())


def _interval_s(text: str) -> int:
    from masthead.base.units import parse_duration_s

    return 0 if text == "any" else parse_duration_s(text, "interval")


def _filters(given: list[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        column, equals, value = text.partition("=")
        if not equals or not column:
            raise InvalidInput(f"filter: expected COL=VALUE, got {shown(text)}")
        found[column] = (*found.get(column, ()), value)
    return found


def _format(columns: str, missing: list[str]) -> "Format":
    from masthead.metrics.raw import Format

    names = tuple(name.strip() for name in columns.split(",")) if columns else ()
    return Format(columns=names, missing_values=(*Format().missing_values, *missing))


def _tell(result: "Backtest", sensitivity: float) -> None:
    from masthead.metrics.backtest import group_json
    from masthead.metrics.contributions import largest_first
    from masthead.metrics.quality import describe

    told = [group_json(group) for group in result.groups if group.severity >= sensitivity]
    for group in told:
        shares = "; ".join(
            f"{dimension} " + ", ".join(f"{value} {percent:g} %" for value, percent in largest_first(values))
            for dimension, values in group["contributions"].items()
        )
        print(
            f"{group['start']}  {group['end']}  {group['measure']}  {group['severity']:.1f}  {shares}".rstrip()
        )
    quality = result.quality
    notes = [f"{len(told)} groups at severity {sensitivity:g} or more in {quality.rows:,} rows"]
    if result.learned and result.tested:
        notes[0] += f"; the first {result.learned} intervals served to learn"
    elif result.learned:
        notes[0] += (
            f"; all {result.learned} intervals served to learn, none was tested: give more, or --history"
        )
    for part, source in (("data", quality), ("history", result.history)):
        notes += [f"{part}: {line}" for line in (describe(source) if source is not None else [])]
    for line in [*notes, f"configuration {result.configuration}"]:
        typer.echo(line, err=True)


def _show(found: "Validation") -> None:
    from masthead.cli.output import print_table

    rows: list[dict[str, Any]] = [column.to_json() for column in found.columns]
    shown_as = (("Column", "name"), ("Type", "type"), ("Missing", "missing"), ("Examples", "examples"))
    print_table(shown_as, rows, empty="No columns.")
    for line in found.lines():
        print(line)
