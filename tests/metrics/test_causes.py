"""Which dimension values are named as the cause, and which are not."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.metrics.causes import MAX_LEAVES, find_causes

CARDS = (6, 5, 8)
GRID = np.array(list(itertools.product(*map(range, CARDS))), np.int64)


def world(seed: int = 1, noise: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (real, expected) of a calm world."""
    rng = np.random.default_rng(seed)
    expected = rng.weibull(0.8, len(GRID)) * 100 + 1
    return expected * (1 + rng.normal(0, noise, len(GRID))), expected


def leaves(*element: tuple[int, int]) -> NDArray[np.bool_]:
    return np.all([GRID[:, dimension] == value for dimension, value in element], axis=0)


@pytest.mark.parametrize("factor", [0.3, 0.0, 1.9])
@pytest.mark.parametrize("element", [((1, 3),), ((0, 2), (2, 7)), ((0, 5), (1, 1)), ((0, 0), (1, 0), (2, 0))])
def test_the_values_whose_leaves_moved_are_named(element: tuple[tuple[int, int], ...], factor: float) -> None:
    real, expected = world()
    real[leaves(*element)] *= factor
    found = find_causes(GRID, real, expected)
    assert [cause.elements for cause in found] == [element]
    assert found[0].share == 1


def test_two_causes_of_different_depth_are_both_named_the_larger_first() -> None:
    real, expected = world()
    real[leaves((1, 3))] *= 0.4
    real[leaves((0, 1), (2, 2))] *= 0.3
    found = find_causes(GRID, real, expected)
    assert [cause.elements for cause in found] == [((1, 3),), ((0, 1), (2, 2))]
    assert sum(cause.share for cause in found) == pytest.approx(1)


def test_when_everything_moved_the_cause_is_everything() -> None:
    real, expected = world()
    (cause,) = find_causes(GRID, real * 0.5, expected)
    assert cause.elements == ()
    assert cause.shift == pytest.approx(0.5, abs=0.05)


def test_a_calm_world_has_no_cause_but_once_in_a_hundred() -> None:
    assert sum(bool(find_causes(GRID, *world(seed))) for seed in range(100)) <= 1


def test_a_cause_under_the_lowest_share_is_not_told() -> None:
    real, expected = world()
    real[leaves((1, 3))] *= 0.4
    expected[leaves((0, 1), (2, 2))] = 0.5
    real[leaves((0, 1), (2, 2))] = 0.1
    assert len(find_causes(GRID, real, expected)) == 1
    assert len(find_causes(GRID, real, expected, share=0)) == 2


def test_small_counts_are_heard_together_when_alone_they_say_nothing() -> None:
    rng = np.random.default_rng(4)
    grid = np.array(list(itertools.product(range(6), range(5), range(400))), np.int64)
    expected = np.full(len(grid), 0.4)
    real = rng.poisson(np.where(grid[:, 0] == 2, 0.1, 0.4)).astype(float)
    assert [cause.elements for cause in find_causes(grid, real, expected)] == [((0, 2),)]


@pytest.mark.parametrize("leaf_count", [2, 5, 12])
def test_a_few_leaves_are_enough(leaf_count: int) -> None:
    codes = np.stack([np.arange(leaf_count), np.zeros(leaf_count, int)], 1).astype(np.int64)
    expected = np.full(leaf_count, 100.0)
    real = expected + np.linspace(-1, 1, leaf_count)
    real[0] = 20
    found = find_causes(codes, real, expected)
    assert len(found) <= 1
    if leaf_count == 12:
        assert [cause.elements for cause in found] == [((0, 0),)]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3),
            st.integers(0, 3),
            st.floats(-1e300, 1e300),
            st.floats(-1e300, 1e300) | st.just(0.0),
        ),
        min_size=1,
        max_size=60,
    )
)
@settings(max_examples=150, deadline=None)
def test_any_finite_numbers_give_shares_that_sum_to_at_most_one(
    rows: list[tuple[int, int, float, float]],
) -> None:
    codes = np.array([row[:2] for row in rows], np.int64)
    real, expected = (np.array([row[i] for row in rows]) for i in (2, 3))
    found = find_causes(codes, real, expected)
    assert sum(cause.share for cause in found) <= 1 + 1e-9
    assert all(cause.share > 0 and cause.gain > 0 for cause in found)
    assert len({cause.elements for cause in found}) == len(found)


def test_what_cannot_be_searched_is_refused() -> None:
    one = np.ones(1)
    with pytest.raises(InvalidInput, match="codes: expected one row per leaf"):
        find_causes(np.zeros((2, 1), np.int64), one, one)
    with pytest.raises(InvalidInput, match="real: expected finite"):
        find_causes(np.zeros((1, 1), np.int64), one * np.nan, one)
    with pytest.raises(InvalidInput, match=f"codes: expected 1 to {MAX_LEAVES} leaves"):
        find_causes(np.zeros((0, 1), np.int64), np.zeros(0), np.zeros(0))
    with pytest.raises(InvalidInput, match="at most 10 dimensions"):
        find_causes(np.zeros((1, 11), np.int64), one, one)
