"""What columns add to the logit of the temporal network."""

import numpy as np

from masthead.fraud.temporal import Blocks, TemporalNetwork


def network() -> TemporalNetwork:
    """Return one of random weights: three own columns of which one is a category, and two relations."""
    rng = np.random.default_rng(4)
    shapes = {"own.w": (5, 6), "own.b": (6,), "mix.w": (12, 6), "mix.b": (6,), "out.w": (6, 1), "out.b": (1,)}
    shapes |= {"0.w": (2, 6), "0.b": (6,), "0.u": (6, 6), "1.w": (3, 6), "1.b": (6,), "1.u": (6, 6)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    centre, scale = rng.normal(size=8).astype(np.float32), np.full(8, 0.7, np.float32)
    return TemporalNetwork(Blocks((0, 1), (2,), ((3, 4), (5, 6, 7))), (3,), centre, scale, weights)


def test_contributions_of_the_network_are_gradient_times_input_and_add_up() -> None:
    made, rng = network(), np.random.default_rng(5)
    x = rng.normal(size=(50, 8)).astype(np.float32)
    x[:, 2] = rng.integers(0, 3, 50)
    x[::5, 3:5] = np.nan  # no entity of the first relation
    x[::7, 0] = np.nan
    found = made.contributions(x)
    np.testing.assert_allclose(found.sum(1), made.raw(x), atol=1e-5)
    assert (found[::5, 3:5] == 0).all()
    assert (found[::7, 0] == 0).all()
    # The same by differences: the input as the network sees it, times how fast the logit changes with it.
    for column in (1, 6):
        seen = (np.sign(x) * np.log1p(np.abs(x)) - made.centre) / made.scale
        up, down = x.astype(np.float64), x.astype(np.float64)
        up[:, column], down[:, column] = x[:, column] + 1e-3, x[:, column] - 1e-3
        slope = (made.raw(up) - made.raw(down)) / 2e-3 * made.scale[column] * (1 + np.abs(x[:, column]))
        near = np.isclose(found[:, column], slope * seen[:, column], atol=0.02, rtol=0.02)
        assert near.mean() > 0.9  # but where a unit switches within the difference
    assert np.abs(found[:, :-1]).max(0).min() > 0
