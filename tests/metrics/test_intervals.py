"""Interval starts: multiples in UTC, local days of 23, 24 and 25 hours, ranges without holes."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput, LimitReached
from masthead.metrics.intervals import (
    interval_range,
    interval_start,
    interval_starts,
    next_start,
    utc_offsets,
    zone_of,
)

ROME = "Europe/Rome"
ZONES = ["UTC", ROME, "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana"]


def second(zone: str, *parts: int) -> float:
    return datetime(*parts, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type, misc]


def test_five_minutes_are_cut_on_multiples_in_utc_whatever_the_zone() -> None:
    time = second("UTC", 2022, 3, 24, 23, 34, 59)
    for zone in ZONES:
        assert interval_start(time, 300, zone) == second("UTC", 2022, 3, 24, 23, 30)


def test_a_day_starts_at_local_midnight() -> None:
    assert interval_start(second(ROME, 2022, 3, 24, 23, 59), 86_400, ROME) == second(ROME, 2022, 3, 24)
    assert interval_start(second(ROME, 2022, 3, 25), 86_400, ROME) == second(ROME, 2022, 3, 25)


@pytest.mark.parametrize(("month", "day", "hours"), [(3, 27, 23), (10, 30, 25), (6, 1, 24)])
def test_two_days_a_year_last_23_and_25_hours(month: int, day: int, hours: int) -> None:
    start = interval_start(second(ROME, 2022, month, day, 12), 86_400, ROME)
    assert next_start(start, 86_400, ROME) - start == hours * 3600


def test_a_day_without_midnight_starts_when_its_first_hour_does() -> None:
    noon = second("America/Sao_Paulo", 2018, 11, 4, 12)
    assert interval_start(noon, 86_400, "America/Sao_Paulo") == noon - 11 * 3600


def test_a_week_starts_on_monday() -> None:
    start = interval_start(second(ROME, 2022, 3, 24, 5), 7 * 86_400, ROME)
    assert start == second(ROME, 2022, 3, 21)
    assert next_start(start, 7 * 86_400, ROME) == second(ROME, 2022, 3, 28)


@given(
    zone=st.sampled_from(ZONES),
    interval=st.sampled_from([60, 300, 3600, 86_400, 604_800]),
    time=st.integers(200_000, 4_000_000_000),
)
def test_every_instant_lies_in_exactly_the_interval_that_holds_it(
    zone: str, interval: int, time: int
) -> None:
    start = interval_start(time, interval, zone)
    end = next_start(start, interval, zone)
    assert start <= time < end
    assert interval_start(start, interval, zone) == start
    assert interval_start(end - 1, interval, zone) == start
    assert interval_start(end, interval, zone) == end


@given(zone=st.sampled_from(ZONES), first=st.integers(200_000, 3_900_000_000), days=st.integers(0, 400))
def test_a_range_of_days_has_no_hole_and_no_double(zone: str, first: int, days: int) -> None:
    start = interval_start(first, 86_400, zone)
    last = interval_start(first + days * 86_400, 86_400, zone)
    found = interval_range(start, last, 86_400, zone).tolist()
    assert found[0] == start
    assert found[-1] == last
    assert all(next_start(a, 86_400, zone) == b for a, b in pairwise(found))


@given(zone=st.sampled_from(ZONES), times=st.lists(st.integers(0, 4_100_000_000), min_size=1, max_size=20))
def test_offsets_of_a_column_are_those_of_the_zone(zone: str, times: list[int]) -> None:
    expected = [datetime.fromtimestamp(time, zone_of(zone)).utcoffset() for time in times]
    found = utc_offsets(np.array(times), zone)
    assert found.tolist() == [offset.total_seconds() for offset in expected if offset is not None]


@pytest.mark.parametrize("interval", [0, -300, 90_000, 400 * 86_400])
def test_a_length_that_tiles_nothing_is_refused(interval: int) -> None:
    with pytest.raises(InvalidInput, match="interval"):
        interval_starts(np.array([0.0]), interval)


def test_a_range_that_one_wrong_year_stretches_is_refused() -> None:
    with pytest.raises(LimitReached, match="intervals"):
        interval_range(0, 4_000_000_000, 1)
