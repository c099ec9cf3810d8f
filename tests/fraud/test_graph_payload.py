"""The article's InvokeEndpoint payload, scored without torch."""

import copy
import json
from typing import Any

import numpy as np
import pytest
from small_graph import OPTIONS, payload, the_graph

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.graph import Edges, Graph
from masthead.fraud.networks.graph_model import GraphModel
from masthead.fraud.networks.graph_payload import score_payload
from masthead.fraud.networks.graph_training import train_graph_model


@pytest.fixture(scope="module")
def model() -> GraphModel:
    return train_graph_model(the_graph(), OPTIONS, blend=False).model


def test_a_payload_of_the_whole_graph_has_the_score_of_the_whole_graph(model: GraphModel) -> None:
    expected = model.score(the_graph())
    for place in (0, 7, 123):
        assert score_payload(model, payload(model, place)) == pytest.approx(expected[place], abs=1e-5)
    assert 0 <= score_payload(model, json.dumps(payload(model)).encode()) <= 1


def test_ids_are_texts_whatever_they_came_as(model: GraphModel) -> None:
    numbers, texts = payload(model), payload(model)
    numbers["graph"]["target<>card1"][1] = [int(one) for one in numbers["graph"]["target<>card1"][1]]
    texts["target_id"] = f"{texts['target_id']}.0"
    texts["graph"]["target<>addr"][0] = [str(one) for one in texts["graph"]["target<>addr"][0]]
    assert (
        score_payload(model, numbers) == score_payload(model, texts) == score_payload(model, payload(model))
    )


def test_an_entity_without_a_vector_or_with_zeros_has_the_mean_of_its_type(model: GraphModel) -> None:
    mean = model.mean_vector("card1").tolist()
    cards = payload(model)["n_feats"]["card1"]
    scores = []
    for vectors in (
        dict.fromkeys(cards, mean),
        {name: [0.0, 0.0, 0.0] for name in cards},
        {},
        dict.fromkeys(cards),
    ):
        asked = payload(model)
        asked["n_feats"]["card1"] = vectors
        scores.append(score_payload(model, asked))
    assert scores == pytest.approx([scores[0]] * 4, abs=1e-7)
    assert scores[0] != pytest.approx(score_payload(model, payload(model)), abs=1e-7)


def test_unknown_relations_are_ignored_and_counted(model: GraphModel) -> None:
    asked = payload(model)
    asked["graph"]["target<>colour"] = [[3_000_007], ["red"]]
    asked["graph"]["target<>self_relation"] = [[3_000_007], [3_000_007]]
    before = model.ignored["target<>colour"]
    assert score_payload(model, asked) == score_payload(model, payload(model))
    assert model.ignored["target<>colour"] == before + 1
    assert "target<>self_relation" not in model.ignored


def test_a_reverse_relation_adds_nothing(model: GraphModel) -> None:
    asked = payload(model)
    asked["graph"]["card1<>target"] = asked["graph"]["target<>card1"][::-1]
    assert score_payload(model, asked) == pytest.approx(score_payload(model, payload(model)), abs=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("n_feats", "target", "3000007", [1.0]), r"n_feats\.target\.3000007: expected 2 numbers, got 1"),
        (("n_feats", "card1", "100", [1.0]), r"n_feats\.card1\.100: expected 3 numbers, got 1"),
        (("n_feats", "target", "3000007", ["x", 1]), "expected 2 numbers, got something else"),
        (("target_id", None), "target_id: expected an id"),
        (("target_id", 17), r"n_feats\.target: expected the features of target_id, got none for it"),
        (
            ("graph", "target<>card1", [[1]]),
            "graph.target<>card1: expected a list of target ids and one of values",
        ),
        (("graph", "target<>card1", [[1, 2], [3]]), "expected two lists of one length, got 2 and 1"),
        (("graph", "card1", [[1], [2]]), "graph: expected keys of the form target<>relation, got 'card1'"),
        (("graph", 5), "graph: expected an object"),
        (("n_feats", []), "n_feats: expected an object"),
    ],
)
def test_a_payload_that_cannot_be_used_is_told(
    model: GraphModel, change: tuple[Any, ...], message: str
) -> None:
    asked = copy.deepcopy(payload(model))
    inner: Any = asked
    for key in change[:-2]:
        inner = inner[key]
    inner[change[-2]] = change[-1]
    with pytest.raises(InvalidInput, match=message):
        score_payload(model, asked)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b'"text"', b"[" * 100_000])
def test_a_body_that_is_no_object_is_told(model: GraphModel, body: bytes) -> None:
    with pytest.raises(InvalidInput, match="body: expected"):
        score_payload(model, body)


def test_transfers_between_targets_come_in_a_payload_too() -> None:
    chance = np.random.default_rng(2)
    graph = the_graph()
    ends = chance.integers(0, 200, (2, 900))
    transfers = Edges("transfers", "TransactionID", "TransactionID", ends[0], ends[1])
    graph = Graph(
        graph.target,
        {graph.target: graph.ids[graph.target]},
        graph.features,
        graph.columns,
        (transfers,),
        graph.labels,
        graph.held_out,
    )
    model = train_graph_model(graph, OPTIONS, blend=False).model
    asked = {
        "graph": {"target<>transfers": (ends + 3_000_000).tolist()},
        "n_feats": {"target": dict(zip(graph.ids[graph.target], graph.features.tolist(), strict=True))},
        "target_id": 3_000_011,
    }
    expected = model.score(graph)[11]
    assert score_payload(model, asked) == pytest.approx(expected, abs=1e-5)
    asked["graph"] = {"target<>target": asked["graph"]["target<>transfers"]}
    assert score_payload(model, asked) == pytest.approx(expected, abs=1e-5)
