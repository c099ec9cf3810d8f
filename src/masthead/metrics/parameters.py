"""A configuration and an interval, as the kernel wants them: one flat record."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from masthead.metrics.configuration import Configuration
from masthead.metrics.state import SLOTS

__all__ = ["PARAMETERS", "parameters", "slots_per_day"]

_DAY_S = 86_400
_BLOCKS_PER_DAY = 4
# Without an interval (each call is the next point) seasons learn as if points came every five minutes.
_ASSUMED_INTERVAL_S = 300

PARAMETERS = np.dtype(
    [(field.name, "f8") for field in fields(Configuration)]
    + [(name, "f8") for name in ("course_rate", "spread_rate", "slots", "slot_hits", "slot_memory")]
    + [(name, "f8") for name in ("block_hits", "block_memory", "record_keep")]
)


def slots_per_day(interval_s: int) -> int:
    """Return how many slots the season of the day has; 0 where an interval is longer than a day.

    >>> slots_per_day(300), slots_per_day(3600), slots_per_day(86_400), slots_per_day(604_800)
    (96, 24, 1, 0)
    """
    return min(SLOTS, _DAY_S // (interval_s or _ASSUMED_INTERVAL_S))


def parameters(configuration: Configuration, interval_s: int) -> NDArray[np.void]:
    """Return one record, in an array of length 1, with rates worked out from half-lives and memories."""
    told = np.zeros(1, PARAMETERS)
    for field in fields(Configuration):
        told[field.name] = getattr(configuration, field.name)
    told["course_rate"] = 1 - 0.5 ** (1 / configuration.course_half_life)
    told["record_keep"] = 0.5 ** (1 / configuration.record_half_life)
    told["spread_rate"] = 1 - 0.5 ** (1 / configuration.spread_half_life)
    points_per_day = _DAY_S / (interval_s or _ASSUMED_INTERVAL_S)
    slots = slots_per_day(interval_s)
    told["slots"] = slots
    told["slot_hits"] = max(1.0, points_per_day // max(slots, 1))
    told["slot_memory"] = configuration.season_cycles * told["slot_hits"]
    told["block_hits"] = max(1.0, points_per_day // _BLOCKS_PER_DAY)
    told["block_memory"] = configuration.week_cycles * told["block_hits"]
    return told
