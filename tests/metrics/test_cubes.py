"""Cubes: values per series and interval that depend on the rows alone, never on order or batching."""

import json
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput, LimitReached
from masthead.metrics.bounds import Limits
from masthead.metrics.cubes import RETIRED_AFTER, Closed, Cube
from masthead.metrics.readers import Rows, Selection, rows_of_records
from masthead.metrics.spec import Measure

AVG = Measure("v")


def rows(*records: tuple[Any, ...], columns: str = "t s v") -> Rows:
    """Rows of tuples: time, labels (one letter s, k) and numbers (v, w)."""
    names = columns.split()
    labels = tuple(name for name in names if name in ("s", "k"))
    numbers = tuple(name for name in names if name in ("v", "w"))
    dicts = [dict(zip(names, record, strict=True)) for record in records]
    return rows_of_records(
        dicts, Selection("", numbers=numbers, labels=labels), arrived=[d["t"] for d in dicts],
        origins=[d.get("o") for d in dicts],
    )  # fmt: skip


def told(closed: Closed) -> dict[tuple[str, ...], float | None]:
    """Value of each cell, for cubes of one measure."""
    return {
        key[1]: None if math.isnan(value) else value
        for key, value in zip(closed.keys, closed.values.tolist(), strict=True)
    }


def close(cube: Cube, *records: tuple[Any, ...], at: int = 0, columns: str = "t s v") -> Closed:
    if records:
        cube.add(at, rows(*records, columns=columns))
    return cube.close(at)


@pytest.mark.parametrize(
    ("aggregation", "expected"),
    [
        ("avg", 2.5),
        ("sum", 10),
        ("min", 1),
        ("max", 4),
        ("count", 4),
        ("last", 3),
        ("p50", 2.5),
        ("p95", 3.85),
    ],
)
def test_values_of_an_interval_become_one(aggregation: str, expected: float) -> None:
    cube = Cube([Measure("v", aggregation=aggregation)], ["s"])
    closed = close(cube, (1, "a", 4), (9, "a", 3), (2, "a", 1), (3, "a", 2), (4, "a", None))
    assert told(closed) == {("a",): pytest.approx(expected)}
    assert closed.counts.tolist() == [4]
    assert closed.records == 5


def test_a_ratio_divides_sums_and_is_missing_over_nothing() -> None:
    cube = Cube([Measure("r", aggregation="ratio", numerator="v", denominator="w")], ["s"])
    records = [(1, "a", 1, 10), (2, "a", 2, 20), (3, "b", 5, 0), (4, "a", None, 7)]
    closed = close(cube, *records, columns="t s v w")
    assert told(closed) == {("a",): 0.1, ("b",): None, ("*",): pytest.approx(8 / 30)}
    assert closed.counts[0] == 30


def test_counting_rows_needs_no_column() -> None:
    cube = Cube([Measure("n", "*", "count")], ["s"])
    assert cube.columns == ()
    assert told(close(cube, (1, "a", None), (2, "a", 3))) == {("a",): 2}


def test_a_roll_up_with_one_member_is_no_series_until_a_second_comes() -> None:
    cube = Cube([AVG], ["s"])
    assert told(close(cube, (1, "a", 1))) == {("a",): 1}
    assert told(close(cube, (1, "a", 1), (2, "b", 3))) == {("a",): 1, ("b",): 3, ("*",): 2}
    assert told(close(cube, (1, "b", 4))) == {("a",): None, ("b",): 4, ("*",): 4}


@pytest.mark.parametrize(
    ("rollups", "cells"),
    [
        ("none", ["ax", "ay", "bx"]),
        ("single", ["ax", "ay", "bx", "a*", "*x", "**"]),
        ("all", ["ax", "ay", "bx", "a*", "*x", "**"]),
    ],
)
def test_roll_ups_are_those_asked_for(rollups: str, cells: list[str]) -> None:
    cube = Cube([AVG], ["s", "k"], rollups)
    closed = close(cube, (1, "a", "x", 1), (1, "a", "y", 2), (1, "b", "x", 6), columns="t s k v")
    found = {"".join(cell): value for cell, value in told(closed).items()}
    assert set(found) == set(cells)
    expected = {"ax": 1, "ay": 2, "bx": 6, "a*": 1.5, "*x": 3.5, "**": 3}
    assert found == {cell: expected[cell] for cell in cells}


def test_a_detector_without_dimensions_has_one_series_per_measure() -> None:
    cube = Cube([AVG, Measure("n", "v", "count")])
    closed = close(cube, (1, 2), (2, 4), columns="t v")
    assert (list(closed.keys), closed.values.tolist()) == ([("v", ()), ("n", ())], [3, 2])


def test_an_empty_interval_is_missing_and_sums_are_0_only_where_the_source_delivered() -> None:
    cube = Cube(
        [Measure("v", aggregation="sum"), Measure("m", "v", "avg"), Measure("n", "v", "count")], ["s"], "none"
    )
    close(cube, (1, "a", 1), (1, "b", 2))
    closed = close(cube, (1, "a", 5))
    assert closed.values[:3].tolist() == [5, 5, 1]
    assert closed.values[3] == closed.values[5] == 0
    assert math.isnan(closed.values[4])
    assert np.isnan(close(cube).values).all()


def test_a_vanished_cell_retires_and_returns_under_its_old_index() -> None:
    cube = Cube([Measure("v", aggregation="sum")], ["s"], "none", Limits(series=2))
    close(cube, (1, "a", 1), (1, "b", 1))
    for _ in range(RETIRED_AFTER - 1):
        closed = close(cube, (1, "a", 1))
    assert told(closed) == {("a",): 1, ("b",): 0}
    assert cube.retired().tolist() == [False, False]
    assert told(close(cube, (1, "a", 1))) == {("a",): 1, ("b",): None}
    assert cube.retired().tolist() == [False, True]
    assert told(close(cube, (1, "c", 1)))[("c",)] == 1  # room for another
    assert told(close(cube, (1, "b", 7)))[("b",)] == 7
    assert cube.retired().tolist() == [False, False, False]


def test_a_label_that_looks_like_a_roll_up_is_told_apart() -> None:
    assert told(close(Cube([AVG], ["s"]), (1, "*", 1), (1, "a", 3))) == {("(*)",): 1, ("a",): 3, ("*",): 2}


def test_a_column_with_too_many_values_is_named() -> None:
    cube = Cube([AVG], ["k", "s"], "none")
    many = rows(*((1, "x", f"s{number}", 1) for number in range(100_000)), columns="t k s v")
    cube.add(0, many)
    with pytest.raises(
        LimitReached, match=r"^s: expected at most 50,000 series, got 100,000.*100,000 values"
    ) as told:
        cube.close(0)
    assert told.value.field == "s"


def test_an_interval_with_too_many_records_takes_none_of_them() -> None:
    cube = Cube([AVG], ["s"], limits=Limits(records=3))
    cube.add(0, rows((1, "a", 1), (1, "a", 1)))
    with pytest.raises(LimitReached, match="records"):
        cube.add(0, rows((1, "a", 1), (1, "a", 1)))
    assert (cube.records(0), cube.open_intervals()) == (2, [0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"measures": []}, "measures"),
        ({"measures": [AVG, AVG]}, "measures"),
        ({"measures": [Measure("v", aggregation="mode")]}, "aggregation"),
        ({"measures": [Measure(str(n)) for n in range(11)]}, "measures"),
        ({"dimensions": ["s", "s"]}, "dimensions"),
        ({"dimensions": [str(n) for n in range(11)]}, "dimensions"),
        ({"rollups": "some"}, "rollups"),
        ({"dedupe": "maybe"}, "dedupe"),
    ],
)
def test_a_cube_that_makes_no_sense_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises((InvalidInput, LimitReached), match=words):
        Cube(**{"measures": [AVG], **arguments})


# --- duplicates -----------------------------------------------------------------------------------------

SAME = [(1, "a", 5, "p"), (1, "a", 5, "p"), (1, "a", 5, "q"), (2, "a", 5, "p"), (1, "b", 5, "p"), (1, "a", -0.0, "p"),
        (1, "a", 0.0, "p"), (1, "a", None, "p"), (1, "a", None, "p")]  # fmt: skip


@pytest.mark.parametrize(
    ("dedupe", "records", "duplicates"), [("none", 9, 0), ("exact", 6, 3), ("key", 2, 7)]
)
def test_repeated_rows_count_once_where_asked(dedupe: Any, records: int, duplicates: int) -> None:
    closed = close(Cube([AVG], ["s"], dedupe=dedupe), *SAME, columns="t s v o")
    assert (closed.records, closed.duplicates) == (records, duplicates)


def test_rows_without_a_key_are_never_duplicates() -> None:
    closed = close(
        Cube([AVG], ["s"], dedupe="key"), *((1, "a", 1, None) for _ in range(3)), columns="t s v o"
    )
    assert closed.records == 3


# --- order and batching -----------------------------------------------------------------------------------

RECORD = st.tuples(
    st.integers(0, 4),  # interval
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["x", "y"]),
    st.one_of(st.none(), st.floats(-1e12, 1e12), st.sampled_from([0.0, -0.0, 1.0])),
    st.one_of(st.none(), st.floats(0, 1e6)),
)
MEASURES = [
    Measure(f"{kind} v", "v", kind) for kind in ("avg", "sum", "min", "max", "count", "last", "p50", "p95")
] + [Measure("r", aggregation="ratio", numerator="v", denominator="w")]


def bits(values: Any) -> list[Any]:
    return np.nan_to_num(values, nan=1.25e300).view(np.int64).tolist()


@settings(max_examples=60, deadline=None)
@given(
    records=st.lists(RECORD, max_size=40),
    seed=st.randoms(use_true_random=False),
    rollups=st.sampled_from(["none", "single", "all"]),
    dedupe=st.sampled_from(["none", "exact"]),
)
def test_order_batches_and_many_at_once_give_the_same_bits(
    records: list[Any], seed: Any, rollups: str, dedupe: Any
) -> None:
    limits = Limits(measures=20)

    def live(order: list[Any], batch: int) -> tuple[list[Any], list[Any]]:
        cube = Cube(MEASURES, ["s", "k"], rollups, limits, dedupe)
        for start in range(0, len(order), batch):
            for interval, *rest in order[start : start + batch]:
                cube.add(interval, rows((interval, *rest), columns="t s k v w"))
        return [cube.close(interval) for interval in range(5)], list(cube.keys)

    shuffled = list(records)
    seed.shuffle(shuffled)
    first, keys = live(records, 1)
    second, other = live(shuffled, 7)
    assert keys == other
    assert [bits(c.values) for c in first] == [bits(c.values) for c in second]
    whole = Cube(MEASURES, ["s", "k"], rollups, limits, dedupe)
    given = rows(*records, columns="t s k v w") if records else None
    steps = np.array([record[0] for record in records], np.int64)
    block = whole.close_block(given, steps, 5)
    assert list(block.keys) == keys
    for step, closed in enumerate(first):
        size = len(closed.values)
        assert bits(block.values[step, :size]) == bits(closed.values)
        assert np.isnan(block.values[step, size:]).all()
        assert block.counts[step, :size].tolist() == closed.counts.tolist()
        assert (block.records[step], block.duplicates[step]) == (closed.records, closed.duplicates)


@settings(max_examples=60, deadline=None)
@given(records=st.lists(RECORD, min_size=1, max_size=40))
def test_sums_agree_with_plain_arithmetic(records: list[Any]) -> None:
    cube = Cube([Measure("v", aggregation="sum")], ["s", "k"], "all")
    plain: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _, s, k, v, _ in records:
        for cell in ((s, k), (s, "*"), ("*", k), ("*", "*")):
            plain[cell].append(v or 0.0)
    closed = close(cube, *records, columns="i s k v w".replace("i", "t"))
    for cell, value in told(closed).items():
        assert value == pytest.approx(math.fsum(plain[cell]), abs=1e-1)


def test_the_registry_goes_on_from_json() -> None:
    cube = Cube([AVG, Measure("n", "v", "count")], ["s", "k"])
    close(cube, (1, "a", "x", 1), (1, "a", "y", 2), columns="t s k v")
    again = Cube([AVG, Measure("n", "v", "count")], ["s", "k"])
    again.restore(json.loads(json.dumps(cube.to_json())))
    for one in (cube, again):
        close(one, (1, "b", "x", 5), (1, "a", "y", 2), columns="t s k v")
    assert list(cube.keys) == list(again.keys)
    assert cube.to_json() == again.to_json()
    with pytest.raises(InvalidInput, match="state"):
        Cube([AVG], ["s"]).restore(cube.to_json())


def test_a_sum_or_ratio_beyond_what_a_double_counts_is_missing() -> None:
    measures = [
        Measure("v", aggregation="sum"),
        Measure("r", aggregation="ratio", numerator="v", denominator="w"),
    ]
    closed = close(Cube(measures, ["s"]), (1, "a", 9e14, 1e-309), (2, "a", 9e14, None), columns="t s v w")
    assert np.isnan(closed.values).all()
