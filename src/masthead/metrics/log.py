"""The interval log: what was decided about a live detector, written before anything is computed from it.

    segment: "MDL1" | entries          file name: the number of its first entry
    entry:   length u32 | CRC-32 u32 | payload
    payload: header length u32 | header JSON | values float64[n] | counts int64[n]

Integers are little-endian. Appending returns when the disk has the entry. An entry that a crash cut short ends the
log; damage anywhere else is said aloud, for what stands behind it cannot be repeated.
"""

import errno
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.base.folder import sync_folder

__all__ = ["Entry", "IntervalLog", "decode_entry", "encode_entry", "entries_of"]

_MAGIC = b"MDL1"
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<I")
_MOST_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision.

    Attributes:
        number: Rises by one from entry to entry, from 1.
        kind: `start`, `interval` or `feedback`.
        data: JSON values; their meaning is that of the kind.
        values: (series,) float64 of an interval, NaN = missing.
        counts: (series,) int64, the records behind each value.
    """

    number: int
    kind: str
    data: dict[str, Any]
    values: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def encode_entry(entry: Entry) -> bytes:
    """Return an entry's payload."""
    header = {"number": entry.number, "kind": entry.kind, "size": len(entry.values), "data": entry.data}
    text = orjson.dumps(header)
    arrays = entry.values.astype("<f8").tobytes() + entry.counts.astype("<i8").tobytes()
    return _HEADER.pack(len(text)) + text + arrays


def decode_entry(payload: bytes) -> Entry:
    """Return the entry that `encode_entry` was given, to the bit.

    Raises:
        InvalidInput: The bytes are no entry.
    """
    try:
        (length,) = _HEADER.unpack_from(payload)
        header = orjson.loads(payload[_HEADER.size : _HEADER.size + length])
        start, size = _HEADER.size + length, header["size"]
        if len(payload) != start + 16 * size or size < 0 or not isinstance(header["data"], dict):
            raise ValueError("its length and its header disagree")
        values = np.frombuffer(payload, "<f8", size, start).astype(np.float64)
        counts = np.frombuffer(payload, "<i8", size, start + 8 * size).astype(np.int64)
        return Entry(int(header["number"]), str(header["kind"]), header["data"], values, counts)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"entry: expected an entry of the interval log: {error}") from error


class IntervalLog:
    """One detector's log in a folder of segments. One writer.

    Raises:
        Conflict: A segment is damaged before its end, or one is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._last = 0
        self._handle: int | None = None
        self._length = 0
        segments = _segments(self._folder)
        for place, (first, path) in enumerate(segments):
            if self._last and first != self._last + 1:
                raise Conflict(f"log: expected entry {self._last + 1} in {folder}, found {first} next")
            self._last = first - 1
            end = self._check(path, is_last=place == len(segments) - 1)
            if place == len(segments) - 1:
                self._open(path, end)

    @property
    def last(self) -> int:
        """Number of the last entry; 0 = none."""
        return self._last

    def append(self, entry: Entry) -> None:
        """Write an entry; returns once it is on the disk.

        Raises:
            Conflict: Its number does not follow the last.
            LimitReached: The disk is full; the log is as before.
        """
        if entry.number != self._last + 1:
            raise Conflict(f"number: expected entry {self._last + 1}, got {entry.number}")
        if self._handle is None:
            self._open(self._folder / f"{entry.number:012d}.log", 0)
        payload = encode_entry(entry)
        self._write(_FRAME.pack(len(payload), zlib.crc32(payload)) + payload)
        self._last = entry.number

    def read(self, after: int = 0) -> Iterator[Entry]:
        """Yield the entries with a number above `after`, in order."""
        yield from entries_of(self._folder, after)

    def turn_over(self, *, keep_after: int) -> None:
        """Go on in a new segment, and drop the segments that hold no entry above `keep_after`."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
        segments = _segments(self._folder)
        for (_, path), (following, _) in zip(segments, [*segments[1:], (self._last + 1, None)], strict=True):
            if following <= keep_after + 1:
                path.unlink()
        self._open(self._folder / f"{self._last + 1:012d}.log", 0)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _check(self, path: Path, *, is_last: bool) -> int:
        """Count a segment's entries and return where the last whole one ends."""
        data = path.read_bytes()
        end = len(_MAGIC) if data.startswith(_MAGIC) else 0
        for place, payload in _frames(data):
            number = decode_entry(payload).number
            if number != self._last + 1:
                raise Conflict(f"log: expected entry {self._last + 1} in {path}, found {number}")
            self._last, end = number, place
        if end < len(data) and (not is_last or _goes_on(data, end)):
            raise Conflict(
                f"log: {path} is damaged at byte {end}; activate the detector again from its history"
            )
        return end

    def _open(self, path: Path, length: int) -> None:
        """Open a segment for appending, cut to `length`; 0 begins it anew."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._handle, self._length = handle, length
        os.ftruncate(handle, length)
        if length < len(_MAGIC):
            self._length = 0
            os.ftruncate(handle, 0)
            self._write(_MAGIC)
        os.fsync(handle)
        sync_folder(self._folder)

    def _write(self, data: bytes) -> None:
        assert self._handle is not None
        try:
            view, place = memoryview(data), self._length
            while view:
                written = os.pwrite(self._handle, view, place)
                view, place = view[written:], place + written
            os.fdatasync(self._handle)
        except OSError as error:
            os.ftruncate(self._handle, self._length)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise LimitReached("disk: no space left for the interval log; free some") from error
            raise
        self._length += len(data)


def entries_of(folder: Path, after: int = 0) -> Iterator[Entry]:
    """Yield the whole entries of a log with a number above `after`, in order; another process may be writing it."""
    segments = _segments(folder)
    for place, (_, path) in enumerate(segments):
        if place + 1 < len(segments) and segments[place + 1][0] <= after + 1:
            continue
        data = path.read_bytes()
        for _, payload in _frames(data):
            entry = decode_entry(payload)
            if entry.number > after:
                yield entry


def _segments(folder: Path) -> list[tuple[int, Path]]:
    found = [(int(path.stem), path) for path in folder.glob("*.log") if path.stem.isdigit()]
    return sorted(found)


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (end, payload) of each whole entry from the start; stops at the first that is not."""
    place = len(_MAGIC)
    if not data.startswith(_MAGIC):
        return
    while (payload := _frame(data, place)) is not None:
        place += _FRAME.size + len(payload)
        yield place, payload


def _frame(data: bytes, place: int) -> bytes | None:
    if place + _FRAME.size > len(data):
        return None
    length, crc = _FRAME.unpack_from(data, place)
    payload = data[place + _FRAME.size : place + _FRAME.size + length]
    whole = 0 < length <= _MOST_BYTES and len(payload) == length and zlib.crc32(payload) == crc
    return payload if whole else None


def _goes_on(data: bytes, place: int) -> bool:
    """Return whether a whole entry stands behind the broken one at `place`: damage, not a torn end."""
    if place + _FRAME.size > len(data):
        return False
    length, _ = _FRAME.unpack_from(data, place)
    return _frame(data, place + _FRAME.size + length) is not None
