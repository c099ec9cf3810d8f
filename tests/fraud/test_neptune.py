"""A graph that is written for Neptune reads as the transactions that it was made of."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.data.events import read_events
from masthead.fraud.data.generate import generate
from masthead.fraud.data.neptune import export, read_neptune
from masthead.fraud.data.schema import Schema

TEXT = """
numerics = ["V1"]
categoricals = ["M1"]
[transaction]
id = "no"
time = "at"
amount = "amount"
[label]
column = "fraud"
[entities]
card = "card"
client = { columns = ["card", "mail"] }
"""
DATA = (
    "no,at,amount,card,mail,V1,M1,fraud\n"
    'a-1,2020-01-01T00:00:00.123456Z,0.1,"x, ""y""",a-b,0.1,T,1\n'
    "b,2019-12-31,,,c,,,\n"
    '"q""1",2020-01-02,-3,x-1,a-b,7,,0\n'
)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_year_has_four_digits(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("no,at,amount,card,mail\na,0001-01-01T00:00:00Z,1,x,y\n")
    schema = Schema.parse(TEXT)
    export(schema, read_events(schema, [tmp_path / "a.csv"]), tmp_path / "out")
    (vertex,) = rows(tmp_path / "out" / "vertices_transaction.csv")
    assert vertex["ts:Date"] == "0001-01-01T00:00:00Z"


def test_vertices_and_edges_have_the_form_of_the_bulk_loader(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(DATA)
    schema = Schema.parse(TEXT)
    done = export(schema, read_events(schema, [tmp_path / "a.csv"]), tmp_path / "out")
    assert (done.transactions, done.entities, done.edges) == (3, 4, 4)
    assert (tmp_path / "out" / "vertices_transaction.csv").read_text().splitlines()[0] == (
        "~id,~label,props_values:String,amount:Double,ts:Date"
    )
    vertices = rows(tmp_path / "out" / "vertices_transaction.csv")
    assert [row["~id"] for row in vertices] == ["t-b", "t-a-1", 't-q"1']
    assert (vertices[1]["ts:Date"], vertices[1]["amount:Double"]) == ("2020-01-01T00:00:00Z", "0.1")
    assert json.loads(vertices[1]["props_values:String"]) == {
        "time_us": 1_577_836_800_123_456,
        "V1": 0.1,
        "M1": "T",
        "fraud": 1,
    }
    assert rows(tmp_path / "out" / "edges_card.csv") == [
        {"~id": "t-a-1|card", "~from": "t-a-1", "~to": 'card-x, "y"', "~label": "card"},
        {"~id": 't-q"1|card', "~from": 't-q"1', "~to": "card-x-1", "~label": "card"},
    ]
    assert [row["~id"] for row in rows(tmp_path / "out" / "vertices_client.csv")] == [
        'client-["x, \\"y\\"","a-b"]',
        'client-["x-1","a-b"]',
    ]
    assert "mergeE" in (tmp_path / "out" / "load.groovy").read_text()


@pytest.mark.parametrize("kind", ["small", "generated"])
def test_what_is_written_reads_as_the_same_transactions(kind: str, tmp_path: Path) -> None:
    if kind == "small":
        (tmp_path / "a.csv").write_text(DATA)
        (tmp_path / "schema.toml").write_text(TEXT)
    else:
        generate(300, 5, tmp_path)
    schema = Schema.read(tmp_path / "schema.toml")
    events = read_events(schema, [tmp_path])
    export(schema, events, tmp_path / "out")
    again = read_neptune(Schema.read(tmp_path / "out" / "schema.toml"), tmp_path / "out")
    assert again.ids == events.ids
    for name in ("ts", "amount", "numerics", "inline_label"):
        np.testing.assert_array_equal(getattr(again, name), getattr(events, name))
    for row in range(len(events)):
        one, other = events.event(row), again.event(row)
        assert (one.keys, one.categories) == (other.keys, other.categories)


def test_a_vertex_that_is_none_is_a_problem_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(DATA)
    schema = Schema.parse(TEXT)
    export(schema, read_events(schema, [tmp_path / "a.csv"]), tmp_path / "out")
    path = tmp_path / "out" / "vertices_transaction.csv"
    bad = 't-z,transaction,"{",,\nt-b,transaction,"{""time_us"": 1}",,\nt-y,transaction\n'
    path.write_text(path.read_text() + bad)
    edges = tmp_path / "out" / "edges_card.csv"
    edges.write_text(edges.read_text() + "t-b|card,t-b\n")
    events = read_neptune(schema, tmp_path / "out")
    assert events.ids == ["b", "a-1", 'q"1']
    problems = {(row["file"], row["row"]): row["reason"] for row in events.problems.to_pylist()}
    assert sorted(problems) == [
        ("edges_card.csv", 3),
        ("vertices_transaction.csv", 4),
        ("vertices_transaction.csv", 5),
        ("vertices_transaction.csv", 6),
    ]
    assert problems["vertices_transaction.csv", 6] == "expected 5 columns, got 2"
    assert events.source is not None
    assert (events.source.read, events.source.refused) == (6, 3)
    with pytest.raises(InvalidInput, match=r"expected vertices_transaction\.csv"):
        read_neptune(schema, tmp_path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InvalidInput, match="data: expected the columns ~id"):
        read_neptune(schema, tmp_path / "out")


@pytest.mark.parametrize("name", ["t", "card-x"])
def test_relations_whose_nodes_could_be_taken_for_others_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(DATA)
    schema = Schema.parse(TEXT + f'"{name}" = "mail"\n')
    with pytest.raises(InvalidInput, match=f"entities.{name}: expected a name"):
        export(schema, read_events(schema, [tmp_path / "a.csv"]), tmp_path / "out")
