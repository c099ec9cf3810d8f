"""`masthead logs KIND NAME`: the bounded log of one job, stream, detector or endpoint."""

from typing import Annotated, Any

import typer

from masthead.base.errors import InvalidInput, NotFound, shown
from masthead.cli.installation import AsJson, Data, settings
from masthead.cli.output import print_json_line


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs")(logs)


def logs(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="alert, delivery, detector, endpoint, job, rule, server, stream or thing.",
            show_default=False,
        ),
    ],
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="Without a name: who has a log.", show_default=False),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until stopped.")] = False,
    limit: Annotated[int, typer.Option("--limit", help="At most so many lines of the past.")] = 200,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Print the log of one object; needs no server."""
    from masthead.base.folder import DataFolder
    from masthead.base.log import JOURNAL_KINDS, Journal

    if kind not in JOURNAL_KINDS:
        raise InvalidInput(f"kind: expected one of {', '.join(JOURNAL_KINDS)}, got {shown(kind)}")
    journal = Journal(DataFolder(settings(data).data).logs)
    known = journal.names(kind)
    if name is None:
        for one in known:
            print_json_line({"kind": kind, "name": one}) if as_json else print(one)
        return
    if name not in known and not follow:
        raise NotFound(f"name: there is no log of {kind} {shown(name)}")
    lines = journal.follow(kind, name, limit=limit) if follow else journal.read(kind, name, limit=limit)
    try:
        for line in lines:
            print_json_line(line) if as_json else print(as_text(line), flush=True)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def as_text(line: dict[str, Any]) -> str:
    """Return one line of a log as people read it.

    >>> as_text({"at": "2026-01-02T03:04:05.678+00:00", "event": "created", "policies": ["sensor"]})
    '2026-01-02T03:04:05.678Z created policies=["sensor"]'
    """
    import json

    rest = [f"{key}={json.dumps(value)}" for key, value in line.items() if key not in ("at", "event")]
    stamp = str(line.get("at", "")).replace("+00:00", "Z")
    return " ".join([stamp, str(line.get("event", "")), *rest])
