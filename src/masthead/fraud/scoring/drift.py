"""How far transactions have moved from those that taught a model, and how well it still ranks. Arrays in, numbers out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.clock import DAY_US
from masthead.fraud.scoring.reference import stability
from masthead.learn.scores import average_precision, gain_error, precision_at

__all__ = [
    "MOVED",
    "Contest",
    "contest",
    "feature_stability",
    "late_share",
    "limits",
    "matured_outcome",
    "ranking",
    "unseen_shares",
]

MOVED = 0.2
"""From this population stability index on a column has moved: the usual rule of thumb, 0.1 being a slight move."""

_UNUSUAL = 2.0  # times what a week alone moved by while the model learned


def feature_stability(
    names: Sequence[str], x: NDArray[np.float32], reference: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Return the index of each column that the reference has; first what has moved most beyond its limit.

    Args:
        x: (rows, columns), NaN = missing.
    """
    found = {
        name: index
        for j, name in enumerate(names)
        if name in reference and (index := stability(reference[name], x[:, j].astype(np.float64))) is not None
    }
    limit = limits(reference)
    return dict(sorted(found.items(), key=lambda one: -one[1] / limit[one[0]]))


def limits(reference: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return per column the index from which it has moved: `MOVED`, and more where every week is far from its past."""
    return {name: max(MOVED, _UNUSUAL * told.get("usual", 0.0)) for name, told in reference.items()}


def unseen_shares(x: NDArray[np.float32], counts: Mapping[str, int]) -> dict[str, float | None]:
    """Return per relation which share of its values nobody had seen before; None where there was no value.

    Args:
        counts: Relation -> the column that holds how often its entity had been seen; NaN = no value.
    """
    found: dict[str, float | None] = {}
    for relation, place in counts.items():
        known = x[:, place][np.isfinite(x[:, place])]
        found[relation] = float(np.mean(known == 0)) if len(known) else None
    return found


def late_share(ts: NDArray[np.int64]) -> float | None:
    """Return which share of transactions, in the order of their acceptance, was older than one before it; None of none."""
    return float(np.mean(ts < np.maximum.accumulate(ts))) if len(ts) else None


def matured_outcome(
    seq: NDArray[np.int64], labelled: NDArray[np.int64], value: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Return 1 fraud or 0 legitimate of transactions that are old enough: who was never called fraud is legitimate.

    Args:
        seq: Rising. labelled: Which transaction each label is about, in the order of arrival: the latest holds.
    """
    found = np.zeros(len(seq), np.int8)
    if len(seq):
        places = np.minimum(np.searchsorted(seq, labelled), len(seq) - 1)
        inside = seq[places] == labelled
        found[places[inside]] = value[inside]  # of several the last one stays
    return found


def ranking(
    ts: NDArray[np.int64], y: NDArray[np.int8], score: NDArray[np.float64], *, k: int = 100
) -> dict[str, Any]:
    """Return how well scores rank: average precision, and precision at the k highest of each day; None with one outcome."""
    both = len(np.unique(y)) == 2
    return {
        "transactions": len(y),
        "positives": int(y.sum()),
        "average_precision": average_precision(y, score),
        f"precision_at_{k}_per_day": precision_at(k, y, score, ts // DAY_US) if both else None,
    }


@dataclass(frozen=True, slots=True)
class Contest:
    """Two models on the same transactions.

    Attributes:
        champion, challenger: Average precision, None where the outcome is one alone.
        error: Standard error of the difference, by drawing days anew; None where it cannot be told.
    """

    transactions: int
    positives: int
    days: int
    champion: float | None
    challenger: float | None
    error: float | None

    @property
    def won(self) -> bool:
        """Whether the challenger ranks better by more than one standard error."""
        if self.champion is None or self.challenger is None or self.error is None:
            return False
        return self.challenger - self.champion > self.error

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "transactions": self.transactions,
            "positives": self.positives,
            "days": self.days,
            "average_precision": {"champion": self.champion, "challenger": self.challenger},
            "standard_error": self.error,
        }


def contest(
    ts: NDArray[np.int64], y: NDArray[np.int8], champion: NDArray[np.float64], challenger: NDArray[np.float64]
) -> Contest:
    """Return how two models rank the same transactions."""
    days = ts // DAY_US
    error = gain_error(y, champion, challenger, days, seed=0) if len(y) else float("inf")
    return Contest(
        len(y),
        int(y.sum()),
        len(np.unique(days)),
        average_precision(y, champion),
        average_precision(y, challenger),
        error if np.isfinite(error) else None,
    )
