"""`masthead console`: the way into the pages."""

from typing import Annotated

import typer

from masthead.cli.addresses import served
from masthead.cli.grammar import new_room
from masthead.cli.installation import AsJson, Data, installation
from masthead.cli.output import print_json
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["console"])


@app.callback()
def _room() -> None:
    """Console: a one-time link to sign in with."""  # keeps `link` a command of its own while it is the only one


@app.command("link")
def link(
    key: Annotated[
        str,
        typer.Option("--key", metavar="ID", help="Who signs in. [default: the oldest key with policy admin]"),
    ] = "",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Print an address that opens one session of the console within ten minutes."""
    with installation(data) as masthead:
        token = masthead.keys.make_link(key)
        running = served(masthead.folder.path)
        chosen = masthead.settings
        host = "127.0.0.1" if chosen.host in ("0.0.0.0", "::") else chosen.host
        host = f"[{host}]" if ":" in host else host
    url = f"{running.url if running else f'http://{host}:{chosen.port}'}/ui/signin?link={token}"
    if as_json:
        print_json({"url": url, "expires_s": 600})
    else:
        print(url)
