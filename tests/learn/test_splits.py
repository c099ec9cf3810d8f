"""What checks is what came last, whatever a few wrong clocks say."""

import numpy as np
import pytest

from masthead.learn.splits import last_share

YEAR = 365 * 86_400_000_000


@pytest.mark.parametrize("wrong", [[-50 * YEAR], [80 * YEAR], [-50 * YEAR, 80 * YEAR]])
def test_a_wrong_stamp_does_not_leave_all_rows_on_one_side(wrong: list[int]) -> None:
    right = np.arange(1_000, dtype=np.int64) * 86_400_000
    times = np.sort(np.concatenate([right, wrong]).astype(np.int64))
    check, begin, end = last_share(times, 0.15)
    alone, usual, _ = last_share(right, 0.15)
    assert abs(int(check.sum()) - int(alone.sum())) <= 3
    assert abs(begin - usual) < 3 * 86_400_000
    assert 0 < end <= right[-1]
