"""What columns add to the logit of the temporal network."""

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.networks.temporal_network import Blocks, TemporalNetwork


def network() -> TemporalNetwork:
    """Return one of random weights: three own columns of which one is a category, and two relations."""
    rng = np.random.default_rng(4)
    shapes = {"own.w": (5, 6), "own.b": (6,), "mix.w": (12, 6), "mix.b": (6,), "out.w": (6, 1), "out.b": (1,)}
    shapes |= {"0.w": (2, 6), "0.b": (6,), "0.u": (6, 6), "1.w": (3, 6), "1.b": (6,), "1.u": (6, 6)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    centre, scale = rng.normal(size=8).astype(np.float32), np.full(8, 0.7, np.float32)
    return TemporalNetwork(Blocks((0, 1), (2,), ((3, 4), (5, 6, 7))), (3,), centre, scale, weights)


def test_contributions_of_the_network_add_up_and_are_the_gradient_on_the_way_from_the_mean() -> None:
    made, rng = network(), np.random.default_rng(5)
    x = rng.normal(size=(50, 8)).astype(np.float32)
    x[:, 2] = rng.integers(0, 3, 50)
    x[::5, 3:5] = np.nan  # no entity of the first relation
    x[::7, 0] = np.nan
    found = made.contributions(x)
    np.testing.assert_allclose(found.sum(1), made.raw(x), atol=1e-5)
    assert (found[::5, 3:5] == 0).all()
    assert (found[::7, 0] == 0).all()
    assert np.abs(found[:, :-1]).max(0).min() > 0
    # The same by differences, for rows without a category, which nothing lies between.
    rows = x[[1, 2, 3, 4, 6, 8, 9, 11]]
    rows[:, 2] = np.nan
    found = made.contributions(rows)
    seen = (np.sign(rows) * np.log1p(np.abs(rows)) - made.centre) / made.scale
    for column in (1, 6):
        total = np.zeros(len(rows))
        for step in range(64):
            up, down = ((step + 0.5) / 64 * seen for _ in range(2))
            up[:, column] += 1e-2
            down[:, column] -= 1e-2
            total += (made.raw(unsqueezed(made, up)) - made.raw(unsqueezed(made, down))) / 2e-2 / 64
        np.testing.assert_allclose(found[:, column], total * seen[:, column], atol=0.05, rtol=0.05)


def unsqueezed(made: TemporalNetwork, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the columns that the network sees as `values`."""
    size = made.centre + made.scale * values
    return np.asarray(np.sign(size) * np.expm1(np.abs(size)), np.float32)
