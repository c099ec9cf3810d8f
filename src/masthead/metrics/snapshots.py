"""A detector's memory on disk: whole or absent, with the place in the interval log that it stands for.

    NUMBER.npz    the scorer: numpy arrays, no pickle, a checksum each
    NUMBER.json   the rest, and the CRC-32 of the scorer's file; written last, so it vouches for both

NUMBER is that of the last log entry the memory holds. The two newest are kept: should a disk damage one, the other
and the log behind it give the same memory.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masthead.base.errors import InvalidInput, NotFound
from masthead.base.folder import write_atomic
from masthead.base.log import get_logger
from masthead.metrics.scorer import SeriesScorer

__all__ = ["KEPT", "Snapshot", "newest_snapshot", "write_snapshot"]

FORMAT = 1
KEPT = 2


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A memory: `entry` = number of the last log entry it holds, `state` = JSON values beside the scorer."""

    entry: int
    state: dict[str, Any]
    scorer: SeriesScorer


def write_snapshot(folder: Path, snapshot: Snapshot) -> int:
    """Write a snapshot; return the number from which the log must be kept (that of the oldest one kept)."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    arrays = folder / f"{snapshot.entry:012d}.npz"
    snapshot.scorer.save(arrays)
    header = {"format": FORMAT, "entry": snapshot.entry, "crc": zlib.crc32(arrays.read_bytes())}
    write_atomic(arrays.with_suffix(".json"), json.dumps({**header, "state": snapshot.state}).encode())
    numbers = _numbers(folder)
    for number in numbers[:-KEPT]:
        _path(folder, number).unlink(missing_ok=True)
    kept = numbers[-KEPT:]
    for stray in folder.glob("*.npz"):
        if int(stray.stem) not in kept:
            stray.unlink(missing_ok=True)
    return kept[0]


def newest_snapshot(folder: Path) -> Snapshot | None:
    """Return the newest snapshot that is whole, or None.

    Raises:
        Conflict: Another version of the kernel wrote it: the history must be scored again.
    """
    for number in reversed(_numbers(folder)):
        try:
            return _read(folder, number)
        except (InvalidInput, NotFound) as error:
            get_logger("metrics").warning(
                "snapshot passed over", snapshot=str(_path(folder, number)), error=str(error)
            )
    return None


def _read(folder: Path, number: int) -> Snapshot:
    path = _path(folder, number)
    try:
        found = json.loads(path.read_bytes())
        arrays = path.with_suffix(".npz").read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"snapshot: expected a whole one at {path}: {error}") from error
    if found.get("format") != FORMAT or found.get("crc") != zlib.crc32(arrays):
        raise InvalidInput(f"snapshot: expected format {FORMAT} and matching checksums at {path}")
    return Snapshot(int(found["entry"]), found["state"], SeriesScorer.load(path.with_suffix(".npz")))


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:012d}.json"


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.stem) for path in folder.glob("*.json") if path.stem.isdigit())
