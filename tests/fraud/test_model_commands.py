"""`masthead fraud train`, `evaluate` and `score`, as they are typed."""

import io
import json
from pathlib import Path

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
        "labels_of_unknown",
        "problems",
        "seconds",
        "peak_mb",
    }
    status_lines = Path("/proc/self/status").read_text().splitlines()
    peak_kb = next(int(line.split()[1]) for line in status_lines if line.startswith("VmHWM:"))
    assert 50 < told["peak_mb"] <= peak_kb * 1024 / 1e6 + 0.05, "rounded to a tenth"
    assert (told["labels_of_unknown"], told["problems"]) == (0, {"rows": {}, "values": {}, "labels": {}})
    assert not (folder / "m.problems.parquet").exists()
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
    assert "--train-until: expected a time after 2023-11-14" in err
    assert not (folder / "none").exists()


def test_a_model_that_is_none_ends_with_an_error(capsys, folder):
    words = ("--data", folder / "first.parquet", "--test-from", 0, "--test-until", 1)
    status, _, err = run(capsys, "fraud", "evaluate", "--model", folder, *words)
    assert status == 2
    assert "card.json" in err
    status, _, err = run(capsys, "fraud", "score", "--model", folder / "nowhere")
    assert (status, "nowhere" in err) == (2, True)
    status, _, err = train(capsys, folder, "--model", "/proc/x/y")
    assert (status, "--model: expected a folder that can be made, got '/proc/x/y'" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--train-until", "garbage"), "--train-until: expected ISO 8601 or a number of us, got 'garbage'"),
        (("--labels-until", "soon"), "--labels-until: expected ISO 8601"),
        (
            ("--train-from", "2024-01-01", "--train-until", "2023-12-01"),
            "--train-from: expected a time before",
        ),
        (("--train-from", "2030-01-01"), "--train-from: expected a time until 2024-02-11"),
    ],
)
def test_a_time_that_is_none_is_named_as_its_option(capsys, folder, words, message):
    status, _, err = train(capsys, folder, *words, "--model", folder / "none")
    assert status == 2
    assert message in err
    assert "1970" not in err


def test_data_without_labels_say_where_they_may_stand(capsys, folder):
    words = (
        "--schema",
        folder / "schema.toml",
        "--data",
        folder / "first.parquet",
        "--model",
        folder / "none",
    )
    status, _, err = run(capsys, "fraud", "train", *words)
    assert status == 2
    assert "labels: expected --labels FILE or the column" in err


def test_what_cannot_be_used_is_counted_by_reason_and_written_down(capsys, folder, tmp_path):
    """A row without a time is left out; of one with a text for its amount that value alone is."""
    (tmp_path / "bad.csv").write_text(
        "id,time,amount,card\nb1,,5,card1\nb2,1700000000000000,much,card1\nb3,1700000000000001,few,card1\n"
    )
    (tmp_path / "labels.csv").write_text(
        "id,value,arrived_at\nb2,maybe,1700000000000009\nzz,0,1700000000000009\n"
    )
    table = parquet.read_table(folder / "labels.parquet")
    (tmp_path / "all").mkdir()
    parquet.write_table(table, tmp_path / "all" / "first.parquet")
    (tmp_path / "labels.csv").rename(tmp_path / "all" / "labels.csv")
    data = (folder / "first.parquet", folder / "second.parquet", tmp_path / "bad.csv")
    status, out, err = run(
        capsys,
        *("fraud", "train", "--schema", folder / "schema.toml", "--labels", tmp_path / "all", "--threads", 1),
        *("--data", *data, "--model", tmp_path / "m", "--json"),
    )
    assert status == 0, err
    told = json.loads(out)
    assert told["problems"] == {
        "rows": {"no time": 1},
        "values": {"no number": 2},
        "labels": {"expected 1/0, true/false, fraud/legit or nothing": 1},
    }
    assert told["labels_of_unknown"] == 1
    assert "1 rows of transactions are left out: 1 times no time" in err
    assert "2 single values are read as missing: 2 times no number" in err
    assert "1 labels are of transactions that the data lack" in err
    assert str(tmp_path / "m.problems.parquet") in err
    found = parquet.read_table(tmp_path / "m.problems.parquet").to_pylist()
    assert [(one["row"], one["file"], one["column"]) for one in found] == [
        (1, "bad.csv", "time"),
        (2, "bad.csv", "amount"),
        (3, "bad.csv", "amount"),
        (1, "labels.csv", "value"),
    ]
    window = ("--test-from", "2024-02-01", "--test-until", "2024-03-01", "--scores", tmp_path / "s.csv")
    status, out, err = run(
        capsys,
        *(
            "fraud",
            "evaluate",
            "--model",
            tmp_path / "m",
            "--data",
            *data,
            "--labels",
            folder / "labels.parquet",
        ),
        *(*window, "--problems", tmp_path / "p.parquet", "--json"),
    )
    assert status == 0, err
    assert json.loads(out)["problems"]["values"] == {"no number": 2}
    assert parquet.read_table(tmp_path / "p.parquet").num_rows == 3
    assert (tmp_path / "s.csv").read_text().splitlines()[0].replace('"', "") == "id,time,score,label"


def test_a_missing_number_may_be_nan_and_other_content_is_told_in_the_words_of_the_data(
    capsys, folder, monkeypatch
):
    train(capsys, folder, "--model", folder / "nan")
    time = 1_700_000_000_000_000
    lines = [
        {"id": "live", "time": time, "card": "card7", "amount": float("nan")},
        {"id": "live", "time": time, "card": "card7"},
        {"id": "live", "time": time + 1_000_000, "card": "card8", "amount": 2.5},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(json.dumps, lines))))
    _, out, _ = run(capsys, "fraud", "score", "--model", folder / "nan")
    first, again, other = map(json.loads, out.splitlines())
    assert first["id"] == "live"
    assert again == first
    assert other["error"]["message"] == (
        "id: 'live' has come with other content: time was 2023-11-14T22:13:20+00:00, is 2023-11-14T22:13:21+00:00 now; "
        "amount was missing, is 2.5 now; card was card7, is card8 now"
    )


def test_data_of_another_kind_are_refused_with_the_columns_that_were_expected(capsys, folder, tmp_path):
    status, _, err = train(capsys, folder, "--model", folder / "m2")
    assert status == 0, err
    other = pa.table({"id": ["a", "b"], "time": np.array([1, 2]), "amount": [1.0, 2.0], "iban": ["x", "y"]})
    parquet.write_table(other, tmp_path / "other.parquet")
    words = ("--data", tmp_path / "other.parquet", "--test-from", 0, "--test-until", 1)
    status, _, err = run(capsys, "fraud", "evaluate", "--model", folder / "m2", *words)
    assert status == 2
    assert "card" in err
