"""What takes a while to find: asked in a thread of its own, so that no page stands still, and drawn when it is there."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from masthead.base.errors import MastheadError

__all__ = ["Beside"]

T = TypeVar("T")

_FRESH_S = 60.0
_ASKING = ThreadPoolExecutor(1, thread_name_prefix="console-beside")  # one at a time, whoever looks


class Beside(Generic[T]):
    """A question of one page, asked anew each minute and when what it is about changes.

    Args:
        ask: Finds the answer about something; in another thread.
        draw: Shows it. refuse: Shows why there is none.
    """

    def __init__(
        self, ask: Callable[[str], T], draw: Callable[[T], None], refuse: Callable[[str], None]
    ) -> None:
        self._ask, self._draw, self._refuse = ask, draw, refuse
        self._asked: Future[T] | None = None
        self._about, self._at = "", 0.0

    def follow(self, about: str) -> None:
        """Draw an answer that has come, or ask where it is time to; to be called again and again."""
        if self._asked is not None and self._asked.done():
            found, self._asked = self._asked, None
            try:
                answer = found.result()
            except MastheadError as error:
                self._refuse(error.message)
            else:
                if self._about == about:
                    self._draw(answer)
        elif self._asked is None and (self._about != about or time.monotonic() - self._at > _FRESH_S):
            self._about, self._at = about, time.monotonic()
            self._asked = _ASKING.submit(self._ask, about)
