"""`masthead fraud load`: history from files into the tables, as a job that can be asked after.

`masthead fraud load --data PATH` means `masthead fraud load start --data PATH`. They work on the data folder that
MASTHEAD_DATA names, beside a running server, which follows what they write.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from masthead.base.errors import Conflict
from masthead.cli.installation import OTHER, AsJson, installation, warn
from masthead.cli.output import print_fields, print_json, print_table
from masthead.cli.progress import follow

if TYPE_CHECKING:
    from masthead.app import Masthead

_LOOK_S = 0.2
_SHOWN = 20
_GONE_S = 5.0  # so long the server may take to go on with what it was killed at

Tables = Annotated[
    list[Path],
    typer.Option(
        "--data",
        metavar="PATH...",
        help="CSV, CSV.gz or Parquet files, folders of them, or a folder of Neptune's CSV.",
        show_default=False,
    ),
]
More = Annotated[
    list[Path] | None, typer.Argument(metavar="[PATH...]", help="Further paths of --data.", hidden=True)
]
SchemaName = Annotated[
    str, typer.Option("--schema", metavar="FILE|NAME", help="Of the files; not given: the space's.")
]
LabelFile = Annotated[
    Path | None, typer.Option("--labels", metavar="FILE", help="Labels; not given: those in the files.")
]
Space = Annotated[str, typer.Option("--space", metavar="NAME", help="Where the transactions lie.")]
Detach = Annotated[
    bool, typer.Option("--detach", help="Return at once; only where a server runs, which does the work.")
]
Load = Annotated[str, typer.Argument(metavar="[LOAD]", show_default=False, help="By default the newest.")]
OneLoad = Annotated[str, typer.Argument(metavar="LOAD", show_default=False)]


class _StartByDefault(TyperGroup):
    """`masthead fraud load --data PATH` means `masthead fraud load start --data PATH`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["start", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


app = typer.Typer(
    cls=_StartByDefault,
    help="Store history from files, without decisions; each transaction once however often it is loaded.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def add(room: typer.Typer) -> None:
    """Add the group to the room's."""
    room.add_typer(app, name="load")


@app.command("start")
def start(
    data: Tables,
    more: More = None,
    schema: SchemaName = "",
    labels: LabelFile = None,
    space: Space = "live",
    detach: Detach = False,
    as_json: AsJson = False,
) -> None:
    """Begin to load and follow it to its end; `masthead fraud load --data PATH` does the same."""
    with installation(None) as masthead:
        _require_server(masthead, detach)
        found = masthead.loads.start(
            [str(one) for one in (*data, *(more or ()))],
            schema=schema,
            labels="" if labels is None else str(labels),
            space=space,
            folder=Path.cwd(),
            worker="server" if detach else "caller",
        )
        _go_on(masthead, found["id"], detach=detach, as_json=as_json)


@app.command("status")
def status(load: Load = "", as_json: AsJson = False) -> None:
    """Show a load: rows read, stored, there already, refused, and of each refused row number, column and reason."""
    with installation(None) as masthead:
        found = masthead.loads.get(load)
    _tell(found, as_json=as_json)


@app.command("wait")
def wait(load: Load = "", as_json: AsJson = False) -> None:
    """Follow a load to its end; exit status 1 when it did not come to one."""
    with installation(None) as masthead:
        found = masthead.loads.get(load)
        if found["state"] == "waiting" and masthead.folder.served_by() is None:
            raise Conflict(f"load: {found['id']} waits for a server, and none runs: masthead serve")
        found = follow(lambda: _until_ended(masthead, found["id"]), found["id"])
    if found["output"] is not None:
        _warn_of_refused(found["output"])
    _tell(found, as_json=as_json)
    if found["state"] != "done":
        raise typer.Exit(OTHER)


@app.command("resume")
def resume(load: Load = "", detach: Detach = False, as_json: AsJson = False) -> None:
    """Let a load that failed, was cancelled or interrupted go on; what it had stored counts as there already."""
    with installation(None) as masthead:
        _require_server(masthead, detach)
        found = masthead.loads.resume(load, worker="server" if detach else "caller")
        _go_on(masthead, found["id"], detach=detach, as_json=as_json)


@app.command("cancel")
def cancel(load: Load = "", as_json: AsJson = False) -> None:
    """End a load of the server; what it has stored stays."""
    with installation(None) as masthead:
        found = masthead.loads.cancel(load)
    _tell(found, as_json=as_json)


@app.command("list")
def list_loads(as_json: AsJson = False) -> None:
    """List every load, the newest first."""
    with installation(None) as masthead:
        rows = masthead.loads.list()
    if as_json:
        print_json(rows)
        return
    columns = (("Load", "id"), ("State", "state"), ("Attempt", "attempt"), ("Error", "error"))
    print_table(columns, rows, empty="There was no load yet.")


@app.command("delete")
def delete(load: OneLoad, as_json: AsJson = False) -> None:
    """Remove a load with its list of problems; what it has stored stays."""
    with installation(None) as masthead:
        masthead.loads.delete(load)
    if as_json:
        print_json({"deleted": load})
    else:
        print(f"deleted load {load}")


def _require_server(masthead: "Masthead", detach: bool) -> None:
    if detach and masthead.folder.served_by() is None:
        raise Conflict("detach: no server runs that could do the work; leave --detach out, or start one")


def _go_on(masthead: "Masthead", id: str, *, detach: bool, as_json: bool) -> None:
    """Do a load's work here with a bar, or leave it to the server."""
    if detach:
        _tell(masthead.loads.get(id), as_json=as_json)
        return
    follow(lambda: masthead.loads.doing(id), "loading")
    output = masthead.loads.get(id)["output"]
    _warn_of_refused(output)
    if as_json:
        print_json({"id": id, **output})
    else:
        _tell_output(output)


def _until_ended(masthead: "Masthead", id: str) -> Iterator[tuple[dict[str, Any], float | None, str]]:
    """Yield the load until it has ended, with the share done and what goes on."""
    held = time.monotonic()
    while True:
        found = masthead.loads.get(id)
        progress = found["progress"]
        share = progress["done"] / progress["total"] if progress.get("total") else None
        yield found, share, progress.get("message") or found["state"]
        if found["state"] in ("done", "failed", "cancelled"):
            return
        if found["state"] != "interrupted":
            held = time.monotonic()
        elif time.monotonic() - held > _GONE_S:
            return
        time.sleep(_LOOK_S)


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print(f"{found['id']}: {found['state']}")
    if found["output"] is not None:
        _tell_output(found["output"])
    if found["error"]:
        print(f"failed: {found['error']}")
    if found["resume"]:
        print(f"go on with: {found['resume']}")
    elif found["state"] == "failed":
        print(
            "as they are its files would fail again; mend them and load again: masthead fraud load --data PATH"
        )


def _warn_of_refused(output: dict[str, Any]) -> None:
    """Say on standard error what was not taken: the exit status is 0, since whatever could be used is stored."""
    if output["refused"]:
        warn(f"{output['refused']:,} of {output['total']:,} rows were refused")
    if output["labels_refused"]:
        warn(f"{output['labels_refused']:,} labels were refused")


def _tell_output(output: dict[str, Any]) -> None:
    """Print counts, and the first problems with where the others stand."""
    problems = output["problems"]
    print_fields({name: value for name, value in output.items() if name not in ("problems", "problems_file")})
    columns = (("Row", "row"), ("File", "file"), ("Column", "column"), ("Id", "id"), ("Reason", "reason"))
    print_table(columns, problems[:_SHOWN], empty="Every row was taken.")
    if len(problems) > _SHOWN and output["problems_file"]:
        print(f"these are the first {_SHOWN}; all are in {output['problems_file']}")
