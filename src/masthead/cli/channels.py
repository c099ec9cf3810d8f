"""`masthead channels`: channels of alerts that have a name of their own."""

from masthead.cli.grammar import Noun, add_create, add_verbs, new_room
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["channels"])
add_create(app, "channel", lambda masthead, given: masthead.alerts.create_channel(given))
add_verbs(
    app,
    Noun(
        word="channel",
        columns=(("Name", "name"), ("Kind", "kind"), ("Created", "created")),
        listed=lambda masthead: masthead.alerts.list_channels(),
        got=lambda masthead, name: masthead.alerts.get_channel(name),
        deleted=lambda masthead, name: masthead.alerts.delete_channel(name),
    ),
)
