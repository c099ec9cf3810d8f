"""What came beside a group, how often before, and which came first."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.metrics.related import Span, find_related

DAY_S = 86_400.0


def span(name: str, start_min: float, length_min: float = 5) -> Span:
    return Span(
        id=f"{name}{start_min}", measure=name, start_s=start_min * 60, end_s=(start_min + length_min) * 60
    )


def test_the_other_measure_started_ten_minutes_earlier_as_in_most_past_groups() -> None:
    past = [span("CO", 1440 * day) for day in range(9)] + [span("SO2", 1440 * day - 15) for day in range(7)]
    group = span("CO", 14_400)
    (found,) = find_related(group, [*past, group, span("SO2", 14_390)], interval_s=300)
    assert (found.order, found.lead_s, found.together, found.past) == ("before", 600, 7, 9)
    assert found.usual_lead_s == 900
    assert found.lift is not None
    assert found.lift > 20
    assert found.text == "SO2 started 10 min earlier; together in 7 of 9 past groups"
    assert json.dumps(found.to_json())


def test_a_group_without_a_past_says_so() -> None:
    (found,) = find_related(span("CO", 100), [span("SO2", 100)], interval_s=300)
    assert (found.order, found.lift) == ("together", None)
    assert found.text == "SO2 started in the same interval; no past groups to compare"


def test_two_quiet_intervals_between_are_near_and_three_are_not() -> None:
    group = span("CO", 100, 5)
    assert find_related(group, [span("SO2", 120)], interval_s=300)
    assert not find_related(group, [span("SO2", 125)], interval_s=300)


def test_groups_of_the_same_measure_are_not_its_company() -> None:
    assert find_related(span("CO", 100), [span("CO", 105)], interval_s=300) == []


def test_company_that_is_always_there_is_no_surprise() -> None:
    always = [span("NO2", 0, 100_000)]
    past = [span("CO", 1000 * day) for day in range(5)]
    (found,) = find_related(span("CO", 6000), [*always, *past], interval_s=300)
    assert found.together >= 4
    assert found.lift is not None
    assert found.lift <= 1.01


spans = st.lists(
    st.builds(span, st.sampled_from(["a", "b", "c"]), st.integers(0, 500), st.integers(0, 60)), max_size=40
)


@given(spans, st.builds(span, st.just("a"), st.integers(0, 500), st.integers(0, 60)))
@settings(max_examples=100, deadline=None)
def test_counts_agree_with_comparing_every_pair(others: list[Span], group: Span) -> None:
    for found in find_related(group, others, interval_s=300):
        past = [o for o in others if o.start_s < group.start_s and o.id != group.id]
        mine = [o for o in past if o.measure == "a"]
        near = [
            o
            for o in mine
            if any(
                max(o.start_s - p.end_s, p.start_s - o.end_s) <= 900
                for p in past
                if p.measure == found.measure
            )
        ]
        assert (found.together, found.past) == (len(near), len(mine))
