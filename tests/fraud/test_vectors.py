"""What a model saw: the same to the bit after it was bytes, and whatever bytes there are, no more than a vector."""

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from masthead.fraud.store.vectors import pack_vector, unpack_vector

BITS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, -0.0, 1, 255, 256, 0.5, -3, np.nan, np.inf, -np.inf]).map(
        lambda value: int(np.float32(value).view(np.uint32))
    ),
)


@given(st.lists(BITS, max_size=70))
def test_every_bit_comes_back(bits: list[int]) -> None:
    vector = np.array(bits, np.uint32).view(np.float32)
    assert unpack_vector(pack_vector(vector)).view(np.uint32).tolist() == bits


def test_a_vector_of_an_older_installation_is_read() -> None:
    vector = np.array([1, np.nan, 0.25], np.float32)
    np.testing.assert_array_equal(unpack_vector(zlib.compress(vector.tobytes(), 1)), vector)


def test_counts_and_what_is_missing_take_little_room() -> None:
    assert len(pack_vector(np.array([0, np.nan, 7, 255] * 10, np.float32))) == 3 + 10 + 20


@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_a_vector(data: bytes) -> None:
    found = unpack_vector(b"\x01" + data)
    assert len(found) == int.from_bytes(data[:2], "little")
