"""Models of the graph network, and trees that read its state: the same folder, stream and evaluation as any other."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import card_events
import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud import FraudModel
from masthead.fraud.data.columns import Labels
from masthead.fraud.scoring.engines import EmbeddedTrees, Trees
from masthead.fraud.scoring.features import Layout
from masthead.fraud.scoring.learning import blocks_of
from masthead.fraud.scoring.state import GraphState

DAY = card_events.DAY
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    return EPOCH + timedelta(microseconds=card_events.BEGIN + int(day * DAY))


@pytest.fixture(scope="module")
def world():
    events = card_events.events(4000)
    return events, card_events.labels(events, changed=False)


@pytest.fixture(scope="module")
def model(world):
    return FraudModel.train(card_events.schema(), *world, train_until=at(65), scorer="gnn")


def without_torch(folder: object, rows: str) -> list[float]:
    """Return scores of a process that loads the model and fails if torch came with it."""
    program = """
import json, sys
import numpy as np
from masthead.fraud import FraudModel
model = FraudModel.load(sys.argv[1])
scores = [model.scorer.score(row)[1] for row in np.load(sys.argv[2])]
assert "torch" not in sys.modules and "lightgbm" not in sys.modules
print(json.dumps(scores))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), rows], capture_output=True, text=True, check=True
    )
    found: list[float] = json.loads(done.stdout)
    return found


def test_every_column_belongs_to_one_block(model):
    blocks = blocks_of(model.layout)
    places = [*blocks.own, *blocks.categoricals, *(place for block in blocks.relations for place in block)]
    assert sorted(places) == list(range(model.layout.width))
    assert [model.columns[block[0]] for block in blocks.relations] == [
        "card.count",
        "device.count",
        "shop.count",
    ]


def test_the_network_is_a_scorer_like_any_other(world, model, tmp_path):
    model.save(tmp_path / "m")
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "card.json",
        "network.npz",
        "schema.toml",
    ]
    again = FraudModel.load(tmp_path / "m")
    assert (again.id, again.card["scorer"], again.card["versions"].keys() >= {"torch"}) == (
        model.id,
        "gnn",
        True,
    )
    found = again.evaluate(*world, test_from=at(65), test_until=at(90))
    assert found.metrics["roc_auc"] > 0.9
    assert found.metrics["average_precision"] > 0.5
    assert found.metrics["labels_after_test_start"] > 0
    _, x = model.features(*world)
    streamed = found.scores["score"].to_numpy()
    np.save(tmp_path / "x.npy", x[-200:])
    assert streamed[-200:].tolist() == without_torch(tmp_path / "m", str(tmp_path / "x.npy"))
    assert 0 < model.thresholds.review <= model.thresholds.block <= 1
    parts = model.contributions(x[-30:])
    assert parts.shape == (30, len(model.columns) + 1)
    np.testing.assert_allclose(parts.sum(axis=1), [model.scorer.score(row)[0] for row in x[-30:]], atol=1e-9)


def test_a_damaged_network_is_refused_and_named(model, tmp_path):
    model.save(tmp_path / "m")
    (tmp_path / "m" / "network.npz").write_bytes(b"PK" + b"\0" * 100)
    with pytest.raises(InvalidInput, match=r"network\.npz"):
        FraudModel.load(tmp_path / "m")


def test_states_that_gain_nothing_are_tried_and_left_out(world, tmp_path):
    found = FraudModel.train(card_events.schema(), *world, train_until=at(65), embeddings=True, threads=1)
    plain = FraudModel.train(card_events.schema(), *world, train_until=at(65), threads=1)
    told = found.card["embeddings"]
    assert told["kept"] is False, "trees find here what the network finds"
    ap = told["average_precision"]
    assert ap["without"] == plain.card["validation"]["average_precision"]
    assert 0.5 < ap["with"] < ap["without"] + told["standard_error"]
    assert ap["with"] != ap["without"], "the states were tried"
    assert told["days"] > 5
    found.save(tmp_path / "m")
    assert not (tmp_path / "m" / "network.npz").exists()
    assert isinstance(found.engine, Trees)
    assert found.engine.files()["model.txt"] == plain.engine.files()["model.txt"]
    assert "embeddings" not in plain.card


def test_states_that_gain_are_kept_and_served_to_the_bit(world, tmp_path):
    """The outcome is a sum that trees with few rows find worse than a network, so its state is worth having.

    It is said of all rows when all is over, so that columns of labels do not tell it.
    """
    events, labels = world
    n, end = len(events), int(labels.arrived_at[-1]) + 30 * DAY
    layout = Layout.learn(card_events.schema(), events, np.arange(n))
    x = GraphState(layout).replay(events, labels, rows=np.arange(n))
    numbers = np.nan_to_num(x[:, list(blocks_of(layout).relations[1])])
    way = np.random.default_rng(4).normal(size=numbers.shape[1]) / (numbers.std(axis=0) + 1e-3)
    total = numbers @ way
    truth = Labels(
        np.concatenate([labels.rows, np.arange(n)]),
        [*labels.ids, *events.ids],
        np.concatenate([labels.value, (total > np.quantile(total, 0.85)).astype(np.int8)]),
        np.concatenate([labels.arrived_at, np.full(n, end)]),
    )
    until = datetime.fromtimestamp(end / 1e6, UTC)
    model = FraudModel.train(
        card_events.schema(), events, truth, labels_until=until, embeddings=True, threads=1
    )
    told = model.card["embeddings"]
    assert told["kept"] is True
    assert told["average_precision"]["with"] > told["average_precision"]["without"] + told["standard_error"]
    model.save(tmp_path / "m")
    again = FraudModel.load(tmp_path / "m")
    assert isinstance(again.engine, EmbeddedTrees)
    streamed = again.evaluate(events, truth, test_from=at(85), test_until=at(90)).scores["score"].to_pylist()
    assert len(streamed) > 100
    assert streamed == [model.scorer.score(row)[1] for row in x[-len(streamed) :]]
    some = x[-20:]
    raw = [again.scorer.score(row)[0] for row in some]
    assert again.engine.raws(some).tolist() == raw
    parts = again.contributions(some)
    assert parts.shape == (20, layout.width + 1)
    np.testing.assert_allclose(parts.sum(axis=1), raw, atol=1e-6)


def test_a_scorer_that_does_not_exist_and_states_of_the_network_itself_are_refused(world, monkeypatch):
    schema = card_events.schema()
    with pytest.raises(InvalidInput, match="scorer: expected lightgbm or gnn, got 'oracle'"):
        FraudModel.train(schema, *world, scorer="oracle")
    with pytest.raises(InvalidInput, match="embeddings: expected the scorer lightgbm"):
        FraudModel.train(schema, *world, scorer="gnn", embeddings=True)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInput, match=r"torch: expected .*pip install 'masthead\[gnn\]'"):
        FraudModel.train(schema, *world, scorer="gnn")
