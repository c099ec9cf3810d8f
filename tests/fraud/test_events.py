"""Files and messages become the same transactions; what cannot be used is told and loses nothing else."""

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.data.etl import Order, extract
from masthead.fraud.data.events import Events, parse_record, parse_time, read_events, read_labels
from masthead.fraud.data.schema import Schema

SCHEMA = Schema.parse("""
name = "small"
numerics = ["V1-V2"]
categoricals = ["M1"]
missing = ["-1"]
[transaction]
id = "no"
time = { column = "at", unit = "s", origin = "2020-01-01T00:00:00Z" }
amount = "amount"
[label]
column = "fraud"
delay = "7d"
[entities]
card = "card"
device = "device_id"
client = { columns = ["card", "opened"] }
mail = "mail_low"
[derive]
opened = { op = "day_minus", column = "D1" }
mail_low = { op = "lower", column = "mail" }
""")
START_US = 1_577_836_800_000_000
DAY_US = 86_400_000_000
HEADER = "no,at,amount,card,mail,D1,V1,V2,M1,fraud\n"


def read(folder: Path, text: str, *further: tuple[str, str]) -> Events:
    (folder / "a.csv").write_text(text)
    for name, content in further:
        (folder / name).write_text(content)
    return read_events(SCHEMA, [folder / "a.csv", *(folder / name for name, _ in further)])


def problems(events: Any) -> list[tuple[int, str, str]]:
    return [(row["row"], row["column"], row["reason"]) for row in events.problems.to_pylist()]


def test_a_file_is_read_in_the_order_of_time_with_ties_as_in_the_file(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "b,20,2,c,,,,,,\na,10,1,c,,,,,,1\nc,10,3,d,,,,,,0\n")
    assert events.ids == ["a", "c", "b"]
    assert (events.ts - START_US).tolist() == [10_000_000, 10_000_000, 20_000_000]
    assert events.amount.tolist() == [1, 3, 2]
    assert events.inline_label.tolist() == [1, 0, -1]
    assert events.codes[:, 0].tolist() == [events.vocabularies[0].index(key) for key in ("c", "d", "c")]
    assert events.absent == ("device_id",)
    assert problems(events) == []


def test_a_missing_value_is_no_edge(tmp_path: Path) -> None:
    rows = "".join(
        f"t{row},{row},1,{value},,,,,,\n" for row, value in enumerate(["", "nan", "NaN", "-1", "-1.0"])
    )
    events = read(tmp_path, HEADER + rows)
    assert (events.codes == -1).all()
    assert events.vocabularies == [[], [], [], []]


def test_keys_and_ids_survive_as_text(tmp_path: Path) -> None:
    rows = 'a-1,1,1,"x, ""y""",A@B.c,3,,,,\n007,2,1,13926.0,,3.0,,,,\n"3663549",3,1,1e5,,,,,,\n'
    events = read(tmp_path, HEADER + rows)
    assert events.ids == ["a-1", "007", "3663549"]
    assert [events.event(row).keys for row in range(3)] == [
        ('x, "y"', None, json.dumps(['x, "y"', "18259"], separators=(",", ":")), "a@b.c"),
        ("13926", None, '["13926","18259"]', None),
        ("1e5", None, None, None),
    ]


def test_a_text_that_is_lowered_is_no_number(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,1,c,007,,,,,\nb,2,1,c,1e5,,,,,\n")
    assert [events.event(row).keys[3] for row in range(2)] == ["007", "1e5"]


def test_one_id_is_the_same_in_csv_and_in_parquet_of_any_type(tmp_path: Path) -> None:
    for kind in (pa.int64(), pa.float64(), pa.string(), pa.int32(), pa.large_string()):
        table = pa.table({"no": pa.array([3663549], pa.int64()).cast(kind), "at": [1], "card": [13926.0]})
        pq.write_table(table, tmp_path / "a.parquet")
        events = read_events(SCHEMA, [tmp_path / "a.parquet"])
        assert (events.ids, events.event(0).keys[0]) == (["3663549"], "13926"), kind


def test_ids_and_times_are_handed_on_as_in_the_data(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "12,5,1,c,,,,,,\n13,6,1,c,,,,,,\n")
    assert (events.raw_ids.to_pylist(), events.raw_times.to_pylist()) == ([12, 13], [5, 6])
    events = read(tmp_path, HEADER + "012,5.5,1,c,,,,,,\n13,6,1,c,,,,,,\n")
    assert (events.raw_ids.to_pylist(), events.raw_times.to_pylist()) == (["012", "13"], ["5.5", "6"])


@pytest.mark.parametrize(
    ("given", "microseconds"),
    [
        ("2020-01-02", DAY_US),
        ("2020-01-02T01:00:00+01:00", DAY_US),
        ("2020-01-02 00:00:00.000001", DAY_US + 1),
        (86400, DAY_US),
        ("86400", DAY_US),
        (0.5, 500_000),
        (-1, -1_000_000),
    ],
)
def test_a_time_is_iso_or_a_number_of_the_schemas_unit(given: Any, microseconds: int, tmp_path: Path) -> None:
    assert parse_time(SCHEMA, given) == START_US + microseconds
    assert read(tmp_path, f"no,at,card\na,{given},c\n").ts.tolist() == [START_US + microseconds]


@pytest.mark.parametrize("given", ["soon", "", True, 1e30, float("nan"), [1], None])
def test_what_is_no_time_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^at: expected"):
        parse_time(SCHEMA, given)


def test_columns_of_timestamps_are_times_under_any_format(tmp_path: Path) -> None:
    for kind in (
        pa.timestamp("s"),
        pa.timestamp("ns", "UTC"),
        pa.timestamp("us", "Europe/Paris"),
        pa.date32(),
    ):
        times = pa.array(["2020-01-02"]).cast(pa.timestamp("s")).cast(kind)
        pq.write_table(pa.table({"no": ["a"], "at": times, "card": ["c"]}), tmp_path / "a.parquet")
        assert read_events(SCHEMA, [tmp_path / "a.parquet"]).ts.tolist() == [START_US + DAY_US], kind


def test_a_row_without_id_or_time_is_a_problem_and_the_others_stay(tmp_path: Path) -> None:
    events = read(
        tmp_path,
        HEADER + ",1,1,c,,,,,,\na,soon,1,c,,,,,,\nb,,1,c,,,,,,\nc,3,1,c,,,x,,,maybe\nd,4,1,c,,,,,,\n",
    )
    assert events.ids == ["c", "d"]
    assert problems(events) == [
        (1, "no", "no id"),
        (2, "at", "expected ISO 8601 or a number of s, got 'soon'"),
        (3, "at", "no time"),
        (4, "V1", "no number: 'x'"),
        (4, "fraud", "expected 1/0, true/false, fraud/legit or nothing, got 'maybe'"),
    ]
    assert np.isnan(events.numerics[0, 0])
    assert events.inline_label.tolist() == [-1, -1]


def test_an_id_that_repeats_with_other_content_is_a_problem_and_an_exact_copy_none(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,1,c,,,,,,\nb,2,1,c,,,,,,\na,1,1,c,,,,,,\na,1,2,c,,,,,,\n")
    assert events.ids == ["a", "b"]
    assert events.amount.tolist() == [1, 1]
    assert problems(events) == [(4, "no", "id repeated with other content: 'a'")]


def test_a_torn_line_is_a_problem_with_its_row(tmp_path: Path) -> None:
    events = read(tmp_path, "no,at,card,V1\na,1,c,\nb,2\nc,3,c,x\n")
    assert events.ids == ["a", "c"]
    assert problems(events) == [(2, "", "expected 4 columns, got 2"), (3, "V1", "no number: 'x'")]


def test_numbers_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,inf,c,,,NaN,1e300,,\nb,2,,c,,,-1,NA,,\nc,3,-5.5,c,,,0.1,2,,\n")
    np.testing.assert_array_equal(events.amount, [np.nan, np.nan, -5.5])
    np.testing.assert_array_equal(
        events.numerics, np.array([[np.nan] * 2, [np.nan] * 2, [0.1, 2]], np.float32)
    )
    assert problems(events) == []


def test_files_of_one_folder_are_one_data_set_and_those_without_time_are_joined(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "one.csv").write_text("no,at,card,fraud\n1,5,c,1\n2,6,c,0\n")
    with gzip.open(folder / "two.csv.gz", "wt") as file:
        file.write("no,at,card,amount\n3,1,d,9\n")
    pq.write_table(
        pa.table({"no": [2.0, 3.0, 4.0], "device-id": ["x", None, "y"]}), folder / "identity.parquet"
    )
    (folder / "labels.csv").write_text("no,fraud,arrived_at\n3,1,9\n")
    (folder / "rings.csv").write_text("no,ring\n3,1\n")
    (folder / "other.csv").write_text("customer,city\n1,Bath\n")
    (folder / "features.csv").write_text("no,V1\n1,7\n")
    events = read_events(SCHEMA, [folder])
    assert events.ids == ["3", "1", "2"]
    assert [events.event(row).keys[:2] for row in range(3)] == [("d", None), ("c", None), ("c", "x")]
    assert events.inline_label.tolist() == [-1, 1, 0]
    np.testing.assert_array_equal(events.amount, [9, np.nan, np.nan])
    assert np.isnan(events.numerics).all()


def test_side_files_that_contradict_themselves_keep_the_first_row(tmp_path: Path) -> None:
    events = read(tmp_path, "no,at,card\n1,5,c\n", ("b.csv", "no,device_id\n1,x\n1,x\n1,y\n"))
    assert events.event(0).keys[1] == "x"
    assert problems(events) == [(3, "no", "id repeated with other content")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "no,When,card\n1,1,c\n",
            r"transaction\.time: expected the column 'at' \(schema\.toml line 8\).*a\.csv has 'no",
        ),
        (
            "nr,at,card\n1,1,c\n",
            r"transaction\.id: expected the column 'no' \(schema\.toml line 7\).*near: nr",
        ),
        ("no,at,city\n1,1,c\n", r"entities: expected at least one column of a relation or of numerics"),
        ("no,at,card,card\n1,1,c,c\n", r"card: expected one column of this name"),
        ("", r"data: expected a header in"),
        ("no;at;card\n1;1;c\n", r"data: expected commas .*a\.csv', got semicolons: 'no;at;card'"),
        ("no\tat\tcard\n1\t1\tc\n", r"data: expected commas .*a\.csv', got tabs"),
    ],
)
def test_data_of_another_form_are_refused_by_column_and_line(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=message):
        read(tmp_path, text)


def test_only_a_column_that_is_really_near_is_taken_for_a_misspelling(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"expected the column 'at'") as caught:
        read(tmp_path, "no,weight,city\n1,1,c\n")
    assert "near" not in str(caught.value)


@pytest.mark.parametrize("values", [[{"a": 67}], [["x"]]])
def test_a_column_of_lists_or_structs_is_named_with_its_type(tmp_path: Path, values: list[Any]) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"no": ["1"], "at": [5], "card": values, "unused": [[1]]}), path)
    with pytest.raises(
        InvalidInput, match=r"card: expected single values .*a\.parquet', got '(list|struct)<"
    ):
        read_events(SCHEMA, [path])
    with pytest.raises(InvalidInput, match=r"card: expected single values"):
        extract(Order(SCHEMA, (path,), tmp_path / "out"))
    pq.write_table(pa.table({"no": [["1"]], "value": [1], "arrived_at": [5]}), path)
    with pytest.raises(InvalidInput, match=r"no: expected single values"):
        read_labels(SCHEMA, None, path)


def test_times_may_be_decimals_whole_or_not(tmp_path: Path) -> None:
    for texts, seconds in ((["5.00", "7.00"], [5, 7]), (["5.25", "7.00"], [5.25, 7])):
        times = pa.array([Decimal(one) for one in texts], pa.decimal128(10, 2))
        pq.write_table(pa.table({"no": ["1", "2"], "at": times, "card": ["c", "d"]}), tmp_path / "a.parquet")
        events = read_events(SCHEMA, [tmp_path / "a.parquet"])
        assert problems(events) == []
        assert (events.ts - START_US).tolist() == [one * 1_000_000 for one in seconds]


def test_paths_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "empty").mkdir()
    for name in ("none.csv", "empty", "broken.parquet"):
        with pytest.raises(InvalidInput, match="data: expected"):
            read_events(SCHEMA, [tmp_path / name])
    (tmp_path / "blank.csv").touch()
    for name in ("none.csv", "blank.csv"):
        with pytest.raises(InvalidInput, match="labels: expected"):
            read_labels(SCHEMA, None, tmp_path / name)
    (tmp_path / "blank.csv").write_text("no;value;arrived_at\n")
    with pytest.raises(InvalidInput, match="labels: expected commas"):
        read_labels(SCHEMA, None, tmp_path / "blank.csv")


def test_a_message_is_the_transaction_that_a_file_gives(tmp_path: Path) -> None:
    lines = ["a-1,86401,12.50,13926,A@B.c,3,0.1,1e300,T,1", "b,2,,-1,,,,,,"]
    events = read(tmp_path, HEADER + "\n".join(lines) + "\n")
    for line in lines:
        texts = dict(zip(HEADER.strip().split(","), line.split(","), strict=True))
        typed = {name: _typed(text) for name, text in texts.items()}
        nested = {"transaction_data": [typed], "identity_data": [{"no": texts["no"], "device-id": None}]}
        for record in (texts, typed, nested):
            event = parse_record(SCHEMA, record)
            expected = events.event(events.ids.index(event.id))
            assert (event.ts, event.keys, event.categories) == (
                expected.ts,
                expected.keys,
                expected.categories,
            )
            np.testing.assert_array_equal(event.numerics, expected.numerics)
            np.testing.assert_array_equal(event.amount, expected.amount)


def _typed(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text or None


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"at": 1}, "no: expected the transaction's id, got None"),
        ({"no": "a"}, "at: expected the transaction's time, got None"),
        ({"no": "a", "at": "soon"}, "at: expected ISO 8601 or a number of s, got 'soon'"),
        ({"no": "a", "at": 1, "amount": "much"}, "amount: expected a number or nothing, got 'much'"),
        ({"no": "a", "at": 1, "amount": "inf"}, "amount: expected a finite number or nothing, got 'inf'"),
        ({"no": "a", "at": 1, "V1": 10**400}, "V1: expected a finite number or nothing"),
        ({"no": "a", "at": 1, "V1": "x"}, "V1: expected a number or nothing, got 'x'"),
        ({"no": "a", "at": 1, "card": {"x": 1}}, "card: expected a text, a number or nothing"),
        ({"transaction_data": []}, "transaction_data: expected one transaction .* got 0 in"),
        (
            {"transaction_data": [{"no": 1, "at": 1}, {"no": 2, "at": 1}]},
            "got 2 in transaction_data and 0 in identity_data; several .* as an array",
        ),
        (
            {"transaction_data": [{"no": 1, "at": 1}], "identity_data": [{"no": 2}]},
            "identity_data: expected the no",
        ),
        ([1], "transaction: expected an object"),
    ],
)
def test_a_message_that_cannot_be_used_names_field_and_value(record: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_record(SCHEMA, record)


def test_labels_stand_in_the_order_of_arrival_and_wait_for_their_transaction(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,1,c,,,,,,1\nb,2,1,c,,,,,,0\n")
    (tmp_path / "labels.csv").write_text(
        "no,value,arrived_at,note\nb,fraud,300,x\nlater,0,100,\na,1,2020-01-01T00:03:20Z,\na,huh,7,\n,1,7,\nb,,7,\nb,0,soon,\n"
    )
    labels = read_labels(SCHEMA, events, tmp_path / "labels.csv")
    assert labels.ids == ["later", "a", "b"]
    assert labels.rows.tolist() == [-1, 0, 1]
    assert labels.value.tolist() == [0, 1, 1]
    assert (labels.arrived_at - START_US).tolist() == [100_000_000, 200_000_000, 300_000_000]
    assert [row for row, _, _ in problems(labels)] == [4, 5, 6, 7]


def test_a_label_file_may_call_the_value_by_the_name_of_the_label_column(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,1,c,,,,,,1\n")
    (tmp_path / "labels.csv").write_text("no,fraud,arrived_at\na,0,5\n")
    assert read_labels(SCHEMA, events, tmp_path / "labels.csv").value.tolist() == [0]
    (tmp_path / "labels.csv").write_text("no,fraud\na,0\n")
    with pytest.raises(InvalidInput, match="arrived_at: expected this column"):
        read_labels(SCHEMA, events, tmp_path / "labels.csv")


def test_inline_labels_become_known_after_the_delay(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,1,c,,,,,,1\nb,2,1,c,,,,,,\nc,3,1,c,,,,,,false\n")
    labels = read_labels(SCHEMA, events, None)
    assert (labels.rows.tolist(), labels.value.tolist()) == ([0, 2], [1, 0])
    assert (labels.arrived_at - events.ts[labels.rows]).tolist() == [7 * DAY_US] * 2


def test_some_of_the_transactions_keep_what_they_are(tmp_path: Path) -> None:
    events = read(tmp_path, HEADER + "a,1,1,c,,,,,T,1\nb,2,2,d,,,,,F,\nc,3,3,c,,,,,,\n")
    for rows in (np.array([2, 0]), np.array([True, False, True])):
        some = events.take(rows)
        for place, identity in enumerate(some.ids):
            whole = events.event(events.ids.index(identity))
            found = some.event(place)
            assert (found.ts, found.keys, found.amount, found.categories) == (
                whole.ts,
                whole.keys,
                whole.amount,
                whole.categories,
            )
