"""What a person's word changes in the memory of a series."""

from typing import Any

import numpy as np

from masthead.metrics.configuration import Configuration
from masthead.metrics.state import CHANNELS, CODEBOOK, COURSE, JUMP, LEVEL, REASONS, SEASON, VALUE

__all__ = ["learn_feedback"]

# "Near" is half a standard deviation of the series.
_NEAR = 0.5


def learn_feedback(s: Any, value: float, is_anomaly: bool, reason: str, configuration: Configuration) -> None:
    """Change the record `s` of `SERIES` in place by the word on one value."""
    near = _NEAR * float(np.sqrt(s["variance"]))
    relative = value - float(s["origin"])
    for channel in (VALUE, LEVEL):
        book = s["codebook"][channel][: s["filled"][channel]]
        if is_anomaly:
            kept = book[np.abs(book - relative) > near]
        else:
            kept = np.union1d(book, np.array([relative - near, relative, relative + near], np.float32))
        _write_book(s, channel, kept)
    if is_anomaly:
        return
    # A value far from all seen also moves the level and leaves the course: were only the accused channel softer, the
    # next one would tell the same.
    accused = REASONS.index(reason) if reason else int(s["accused"])
    softer = (SEASON,) if accused == SEASON else (VALUE, LEVEL, COURSE, JUMP) if accused < CHANNELS else ()
    for channel in softer:
        told = float(s["penalty"][channel]) + configuration.feedback_penalty
        s["penalty"][channel] = min(told, configuration.feedback_limit)


def _write_book(s: Any, channel: int, entries: Any) -> None:
    """Write sorted entries, leaving out those whose neighbours lie closest while there are too many."""
    while len(entries) > CODEBOOK:
        closest = 1 + int(np.argmin(entries[2:] - entries[:-2]))
        entries = np.delete(entries, closest)
    s["codebook"][channel][: len(entries)] = entries
    s["codebook"][channel][len(entries) :] = 0
    s["filled"][channel] = len(entries)
