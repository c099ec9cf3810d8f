"""`masthead detectors`: what is watched, its life, its anomalies and a person's word on them."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import Conflict
from masthead.cli import groups
from masthead.cli.documents import read_bytes, read_document
from masthead.cli.grammar import Noun, add_verbs, answer, new_room
from masthead.cli.installation import INVALID, AsJson, Data, File, Message, Name, installation
from masthead.cli.output import print_json, print_table
from masthead.cli.portraits import tell_detector, tell_quality
from masthead.cli.progress import follow
from masthead.cli.rooms import ROOMS

if TYPE_CHECKING:
    from masthead.app import Masthead

_ENDED = ("active", "learning", "stopped", "failed", "backtested")
_LOOK_S = 0.2
_SAMPLE_ROWS = 5

app = new_room(ROOMS["detectors"])
app.add_typer(groups.app, name="groups")
groups.add_former_names(app)
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
        told=tell_detector,
    ),
)

Wait = Annotated[bool, typer.Option("--wait", help="Return when it has ended; fails with the detector.")]


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
    document = {**_read(file), "name": name}
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
    document = {**_read(file), "name": name}
    with installation(data) as masthead:
        answer(masthead.metrics.update_detector(name, document), as_json=as_json, told=tell_detector)


@app.command("set-dataset")
def set_dataset(name: Name, file: File, as_json: AsJson = False, data: Data = None) -> None:
    """Set the parts of the settings that a file names: source, time, measures, dimensions, filters, history."""
    document = _read(file)
    document.pop("name", None)
    with installation(data) as masthead:
        answer(masthead.metrics.set_dataset(name, document), as_json=as_json, told=tell_detector)


@app.command("export-settings")
def export_settings(name: Name, data: Data = None) -> None:
    """Print a detector's settings as TOML that `create --file` reads."""
    with installation(data) as masthead:
        print(masthead.metrics.get_detector(name).spec.to_toml(), end="")


@app.command("validate")
def validate(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Read samples of every source and tell what was found; changes nothing. Exit status 2 when invalid."""
    with installation(data) as masthead:
        found = masthead.metrics.validate(name)
    value = found.to_json()
    if as_json:
        print_json(value)
    else:
        _tell_validation(value)
    if not found.valid:
        raise typer.Exit(INVALID)


@app.command("test")
def try_one(name: Name, message: Message = None, as_json: AsJson = False, data: Data = None) -> None:
    """Show what a detector would make of a message; nothing is taken. Without --message the same as validate."""
    if message is None:
        validate(name, as_json, data)
        return
    payload = read_bytes(message)
    with installation(data) as masthead:
        found = masthead.metrics.try_message(name, payload)
    answer(found, as_json=as_json)
    if not found["rows"]:
        raise typer.Exit(INVALID)


@app.command("activate")
def activate(name: Name, wait: Wait = False, as_json: AsJson = False, data: Data = None) -> None:
    """Validate, learn from the history if there is one, and watch."""
    with installation(data) as masthead:
        _require_server(masthead, wait)
        found = masthead.metrics.activate(name)
        _tell_state(masthead, found, wait=wait, as_json=as_json)


@app.command("deactivate")
def deactivate(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Stop watching, or end an activation or a back-test; what was found before stays."""
    with installation(data) as masthead:
        _tell_state(masthead, masthead.metrics.deactivate(name), wait=False, as_json=as_json)


@app.command("backtest")
def backtest(name: Name, wait: Wait = False, as_json: AsJson = False, data: Data = None) -> None:
    """Score the past data of a detector in backtest mode."""
    with installation(data) as masthead:
        _require_server(masthead, wait)
        found = masthead.metrics.backtest(name)
        _tell_state(masthead, found, wait=wait, as_json=as_json)


@app.command("deploy")
def deploy(
    name: Name,
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="E", help="The endpoint's name; else the detector's.")
    ] = "",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Let a copy of what a detector has learned answer under an endpoint's name; again: bring it up to date."""
    with installation(data) as masthead:
        made = masthead.metrics.deploy(name, endpoint)
    if as_json:
        print_json(made.to_json())
    else:
        print(f"endpoint {made.name} serves {made.about['model']}, {made.about['series']} series")


@app.command("quality")
def quality(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show what was counted about a detector's data."""
    with installation(data) as masthead:
        answer(masthead.metrics.data_quality(name), as_json=as_json, told=tell_quality)


@app.command("executions")
def executions(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """List a detector's activations and backtests."""
    with installation(data) as masthead:
        rows = [one.to_json() for one in masthead.metrics.executions(name).items]
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


def _read(file: Path) -> dict[str, Any]:
    """Return the settings in a file with local paths absolute: the server that reads them stands in another folder."""
    from masthead.metrics.toml import absolute_paths

    return absolute_paths(read_document(file), file.parent)


def _tell_state(masthead: "Masthead", detector: Any, *, wait: bool, as_json: bool) -> None:
    if not wait and masthead.folder.served_by() is None:
        print("no server runs on this data folder: it goes on when one does", file=sys.stderr)
    if wait:
        detector = follow(lambda: _until_ended(masthead, detector.name), f"detector {detector.name}")
    if as_json:
        print_json(detector.to_json())
    else:
        detail = detector.failure or detector.progress.text
        print(f"detector {detector.name}: {detector.state}" + (f" ({detail})" if detail else ""))
    if wait and detector.state == "failed":
        raise typer.Exit(1)


def _until_ended(masthead: "Masthead", name: str) -> Iterator[tuple[Any, float | None, str]]:
    """Yield the detector until its job has ended, with the share done, if known, and what is going on."""
    while True:
        found = masthead.metrics.get_detector(name)
        progress = found.progress
        share = progress.seen / progress.needed if progress.needed else None
        yield found, share, progress.text or found.state
        if found.state in _ENDED:
            return
        time.sleep(_LOOK_S)


def _tell_validation(found: dict[str, Any]) -> None:
    """Print a validation as people read it: the verdict, what to do, how the data look."""
    print("Validation successful" if found["valid"] else "Validation failed")
    for finding in found["findings"]:
        field = f"{finding['field']}: " if finding["field"] else ""
        action = f" -> {finding['action']}" if finding["action"] else ""
        print(f"  {finding['level']}: {field}{finding['message']}{action}")
    if (quality := found["quality"]) and quality["rows"]:
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
