"""Recall at an equal price in false alerts, on anomalies of five kinds that repeat.

    python benchmarks/second_set.py [FOLDER]

FOLDER holds CSV files whose first three columns are epoch seconds, value, label, named `<base>_<kind>.csv` or
`<base>_<kind>_anomaly.csv` (such as the synthetic files of https://github.com/salesforce/Merlion); without FOLDER a
similar set is generated with fixed seeds. Price: one threshold for all, such that alerts on clean scored points number
1 per 1,000. Hit: an alert within a labelled run or the 10 points after it. The first 15 % of a series is learning time.
Here alerts are damped for 12 points only, as the runs lie close together; all else is as it ships.
"""

import csv
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from masthead.metrics import SeriesScorer
from masthead.metrics.configuration import DEFAULT, configuration_hash

Labelled = dict[str, tuple[np.ndarray, np.ndarray]]

WIDTHS = {"spike": 1, "shock": 4, "dip": 8, "level": 30, "trend": 40}
BASES = ("horizontal", "seasonal", "wandering")
LEARNING = 0.15
AFTER = 10
DAMPED = 12
CONFIGURATION = replace(DEFAULT, refractory=16)


def generated(rows: int = 8000, runs: int = 30) -> Labelled:
    """Return {name: (values, label)}: three bases times five kinds of anomaly."""
    told = {}
    for b, base in enumerate(BASES):
        for k, (kind, width) in enumerate(WIDTHS.items()):
            rng = np.random.default_rng(100 * b + k)
            t = np.arange(rows)
            course = {"horizontal": 0.0 * t, "seasonal": 4 * np.sin(2 * np.pi * t / 144)}
            values = rng.normal(size=rows) + course.get(base, 6 * np.sin(2 * np.pi * t / 3000))
            label = np.zeros(rows, bool)
            for at in np.sort(rng.choice(np.arange(rows // 100), runs, replace=False)) * 100 + 20:
                size, sign = rng.uniform(4, 8), rng.choice((-1, 1))
                shape = {
                    "spike": sign * np.ones(1),
                    "shock": rng.normal(size=4),
                    "dip": -np.ones(8),
                    "level": sign * np.ones(30),
                    "trend": sign * np.linspace(0, 1, 40),
                }[kind]
                values[at : at + width] += size * shape
                label[at : at + width] = True
            told[f"{base}_{kind}"] = (values, label)
    return told


def read(folder: Path) -> Labelled:
    """Return {name: (values, label)} of the files that have a label."""
    told = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
        if rows and len(rows[0]) > 2:
            label = np.array([float(row[2]) > 0 for row in rows])
            if label.any():
                told[path.stem.removesuffix("_anomaly")] = (np.array([float(row[1]) for row in rows]), label)
    return told


def alerts(severity: np.ndarray) -> np.ndarray:
    """Return the severities above all of the points just before, else 0."""
    padded = np.concatenate([np.full(DAMPED, -1.0), severity])
    before = np.lib.stride_tricks.sliding_window_view(padded, DAMPED)[:-1].max(axis=1)
    return np.where(severity > before, severity, 0.0)


def threshold(scores: dict[str, np.ndarray], told: Labelled, per_thousand: float = 1.0) -> float:
    """Return the severity above which clean points alert at the given price."""
    clean = []
    for name, severity in scores.items():
        near = np.convolve(told[name][1], np.ones(AFTER + 1))[: len(severity)] > 0
        scored = np.arange(len(severity)) >= LEARNING * len(severity)
        clean.append(alerts(severity)[scored & ~near])
    ranked = np.sort(np.concatenate(clean))[::-1]
    return float(ranked[int(per_thousand * len(ranked) / 1000)])


def main() -> None:
    told = read(Path(sys.argv[1])) if len(sys.argv) > 1 else generated()
    scores = {}
    for name, (values, _) in told.items():
        scorer = SeriesScorer(series=1, interval_s=300, silence=False, configuration=CONFIGURATION)
        scores[name] = scorer.update_many(300.0 * np.arange(len(values)), values[:, None])[:, 0].astype(float)
    limit = threshold(scores, told)
    hits: dict[str, list[bool]] = {}
    for name, severity in scores.items():
        label = told[name][1].astype(int)
        starts = np.flatnonzero(np.diff(np.r_[0, label]) == 1)
        ends = np.flatnonzero(np.diff(np.r_[label, 0]) == -1)
        for first, last in zip(starts, ends, strict=True):
            if first >= LEARNING * len(severity):
                found = bool((severity[first : last + AFTER + 1] > limit).any())
                hits.setdefault(name.split("_")[-1], []).append(found)
    every = [hit for kind in hits.values() for hit in kind]
    print("configuration", configuration_hash(CONFIGURATION))
    print(f"at severity {limit:.1f}: recall {sum(every)}/{len(every)} = {np.mean(every):.3f}")
    print("  ".join(f"{kind} {np.mean(kind_hits):.2f}" for kind, kind_hits in hits.items()))


if __name__ == "__main__":
    main()
