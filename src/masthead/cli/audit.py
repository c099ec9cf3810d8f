"""`masthead audit`: who did what, and what was refused to whom."""

from typing import Annotated, Any

import typer

from masthead.base.units import parse_duration_s
from masthead.cli.installation import AsJson, Data, settings
from masthead.cli.output import print_json, print_table

_COLUMNS = (
    ("Time", "time"),
    ("Key", "who"),
    ("Address", "address"),
    ("Action", "action"),
    ("Resources", "resources"),
    ("Status", "status"),
    ("Code", "code"),
)


def mount(app: typer.Typer) -> None:
    """Add the command."""
    app.command("audit")(audit)


def audit(
    since: Annotated[str, typer.Option("--since", metavar="1h", help="How far back.")] = "1d",
    key: Annotated[str, typer.Option("--key", metavar="ID", help="Of this key only.")] = "",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List mutations and refusals of the native API, the console and the AWS wire, the oldest first."""
    from datetime import timedelta

    from masthead.access.audit import Audit
    from masthead.base.clock import SystemClock
    from masthead.base.folder import DataFolder

    clock = SystemClock()
    first = clock.now() - timedelta(seconds=parse_duration_s(since, "since"))
    rows = list(Audit(DataFolder(settings(data).data).audit, clock).read(first, key))
    if as_json:
        print_json(rows)
    else:
        print_table(_COLUMNS, map(_row, rows), empty="Nothing was changed or refused in that time.")


def _row(line: dict[str, Any]) -> dict[str, Any]:
    who = " ".join(filter(None, (line.get("key_name"), line.get("key_id"))))
    return {**line, "who": who, "action": line.get("action") or line.get("operation")}
