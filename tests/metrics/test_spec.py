"""What a detector is told: checked field by field, the same in JSON and TOML."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.metrics.spec import DetectorSpec
from masthead.metrics.toml import absolute_paths, write_toml

FULL: dict[str, Any] = {
    "name": "air",
    "mode": "continuous",
    "interval": "5m",
    "zone": "Europe/Rome",
    "delay_s": 60,
    "rollups": "all",
    "dimensions": ["LOCATION_ID"],
    "dedupe": "exact",
    "dedupe_key": "ID",
    "description": "The article's sensors",
    "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
    "measures": [
        {"name": "CO", "column": "CO", "aggregation": "avg"},
        {"name": "share", "aggregation": "ratio", "numerator": "a", "denominator": "b"},
        {"name": "rows", "column": "*", "aggregation": "count"},
    ],
    "source": {"kind": "stream", "topic": "sensors/+/air", "format": {"missing_values": ["", "-200"]}},
    "history": {"paths": ["historic_data.json"]},
    "filters": {"LOCATION_ID": ["B-101"]},
}


def test_a_specification_survives_json_and_toml() -> None:
    spec = DetectorSpec.from_json(FULL)
    assert DetectorSpec.from_json(spec.to_json()) == spec
    assert DetectorSpec.from_toml(spec.to_toml()) == spec
    assert spec.interval_s == 300


def test_short_forms_are_read() -> None:
    spec = DetectorSpec.from_json(
        {"name": "air", "time": "T", "measures": ["CO"], "interval": 3600, "history": ["a"]}
    )
    assert spec.measures[0].column == "CO"
    assert (spec.time.column, spec.interval) == ("T", "1h")
    assert spec.history is not None
    assert spec.history.paths == ("a",)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "a b"}, "name"),
        ({"mode": "sometimes"}, "mode"),
        ({"interval": "5 parsecs"}, "interval"),
        ({"interval": "any"}, "interval"),
        ({"interval": "36h"}, "interval"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"delay_s": 432_001}, "delay_s"),
        ({"delay_s": True}, "delay_s"),
        ({"rollups": "some"}, "rollups"),
        ({"dimensions": ["a", "a"]}, "dimensions"),
        ({"dimensions": ["TIMESTAMP"]}, "dimensions"),
        ({"dedupe": "maybe"}, "dedupe"),
        ({"time": {"column": "T", "format": "HH:mm"}}, "format"),
        ({"time": {"kolumn": "T"}}, "time.kolumn"),
        ({"measures": [{"name": "x", "aggregation": "mode"}]}, "measures.aggregation"),
        ({"measures": [{"name": "x", "aggregation": "ratio"}]}, "measures.numerator"),
        ({"measures": ["CO", "CO"]}, "measures"),
        ({"source": {"kind": "cloudwatch"}}, "source.kind"),
        ({"source": {"kind": "stream"}}, "source.topic"),
        ({"source": {"kind": "stream", "topic": "a", "rule": "b"}}, "source.topic"),
        ({"source": {"kind": "stream", "topic": "a/#/b"}}, "source.topic"),
        ({"source": {"kind": "stream", "topic": "$SYS/#"}}, "source.topic"),
        ({"source": {"kind": "path", "template": "s3://b/x"}}, "source.template"),
        ({"source": {"kind": "path", "template": "s3://b/{{yyyyMMdd"}}, "template"),
        ({"mode": "backtest"}, "source.kind"),
        ({"source": {"kind": "files"}}, "source.paths"),
        ({"source": {"kind": "stream", "topic": "a", "paths": ["b"]}}, "source.paths"),
        ({"history": {"paths": []}}, "history.paths"),
        ({"filters": {"a": "b"}}, "filters.a"),
        ({"colour": "blue"}, "colour"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        DetectorSpec.from_json({**FULL, **change})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"source": None}, "source"),
        ({"measures": []}, "measures"),
        ({"source": {"kind": "files", "paths": ["a"]}}, "source.kind"),
        ({"time": {}, "source": {"kind": "path", "template": "s3://abc/{{yyyyMMdd}}"}}, "time"),
    ],
)
def test_what_is_missing_for_activation_is_named(change: dict[str, Any], field: str) -> None:
    spec = DetectorSpec.from_json({**FULL, **change})
    with pytest.raises(InvalidInput) as caught:
        spec.require_complete()
    assert caught.value.field == field


def test_a_stream_drops_repeated_records_unless_told_otherwise() -> None:
    stream = {"name": "a", "source": {"kind": "stream", "topic": "t"}}
    assert DetectorSpec.from_json(stream).drops_duplicates
    assert not DetectorSpec.from_json({**stream, "dedupe": "none"}).drops_duplicates
    assert not DetectorSpec.from_json(
        {"name": "a", "source": {"kind": "files", "paths": ["x"]}}
    ).drops_duplicates


def test_the_default_for_repeated_records_follows_a_source_named_later() -> None:
    spec = DetectorSpec.from_json({"name": "a"}).changed({"source": {"kind": "stream", "topic": "t"}})
    assert spec.drops_duplicates


def test_a_change_replaces_fields_and_none_takes_one_back() -> None:
    spec = DetectorSpec.from_json(FULL).changed({"interval": "1h", "history": None})
    assert (spec.interval, spec.history, spec.zone) == ("1h", None, "Europe/Rome")


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(),
        st.lists(st.text()),
        st.dictionaries(st.text(), st.text()),
    )
)
def test_foreign_values_are_refused_or_read_but_never_crash(value: object) -> None:
    for field in FULL:
        try:
            DetectorSpec.from_json({**FULL, field: value})
        except InvalidInput:
            continue


_PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
)
_VALUES = st.recursive(
    st.one_of(_PLAIN, st.lists(_PLAIN, max_size=3)),
    lambda inner: st.one_of(
        st.dictionaries(st.text(), inner, max_size=3),
        st.lists(st.dictionaries(st.text(), inner, max_size=3), max_size=3),
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), _VALUES, max_size=4))
def test_what_is_written_as_toml_is_read_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(write_toml(values)) == values


def test_local_paths_become_absolute_where_something_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    for folder, name in ((here, "a.csv"), (beside, "a.csv"), (beside, "b.csv")):
        folder.mkdir(exist_ok=True)
        (folder / name).touch()
    monkeypatch.chdir(here)
    settings: dict[str, Any] = {
        "name": "air",
        "source": {"kind": "files", "paths": ["a.csv", "b.csv", "b*.csv", "none.csv"]},
        "history": ["b.csv", "s3://air/b.csv", str(here / "a.csv")],
    }
    found = absolute_paths(settings, beside)
    wanted = [here / "a.csv", beside / "b.csv", beside / "b*.csv", here / "none.csv"]
    assert found["source"] == {"kind": "files", "paths": [str(path) for path in wanted]}
    assert found["history"] == [str(beside / "b.csv"), "s3://air/b.csv", str(here / "a.csv")]
    assert absolute_paths({"history": {"paths": ["b.csv"]}}, beside)["history"] == {
        "paths": [str(beside / "b.csv")]
    }
    assert absolute_paths({"source": {"kind": "stream", "topic": "a"}}, beside)["source"]["topic"] == "a"
    assert settings["history"][0] == "b.csv"


def test_an_aggregation_is_read_in_any_case() -> None:
    given = {
        "name": "a",
        "measures": [{"name": "CO", "aggregation": "AVG"}, {"name": "r", "aggregation": "RATIO(x, y)"}],
    }
    average, ratio = DetectorSpec.from_json(given).measures
    assert (average.aggregation, ratio.aggregation) == ("avg", "ratio")
    assert (ratio.numerator, ratio.denominator) == ("x", "y")
