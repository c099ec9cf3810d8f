"""Which rows learn and which check: by time, never by chance, since fraud of tomorrow is what counts."""

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput

__all__ = ["last_share"]


def last_share(times: NDArray[np.int64], share: float) -> tuple[NDArray[np.bool_], int]:
    """Return which rows lie in the last `share` of the time between first and last, and where that begins.

    Args:
        times: (n,) rising.
        share: In (0, 1).

    Raises:
        InvalidInput: The share lies outside, or there are no rows.

    >>> last_share(np.array([0, 5, 10]), 0.2)
    (array([False, False,  True]), 8)
    """
    if not 0 < share < 1:
        raise InvalidInput(f"share: expected in (0, 1), got {share}")
    if not len(times):
        raise InvalidInput("times: expected at least one row, got none")
    first, last = int(times[0]), int(times[-1])
    begin = last - int((last - first) * share)
    return times >= begin, begin
