"""Validation: what a data set holds, and for each obstacle what to do next; never an exception for bad data."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.metrics.files import Source
from masthead.metrics.raw import Format
from masthead.metrics.spec import Measure
from masthead.metrics.validation import Expectation, Finding, Validation, validate_files

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"


def look(data: bytes, expected: Expectation | None = None, **format: object) -> Validation:
    return validate_files([Source("x", data)], expected or Expectation(), Format.from_json(format))


def rows(n: int, line: str = "2022-03-24 {h:02d}:{m:02d},a,{k}") -> bytes:
    lines = [line.format(h=k // 12 % 24, m=k * 5 % 60, k=k) for k in range(n)]
    return ("t,s,v\n" + "\n".join(lines)).encode()


def test_the_published_history_is_valid_and_everything_in_it_is_guessed() -> None:
    found = validate_files([Source(str(AIR / "historic_data.json"))], Expectation())
    assert found.valid
    assert {column.name: column.type for column in found.columns} == {
        "TIMESTAMP": "time", "LOCATION_ID": "category", "CO": "number", "SO2": "number", "NO2": "number",
    }  # fmt: skip
    assert found.sample[0] == {
        "time": "2022-03-20T00:00:00+00:00", "LOCATION_ID": "B-101", "CO": 2.6, "SO2": 62.0, "NO2": 57.0,
    }  # fmt: skip
    assert len(found.sample) == 20
    quality = found.quality
    assert quality is not None
    assert (quality.rows, quality.intervals_expected, quality.intervals_empty) == (2358, 2592, 236)
    assert (quality.duplicate_stamps, quality.out_of_order, quality.series) == (2, 10, 1)
    assert found.enough_at == "2022-03-21T00:00:00+00:00"
    found.require_valid()


def test_a_column_that_is_given_as_a_dimension_is_not_guessed_to_be_a_measure() -> None:
    found = look(b"t,s,v\n2022-03-24 00:00,1,5\n2022-03-24 00:05,2,7\n", Expectation(dimensions=("s",)))
    assert [measure.name for measure in found.used.measures] == ["v"]


def test_a_wrong_format_is_told_with_the_one_that_fits() -> None:
    expected = Expectation(time="TIMESTAMP", time_format="dd/MM/yyyy", measures=(Measure("CO"),))
    found = validate_files([Source(str(AIR / "historic_data.json"))], expected)
    assert not found.valid
    assert found.findings[-1] == Finding(
        "error",
        "time.format",
        "TIMESTAMP: 0 of 2,358 rows match dd/MM/yyyy",
        "use yyyy-MM-dd HH:mm, which matches all",
    )
    with pytest.raises(InvalidInput, match="use yyyy-MM-dd HH:mm"):
        found.require_valid()


@pytest.mark.parametrize(
    ("data", "level", "words"),
    [
        (b"", "error", "empty file"),
        (b"t,s,v\n", "error", "expected a column of times"),
        (b"a,b\nx,y\n", "error", "expected a column of times"),
        (b"t,s\n2022-03-24 23:30,a\n", "error", "expected a column of numbers"),
        (b"t,v\n03/04/2022,1\n05/06/2022,2\n", "error", "both fit"),
        (rows(300) + b"\n2022-03-24 00:00,a,0", "warning", "equal in time, dimensions and measures"),
        (rows(100).replace(b",a,5\n", b",a,x\n"), "info", "not a number (1)"),
        (rows(100).replace(b"00:05,a", b"25:05,a"), "info", "1 refused"),
        (gzip.compress(rows(2000), mtime=0)[:-200], "info", "gzip ends early"),
        (rows(3, "2022-03-2{k} 00:00,a,{k}"), "warning", "intervals are empty"),
    ],
)
def test_each_obstacle_is_told(data: bytes, level: str, words: str) -> None:
    found = look(data)
    assert any(finding.level == level and words in finding.message for finding in found.findings), (
        found.lines()
    )
    assert found.valid == (level != "error")


def test_too_many_values_of_a_dimension_name_it_and_say_what_to_do() -> None:
    found = look(rows(9000, "2022-03-24 {h:02d}:{m:02d},sensor {k},{k}"), Expectation(
        time="t", measures=tuple(Measure(f"v{n}", "v") for n in range(6)), dimensions=("s",)))  # fmt: skip
    (error,) = [finding for finding in found.findings if finding.level == "error"]
    assert (error.field, error.action) == ("s", "leave this dimension out or filter it")
    assert "54,000 series" in error.message


def test_no_more_than_ten_thousand_rows_are_looked_at() -> None:
    found = look(rows(12_000))
    assert found.quality is not None
    assert (found.quality.rows, found.complete) == (10_000, False)


def test_a_file_without_header_is_read_by_the_names_that_are_given() -> None:
    data = (AIR / "live_data_sample.csv").read_bytes()
    found = look(data, columns=["TIMESTAMP", "LOCATION_ID", "CO", "SO2", "NO2"])
    assert (found.valid, found.used.time, found.used.dimensions) == (True, "TIMESTAMP", ("LOCATION_ID",))


def test_warnings_of_a_format_are_passed_on() -> None:
    found = look(rows(100), Expectation(time="t", time_format="YYYY-MM-dd HH:mm"))
    assert any("week-year" in finding.message for finding in found.findings)


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=150), st.text(max_size=150).map(str.encode)))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    found = look(data)
    found.to_json()
    assert found.lines()
    assert found.valid == (not any(finding.level == "error" for finding in found.findings))
