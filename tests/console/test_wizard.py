"""What the wizard's fields become, without a browser."""

import pytest

from masthead.base.errors import InvalidInput
from masthead.console.wizard import _COMBINED, Draft, measure_fields
from masthead.metrics.spec import AGGREGATIONS


def draft(**changes) -> Draft:
    found = Draft()
    given = {"name": "plant", "place": "sensors/+/air", "measures": [row("CO")]} | changes
    for field, value in given.items():
        setattr(found, field, value)
    return found


def row(column, aggregation="avg", denominator="", name=""):
    return {"column": column, "aggregation": aggregation, "denominator": denominator, "name": name}


def test_every_way_to_combine_values_can_be_chosen():
    assert set(_COMBINED) == set(AGGREGATIONS)
    for how in AGGREGATIONS:
        measure = draft(measures=[row("a", how, "b" if how == "ratio" else "")]).spec().measures[0]
        assert measure.aggregation == how


def test_a_ratio_divides_two_columns_and_has_a_name():
    assert measure_fields(row("errors", "ratio", "requests")) == {
        "name": "errors/requests",
        "aggregation": "ratio",
        "numerator": "errors",
        "denominator": "requests",
    }
    assert draft(measures=[row("a", "ratio", "b", "share")]).spec().measures[0].name == "share"
    with pytest.raises(InvalidInput, match=r"measures\.numerator"):
        draft(measures=[row("a", "ratio")]).spec()


def test_how_files_are_written_holds_for_files_and_for_history():
    spec = draft(
        kind="files",
        place="a.csv, b.csv",
        history="old.csv",
        file_kind="csv",
        delimiter="\\t",
        header="no",
        columns="at, place, CO",
        missing_values="-999, n/a",
    ).spec()
    assert spec.source is not None
    assert spec.history is not None
    assert spec.source.paths == ("a.csv", "b.csv")
    for written in (spec.source.format, spec.history.format):
        assert (written.kind, written.delimiter, written.header) == ("csv", "\t", False)
        assert written.columns == ("at", "place", "CO")
        assert written.missing_values == ("", "-999", "n/a")


def test_what_is_left_open_is_left_to_the_data():
    spec = draft().spec()
    assert spec.source is not None
    assert "format" not in spec.source.to_json()
    assert spec.drops_duplicates


def test_filters_zone_and_duplicates_are_kept():
    spec = draft(
        filters="KIND=outdoor, roof; SITE=n", zone="Europe/Rome", interval="1d", dedupe_key="ID"
    ).spec()
    assert spec.filters == {"KIND": ("outdoor", "roof"), "SITE": ("n",)}
    assert (spec.zone, spec.dedupe_key) == ("Europe/Rome", "ID")
    with pytest.raises(InvalidInput, match="filters: expected COLUMN=value"):
        draft(filters="KIND").spec()
