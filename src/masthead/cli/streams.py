"""`masthead streams`: delivery streams, which make objects of readings."""

from masthead.base.errors import InvalidInput
from masthead.cli.documents import read_bytes
from masthead.cli.grammar import Noun, add_create, add_verbs, answer, new_room
from masthead.cli.installation import AsJson, Data, Message, Name, installation
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["streams"])
add_create(app, "delivery stream", lambda masthead, given: masthead.streams.create_stream(given))
add_verbs(
    app,
    Noun(
        word="delivery stream",
        columns=(
            ("Name", "name"),
            ("Destination", "destination"),
            ("Prefix", "prefix"),
            ("Buffer s", "buffer_s"),
            ("Buffer MiB", "buffer_mib"),
        ),
        listed=lambda masthead: masthead.streams.list_streams(),
        got=lambda masthead, name: masthead.streams.get_stream(name),
        deleted=lambda masthead, name: masthead.streams.delete_stream(name),
    ),
)


@app.command("state")
def state(name: Name, as_json: AsJson = False, data: Data = None) -> None:
    """Show what a delivery stream has delivered and holds."""
    with installation(data) as masthead:
        answer(masthead.streams.stream_state(name), as_json=as_json)


@app.command("test")
def try_one(name: Name, message: Message = None, as_json: AsJson = False, data: Data = None) -> None:
    """Show where a record would go; nothing is put."""
    if message is None:
        raise InvalidInput("message: expected --message FILE with the record to try, got none")
    payload = read_bytes(message)
    with installation(data) as masthead:
        answer(masthead.streams.test_stream(name, payload), as_json=as_json)
