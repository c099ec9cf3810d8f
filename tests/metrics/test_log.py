"""The interval log: what was appended is read back to the bit, and a crash costs at most the entry under way."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.metrics.log import Entry, IntervalLog, decode_entry, encode_entry


def _entry(number: int, size: int = 3) -> Entry:
    values = np.array([0.1 * number, np.nan, -0.0][:size])
    return Entry(number, "interval", {"start": 300 * number}, values, np.arange(size))


def _same(left: Entry, right: Entry) -> bool:
    return (
        (left.number, left.kind, left.data) == (right.number, right.kind, right.data)
        and left.values.tobytes() == right.values.tobytes()
        and left.counts.tobytes() == right.counts.tobytes()
    )


def _filled(folder: Path, entries: int) -> None:
    log = IntervalLog(folder)
    for number in range(1, entries + 1):
        log.append(_entry(number))
    log.close()


@given(
    st.integers(1, 2**40),
    st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.integers(-(2**53), 2**53)), max_size=3),
    st.lists(st.tuples(st.floats(), st.integers(0, 2**62)), max_size=5),
)
def test_an_entry_is_read_back_to_the_bit(
    number: int, data: dict[str, object], rows: list[tuple[float, int]]
) -> None:
    values = np.array([value for value, _ in rows], np.float64)
    entry = Entry(number, "interval", data, values, np.array([count for _, count in rows], np.int64))
    assert _same(decode_entry(encode_entry(entry)), entry)


@given(st.binary(max_size=80))
def test_garbage_is_no_entry(payload: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_entry(payload)


def test_entries_come_back_in_order_after_a_reopening(tmp_path: Path) -> None:
    _filled(tmp_path, 5)
    log = IntervalLog(tmp_path)
    assert log.last == 5
    assert [entry.number for entry in log.read()] == [1, 2, 3, 4, 5]
    assert [entry.number for entry in log.read(after=3)] == [4, 5]
    assert _same(next(log.read(after=4)), _entry(5))
    log.close()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 200), junk=st.binary(max_size=30))
def test_an_entry_cut_short_by_a_crash_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, cut: int, junk: bytes
) -> None:
    folder = tmp_path_factory.mktemp("log")
    _filled(folder, 3)
    path = next(folder.glob("*.log"))
    whole = path.read_bytes()
    size = (len(whole) - 4) // 3
    kept = whole[: 4 + 2 * size + min(cut, size - 1)]
    path.write_bytes(kept + (junk if cut < 4 else b""))
    log = IntervalLog(folder)
    assert log.last == 2
    log.append(_entry(3))
    log.close()
    assert [entry.number for entry in IntervalLog(folder).read()] == [1, 2, 3]


def test_damage_before_the_end_is_said_aloud(tmp_path: Path) -> None:
    _filled(tmp_path, 3)
    path = next(tmp_path.glob("*.log"))
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    with pytest.raises(Conflict, match="damaged"):
        IntervalLog(tmp_path)


def test_a_lost_segment_is_said_aloud(tmp_path: Path) -> None:
    log = IntervalLog(tmp_path)
    for number in range(1, 7):
        log.append(_entry(number))
        if number % 2 == 0:
            log.turn_over(keep_after=0)
    log.close()
    sorted(tmp_path.glob("*.log"))[1].unlink()
    with pytest.raises(Conflict, match="expected entry 3"):
        IntervalLog(tmp_path)


def test_turning_over_drops_only_what_is_no_longer_needed(tmp_path: Path) -> None:
    log = IntervalLog(tmp_path)
    for number in range(1, 5):
        log.append(_entry(number))
        log.turn_over(keep_after=2)
    log.append(_entry(5))
    assert [entry.number for entry in log.read(after=2)] == [3, 4, 5]
    assert sorted(path.name for path in tmp_path.glob("*.log"))[0] == "000000000003.log"
    log.close()


def test_an_empty_new_segment_keeps_the_count(tmp_path: Path) -> None:
    _filled(tmp_path, 2)
    log = IntervalLog(tmp_path)
    log.turn_over(keep_after=2)
    log.turn_over(keep_after=2)
    log.close()
    assert IntervalLog(tmp_path).last == 2


def test_a_number_out_of_order_is_refused(tmp_path: Path) -> None:
    log = IntervalLog(tmp_path)
    with pytest.raises(Conflict):
        log.append(_entry(2))


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = IntervalLog(tmp_path)
    log.append(_entry(1))
    write = os.pwrite

    def full(handle: int, data: bytes, place: int) -> int:
        write(handle, bytes(data)[:5], place)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(LimitReached, match="disk"):
        log.append(_entry(2))
    monkeypatch.undo()
    log.append(_entry(2))
    log.close()
    assert [entry.number for entry in IntervalLog(tmp_path).read()] == [1, 2]
