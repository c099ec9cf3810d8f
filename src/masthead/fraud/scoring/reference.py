"""What the training rows looked like, column by column: the yardstick for drift."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["histograms"]

_BINS = 10
_ROWS = 20_000  # enough for shares of a tenth to be true to 1 %


def histograms(names: list[str], x: NDArray[np.float32]) -> dict[str, dict[str, Any]]:
    """Return per column `edges` of tenths, the `shares` between them (one more than edges), and `missing`.

    Args:
        x: (rows, columns), NaN = missing. At most 20,000 rows at even distances are looked at.
    """
    some = x[:: max(1, len(x) // _ROWS)]
    return {name: histogram(some[:, j].astype(np.float64)) for j, name in enumerate(names)}


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
