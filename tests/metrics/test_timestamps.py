"""Stamps to UTC seconds: patterns, epochs, ISO, zones and their two odd nights, folders, finding a format."""

from contextlib import suppress
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.metrics.timestamps import agree, compile_pattern, fitting, folder_for

EVENING = datetime(2022, 3, 24, 23, 30, tzinfo=UTC).timestamp()


def shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")[:16]


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("yyyy-MM-dd HH:mm", "2022-03-24 23:30"),
        ("yyyy-MM-dd HH:mm", " 2022-03-24 23:30 "),
        ("MM/DD/yyyy hh:mm a", "03/24/2022 11:30 PM"),
        ("YYYY-MM-dd HH:mm", "2022-03-24 23:30"),
        ("dd MMM yyyy kk.mm", "24 Mar 2022 23.30"),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2022-03-25T00:30:00+01:00"),
        ("epoch_s", "1648164600"),
        ("epoch_s", 1648164600),
        ("epoch_ms", 1.6481646e12),
        ("iso", "2022-03-24T23:30:00Z"),
        ("iso", "2022-03-24 23:30"),
        ("iso", "2022-03-25T05:00:00.000+05:30"),
    ],
)
def test_a_stamp_in_the_form_gives_its_second(form: str, text: object) -> None:
    parser = compile_pattern(form)
    assert parser.parse(text) == EVENING
    assert parser.parse_many([str(text)] * 20).seconds.tolist() == [EVENING] * 20


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("yyyy-MM-dd HH:mm", "24/03/2022 23:30"),
        ("yyyy-MM-dd HH:mm", "2022-02-30 23:30"),
        ("yyyy-MM-dd HH:mm", "2022-03-24 24:30"),
        ("yyyy-MM-dd HH:mm", "1922-03-24 23:30"),
        ("yyyy-MM-dd HH:mm", "2122-03-24 23:30"),
        ("yyyy-MM-dd HH:mm", ""),
        ("yyyy-MM-dd HH:mm", None),
        ("yyyy-MM-dd HH:mm", ["2022"]),
        ("epoch_s", "nan"),
        ("epoch_s", float("inf")),
        ("epoch_s", "-5"),
        ("epoch_s", True),
        ("epoch_ms", "1e99"),
        ("iso", "20220324"),
        ("iso", "yesterday"),
    ],
)
def test_what_names_no_time_is_refused_alone_and_in_a_column(form: str, value: object) -> None:
    parser = compile_pattern(form)
    with pytest.raises(InvalidInput, match="time"):
        parser.parse(value)
    text = value if isinstance(value, str) else str(value)
    column = parser.parse_many([text] * 20)
    assert np.isnan(column.seconds).all()
    assert set(column.reasons) == set(range(20))


@pytest.mark.parametrize("form", ["HH:mm", "yyyy-MM", "dd/yyyy", "yyyy-MM-dd QQ", "yyyy-MM-dd'T", ""])
def test_a_format_that_leaves_the_day_open_is_refused(form: str) -> None:
    with pytest.raises(InvalidInput, match="format"):
        compile_pattern(form)


def test_an_unknown_zone_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="Mars/Olympus"):
        compile_pattern("iso", "Mars/Olympus")


def test_the_repeated_autumn_hour_follows_the_order_of_rows() -> None:
    parser = compile_pattern("yyyy-MM-dd HH:mm", "Europe/Rome")
    night = [f"2022-10-30 {stamp}" for stamp in ("01:30", "02:00", "02:30", "02:00", "02:30", "03:00")]
    read = parser.parse_many(night)
    assert np.diff(read.seconds).tolist() == [1800.0] * 5
    assert (read.repeated, read.moved) == (4, 0)


def test_hourly_rows_of_two_stations_each_pass_the_autumn_hour_twice() -> None:
    parser = compile_pattern("yyyy-MM-dd HH:mm", "Europe/Rome")
    night = [f"2022-10-30 {hour}:00" for hour in ("01", "02", "02", "03") for _ in range(2)]
    read = parser.parse_many(night, series=np.array([0, 1] * 4))
    assert np.diff(read.seconds[::2]).tolist() == np.diff(read.seconds[1::2]).tolist() == [3600.0] * 3


def test_a_live_stamp_of_the_repeated_hour_takes_the_reading_that_has_passed() -> None:
    parser = compile_pattern("yyyy-MM-dd HH:mm", "Europe/Rome")
    first = parser.parse("2022-10-30 02:30")
    assert shown(first) == "2022-10-30T00:30"
    assert parser.parse("2022-10-30 02:30", near_s=first + 60) == first
    assert parser.parse("2022-10-30 02:30", near_s=first + 3660) == first + 3600


def test_a_stamp_in_the_spring_gap_moves_forward_and_is_counted() -> None:
    read = compile_pattern("yyyy-MM-dd HH:mm", "Europe/Rome").parse_many(
        ["2022-03-27 02:30", "2022-03-27 03:30"]
    )
    assert [shown(second) for second in read.seconds] == ["2022-03-27T01:30"] * 2
    assert (read.repeated, read.moved) == (0, 1)


def test_a_column_out_of_order_does_not_reach_into_the_autumn_hour() -> None:
    read = compile_pattern("yyyy-MM-dd HH:mm", "Europe/Rome").parse_many(
        ["2022-10-31 00:00", "2022-10-30 02:30"]
    )
    assert shown(read.seconds[1]) == "2022-10-30T00:30"


FORMS = [
    "yyyy-MM-dd HH:mm:ss",
    "dd/MM/yyyy HH:mm:ss",
    "yyyyMMddHHmmss",
    "yyyy-MM-dd'T'HH:mm:ssXXX",
    "d.M.yyyy h:mm:ss a",
    "EEE, dd MMM yyyy kk:mm:ss Z",
    "epoch_s",
    "epoch_ms",
    "iso",
]


@given(
    form=st.sampled_from(FORMS),
    zone=st.sampled_from(["UTC", "Europe/Rome", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe"]),
    seconds=st.lists(st.integers(100_000, 4_102_000_000), min_size=1, max_size=40),
)
def test_what_is_written_is_read_back(form: str, zone: str, seconds: list[int]) -> None:
    parser = compile_pattern(form, zone)
    texts = [parser.format(second) for second in seconds]
    # Two instants may share a local stamp; each must then be read as the text they share.
    one_by_one = [parser.parse(text) for text in texts]
    assert [parser.format(second) for second in one_by_one] == texts
    column = parser.parse_many(texts * 16, series=np.arange(len(texts) * 16))
    assert column.seconds.tolist() == one_by_one * 16
    if zone == "UTC" or form in ("iso", "epoch_s", "epoch_ms") or "X" in form or "Z" in form:
        assert one_by_one == [float(second) for second in seconds]


@given(form=st.sampled_from(FORMS), texts=st.lists(st.text(max_size=24), min_size=1, max_size=30))
def test_any_text_at_all_gives_a_time_or_a_reason(form: str, texts: list[str]) -> None:
    read = compile_pattern(form, "Europe/Rome").parse_many(texts)
    assert {row for row in range(len(texts)) if np.isnan(read.seconds[row])} == set(read.reasons)


@given(text=st.text(max_size=20))
def test_any_format_at_all_compiles_or_is_refused(text: str) -> None:
    with suppress(InvalidInput):
        compile_pattern(text).parse("2022-03-24 23:30")


@pytest.mark.parametrize(
    ("stamps", "form"),
    [
        (["2022-03-24 23:30", "2022-03-25 00:00"], "iso"),
        (["2022-03-24T23:30:00Z"], "iso"),
        (["24/03/2022 23:30", "01/02/2022 03:00"], "dd/MM/yyyy HH:mm"),
        (["3/24/2022 9:30", "12/1/2022 10:00"], "M/d/yyyy H:mm"),
        (["1648164600", "1648164900"], "epoch_s"),
        (["1648164600000"], "epoch_ms"),
        (["24.03.2022"], "dd.MM.yyyy"),
    ],
)
def test_one_form_that_fits_every_row_is_found(stamps: list[str], form: str) -> None:
    assert agree(stamps) == form


def test_a_few_broken_stamps_do_not_hide_the_form() -> None:
    assert agree(["25/03/2022 23:30"] * 20 + ["soon", "05/06/2022 23:30"]) == "dd/MM/yyyy HH:mm"
    with pytest.raises(InvalidInput, match="known form"):
        agree(["25/03/2022 23:30"] * 8 + ["soon"] * 2)


@pytest.mark.parametrize("broken", ["soon", "2022-13-45 99:99", "12", "31/31/2022 23:30", "1648164"])
@pytest.mark.parametrize("rows", [2, 3, 4, 9])
@pytest.mark.parametrize(
    ("stamp", "form"),
    [
        ("2022-03-24 23:30", "iso"),
        ("25/03/2022 23:30", "dd/MM/yyyy HH:mm"),
        ("1648164600", "epoch_s"),
        ("1648164600000", "epoch_ms"),
        ("20220324", "yyyyMMdd"),
    ],
)
def test_one_broken_stamp_of_few_does_not_hide_the_form(
    stamp: str, form: str, rows: int, broken: str
) -> None:
    for place in (0, rows - 1):
        stamps = [stamp] * (rows - 1)
        stamps.insert(place, broken)
        assert agree(stamps) == form


@pytest.mark.parametrize(
    "stamps",
    [
        ["03/04/2022 23:30", "05/06/2022 23:30", "07/08/2022 23:30", "soon"],
        ["03/04/2022 23:30", "25/04/2022 23:30", "26/04/2022 23:30", "27/04/2022 23:30", "04/28/2022 23:30"],
        ["25/04/2022 23:30", "04/25/2022 23:30"],
        ["25/04/2022 23:30", "2022-04-25 23:30"],
    ],
)
def test_few_stamps_that_leave_day_and_month_open_are_not_guessed(stamps: list[str]) -> None:
    with pytest.raises(InvalidInput, match="both fit"):
        agree(stamps)


def test_two_broken_stamps_of_few_are_too_many() -> None:
    with pytest.raises(InvalidInput, match="known form"):
        agree(["2022-03-24 23:30", "soon", "later"])


@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(2, 9),
    st.sampled_from(["soon", "?", "0"]),
)
def test_a_form_taken_from_few_rows_is_the_one_they_were_written_in(
    month: int, other: int, day: int, rows: int, broken: str
) -> None:
    """Days above 12 prove the order; without one nothing is taken, whatever else is broken."""
    good = [f"{day:02d}/{month:02d}/2022", f"{day:02d}/{other:02d}/2022"]
    stamps = [*good[: rows - 1], broken]
    try:
        assert agree(stamps) == "dd/MM/yyyy"
    except InvalidInput:
        assert day <= 12
    else:
        assert day > 12 or (day == month and day == other) or (rows == 2 and day == month)


def test_two_forms_that_fit_are_both_named_and_neither_is_taken() -> None:
    with pytest.raises(InvalidInput, match=r"dd/MM/yyyy HH:mm.*MM/dd/yyyy HH:mm"):
        agree(["03/04/2022 23:30", "05/06/2022 23:30"])


def test_stamps_that_nothing_fits_are_shown() -> None:
    with pytest.raises(InvalidInput, match="soon"):
        agree(["soon"])


def test_the_forms_that_would_fit_are_told_with_their_counts() -> None:
    assert fitting(["2022-03-24 23:30", "2022-03-24 23:35", "broken"]) == {"yyyy-MM-dd HH:mm": 2, "iso": 2}


@pytest.mark.parametrize(
    ("template", "zone", "folder"),
    [
        ("s3://air/in/{{yyyyMMdd}}/{{HHmm}}", "UTC", "s3://air/in/20220324/2330"),
        ("s3://air/{{yyyyMMdd}}/{{HHmm}}", "Europe/Rome", "s3://air/20220325/0030"),
        ("s3://air/{{yyyy/MM/dd}}/{{h a}}", "UTC", "s3://air/2022/03/24/11 PM"),
        ("s3://air/all", "UTC", "s3://air/all"),
    ],
)
def test_a_template_names_the_folder_of_an_interval(template: str, zone: str, folder: str) -> None:
    assert folder_for(template, EVENING, zone) == folder


@pytest.mark.parametrize("template", ["s3://b/{{yyyy", "s3://b/{{nn}}", "s3://b/{{}}"])
def test_a_template_that_cannot_be_read_is_refused(template: str) -> None:
    with pytest.raises(InvalidInput):
        folder_for(template, EVENING)
