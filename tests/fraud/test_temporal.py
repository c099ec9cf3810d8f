"""The inductive network: trained in torch, scored in numpy, without any id."""

import dataclasses
import io
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.temporal import TemporalOptions, chained_embeddings, fit
from masthead.fraud.networks.temporal_network import Blocks, TemporalNetwork
from masthead.fraud.scoring.engines import Network, engine_of
from masthead.fraud.scoring.scorer import CalibratedScorer
from masthead.learn.calibration import Calibration
from masthead.learn.scores import roc_auc

BLOCKS = Blocks(own=(0, 1), categoricals=(2,), relations=((3, 4), (5, 6, 7)))
OPTIONS = TemporalOptions(hidden=8, epochs=6, batch=128)
Rows = NDArray[np.int64]


@cache
def data(count: int = 2_000) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return vectors whose label follows one relation's block, with missing entities among them."""
    chance = np.random.default_rng(1)
    x = chance.normal(size=(count, 8)).astype(np.float32)
    x[:, 2] = chance.integers(0, 4, count)
    y = (2 * x[:, 3] + x[:, 6] + 0.5 * chance.normal(size=count) > 2.5).astype(np.int8)
    x[chance.random(count) < 0.2, 5:8] = np.nan
    x[chance.random(count) < 0.1, 1] = np.nan
    return x, y


@cache
def network() -> TemporalNetwork:
    x, y = data()
    return fit(x, y, BLOCKS, rows=np.arange(1_400), check=np.arange(1_400, 1_600), options=OPTIONS)


def test_it_ranks_later_rows_by_what_their_entities_were() -> None:
    x, y = data()
    found = roc_auc(y[1_600:], network().raw(x[1_600:]))
    assert found is not None
    assert found > 0.9


def test_equal_seeds_give_equal_networks() -> None:
    x, y = data()
    again = fit(x, y, BLOCKS, rows=np.arange(1_400), check=np.arange(1_400, 1_600), options=OPTIONS)
    assert np.array_equal(again.raw(x), network().raw(x))


def test_rows_after_training_change_nothing() -> None:
    x, y = data()
    changed, labels = x.copy(), y.copy()
    changed[1_600:] = 99
    labels[1_600:] = 1 - labels[1_600:]
    again = fit(
        changed, labels, BLOCKS, rows=np.arange(1_400), check=np.arange(1_400, 1_600), options=OPTIONS
    )
    assert np.array_equal(again.raw(x), network().raw(x))


def test_a_row_scores_alone_as_among_others_and_missing_values_make_no_nan() -> None:
    x, _ = data()
    engine = Network(network())
    assert engine.raws(x[:50]).tolist() == [engine.raw(row) for row in x[:50]]
    assert np.array_equal(network().embed(x[:50])[7], network().embed_one(x[7]))
    assert np.isfinite(network().raw(np.full((1, 8), np.nan, np.float32))).all()


def test_arrays_bring_it_back_without_pickle() -> None:
    x, _ = data()
    file = io.BytesIO()
    np.savez(file, **network().arrays())  # type: ignore[arg-type]
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        again = TemporalNetwork.of_arrays(dict(arrays))
    assert again.blocks == BLOCKS
    assert np.array_equal(again.raw(x), network().raw(x))


def test_a_scorer_gives_a_logit_and_a_rising_probability() -> None:
    x, y = data()
    raw = network().raw(x[1_400:1_600])
    scorer = CalibratedScorer(Network(network()), Calibration.learn(raw, y[1_400:1_600]))
    found = sorted(scorer.score(row) for row in x[:40])
    assert all(0 <= probability <= 1 for _, probability in found)
    assert [one[1] for one in found] == sorted(one[1] for one in found)


def test_embeddings_know_no_label_of_their_own_time() -> None:
    x, y = data()
    ts, rows = np.arange(len(x)), np.arange(1_500)
    options = dataclasses.replace(OPTIONS, epochs=1)
    *_, (found, last) = chained_embeddings(x, y, ts, BLOCKS, rows=rows, options=options)
    assert last is not None
    assert np.isnan(found[:300]).all()
    assert np.isfinite(found[300:]).all()
    assert np.array_equal(found[1_500:], last.embed(x[1_500:]))
    other = y.copy()
    other[900:1_500] = 1 - other[900:1_500]
    *_, (changed, _) = chained_embeddings(x, other, ts, BLOCKS, rows=rows, options=options)
    assert np.array_equal(changed[300:900], found[300:900])
    assert not np.array_equal(changed[1_200:1_500], found[1_200:1_500])


def test_one_class_alone_is_refused() -> None:
    x, y = data()
    with pytest.raises(
        InvalidInput, match="labels: expected both classes among the training rows, got 0 frauds of"
    ):
        fit(x, y * 0, BLOCKS, rows=np.arange(100), check=np.arange(100, 120), options=OPTIONS)


def test_parts_before_the_first_fraud_have_no_embedding() -> None:
    x, y = data()
    ts, rows, late = np.arange(len(x)), np.arange(1_500), y.copy()
    late[:500] = 0
    options = dataclasses.replace(OPTIONS, epochs=1)
    *_, (found, last) = chained_embeddings(x, late, ts, BLOCKS, rows=rows, options=options)
    assert np.isnan(found[:600]).all()
    assert np.isfinite(found[900:]).all()
    assert last is not None


def test_contributions_sum_to_the_logit_and_name_what_the_label_follows() -> None:
    x, _ = data()
    found = network().contributions(x[:60])
    np.testing.assert_allclose(found.sum(axis=1), network().raw(x[:60]), atol=1e-9)
    base = found[:, -1]
    assert np.ptp(base[~np.isnan(x[:60, 5])]) < 0.3  # the same mean transaction, but for the steps' error
    size = np.abs(found[:, :-1]).mean(axis=0)
    assert np.argmax(size) == 3
    assert (found[np.isnan(x[:60, 5])][:, 5:8] == 0).all()


def test_a_network_of_other_columns_or_a_damaged_one_is_refused() -> None:
    files = Network(network()).files()
    assert engine_of(files, 8).raw(data()[0][0]) == Network(network()).raw(data()[0][0])
    with pytest.raises(InvalidInput, match=r"network\.npz: expected a network over 9 columns, got 8"):
        engine_of(files, 9)
    with pytest.raises(InvalidInput, match=r"network\.npz: expected the arrays of a network"):
        engine_of({"network.npz": files["network.npz"][:300]}, 8)
