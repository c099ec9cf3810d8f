"""Buffers and the window of digests alone: order, conservation, bounds."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from masthead.streams.buffers import MOST_PARTITIONS, Buffers
from masthead.streams.seen import Seen, digest_of

appends = st.tuples(st.sampled_from("abcdef"), st.binary(min_size=1, max_size=30))


@given(st.lists(appends | st.integers(1, 40), max_size=80), st.integers(20, 200), st.integers(0, 60))
def test_what_goes_in_comes_out_once_and_in_order(steps: list[object], size: int, age_s: int) -> None:
    buffers = Buffers(age_s, size)
    expected: dict[str, list[bytes]] = {}
    found: dict[str, list[bytes]] = {}
    now = sequence = 0
    for step in steps:
        if isinstance(step, int):
            now += step
        elif isinstance(step, tuple):
            sequence += 1
            buffers.append(step[0], step[1], sequence=sequence, instant=0.0, now=now)
            expected.setdefault(step[0], []).append(step[1])
        for name in buffers.due(now, watermark=0.0):
            chunk = buffers.cut(name)
            assert chunk is not None
            assert chunk.from_sequence <= chunk.through_sequence <= sequence
            found.setdefault(name, []).extend(chunk.lines)
        assert buffers.size == sum(chunk.size for chunk in buffers.open.values()) <= 3 * size
        assert all(now - chunk.opened < age_s and chunk.size < size for chunk in buffers.open.values())
    for name in list(buffers.open):
        chunk = buffers.cut(name)
        found.setdefault(name, []).extend(chunk.lines if chunk else [])
    assert found == expected
    assert buffers.size == 0
    assert buffers.cut("a") is None


def test_the_oldest_partitions_are_cut_beyond_the_bound_and_held_ones_never() -> None:
    buffers = Buffers(1000, 10**6)
    for number in range(MOST_PARTITIONS + 3):
        buffers.append(str(number), b"x", sequence=number, instant=0.0, now=number)
    assert buffers.due(100, watermark=0.0) == ["0", "1", "2"]
    assert buffers.due(100, watermark=0.0, held={"0", "1"}) == ["2"]
    assert buffers.first_sequence() == 0


def test_a_sealed_partition_is_due_and_a_late_one_waits() -> None:
    buffers = Buffers(60, 10**6)
    buffers.append("in time", b"x", sequence=1, instant=0.0, now=0, end=300.0)
    buffers.append("late", b"x", sequence=1, instant=0.0, now=0, end=300.0, late=True)
    assert buffers.due(1, watermark=299.0) == []
    assert buffers.due(1, watermark=300.0) == ["in time"]
    assert buffers.due(60, watermark=300.0) == ["in time", "late"]


@given(st.lists(st.lists(st.integers(0, 30), max_size=8), max_size=30), st.integers(0, 10))
def test_a_window_that_holds_all_tells_new_from_known_exactly(
    batches: list[list[int]], reload_at: int
) -> None:
    seen = Seen()
    known: set[int] = set()
    for number, batch in enumerate(batches):
        if number == reload_at:
            seen = Seen()
            seen.load(b"".join(digest_of("t", value, b"") for value in known))
        fresh = seen.add([digest_of("t", value, b"") for value in batch])
        for value, new in zip(batch, fresh, strict=True):
            assert new == (value not in known)
            known.add(value)


def test_a_window_keeps_its_bound_and_forgets_the_oldest() -> None:
    seen = Seen(most=1000)
    digests = [digest_of("t", number, b"") for number in range(5000)]
    for start in range(0, 5000, 100):
        assert all(seen.add(digests[start : start + 100]))
        assert len(seen) <= 2000
    assert not any(seen.add(digests[-500:]))
    assert all(seen.add(digests[:500]))


def test_a_digest_depends_on_thing_stamp_and_payload() -> None:
    cases = [("a", 1.0, b"x"), ("b", 1.0, b"x"), ("a", 2.0, b"x"), ("a", 1.0, b"y"), ("a", None, b"x")]
    assert Counter(digest_of(*case) for case in cases).most_common(1)[0][1] == 1
