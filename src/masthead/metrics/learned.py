"""What a detector has learned, read from its files: another process may be writing them, and none is changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masthead.base.errors import Conflict, InvalidInput
from masthead.metrics.bounds import Limits
from masthead.metrics.detection import Decision, Detection
from masthead.metrics.log import Entry, entries_of
from masthead.metrics.snapshots import newest_snapshot
from masthead.metrics.spec import DetectorSpec

__all__ = ["Learned", "read_learned"]

_TRIES = 5  # while a snapshot is written, older files go


@dataclass(frozen=True, slots=True)
class Learned:
    """A memory of a detector as of the last interval that it closed.

    Attributes:
        entry: Number of the last entry of its log.
        time_format: How the stamps of its readings are written, "" = as the specification says.
    """

    detection: Detection
    entry: int
    time_format: str


def read_learned(folder: Path, spec: DetectorSpec, *, limits: Limits) -> Learned:
    """Return what the run in `folder` has learned.

    Raises:
        Conflict: It has learned nothing yet, the specification has changed since, or another version of the kernel
            wrote its memory.
    """
    for _ in range(_TRIES):
        try:
            found = _read(folder, spec, limits)
        except FileNotFoundError:  # a segment of the log went while it was read
            continue
        except InvalidInput as error:
            raise Conflict(
                f"state: {spec.name} was changed after it learned; activate it again first"
            ) from error
        if found is not None:
            return found
    raise Conflict(f"state: {spec.name} has learned nothing yet; activate it first")


def _read(folder: Path, spec: DetectorSpec, limits: Limits) -> Learned | None:
    snapshot = newest_snapshot(folder / "snapshots")
    after = 0 if snapshot is None else snapshot.entry
    state: Mapping[str, Any] = {} if snapshot is None else snapshot.state
    if snapshot is None:
        detection = Detection.fresh(spec, limits=limits)
    else:
        _require_same(spec, snapshot.scorer.interval_s)
        detection = Detection.restored(spec, state["detection"], snapshot.scorer, limits=limits)
    form, last = str(state.get("format", "")), after
    for entry in entries_of(folder / "log", after):
        if entry.number != last + 1:  # the snapshot that it follows on is newer than ours
            return None
        _follow(detection, entry)
        form, last = entry.data.get("format", form), entry.number
    return None if snapshot is None and not last else Learned(detection, last, form)


def _follow(detection: Detection, entry: Entry) -> None:
    if entry.kind == "interval":
        detection.follow(Decision.from_json(entry.data, entry.values, entry.counts))
    elif entry.kind == "feedback":
        for word in entry.data["words"]:
            key = (word["measure"], tuple(word["dimensions"]))
            detection.learn(key, word["value"], word["is_anomaly"], word["reason"])


def _require_same(spec: DetectorSpec, interval_s: int) -> None:
    if spec.interval_s != interval_s:
        raise InvalidInput(f"interval: expected {interval_s} s, as it was learned, got {spec.interval_s} s")
