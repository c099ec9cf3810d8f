"""Links as blocks of bytes: nothing is lost, and bytes that are none do no harm."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from masthead.fraud.store.link_blocks import MOST, Links, pack, unpack

LINK = st.tuples(st.integers(1, 5), st.integers(-(2**60), 2**60), st.integers(1, 2**31 - 1))


def links(rows: list[tuple[int, int, int]]) -> Links:
    return Links(*np.array(rows, np.int64).reshape(-1, 3).T).ordered()


@given(st.lists(LINK, max_size=60), st.sampled_from([1, 1_000, 1_000_000]))
def test_links_come_back_whatever_their_times_and_numbers(
    rows: list[tuple[int, int, int]], unit: int
) -> None:
    given = links([(eid, ts // 10**6 * unit, seq) for eid, ts, seq in rows])
    back = unpack(pack(given))
    assert all(np.array_equal(a, b) for a, b in zip(given, back, strict=True))


def test_a_block_holds_no_more_than_its_most_and_each_link_once() -> None:
    rows = [(1, place // 2 * 10**6, place % 300) for place in range(2 * MOST + 1)]
    given = links(rows + rows)
    blocks = pack(given)
    assert len(given.eid) == len(set(rows))
    assert [len(unpack([one]).eid) for one in blocks] == [MOST, MOST, 1]
    assert blocks[2].links == b""
    assert pack(links([])) == []
    assert len(unpack([]).eid) == 0


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=5))
def test_bytes_that_nobody_packed_give_some_links_and_read_nothing_else(data: list[bytes]) -> None:
    found = unpack([(place, 7, 8, one) for place, one in enumerate(data)])
    assert len(data) <= len(found.eid) <= len(data) + sum(map(len, data))
    assert set(found.eid.tolist()) == set(range(len(data)))
