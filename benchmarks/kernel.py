"""What the kernel costs, and how often it is wrong on clean data.

python benchmarks/kernel.py cost     CPU per point, bytes per series, wall time of an interval, single updates
python benchmarks/kernel.py clean    alert rate of clean generated series against the stated one
python benchmarks/kernel.py trends   the same for trends of other slopes and noises, which nothing was chosen on
"""

import sys
import time
from collections.abc import Callable

import numpy as np

from masthead.metrics import SeriesScorer
from masthead.metrics.configuration import configuration_hash
from masthead.metrics.state import SERIES

STATED = {50: 1e-3, 70: 1e-4, 90: 1e-5}
"""False alerts per clean point that each severity promises to stay below."""

Draw = Callable[[np.random.Generator, np.ndarray, int], np.ndarray]


def clean_series() -> dict[str, Draw]:
    """Return generators of clean values: (random, point numbers (steps, 1), series) to (steps, series)."""

    def noise(rng: np.random.Generator, t: np.ndarray, n: int) -> np.ndarray:
        return rng.normal(size=(len(t), n))

    def weekly(rng: np.random.Generator, t: np.ndarray, n: int) -> np.ndarray:
        weekend = (t // 288) % 7 >= 5
        return 10 * np.sin(2 * np.pi * t / 288) * np.where(weekend, 0.4, 1.0) + noise(rng, t, n)

    return {
        "gauss": noise,
        "uniform": lambda rng, t, n: rng.random((len(t), n)),
        "gamma": lambda rng, t, n: rng.gamma(2, 10, (len(t), n)),
        "integers": lambda rng, t, n: rng.integers(50, 81, (len(t), n)).astype(float),
        "daily sine": lambda rng, t, n: 10 * np.sin(2 * np.pi * t / 288) + noise(rng, t, n),
        "daily shape": lambda rng, t, n: (
            10 * np.maximum(0, np.sin(2 * np.pi * t / 288)) ** 2 + noise(rng, t, n)
        ),
        "daily gamma": lambda rng, t, n: 20 * np.sin(2 * np.pi * t / 288) + rng.gamma(2, 1, (len(t), n)),
        "daily louder": lambda rng, t, n: (2 + np.sin(2 * np.pi * t / 288)) * (10 + noise(rng, t, n)),
        "weekend half": weekly,
        "weekly sine": lambda rng, t, n: 10 * np.sin(2 * np.pi * t / 2016) + noise(rng, t, n),
        "trend slow": lambda rng, t, n: 0.001 * t + noise(rng, t, n),
        "trend falling": lambda rng, t, n: -0.002 * t + rng.random((len(t), n)),
        "trend": lambda rng, t, n: 0.01 * t + noise(rng, t, n),
        "trend steep": lambda rng, t, n: 0.1 * t + noise(rng, t, n),
        "trend and daily": lambda rng, t, n: 0.005 * t + 10 * np.sin(2 * np.pi * t / 288) + noise(rng, t, n),
    }


def other_trends() -> dict[str, Draw]:
    """Return trends of Gaussian noise and of one with a heavier tail, slopes in standard deviations a point."""

    def rising(slope: float) -> Draw:
        return lambda rng, t, n: slope * t + rng.normal(size=(len(t), n))

    told = {f"slope {slope}": rising(slope) for slope in (0.0003, 0.0005, 0.001, 0.002, 0.004)}
    return told | {"gamma 0.001": lambda rng, t, n: 0.001 * t + rng.gamma(2, 0.7, (len(t), n))}


def alert_rates(draw: Draw, n: int, steps: int, learning: int, seed: int = 7) -> dict[int, float]:
    """Return alerts per point at each stated severity, counted after the learning part."""
    rng = np.random.default_rng(seed)
    scorer = SeriesScorer(series=n, interval_s=300)
    counts, points = dict.fromkeys(STATED, 0), 0
    for start in range(0, steps, 500):
        t = np.arange(start, min(start + 500, steps))
        severity = scorer.update_many(300.0 * t, draw(rng, t[:, None], n))[t >= learning]
        points += severity.size
        for level in STATED:
            counts[level] += int((severity >= level).sum())
    return {level: count / points for level, count in counts.items()}


def clean(n: int = 1000, steps: int = 8000, learning: int = 1000) -> None:
    print("configuration", configuration_hash(), "; alerts per stated alert; must stay below 1")
    show_rates(clean_series(), n, steps, learning)


def trends(n: int = 300, steps: int = 8000, learning: int = 1000) -> None:
    print("configuration", configuration_hash(), "; alerts per stated alert on other trends")
    show_rates(other_trends(), n, steps, learning)


def show_rates(kinds: dict[str, Draw], n: int, steps: int, learning: int) -> None:
    """Print the alert rates of each kind, over the stated ones."""
    for name, draw in kinds.items():
        rates = alert_rates(draw, n, steps, learning)
        shown = "  ".join(f"{level}: {rates[level] / stated:5.2f}" for level, stated in STATED.items())
        print(f"{name:16s} {shown}", flush=True)


def cost() -> None:
    print("configuration", configuration_hash(), ";", SERIES.itemsize, "bytes per series")
    for n, learning in ((10_000, 1200), (50_000, 100)):
        rng = np.random.default_rng(0)
        scorer = SeriesScorer(series=n, interval_s=300)
        for k in range(learning):
            scorer.update(300 * k, rng.gamma(2, 10, n))
        told = [rng.gamma(2, 10, n) for _ in range(20)]
        cpu, wall = time.process_time(), time.perf_counter()
        for k, values in enumerate(told):
            scorer.update(300 * (learning + k), values)
        cpu, wall = (time.process_time() - cpu) / 20, (time.perf_counter() - wall) / 20
        print(f"{n} series: {1e6 * cpu / n:.2f} us CPU per point, {wall:.3f} s wall per interval", flush=True)
    scorer = SeriesScorer(series=1, interval_s=300)
    values = np.random.default_rng(0).gamma(2, 10, (100_000, 1))
    wall = time.perf_counter()
    for k in range(100_000):
        scorer.update(300 * k, values[k])
    print(f"1 series: 100,000 single updates in {time.perf_counter() - wall:.2f} s")


if __name__ == "__main__":
    {"cost": cost, "clean": clean, "trends": trends}[sys.argv[1]]()
