"""Where to review and where to block: the cheapest cuts of a day that is small enough to be reckoned by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.scoring.thresholds import Costs, Thresholds, choose

# Missed amounts when the top 0 to 5 are flagged: 150, 50, 50, 0, 0, 0. Honest ones among them: 0, 0, 1, 1, 2, 3.
PROBABILITY = np.array([0.4, 0.9, 0.2, 0.6, 0.8])
FRAUD = np.array([0, 1, 0, 1, 0], np.int8)
AMOUNT = np.array([20.0, 100.0, 30.0, 50.0, 10.0])
COSTS = Costs(loss_rate=1.0, friction=25.0, review=3.0, capacity=100)


def cuts(days: float = 1.0, amount: Any = AMOUNT, **costs: Any) -> tuple[float, float]:
    """Return the cuts to block and to review."""
    found = choose(PROBABILITY, FRAUD, amount, days, replace(COSTS, **costs))
    return round(found.block, 9), round(found.review, 9)


def test_the_sure_one_is_blocked_and_the_next_two_are_reviewed() -> None:
    assert cuts() == (0.85, 0.5)  # two reviews, 6; no review and three blocked, 25; only one blocked, 50


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"friction": 0.0}, (0.5, 0.5)),  # blocking costs nothing: nobody is reviewed
        ({"friction": 5.0}, (0.5, 0.5)),  # one blocked by mistake, 5, against two reviews, 6
        ({"friction": 7.0}, (0.85, 0.5)),
        ({"review": 12.0}, (0.85, 0.5)),  # 24 against 25
        ({"review": 13.0}, (0.5, 0.5)),  # 26 against 25
        ({"loss_rate": 0.13}, (0.85, 0.5)),  # the second fraud would cost 6.5, its two reviews cost 6
        ({"loss_rate": 0.11}, (0.85, 0.85)),  # 5.5
        ({"loss_rate": 0.0}, (0.95, 0.95)),  # nothing is lost: nothing is flagged
        ({"capacity": 2}, (0.85, 0.5)),
        ({"capacity": 1}, (0.5, 0.5)),  # one review saves nothing
        ({"capacity": 0, "friction": 60.0}, (0.85, 0.85)),  # to miss 50 costs less than to block by mistake
    ],
)
def test_each_cost_moves_the_cuts_where_it_must(costs: dict[str, Any], expected: tuple[float, float]) -> None:
    assert cuts(**costs) == expected


def test_people_can_do_so_many_reviews_on_each_day_of_the_window() -> None:
    assert cuts(days=2.0, capacity=1) == (0.85, 0.5)
    assert cuts(days=1.5, capacity=1) == (0.85, 0.5)  # begun days count
    assert cuts(days=0.1, capacity=1) == (0.5, 0.5)
    assert cuts(days=0.1, capacity=2) == (0.85, 0.5)


def test_a_missing_amount_counts_as_the_mean_one_and_a_refund_as_nothing() -> None:
    less = AMOUNT.copy()
    less[3] = np.nan  # the second fraud: the mean of the others is 40
    assert cuts(amount=less, friction=100.0, review=19.0) == (0.85, 0.5)
    assert cuts(amount=less, friction=100.0, review=21.0) == (0.85, 0.85)
    refund = np.where(AMOUNT == 100.0, -100.0, AMOUNT)
    assert cuts(amount=refund) == (0.85, 0.5)  # were it a gain to miss it, nothing would be flagged
    nothing = np.full(5, np.nan)  # each counts as 100
    assert cuts(amount=nothing, friction=1e3, review=49.0) == (0.85, 0.5)
    assert cuts(amount=nothing, friction=1e3, review=51.0) == (0.85, 0.85)


def test_the_curve_tells_of_each_cut_what_a_day_would_have_cost() -> None:
    points = choose(PROBABILITY, FRAUD, AMOUNT, 2.0, COSTS).curve
    names = ("threshold", "alerts_per_day", "precision", "recall", "missed", "cost")
    assert [tuple(round(point[name], 9) for name in names) for point in points] == [
        (0.95, 0.0, 1.0, 0.0, 75.0, 75.0),
        (0.85, 0.5, 1.0, 0.5, 25.0, 25.0),
        (0.7, 1.0, 0.5, 0.5, 25.0, 37.5),
        (0.5, 1.5, round(2 / 3, 9), 1.0, 0.0, 12.5),
        (0.3, 2.0, 0.5, 1.0, 0.0, 25.0),
        (0.2, 2.5, 0.4, 1.0, 0.0, 37.5),
    ]


def test_no_cut_lies_between_equal_probabilities() -> None:
    found = choose(np.full(5, 0.3), FRAUD, AMOUNT, 1.0, COSTS)
    assert [point["alerts_per_day"] for point in found.curve] == [0.0, 5.0]


def test_an_action_begins_at_its_cut() -> None:
    found = Thresholds(0.5, 0.8, COSTS)
    given = (0.49, 0.5, 0.79, 0.8)
    assert [found.action(one) for one in given] == ["pass", "review", "review", "block"]
    assert Thresholds.from_json(found.to_json()) == found


@pytest.mark.parametrize("name", ["loss_rate", "friction", "review", "capacity"])
def test_a_cost_below_nothing_is_refused(name: str) -> None:
    for value in (-1, float("nan")):
        with pytest.raises(InvalidInput, match=f"{name}: expected 0 or more"):
            Costs(**{name: value})
