"""Models in memory: loaded with their first call, shared by all calls, let go of when none uses them any more."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from masthead.base.errors import Conflict, NotFound
from masthead.base.log import get_logger
from masthead.learn.models import ServedModel
from masthead.learn.records import Endpoint

__all__ = ["Memory"]

_LOAD_WAIT_S = 2.0


@dataclass(slots=True)
class _Held:
    """A model in memory, or on its way there."""

    revision: str
    loading: threading.Lock = field(default_factory=threading.Lock)
    model: ServedModel | None = None
    users: int = 0
    retired: bool = False


class Memory:
    """The models of endpoints by name; `load` makes the one of a row."""

    def __init__(self, load: Callable[[Endpoint], ServedModel]) -> None:
        self._load = load
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    @contextlib.contextmanager
    def using(self, row: Endpoint) -> Iterator[ServedModel]:
        """Give the model of an endpoint, loaded with its first use; it is not closed while it is used.

        Raises:
            Conflict: It is being loaded, or has just been replaced: come again.
        """
        with self._lock:
            held, old = self._held.get(row.name), None
            if held is None or held.revision != row.revision:
                old = self._held.pop(row.name, None)
                held = self._held[row.name] = _Held(row.revision)
            held.users += 1
        if old is not None:
            self._rest(old)
        try:
            yield self._loaded(row, held)
        finally:
            with self._lock:
                held.users -= 1
            self._close_if_done(held)

    def _loaded(self, row: Endpoint, held: _Held) -> ServedModel:
        if not held.loading.acquire(timeout=_LOAD_WAIT_S):
            raise Conflict(f"endpoint: {row.name} is being loaded; come again in a second")
        try:
            if held.model is None:
                held.model = self._load(row)
            return held.model
        except NotFound as error:  # another process has just replaced it
            raise Conflict(f"endpoint: {row.name} has changed; come again") from error
        finally:
            held.loading.release()

    def keep_only(self, rows: Mapping[str, Endpoint]) -> None:
        """Let go of every model whose endpoint is no more or serves another one."""
        with self._lock:
            gone = [
                name
                for name, held in self._held.items()
                if name not in rows or rows[name].revision != held.revision
            ]
            retired = [self._held.pop(name) for name in gone]
        for held in retired:
            self._rest(held)

    def names(self) -> list[str]:
        """Return the endpoints whose models are in memory, or on their way there."""
        with self._lock:
            return sorted(self._held)

    def _rest(self, held: _Held) -> None:
        with self._lock:
            held.retired = True
        self._close_if_done(held)

    def _close_if_done(self, held: _Held) -> None:
        with self._lock:
            if not held.retired or held.users or held.model is None:
                return
            model, held.model = held.model, None
        try:
            model.close()
        except Exception as error:
            get_logger("learn").warning("a model did not close", error=type(error).__name__)
