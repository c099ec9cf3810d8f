"""Which rows learn and which check: by time, never by chance, since fraud of tomorrow is what counts."""

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput

__all__ = ["last_share"]

_OF_THEM = 100  # one at either end may be wrong


def last_share(times: NDArray[np.int64], share: float) -> tuple[NDArray[np.bool_], int, int]:
    """Return which rows lie in the last `share` of the time between first and last, where that begins, and where it ends.

    Of a hundred rows and more the first and the last in a hundred do not say how long that time is: one stamp of 1970, or of
    2099, would otherwise leave all rows on one side.

    Args:
        times: (n,) rising.
        share: In (0, 1).

    Raises:
        InvalidInput: The share lies outside, or there are no rows.

    >>> last_share(np.array([0, 5, 10]), 0.2)
    (array([False, False,  True]), 8, 10)
    """
    if not 0 < share < 1:
        raise InvalidInput(f"share: expected in (0, 1), got {share}")
    if not len(times):
        raise InvalidInput("times: expected at least one row, got none")
    aside = len(times) // _OF_THEM
    first, last = int(times[aside]), int(times[-1 - aside])
    begin = last - int((last - first) * share)
    return times >= begin, begin, last
