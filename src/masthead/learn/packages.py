"""A model's folder as `model.tar.gz`, as SageMaker's containers take it, and back, trusting nothing in it.

The same files give the same bytes. `SHA256SUMS` inside says what each file was when it was packed.
"""

import gzip
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.ids import new_id

__all__ = ["SUMS", "file_sha256", "pack", "unpack"]

SUMS = "SHA256SUMS"
MOST_BYTES = 8 << 30
MOST_FILES = 10_000
_CHUNK = 1 << 20


def pack(
    folder: Path, archive: Path, *, told: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Write a folder's files into an archive; return `sha256, bytes, files` (name -> SHA-256) of it.

    Args:
        told: Is given how many of how many files are in.

    Raises:
        NotFound: The folder holds no file. InvalidInput: It holds something that is neither file nor folder.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    if not paths:
        raise NotFound(f"model: there is no file in {folder}")
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise InvalidInput(f"model: expected files and folders alone, got {shown(path.name)}")
    names = {path.relative_to(folder).as_posix(): path for path in paths if path != folder / SUMS}
    sums: dict[str, str] = {}
    with (
        archive.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for done, (name, path) in enumerate(names.items()):
            told(done, len(names))
            sums[name] = file_sha256(path)
            with path.open("rb") as file:
                tar.addfile(_member(name, path.stat().st_size), file)
        text = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
        tar.addfile(_member(SUMS, len(text)), io.BytesIO(text))
    told(len(names), len(names))
    return {"sha256": file_sha256(archive), "bytes": archive.stat().st_size, "files": sums}


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Return an entry without owner and time: they are not the model's."""
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, 0o644
    return found


def unpack(archive: Path, folder: Path, *, sha256: str = "", most_bytes: int = MOST_BYTES) -> list[str]:
    """Unpack an archive into a folder that is not there yet, whole or not at all; return the files' names.

    Args:
        sha256: What the archive must be; "" = any.
        most_bytes: Of all files together, unpacked.

    Raises:
        NotFound: There is no archive. Conflict: The folder exists.
        InvalidInput: Another digest, no such archive, or an entry that is no plain file inside the folder.
        LimitReached: It holds too much.
    """
    if not archive.is_file():
        raise NotFound(f"archive: there is no file {archive}")
    if folder.exists():
        raise Conflict(f"model: expected a folder that is not there yet, got {folder}")
    if sha256 and (found := file_sha256(archive)) != sha256:
        raise InvalidInput(f"archive: expected SHA-256 {sha256}, got {found}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.parent / f".{new_id('unpacked')}"
    beside.mkdir()
    try:
        sums = _extract(archive, beside, most_bytes)
        _compare(beside, sums)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sorted(sums)


def _extract(archive: Path, folder: Path, most_bytes: int) -> dict[str, str]:
    """Write each entry and return name -> SHA-256 as it came."""
    sums: dict[str, str] = {}
    left = most_bytes
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if member.isdir():
                    continue
                if not member.isfile() or path.is_absolute() or ".." in path.parts or "\\" in member.name:
                    raise InvalidInput(
                        f"archive: expected plain files inside the folder, got {shown(member.name)}"
                    )
                name = path.as_posix()
                if name in sums or len(sums) >= MOST_FILES:
                    raise InvalidInput(
                        f"archive: expected at most {MOST_FILES} files, each once, got {shown(name)}"
                    )
                if member.size > left:
                    raise LimitReached(f"archive: expected at most {most_bytes} bytes unpacked")
                left -= member.size
                sums[name] = _write(tar, member, folder / name)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InvalidInput(f"archive: expected a tar.gz, {archive.name} is none: {error}") from error
    return sums


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    source = tar.extractfile(member)
    assert source is not None  # it is a file
    path.parent.mkdir(parents=True, exist_ok=True)
    made = hashlib.sha256()
    with path.open("xb") as file:
        while chunk := source.read(_CHUNK):
            made.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return made.hexdigest()


def _compare(folder: Path, found: dict[str, str]) -> None:
    """Hold the files against the sums inside; an archive of another maker has none. The file of sums is removed."""
    if found.pop(SUMS, None) is None:
        return
    told = {}
    for line in (folder / SUMS).read_text().splitlines():
        digest, _, name = line.partition("  ")
        told[name] = digest
    if told != found:
        wrong = sorted({*told, *found} - {name for name in told if told[name] == found.get(name)}, key=str)
        raise InvalidInput(f"archive: expected the files that {SUMS} tells, differs in {', '.join(wrong)}")
    (folder / SUMS).unlink()


def file_sha256(path: Path, *, told: Callable[[int], None] = lambda done: None) -> str:
    """Return the SHA-256 of a file; `told` is given the bytes read so far."""
    made, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            made.update(chunk)
            done += len(chunk)
            told(done)
    return made.hexdigest()
