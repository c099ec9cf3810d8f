"""Find what is ordinary by its value and wrong for its time; stay quiet where only a season or a trend moves.

    python benchmarks/seasonal.py

Generates labelled series of several intervals: a daily course (or, for daily values, a weekly one) with noise, and
anomalies that never leave the range of the days before them:

    swap     some hours hold the values of the opposite time of the day, with the noise of those hours
    missing  the day's rise stays out: the values of the night go on
    shift    the course runs some hours early, gliding into it and out of it

Prints recall at severities 50 and 70 and alerts per 1,000 points outside the anomalies, for anomalies from the third
cycle on ("early") and from the tenth on ("late"); then alert rates of clean trend, daily and weekly series.
"""

from dataclasses import dataclass

import kernel
import numpy as np

from masthead.metrics import SeriesScorer
from masthead.metrics.configuration import configuration_hash


@dataclass(frozen=True, slots=True)
class Labelled:
    """One generated series: `events` are (first, end) point numbers."""

    interval_s: int
    values: np.ndarray
    events: tuple[tuple[int, int], ...]


KINDS = ("swap", "missing", "shift")


def course(phase: np.ndarray) -> np.ndarray:
    """Return the value at a place in the cycle (0 to 1): low nights, a morning rise, a lower evening hump."""
    return 10 * np.exp(-((phase % 1 - 0.42) ** 2) / 0.012) + 7 * np.exp(-((phase % 1 - 0.78) ** 2) / 0.008)


def labelled(interval_s: int, kind: str, *, first_cycle: int, cycles: int, seed: int) -> Labelled:
    """Return a series with one anomaly in every seventh cycle from `first_cycle` on."""
    rng = np.random.default_rng([interval_s, KINDS.index(kind), first_cycle, seed])
    per_cycle = 86_400 // interval_s if interval_s < 86_400 else 7
    t = np.arange(cycles * per_cycle)
    phase = t / per_cycle + 0.0
    events = []
    for cycle in range(first_cycle, cycles - 1, 7):
        width = max(1, round(per_cycle * (0.14 if interval_s < 86_400 else 0.15)))
        at = {"swap": 0.02, "missing": 0.36, "shift": 0.30}[kind] if interval_s < 86_400 else 0.43
        first = round((cycle + at) * per_cycle) + int(rng.integers(0, max(1, per_cycle // 50)))
        where = slice(first, first + width)
        if kind == "swap" or interval_s >= 86_400:
            phase[where] += 0.40 if interval_s < 86_400 else 0.5
        elif kind == "missing":
            phase[where] = 0.05
        else:
            phase[where] += 0.12 * np.sin(np.pi * np.arange(width) / width)
        events.append((first, first + width))
    values = 50 + course(phase) + rng.normal(0, 0.7, len(t))
    return Labelled(interval_s, values, tuple(events))


def found(told: Labelled, level: float) -> tuple[int, int, int]:
    """Return events found at a severity, events, and alerts outside events (and their aftermath)."""
    scorer = SeriesScorer(series=1, interval_s=told.interval_s)
    times = np.arange(len(told.values)) * float(told.interval_s) + 4 * 86_400
    severity = scorer.update_many(times, told.values[:, None])[:, 0]
    outside = np.ones(len(severity), bool)
    hits = 0
    for first, end in told.events:
        hits += bool((severity[first:end] >= level).any())
        outside[first : end + (end - first)] = False
    outside[: told.events[0][0]] = False
    return hits, len(told.events), int((severity[outside] >= level).sum())


def main() -> None:
    print("configuration", configuration_hash())
    for interval_s in (300, 600, 3600, 86_400):
        kinds = KINDS if interval_s < 86_400 else ("swap",)
        for kind in kinds:
            line = f"{interval_s:6d} s {kind:8s}"
            for name, first_cycle, cycles in (("early", 3, 6), ("late", 10, 40)):
                sets = [
                    labelled(interval_s, kind, first_cycle=first_cycle, cycles=cycles, seed=seed)
                    for seed in range(30)
                ]
                points = sum(len(told.values) for told in sets)
                for level in (50, 70):
                    hits, events, alerts = map(sum, zip(*(found(told, level) for told in sets), strict=True))
                    line += f"  {name} >= {level}: {hits / events:.2f} ({1000 * alerts / points:.2f})"
            print(line, flush=True)
    print("clean series, alerts per stated alert (must stay below 1)")
    for name, draw in kernel.clean_series().items():
        if any(word in name for word in ("daily", "week", "trend")):
            rates = kernel.alert_rates(draw, 300, 8000, 1000)
            print(
                f"{name:16s}",
                "  ".join(f"{k}: {rates[k] / kernel.STATED[k]:5.2f}" for k in rates),
                flush=True,
            )


if __name__ == "__main__":
    main()
