"""Java date patterns: what Java documents, what AWS users write, and nothing but InvalidInput for the rest."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.base.patterns import compile_pattern

EVENING = datetime(2022, 3, 24, 23, 5, 9)


@pytest.mark.parametrize(
    ("pattern", "text", "expected", "offset_s"),
    [
        ("yyyy-MM-dd HH:mm", "2022-03-24 23:05", datetime(2022, 3, 24, 23, 5), None),
        ("yyyyMMddHHmmss", "20220324230509", EVENING, None),
        ("yyyy-MM-dd'T'HH:mm:ssX", "2022-03-24T23:05:09Z", EVENING, 0),
        ("yyyy-MM-dd'T'HH:mm:ssXXX", "2022-03-24T23:05:09+05:30", EVENING, 19_800),
        ("yyyy-MM-dd HH:mm:ss Z", "2022-03-24 23:05:09 -0800", EVENING, -28_800),
        ("MM/DD/yyyy HH:mm:ss", "03/24/2022 23:05:09", EVENING, None),
        ("d.M.yy h:mm:ss a", "24.3.22 11:05:09 PM", EVENING, None),
        ("dd/MM/yyyy hh:mm:ss a", "24/03/2022 12:00:00 AM", datetime(2022, 3, 24), None),
        ("dd/MM/yyyy hh:mm:ss a", "24/03/2022 12:00:00 pm", datetime(2022, 3, 24, 12), None),
        ("yyyy-MM-dd kk:mm", "2022-03-24 24:05", datetime(2022, 3, 24, 0, 5), None),
        ("yyyy-MM-dd HH:mm:ss.SSS", "2022-03-24 23:05:09.250", EVENING.replace(microsecond=250_000), None),
        ("yyyy-DDD", "2022-083", datetime(2022, 3, 24), None),
        ("EEE MMM dd HH:mm:ss Z yyyy", "Thu Mar 24 23:05:09 +0000 2022", EVENING, 0),
        ("dd MMMM yyyy", "24 march 2022", datetime(2022, 3, 24), None),
        ("YYYY-MM-dd", "2022-03-24", datetime(2022, 3, 24), None),
        ("YYYY-'W'ww", "2022-W12", datetime(2022, 3, 21), None),
        ("HH 'o''clock'", "23 o'clock", datetime(1970, 1, 1, 23), None),
        ("yyyy-MM-dd HH:mm[:ss]", "2022-03-24 23:05", datetime(2022, 3, 24, 23, 5), None),
        ("uuuu-MM-dd''HH", "2022-03-24'23", datetime(2022, 3, 24, 23), None),
    ],
)
def test_a_text_in_the_form_gives_its_local_time_and_offset(
    pattern: str, text: str, expected: datetime, offset_s: int | None
) -> None:
    assert compile_pattern(pattern).parse(text) == (expected, offset_s)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyy-MM-dd", "2022-3-24"),
        ("yyyy-MM-dd", "2022-02-30"),
        ("yyyy-MM-dd", "2022-03-24 "),
        ("yyyy-MM-dd", "２０２２-03-24"),
        ("yyyy-MM-dd", "0000-01-01"),
        ("HH:mm", "24:00"),
        ("kk:mm", "00:30"),
        ("hh:mm a", "13:00 PM"),
        ("KK a", "12 AM"),
        ("ss", "60"),
        ("yyyy-DDD", "2022-366"),
        ("yyyy-DDD", "2022-000"),
        ("EEE yyyy-MM-dd", "Mon 2022-03-24"),
        ("HH X", "10 +19:00"),
        ("HH XXX", "10 +01:75"),
        ("yyyy yyyy", "2021 2022"),
        ("yyyy uuuu", "2021 2022"),
        ("YYYY-'W'ww", "2022-W60"),
        ("yyyy", ""),
    ],
)
def test_a_text_that_names_no_real_time_is_refused_with_the_form(pattern: str, text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        compile_pattern(pattern).parse(text)
    assert refusal.value.field == "time"
    assert pattern[:4] in refusal.value.message


@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("yyyy-MM-dd'T", "quote"),
        ("yyyy-nn", "place 6"),
        ("yyyy]", "place 5"),
        ("[yyyy", "']'"),
        ("{yyyy}", "place 1"),
        ("MMMMM", "at most 4"),
        ("ZZZZ", "at most 5"),
        ("", "1 to 256"),
        ("y" * 300, "1 to 256"),
    ],
)
def test_a_pattern_that_java_would_refuse_names_the_place(pattern: str, place: str) -> None:
    with pytest.raises(InvalidInput, match="format: expected") as refusal:
        compile_pattern(pattern)
    assert place in refusal.value.message


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("'air/'yyyy/MM/dd/HHmm", "air/2022/03/24/2305"),
        ("yy-M-d h:m:s a", "22-3-24 11:5:9 PM"),
        ("DDD kk KK a SSS w", "083 23 11 PM 000 12"),
        ("EEEE EEE MMMM MMM", "Thursday Thu March Mar"),
        ("X XX XXX Z ZZZZZ x", "+0530 +0530 +05:30 +0530 +05:30 +0530"),
        ("HH[mm]", "2305"),
    ],
)
def test_a_time_is_written_as_java_writes_it(pattern: str, expected: str) -> None:
    moment = EVENING.replace(tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert compile_pattern(pattern).format(moment) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"), [("X", "Z"), ("x", "+00"), ("XXX", "Z"), ("Z", "+0000"), ("k", "24")]
)
def test_utc_is_written_as_java_writes_it(pattern: str, expected: str) -> None:
    assert compile_pattern(pattern).format(datetime(2022, 1, 1, tzinfo=UTC)) == expected


def test_what_the_writer_probably_did_not_mean_is_said() -> None:
    warnings = [
        compile_pattern(text).warnings for text in ("YYYY-MM-DD hh:mm", "yyyy-MM-dd HH:mm", "YYYY-ww")
    ]
    assert [len(each) for each in warnings] == [3, 0, 0]
    assert compile_pattern("YYYY-MM-DD hh:mm").parse("2021-12-31 00:30") == (
        datetime(2021, 12, 31, 0, 30),
        None,
    )


FORMS = [
    "yyyy-MM-dd HH:mm:ss.SSSSSS",
    "yyyyDDDHHmmssSSSSSS",
    "dd MMM yyyy hh:mm:ss.SSSSSS a",
    "EEEE d/M/y k:m:s SSSSSS",
]


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)), st.sampled_from(FORMS))
def test_what_is_written_reads_back_the_same(moment: datetime, form: str) -> None:
    pattern = compile_pattern(form)
    assert pattern.parse(pattern.format(moment)) == (moment, None)


@given(st.text("yMdHhkKmsSaXxZDEwYu'[]-: /{#q", max_size=30), st.text(max_size=30))
def test_random_patterns_and_texts_never_raise_anything_but_invalid_input(form: str, text: str) -> None:
    try:
        pattern = compile_pattern(form)
        pattern.format(EVENING)
        pattern.parse(text)
    except InvalidInput:
        pass
