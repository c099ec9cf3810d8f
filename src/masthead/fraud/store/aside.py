"""A thread that does one thing at a time, beside the writing of decisions."""

import threading
from collections.abc import Callable

__all__ = ["Aside"]


class Aside:
    """Does what it is given in a thread of its own; who gives something asks before whether it is free."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None

    @property
    def is_free(self) -> bool:
        """Return whether the last thing is done."""
        return self._thread is None or not self._thread.is_alive()

    def start(self, what: Callable[..., None], *given: object) -> None:
        """Do something."""
        self._thread = threading.Thread(target=what, args=given, name=self._name, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Return when the last thing is done."""
        if self._thread is not None:
            self._thread.join()
