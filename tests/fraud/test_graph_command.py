"""`masthead fraud graph train|predict`, as a user types them."""

import csv
import json
import os
import pty
import re
import threading
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as parquet
import pytest

from masthead.cli.main import run
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.networks.graph_samples import make_sample, write_sample

QUICK = ["--n-epochs", "3", "--n-hidden", "8", "--embedding-size", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    write_sample(make_sample("relational", nodes=240, edges=2_400), folder)
    return folder


def test_training_prints_the_articles_lines_and_predicting_writes_a_row_for_each_target(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, scores = tmp_path / "model", tmp_path / "scores.csv"
    assert run(["fraud", "graph", "train", "--data", str(data), "--out", str(model), *QUICK, "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for number, line in enumerate(lines[:3]):
        pattern = rf"Epoch 0000{number} \| Time\(s\) \d+\.\d{{4}} \| Loss \d+\.\d{{4}} \| f1 [01]\.\d{{4}}"
        assert re.fullmatch(pattern, line), line
    at = lines.index("Metrics")
    assert lines[at + 1] == "Confusion Matrix:"
    assert lines[at + 2] == "                     labels positive  labels negative"
    assert re.fullmatch(r"predicted positive {8,}\d+ {8,}\d+", lines[at + 3])
    assert {len(line) for line in lines[at + 2 : at + 5]} == {53}
    number = r"[01]\.\d{4}"
    names = ("f1", "precision", "recall", "acc", "roc", "pr", "ap")
    assert re.fullmatch(", ".join(f"{name}: {number}" for name in names), lines[at + 5])
    found = json.loads(lines[-1])
    assert set(found) == {
        "n_test",
        "confusion",
        "f1",
        "precision",
        "recall",
        "accuracy",
        "roc_auc",
        "pr_auc",
        "ap",
        "epochs",
        "seconds",
    }
    assert found["n_test"] == sum(found["confusion"].values()) == 60
    assert found["epochs"] == 3

    assert (
        run(["fraud", "graph", "predict", "--model", str(model), "--data", str(data), "--out", str(scores)])
        == 0
    )
    assert capsys.readouterr().out == f"240 scores in {scores}\n"
    with scores.open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["user_id", "score"]
    assert [row[0] for row in rows[1:]] == [f"u{place}" for place in range(240)]
    assert all(0 <= float(row[1]) <= 1 for row in rows[1:])

    (tmp_path / "some.csv").write_text("u17\nu3\n")
    command = ["fraud", "graph", "predict", "--model", str(model), "--data", str(data), "--out", str(scores)]
    assert run([*command, "--ids", str(tmp_path / "some.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 2
    with scores.open() as file:
        assert [row[1] for row in csv.reader(file)][1:] == [rows[18][1], rows[4][1]]


def test_the_threshold_and_whether_trees_help_are_as_the_command_says(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {}
    for threshold, more in (("0", []), ("1", ["--no-blend"])):
        out = tmp_path / threshold
        words = ["--data", str(data), "--out", str(out), *QUICK, "--threshold", threshold, *more, "--json"]
        assert run(["fraud", "graph", "train", *words]) == 0
        found[threshold] = json.loads(capsys.readouterr().out.splitlines()[-1])["confusion"]
    frauds = found["0"]["tp"]
    assert 0 < frauds < 60
    assert found["0"] == {"tp": frauds, "fp": 60 - frauds, "fn": 0, "tn": 0}
    assert found["1"] == {"tp": 0, "fp": 0, "fn": frauds, "tn": 60 - frauds}
    assert GraphModel.load(tmp_path / "1").blend == ("network",)
    assert GraphModel.load(tmp_path / "0").blend != ("network",), "three epochs rank worse than the trees"


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fraud", "graph", "train", "--data", str(data), "--out", str(tmp_path / "m"), *QUICK]
    assert run(command) == 0
    assert capsys.readouterr().err == ""
    ours, theirs = pty.openpty()
    drawn: list[bytes] = []

    def read() -> None:
        try:
            while piece := os.read(ours, 65_536):
                drawn.append(piece)
        except OSError:  # the other end was closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setenv("TERM", "xterm")
    try:
        with os.fdopen(theirs, "w") as terminal:
            monkeypatch.setattr("sys.stderr", terminal)
            assert run(command) == 0
    finally:
        monkeypatch.undo()
        reader.join(10)
        os.close(ours)
    text = b"".join(drawn).decode()
    assert "━" in text
    assert "3/3" in text
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines[:3]] == ["Epoch 00000", "Epoch 00001", "Epoch 00002"]


def test_files_of_other_names_train_the_same_model(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transfers = parquet.read_table(data / "relation_transfers_edgelist.parquet")
    pacsv.write_csv(transfers.rename_columns(["src", "dst", "amount"]), tmp_path / "transfers.csv")
    owned = tmp_path / "device.csv"
    owned.write_bytes((data / "relation_device_edgelist.csv").read_bytes())
    named = ["--nodes", str(data / "features.csv"), "--edges", f"{owned},{tmp_path}/transfers.csv"]
    named += ["--labels", str(data / "tags.csv"), "--test", str(data / "test.csv")]
    told = []
    for given in (["--data", str(data)], named):
        out = ["--out", str(tmp_path / "m"), "--no-blend", "--json"]
        assert run(["fraud", "graph", "train", *given, *out, *QUICK]) == 0
        told.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert [{**one, "seconds": 0} for one in told[:1]] == [{**one, "seconds": 0} for one in told[1:]]
    assert (
        run(
            [
                "fraud",
                "graph",
                "predict",
                "--model",
                str(tmp_path / "m"),
                *named[:4],
                "--out",
                str(tmp_path / "s"),
            ]
        )
        == 0
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--out", "m"], "data: expected --data DIR, or --nodes FILE with --edges, and not both"),
        (["--data", "nowhere", "--out", "m"], "data: expected an existing folder, got 'nowhere'"),
        (["--data", "nowhere", "--labels", "x", "--out", "m"], "with --nodes only"),
        (
            ["--data", "nowhere", "--out", "m", "--optimizer", "lion"],
            "optimizer: expected adam, adamw, sgd, got 'lion'",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    given: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["fraud", "graph", "train", *given]) != 0
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("verb", "given"),
    [
        ("train", ["--data", "nowhere"]),
        ("train", ["--nodes", "nowhere.csv"]),
        ("train", ["--nodes", "nodes.csv", "--edges", "nowhere.csv"]),
        ("predict", ["--model", "nowhere", "--nodes", "nodes.csv"]),
    ],
)
def test_a_path_that_leads_nowhere_is_invalid_input_and_is_named(
    verb: str,
    given: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nodes.csv").write_text("id,x\na,1\nb,2\n")
    assert run(["fraud", "graph", verb, *given, "--out", "m"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_folder_of_something_else_is_not_written_over(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    assert run(["fraud", "graph", "train", "--data", str(data), "--out", str(tmp_path), *QUICK]) == 2
    assert "out: expected a new folder or one of a model" in capsys.readouterr().err
