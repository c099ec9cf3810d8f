"""`masthead policies`: what things may publish and subscribe to."""

from typing import Annotated, Any

import typer

from masthead.base.errors import InvalidInput
from masthead.cli.documents import read_document
from masthead.cli.grammar import Noun, add_create, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, Message, Name, installation
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["policies"])
add_create(
    app,
    "policy",
    lambda masthead, given: masthead.access.create_policy(given["name"], document_of(given)),
)
add_verbs(
    app,
    Noun(
        word="policy",
        columns=(("Name", "name"), ("Built in", "built_in"), ("Created", "created")),
        listed=lambda masthead: masthead.access.list_policies(),
        got=lambda masthead, name: masthead.access.get_policy(name),
        deleted=lambda masthead, name: masthead.access.delete_policy(name),
    ),
)


def document_of(given: dict[str, Any]) -> Any:
    """Return the document of a policy's JSON form, or of a file that is the document itself."""
    return given.get("document", {key: value for key, value in given.items() if key != "name"})


@app.command("test")
def try_one(
    name: Name,
    message: Message = None,
    action: Annotated[str, typer.Option("--action", help="iot:Connect, Publish, Subscribe or Receive.")] = "",
    resource: Annotated[str, typer.Option("--resource", help="A topic, topic filter or client id.")] = "",
    thing: Annotated[str, typer.Option("--thing", help="As whom; policies may hold variables.")] = "",
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Say whether a policy allows an action; --message FILE may hold action, resource and thing as JSON."""
    asked = read_document(message) if message else {}
    action, resource = action or asked.get("action", ""), resource or asked.get("resource", "")
    if not action or not resource:
        raise InvalidInput("action: expected --action and --resource, or --message with both")
    with installation(data) as masthead:
        allowed = masthead.access.test_policy(name, action, resource, thing or asked.get("thing", ""))
    answer({"policy": name, "action": action, "resource": resource, "allowed": allowed}, as_json=as_json)
