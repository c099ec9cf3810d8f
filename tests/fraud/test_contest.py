"""Scorers against each other: the article's network is served from what was known at the time, and bars are told."""

import json
from dataclasses import replace

import card_events
import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.cli import main as command_line
from masthead.fraud.networks.article import ArticleGraph, ArticleNetwork, ArticleOptions, last_mean
from masthead.fraud.scoring.contest import Contest, article_graph, compared
from masthead.fraud.scoring.model import Table
from masthead.learn.scores import roc_auc

OPTIONS = ArticleOptions(hidden=8, epochs=25)


@pytest.fixture(scope="module")
def graph():
    """Return two relations, of which the first one's entities are either good or bad."""
    chance = np.random.default_rng(2)
    n = 1500
    members = np.column_stack([chance.integers(0, 60, n), chance.integers(0, 200, n)])
    y = (chance.random(n) < np.where(members[:, 0] % 6 == 0, 0.6, 0.03)).astype(np.int8)
    x = chance.normal(size=(n, 5)).astype(np.float32)
    members[chance.random(members.shape) < 0.1] = -1
    return ArticleGraph(x, y, members, (60, 200))


@pytest.fixture(scope="module")
def network(graph):
    found = ArticleNetwork(graph, 1200, np.arange(1200), OPTIONS)
    losses = [loss for _, loss in found.training()]
    assert losses[-1] < losses[0]
    return found


def test_a_mean_of_the_last_twenty_is_counted_by_hand():
    chance = np.random.default_rng(0)
    x = chance.normal(size=(400, 3)).astype(np.float32)
    members = chance.integers(-1, 8, 400)
    rows = np.arange(0, 400, 7)
    found = last_mean(x, members, rows)
    for place, row in enumerate(rows):
        near = np.flatnonzero(members[: row + 1] == members[row])[-21:] if members[row] >= 0 else [row]
        np.testing.assert_allclose(found[place], x[near].mean(axis=0), atol=1e-5)


def test_the_network_of_ids_learns_entities_and_answers_as_a_stream_must(graph, network):
    rows = np.arange(1200, 1500)
    found = network.streamed(rows)
    assert roc_auc(graph.y[rows], found) > 0.7
    changed = replace(graph, x=graph.x.copy(), members=graph.members.copy())
    changed.x[1400:] = 9
    changed.members[1400:] = 3
    other = ArticleNetwork(changed, 1200, np.arange(1200), OPTIONS)
    list(other.training())
    assert np.array_equal(other.streamed(rows)[:200], found[:200])


def test_an_entity_outside_of_training_has_the_mean_of_its_type_or_nothing(graph):
    members = graph.members.copy()
    members[1200:, 0] = 60
    given = replace(graph, members=members, counts=(61, 200))
    network = ArticleNetwork(given, 1200, np.arange(1200), OPTIONS)
    list(network.training())
    mean, zero = (network.streamed(np.arange(1200, 1260), unseen=one) for one in ("mean", "zero"))
    assert np.isfinite(mean).all()
    assert not np.allclose(mean, zero)
    assert len(network.transductive()) == 1200


def test_the_article_sees_amounts_numbers_and_categories_but_no_label():
    events = card_events.events(300)
    graph = article_graph(card_events.schema(), events, np.arange(200), events.inline_label)
    assert graph.x.shape == (
        300,
        1 + 1 + 6,
    )  # amount, the one number that is not empty, five kinds and the rest
    assert np.isfinite(graph.x).all()
    assert graph.members.shape == (300, 4)


def test_all_run_on_one_table_and_are_compared_by_average_precision():
    events = card_events.events(3000)
    table = Table(events, card_events.labels(events, changed=False), True)
    steps = list(Contest(card_events.schema(), table, 0, 1).running())
    found = steps[-1][0]
    assert found is not None
    assert all(step[0] is None for step in steps[:-1])
    assert set(found["scorers"]) == {
        "own",
        "default",
        "inductive",
        "article_transductive",
        "article_stream_same_weights",
        "article_stream_mean",
        "article_stream_zero",
    }
    assert found["test"] > 500
    ap = {name: one["average_precision"] for name, one in found["scorers"].items()}
    assert ap["default"] > ap["own"] + 0.2
    told = compared(found["scorers"])
    best = max(value for name, value in ap.items() if name.startswith("article_stream"))
    assert told["default_over_article"] == ap["default"] / best
    assert told["inductive_over_article"] == ap["inductive"] / best
    gap = told["transductive_to_stream"]["average_precision"]
    assert gap == ap["article_transductive"] - ap["article_stream_same_weights"]


def test_a_test_window_of_one_outcome_is_refused():
    events = card_events.events(300)
    events = replace(events, inline_label=np.zeros(300, np.int8))
    table = Table(events, card_events.labels(events, changed=False), True)
    with pytest.raises(InvalidInput, match="expected frauds and others among the last fifth"):
        list(Contest(card_events.schema(), table).running())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--seeds", "7,x"), "seeds: expected whole numbers"),
        (("--data", "nowhere"), "data: expected rings or a folder with schema.toml"),
    ],
)
def test_what_the_bench_cannot_run_ends_with_2(capsys, words, told):
    status = command_line.run(["fraud", "bench", "model", *words])
    assert status == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_the_bench_tells_runs_and_bars_as_json(capsys):
    words = ("--transactions", "2000", "--seeds", "3,5", "--threads", "1", "--json")
    assert command_line.run(["fraud", "bench", "model", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(run["seed"], run["transactions"]) for run in found["runs"]] == [(3, 2000), (5, 2000)]
    asked = {
        "default_ap": 0.85,
        "default_over_article": 2.5,
        "default_above_own": 0.2,
        "inductive_over_article": 2.0,
    }
    assert {name: bar["at_least"] for name, bar in found["bars"].items()} == asked
    for name, least in asked.items():
        reached = [compared(run["scorers"])[name] for run in found["runs"]]
        assert reached[0] != reached[1]
        assert found["bars"][name]["worst"] == min(reached), "the worse one of two seeds counts"
        assert found["bars"][name]["met"] is (min(reached) >= least)
