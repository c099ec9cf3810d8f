"""The graph network finds what lies in the graph, and learns from training rows alone."""

import dataclasses
import math
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.graph import Edges, Graph, directions, rows_of
from masthead.fraud.networks.graph_features import Known, columns_of
from masthead.fraud.networks.graph_model import GraphModel, standardised
from masthead.fraud.networks.graph_samples import make_sample
from masthead.fraud.networks.graph_training import Outcome, split_of, train_graph_model
from masthead.fraud.networks.rgcn import Epoch
from masthead.fraud.networks.rgcn_task import Options

QUICK = Options(n_hidden=16, embedding_size=8, n_epochs=4)
SHORT = Options(n_hidden=32, embedding_size=8, n_epochs=25)


@cache
def graph_of(kind: str, nodes: int = 300, edges: int = 3_000) -> Graph:
    sample = make_sample(kind, nodes=nodes, edges=edges)
    ids = [f"u{place}" for place in range(nodes)]
    held_out = np.zeros(nodes, bool)
    held_out[sample.tested] = True
    transfers = Edges(
        "transfers",
        "user_id",
        "user_id",
        sample.sources,
        sample.targets,
        ("amount",),
        sample.amounts[:, None].astype(np.float32),
    )
    shared = Edges("device", "user_id", "device", np.arange(nodes), sample.devices)
    return Graph(
        "user_id",
        {"user_id": ids, "device": [f"d{place}" for place in range(int(sample.devices.max()) + 1)]},
        sample.x.astype(np.float32),
        tuple(f"x{place}" for place in range(sample.x.shape[1])),
        (transfers, shared),
        sample.labels,
        held_out,
    )


def learned(graph: Graph, options: Options = QUICK) -> tuple[Outcome, list[tuple[float, float, float]]]:
    """Return the outcome and what the lines of the epochs tell, but for the seconds."""
    lines: list[Epoch] = []
    outcome = train_graph_model(graph, options, told=lines.append)
    return outcome, [(one.loss, one.f1, one.ap) for one in lines]


def auc(outcome: Outcome, name: str) -> float:
    found = outcome.members[name]["roc_auc"]
    assert found is not None
    return found


# ------------------------------------------------------------------ what it must find


def test_what_neighbours_tell_is_found_by_the_network_itself() -> None:
    outcome, _ = learned(graph_of("relational", 1_500, 20_000), SHORT)
    assert auc(outcome, "network") > auc(outcome, "own") + 0.05
    assert outcome.metrics["roc_auc"] > auc(outcome, "own") + 0.05


def test_a_graph_whose_only_signal_is_who_deals_with_whom_is_learned() -> None:
    outcome, _ = learned(graph_of("company", 1_500, 20_000), SHORT)
    assert auc(outcome, "own") < 0.65
    assert outcome.metrics["roc_auc"] > 0.9
    assert auc(outcome, "network") > 0.8


def test_what_edges_carry_is_read() -> None:
    graph = graph_of("amounts", 1_500, 20_000)
    bare = tuple(
        dataclasses.replace(one, names=(), attributes=np.empty((0, 0), np.float32)) for one in graph.relations
    )
    outcome, _ = learned(graph, SHORT)
    without, _ = learned(dataclasses.replace(graph, relations=bare), SHORT)
    assert outcome.metrics["roc_auc"] > without.metrics["roc_auc"] + 0.1
    assert auc(outcome, "network") > auc(without, "network") + 0.1


def test_a_graph_that_tells_nothing_costs_nothing() -> None:
    outcome, _ = learned(graph_of("nothing", 1_500, 20_000), SHORT)
    assert outcome.metrics["roc_auc"] > auc(outcome, "own") - 0.01


def test_dates_themselves_are_not_learned_but_how_fast_edges_follow_each_other() -> None:
    def carried(shift: float) -> list[list[float]]:
        seconds = np.array([[0.0], [10.0], [40.0]], np.float32) + np.float32(shift)
        ends = np.array([0, 0, 0]), np.array([0, 1, 0])
        edges = Edges("r", "a", "b", *ends, ("time",), seconds, frozenset({"time"}))
        graph = graph_of("relational")
        found = directions(
            dataclasses.replace(graph, target="a", ids={"a": ["x"], "b": ["y", "z"]}, relations=(edges,))
        )
        return [one[0].tolist() for one in (found[1].attributes, found[1].totals, found[1].largest)]

    assert carried(0) == carried(86_400)
    assert np.allclose(carried(0)[1:], np.log1p([[40.0], [20.0]]))


# ------------------------------------------------------------------ what it must not learn from


def test_test_rows_and_test_labels_change_neither_statistics_nor_the_lines_of_epochs() -> None:
    graph = graph_of("relational")
    features, labels = graph.features.copy(), graph.labels.copy()
    features[graph.held_out] = 1e6
    labels[graph.held_out] = 1 - labels[graph.held_out]
    changed = dataclasses.replace(graph, features=features, labels=labels)
    (first, told), (second, told_again) = learned(graph), learned(changed)
    assert told == told_again
    assert np.array_equal(first.model.centre, second.model.centre)
    assert np.array_equal(first.model.scale, second.model.scale)
    for name, values in first.model.weights.items():
        assert np.array_equal(values, second.model.weights[name]), name
    assert (first.model.own, first.model.trees) == (second.model.own, second.model.trees)
    assert first.metrics["confusion"] != second.metrics["confusion"]


def test_equal_seeds_give_equal_models_and_others_do_not() -> None:
    graph = graph_of("relational")
    (first, told), (second, again) = learned(graph), learned(graph)
    assert told == again
    assert np.array_equal(first.model.score(graph), second.model.score(graph))
    _, other = learned(graph, dataclasses.replace(QUICK, seed=1))
    assert other != told


@pytest.mark.parametrize(
    "change",
    [
        {"n_layers": 1},
        {"n_hidden": 8},
        {"embedding_size": 4},
        {"optimizer": "adamw"},
        {"optimizer": "sgd"},
        {"lr": 1e-3},
        {"dropout": 0.6},
        {"weight_decay": 0.3},
    ],
)
def test_every_option_acts(change: dict[str, float]) -> None:
    graph = graph_of("relational")
    assert learned(graph, dataclasses.replace(QUICK, **change))[1] != learned(graph)[1]


def test_a_constant_column_is_harmless() -> None:
    graph = graph_of("relational")
    constant = np.full((len(graph), 1), 0.1, np.float32)
    graph = dataclasses.replace(
        graph, features=np.hstack([graph.features, constant]), columns=(*graph.columns, "same")
    )
    outcome, told = learned(graph)
    assert outcome.model.scale[-1] == 1
    assert np.isfinite(outcome.model.score(graph)).all()
    assert all(math.isfinite(loss) for loss, _, _ in told)


def test_unlabelled_nodes_are_nodes_and_scored() -> None:
    graph = graph_of("relational")
    labels = graph.labels.copy()
    labels[::3] = -1
    outcome, _ = learned(dataclasses.replace(graph, labels=labels))
    assert len(outcome.model.score(graph)) == len(graph)
    assert outcome.model.card["rows"] + outcome.model.card["validation_rows"] == int(
        ((labels >= 0) & ~graph.held_out).sum()
    )


def test_nodes_without_features_take_the_mean_and_leave_the_other_scores_in_their_places() -> None:
    graph = graph_of("relational")
    features = graph.features.copy()
    bare = [5, 17]
    features[bare] = np.nan
    outcome, _ = learned(dataclasses.replace(graph, features=features))
    model = outcome.model
    x = standardised(features, model.centre, model.scale)
    assert np.all(x[bare] == 0)
    scores = model.score(dataclasses.replace(graph, features=features))
    order = np.random.default_rng(0).permutation(len(graph))
    place = np.argsort(order)
    moved = [
        dataclasses.replace(
            one,
            sources=place[one.sources],
            targets=place[one.targets] if one.target == "user_id" else one.targets,
        )
        for one in graph.relations
    ]
    shuffled = dataclasses.replace(
        graph,
        ids={**graph.ids, "user_id": [graph.ids["user_id"][row] for row in order]},
        features=features[order],
        relations=tuple(moved),
    )
    assert np.allclose(model.score(shuffled), scores[order], atol=1e-5)


def test_targets_without_any_column_are_learned_from_their_edges() -> None:
    graph = graph_of("company", 600, 12_000)
    graph = dataclasses.replace(graph, features=np.empty((600, 0), np.float32), columns=())
    assert learned(graph, SHORT)[0].metrics["roc_auc"] > 0.8


# ------------------------------------------------------------------ rows that choose


def test_the_latest_tenth_chooses_where_times_are_known() -> None:
    graph = graph_of("relational")
    times = np.random.default_rng(3).permutation(len(graph)).astype(float)
    split = split_of(dataclasses.replace(graph, times=times), 0)
    assert split.latest
    assert times[split.check].min() > times[split.fit].max()
    assert not graph.held_out[np.r_[split.fit, split.check]].any()
    assert not split_of(graph, 0).latest


def test_a_feature_without_any_value_is_no_neighbours_mean() -> None:
    graph = graph_of("relational")
    features = np.column_stack([graph.features[:, 0], np.full(len(graph), np.nan, np.float32)])
    everyone = np.ones(len(graph), bool)
    known = Known(features, everyone, graph.labels, np.zeros(len(graph), np.int8), 0.1)
    ways = {one.name: one for one in directions(graph)}
    filled = dataclasses.replace(known, x=np.nan_to_num(features))
    found, expected = (columns_of("user_id", one, ways, list(ways), (0, 1)) for one in (known, filled))
    assert np.array_equal(found[:, 2:], expected[:, 2:], equal_nan=True)


def test_labels_of_one_kind_are_refused() -> None:
    graph = graph_of("relational")
    with pytest.raises(
        InvalidInput,
        match=r"got 225 labelled 0 and 0 labelled 1; labels stand in tags\.csv of --data, or .*--labels",
    ):
        learned(dataclasses.replace(graph, labels=np.zeros(len(graph), np.int8)))


def test_without_test_labels_the_measures_are_those_of_validation() -> None:
    graph = graph_of("relational")
    outcome, _ = learned(dataclasses.replace(graph, held_out=np.zeros(len(graph), bool)))
    assert outcome.on == "validation"
    assert outcome.metrics["n_test"] == outcome.model.card["validation_rows"]


# ------------------------------------------------------------------ the formula


def test_scores_without_torch_are_those_of_training() -> None:
    graph = graph_of("relational")
    outcome, told = learned(graph, dataclasses.replace(QUICK, n_epochs=1))
    scores = outcome.model.parts(graph, silent=graph.held_out, wanted=("network",))["network"]
    split = split_of(graph, 0)
    found = scores[split.check] >= 0.5
    truth = graph.labels[split.check] == 1
    hits, wrong = int((found & truth).sum()), int((found != truth).sum())
    assert told[0][1] == pytest.approx(2 * hits / max(2 * hits + wrong, 1))
    assert outcome.members["network"]["validation_ap"] == pytest.approx(told[0][2], abs=1e-6)


def test_many_relations_share_a_few_bases() -> None:
    graph = graph_of("relational")
    many = tuple(
        dataclasses.replace(
            graph.relations[0], name=f"r{place}", names=(), attributes=np.empty((0, 0), np.float32)
        )
        for place in range(21)
    )
    outcome, _ = learned(dataclasses.replace(graph, relations=many), dataclasses.replace(QUICK, n_epochs=1))
    between = outcome.model.weights["0.rel"].reshape(42, -1)
    assert np.linalg.matrix_rank(between, tol=1e-3) == 8


def test_a_product_with_neighbours_is_that_of_a_full_matrix() -> None:
    chance = np.random.default_rng(0)
    rows, columns = chance.integers(0, 40, 500), chance.integers(0, 30, 500)
    weights = chance.normal(size=500).astype(np.float32)
    full = np.zeros((40, 30))
    np.add.at(full, (rows, columns), weights)
    sparse = rows_of(rows, columns, weights, (40, 30))
    values = chance.normal(size=(30, 5)).astype(np.float32)
    assert np.allclose(sparse.times(values), full @ values, atol=1e-4)
    assert np.allclose(sparse.transposed().times(full @ values), full.T @ (full @ values), atol=1e-2)


def test_both_directions_of_a_relation_have_their_own_place() -> None:
    found = directions(graph_of("relational"))
    assert [(one.name, one.sender, one.receiver) for one in found] == [
        (">transfers", "user_id", "user_id"),
        ("<transfers", "user_id", "user_id"),
        (">device", "user_id", "device"),
        ("<device", "device", "user_id"),
    ]


# ------------------------------------------------------------------ the folder


def test_a_saved_model_scores_the_same_without_torch_and_without_pickle(tmp_path: Path) -> None:
    graph = graph_of("relational")
    outcome, _ = learned(graph)
    outcome.model.save(tmp_path / "m")
    assert np.array_equal(GraphModel.load(tmp_path / "m").score(graph), outcome.model.score(graph))
    program = (
        "import sys; from masthead.fraud.networks.graph_model import GraphModel; from pathlib import Path;"
        "GraphModel.load(Path(sys.argv[1])); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "m")], check=True)
    for file in (tmp_path / "m").rglob("*"):
        assert file.is_dir() or file.suffix in (".npz", ".parquet", ".txt", ".json")
    np.load(tmp_path / "m" / "weights.npz", allow_pickle=False).close()


@pytest.mark.parametrize("name", ["weights.npz", "model.txt", "nodes/device.parquet"])
def test_a_damaged_folder_is_told(tmp_path: Path, name: str) -> None:
    learned(graph_of("relational"), dataclasses.replace(QUICK, n_epochs=1))[0].model.save(tmp_path)
    damaged = tmp_path / name
    damaged.write_bytes(damaged.read_bytes()[:-7])
    with pytest.raises(InvalidInput, match=f"intact folder, got another content of {name}"):
        GraphModel.load(tmp_path)
    damaged.unlink()
    with pytest.raises(InvalidInput, match=f"got no {name}"):
        GraphModel.load(tmp_path)


def test_new_targets_entities_and_edges_are_scored_and_a_new_entity_has_the_mean_of_its_type() -> None:
    graph = graph_of("relational")
    model = learned(graph)[0].model
    transfers, shared = graph.relations
    count = len(graph)
    grown = dataclasses.replace(
        graph,
        ids={"user_id": [*graph.ids["user_id"], "new"], "device": [*graph.ids["device"], "fresh"]},
        features=np.vstack([graph.features, np.zeros((1, len(graph.columns)), np.float32)]),
        relations=(
            transfers,
            dataclasses.replace(
                shared,
                sources=np.r_[shared.sources, count],
                targets=np.r_[shared.targets, len(graph.ids["device"])],
            ),
        ),
        labels=np.r_[graph.labels, np.int8(-1)],
        held_out=np.r_[graph.held_out, False],
    )
    scores = model.score(grown)
    assert np.allclose(scores[:count], model.score(graph), atol=1e-6)
    vectors = {"device": np.vstack([model.vectors["device"], model.mean_vector("device")])}
    assert scores[count] == pytest.approx(model.score(grown, vectors)[count], abs=1e-6)


def test_another_kind_of_target_and_missing_columns_are_refused() -> None:
    graph = graph_of("relational")
    model = learned(graph, dataclasses.replace(QUICK, n_epochs=1))[0].model
    fewer = dataclasses.replace(graph, features=graph.features[:, 1:], columns=graph.columns[1:])
    with pytest.raises(InvalidInput, match="expected the model's 6 columns of features, got none named 'x0'"):
        model.score(fewer)
    turned = dataclasses.replace(graph, features=graph.features[:, ::-1].copy(), columns=graph.columns[::-1])
    assert np.allclose(model.score(turned), model.score(graph), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_epochs": 0}, "n_epochs: expected 1 or more, got 0"),
        ({"optimizer": "rmsprop"}, "optimizer: expected adam, adamw, sgd, got 'rmsprop'"),
        ({"dropout": 1.0}, "dropout: expected a share"),
        ({"lr": float("nan")}, "lr: expected a number above 0"),
        ({"threshold": 2.0}, "threshold: expected a probability"),
        ({"weight_decay": -1.0}, "weight_decay: expected 0 or more"),
        ({"seed": -1}, "seed: expected 0"),
    ],
)
def test_options_outside_their_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        dataclasses.replace(QUICK, **change).check()


def test_without_torch_training_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from masthead.fraud.networks.rgcn import fit\n"
        "from masthead.base.errors import InvalidInput\n"
        "try:\n    fit(None, None)\nexcept InvalidInput as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert "masthead[gnn]" in told
