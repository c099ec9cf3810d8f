"""One installation as one file: `masthead backup` writes it, `masthead restore` makes a data folder of it.

    tar, gzip:  manifest.json first, then data/...

SQLite files are copied by SQLite's own backup, so that a copy is one state of a database that is written to. Objects
never change under their name, so they are listed while the installation holds still and copied afterwards. A database
that lies elsewhere goes in as such a file too, from one snapshot of it (`portable.py`), so an archive of one engine can
be restored into the other.
"""

import contextlib
import errno
import gzip
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.folder import DataFolder, sync_folder
from masthead.store.engine import Database
from masthead.store.portable import check_portable, restored, snapshot, write_portable

FORMAT = 1
_MANIFEST, _DATA = "manifest.json", "data"
_OBJECTS, _BROKER, _DATABASE = "objects", "nats", "masthead.db"
_RUNS = "runs"  # work in progress, changing all the time, with links to data that are the user's
_LEFT_OUT = ("serve.lock", "serve.json")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        format: Of the archive.
        version: Of the Masthead that wrote it.
        created: ISO 8601, UTC.
        running: Whether it was taken from a running server.
        unread: Batches of readings that were stored and not yet settled.
        objects: How many objects it holds.
        files: How many other files.
    """

    format: int
    version: str
    created: str
    running: bool
    unread: int = 0
    objects: int = 0
    files: int = 0


def write_archive(
    folder: DataFolder,
    target: Path,
    *,
    version: str,
    now: datetime,
    still: AbstractContextManager[None] | None = None,
    unread: Callable[[Path], int] | None = None,
    database: Database | None = None,
) -> Manifest:
    """Write `target`, whole or not at all, and return its manifest.

    Args:
        folder: The installation. It must not be served by another process.
        target: Must not exist.
        version: Of this program.
        now: For the manifest.
        still: Entered while databases and sinks are copied; nothing may be taken or ticked inside. None: the caller
            holds the folder's lock, and the broker's own files are copied as they are.
        unread: Writes the readings that the sinks have not settled to a path and returns how many batches.
        database: The installation's, when it lies outside the folder. It is read after `still` has ended, as it was.

    Raises:
        Conflict: `target` exists, or the database does not answer. InvalidInput: It cannot be written. LimitReached: The disk is full.
    """
    if target.exists():
        raise Conflict(f"file: {target} exists already")
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with tempfile.TemporaryDirectory(prefix=".masthead-backup-", dir=target.parent) as stage_name:
            stage = Path(stage_name)
            with contextlib.ExitStack() as kept:
                with still or contextlib.nullcontext():
                    view = kept.enter_context(snapshot(database)) if database else None
                    _copy_state(folder, stage, with_broker=still is None, with_database=view is None)
                    waiting = unread(stage / _BROKER / "restored.readings") if unread else 0
                    listed = sorted(_files_below(folder.objects))
                if view is not None:
                    write_portable(view, stage / _DATABASE)
            staged = sorted(_files_below(stage))
            found = Manifest(
                FORMAT, version, now.isoformat(), still is not None, waiting, len(listed), len(staged)
            )
            _write_tar(partial, found, stage, staged, folder.objects, listed)
        os.replace(partial, target)
        sync_folder(target.parent)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise LimitReached(f"disk: no space left for {target}") from error
        raise InvalidInput(f"file: cannot write {target}: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return found


def read_archive(
    source: Path,
    folder: DataFolder,
    *,
    force: bool,
    now: datetime,
    database: Callable[[Path], Database | None] = lambda _: None,
) -> tuple[Manifest, Path | None]:
    """Make `folder` what the archive holds; return its manifest, and where what lay there before has gone.

    The archive is unpacked beside the folder first, so that a broken one changes nothing.

    Args:
        source: Written by `write_archive`.
        folder: The installation; nobody may serve it.
        force: Put aside what is there.
        now: For the name of what is put aside.
        database: Given the unpacked folder, opens the database that the installation will use; None: the folder's own.

    Raises:
        Conflict: A server holds the folder, or it or the database is not empty and `force` is False, or a newer version
            wrote the archive.
        NotFound: There is no such archive. InvalidInput: It is no archive, or is cut short or damaged.
        LimitReached: The disk is full.
    """
    path = folder.path.absolute()
    if (holder := folder.served_by()) is not None:
        raise Conflict(f"data: {path} is in use by the server with process id {holder}; stop it first")
    occupied = path.is_dir() and any(one.name not in _LEFT_OUT for one in path.iterdir())
    if occupied and not force:
        raise Conflict(f"data: {path} is not empty; name another folder with --data, or give --force")
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.before-restore-{now:%Y%m%d-%H%M%S}")
    with tempfile.TemporaryDirectory(prefix=".masthead-restore-", dir=path.parent) as stage_name:
        stage = Path(stage_name)
        found = _unpack(source, stage)
        with (
            _exchange(stage, path, aside if occupied else None) as exchange,
            _database_restored(stage, database, force=force) as replaced,
        ):
            exchange()
            if replaced is not None:
                aside.mkdir(mode=0o700, exist_ok=True)
                replaced.rename(aside / replaced.name)
    sync_folder(path.parent)
    return found, aside if aside.exists() else None


@contextlib.contextmanager
def _exchange(stage: Path, path: Path, aside: Path | None) -> Iterator[Callable[[], None]]:
    """Give what puts the unpacked folder in its place; an exception in the block puts back what lay there."""
    done = []

    def exchange() -> None:
        if aside is not None:
            path.rename(aside)
        elif path.exists():
            shutil.rmtree(path)
        done.append(aside)
        (stage / _DATA).rename(path)

    try:
        yield exchange
    except BaseException:
        if done:
            if path.exists():
                path.rename(stage / "refused")
            if aside is not None:
                aside.rename(path)
        raise


@contextlib.contextmanager
def _database_restored(
    stage: Path, opened: Callable[[Path], Database | None], *, force: bool
) -> Iterator[Path | None]:
    """Bring the archive's rows to where they belong, committed at the end; give the file with those that were there."""
    file = stage / _DATA / _DATABASE
    if not file.exists():
        raise InvalidInput("file: expected a whole backup of Masthead: it holds no database")
    check_portable(file)
    database = opened(stage / _DATA)
    if database is None:
        yield None
        return
    rows, replaced = file.rename(stage / "rows.db"), stage / "database.db"
    try:
        with restored(rows, database, force=force, aside=replaced):
            yield replaced if replaced.exists() else None
    finally:
        database.close()


def _copy_state(folder: DataFolder, stage: Path, *, with_broker: bool, with_database: bool) -> None:
    """Copy all but objects; the broker's files only when it stands still, the database only when it is in use."""
    left_out = {_OBJECTS, _RUNS, *_LEFT_OUT} | (set() if with_broker else {_BROKER})
    (stage / _BROKER).mkdir(mode=0o700)
    for source in sorted(folder.path.iterdir()):
        if source.name in left_out or source.name.startswith("."):
            continue
        if source.name.startswith(_DATABASE) and not with_database:
            continue  # of the time before the installation moved to another database
        target = stage / source.name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True, ignore_dangling_symlinks=True)
        elif _is_sqlite(source, folder):
            _copy_sqlite(source, target)
        elif not source.name.endswith(("-wal", "-shm")) and source.is_file():
            shutil.copy2(source, target)


def _is_sqlite(path: Path, folder: DataFolder) -> bool:
    # Known by name, never by a look inside: closing any handle on the file drops every lock that this process holds on
    # it (POSIX fcntl), and the next command would believe itself alone and remove the server's write-ahead log.
    return path in (folder.database_path, folder.flows_path) and path.is_file()


def _copy_sqlite(source: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(source)) as database,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        database.backup(copy)
    target.chmod(0o600)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder; puts in progress among objects carry a `#` and numbers."""
    if folder.is_dir():
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path


def _write_tar(
    target: Path, manifest: Manifest, stage: Path, staged: list[Path], objects: Path, listed: list[Path]
) -> None:
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
            about = stage / _MANIFEST
            about.write_text(json.dumps(asdict(manifest), indent=2))
            tar.add(about, _MANIFEST)
            for path in staged:
                tar.add(path, f"{_DATA}/{path.relative_to(stage)}")
            for path in listed:
                # Retention may have removed an object since it was listed.
                with contextlib.suppress(FileNotFoundError):
                    tar.add(path, f"{_DATA}/{_OBJECTS}/{path.relative_to(objects)}")
        file.flush()
        os.fsync(file.fileno())


def _unpack(source: Path, stage: Path) -> Manifest:
    try:
        _check_sum(source)
        with tarfile.open(source, "r:gz") as tar:
            first = tar.next()
            if first is None or first.name != _MANIFEST or (about := tar.extractfile(first)) is None:
                raise InvalidInput(f"file: {source} is no backup of Masthead")
            found = _manifest(json.load(about), source)
            tar.extractall(stage, members=_checked(tar), filter="data")
    except FileNotFoundError as error:
        raise NotFound(f"file: there is no file {source}") from error
    except (tarfile.TarError, EOFError, OSError, ValueError, TypeError, KeyError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise LimitReached(f"disk: no space left to unpack {source}") from error
        raise InvalidInput(f"file: expected a whole backup of Masthead in {source}: {error}") from error
    (stage / _DATA).mkdir(exist_ok=True)
    (stage / _DATA).chmod(0o700)
    return found


def _check_sum(source: Path) -> None:
    """Read a gzip file to its end, where its checksum is compared: tarfile does not read so far."""
    with gzip.open(source) as plain:
        while plain.read(1 << 20):
            pass


def _manifest(told: dict[str, Any], source: Path) -> Manifest:
    """Return the manifest of an archive that this version can read."""
    if told["format"] != FORMAT:
        raise Conflict(
            f"file: {source} has format {told['format']}, written by Masthead {told.get('version', 'unknown')}; "
            f"this version reads format {FORMAT}"
        )
    return Manifest(**{one.name: told[one.name] for one in fields(Manifest)})


def _checked(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members: files of ours, readable by their owner only, as they were written."""
    for member in tar:
        if member.name == _MANIFEST:
            continue
        if not member.isfile() or not member.name.startswith(f"{_DATA}/"):
            raise InvalidInput(f"file: {member.name!r} does not belong into a backup")
        member.mode = 0o600
        yield member
