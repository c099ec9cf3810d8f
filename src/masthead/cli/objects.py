"""`masthead objects`: the objects that delivery streams write and detectors read."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from masthead.base.errors import InvalidInput, NotFound
from masthead.base.units import format_bytes
from masthead.cli.grammar import new_room
from masthead.cli.installation import AsJson, Data, installation
from masthead.cli.output import print_json, print_table
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["objects"])
Uri = Annotated[str, typer.Argument(metavar="s3://BUCKET/KEY", show_default=False)]


@app.command("put")
def put(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="`-` reads standard input.")],
    uri: Uri,
    create_only: Annotated[
        bool, typer.Option("--create-only", help="Leave an object that exists as it is, exit status 1.")
    ] = False,
    data: Data = None,
) -> None:
    """Store a file; an address that ends in `/` takes the file's name."""
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"file: cannot read {file}: {error.strerror or error}") from error
    target = uri + file.name if uri.endswith("/") and str(file) != "-" else uri
    with installation(data) as masthead:
        stored = masthead.objects.put(target, content, create_only=create_only)
    print(f"stored {target}" if stored else f"kept {target}, which exists already")
    if not stored:
        raise typer.Exit(1)


@app.command("ls")
def ls(
    uri: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", show_default=False)],
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List the objects whose address begins so."""
    with installation(data) as masthead:
        found = list(masthead.objects.list(uri))
    rows = [{"uri": one.uri, "size": one.size, "modified": one.modified.isoformat()} for one in found]
    if as_json:
        print_json(rows)
        return
    rows = [{**row, "size": format_bytes(one.size)} for row, one in zip(rows, found, strict=True)]
    print_table(
        (("Address", "uri"), ("Size", "size"), ("Modified", "modified")), rows, empty="There is no object."
    )


@app.command("get")
def get(
    uri: Uri,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Default: standard output.", show_default=False)
    ] = None,
    data: Data = None,
) -> None:
    """Read an object."""
    with installation(data) as masthead:
        content = masthead.objects.get(uri)
    if file is None or str(file) == "-":
        sys.stdout.buffer.write(content)
        return
    target = file / uri.rpartition("/")[2] if file.is_dir() else file
    try:
        target.write_bytes(content)
    except OSError as error:
        raise InvalidInput(f"file: cannot write {target}: {error.strerror or error}") from error


@app.command("rm")
def rm(uri: Uri, data: Data = None) -> None:
    """Delete an object."""
    with installation(data) as masthead:
        if not masthead.objects.exists(uri):
            raise NotFound(f"uri: there is no object {uri}")
        masthead.objects.delete(uri)
    print(f"deleted {uri}")
