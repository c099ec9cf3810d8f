"""How far the copy from the MQTT door has come, and what is remembered beside the log for the day when it is gone.

The log itself states the place, in the headers of its last chunk: that is the truth, written together with the copy.
The note is read only when the log states none, since somebody deleted it: without the note everything that the door
still holds would be copied, and counted, once more.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from masthead.base.folder import write_atomic
from masthead.devices.puller import Pulled

_BYTES = 160


@dataclass(frozen=True, slots=True)
class Place:
    """How far the copy has come: the last message of `$MQTT_msgs`, and the message of READINGS that holds it."""

    sequence: int = 0
    time_ns: int = 0
    log_sequence: int = 0

    def has(self, message: Pulled) -> bool:
        """Return whether a message was copied already.

        Sequence alone would do, if the broker never forgot one. After a power failure with `sync = interval` it
        may have, and then it gives the number again, to a message with a later time.
        """
        return message.sequence <= self.sequence and message.time_ns <= self.time_ns


class PlaceNote:
    """A place in a file. A write is one call for one block, so a killed process leaves the old note or the new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._door = ""

    def of_door(self, created: str) -> None:
        """Say which stream the places are about: one that was made anew counts from 1 again."""
        self._door = created

    def read(self) -> Place:
        """Return the place that was noted for this door; the beginning when there is none."""
        try:
            found = json.loads(self._path.read_text())
            if found["door"] == self._door:
                return Place(int(found["sequence"]), int(found["time_ns"]))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Place()

    def write(self, place: Place) -> None:
        """Note a place."""
        note = {"door": self._door, "sequence": place.sequence, "time_ns": place.time_ns}
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(file, json.dumps(note).ljust(_BYTES).encode(), 0)
        finally:
            os.close(file)


@dataclass(frozen=True, slots=True)
class KnownLog:
    """The log that the sinks read from, remembered outside of the broker's folder.

    Attributes:
        created: When it was made, which tells it from a later one; "" before the first.
        first: Its first sequence.
    """

    created: str = ""
    first: int = 1

    @classmethod
    def read(cls, path: Path) -> "KnownLog":
        """Return what was remembered."""
        try:
            found = json.loads(path.read_text())
            return cls(str(found["created"]), int(found["first"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls()

    def write(self, path: Path) -> None:
        """Remember it."""
        write_atomic(path, json.dumps(asdict(self)).encode())
