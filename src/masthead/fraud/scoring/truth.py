"""What was known of transactions at a moment: which rows may teach, and which outcome they had."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.data.columns import Events, Labels
from masthead.fraud.data.schema import Schema

__all__ = ["Truth", "end_of", "outcome", "training_rows"]

UNKNOWN = -1
_FOREVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known of each transaction.

    Attributes:
        value: (n,) int8: 1 fraud, 0 legitimate, -1 unknown.
        known_at: (n,) int64 UTC microseconds since when.
    """

    value: NDArray[np.int8]
    known_at: NDArray[np.int64]


def end_of(events: Events, labels: Labels) -> int:
    """Return the last time that the data tell of, be it of a transaction or of a label."""
    last = [int(times.max()) for times in (events.ts, labels.arrived_at) if len(times)]
    return max(last, default=0)


def outcome(schema: Schema, events: Events, labels: Labels, *, until: int, from_file: bool) -> Truth:
    """Return what labels that arrived by `until` say, the latest of each; who was never called fraud within
    `label.maturity` is presumed legitimate where labels come from a file.

    Args:
        until: UTC microseconds, inclusive.
        from_file: False: labels stand in the data, and an empty one says that nobody knows.
    """
    value = np.full(len(events), UNKNOWN, np.int8)
    known_at = np.full(len(events), _FOREVER, np.int64)
    told = (labels.rows >= 0) & (labels.arrived_at <= until)
    value[labels.rows[told]] = labels.value[told]  # of several the last one stays
    known_at[labels.rows[told]] = labels.arrived_at[told]
    if from_file:
        mature_at = events.ts + schema.maturity_us
        presumed = (value == UNKNOWN) & (mature_at <= min(until, end_of(events, labels)))
        value[presumed], known_at[presumed] = 0, mature_at[presumed]
    return Truth(value, known_at)


def training_rows(
    schema: Schema,
    events: Events,
    labels: Labels,
    *,
    window: tuple[int, int],
    labels_until: int,
    from_file: bool,
) -> tuple[NDArray[np.int64], Truth, int]:
    """Return the rows that may teach, the truth of all rows, and how many of the window are not mature.

    Rows that are not mature by `labels_until` are left out as a whole, frauds too: those whose fraud is known early
    would bend the base rate. So are rows whose maturity the data do not reach, where the file names frauds alone.

    Args:
        window: Half open, of the transactions' time.
    """
    truth = outcome(schema, events, labels, until=labels_until, from_file=from_file)
    inside = (events.ts >= window[0]) & (events.ts < window[1])
    wait = schema.maturity_us if from_file else schema.label_delay_us
    mature = events.ts + wait <= labels_until
    if from_file and not (labels.value == 0).any():
        mature &= events.ts + wait <= end_of(events, labels)
    rows = np.flatnonzero(inside & mature & (truth.value != UNKNOWN))
    return rows, truth, int(np.sum(inside & ~mature))
