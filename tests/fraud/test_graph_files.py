"""The file contract: what a folder of features, tags, test ids and edge lists means."""

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from masthead.base.errors import InvalidInput, NotFound
from masthead.fraud.data.values import key_text
from masthead.fraud.networks.graph import Graph
from masthead.fraud.networks.graph_files import read_graph, read_graph_files
from masthead.fraud.networks.graph_tables import texts


def folder(place: Path, **files: str) -> Path:
    """Write files of the contract; `card1` is the edge list of that relation."""
    known = {"features", "tags", "test"}
    for name, text in files.items():
        (place / (f"{name}.csv" if name in known else f"relation_{name}_edgelist.csv")).write_text(text)
    return place


BASE = {
    "features": "TransactionID,amount,old\n3663549,1.5,\n3663550,2,3\n007,,4\n",
    "tags": "TransactionID,isFraud\n3663549,1\n3663550,\n007,0\n",
    "test": "3663550\n",
    "card1": 'TransactionID,card1\n"3663549",13926\n3663550,13926\n007,"a-1,""b"""\n',
}


def pairs(graph: Graph, place: int = 0) -> list[tuple[str, str]]:
    edges = graph.relations[place]
    sources, targets = graph.ids[edges.source], graph.ids[edges.target]
    return [(sources[a], targets[b]) for a, b in zip(edges.sources, edges.targets, strict=True)]


def test_a_folder_becomes_nodes_features_labels_and_edges(tmp_path: Path) -> None:
    graph = read_graph(folder(tmp_path, **BASE))
    assert graph.target == "TransactionID"
    assert graph.ids["TransactionID"] == ["3663549", "3663550", "007"]
    assert graph.columns == ("amount", "old")
    assert np.isnan(graph.features[2, 0])
    assert np.isnan(graph.features[0, 1])
    assert graph.labels.tolist() == [1, -1, 0]
    assert graph.held_out.tolist() == [False, True, False]
    assert pairs(graph) == [("3663549", "13926"), ("3663550", "13926"), ("007", 'a-1,"b"')]


def test_parquet_integers_and_csv_texts_are_the_same_nodes_and_its_time_is_no_feature(tmp_path: Path) -> None:
    folder(tmp_path, tags=BASE["tags"], card1=BASE["card1"])
    stamps = pa.array([1_500_000_000, 1_500_000_060], pa.timestamp("s", "UTC"))
    ids = pa.array([3663549, 3663550])
    parquet.write_table(
        pa.table({"TransactionID": ids, "amount": [1.5, 2.0], "time": stamps}), tmp_path / "features.parquet"
    )
    graph = read_graph(tmp_path)
    assert graph.ids["TransactionID"] == ["3663549", "3663550", "007"]
    assert graph.columns == ("amount",)
    assert graph.times is not None
    assert graph.times.tolist()[:2] == [1_500_000_000, 1_500_000_060]
    assert np.isnan(graph.times[2])


def test_an_id_is_the_same_node_however_a_file_writes_its_number(tmp_path: Path) -> None:
    graph = read_graph(
        folder(
            tmp_path,
            features="id,x\n1.0,5\n2,6\n",
            tags="id,fraud\n1,1\n2.00,0\n",
            test="2.0\n",
            card="id,card\n1,13926.0\n2.0,13926\n1,-0.0\n2,<NA>\n",
        )
    )
    assert graph.ids == {"id": ["1", "2"], "card": ["13926", "0"]}
    assert (graph.labels.tolist(), graph.held_out.tolist()) == ([1, 0], [False, True])
    assert pairs(graph) == [("1", "13926"), ("2", "13926"), ("1", "0")]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["7", "7.0", "007", "7.50", "-0.0", "-3.00", "1e5", " ", "None", "a.0", None]),
        pa.array([7.0, 7.5, float("nan"), 1e20, None]),
        pa.array([7.0, None, -0.0]),
        pa.array([Decimal("7.00"), Decimal("7.50"), Decimal("0.00")], pa.decimal128(20, 7)),
        pa.array([7, 12]),
    ],
)
def test_ids_of_a_graph_are_those_of_transactions(column: pa.Array) -> None:
    assert texts(column).to_pylist() == [key_text(one) for one in column.to_pylist()]


@pytest.mark.parametrize("name", ["test.csv", "test.csv.gz"])
def test_an_empty_file_of_test_ids_holds_nobody_out(tmp_path: Path, name: str) -> None:
    folder(tmp_path, features=BASE["features"], tags=BASE["tags"])
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    graph = read_graph(tmp_path)
    assert not graph.held_out.any()
    assert graph.notes == (f"{name}: no ids, so nobody is held out",)


def test_a_column_of_lists_or_structs_is_named_with_its_type(tmp_path: Path) -> None:
    parquet.write_table(pa.table({"id": ["a", "b"], "x": [[1], [2, 3]]}), tmp_path / "features.parquet")
    with pytest.raises(InvalidInput, match=r"x: expected single values .*features\.parquet', got 'list<"):
        read_graph(tmp_path)


def test_another_separator_than_a_comma_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"expected commas .*features\.csv', got semicolons: 'id;x'"):
        read_graph(folder(tmp_path, features="id;x\na;1\n"))


def test_a_feature_that_is_a_copy_of_the_labels_is_told(tmp_path: Path) -> None:
    features = "id,x,y\na,1,1\nb,0,0\nc,1,0\n"
    graph = read_graph(folder(tmp_path, features=features, tags="id,fraud\na,1\nb,0\nc,0\n"))
    (told,) = graph.notes
    assert told.startswith("features.csv: column y equals the labels of every labelled node")
    assert not read_graph(folder(tmp_path, tags="id,fraud\na,1\nc,1\n")).notes


def test_labels_are_no_edges(tmp_path: Path) -> None:
    tags = "id,fraud\na,1\nb,0\nc,\n"
    folder(tmp_path, features="id,x\na,1\nb,2\nc,3\n", tags=tags, other="id,flag\nb,false\na,true\n")
    folder(tmp_path, shop="id,shop\na,1\nb,1\nb,0\n")
    for name in ("tags", "relation_other_edgelist"):
        with pytest.raises(InvalidInput, match=r"edges: expected edges in (tags|other), got the labels"):
            read_graph_files(tmp_path / "features.csv", [tmp_path / f"{name}.csv"], tmp_path / "tags.csv")
    # What has two kinds by chance is a relation.
    shop = tmp_path / "relation_shop_edgelist.csv"
    assert read_graph_files(tmp_path / "features.csv", [shop], tmp_path / "tags.csv").relations


def test_part_files_and_compressed_ones_are_one_table(tmp_path: Path) -> None:
    folder(tmp_path, tags="TransactionID,isFraud\n1,1\n", card1="TransactionID,card1\n2,c\n")
    parts = tmp_path / "features.csv"
    parts.mkdir()
    (parts / "part-0000.csv").write_text("TransactionID,amount\n1,1\n")
    (parts / "part-0001.csv.gz").write_bytes(gzip.compress(b"TransactionID,amount\n2,2\n"))
    (parts / "_SUCCESS").write_text("")
    assert read_graph(tmp_path).ids["TransactionID"][:2] == ["1", "2"]
    (parts / "part-0002.csv").write_text("TransactionID,other\n3,3\n")
    with pytest.raises(InvalidInput, match=r"features\.csv: expected the header .*part-0002"):
        read_graph(tmp_path)


@pytest.mark.parametrize(
    "header", ["user_id,user_id", "user_id,user_id_dst", "user_id_1,user_id_2", "user_id,user_id.1"]
)
def test_a_relation_may_link_targets_with_targets(tmp_path: Path, header: str) -> None:
    graph = read_graph(
        folder(tmp_path, features="user_id,x\na,1\nb,2\n", transfers=f"{header}\na,b\nb,a\nb,c\n")
    )
    assert list(graph.ids) == ["user_id"]
    assert pairs(graph) == [("a", "b"), ("b", "a"), ("b", "c")]
    assert graph.ids["user_id"] == ["a", "b", "c"]
    assert "1 nodes without a row of features" in " ".join(graph.notes)


def test_targets_under_another_name_are_told(tmp_path: Path) -> None:
    graph = read_graph(folder(tmp_path, features="user_id,x\na,1\nb,2\n", gave="user_id,friend\na,b\nb,a\n"))
    assert set(graph.ids) == {"user_id", "friend"}
    assert any("friend holds ids of user_id under another name" in note for note in graph.notes)


def test_files_under_other_names_give_attributes_and_their_own_label_is_no_feature(tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("user_id,x,os,fraud\na,1,ios,1\nb,2,android,0\nc,3,ios,\n")
    (tmp_path / "transfers.csv").write_text(
        "from_user_id,to_user_id,time,amount\na,b,2017-12-08T17:49:26Z,5\nb,c,2017-12-09T00:00:00Z,\n"
    )
    (tmp_path / "met.csv").write_text("p,q\na,c\nc,b\n")
    (tmp_path / "owned.csv").write_text("user_id,card_id\na,17\nb,\n")
    edges = [tmp_path / f"{name}.csv" for name in ("transfers", "met", "owned")]
    graph = read_graph_files(tmp_path / "users.csv", edges, tmp_path / "users.csv")
    assert graph.columns == ("x",)
    assert graph.labels.tolist() == [1, 0, -1]
    assert [(one.source, one.target) for one in graph.relations] == [
        ("user_id", "user_id"),
        ("user_id", "user_id"),
        ("user_id", "card_id"),
    ]
    assert graph.relations[0].names == ("time", "amount")
    assert np.isnan(graph.relations[0].attributes[1, 1])
    assert graph.relations[0].attributes[:, 0].tolist() == [0, 22_234]
    assert graph.relations[0].clocks == {"time"}
    assert pairs(graph, 2) == [("a", "17")]
    told = " ".join(graph.notes)
    for text in ("fraud is the label and no feature", "os holds texts", "1 rows with an empty value"):
        assert text in told


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"features": "id,x\na,1\nb,zwei\nc,3\n"},
            r"features\.csv: expected a number in column 'x', row 2, got 'zwei'",
        ),
        (
            {"features": "id,x\na,1\na,2\n"},
            r"features\.csv: expected a once, got it in rows 1 and 2 with 'x' 1\.0 and 2\.0",
        ),
        ({"tags": "id,fraud\na,maybe\n"}, r"tags\.csv: expected labels 0, 1 or nothing, got 'maybe'"),
        ({"tags": "id,fraud\na,1\na,0\n"}, r"tags: expected one label for 'a'"),
        ({"card": "id\na\n"}, r"relation_card_edgelist\.csv: expected two columns of node ids, got 'id'"),
        ({"features": ""}, r"features\.csv: expected a table with columns, got an empty file"),
        ({"card": "id,card\na,b,c\n"}, r"relation_card_edgelist\.csv: expected a readable CSV"),
    ],
)
def test_what_breaks_the_contract_is_told_with_file_and_value(
    tmp_path: Path, change: dict[str, str], message: str
) -> None:
    files = {"features": "id,x\na,1\nb,2\n", "tags": "id,fraud\na,1\nb,0\n", "card": "id,card\na,1\n"}
    with pytest.raises(InvalidInput, match=message):
        read_graph(folder(tmp_path, **{**files, **change}))


def test_labels_of_ids_that_are_no_nodes_are_told(tmp_path: Path) -> None:
    base = {"features": "id,x\na,1\nb,2\n", "card": "id,card\na,1\nc,1\n"}
    graph = read_graph(folder(tmp_path, **base, tags="id,fraud\na,1\nc,0\nzz,0\n"))
    assert any("tags: 1 of 3 ids are in no row of features and in no edge" in note for note in graph.notes)
    with pytest.raises(
        InvalidInput, match=r"tags: expected ids of id that are nodes, got 0 of 2 .*'zz'.*'a'"
    ):
        read_graph(folder(tmp_path, **base, tags="id,fraud\nzz,1\nzy,0\n"))
    (tmp_path / "labels.csv").write_text("id,fraud\nzz,1\n")
    with pytest.raises(InvalidInput, match=r"labels: expected ids of id that are nodes, got 0 of 1"):
        read_graph_files(
            tmp_path / "features.csv", [tmp_path / "relation_card_edgelist.csv"], tmp_path / "labels.csv"
        )


def test_edges_that_touch_no_target_are_told(tmp_path: Path) -> None:
    base = {"features": "id,x\na,1\nb,2\n", "tags": "id,fraud\na,1\nb,0\n"}
    lost = "id,card\nx1,1\nx2,1\n"
    with pytest.raises(
        InvalidInput, match=r"edges: expected edges that touch targets with features, got 0 of 2.*'a'"
    ):
        read_graph(folder(tmp_path, **base, card=lost))
    with pytest.raises(InvalidInput, match=r"edges: expected edges that touch targets with features"):
        read_graph(folder(tmp_path, **{**base, "tags": base["tags"] + "x1,0\nx2,1\n"}, card=lost))
    folder(tmp_path, **base)
    graph = read_graph(folder(tmp_path, **base, card=lost, shop="id,shop\na,s\n"))
    assert any("relation card: 0 of 2 edges touch a target that has features" in note for note in graph.notes)


def test_infinite_features_are_missing_and_their_column_is_told(tmp_path: Path) -> None:
    graph = read_graph(folder(tmp_path, features="id,x,y\na,inf,1\nb,-inf,2\nc,3,3\n"))
    assert np.isnan(graph.features[:2, 0]).all()
    assert graph.notes == ("features.csv: 2 infinite values in column x are read as missing",)


def test_a_folder_without_features_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"expected features\.csv or features\.parquet"):
        read_graph(folder(tmp_path, tags="id,fraud\na,1\n"))
