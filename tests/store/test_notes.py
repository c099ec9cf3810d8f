"""Tags and notes belong to a thing, not to its name."""

from datetime import UTC, datetime
from typing import Any

import pytest

from masthead.base.errors import InvalidInput
from masthead.store.engine import Database
from masthead.store.notes import Notes

BORN, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, 0, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
def notes(any_database: Database) -> Notes:
    return Notes(any_database)


def test_tags_merge_and_go_one_by_one(notes: Notes) -> None:
    assert notes.tag("detector:air", BORN, {"site": "north", "team": "a"}) == {"site": "north", "team": "a"}
    assert notes.tag("detector:air", BORN, {"team": "b", "ä ": ""}) == {
        "site": "north",
        "team": "b",
        "ä ": "",
    }
    assert notes.untag("detector:air", BORN, ["site", "absent"]) == {"team": "b", "ä ": ""}
    assert notes.tags("detector:air", BORN) == {"team": "b", "ä ": ""}
    assert notes.tags("alert:air", BORN) == {}


def test_a_thing_made_anew_under_an_old_name_has_none(notes: Notes) -> None:
    notes.tag("detector:air", BORN, {"site": "north"})
    notes.keep_note("detector:air", BORN, {"arn": "x"})
    assert notes.tags("detector:air", LATER) == {}
    assert notes.note("detector:air", LATER) == {}
    assert notes.tag("detector:air", LATER, {"team": "a"}) == {"team": "a"}
    notes.keep_note("detector:air", LATER, {"arn": "y"})
    assert notes.note("detector:air", LATER) == {"arn": "y"}
    assert notes.note("detector:air", BORN) == {}


def test_fifty_tags_and_no_more(notes: Notes) -> None:
    notes.tag("stream:air", BORN, {f"t{number}": "" for number in range(50)})
    with pytest.raises(InvalidInput, match="50"):
        notes.tag("stream:air", BORN, {"one more": ""})
    assert notes.tag("stream:air", BORN, {"t7": "changed"})["t7"] == "changed"
    assert len(notes.tags("stream:air", BORN)) == 50


@pytest.mark.parametrize(
    "tags",
    [{"": "x"}, {"a" * 129: "x"}, {"aws:x": "y"}, {"AWS:x": "y"}, {"a": "x" * 257}, {"a\0": ""}, {"a": 3}],
)
def test_a_tag_out_of_its_range_is_refused(notes: Notes, tags: Any) -> None:
    with pytest.raises(InvalidInput, match="tags"):
        notes.tag("detector:air", BORN, {"good": "x", **tags})
    assert notes.tags("detector:air", BORN) == {}


def test_what_is_forgotten_is_gone(notes: Notes) -> None:
    notes.tag("detector:air", BORN, {"a": "b"})
    notes.keep_note("detector:air", BORN, {"a": 1})
    notes.forget("detector:air")
    assert notes.tags("detector:air", BORN) == notes.note("detector:air", BORN) == {}
