"""ETL writes the files of a graph: what the scorer reads is what stands in them, on each engine."""

import csv
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from small_table import EVENTS, SCHEMA, write_data

from masthead.base.errors import InvalidInput
from masthead.fraud.data.canonical import FAULTS, Files, canonical, of_events, shape_of
from masthead.fraud.data.etl import Order, extract
from masthead.fraud.data.events import read_events, read_labels
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import match, read_names
from masthead.fraud.scoring.truth import end_of, outcome
from masthead.store.tables import connect

# Ibis asks DuckDB by a name that its newest version calls old.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")


def texts(path: Path) -> list[list[str]]:
    """Return the cells of a CSV file as they stand there."""
    with path.open(newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_data(tmp_path / "data")


def test_the_files_are_those_of_the_contract(data: Path, tmp_path: Path) -> None:
    done = extract(Order(SCHEMA, (data,), tmp_path / "out", format="both", test_from="2020-01-01T00:00:03Z"))
    out = tmp_path / "out"
    assert texts(out / "features.csv") == [
        ["no", "amount", "amount_refund", "V1", "V2", "M1_F"],
        ["007", "-2.0", "0", "9.0", "0.0", "1"],
        ["c", "-2.0", "1", "0.0", "2.0", "0"],
        ["d", "0.0", "0", "1.0", "0.0", "0"],
        ["a-1", "1.0969100130080565", "0", "0.1", "0.0", "0"],
    ]
    assert texts(out / "tags.csv") == [["no", "fraud"], ["007", "0"], ["d", "0"], ["a-1", "1"]]
    assert texts(out / "test.csv") == [["d"], ["a-1"]]
    assert texts(out / "relation_card_edgelist.csv") == [
        ["no", "card"],
        ["007", "13926"],
        ["d", "1e5"],
        ["a-1", 'x, "y"'],
    ]
    assert texts(out / "relation_client_edgelist.csv")[1:] == [
        ["d", '["1e5","18262"]'],
        ["a-1", '["x, \\"y\\"","18260"]'],
    ]
    assert texts(out / "relation_mail_edgelist.csv")[1:] == [["d", "a b"], ["a-1", "a@b.c"]]
    assert texts(out / "relation_device_edgelist.csv")[1:] == [["007", "k1"]]
    edges = pq.read_table(out / "relation_card_edgelist.parquet")
    assert edges.column_names == ["no", "card", "time"]
    assert edges["time"].to_pylist()[0] == 1_577_836_801_000_000
    assert (done.transactions, done.test, done.positives, done.problems) == (4, 2, 1, {})
    assert done.tables["relation_device_edgelist"] == 1


def same_rows(schema: Schema, files: Files) -> None:
    """Assert that the engine's expressions and the reader of the scorer give one table."""
    there = {
        one for path in (*files.events, *files.sides) for one in match(read_names(path), schema.columns())
    }
    shape = shape_of(schema, frozenset(there))
    rows = canonical(connect(), shape, files).order_by(["ts", "id"]).to_pyarrow()
    assert not any(rows[FAULTS].to_pylist())
    read = of_events(shape, read_events(schema, [*files.events, *files.sides])).sort_by(
        [("ts", "ascending"), ("id", "ascending")]
    )
    for name in shape.names():
        assert rows[name].to_pylist() == read[name].to_pylist(), name


def test_the_engine_and_the_reader_of_the_scorer_give_the_same_rows(data: Path, tmp_path: Path) -> None:
    same_rows(SCHEMA, Files((data / "events.csv",), (data / "side.csv",)))
    generate(500, 3, tmp_path / "made")
    made = [tmp_path / "made" / f"train_{name}.csv" for name in ("transaction", "identity")]
    same_rows(Schema.read(tmp_path / "made" / "schema.toml"), Files((made[0],), (made[1],)))
    for path in made:
        pq.write_table(pc.read_csv(path), path.with_suffix(".parquet"))
    both = [path.with_suffix(".parquet") for path in made]
    same_rows(Schema.read(tmp_path / "made" / "schema.toml"), Files((both[0],), (both[1],)))


def test_event_files_of_several_forms_are_one_data_set(tmp_path: Path) -> None:
    schema = Schema.parse(
        'numerics = ["x"]\n[transaction]\nid = "no"\ntime = "at"\n[entities]\ncard = "card"\nshop = "shop"\n'
    )
    (tmp_path / "a.csv").write_text("no,at,card,x\n1,2020-01-01T00:00:00Z,13,1.5\n")
    times = pa.array(["2020-01-02T00:00:00.5"]).cast(pa.timestamp("us"))
    pq.write_table(
        pa.table({"no": [2.0], "at": times, "card": [13.0], "shop": ["s"]}), tmp_path / "b.parquet"
    )
    files = Files((tmp_path / "a.csv", tmp_path / "b.parquet"), ())
    there = frozenset({"no", "at", "card", "shop", "x"})
    rows = canonical(connect(), shape_of(schema, there), files).order_by("ts").to_pyarrow()
    assert rows["id"].to_pylist() == ["1", "2"]
    assert rows["k0"].to_pylist() == ["13", "13"]
    assert rows["k1"].to_pylist() == [None, "s"]
    assert rows["n0"].to_pylist() == [1.5, None]


def test_bad_rows_go_to_the_problems_and_the_others_to_the_files(data: Path, tmp_path: Path) -> None:
    further = ",4,1,c,,,,,,\ne,soon,1,c,,,,,,\nf,5,much,c,,,,,,1\na-1,86401,99,x,,,,,,\ng,7\n"
    (data / "events.csv").write_text(EVENTS + further)
    done = extract(Order(SCHEMA, (data,), tmp_path / "out"))
    assert [row[0] for row in texts(tmp_path / "out" / "tags.csv")[1:]] == ["007", "d", "f", "a-1"]
    problems = pq.read_table(tmp_path / "out" / "problems.parquet").to_pylist()
    assert {(row["row"], row["column"]) for row in problems} == {
        (5, "no"),
        (6, "at"),
        (7, "amount"),
        (8, "no"),
        (9, ""),
    }
    assert done.problems["no id"] == 1
    assert done.problems["id repeated with other content"] == 1
    again = extract(Order(SCHEMA, (data / "events.csv",), tmp_path / "out"))
    assert again.absent == ("device",)


def test_labels_of_a_file_are_the_tags_as_training_takes_them(data: Path, tmp_path: Path) -> None:
    schema = replace(SCHEMA, maturity_us=86_400_000_000)
    marks = tmp_path / "labels.csv"
    marks.write_text(
        "no,value,arrived_at\nc,0,90000\nc,fraud,5\n007,1,10\nnobody,1,100000\n,1,7\nd,maybe,8\n"
    )
    done = extract(Order(schema, (data,), tmp_path / "out", labels=marks))
    # Of several the latest arrival; d was never called fraud for a day, of a-1 nobody knows yet.
    assert texts(tmp_path / "out" / "tags.csv") == [["no", "fraud"], ["007", "1"], ["c", "0"], ["d", "0"]]
    assert (done.positives, sum(done.problems.values())) == (1, 2)
    problems = pq.read_table(tmp_path / "out" / "problems.parquet").to_pylist()
    assert [(row["row"], row["file"]) for row in problems] == [(5, "labels.csv"), (6, "labels.csv")]
    events = read_events(schema, [data])
    labels = read_labels(schema, events, marks)
    truth = outcome(schema, events, labels, until=end_of(events, labels), from_file=True)
    assert dict(zip(events.ids, truth.value.tolist(), strict=True)) == {"007": 1, "c": 0, "d": 0, "a-1": -1}
    marks.write_text("no,value\n007,1\n")
    with pytest.raises(InvalidInput, match="arrived_at: expected this column"):
        extract(Order(schema, (data,), tmp_path / "out", labels=marks))


def test_the_last_fifth_is_held_out_and_columns_are_learned_on_the_others(tmp_path: Path) -> None:
    rows = "".join(f"t{row},{row},1,c,,,,,{'late' if row > 7 else 'T'},\n" for row in range(10))
    (tmp_path / "a.csv").write_text(EVENTS.splitlines()[0] + "\n" + rows)
    done = extract(Order(SCHEMA, (tmp_path / "a.csv",), tmp_path / "out"))
    assert done.test == 2
    assert texts(tmp_path / "out" / "test.csv") == [["t8"], ["t9"]]
    assert texts(tmp_path / "out" / "features.csv")[0][-1] == "M1_T"


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(EVENTS.splitlines()[0] + "\n")
    with pytest.raises(InvalidInput, match="data: expected at least one usable transaction, got none"):
        extract(Order(SCHEMA, (tmp_path / "a.csv",), tmp_path / "out"))
    assert not (tmp_path / "out" / "features.csv").exists()


def test_what_is_not_asked_for_rightly_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="format: expected csv, parquet or both"):
        extract(Order(SCHEMA, (data,), tmp_path, format="json"))
    with pytest.raises(InvalidInput, match="engine: expected duckdb or spark"):
        extract(Order(SCHEMA, (data,), tmp_path, engine="polars"))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="test_from: expected ISO 8601 or a number of s, got 'soon'"):
        extract(Order(SCHEMA, (data,), tmp_path, test_from="soon"))
