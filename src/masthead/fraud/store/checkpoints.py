"""SQLite's write-ahead log goes into the database beside who writes, not within the commit that an answer waits for.

Left alone, SQLite does it in the commit that makes the log longer than so many pages: at a thousand transactions a
second that is one of 40 ms every two seconds, and who comes meanwhile waits too. A checkpoint that is passive holds
nobody up. It also never reaches the end of a log that grows on, and only then does the log begin anew; so when it has
become long, the little that is left is copied under the writers' lock.
"""

import threading
import time

from masthead.base.log import get_logger
from masthead.fraud.store.aside import Aside
from masthead.store.engine import Database

__all__ = ["BRAKE_PAGES", "Checkpoints"]

BRAKE_PAGES = 48_000
"""From here on the writer itself does it after all: a log of 190 MB that nobody shortens."""

_EVERY_S = 0.5
_LONG_PAGES = 16_000  # 64 MB


class Checkpoints:
    """Copies the log of a SQLite database, every half second in which something was committed.

    Args:
        turn: Whoever writes holds it.
    """

    def __init__(self, database: Database, turn: threading.Lock) -> None:
        self._database, self._turn = database, turn
        self._aside = Aside("fraud-checkpoint")
        self._next = 0.0

    def committed(self) -> None:
        """To be called after each commit, by who holds the turn."""
        now = time.monotonic()
        if now >= self._next and self._aside.is_free:
            self._next = now + _EVERY_S
            self._aside.start(self._copy)

    def wait(self) -> None:
        """Return when nothing is being copied."""
        self._aside.wait()

    def _copy(self) -> None:
        try:
            if self._pages() > _LONG_PAGES:
                self._pages()  # what came meanwhile, so that as little as can be is left
                with self._turn:
                    self._pages()
        except Exception as error:  # a full disk, say: the next time, or the brake
            get_logger("fraud").warning("a checkpoint was not made", error=repr(error))

    def _pages(self) -> int:
        """Copy what the log holds by now; return its pages, also those that were copied before."""
        with self._database.engine.connect() as connection:
            _, pages, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
            return int(pages)
