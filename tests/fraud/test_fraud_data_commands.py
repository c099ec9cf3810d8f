"""The commands of fraud's data say what they did, and what they could not use."""

import json
from pathlib import Path

import pytest

from masthead.cli.main import run

# Ibis asks DuckDB by a name that its newest version calls old.
pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")


def test_what_is_generated_becomes_a_graph_from_several_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards, graph = tmp_path / "cards", tmp_path / "graph"
    assert (
        run(["fraud", "generate", "--transactions", "100", "--seed", "3", "--out", str(cards), "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["frauds"] == 3
    paths = [str(cards / "train_transaction.csv"), str(cards / "train_identity.csv")]
    given = ["--schema", str(cards / "schema.toml"), "--data", *paths]
    assert run(["fraud", "etl", *given, "--out", str(graph), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["transactions"], done["test"], done["absent"]) == (100, 20, [])
    (tmp_path / "labels.csv").write_text("TransactionID,value,arrived_at\n2987000,fraud,2020-01-01\n")
    labels = ["--labels", str(tmp_path / "labels.csv")]
    assert run(["fraud", "etl", *given, *labels, "--out", str(graph), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["positives"] == 1
    assert run(["fraud", "export", *given, "--out", str(tmp_path / "neptune")]) == 0
    assert capsys.readouterr().out.startswith("100 transactions, ")


def test_problems_and_absent_columns_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cards = tmp_path / "cards"
    run(["fraud", "generate", "--transactions", "50", "--out", str(cards)])
    (cards / "train_identity.csv").unlink()
    with (cards / "train_transaction.csv").open("a") as file:
        file.write("1,2\n")
    capsys.readouterr()
    given = ["--schema", str(cards / "schema.toml"), "--data", str(cards), "--out", str(tmp_path / "graph")]
    assert run(["fraud", "etl", *given, "--checksums"]) == 0
    told = capsys.readouterr().out
    assert "the data lack id_19, id_20, id_30, id_31, DeviceType, DeviceInfo" in told
    assert "1 times: expected 43 columns" in told
    assert "CHECKSUM" in told


def test_a_renamed_column_ends_with_2_and_names_the_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = tmp_path / "cards"
    run(["fraud", "generate", "--transactions", "5", "--out", str(cards)])
    path = cards / "train_transaction.csv"
    path.write_text(path.read_text().replace("TransactionDT", "TransactionDay"))
    for verb in ("etl", "export"):
        given = [
            "--schema",
            str(cards / "schema.toml"),
            "--data",
            str(cards),
            "--out",
            str(tmp_path / "graph"),
        ]
        assert run(["fraud", verb, *given]) == 2
        told = capsys.readouterr().err
        assert "transaction.time: expected the column 'TransactionDT' (schema.toml line 9)" in told
        assert "near: TransactionDay" in told
    assert run(["fraud", "export", *given, "--format", "csv"]) == 2


def test_a_split_behind_all_data_is_told_and_a_time_that_is_none_is_named_as_its_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = tmp_path / "cards"
    run(["fraud", "generate", "--transactions", "50", "--out", str(cards)])
    given = ["fraud", "etl", "--schema", str(cards / "schema.toml"), "--data", str(cards)]
    given += ["--out", str(tmp_path / "graph")]
    capsys.readouterr()
    assert run([*given, "--test-from", "2030-01-01"]) == 0
    assert "--test-from 2030-01-01: no transaction is that late; 0 of 50" in capsys.readouterr().err
    assert run([*given, "--test-from", "2001-01-01"]) == 0
    assert "all transactions are that late; 50 of 50" in capsys.readouterr().err
    assert run([*given, "--test-from", "2018-03-01"]) == 0
    assert "late" not in capsys.readouterr().err
    assert run([*given, "--test-from", "never"]) == 2
    assert "--test-from: expected ISO 8601 or a number of s, got 'never'" in capsys.readouterr().err


def test_absent_columns_of_the_contest_are_told_as_ranges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("TransactionID,TransactionDT,card1,V1,V2,isFraud\n1,86400,7,1,1,0\n")
    given = ["--schema", "ieee-cis", "--data", str(tmp_path / "t.csv"), "--out", str(tmp_path / "graph")]
    assert run(["fraud", "etl", *given]) == 0
    (told,) = [line for line in capsys.readouterr().out.splitlines() if "lack" in line]
    assert "V3-V339" in told
    assert "id_01-id_38" in told
    assert len(told) < 400
