"""Prefixes and event times: one instant per object, in the zone of the data; every mistake refused when it is made."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.store.objects import check_key
from masthead.streams.eventtime import DAY_S, EventTime
from masthead.streams.prefixes import check_prefixes, object_key, parse_prefix

AT = datetime(2022, 3, 24, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "2022/03/24/23/"),
        ("air", "air2022/03/24/23/"),
        ("air/", "air/2022/03/24/23/"),
        ("air/!{timestamp:yyyyMMdd}/!{timestamp:HHmm}/", "air/20220324/2330/"),
        ("!{timestamp:'year='yyyy'/day='dd/}", "year=2022/day=24/"),
        ("a!b/!{timestamp:yyyy}/", "a!b/2022/"),
    ],
)
def test_a_prefix_is_evaluated_at_its_instant(text: str, expected: str) -> None:
    assert parse_prefix(text).evaluate(AT, token="t") == expected


def test_an_error_prefix_names_the_kind_of_error() -> None:
    prefix = parse_prefix("bad/!{firehose:error-output-type}/!{timestamp:yyyy}/", error=True)
    assert prefix.evaluate(AT, token="t", error_type="processing-failed") == "bad/processing-failed/2022/"
    plain = parse_prefix("bad/", error=True)
    assert plain.evaluate(AT, token="t", error_type="processing-failed") == "bad/2022/03/24/23/"


def test_a_random_string_is_new_for_each_object_and_the_same_at_a_replay() -> None:
    prefix = parse_prefix("!{firehose:random-string}/")
    texts = [prefix.evaluate(AT, token=token).split("/")[0] for token in ("a", "b", "a")]
    assert texts[0] == texts[2] != texts[1]
    assert all(len(text) == 11 and text.isalnum() for text in texts)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("!{timestamp:yyyy", "'}'"),
        ("!{timestamp:nn}", "place 1"),
        ("!{timestamp:}", "1 to 256"),
        ("x!{s3:bucket}", "place 2"),
        ("!{firehose:error-output-type}/", "place 1"),
        ("a/../b/", ".."),
        ("a//b/", "single slashes"),
        ("a\n/", "printable"),
        ("x" * 600, "512"),
        ("x" * 100 + "!{timestamp:yyyy}", "60 after"),
        (5, "text"),
    ],
)
def test_a_wrong_prefix_is_refused_when_it_is_set(text: object, part: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_prefix(text)
    assert refusal.value.field == "prefix"
    assert part in refusal.value.message


def test_prefixes_with_expressions_need_an_error_prefix_that_names_the_error() -> None:
    check_prefixes("air/", "")
    check_prefixes("!{timestamp:yyyy}/", "bad/")
    for prefix, error_prefix in (("!{timestamp:yyyy}/", ""), ("", "!{timestamp:yyyy}/")):
        with pytest.raises(InvalidInput, match="error_prefix"):
            check_prefixes(prefix, error_prefix)


def test_a_key_is_made_at_one_instant_in_the_zone_of_the_data() -> None:
    prefix = parse_prefix("air/!{timestamp:yyyyMMdd/HHmm}/")
    key = object_key(
        prefix, stream="air", version=2, at=AT.timestamp(), zone="Europe/Rome", identity="x", extension=".gz"
    )
    assert key.startswith("air/20220325/0030/air-2-2022-03-25-00-30-00-")
    assert key.endswith(".gz")
    same = object_key(
        prefix, stream="air", version=2, at=AT.timestamp(), zone="Europe/Rome", identity="x", extension=".gz"
    )
    other = object_key(
        prefix, stream="air", version=2, at=AT.timestamp(), zone="Europe/Rome", identity="y", extension=".gz"
    )
    assert key == same != other


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["!{", "}", "timestamp:", "yyyy/", "firehose:", "a/", "'", "!"])).map("".join)
)
def test_a_random_prefix_makes_keys_that_every_store_takes_or_is_refused(text: str) -> None:
    try:
        prefix = parse_prefix(text)
    except InvalidInput:
        return
    check_key(object_key(prefix, stream="air", version=1, at=AT.timestamp(), zone="UTC", identity="x"))


def event_time(form: str, zone: str = "UTC", interval: str = "5m") -> EventTime:
    return EventTime.from_json({"column": "T", "format": form, "zone": zone, "interval": interval})


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("yyyy-MM-dd HH:mm", "2022-03-24 23:30", AT.timestamp()),
        ("yyyy-MM-dd HH:mmXXX", "2022-03-25 00:30+01:00", AT.timestamp()),
        ("epoch_s", 1_648_164_600, 1_648_164_600),
        ("epoch_s", "1648164600.5", 1_648_164_600.5),
        ("epoch_ms", 1_648_164_600_250, 1_648_164_600.25),
        ("iso", "2022-03-24T23:30:00Z", AT.timestamp()),
        ("iso", "2022-03-24T23:30", AT.timestamp()),
        ("yyyyMMdd", 20220324, AT.timestamp() - 23.5 * 3600),
    ],
)
def test_a_stamp_is_read_in_its_form(form: str, value: object, expected: float) -> None:
    read = event_time(form).reader()
    assert read({"T": value}) == read({"T": value}) == expected


def test_a_naive_stamp_belongs_to_the_zone_and_columns_may_be_nested() -> None:
    rome = event_time("yyyy-MM-dd HH:mm", "Europe/Rome").reader()
    assert rome({"T": "2022-03-25 00:30"}) == AT.timestamp()
    gap, first = rome({"T": "2022-03-27 02:30"}), rome({"T": "2022-10-30 02:30"})
    assert datetime.fromtimestamp(gap, UTC) == datetime(2022, 3, 27, 1, 30, tzinfo=UTC)
    assert datetime.fromtimestamp(first, UTC) == datetime(2022, 10, 30, 0, 30, tzinfo=UTC)
    assert EventTime("a.b", "epoch_s").reader()({"a": {"b": 5}}) == 5


@pytest.mark.parametrize(
    "value", [None, "", "soon", True, [], {}, float("nan"), float("inf"), -1, 1e300, "9" * 400, "nan"]
)
@pytest.mark.parametrize("form", ["yyyy-MM-dd", "epoch_s", "epoch_ms", "iso"])
def test_what_is_no_time_is_refused_with_its_column(form: str, value: object) -> None:
    with pytest.raises(InvalidInput) as refusal:
        event_time(form).reader()({"T": value})
    assert refusal.value.field == "T"


@pytest.mark.parametrize(
    "value",
    [None, {}, {"column": "T"}, {"column": "", "format": "iso"}, {"column": "T", "format": "nn"}]
    + [
        {"column": "T", "format": "iso", **more}
        for more in ({"zone": "Mars"}, {"interval": "25h"}, {"extra": 1}, {"interval": 0})
    ],
)
def test_a_wrong_setting_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        EventTime.from_json(value)


@given(
    st.floats(0, 4e9),
    st.sampled_from(["5m", "1h", "7m", "1d", "7d"]),
    st.sampled_from(["UTC", "Europe/Rome", "Asia/Kolkata"]),
)
def test_an_interval_holds_its_time_and_the_next_begins_where_it_ends(
    time_s: float, interval: str, zone: str
) -> None:
    setting = event_time("iso", zone, interval)
    start = setting.start(time_s)
    end = setting.end(start)
    assert start <= time_s < end
    assert setting.start(start) == start
    assert setting.start(end) == end


def test_a_day_is_local_and_may_have_23_hours() -> None:
    setting = event_time("iso", "Europe/Rome", "1d")
    start = setting.start(datetime(2022, 3, 27, 12, tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(start, UTC) == datetime(2022, 3, 26, 23, tzinfo=UTC)
    assert setting.end(start) - start == 23 * 3600
    assert setting.end(setting.end(start)) - setting.end(start) == DAY_S
