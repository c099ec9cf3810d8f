"""Shares that sum to exactly 100, and the leaves behind them."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from masthead.metrics.contributions import MAX_VALUES, OTHER, contributions, leaves_of, shares

weights = st.dictionaries(
    st.text(min_size=1, max_size=5), st.floats(0, 1e300, allow_nan=False, allow_subnormal=False), max_size=150
)


def hundredths(answer: dict[str, float]) -> int:
    return sum(round(100 * percent) for percent in answer.values())


@given(weights)
def test_shares_of_anything_positive_sum_to_exactly_one_hundred(given_weights: dict[str, float]) -> None:
    answer = shares(given_weights)
    assert hundredths(answer) == (10_000 if any(given_weights.values()) else 0)
    assert len(answer) <= MAX_VALUES
    assert sum(answer.values()) == (100.0 if answer else 0)
    assert all(abs(percent - round(percent, 2)) < 1e-12 for percent in answer.values())
    assert all(round(percent, 2) > 0 for percent in answer.values())


@example([56, 466, 466, 466])  # no order of 32.05, 32.05, 32.05 and 3.85 sums to 100.0
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=8))
def test_few_values_sum_to_the_bit_and_all_but_one_at_most_are_hundredths(amounts: list[int]) -> None:
    answer = shares({f"v{place}": float(amount) for place, amount in enumerate(amounts)})
    assert sum(answer.values()) == 100.0
    assert sum(percent != round(percent, 2) for percent in answer.values()) <= 1


@pytest.mark.parametrize("count", range(1, 121))
def test_equal_shares_of_any_number_of_values_sum_to_the_bit(count: int) -> None:
    answer = shares({f"v{place}": 1.0 for place in range(count)})
    assert sum(answer.values()) == 100.0
    assert hundredths(answer) == 10_000


def test_the_sum_is_exact_after_storing_and_reading_too() -> None:
    answer = shares({f"v{place}": 1.0 + place for place in range(11)})
    assert sum(orjson.loads(orjson.dumps(answer)).values()) == 100.0
    assert sum(json.loads(json.dumps(answer)).values()) == 100.0


@given(weights)
def test_shares_do_not_depend_on_the_order_of_the_values(given_weights: dict[str, float]) -> None:
    assert shares(dict(reversed(given_weights.items()))) == shares(given_weights)


def test_three_equal_values_still_make_one_hundred() -> None:
    assert shares({"a": 1.0, "b": 1.0, "c": 1.0}) == {"a": 33.34, "b": 33.33, "c": 33.33}


def test_the_small_values_beyond_the_limit_become_one_line() -> None:
    answer = shares({f"v{i}": 1.0 for i in range(500)})
    assert len(answer) == MAX_VALUES
    assert answer[OTHER] > 80
    assert hundredths(answer) == 10_000


def test_deviation_against_the_direction_contributes_nothing() -> None:
    assert contributions({"city": {"a": 3.0, "b": -5.0, "c": 1.0}}, direction=1) == {
        "city": {"a": 75.0, "c": 25.0}
    }
    assert contributions({"city": {"a": 3.0, "b": -5.0}}, direction=-0.1) == {"city": {"b": 100.0}}


def test_a_dimension_in_which_nothing_deviates_is_shared_equally() -> None:
    assert contributions({"city": {"a": 0.0, "b": 0.0}}, direction=1) == {"city": {"a": 50.0, "b": 50.0}}


def test_a_measure_without_dimensions_has_no_contributions() -> None:
    assert contributions({}, direction=1) == {}


def test_a_roll_up_covers_exactly_its_leaves() -> None:
    keys = [("m", ("a", "x")), ("m", ("a", "*")), ("other", ("a", "x")), ("m", ("b", "x")), ("m", ("a", "y"))]
    leaves = leaves_of(keys, "m")
    assert leaves.indices.tolist() == [0, 4, 3]
    assert leaves.covered([("a", "*")]).tolist() == [True, True, False]
    assert leaves.covered([("*", "*")]).all()
    assert not leaves.covered([("c", "*")]).any()
    sums = leaves.sums(np.array([1.0, 2.0, 4.0]), leaves.covered([("*", "x")]))
    assert sums == [{"a": 1.0, "b": 4.0}, {"x": 5.0}]


tuples = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.sampled_from("12"))


@given(st.dictionaries(tuples, st.integers(-1000, 1000), min_size=1), st.sampled_from(["a", "b", "*"]))
def test_every_dimension_carries_the_whole_deviation(
    amounts: dict[tuple[str, str, str], int], city: str
) -> None:
    leaves = leaves_of([("m", key) for key in amounts], "m")
    mask = leaves.covered([(city, "*", "*")])
    values = np.array(list(amounts.values()), float)[leaves.indices]
    whole = sum(amount for key, amount in amounts.items() if city in ("*", key[0]))
    assert all(sum(by_value.values()) == whole for by_value in leaves.sums(values, mask))
