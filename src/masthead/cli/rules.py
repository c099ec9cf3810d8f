"""`masthead rules`: SQL over messages, and what is done with what it selects."""

from typing import Annotated

import typer

from masthead.base.errors import InvalidInput
from masthead.cli.documents import read_bytes
from masthead.cli.grammar import Noun, add_create, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, Message, installation
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["rules"])
add_create(app, "rule", lambda masthead, given: masthead.streams.create_rule(given))
add_verbs(
    app,
    Noun(
        word="rule",
        columns=(("Name", "name"), ("SQL", "sql"), ("Actions", "actions"), ("Enabled", "enabled")),
        listed=lambda masthead: masthead.streams.list_rules(),
        got=lambda masthead, name: masthead.streams.get_rule(name),
        deleted=lambda masthead, name: masthead.streams.delete_rule(name),
    ),
)


@app.command("test")
def try_one(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A rule, or SQL in quotes.", show_default=False)
    ],
    message: Message = None,
    topic: Annotated[
        str, typer.Option("--topic", metavar="T", help="The topic that the message came on.")
    ] = "test",
    thing: Annotated[str, typer.Option("--thing", metavar="NAME", help="The thing that sent it.")] = "",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Show what a rule makes of a message; nothing is done with it."""
    if message is None:
        raise InvalidInput("message: expected --message FILE with the payload to try, got none")
    payload = read_bytes(message)
    with installation(data) as masthead:
        answer(masthead.streams.test_rule(name, topic, payload, thing or None), as_json=as_json)
