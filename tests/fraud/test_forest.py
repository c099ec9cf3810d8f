"""The walker against LightGBM itself: numbers, NaN, zeros, categories, values beyond them."""

import lightgbm as lgb
import numpy as np
import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.scoring.forest import Forest


def grown(*, rows: int = 3000, seed: int = 0, **parameters):
    """Return a booster over numbers with and without NaN, categories and signs, and rows that it never saw."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)).astype(np.float32)
    x[:, 2] = rng.integers(0, 40, rows)
    x[:, 3] = rng.integers(0, 5, rows)
    x[rng.random(rows) < 0.3, 1] = np.nan
    x[rng.random(rows) < 0.2, 2] = np.nan
    x[rng.random(rows) < 0.3, 4] = 0
    y = (x[:, 0] + np.nan_to_num(x[:, 1]) + (x[:, 2] % 3 == 1) - (x[:, 3] == 2) + rng.normal(size=rows)) > 0.5
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_in_leaf": 20} | parameters
    booster = lgb.train(settings, lgb.Dataset(x, y, categorical_feature=[2, 3]), 60)
    strange = x[:400].copy()
    strange[:100, 0] = np.nan  # where the training rows had none
    strange[100:200, 2] = rng.choice([-1, 39.5, 64, 1000, 3e9, np.inf], 100)
    strange[200:300, 5] = rng.choice([0, -0.0, np.inf, -np.inf], 100)
    return booster, np.concatenate([x[:400], strange])


@pytest.mark.parametrize(
    "parameters", [{}, {"zero_as_missing": True}, {"use_missing": False}, {"boost_from_average": False}]
)
def test_parity_of_the_walker_with_lightgbm(parameters):
    booster, rows = grown(**parameters)
    forest = Forest.parse(booster.model_to_string())
    own = np.array([forest.raw(row) for row in rows])
    assert np.abs(own - booster.predict(rows, raw_score=True)).max() <= 1e-9


def test_trees_without_a_split_are_leaves():
    booster, rows = grown(min_data_in_leaf=5000)
    forest = Forest.parse(booster.model_to_string())
    assert np.abs(forest.raw(rows[0]) - booster.predict(rows[:1], raw_score=True)[0]) <= 1e-9


def test_a_forest_survives_its_file():
    booster, rows = grown()
    forest = Forest.parse(booster.model_to_string())
    again = Forest.from_bytes(forest.to_bytes())
    assert again.columns == 6
    assert [again.raw(row) for row in rows[:50]] == [forest.raw(row) for row in rows[:50]]


@pytest.mark.parametrize("data", [b"", b"PK nothing", b"\x80\x04pickle"])
def test_bytes_that_are_no_forest_are_refused(data):
    with pytest.raises(InvalidInput, match=r"forest\.npz"):
        Forest.from_bytes(data)


def test_text_that_is_no_model_is_refused():
    with pytest.raises(InvalidInput, match="binary model"):
        Forest.parse("tree\nversion=v4\nobjective=regression\n")
