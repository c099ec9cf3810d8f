"""Models: learned from what had arrived, kept in a folder, streamed as they would have served."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import card_events
import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from masthead.base.errors import Conflict, InvalidInput
from masthead.fraud import FraudModel
from masthead.fraud.data.columns import Labels
from masthead.fraud.data.schema import Schema
from masthead.fraud.networks.graph_model import read_card
from masthead.fraud.scoring import fitting
from masthead.fraud.scoring.fitting import fit
from masthead.fraud.scoring.learning import Material, learn
from masthead.fraud.scoring.reference import histograms
from masthead.fraud.scoring.state import GraphState
from masthead.fraud.scoring.truth import training_rows
from masthead.learn.scores import average_precision

DAY = card_events.DAY
N = 4000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    return EPOCH + timedelta(microseconds=card_events.BEGIN + int(day * DAY))


@pytest.fixture(scope="module")
def world():
    events = card_events.events(N)
    return events, card_events.labels(events, changed=False)


@pytest.fixture(scope="module")
def model(world):
    events, labels = world
    return FraudModel.train(card_events.schema(), events, labels, train_until=at(65), threads=1)


@pytest.fixture(scope="module")
def evaluation(world, model):
    return model.evaluate(*world, test_from=at(65), test_until=at(90))


def test_what_devices_share_is_found_and_told(evaluation, world):
    metrics = evaluation.metrics
    assert metrics["roc_auc"] > 0.9
    assert metrics["average_precision"] > 0.5
    assert metrics["n"] == len(evaluation.scores) == int((world[0].ts >= card_events.BEGIN + 65 * DAY).sum())
    assert sum(metrics["confusion"].values()) == metrics["n_labelled"]
    assert metrics["labels_after_test_start"] > 0
    assert metrics["late_share"] is None, "who was late stands in files, and these have none"
    assert set(metrics["unseen_share"]) == {"card", "device", "shop", "country"}
    assert metrics["latency_ms"]["p50"] > 0


def test_late_is_who_stands_in_a_file_behind_a_later_one(model, tmp_path):
    """Of eight in the window two are late. The first of the second file is not: files have no order among them."""
    days = {"a": (60, 66, 64, 67, 66.5, 67, 70, 95, 71), "b": (66, 68)}
    for name, written in days.items():
        rows = [f"{name}{i},{int(card_events.BEGIN + day * DAY)},c1\n" for i, day in enumerate(written)]
        (tmp_path / f"{name}.csv").write_text("id,time,card\n" + "".join(rows))
    found = model.evaluate(tmp_path, test_from=at(65), test_until=at(90))
    assert found.scores["id"].to_pylist() == ["a1", "b0", "a4", "a3", "a5", "b1", "a6", "a8"]
    assert found.metrics["late_share"] == 2 / 8


def test_rows_before_train_from_teach_nothing_and_fill_the_past_of_later_ones(world, model):
    events, labels = world
    schema, first, until = (
        card_events.schema(),
        card_events.BEGIN + 30 * DAY,
        card_events.BEGIN + 65 * DAY,
    )
    found = FraudModel.train(schema, events, labels, train_from=at(30), train_until=at(65), threads=1)
    rows = np.flatnonzero((events.ts >= first) & (events.ts < until))  # all of their labels arrive in time
    assert found.card["rows"] == len(rows) < model.card["rows"]
    assert found.card["positives"] == events.inline_label[rows].sum()
    reference = {name: told for name, told in found.card["reference"].items() if name != "score"}
    seen = GraphState(found.layout).replay(events, labels, rows=rows)
    assert reference == histograms(found.columns, seen, events.ts[rows])
    assert seen[0, found.columns.index("shop.count")] > 0
    alone = GraphState(found.layout).replay(events.take(rows), rows=np.arange(len(rows)))
    assert reference != histograms(found.columns, alone, events.ts[rows])


def test_scores_of_the_stream_are_those_of_the_replay(evaluation, world, model):
    events, labels = world
    names, x = model.features(events, labels)
    assert names == model.columns
    first = N - len(evaluation.scores)
    expected = [model.scorer.score(row)[1] for row in x[first:]]
    assert evaluation.scores["score"].to_pylist() == expected
    assert evaluation.scores.column_names == ["id", "time", "score", "label"]
    assert evaluation.scores["id"].to_pylist() == events.ids[first:]


def test_parity_of_probability_and_lightgbm(world, model):
    _, x = model.features(*world)
    raw = lgb.Booster(model_str=model.engine.text).predict(x[:500], raw_score=True)
    found = [model.scorer.score(row) for row in x[:500]]
    assert np.abs(np.array([one[0] for one in found]) - raw).max() <= 1e-9
    order = np.argsort([one[0] for one in found], kind="stable")
    assert (np.diff(np.array([one[1] for one in found])[order])[np.diff(np.sort(raw)) > 1e-9] > 0).all()


def test_leakage_what_comes_after_t_changes_no_score_up_to_t(evaluation, world, model):
    events, labels = world
    t = card_events.BEGIN + 75 * DAY
    late = np.flatnonzero(events.ts > t)
    rows = np.concatenate([np.flatnonzero(events.ts <= t), np.random.default_rng(0).permutation(late)])
    other = replace(events.take(rows), ts=events.ts, ids=events.ids, raw_ids=events.raw_ids)
    told = labels.arrived_at <= t
    kept = Labels(
        labels.rows[told],
        [one for one, keep in zip(labels.ids, told, strict=True) if keep],
        labels.value[told],
        labels.arrived_at[told],
    )
    again = model.evaluate(other, kept, test_from=at(65), test_until=at(90))
    up_to = int((events.ts <= t).sum()) - (N - len(evaluation.scores))
    assert up_to > 300
    first, second = (one.scores["score"].to_pylist() for one in (evaluation, again))
    assert first[:up_to] == second[:up_to]
    assert first != second


def test_leakage_without_arrived_labels_none_is_used(world, model):
    events, labels = world
    never = replace(labels, arrived_at=labels.arrived_at + 400 * DAY)
    flipped = replace(never, value=(1 - never.value).astype(np.int8))
    a, b = (
        model.evaluate(events, one, test_from=at(65), test_until=at(90)).scores["score"].to_pylist()
        for one in (never, flipped)
    )
    assert a == b


def test_the_latest_rows_say_when_to_stop_and_then_teach_too(world, model):
    _, x = model.features(*world)
    late = np.arange(N) >= 0.85 * N
    y = (np.random.default_rng(0).random(N) < 0.15).astype(np.int8)
    x[:, 0] = np.where(late & (y == 1), 1e3, 1.0)  # nothing before tells them
    given = Material(model.layout, x, y, world[0].ts, late, seed=0, threads=1)
    *_, (found, _) = learn(given, scorer="lightgbm", embeddings=False)
    assert found.card["trees"] >= 1
    served, judged = (average_precision(y[late], one.raws(x[late])) for one in (found.engine, found.judged))
    assert served > 0.9
    assert judged < 0.3


def test_without_later_rows_to_judge_by_nothing_is_told_of_what_the_model_is_worth(world):
    events, labels = world
    late = labels.rows >= 0.9 * N
    said = replace(labels, value=np.where(late, labels.value, 0).astype(np.int8))
    assert said.value.any()
    found = FraudModel.train(card_events.schema(), events, said, threads=1)
    assert found.card["validation"] == {"roc_auc": None, "average_precision": None}
    assert found.card["windows"]["validation_from"] is None
    assert 0 < found.thresholds.review <= found.thresholds.block


TRAIN = """
import sys, card_events, numpy as np
from masthead.base.clock import ManualClock
from masthead.fraud import FraudModel
folder, threads, seed = sys.argv[1:]
events = card_events.events(4000).take(np.arange(1000))
FraudModel.train(card_events.schema(), events, card_events.labels(events), seed=int(seed), threads=int(threads),
                 clock=ManualClock(1e9), out=folder)
"""


@pytest.mark.slow  # two threads wait for each other wherever the machine is busy
def test_the_same_data_and_seed_give_the_same_files_whatever_the_threads(tmp_path):
    free = {name: value for name, value in os.environ.items() if name != "OMP_THREAD_LIMIT"}
    for name, threads in (("a", 1), ("b", 2)):
        words = [sys.executable, "-c", TRAIN, tmp_path / name, threads, 0]
        subprocess.run(
            list(map(str, words)),
            env={**free, "PYTHONPATH": str(Path(card_events.__file__).parent)},
            check=True,
        )
    for name in ("model.txt", "forest.npz", "schema.toml", "card.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    events = card_events.events(4000).take(np.arange(1000))
    FraudModel.train(card_events.schema(), events, card_events.labels(events), seed=5, threads=1).save(
        tmp_path / "c"
    )
    assert (tmp_path / "a" / "model.txt").read_bytes() != (tmp_path / "c" / "model.txt").read_bytes()


def test_a_model_survives_its_folder_and_holds_no_pickle(world, model, tmp_path):
    model.save(tmp_path / "m")
    again = FraudModel.load(tmp_path / "m")
    assert (again.id, again.layout, again.thresholds) == (model.id, model.layout, model.thresholds)
    assert again.schema == model.schema
    _, x = model.features(*world)
    assert [again.scorer.score(row) for row in x[:100]] == [model.scorer.score(row) for row in x[:100]]
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "card.json",
        "forest.npz",
        "model.txt",
        "schema.toml",
    ]
    with np.load(tmp_path / "m" / "forest.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)


@pytest.mark.parametrize("name", ["model.txt", "forest.npz", "schema.toml", "card.json"])
def test_a_damaged_folder_is_refused_and_names_the_file(model, tmp_path, name):
    model.save(tmp_path / "m")
    path = tmp_path / "m" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(InvalidInput, match=name):
        FraudModel.load(tmp_path / "m")


def test_a_model_of_the_other_kind_is_named_with_what_takes_it(model, tmp_path):
    model.save(tmp_path / "m")
    with pytest.raises(
        InvalidInput, match=r"is one of `masthead fraud train`; it scores by `masthead fraud score`"
    ):
        read_card(tmp_path / "m")
    (tmp_path / "m" / "card.json").write_text('{"kind": "fraud-graph"}')
    with pytest.raises(
        InvalidInput, match=r"is a graph network; it scores by `masthead fraud graph predict`"
    ):
        FraudModel.load(tmp_path / "m")


def test_a_data_frame_is_no_path_and_what_is_accepted_is_told():
    schema, frame = card_events.schema(), pd.DataFrame({"id": ["1"], "time": [1]})
    with pytest.raises(InvalidInput, match=r"data: expected paths .* or Events .*, got DataFrame"):
        FraudModel.train(schema, frame)
    with pytest.raises(InvalidInput, match=r"labels: expected the path .*, got DataFrame"):
        FraudModel.train(schema, card_events.events(10), frame)


def test_nothing_to_learn_from_is_told(world):
    events, labels = world
    schema = card_events.schema()
    with pytest.raises(InvalidInput, match="train_until: expected a time after 2023-11-14"):
        FraudModel.train(schema, events, labels, train_until=at(-3))
    with pytest.raises(InvalidInput, match="train_from: expected a time until 2024-02-11"):
        FraudModel.train(schema, events, labels, train_from=at(300))
    with pytest.raises(InvalidInput, match=r"train_from: expected a time before .* reversed"):
        FraudModel.train(schema, events, labels, train_from=at(30), train_until=at(20))
    with pytest.raises(InvalidInput, match=r"labels_until: expected ISO 8601 .*, got 'soon'"):
        FraudModel.train(schema, events, labels, labels_until="soon")
    silent = replace(events, absent=("fraud",))
    with pytest.raises(InvalidInput, match="labels: expected --labels FILE or the column fraud in the data"):
        FraudModel.train(schema, silent)
    with pytest.raises(InvalidInput, match=r"labels: .* are not mature by"):
        FraudModel.train(schema, events, labels, train_until=at(30), labels_until=at(1))
    honest = replace(labels, value=np.zeros(len(labels), np.int8))
    with pytest.raises(InvalidInput, match="got legitimate ones alone"):
        FraudModel.train(schema, events, honest)
    with pytest.raises(InvalidInput, match="test_from: expected transactions"):
        FraudModel.train(schema, events, labels, threads=1).evaluate(
            events, labels, test_from=at(200), test_until=at(201)
        )


def test_rows_that_are_not_mature_teach_nothing_not_even_as_fraud(world):
    events, labels = world
    schema = card_events.schema()
    until = card_events.BEGIN + 60 * DAY
    rows, truth, immature = training_rows(
        schema, events, labels, window=(0, until), labels_until=until, from_file=True
    )
    assert events.ts[rows].max() <= until - schema.maturity_us
    assert immature == int(((events.ts < until) & (events.ts > until - schema.maturity_us)).sum())
    assert (truth.value[rows] == events.inline_label[rows]).all()


def test_who_is_never_called_fraud_is_presumed_legitimate_after_maturity_as_far_as_the_data_reach(world):
    events, labels = world
    schema = card_events.schema()
    called = labels.value == 1
    frauds = Labels(
        labels.rows[called],
        [one for one, keep in zip(labels.ids, called, strict=True) if keep],
        labels.value[called],
        labels.arrived_at[called],
    )
    rows, truth, _ = training_rows(
        schema, events, frauds, window=(0, 2**60), labels_until=2**60, from_file=True
    )
    end = max(int(events.ts[-1]), int(frauds.arrived_at.max()))
    assert events.ts[rows].max() <= end - schema.maturity_us
    assert (truth.value[rows] == events.inline_label[rows]).all()


def test_labels_in_the_data_arrive_after_the_delay(world):
    events, _ = world
    found = FraudModel.train(card_events.schema(), events, train_until=at(65), threads=1)
    metrics = found.evaluate(events, test_from=at(65), test_until=at(90)).metrics
    assert metrics["average_precision"] > 0.5
    inside = (events.ts >= card_events.BEGIN + 58 * DAY) & (events.ts < card_events.BEGIN + 65 * DAY)
    assert abs(metrics["labels_after_test_start"] - inside.sum()) <= 2


def test_a_stream_answers_again_and_takes_labels_before_and_after_their_transaction(model):
    stream = model.stream()
    first = {"id": "a", "time": card_events.BEGIN, "amount": 10.0, "card": "c1", "device": "d1"}
    answer = stream.score(first)
    assert stream.score(dict(first)) is answer
    assert answer.to_json()["time"] == answer.latency_ms / 1000
    assert answer.flag == (answer.pred_prob >= answer.threshold)
    with pytest.raises(Conflict, match="other content"):
        stream.score({**first, "amount": 11.0})
    with pytest.raises(InvalidInput, match="expected the transaction's id"):
        stream.score({"time": 1})

    def probe(name: str, stream) -> float:
        return stream.score({**first, "id": name, "time": card_events.BEGIN + DAY}).pred_prob

    early, late = model.stream(), model.stream()
    for each in (early, late):
        each.score(first)
    early.label("a", "fraud", arrived_at=card_events.BEGIN + 1)
    late.label("a", "fraud", arrived_at=card_events.BEGIN + 2 * DAY)
    assert probe("b", early) != probe("b", late)
    waiting = model.stream()
    waiting.label("a", True, arrived_at=card_events.BEGIN)
    waiting.score(first)
    told = model.stream()
    told.score(first)
    told.label("a", 1, arrived_at=card_events.BEGIN)
    assert probe("b", waiting) == probe("b", told)
    with pytest.raises(InvalidInput, match="value: expected fraud or legit"):
        stream.label("a", "")
    with pytest.raises(InvalidInput, match="source: expected one of chargeback, analyst, import"):
        stream.label("a", 1, source="gossip")


def test_contributions_sum_to_the_raw_score(world, model):
    _, x = model.features(*world)
    found = model.contributions(x[:20])
    assert found.shape == (20, len(model.columns) + 1)
    raw = [model.scorer.score(row)[0] for row in x[:20]]
    np.testing.assert_allclose(found.sum(axis=1), raw, atol=1e-6)


def test_the_card_tells_what_the_model_was_made_of(model):
    card = model.card
    assert card["rows"] > card["positives"] > 0
    assert 0 < card["validation"]["average_precision"] <= 1
    assert card["transductive"]["roc_auc"] > 0.5
    assert set(card["reference"]) == {*model.columns, "score"}
    assert len(model.thresholds.curve) > 50
    assert 0 < model.thresholds.review <= model.thresholds.block <= 1


@pytest.mark.parametrize("relations", [0, 1, 51])
def test_any_number_of_relations_will_do(relations, tmp_path):
    names = [f"r{i}" for i in range(relations)]
    rng = np.random.default_rng(relations)
    n = 800
    fraud = rng.random(n) < 0.1
    columns = {
        "id": [f'a-{i}, "q"' for i in range(n)],
        "when": (np.arange(n) * 3600).tolist(),
        "bad": fraud.astype(int),
        "x": np.where(rng.random(n) < 0.2, np.nan, fraud + rng.normal(0, 0.5, n)),
    }
    columns |= {name: [f"00{v}" for v in rng.integers(0, 50, n)] for name in names}
    parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    schema = Schema.parse(
        f"""
        counterparties = {names[:4]}
        numerics = ["x"]
        [transaction]
        id = "id"
        time = {{ column = "when", unit = "s" }}
        [label]
        column = "bad"
        delay = "1h"
        [entities]
        """
        + "\n".join(f'{name} = "{name}"' for name in names)
    )
    found = FraudModel.train(schema, tmp_path / "t.parquet", train_until=600 * 3600, threads=1)
    assert found.layout.present == tuple(names)
    metrics = found.evaluate(tmp_path / "t.parquet", test_from=600 * 3600, test_until=801 * 3600).metrics
    assert metrics["n"] == 200
    assert metrics["roc_auc"] > 0.7


def test_of_many_rows_a_sample_teaches_in_which_the_rarer_outcome_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "MOST_TAUGHT", 3_000)
    draw = np.random.default_rng(3)
    x = draw.normal(size=(20_000, 4)).astype(np.float32)
    y = (draw.random(20_000) < 0.02 + 0.3 * (x[:, 0] > 1.5)).astype(np.int8)
    *_, (found, _) = fit(x, y, np.zeros(len(x), bool), names=list("abcd"), categoricals=[], seed=0, threads=1)
    assert found is not None
    told = lgb.Booster(model_str=found.text)
    assert told.predict(x).mean() == pytest.approx(y.mean(), rel=0.3)  # 0.26 if those left out did not count
    assert average_precision(y, told.predict(x)) > 0.15


def test_who_teaches_of_many_is_bounded_also_where_both_outcomes_are_frequent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "MOST_TAUGHT", 1_000)
    y, rows = np.tile(np.array([0, 1, 0], np.int8), 3_000), np.arange(0, 9_000, 2)
    taught, weight = fitting._taught(y, rows, 1)
    assert weight is not None
    assert len(taught) == len(set(taught.tolist())) == 1_000
    assert set(taught.tolist()) <= set(rows.tolist())
    assert (y[taught] == 1).sum() == 500
    assert weight.sum() == pytest.approx(len(rows), rel=1e-4)
