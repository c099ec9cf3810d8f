"""Which events a rule tells, under which stage, and when it waits."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.alerts.events import AlertEvent
from masthead.alerts.rules import AlertRule, Watched, matches, next_stage, quiet_until, warnings_of
from masthead.base.errors import InvalidInput

HOOK = {"kind": "webhook", "url": "http://127.0.0.1:1/x"}


def rule(**fields: Any) -> AlertRule:
    return AlertRule.from_json({"name": "night", "channel": HOOK} | fields)


def event(**fields: Any) -> AlertEvent:
    start = datetime(2022, 3, 24, 23, 30, tzinfo=UTC)
    known = {
        "detector": "air",
        "group": "g1",
        "stage": "open",
        "measure": "SO2",
        "severity": 89.0,
        "start": start,
        "end": start,
        "value": 120.0,
        "expected": 65.0,
        "contributions": {"LOCATION_ID": {"B-101": 100.0}},
        "series": ({"dimensions": {"LOCATION_ID": "B-101"}, "value": 120.0, "expected": 65.0},),
    }
    return AlertEvent(**(known | fields))


@pytest.mark.parametrize(
    ("fields", "happening", "expected"),
    [
        ({}, {}, True),
        ({"enabled": False}, {}, False),
        ({}, {"muted": True}, False),
        ({"detector": "air"}, {}, True),
        ({"detector": "water"}, {}, False),
        ({"measures": ["CO", "SO2"]}, {}, True),
        ({"measures": ["CO"]}, {}, False),
        ({"dimensions": {"LOCATION_ID": ["B-101", "B-102"]}}, {}, True),
        ({"dimensions": {"LOCATION_ID": ["B-102"]}}, {}, False),
        ({"dimensions": {"LOCATION_ID": ["B-101"], "ROOM": ["1"]}}, {}, False),
        ({"dimensions": {"LOCATION_ID": ["B-101"]}}, {"series": ()}, True),
        ({"dimensions": {"LOCATION_ID": ["B-102"]}}, {"series": ()}, False),
    ],
)
def test_a_rule_is_about_its_detector_measures_and_dimension_values(
    fields: dict[str, Any], happening: dict[str, Any], expected: bool
) -> None:
    assert matches(rule(**fields), event(**happening)) is expected


@pytest.mark.parametrize(
    ("stage", "severity", "told", "expected"),
    [
        ("open", 69.9, {}, None),
        ("open", 70.0, {}, "open"),
        ("raised", 75.0, {}, "open"),
        ("open", 89.0, {"open": 89.0}, None),
        ("raised", 79.9, {"open": 70.0}, None),
        ("raised", 80.0, {"open": 70.0}, "raised"),
        ("raised", 89.0, {"open": 70.0, "raised": 80.0}, None),
        ("raised", 90.0, {"open": 70.0, "raised": 80.0}, "raised-2"),
        ("raised", 100.0, {"open": 70.0, "raised": 80.0, "raised-2": 90.0}, "raised-3"),
        ("closed", 90.0, {"open": 70.0}, "closed"),
        ("closed", 90.0, {}, None),
        ("closed", 90.0, {"open": 70.0, "closed": 70.0}, None),
        ("raised", 95.0, {"open": 70.0, "closed": 70.0}, None),
    ],
)
def test_a_rule_speaks_at_the_threshold_at_each_rise_of_ten_and_at_the_end(
    stage: str, severity: float, told: dict[str, float], expected: str | None
) -> None:
    assert next_stage(rule(on_close=True), event(stage=stage, severity=severity), told) == expected


def test_the_end_is_told_only_where_it_is_asked_for() -> None:
    assert next_stage(rule(), event(stage="closed"), {"open": 89.0}) is None


@pytest.mark.parametrize(
    ("quiet", "zone", "now", "until"),
    [
        ("22:00-06:00", "UTC", "2022-03-24T23:30+00:00", "2022-03-25T06:00+00:00"),
        ("22:00-06:00", "UTC", "2022-03-25T05:59:59+00:00", "2022-03-25T06:00+00:00"),
        ("22:00-06:00", "UTC", "2022-03-25T06:00+00:00", None),
        ("22:00-06:00", "UTC", "2022-03-25T21:59:59+00:00", None),
        ("12:00-13:00", "UTC", "2022-03-25T12:30+00:00", "2022-03-25T13:00+00:00"),
        ("22:00-06:00", "Europe/Berlin", "2022-03-24T21:30+00:00", "2022-03-25T05:00+00:00"),
        # the clocks of Berlin go forward at 2 in this night
        ("22:00-06:00", "Europe/Berlin", "2022-03-26T23:30+00:00", "2022-03-27T04:00+00:00"),
        ("", "UTC", "2022-03-24T23:30+00:00", None),
    ],
)
def test_quiet_hours_end_at_their_wall_time(quiet: str, zone: str, now: str, until: str | None) -> None:
    found = quiet_until(rule(quiet_hours=quiet), datetime.fromisoformat(now), zone=zone)
    assert found == (datetime.fromisoformat(until) if until else None)


def test_the_rules_own_zone_wins_over_the_detectors() -> None:
    asked = rule(quiet_hours="22:00-06:00", zone="Asia/Tokyo")
    now = datetime(2022, 3, 24, 14, 0, tzinfo=UTC)  # 23:00 in Tokyo
    assert quiet_until(asked, now, zone="UTC") == datetime(2022, 3, 24, 21, 0, tzinfo=UTC)


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2040, 1, 1), timezones=st.just(UTC)),
    st.tuples(st.times(), st.times()),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Auckland"]),
)
def test_quiet_time_always_ends_within_a_day_and_outside_itself(now: Any, ends: Any, zone: str) -> None:
    begin, end = (f"{one:%H:%M}" for one in ends)
    if begin == end:
        return
    asked = rule(quiet_hours=f"{begin}-{end}")
    until = quiet_until(asked, now, zone=zone)
    if until is not None:
        assert -3600 <= (until - now).total_seconds() <= 25 * 3600


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": ""}, "name: expected"),
        ({"threshold": 101}, "threshold: expected 0 to 100, got 101"),
        ({"threshold": "high"}, "threshold: expected 0 to 100"),
        ({"form": "poem"}, "form: expected one of long, short, json, got 'poem'"),
        ({"measures": ["a"] * 6}, "measures: expected at most 5, got 6"),
        ({"measures": "SO2"}, "measures: expected a list of names"),
        ({"dimensions": {"D": []}}, "dimensions: expected 1 to 10 values of 'D', got 0"),
        ({"dimensions": {"D": ["x"] * 11}}, "dimensions: expected 1 to 10 values of 'D', got 11"),
        ({"dimensions": {str(i): ["x"] for i in range(6)}}, "dimensions: expected at most 5, got 6"),
        ({"quiet_hours": "22-6"}, "quiet_hours: expected a time such as 22:00-06:00, got '22-6'"),
        ({"quiet_hours": "06:00-06:00"}, "quiet_hours: expected"),
        ({"zone": "Mars/Olympus"}, "zone: expected an IANA zone"),
        ({"zone": "../../etc/passwd"}, "zone: expected an IANA zone"),
        ({"enabled": "yes"}, "enabled: expected true or false, got 'yes'"),
        ({"treshold": 70}, "treshold: expected one of"),
        ({"channel": "webhook"}, "channel: expected an object with a kind"),
        ({"description": "x" * 257}, "description: expected"),
    ],
)
def test_a_wrong_field_is_named_with_its_domain(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rule(**fields)
    assert message in str(caught.value)


def test_a_rule_survives_its_json() -> None:
    asked = rule(measures=["SO2"], dimensions={"D": ["x"]}, quiet_hours="22:00-06:00", on_close=True)
    assert AlertRule.from_json(asked.to_json()) == asked


def test_people_get_words_and_programs_get_json_unless_the_rule_says_otherwise() -> None:
    mail = {"kind": "email", "host": "h", "to": ["a@b"], "sender": "m@b"}
    assert rule(channel=mail).form == "long"
    assert rule().form == "json"
    assert rule(form="short").form == "short"


def test_an_event_survives_its_json() -> None:
    happening = event(related=({"measure": "CO", "text": "started 10 min earlier"},))
    assert AlertEvent.from_json(happening.to_json()) == happening


@pytest.mark.parametrize("found", [{}, {"detector": "air"}, {"stage": "never"}])
def test_an_incomplete_event_is_refused(found: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        AlertEvent.from_json(found)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, []),
        ({"detector": "air", "measures": ["CO"], "dimensions": {"PLACE": ["a"]}}, []),
        ({"detector": "masthead", "measures": ["disk"]}, []),
        ({"detector": "ari"}, ["detector: expected one that exists, such as air, got 'ari'"]),
        (
            {"detector": "air", "measures": ["CO2"]},
            ["measures: expected one that exists, such as CO, got 'CO2'"],
        ),
        ({"measures": ["level"]}, []),
        (
            {"dimensions": {"PLAC": ["a"]}},
            ["dimensions: expected one that exists, such as PLACE, got 'PLAC'"],
        ),
        ({"detector": "new", "measures": ["any"]}, []),
    ],
)
def test_a_rule_about_nothing_that_exists_is_told(fields: dict[str, Any], words: list[str]) -> None:
    known = {
        "air": Watched(frozenset({"CO", "SO2"}), frozenset({"PLACE"})),
        "tank": Watched(frozenset({"level"}), frozenset()),
        "new": Watched(frozenset(), frozenset()),
    }
    assert warnings_of(rule(**fields), known) == words


def test_a_rule_made_before_any_detector_is_told_too() -> None:
    assert warnings_of(rule(detector="air"), {}) == ["detector: expected one that exists, got 'air'"]


def test_a_rule_is_warned_of_a_named_channel_that_does_not_exist_yet() -> None:
    rule = AlertRule("r", {"kind": "named", "name": "nigth"})
    assert warnings_of(rule, {}, ["night"]) == [
        "channel.name: expected one that exists, such as night, got 'nigth'"
    ]
    assert warnings_of(rule, {}, ["nigth"]) == []
    assert warnings_of(rule, {}) == []
