"""`masthead fraud train`, `evaluate` and `score`, as they are typed."""

import io
import json

import card_events
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from masthead.cli import main as command_line

DAY = card_events.DAY


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a schema, two files of transactions, labels seven days late, and a model."""
    found = tmp_path_factory.mktemp("cards")
    events = card_events.events(2400, seed=2)

    def texts(codes, values):
        return [values[code] if code >= 0 else None for code in codes]

    names = ("card", "device", "shop", "country")
    table = pa.table(
        {
            "id": events.raw_ids,
            "time": events.raw_times,
            "amount": pa.array(events.amount, from_pandas=True),
            **{name: texts(events.codes[:, r], events.vocabularies[r]) for r, name in enumerate(names)},
            "kind": texts(events.category_codes[:, 0], events.category_values[0]),
            "age": pa.array(events.numerics[:, 0]),
        }
    )
    parquet.write_table(table.slice(0, 1000), found / "first.parquet")
    parquet.write_table(table.slice(1000), found / "second.parquet")
    labels = {"id": events.raw_ids, "value": pa.array(events.inline_label), "arrived_at": events.ts + 7 * DAY}
    parquet.write_table(pa.table(labels), found / "labels.parquet")
    (found / "schema.toml").write_text(card_events.SCHEMA)
    return found


def run(capsys, *words: object) -> tuple[int, str, str]:
    status = command_line.run([str(word) for word in words])
    told = capsys.readouterr()
    return status, told.out, told.err


def train(capsys, folder, *more: object):
    return run(
        capsys,
        *("fraud", "train", "--schema", folder / "schema.toml", "--labels", folder / "labels.parquet"),
        *("--data", folder / "first.parquet", folder / "second.parquet", "--threads", 1, *more),
    )


def test_a_model_is_trained_evaluated_and_put_to_work(capsys, folder, monkeypatch):
    until = card_events.BEGIN + 65 * DAY
    status, out, err = train(capsys, folder, "--train-until", until, "--model", folder / "m", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert set(told) == {
        "model_id",
        "rows",
        "positives",
        "excluded_immature",
        "validation",
        "thresholds",
        "columns_absent",
        "seconds",
    }
    assert told["rows"] > 1500
    status, out, err = run(
        capsys,
        *(
            "fraud",
            "evaluate",
            "--model",
            folder / "m",
            "--labels",
            folder / "labels.parquet",
            "--data",
            folder,
        ),
        *(
            "--test-from",
            until,
            "--test-until",
            "2030-01-01",
            "--scores",
            folder / "out" / "s.parquet",
            "--json",
        ),
    )
    assert status == 0, err
    metrics = json.loads(out)
    scores = parquet.read_table(folder / "out" / "s.parquet")
    assert scores.num_rows == metrics["n"] > 400
    assert metrics["average_precision"] > 0.4
    assert scores.column_names == ["id", "time", "score", "label"]
    lines = [
        {"id": "live", "time": int(until), "card": "card7", "amount": 12.5},
        {"id": "late"},
        {"id": "live", "time": int(until), "card": "card7", "amount": 12.5},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, lines)) + "\nno json\n"))
    status, out, err = run(
        capsys, "fraud", "score", "--model", folder / "m", "--data", folder / "first.parquet"
    )
    answers = [json.loads(line) for line in out.splitlines()]
    assert status == 2
    assert "2 of the lines" in err
    assert answers[0] == answers[2]
    assert answers[0]["action"] in ("pass", "review", "block")
    assert (answers[1]["line"], answers[3]["line"]) == (2, 4)
    assert "time" in answers[1]["error"]["message"]


def test_an_empty_window_ends_with_2_and_says_what_the_data_have(capsys, folder):
    status, _, err = train(capsys, folder, "--train-until", "2001-01-01", "--model", folder / "none")
    assert status == 2
    assert "expected labelled transactions" in err
    assert not (folder / "none").exists()


def test_a_model_that_is_none_ends_with_an_error(capsys, folder):
    words = ("--data", folder / "first.parquet", "--test-from", 0, "--test-until", 1)
    status, _, err = run(capsys, "fraud", "evaluate", "--model", folder, *words)
    assert status == 1
    assert "card.json" in err


def test_data_of_another_kind_are_refused_with_the_columns_that_were_expected(capsys, folder, tmp_path):
    status, _, err = train(capsys, folder, "--model", folder / "m2")
    assert status == 0, err
    other = pa.table({"id": ["a", "b"], "time": np.array([1, 2]), "amount": [1.0, 2.0], "iban": ["x", "y"]})
    parquet.write_table(other, tmp_path / "other.parquet")
    words = ("--data", tmp_path / "other.parquet", "--test-from", 0, "--test-until", 1)
    status, _, err = run(capsys, "fraud", "evaluate", "--model", folder / "m2", *words)
    assert status == 2
    assert "card" in err
