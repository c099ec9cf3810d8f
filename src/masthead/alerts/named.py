"""Channels with a name of their own, so that rules may speak of one that does not exist yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from masthead.alerts import channel_records as records
from masthead.alerts.channels import NAMED, check_channel, check_channel_name, split_secrets
from masthead.alerts.sealing import channel_context
from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

__all__ = ["NamedChannel", "NamedChannels"]

MOST_CHANNELS = 1_000
# What waited longer for its channel stays in the inbox: nobody wants last month's alerts at once. As long as a try goes on.
RELEASED = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class NamedChannel:
    """A channel by its name; `channel` has its kind and fields, secrets shown as `***`."""

    name: str
    channel: Mapping[str, Any]
    created: datetime

    def to_json(self) -> dict[str, Any]:
        """Return name, kind and fields in one object; times in ISO 8601."""
        return {"name": self.name, **self.channel, "created": self.created.isoformat()}


class NamedChannels:
    """Makes, lists and deletes named channels. What was told to one that does not exist is `unheard` until it does."""

    def __init__(self, database: Database, box: SecretBox, clock: Clock, *, commands: bool = True) -> None:
        self._database, self._box, self._clock, self._commands = database, box, clock, commands

    def create(self, given: Mapping[str, Any]) -> NamedChannel:
        """Return the stored channel; what was told to it in the last 24 hours is delivered now.

        Args:
            given: `name`, `kind` and the fields of the kind.

        Raises:
            InvalidInput: A field is outside its domain.
            Conflict: The name is taken, or commands are switched off.
            LimitReached: There are too many channels.
        """
        if not isinstance(given, Mapping):
            raise InvalidInput(f"channel: expected an object, got {shown(given)}")
        name = check_channel_name(given.get("name"), "name")
        whole = check_channel({key: value for key, value in given.items() if key != "name"})
        if whole["kind"] == NAMED:
            raise InvalidInput(f"channel.kind: expected another kind than {NAMED} for a channel of its own")
        if whole["kind"] == "command" and not self._commands:
            raise Conflict("channel.kind: commands are switched off on this installation")
        shown_part, secret = split_secrets(whole)
        sealed = self._box.seal(orjson.dumps(secret), context=channel_context(name)) if secret else None
        made = NamedChannel(name, shown_part, self._clock.now())
        with self._database.write() as connection:
            if records.find_channel(connection, name) is not None:
                raise Conflict(f"name: a channel {name} exists already")
            if len(records.channel_names(connection)) >= MOST_CHANNELS:
                raise LimitReached(f"channels: expected at most {MOST_CHANNELS:,}")
            records.add_channel(connection, name, shown_part, sealed, made.created)
            records.release(connection, name, since=made.created - RELEASED, now=made.created)
        return made

    def list(self) -> list[NamedChannel]:
        """Return every channel, by name."""
        with self._database.read() as connection:
            return [NamedChannel(*row) for row in records.all_channels(connection)]

    def get(self, name: str) -> NamedChannel:
        """Return a channel.

        Raises:
            NotFound: There is none of that name.
        """
        found = next((one for one in self.list() if one.name == name), None)
        if found is None:
            raise NotFound(f"name: there is no channel {shown(name)}")
        return found

    def delete(self, name: str) -> None:
        """Delete a channel; what rules tell it from now on waits unheard.

        Raises:
            NotFound: There is none of that name.
        """
        with self._database.write() as connection:
            if not records.remove_channel(connection, name):
                raise NotFound(f"name: there is no channel {shown(name)}")
            records.hold(connection, name)
