"""Structured logs: one for the process, and a bounded one of its own for every job, stream, detector and endpoint.

A journal line is one JSON object: `{"at": ISO time, "event": ..., fields}`. Each journal keeps at most two files of
`JOURNAL_BYTES`; the older is dropped when the newer is full.
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masthead.base.clock import Clock, SystemClock
from masthead.base.ids import check_name

JOURNAL_BYTES = 1_000_000
JOURNAL_KINDS = (
    "alert",
    "delivery",
    "detector",
    "endpoint",
    "fraud",
    "job",
    "rule",
    "server",
    "stream",
    "thing",
)


@dataclass(slots=True)
class _Wanted:
    """How this process logs: warnings to standard error, until `configure_logs` says otherwise."""

    as_json: bool = False
    level: str = "warning"
    due: bool = False


_WANTED = _Wanted()


def configure_logs(*, as_json: bool, level: str = "info") -> None:
    """Send this process's log to standard error, as JSON lines or as text for people."""
    threshold = max(getattr(logging, level.upper(), logging.INFO), logging.WARNING)
    logging.basicConfig(level=threshold, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    _WANTED.as_json, _WANTED.level, _WANTED.due = as_json, level, True


def get_logger(name: str) -> Any:
    """Return the process's logger, bound to the room that speaks."""
    return _Logger(name)


class _Logger:
    """Speaks through structlog, which is loaded with the first line: most commands log nothing and start sooner.

    A program that uses Masthead as a library and configured structlog itself gets the lines its own way.
    """

    def __init__(self, room: str) -> None:
        self._room = room

    def __getattr__(self, method: str) -> Any:
        import structlog

        if _WANTED.due or not structlog.is_configured():
            _configure()
        return getattr(structlog.get_logger(room=self._room), method)


def _configure() -> None:
    import structlog

    _WANTED.due = False
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if _WANTED.as_json
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            getattr(logging, _WANTED.level.upper(), logging.INFO)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class Journal:
    """The bounded logs of single objects: `write` from any thread, `read` and `follow` from any process."""

    def __init__(self, folder: Path, *, clock: Clock | None = None, limit_bytes: int = JOURNAL_BYTES) -> None:
        self._folder, self._clock, self._limit = folder, clock or SystemClock(), limit_bytes
        self._lock = threading.Lock()

    def write(self, kind: str, name: str, event: str, **fields: Any) -> None:
        """Add one line. A full disk must not stop the work that is logged: such a line is dropped."""
        entry = {"at": self._clock.now().isoformat(timespec="milliseconds"), "event": event, **fields}
        line = (json.dumps(entry, default=str) + "\n").encode()
        path = self._path(kind, name)
        with self._lock:
            try:
                self._append(path, line)
            except OSError as error:
                get_logger("log").warning("journal line dropped", kind=kind, name=name, error=str(error))

    def _append(self, path: Path, line: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size + len(line) > self._limit:
            os.replace(path, path.with_suffix(".1.jsonl"))
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    def read(self, kind: str, name: str, *, limit: int = 200) -> list[dict[str, Any]]:
        """Return the last `limit` lines, oldest first; a line torn by a crash is left out."""
        path = self._path(kind, name)
        lines: list[bytes] = []
        for part in (path.with_suffix(".1.jsonl"), path):
            if part.exists():
                lines += part.read_bytes().splitlines()
        return list(_parsed(lines[-limit:]))

    def follow(
        self,
        kind: str,
        name: str,
        *,
        limit: int = 20,
        stop: Callable[[], bool] = lambda: False,
        wait_s: float = 0.2,
    ) -> Iterator[dict[str, Any]]:
        """Yield the last `limit` lines, then each new one until `stop()` is true."""
        path = self._path(kind, name)
        # The place is taken first: a line may be told twice, never missed.
        place = path.stat().st_size if path.exists() else 0
        yield from self.read(kind, name, limit=limit)
        while not stop():
            size = path.stat().st_size if path.exists() else 0
            if size < place:  # the file was turned over
                place = 0
            if size > place:
                with path.open("rb") as file:
                    file.seek(place)
                    data = file.read()
                whole = data[: data.rfind(b"\n") + 1]
                place += len(whole)
                yield from _parsed(whole.splitlines())
            else:
                time.sleep(wait_s)

    def names(self, kind: str) -> list[str]:
        """Return the names that have a log of this kind."""
        folder = self._folder / kind
        found = folder.glob("*.jsonl") if folder.is_dir() else ()
        return sorted({path.name.removesuffix(".jsonl").removesuffix(".1") for path in found})

    def delete(self, kind: str, name: str) -> None:
        """Remove the log of an object that is no more."""
        path = self._path(kind, name)
        for part in (path.with_suffix(".1.jsonl"), path):
            part.unlink(missing_ok=True)

    def _path(self, kind: str, name: str) -> Path:
        return self._folder / check_name(kind, "kind") / f"{check_name(name)}.jsonl"


def _parsed(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue
