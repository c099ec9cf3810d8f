"""Relations of a graph are found again under other file names; what a model does not know, or misses, is told."""

import csv
import json
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as parquet
import pytest

from masthead.cli.main import run
from masthead.fraud.networks.graph_samples import make_sample, write_sample

QUICK = ["--n-epochs", "2", "--n-hidden", "8", "--embedding-size", "4"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with nodes.csv, device.csv, transfers.csv and a model of them."""
    folder = tmp_path_factory.mktemp("matching")
    write_sample(make_sample("relational", nodes=240, edges=2_400), folder / "graph")
    transfers = parquet.read_table(folder / "graph" / "relation_transfers_edgelist.parquet")
    pacsv.write_csv(transfers, folder / "transfers.csv")
    for name, source in (("nodes", "features"), ("labels", "tags"), ("device", "relation_device_edgelist")):
        (folder / f"{name}.csv").write_bytes((folder / "graph" / f"{source}.csv").read_bytes())
    words = ["fraud", "graph", "train", "--nodes", str(folder / "nodes.csv"), "--edges", edges(folder)]
    assert run([*words, "--labels", str(folder / "labels.csv"), "--out", str(folder / "m"), *QUICK]) == 0
    return folder


def edges(folder: Path, *names: str) -> str:
    return ",".join(str(folder / f"{name}.csv") for name in names or ("device", "transfers"))


def predict(made: Path, given: str, out: Path) -> tuple[int, list[list[str]]]:
    words = ["fraud", "graph", "predict", "--model", str(made / "m"), "--nodes", str(made / "nodes.csv")]
    status = run([*words, "--edges", given, "--out", str(out), "--json"])
    return status, list(csv.reader(out.read_text().splitlines())) if status == 0 else []


def test_edge_lists_under_other_file_names_give_the_same_scores(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("device", "transfers"):
        (tmp_path / f"{name}_may.csv").write_bytes((made / f"{name}.csv").read_bytes())
    _, usual = predict(made, edges(made), tmp_path / "usual.csv")
    told = capsys.readouterr()
    assert json.loads(told.out)["relations"] == {"used": 2, "renamed": {}, "unknown": [], "missing": []}
    assert "relation" not in told.err
    status, renamed = predict(made, edges(tmp_path, "device_may", "transfers_may"), tmp_path / "renamed.csv")
    told = capsys.readouterr()
    assert (status, renamed) == (0, usual)
    relations = json.loads(told.out)["relations"]
    assert relations["renamed"] == {"device_may": "device", "transfers_may": "transfers"}
    assert "relation device_may: read as device" in told.err


def test_unknown_and_missing_relations_are_told_and_counted(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shops.csv").write_text("user_id,shop\nu1,s1\nu2,s1\n")
    given = f"{edges(made, 'transfers')},{tmp_path / 'shops.csv'}"
    status, _ = predict(made, given, tmp_path / "s.csv")
    told = capsys.readouterr()
    assert status == 0
    assert json.loads(told.out)["relations"] == {
        "used": 1,
        "renamed": {},
        "unknown": ["shops"],
        "missing": ["device"],
    }
    assert "relation shops of user_id and shop: the model does not know it" in told.err
    assert "relation device of user_id and device: trained on, but no edge list" in told.err


def test_two_files_of_one_kind_are_not_guessed_apart(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_bytes((made / "device.csv").read_bytes())
    given = f"{edges(made, 'transfers')},{edges(tmp_path, 'one', 'two')}"
    status, _ = predict(made, given, tmp_path / "s.csv")
    relations = json.loads(capsys.readouterr().out)["relations"]
    assert status == 0
    assert (relations["unknown"], relations["missing"]) == (["one", "two"], ["device"])


def test_a_graph_without_any_trained_relation_is_refused(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shops.csv").write_text("user_id,shop\nu1,s1\nu2,s1\n")
    for given, got in (("", "no edge list"), (str(tmp_path / "shops.csv"), "shops of user_id and shop")):
        status, _ = predict(made, given, tmp_path / "s.csv")
        told = capsys.readouterr().err
        assert status == 2
        assert "edges: expected at least one relation of the model" in told
        assert "device of user_id and device" in told
        assert got in told
