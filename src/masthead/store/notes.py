"""Tags of named things, and what a face must remember about one to answer in its own form.

A resource is named by kind and name, say `detector:air`. What is kept belongs to the thing that was `born` at that
moment: one made anew under the same name has neither tags nor a note.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, String, Table, delete, select

from masthead.base.errors import InvalidInput, shown
from masthead.store.engine import Database
from masthead.store.schema import Json, UtcDateTime, metadata

MOST_TAGS = 50
"""Tags of one resource, as everywhere at AWS."""

_MOST_NAME, _MOST_VALUE = 128, 256  # as AWS's TagKey and TagValue
_RESERVED = "aws:"

resource_tags = Table(
    "resource_tags",
    metadata,
    Column("resource", String(200), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("value", String(256), nullable=False),
    Column("born", UtcDateTime, nullable=False),
)

resource_notes = Table(
    "resource_notes",
    metadata,
    Column("resource", String(200), primary_key=True),
    Column("born", UtcDateTime, nullable=False),
    Column("note", Json, nullable=False),
)


class Notes:
    """Tags and notes; every verb may be called from any thread and any process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def tags(self, resource: str, born: datetime) -> dict[str, str]:
        """Return the tags of a resource by name."""
        with self._database.read() as connection:
            return _tags(connection, resource, born)

    def tag(self, resource: str, born: datetime, tags: Mapping[str, str]) -> dict[str, str]:
        """Add tags, the new value of a known one replaces the old, and return all of them.

        Raises:
            InvalidInput: A name or value is out of its range, or there would be more than `MOST_TAGS`.
        """
        for name, value in tags.items():
            check_tag(name, value)
        with self._database.write() as connection:
            connection.execute(_strangers(resource_tags, resource, born))
            merged = {**_tags(connection, resource, born), **tags}
            if len(merged) > MOST_TAGS:
                raise InvalidInput(f"tags: expected at most {MOST_TAGS} of one resource, got {len(merged)}")
            for name, value in tags.items():
                row = {"resource": resource, "name": name, "value": value, "born": born}
                self._database.upsert(connection, resource_tags, row)
        return dict(sorted(merged.items()))

    def untag(self, resource: str, born: datetime, names: Iterable[str]) -> dict[str, str]:
        """Take tags away and return what is left; one that is not there is no error."""
        table = resource_tags
        with self._database.write() as connection:
            connection.execute(_strangers(table, resource, born))
            connection.execute(
                delete(table).where(table.c.resource == resource, table.c.name.in_(list(names)))
            )
            return _tags(connection, resource, born)

    def note(self, resource: str, born: datetime) -> dict[str, Any]:
        """Return what was kept about a resource; {} when nothing was."""
        table = resource_notes
        wanted = select(table.c.note).where(table.c.resource == resource, table.c.born == born)
        with self._database.read() as connection:
            return dict(connection.execute(wanted).scalar() or {})

    def keep_note(self, resource: str, born: datetime, note: Mapping[str, Any]) -> None:
        """Keep a JSON object about a resource in the place of what was kept before."""
        with self._database.write() as connection:
            row = {"resource": resource, "born": born, "note": dict(note)}
            self._database.upsert(connection, resource_notes, row)

    def forget(self, resource: str) -> None:
        """Remove tags and note of a resource that is no more."""
        with self._database.write() as connection:
            for table in (resource_tags, resource_notes):
                connection.execute(delete(table).where(table.c.resource == resource))


def check_tag(name: object, value: object) -> None:
    """Return when a tag may be kept.

    Raises:
        InvalidInput: Its name or value is out of its range.

    >>> check_tag("site", "north")
    """
    if not isinstance(name, str) or not 1 <= len(name) <= _MOST_NAME:
        raise InvalidInput(f"tags: expected names of 1 to {_MOST_NAME} characters, got {shown(name)}")
    if name.lower().startswith(_RESERVED):
        raise InvalidInput(f"tags: expected names that do not begin with {_RESERVED}, got {shown(name)}")
    if not isinstance(value, str) or len(value) > _MOST_VALUE:
        raise InvalidInput(f"tags: expected values of at most {_MOST_VALUE} characters, got {shown(value)}")
    if "\x00" in name + value:  # PostgreSQL keeps no such text
        raise InvalidInput(f"tags: expected texts without U+0000, got {shown(name)}")


def _tags(connection: Connection, resource: str, born: datetime) -> dict[str, str]:
    table = resource_tags
    wanted = select(table.c.name, table.c.value).where(table.c.resource == resource, table.c.born == born)
    return {row.name: row.value for row in connection.execute(wanted.order_by(table.c.name))}


def _strangers(table: Table, resource: str, born: datetime) -> Any:
    """Return the statement that removes what belonged to a former thing of this name."""
    return delete(table).where(table.c.resource == resource, table.c.born != born)
