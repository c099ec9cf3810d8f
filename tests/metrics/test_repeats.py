"""Repetitions in an open interval are counted as they come, and as its close counts them."""

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.metrics.bounds import Limits
from masthead.metrics.detection import LoggedCube
from masthead.metrics.readers import Rows, Selection, rows_of_records
from masthead.metrics.spec import Measure

Row = tuple[int, str, float | None, str | None]


def _rows(given_rows: list[Row]) -> Rows:
    records = [{"s": s, "v": v} for _, s, v, _ in given_rows]
    times = [float(t) for t, *_ in given_rows]
    origins = [thing for *_, thing in given_rows]
    return rows_of_records(
        records, Selection("", numbers=("v",), labels=("s",)), arrived=times, origins=origins
    )


def _cube(dedupe: Literal["none", "exact", "key"]) -> LoggedCube:
    return LoggedCube([Measure("v")], ["s"], "single", Limits(), dedupe)


rows = st.tuples(
    st.integers(0, 2),
    st.sampled_from("ab"),
    st.sampled_from([0.0, -0.0, 1.5, None]),
    st.sampled_from(["x", "y", None]),
)


@given(
    batches=st.lists(
        st.tuples(st.sampled_from([0, 300]), st.lists(rows, min_size=1, max_size=9)), max_size=80
    ),
    looks=st.sets(st.integers(0, 80)),
    dedupe=st.sampled_from(["none", "exact", "key"]),
)
@settings(max_examples=150, deadline=None)
def test_what_waits_is_counted_as_the_close_will_count_it(
    batches: list[tuple[int, list[Row]]], looks: set[int], dedupe: Any
) -> None:
    cube = _cube(dedupe)
    for place, (start, batch) in enumerate(batches):
        cube.add(start, _rows(batch))
        if place in looks:
            cube.waiting()
    waiting, repeated = cube.waiting()
    assert waiting == sum(len(batch) for _, batch in batches)
    dropped = [cube.decide(start)[2] for start in (0, 300)]
    assert repeated == sum(dropped)
    assert cube.waiting() == (0, 0)


def test_a_cube_that_keeps_repetitions_has_none() -> None:
    cube = _cube("none")
    cube.add(0, _rows([(1, "a", 2.0, "x")] * 3))
    assert cube.waiting() == (3, 0)


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_readings_that_come_one_by_one_are_counted_as_in_one_batch(batch: int) -> None:
    cube, given_rows = _cube("exact"), [(k % 50, "ab"[k % 2], float(k % 5), "x") for k in range(400)]
    for first in range(0, 400, batch):
        cube.add(0, _rows(given_rows[first : first + batch]))
        cube.waiting()
    assert cube.waiting() == (400, 400 - len(set(given_rows)))
