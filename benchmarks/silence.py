"""How soon silence is told, and that gaps which belong to a series are not called silence.

python benchmarks/silence.py
"""

import numpy as np

from masthead.metrics import SeriesScorer
from masthead.metrics.configuration import configuration_hash
from masthead.metrics.state import REASONS, SILENCE


def told_silent(present: np.ndarray) -> np.ndarray:
    """Return (steps, series) where silence was the reason, for values that are there where `present` says."""
    rng = np.random.default_rng(1)
    values = np.where(present, rng.normal(size=present.shape), np.nan)
    scorer = SeriesScorer(series=present.shape[1], interval_s=300)
    scores = scorer.score_many(300.0 * np.arange(len(values)), values)
    return scores["reason"] == SILENCE


def main() -> None:
    print("configuration", configuration_hash(), "; reason", REASONS[SILENCE])
    rng = np.random.default_rng(0)
    for name, share, learning in (("no gaps", 0.0, 100), ("no gaps", 0.0, 300), ("1 % gaps", 0.01, 500)):
        present = rng.random((learning + 40, 200)) >= share
        present[learning:] = False
        first = told_silent(present)[learning:].argmax(axis=0)
        print(
            f"{name}, {learning} intervals learned: told {first.min()} to {first.max()} after the first missing one"
        )
    for share in (0.05, 0.2, 0.4):
        present = rng.random((5000, 200)) >= share
        silent = told_silent(present)[300:]
        print(
            f"{share:.0%} random gaps: {int(silent.sum())} false in {silent.size} intervals after 300 of learning"
        )
    present = np.ones((6000, 50), bool)
    present[:, :] = ((np.arange(6000) % 288) > 90)[:, None]
    nights = told_silent(present).reshape(-1)
    by_night = [int(told_silent(present)[288 * k : 288 * (k + 1)].any()) for k in range(8)]
    print(
        f"a series that stops each night: told silent in nights {by_night}, {int(nights.sum()) // 50} intervals in all"
    )


if __name__ == "__main__":
    main()
