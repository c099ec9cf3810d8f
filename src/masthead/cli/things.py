"""`masthead things`: devices, their certificates, and a real test of the way in."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput, shown
from masthead.cli.addresses import mqtt_endpoint
from masthead.cli.documents import read_bytes, read_document
from masthead.cli.grammar import Noun, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, Message, Name, installation
from masthead.cli.output import cell, print_fields, print_json, print_table
from masthead.cli.rooms import ROOMS

if TYPE_CHECKING:
    from masthead.access.service import Credentials
    from masthead.app import Masthead

app = new_room(ROOMS["things"])
add_verbs(
    app,
    Noun(
        word="thing",
        columns=(
            ("Name", "name"),
            ("Policies", "policies"),
            ("Created", "created"),
            ("Expires", "expires"),
            ("Revoked", "revoked"),
        ),
        listed=lambda masthead: masthead.access.list_things(),
        got=lambda masthead, name: _seen(masthead, name),
        told=lambda found: _tell_seen(found),
        deleted=lambda masthead, name: masthead.access.delete_thing(name),
    ),
)

Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="NAME", help="A policy; repeatable. [default: sensor]"),
]
Attributes = Annotated[
    list[str] | None, typer.Option("--attribute", metavar="KEY=VALUE", help="An attribute; repeatable.")
]
Days = Annotated[int, typer.Option("--days", help="Life of the certificate.")]


@app.command("create")
def create(
    name: Name,
    policies: Policies = None,
    attributes: Attributes = None,
    days: Days = 365,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="F", help="JSON or TOML with policies and attributes.")
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create a thing; prints the endpoint and the paths of CA, certificate and key once."""
    given = read_document(file) if file else {}
    if unknown := set(given) - {"name", "policies", "attributes"}:
        raise InvalidInput(f"{min(unknown)}: expected policies or attributes, got an unknown field")
    chosen = policies if policies is not None else given.get("policies")
    with installation(data) as masthead:
        made = masthead.access.create_thing(
            name, chosen, {**given.get("attributes", {}), **_pairs(attributes or [])}, days=days
        )
        _tell(masthead, made, as_json=as_json)


@app.command("renew")
def renew(name: Name, days: Days = 365, as_json: AsJson = False, data: Data = None) -> None:
    """Make a new key and certificate; the former one works for a day more."""
    with installation(data) as masthead:
        _tell(masthead, masthead.access.renew_thing(name, days=days), as_json=as_json)


@app.command("revoke")
def revoke(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")] = False,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Refuse a thing for ever; a live connection is cut within a second. It cannot be undone."""
    with installation(data) as masthead:
        if not yes and not as_json and sys.stdin.isatty():
            masthead.access.get_thing(name)
            typer.confirm(f"Revoke thing {name}? It cannot be undone", abort=True, err=True)
        found = masthead.access.revoke_thing(name)
    if as_json:
        print_json(found.to_json())
    else:
        print(f"revoked thing {name}; it cannot be undone: delete it and create it anew to let it in again")


@app.command("update")
def update(
    name: Name,
    policies: Policies = None,
    attributes: Attributes = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Change a thing's policies or attributes; what is not named stays."""
    with installation(data) as masthead:
        wanted = None
        if attributes is not None:
            wanted = {**masthead.access.get_thing(name).attributes, **_pairs(attributes)}
        found = masthead.access.update_thing(name, policies, wanted)
    answer(found, as_json=as_json)


@app.command("forbidden")
def forbidden(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """List publishes that a thing's policies forbid. MQTT 3.1.1 cannot tell the device, so it is told here."""
    with installation(data) as masthead:
        rows = [one.to_json() for one in masthead.access.forbidden(name)]
    if as_json:
        print_json(rows)
    else:
        columns = (("Thing", "thing"), ("Topic", "topic"), ("Times", "count"), ("Last", "at"))
        print_table(columns, rows, empty="No forbidden publish was seen.")


@app.command("test")
def try_one(
    name: Name,
    message: Message = None,
    topic: Annotated[
        str,
        typer.Option(
            "--topic", metavar="T", help="Where to publish the message. [default: sensors/NAME/test]"
        ),
    ] = "",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Connect to the running server with the thing's certificate; with --message publish it, too.

    Without a server only the files and the policies are looked at, and the exit status is 1.
    """
    from masthead.cli.probe import probe

    payload = read_bytes(message) if message else None
    with installation(data) as masthead:
        found = probe(masthead, name, topic=topic or f"sensors/{name}/test", payload=payload)
    answer(found, as_json=as_json)
    if not found["ok"]:
        raise typer.Exit(1)


def _seen(masthead: "Masthead", name: str) -> dict[str, Any]:
    """Return a thing, with the client ids that it shares with others."""
    thing = masthead.access.get_thing(name).to_json()
    return thing | {"shared_client_ids": [one.to_json() for one in masthead.access.shared_client_ids(name)]}


def _tell_seen(found: dict[str, Any]) -> None:
    shared = [
        f"{one['client_id']} is used by {' and '.join(one['things'])} in turn: {one['count']:,} times, last {cell(one['at'])}"
        for one in found["shared_client_ids"]
    ]
    print_fields(found | {"shared_client_ids": "\n".join(shared) or "none"})


def _tell(masthead: "Masthead", made: "Credentials", *, as_json: bool) -> None:
    host, port = mqtt_endpoint(masthead.folder.path, masthead.settings)
    fields: dict[str, Any] = {
        "thing": made.thing.name,
        "endpoint": host,
        "port": port,
        "ca": str(made.authority_path.resolve()),
        "certificate": str(made.certificate_path.resolve()),
        "key": str(made.key_path.resolve()),
        "expires": made.thing.expires.isoformat(),
        "policies": list(made.thing.policies),
    }
    answer(fields, as_json=as_json)


def _pairs(texts: list[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"attribute: expected KEY=VALUE, got {shown(text)}")
        found[key] = value
    return found
