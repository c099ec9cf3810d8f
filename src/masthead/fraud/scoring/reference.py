"""What the training rows looked like, column by column, and how far a week alone lay from it: the yardstick for drift."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import DAY_US

__all__ = ["histogram", "histograms", "stability"]

_BINS = 10
_LEAST_SHARE = 1e-4  # an empty class would make the index infinite
_ROWS = 20_000  # enough for shares of a tenth to be true to 1 %
_WEEK = 7 * DAY_US
_WEEKS, _WEEK_ROWS, _LEAST = 4, 5_000, 500


def histograms(names: list[str], x: NDArray[np.float32], ts: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Return per column `edges` of tenths, the `shares` between them (one more than edges), `missing` and `usual`.

    `usual` is how far a week lay from all that came before it, as `stability` tells: the most of the last four weeks. A count
    that only grows, or one of the few values of a relation that everybody shares, is far from its past in every week.

    Args:
        x: (rows, columns), NaN = missing. At most 20,000 rows at even distances are looked at.
        ts: (rows,) rising, UTC microseconds.
    """
    some = x[:: max(1, len(x) // _ROWS)]
    weeks = list(_weeks(x, ts))
    found = {}
    for j, name in enumerate(names):
        told = histogram(some[:, j].astype(np.float64))
        indices = [
            stability(histogram(before[:, j].astype(np.float64)), week[:, j].astype(np.float64))
            for before, week in weeks
        ]
        usual = max((one for one in indices if one is not None), default=0.0)
        found[name] = {**told, "usual": round(usual, 4)}
    return found


def _weeks(
    x: NDArray[np.float32], ts: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield some rows before each of the last weeks, and some of it; weeks of few rows tell nothing."""
    end = len(ts)
    for _ in range(_WEEKS):
        start = int(np.searchsorted(ts, ts[end - 1] - _WEEK)) if end else 0
        if min(start, end - start) < _LEAST:
            return
        before, week = x[:start], x[start:end]
        yield before[:: max(1, len(before) // _WEEK_ROWS)], week[:: max(1, len(week) // _WEEK_ROWS)]
        end = start


def histogram(values: NDArray[np.float64]) -> dict[str, Any]:
    """Return edges, shares and the share of missing values of one column."""
    known = values[np.isfinite(values)]
    if not len(known):
        return {"edges": [], "shares": [], "missing": 1.0}
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(edges, known, side="right"), minlength=len(edges) + 1)
    return {
        "edges": [float(edge) for edge in edges],
        "shares": [round(float(count) / len(known), 6) for count in counts],
        "missing": round(1.0 - len(known) / len(values), 6),
    }


def stability(reference: Mapping[str, Any], values: NDArray[np.float64]) -> float | None:
    """Return the population stability index of values against a histogram of `histogram`; None without any.

    The sum over the classes of (share now - share then) * log(share now / share then); a missing value is a class.

    >>> stability({"edges": [1.0], "shares": [0.5, 0.5], "missing": 0.0}, np.array([0.0, 2.0]))
    0.0
    """
    if not len(values):
        return None
    shares = np.array(reference["shares"] or [0.0])
    known = values[np.isfinite(values)]
    places = np.searchsorted(np.asarray(reference["edges"], np.float64), known, side="right")
    counts = np.bincount(places, minlength=len(shares))
    missing = float(reference["missing"])
    then = np.maximum(np.append(shares * (1.0 - missing), missing), _LEAST_SHARE)
    now = np.maximum(np.append(counts, len(values) - len(known)) / len(values), _LEAST_SHARE)
    return float(np.sum((now - then) * np.log(now / then)))
