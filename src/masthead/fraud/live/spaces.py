"""Spaces: each holds the transactions of one schema, apart from all others. `live` has the real ones, simulations their own."""

import functools
from typing import TYPE_CHECKING, Literal

from masthead.base.clock import Clock
from masthead.base.errors import Conflict, NotFound, shown
from masthead.fraud.store import results
from masthead.fraud.store.log import TransactionLog
from masthead.fraud.store.results import Space
from masthead.store.engine import Database

if TYPE_CHECKING:
    from masthead.fraud.data.schema import Schema

__all__ = ["Spaces"]


class Spaces:
    """The spaces that there are. May be used from any thread."""

    def __init__(self, database: Database, store: TransactionLog, clock: Clock) -> None:
        self._database, self._store, self._clock = database, store, clock

    def all(self, *, counted: bool = False) -> list[Space]:
        """Return the spaces by name.

        Args:
            counted: Tell how many transactions each holds.
        """
        with self._database.read() as connection:
            return results.spaces(connection, counted=counted)

    def find(self, name: str) -> Space | None:
        """Return a space; None when there is none of that name."""
        return next((one for one in self.all() if one.name == name), None)

    def get(self, name: str) -> Space:
        """Return a space.

        Raises:
            NotFound: There is none of that name.
        """
        found = self.find(name)
        if found is None:
            raise NotFound(f"space: there is none named {shown(name)}")
        return found

    def schema(self, name: str) -> "Schema":
        """Return the schema of a space.

        Raises:
            NotFound: There is no such space.
        """
        return _parsed(self.get(name).schema, f"the schema of the space {name}")

    def check(self, name: str, schema: "Schema") -> None:
        """Return when transactions of a schema may stand in a space, which need not be there yet.

        Raises:
            Conflict: It has another schema.
        """
        known = self.find(name)
        if known is not None and known.digest != schema.digest():
            raise Conflict(
                f"model: expected one of the schema that the transactions of the space {name} have "
                f"({known.digest}), got one of {schema.name} ({schema.digest()}); name another space"
            )

    def make(self, name: str, kind: Literal["live", "simulation"], schema: "Schema") -> None:
        """Make a space, unless there is one of that name."""
        if self.find(name) is None:
            with self._store.group() as group:
                results.put_space(
                    group, Space(name, kind, schema.to_toml(), schema.digest(), self._clock.now())
                )
            self._database.touch()


@functools.lru_cache(maxsize=16)
def _parsed(text: str, source: str) -> "Schema":
    from masthead.fraud.data.schema import Schema

    return Schema.parse(text, source=source)
