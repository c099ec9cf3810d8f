"""The packed form of readings: a round trip for everything, a clear refusal for anything else."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.streams.readings import Reading, pack, unpack

readings = st.builds(
    Reading,
    topic=st.text(st.characters(codec="utf-8"), max_size=40),
    payload=st.binary(max_size=60),
    arrived=st.floats(allow_nan=False, allow_infinity=False),
    thing=st.none() | st.text(st.characters(codec="utf-8"), max_size=20),
)


@given(st.lists(readings, max_size=8))
def test_what_is_packed_comes_back_the_same(batch: list[Reading]) -> None:
    assert unpack(pack(batch)) == tuple(batch)


@given(st.lists(readings, min_size=1, max_size=3), st.data())
def test_a_cut_or_lengthened_message_is_refused(batch: list[Reading], data: st.DataObject) -> None:
    packed = pack(batch)
    cut = data.draw(st.integers(0, len(packed) - 1))
    for broken in (packed[:cut], packed + b"\0"):
        with pytest.raises(InvalidInput):
            unpack(broken)


@given(st.binary(max_size=200), st.booleans())
def test_foreign_bytes_are_refused_and_nothing_else_happens(garbage: bytes, with_magic: bool) -> None:
    try:
        unpack(b"MR\x01" + garbage if with_magic else garbage)
    except InvalidInput:
        return
    assert with_magic


@given(st.lists(readings, min_size=1, max_size=3), st.data())
def test_a_flipped_byte_never_raises_anything_but_invalid_input(
    batch: list[Reading], data: st.DataObject
) -> None:
    packed = bytearray(pack(batch))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(InvalidInput):
        unpack(bytes(packed))


@pytest.mark.parametrize(
    ("reading", "field"),
    [
        (Reading("a" * 65_535, b"", 0.0), "topic"),
        (Reading("\ud800", b"", 0.0), "topic"),
        (Reading("a", b"", 0.0, "t" * 65_535), "thing"),
        (Reading("a", b"", math.nan), "arrived"),
        (Reading("a", b"", math.inf), "arrived"),
    ],
)
def test_what_the_form_cannot_carry_is_refused_by_name(reading: Reading, field: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        pack([reading])
    assert refusal.value.field == field


def test_a_count_larger_than_the_bytes_is_refused_before_anything_is_read() -> None:
    with pytest.raises(InvalidInput, match="4294967295 readings"):
        unpack(b"MR\x01\xff\xff\xff\xff")
