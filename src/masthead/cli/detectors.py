"""`masthead detectors`: what is watched, its life, its anomalies and a person's word on them."""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import Conflict, InvalidInput, shown
from masthead.base.units import parse_duration_s
from masthead.cli.documents import read_document
from masthead.cli.grammar import Noun, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, File, Name, installation
from masthead.cli.output import print_fields, print_json, print_table

if TYPE_CHECKING:
    from masthead.app import Masthead

_ENDED = ("active", "learning", "stopped", "failed", "backtested")
_LOOK_S = 0.2
_SAMPLE_ROWS = 5

app = new_room("Detectors: data sets that are watched, and the anomalies found in them.")
groups = new_room("Anomaly groups: series of one measure that were anomalous together.")
app.add_typer(groups, name="groups")
add_verbs(
    app,
    Noun(
        word="detector",
        columns=(
            ("Name", "name"),
            ("State", "state"),
            ("Mode", "mode"),
            ("Interval", "interval"),
            ("Progress", "text"),
            ("Last interval", "last_interval"),
            ("Late", "late"),
            ("Duplicates", "duplicates"),
        ),
        listed=lambda masthead: [_Row(one) for one in masthead.metrics.list_detectors()],
        got=lambda masthead, name: masthead.metrics.get_detector(name),
        deleted=lambda masthead, name: masthead.metrics.delete_detector(name),
    ),
)

Wait = Annotated[bool, typer.Option("--wait", help="Return when it has ended; fails with the detector.")]
GroupId = Annotated[str, typer.Argument(metavar="GROUP", help="Id of an anomaly group.", show_default=False)]


class _Row:
    """A detector in the list: what the table shows of its parts stands beside its own fields."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = self._detector.to_json()
        spec, progress = found["spec"], found["progress"]
        text = found["failure"] or progress.get("text", "")
        return found | {"mode": spec.get("mode"), "interval": spec.get("interval"), "text": text}


@app.command("create")
def create(
    name: Name,
    file: File,
    activate: Annotated[bool, typer.Option("--activate", help="Also validate and activate it.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create a detector from a file."""
    document = _with_absolute_paths({**read_document(file), "name": name}, file.parent)
    with installation(data) as masthead:
        made = masthead.metrics.create_detector(document)
        if activate:
            made = masthead.metrics.activate(name)
    if as_json:
        print_json(made.to_json())
    else:
        print(f"created detector {name}" + (f", {made.state}" if activate else ""))


@app.command("update")
def update(name: Name, file: File, as_json: AsJson = False, data: Data = None) -> None:
    """Replace the settings of a detector that is not active."""
    document = _with_absolute_paths({**read_document(file), "name": name}, file.parent)
    with installation(data) as masthead:
        answer(masthead.metrics.update_detector(name, document), as_json=as_json)


@app.command("set-dataset")
def set_dataset(name: Name, file: File, as_json: AsJson = False, data: Data = None) -> None:
    """Set the parts of the settings that a file names: source, time, measures, dimensions, filters, history."""
    document = _with_absolute_paths(read_document(file), file.parent)
    document.pop("name", None)
    with installation(data) as masthead:
        answer(masthead.metrics.set_dataset(name, document), as_json=as_json)


@app.command("export-settings")
def export_settings(name: Name, data: Data = None) -> None:
    """Print a detector's settings as TOML that `create --file` reads."""
    with installation(data) as masthead:
        print(masthead.metrics.get_detector(name).spec.to_toml(), end="")


@app.command("validate")
def validate(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Read samples of every source and tell what was found; changes nothing. Exit status 1 when invalid."""
    with installation(data) as masthead:
        found = masthead.metrics.validate(name)
    value = found.to_json()
    if as_json:
        print_json(value)
    else:
        _tell_validation(value)
    if not found.valid:
        raise typer.Exit(1)


app.command("test", help="The same as validate.")(validate)


@app.command("activate")
def activate(name: Name, wait: Wait = False, as_json: AsJson = False, data: Data = None) -> None:
    """Validate, learn from the history if there is one, and watch."""
    with installation(data) as masthead:
        _require_server(masthead, wait)
        found = masthead.metrics.activate(name)
        _tell_state(masthead, found, wait=wait, as_json=as_json)


@app.command("deactivate")
def deactivate(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Stop watching; what was found stays."""
    with installation(data) as masthead:
        _tell_state(masthead, masthead.metrics.deactivate(name), wait=False, as_json=as_json)


@app.command("backtest")
def backtest(name: Name, wait: Wait = False, as_json: AsJson = False, data: Data = None) -> None:
    """Score the past data of a detector in backtest mode."""
    with installation(data) as masthead:
        _require_server(masthead, wait)
        found = masthead.metrics.backtest(name)
        _tell_state(masthead, found, wait=wait, as_json=as_json)


@app.command("quality")
def quality(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show what was counted about a detector's data."""
    with installation(data) as masthead:
        answer(masthead.metrics.data_quality(name), as_json=as_json)


@app.command("executions")
def executions(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """List a detector's activations and backtests."""
    with installation(data) as masthead:
        rows = [one.to_json() for one in masthead.metrics.executions(name)]
    if as_json:
        print_json(rows)
        return
    columns = (
        ("Id", "id"),
        ("Kind", "kind"),
        ("State", "state"),
        ("Started", "started"),
        ("Ended", "ended"),
        ("Text", "text"),
        ("Failure", "failure"),
    )
    print_table(columns, rows, empty="There was no activation or backtest yet.")


@app.command("export")
def export(
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help="Default: standard output.")
    ] = None,
    data: Data = None,
) -> None:
    """Write every anomaly group of a detector as CSV."""
    with installation(data) as masthead:
        text = masthead.metrics.export_groups(name)
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"file: cannot write {file}: {error.strerror or error}") from error


@groups.command("list")
def list_groups(
    detector: Annotated[
        str | None, typer.Argument(metavar="[DETECTOR]", help="Of this detector only.", show_default=False)
    ] = None,
    min_severity: Annotated[float, typer.Option("--min-severity", help="Lowest severity, 0 to 100.")] = 70.0,
    measure: Annotated[str | None, typer.Option("--measure", help="Of this measure only.")] = None,
    start: Annotated[str | None, typer.Option("--start", help="From this ISO 8601 time on.")] = None,
    end: Annotated[str | None, typer.Option("--end", help="Before this ISO 8601 time.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many, 1 to 1000.")] = 100,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List anomaly groups, the newest first."""
    with installation(data) as masthead:
        page = masthead.metrics.list_groups(
            detector,
            min_severity=min_severity,
            measure=measure,
            start=read_time(start, "start"),
            end=read_time(end, "end"),
            limit=limit,
        )
    rows = [one.to_json() for one in page.items]
    if as_json:
        print_json(rows)
        return
    columns = (
        ("Id", "id"),
        ("Detector", "detector"),
        ("Start", "start"),
        ("End", "end"),
        ("Measure", "measure"),
        ("Severity", "severity"),
        ("State", "state"),
        ("Reason", "reason"),
        ("Contributions", "contributions"),
    )
    print_table(columns, rows, empty=f"There is no anomaly of severity {min_severity:g} or more.")
    if page.next_token:
        print(f"More follow; the list was cut at {limit} (--limit).")


@groups.command("show")
def show_group(group: GroupId, as_json: AsJson = False, data: Data = None) -> None:
    """Show one group with its series and what moved beside it."""
    with installation(data) as masthead:
        found = masthead.metrics.get_group(group).to_json()
        found["series"] = masthead.metrics.group_series(group)
        found["related"] = masthead.metrics.related(group)
    if as_json:
        print_json(found)
    else:
        print_fields(found)


@app.command("feedback")
def feedback(
    group: GroupId,
    is_anomaly: Annotated[
        bool, typer.Option("--anomaly/--no-anomaly", help="Whether it is one.", show_default=False)
    ],
    dimensions: Annotated[
        list[str] | None,
        typer.Option("--dimension", metavar="NAME=VALUE", help="Only this series; repeatable."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Tell whether a group, or one of its series, is an anomaly; later severities follow."""
    series = _dimensions(dimensions) if dimensions else None
    with installation(data) as masthead:
        given = masthead.metrics.give_feedback(group, series=series, is_anomaly=is_anomaly)
    rows = given if isinstance(given, list | tuple) else [given]
    if as_json:
        print_json([one.to_json() if hasattr(one, "to_json") else one for one in rows])
    else:
        print("noted: an anomaly" if is_anomaly else "noted: not an anomaly")


@app.command("ack")
def ack(group: GroupId, as_json: AsJson = False, data: Data = None) -> None:
    """Acknowledge a group."""
    with installation(data) as masthead:
        found = masthead.metrics.acknowledge_group(group)
    print_json(found.to_json()) if as_json else print(f"acknowledged {group}")


@app.command("mute")
def mute(
    group: GroupId,
    until: Annotated[str | None, typer.Option("--until", help="An ISO 8601 time.")] = None,
    duration: Annotated[str | None, typer.Option("--for", metavar="2h", help="Or a duration.")] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Keep a group from alerting until a time."""
    if (until is None) == (duration is None):
        raise InvalidInput("until: expected either --until TIME or --for DURATION")
    moment = read_time(until, "until")
    with installation(data) as masthead:
        if moment is None:
            moment = masthead.clock.now() + timedelta(seconds=parse_duration_s(str(duration), "for"))
        found = masthead.metrics.mute_group(group, moment)
    print_json(found.to_json()) if as_json else print(f"muted {group} until {moment.isoformat()}")


def read_time(text: str | None, field: str) -> datetime | None:
    """Return an aware UTC time; without an offset it is UTC.

    >>> read_time("2026-01-02", "start").isoformat()
    '2026-01-02T00:00:00+00:00'
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"{field}: expected an ISO 8601 time, got {shown(text)}") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _dimensions(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"dimension: expected NAME=VALUE, got {shown(text)}")
        found[name] = value
    return found


def _with_absolute_paths(document: dict[str, Any], beside: Path) -> dict[str, Any]:
    """Return the settings with local paths absolute: the server that reads them stands in another folder.

    A relative path is one of the working folder; if nothing lies there, one beside the file that names it.
    """

    def absolute(path: Any) -> Any:
        if not isinstance(path, str) or path.startswith(("s3:", "/")):
            return path
        here = Path(path)
        found = list(Path().glob(path)) if set(path) & set("*?[") else here.exists()
        return str((here if found or not (beside / path).exists() else beside / path).absolute())

    changed = dict(document)
    for part in ("source", "history"):
        inner = changed.get(part)
        if isinstance(inner, dict) and isinstance(inner.get("paths"), list):
            changed[part] = {**inner, "paths": [absolute(path) for path in inner["paths"]]}
    return changed


def _tell_state(masthead: "Masthead", detector: Any, *, wait: bool, as_json: bool) -> None:
    if not wait and masthead.folder.served_by() is None:
        print("no server runs on this data folder: it goes on when one does", file=sys.stderr)
    while wait and detector.state not in _ENDED:
        time.sleep(_LOOK_S)
        detector = masthead.metrics.get_detector(detector.name)
    if as_json:
        print_json(detector.to_json())
    else:
        detail = detector.failure or detector.progress.text
        print(f"detector {detector.name}: {detector.state}" + (f" ({detail})" if detail else ""))
    if wait and detector.state == "failed":
        raise typer.Exit(1)


def _tell_validation(found: dict[str, Any]) -> None:
    """Print a validation as people read it: the verdict, what to do, how the data look."""
    print("Validation successful" if found["valid"] else "Validation failed")
    for finding in found["findings"]:
        field = f"{finding['field']}: " if finding["field"] else ""
        action = f" -> {finding['action']}" if finding["action"] else ""
        print(f"  {finding['level']}: {field}{finding['message']}{action}")
    if quality := found["quality"]:
        print(
            f"{quality['rows']:,} rows from {quality['first']} to {quality['last']}, {quality['refused']:,} refused; "
            f"{quality['intervals_present']:,} of {quality['intervals_expected']:,} intervals hold data; "
            f"{quality['series']:,} series"
        )
    if found["columns"]:
        columns = (("Column", "name"), ("Type", "type"), ("Missing", "missing"), ("Examples", "examples"))
        print_table(columns, found["columns"], empty="")
    if found["sample"]:
        names = [(name, name) for name in found["sample"][0]]
        print_table(names, found["sample"][:_SAMPLE_ROWS], empty="")


def _require_server(masthead: "Masthead", wait: bool) -> None:
    """Refuse to wait for what only a server does."""
    if wait and masthead.folder.served_by() is None:
        raise Conflict(
            "server: none runs on this data folder, so there is nothing to wait for; masthead serve"
        )
