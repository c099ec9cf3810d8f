"""The data folder: what lies where, the lock that keeps a second server out, and writes that are whole or absent."""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masthead.base.errors import Conflict

ADDRESSES = "serve.json"
"""In the data folder while a server runs: where it listens, and the token for what only the folder's owner may ask."""

_LOCK = "serve.lock"


@dataclass(frozen=True, slots=True)
class DataFolder:
    """One installation's files. Nothing is made until `create` is called."""

    path: Path

    @property
    def database_path(self) -> Path:
        return self.path / "masthead.db"

    @property
    def flows_path(self) -> Path:
        return self.path / "flows.db"

    @property
    def objects(self) -> Path:
        return self.path / "objects"

    @property
    def nats(self) -> Path:
        return self.path / "nats"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics"

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def streams(self) -> Path:
        return self.path / "streams"

    @property
    def things(self) -> Path:
        return self.path / "things"

    @property
    def audit(self) -> Path:
        return self.path / "audit"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials"

    @property
    def authority(self) -> Path:
        """The certificate by which clients trust this installation's servers, PEM."""
        return self.path / "ca.pem"

    @property
    def cache(self) -> Path:
        """What can be made again from the rest."""
        return self.path / "cache"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def create(self) -> "DataFolder":
        """Make the folder, readable by its owner only, and return it."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for one server; the kernel lets go of it when the process ends, however it ends.

        Raises:
            Conflict: Another process holds it; the message names its process id.
        """
        self.create()
        handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
                raise Conflict(
                    f"data: {self.path} is in use by the server with process id {holder}; "
                    "stop it, or name another folder with --data"
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)

    def served_by(self) -> int | None:
        """Return the process id of the server that holds the folder, or None."""
        try:
            handle = os.open(self.path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 32, 0).decode(errors="replace").strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(handle)
        return None

    def served_at(self) -> dict[str, Any] | None:
        """Return what the server that holds the folder wrote down when it was ready: `url`, ports, `token`; None without."""
        if self.served_by() is None:
            return None
        try:
            found = json.loads((self.path / ADDRESSES).read_bytes())
        except (OSError, ValueError):  # not ready yet, or about to end
            return None
        return found if isinstance(found, dict) else None


def write_atomic(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write `data` so that `path` holds all of it or what it held before, also after a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
