"""The words of an alert."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from masthead.alerts.events import AlertEvent
from masthead.alerts.messages import SHORT_SEPTETS, compose, json_payload, long_text, short_text, title
from masthead.alerts.rules import AlertRule

START = datetime(2022, 3, 24, 23, 30, tzinfo=UTC)
RULE = AlertRule.from_json({"name": "night", "channel": {"kind": "webhook", "url": "http://127.0.0.1/"}})
# 3GPP TS 23.038 section 6.2.1, written out a second time on purpose
GSM7_ONE = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
GSM7_TWO = set("^{}\\[~]|€\f")


def event(**fields: Any) -> AlertEvent:
    known = {
        "detector": "air",
        "group": "g1",
        "stage": "open",
        "measure": "SO2",
        "severity": 89.4,
        "start": START,
        "end": START + timedelta(minutes=5),
        "value": 120.0,
        "expected": 64.97,
        "reason": "spike",
        "contributions": {"LOCATION_ID": {"B-101": 80.0, "B-102": 15.0, "B-103": 4.0, "B-104": 1.0}},
        "series": ({"dimensions": {"LOCATION_ID": "B-101"}, "value": 120.0, "expected": 64.97},),
        "related": ({"measure": "CO", "text": "started 15 min later"},),
    }
    return AlertEvent(**(known | fields))


def test_the_short_form_says_what_where_how_bad_and_since_when() -> None:
    # the start lies before midnight and so does the end: no date
    assert short_text(event()) == "SO2 120 at B-101, expected 65, severity 89, since 23:30"


def test_the_short_form_names_the_day_when_the_event_runs_over_midnight() -> None:
    assert short_text(event(end=START + timedelta(hours=1))).endswith("since 03-24 23:30")


def test_the_short_form_speaks_the_detectors_time() -> None:
    assert short_text(event(zone="Asia/Tokyo")).endswith("since 08:30")


def test_silence_flat_line_end_and_test_have_their_own_words() -> None:
    silent = event(kind="silence", value=None, expected=None)
    assert short_text(silent) == "SO2 silent at B-101, severity 89, since 23:30"
    assert short_text(event(kind="flatline", value=65.0)).startswith("SO2 stuck at 65 at B-101")
    assert short_text(event(stage="closed")) == "SO2 120 at B-101, over, severity was 89, 23:30 to 23:35"
    assert short_text(event(stage="test")).startswith("TEST: SO2 120")


def test_masthead_speaks_about_itself_in_a_sentence() -> None:
    own = event(detector="masthead", measure="disk-nearly-full", reason="Only 1 GiB of disk are free.")
    assert short_text(own) == "Masthead: Only 1 GiB of disk are free."
    assert long_text(own).startswith("Only 1 GiB of disk are free.\n")
    assert title(own) == "Masthead: disk-nearly-full needs attention"


def septets(text: str) -> int:
    assert set(text) <= GSM7_ONE | GSM7_TWO
    return sum(2 if one in GSM7_TWO else 1 for one in text)


@given(
    measure=st.text(min_size=1, max_size=300),
    place=st.text(max_size=300),
    value=st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True)),
    stage=st.sampled_from(["open", "raised", "closed", "test"]),
    detector=st.sampled_from(["air", "masthead"]),
    reason=st.text(max_size=400),
)
def test_the_short_form_is_one_sms_whatever_the_names(
    measure: str, place: str, value: float | None, stage: Any, detector: str, reason: str
) -> None:
    series = ({"dimensions": {"D": place}, "value": value},)
    found = short_text(
        event(measure=measure, series=series, value=value, stage=stage, detector=detector, reason=reason)
    )
    assert septets(found) <= SHORT_SEPTETS
    if detector == "air":
        assert "severity" in found  # what matters is never cut


def test_letters_outside_gsm7_lose_their_accent_or_become_a_question_mark() -> None:
    found = short_text(event(measure="Überdruck č – 温度"))
    assert found.startswith("Überdruck c - ?? 120")


def test_the_long_form_tells_what_a_person_asks_next() -> None:
    text = long_text(event(), link="http://127.0.0.1:8400/ui/g1")
    assert text == (
        "SO2 120 at B-101, expected 65\n"
        "\n"
        "Severity  89 of 100\n"
        "Detector  air\n"
        "Since     2022-03-24 23:30 UTC\n"
        "Until     2022-03-24 23:35 UTC\n"
        "Why       spike\n"
        "From      LOCATION_ID B-101: 80 %\n"
        "          LOCATION_ID B-102: 15 %\n"
        "          LOCATION_ID B-103: 4 %\n"
        "Related   CO started 15 min later\n"
        "\n"
        "http://127.0.0.1:8400/ui/g1\n"
    )


def test_the_json_form_is_the_documented_one() -> None:
    found = json_payload(RULE, event(), key="0123")
    arn = "arn:aws:lookoutmetrics:us-east-1:000000000000"
    extra = found.pop("masthead")
    series = found["impactedMetric"]["relevantTimeSeries"][0].pop("timeSeriesId")
    assert len(series) == 128
    assert found == {
        "alertName": "night",
        "alertEventId": f"{arn}:Alert:night:event/0123",
        "anomalyDetectorArn": f"{arn}:AnomalyDetector:air",
        "alertArn": f"{arn}:Alert:night",
        "alertDescription": "air: SO2 120 at B-101, severity 89",
        "impactedMetric": {
            "metricName": "SO2",
            "dimensionContribution": [
                {
                    "dimensionName": "LOCATION_ID",
                    "dimensionValueContributions": [
                        {"dimensionValue": "B-101", "valueContribution": 80.0},
                        {"dimensionValue": "B-102", "valueContribution": 15.0},
                        {"dimensionValue": "B-103", "valueContribution": 4.0},
                        {"dimensionValue": "B-104", "valueContribution": 1.0},
                    ],
                }
            ],
            "relevantTimeSeries": [
                {
                    "dimensions": [{"dimensionName": "LOCATION_ID", "dimensionValue": "B-101"}],
                    "metricValue": 120.0,
                }
            ],
        },
        "timestamp": "2022-03-24T23:30Z[UTC]",
        "anomalyScore": 89.4,
    }
    assert extra["stage"] == "open"
    assert extra["key"] == "0123"


def test_a_zone_off_greenwich_stands_in_the_timestamp_as_java_writes_it() -> None:
    assert json_payload(RULE, event(zone="Europe/Berlin"), key="1")["timestamp"] == (
        "2022-03-25T00:30+01:00[Europe/Berlin]"
    )


def test_what_json_cannot_hold_becomes_null() -> None:
    series = ({"dimensions": {}, "value": float("nan")},)
    found = orjson.loads(compose(RULE, event(value=float("inf"), series=series), key="1").body)
    assert found["masthead"]["value"] is None
    assert found["impactedMetric"]["relevantTimeSeries"][0]["metricValue"] is None


def test_a_dimension_of_many_values_stays_a_message() -> None:
    many = {"D": {str(i): 0.001 for i in range(100_000)}}
    series = tuple({"dimensions": {"D": str(i)}, "value": 1.0} for i in range(1000))
    assert len(compose(RULE, event(contributions=many, series=series), key="1").body) < 30_000


def test_a_title_is_one_line() -> None:
    assert "\n" not in title(event(measure="SO2\nBcc: everybody@example.org"))
