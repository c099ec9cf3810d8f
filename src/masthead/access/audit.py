"""Who did what: one file a day with a JSON line for each mutation and each refusal. Never bodies, never secrets."""

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from masthead.base.clock import Clock
from masthead.base.errors import LimitReached
from masthead.base.log import get_logger

KEEP_DAYS = 400
_MOST_TEXT = 2_048
_MOST_RESOURCES = 20
_LOG = get_logger("access")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line. `code` is "" for what was done; `body_sha256` proves a body without keeping it."""

    request_id: str
    key_id: str = ""
    key_name: str = ""
    address: str = ""
    face: str = ""
    service: str = ""
    operation: str = ""
    action: str = ""
    resources: tuple[str, ...] = ()
    region: str = ""
    code: str = ""
    status: int = 0
    latency_ms: float = 0.0
    user_agent: str = ""
    body_sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values, texts cut at a bound."""
        found = asdict(self)
        found["resources"] = [one[:_MOST_TEXT] for one in self.resources[:_MOST_RESOURCES]]
        found["latency_ms"] = round(self.latency_ms, 3)
        return {name: one[:_MOST_TEXT] if isinstance(one, str) else one for name, one in found.items()}


FIELDS = ("time", *(one.name for one in fields(AuditEntry)))
"""What a line holds."""


class Audit:
    """Writes and reads the lines of a folder. Several processes may write; each line is one write."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        self._day: date | None = None
        self._handle = -1
        self._dirty = self._torn = False

    def write(self, entry: AuditEntry) -> None:
        """Add a line; it is on the disk after the next `sync`.

        Raises:
            LimitReached: It cannot be written.
        """
        now = self._clock.now()
        line = json.dumps({"time": now.isoformat(timespec="milliseconds"), **entry.to_json()}) + "\n"
        data = line.encode(errors="replace")
        with self._lock:
            try:
                self._turn(now.date())
                # What a full disk tore must not swallow the next line.
                data = b"\n" + data if self._torn else data
                self._torn = os.write(self._handle, data) != len(data)
            except OSError as error:
                self._torn = (
                    True  # so that `check` proves that there is room again before anything is changed
                )
                raise LimitReached(f"audit: the line cannot be written: {error.strerror or error}") from error
            self._dirty = True
            if self._torn:
                raise LimitReached("audit: the line cannot be written: the disk is full")

    def check(self) -> None:
        """Return when a line can be written, as far as that can be known before.

        Raises:
            LimitReached: It cannot; nothing may be changed then.
        """
        with self._lock:
            try:
                self._turn(self._clock.now().date())
                if self._torn:
                    self._torn = os.write(self._handle, b"\n") != 1
            except OSError as error:
                raise LimitReached(f"audit: no line can be written: {error.strerror or error}") from error
            if self._torn:
                raise LimitReached("audit: no line can be written: the disk is full")

    def sync(self) -> None:
        """Bring what was written to the disk; called once a second."""
        with self._lock:
            if self._dirty and self._handle >= 0:
                self._dirty = False
                try:
                    os.fsync(self._handle)
                except OSError as error:
                    self._dirty = True
                    _LOG.error("the audit cannot be synced", error=str(error))

    def read(self, since: datetime | None = None, key: str = "") -> Iterator[dict[str, Any]]:
        """Yield the lines since a time, of one key or of all, the oldest first; a torn line is left out."""
        for path in sorted(self._folder.glob("????-??-??.jsonl")):
            if since is not None and path.stem < since.date().isoformat():
                continue
            with path.open("rb") as file:
                for line in file:
                    found = _parsed(line)
                    if found is None or (key and found.get("key_id") != key):
                        continue
                    if since is None or datetime.fromisoformat(found["time"]) >= since:
                        yield found

    def trim(self) -> int:
        """Remove the files of days that are longer past than `KEEP_DAYS`; return how many."""
        first = (self._clock.now() - timedelta(days=KEEP_DAYS)).date().isoformat()
        old = [path for path in self._folder.glob("????-??-??.jsonl") if path.stem < first]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    def close(self) -> None:
        """Sync, and let go of the file."""
        self.sync()
        with self._lock:
            if self._handle >= 0:
                os.close(self._handle)
                self._handle, self._day = -1, None

    def _turn(self, day: date) -> None:
        """Open the file of a day unless it is open."""
        if day == self._day:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / f"{day.isoformat()}.jsonl"
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if self._handle >= 0:
            os.fsync(self._handle)
            os.close(self._handle)
        self._handle, self._day = handle, day


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
        return found if isinstance(found, dict) and isinstance(found.get("time"), str) else None
    except ValueError:
        return None
