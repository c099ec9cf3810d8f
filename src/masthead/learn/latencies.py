"""How long calls took, in a bounded space: counts per class of duration, from which any percentile is told.

Classes are a fourth of a doubling wide, from 0.1 ms to 105 s, so a percentile is true to within 10 %.
"""

import math
from collections.abc import Iterable, Mapping

__all__ = ["CLASSES", "class_of", "merged", "percentile_ms"]

_FIRST_S = 0.0001
_PER_DOUBLING = 4
CLASSES = 80


def class_of(seconds: float) -> int:
    """Return the class of a duration, 0 to 79.

    >>> class_of(0.0), class_of(0.0001), class_of(0.0002), class_of(1e9)
    (0, 0, 4, 79)
    """
    if seconds <= _FIRST_S:
        return 0
    return min(CLASSES - 1, int(math.log2(seconds / _FIRST_S) * _PER_DOUBLING + 1e-9))


def percentile_ms(counts: Mapping[int, int], share: float) -> float | None:
    """Return the duration that `share` of the calls did not exceed, ms: the middle of its class; None without calls.

    >>> percentile_ms({class_of(0.010): 99, class_of(1.0): 1}, 0.5)
    9.87
    >>> percentile_ms({}, 0.5)
    """
    total = sum(counts.values())
    if not total:
        return None
    rank, seen = max(1, math.ceil(share * total)), 0
    for place in sorted(counts):
        seen += counts[place]
        if seen >= rank:
            break
    middle_ms = 1000 * _FIRST_S * 2 ** ((place + 0.5) / _PER_DOUBLING)
    return float(f"{middle_ms:.3g}")


def merged(parts: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Return the counts of several together.

    >>> merged([{1: 2}, {1: 1, 3: 4}])
    {1: 3, 3: 4}
    """
    found: dict[int, int] = {}
    for part in parts:
        for place, count in part.items():
            found[place] = found.get(place, 0) + count
    return found
