"""`masthead endpoints`: which models answer under which names, and what is counted of their calls."""

from typing import Any

from masthead.cli.grammar import answer, new_room
from masthead.cli.installation import AsJson, Data, Name, installation
from masthead.cli.output import print_fields, print_json, print_table
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["endpoints"])
_COUNTED = (
    ("Calls", "calls"),
    ("Errors", "errors"),
    ("p50 ms", "p50_ms"),
    ("p99 ms", "p99_ms"),
    ("Last called", "last_called"),
)


@app.command("list")
def list_endpoints(as_json: AsJson = False, data: Data = None) -> None:
    """List every endpoint: model, calls, errors and how long calls took."""
    with installation(data) as masthead:
        rows = [one.to_json() for one in masthead.list_endpoints()]
    if as_json:
        print_json(rows)
        return
    columns = (("Name", "name"), ("Kind", "kind"), ("Model", "model"), *_COUNTED)
    print_table(columns, rows, empty="There is no endpoint yet.")


@app.command("describe")
def describe(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show one endpoint: what is served, by which model, and what was counted per key."""
    with installation(data) as masthead:
        found = masthead.get_endpoint(name)
    answer(found, as_json=as_json, told=_tell)


@app.command("delete")
def delete(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Delete an endpoint: calls do not find it any more, and its memory is free."""
    with installation(data) as masthead:
        masthead.endpoints.delete(name)
    if as_json:
        print_json({"deleted": name})
    else:
        print(f"deleted endpoint {name}")


def _tell(found: dict[str, Any]) -> None:
    """Print an endpoint's fields, and its calls per key as a table."""
    keys = found.pop("keys")
    about = found.pop("about")
    print_fields(found | {name: value for name, value in about.items() if name != "model"})
    if keys:
        shown = [row | {"key": row["key"] or "(none)"} for row in keys]
        print_table((("Key", "key"), ("Named", "name"), *_COUNTED, ("Quota left", "left")), shown, empty="")
