"""Bodies to rows and back; what is no such body is refused without being quoted."""

import json

import pytest

from masthead.learn.models import ModelFailure
from masthead.learn.payloads import chosen_type, read_rows, write_rows

ROWS = [{"t": "2022-03-24 23:30", "CO": 4.8}, {"t": "2022-03-24 23:35", "CO": None}]


@pytest.mark.parametrize(
    ("body", "content_type", "rows"),
    [
        (json.dumps({"instances": ROWS}), "", ROWS),
        (json.dumps({"instances": ROWS}), "application/json; charset=utf-8", ROWS),
        (json.dumps(ROWS), "APPLICATION/JSON", ROWS),
        (json.dumps(ROWS[0]), "application/json", ROWS[:1]),
        ("\ufeff" + json.dumps(ROWS), "application/json", ROWS),
        ("\n".join(json.dumps(row) for row in ROWS), "application/jsonlines", ROWS),
        ("\n\n".join(json.dumps(row) for row in ROWS) + "\r\n", "application/x-ndjson", ROWS),
        ("t,CO\na,1\n\nb,\n", "text/csv", [{"t": "a", "CO": "1"}, {"t": "b", "CO": ""}]),
        ('t,CO\r\n"a\nb",1\r\n', "text/csv; header=present", [{"t": "a\nb", "CO": "1"}]),
    ],
)
def test_every_way_to_write_rows_is_read(body: str, content_type: str, rows: list[object]) -> None:
    assert read_rows(body.encode(), content_type) == rows


@pytest.mark.parametrize(
    ("body", "content_type", "status", "message"),
    [
        (b"{}", "application/x-npy", 415, "content-type: expected one of application/json"),
        (b"CO=1", "application/x-www-form-urlencoded", 415, "content-type"),
        (b"", "", 400, "body: expected JSON"),
        (b'{"instances": []}', "", 400, "body: expected at least one row"),
        (b'{"instances": {"a": 1}}', "", 400, "instances: expected a list"),
        (b'[{"a": 1}, 4711]', "", 400, r"instances\[1\]: expected an object"),
        (b'{"a": NaN}', "", 400, "a missing value is null"),
        (b"[" * 5000, "", 400, "body: expected JSON"),
        (b'{"a": 1}\n4711', "application/jsonlines", 400, "line 2: expected an object"),
        (b'{"a": 1}\n{', "application/jsonlines", 400, "line 2: expected JSON"),
        (b"a,b\n1,2,3\n", "text/csv", 400, "line 2: expected 2 cells, got 3"),
        (b"a,a\n1,2\n", "text/csv", 400, "line 1: expected the names"),
        (b"a\n\xff\n", "text/csv", 400, "UTF-8"),
        (b"a,b\n", "text/csv", 400, "at least one row"),
        (b'a\n"' + b"x" * 200_000, "text/csv", 400, "expected CSV"),
    ],
)
def test_what_is_no_such_body_is_refused_without_being_quoted(
    body: bytes, content_type: str, status: int, message: str
) -> None:
    with pytest.raises(ModelFailure, match=message) as caught:
        read_rows(body, content_type)
    assert caught.value.status == status
    assert "4711" not in caught.value.message


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("text/csv;q=0.1, application/json;q=0.9", "application/json"),
        ("text/csv; q=0.5, application/jsonlines", "application/jsonlines"),
        ("text/csv;charset=utf-8;Q=0.8, */*;q=0.1", "text/csv"),
        ("application/json;q=0, text/csv;q=0.001", "text/csv"),
        ("text/csv;q=1.000, application/json", "text/csv"),
        ("text/csv;q=high, application/json;q=0.9", "text/csv"),
    ],
)
def test_of_several_types_the_one_that_is_wanted_most_is_written(accept: str, chosen: str) -> None:
    assert chosen_type(accept) == chosen


def test_a_type_of_weight_nought_is_not_wanted() -> None:
    with pytest.raises(ModelFailure, match="accept"):
        chosen_type("application/json;q=0.0")


def test_rows_are_written_as_the_caller_accepts_them() -> None:
    rows = [{"t": 1, "at": {"site": "north, east"}, "v": None}]
    names = ["t", "at.site", "v"]
    assert json.loads(write_rows(rows, names, "").body) == {"predictions": rows}
    assert json.loads(write_rows(rows, names, "application/jsonlines").body) == rows[0]
    found = write_rows(rows, names, "image/png, text/csv;q=0.5")
    assert (found.body, found.content_type) == (b't,site,v\n1,"north, east",\n', "text/csv; charset=utf-8")
    with pytest.raises(ModelFailure, match="accept") as caught:
        write_rows(rows, names, "image/png")
    assert caught.value.status == 415
