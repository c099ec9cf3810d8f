"""Where a decision begins to cost less: two cuts of the probability, one to review and one to block.

A day costs the amounts of missed frauds, a friction for each legitimate customer who is blocked, and a price for each
review. The cuts are those that cost least on the validation window, with no more reviews a day than people can do.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput

__all__ = ["Costs", "Thresholds", "choose"]

_POINTS = 400  # of the curve; each pair of them is tried
_NOMINAL = 100.0  # what a fraud costs where the data tell no amount


@dataclass(frozen=True, slots=True)
class Costs:
    """What is lost by which mistake, in the currency of the amounts.

    Attributes:
        loss_rate: Share of a missed fraud's amount that is lost.
        friction: Of blocking a legitimate customer.
        review: Of one review.
        capacity: Reviews a day.
    """

    loss_rate: float = 1.0
    friction: float = 25.0
    review: float = 3.0
    capacity: int = 100

    def __post_init__(self) -> None:
        for name in ("loss_rate", "friction", "review", "capacity"):
            value = getattr(self, name)
            if not isfinite(value) or value < 0:
                raise InvalidInput(f"{name}: expected 0 or more, got {value}")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The two cuts, how they came about, and what others would have cost.

    Attributes:
        review: Probability from which a transaction is flagged.
        block: Probability from which it is refused; at or above `review`.
        curve: Per cut: `threshold`, `alerts_per_day`, `precision`, `recall`, `missed` (amount a day) and `cost`
            (a day, all that is flagged blocked).
    """

    review: float
    block: float
    costs: Costs
    curve: tuple[dict[str, float], ...] = ()

    def action(self, probability: float) -> str:
        """Return pass, review or block."""
        if probability >= self.block:
            return "block"
        return "review" if probability >= self.review else "pass"

    def to_json(self) -> dict[str, Any]:
        """Return the form that stands in a card."""
        return {**asdict(self), "curve": list(self.curve)}

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> "Thresholds":
        """Return the thresholds of a card."""
        return Thresholds(given["review"], given["block"], Costs(**given["costs"]), tuple(given["curve"]))


def choose(
    probability: NDArray[np.float64],
    y: NDArray[np.int8],
    amount: NDArray[np.float64],
    days: float,
    costs: Costs,
) -> Thresholds:
    """Return the cheapest cuts on a window whose truth is known.

    Args:
        probability: (n,) as the model gives them.
        y: (n,) 1 fraud, 0 legitimate.
        amount: (n,) NaN counts as the mean one, or as 100 where no row has one.
        days: Length of the window.
    """
    known = amount[np.isfinite(amount)]
    lost = np.where(np.isfinite(amount), np.maximum(amount, 0), known.mean() if len(known) else _NOMINAL)
    order = np.argsort(-probability, kind="stable")
    p, truth = probability[order], y[order].astype(np.float64)
    frauds = np.concatenate([[0.0], np.cumsum(truth)])
    caught = np.concatenate([[0.0], np.cumsum(truth * lost[order])])
    cut = _cuts(p)  # so many are above each cut
    false = cut - frauds[cut]
    missed = costs.loss_rate * (caught[-1] - caught[cut])
    reviews = cut[None, :] - cut[:, None]  # of block at row, review at column
    total = costs.friction * false[:, None] + costs.review * reviews + missed[None, :]
    total[(reviews < 0) | (reviews > ceil(costs.capacity * max(days, 1.0)))] = np.inf
    block, review = np.unravel_index(int(np.argmin(total)), total.shape)
    points = [
        {
            "threshold": _threshold(p, int(n)),
            "alerts_per_day": float(n / days),
            "precision": float(frauds[n] / n) if n else 1.0,
            "recall": float(frauds[n] / frauds[-1]) if frauds[-1] else 0.0,
            "missed": float(missed[i] / days),
            "cost": float((missed[i] + costs.friction * false[i]) / days),
        }
        for i, n in enumerate(cut.tolist())
    ]
    return Thresholds(
        review=_threshold(p, int(cut[review])),
        block=_threshold(p, int(cut[block])),
        costs=costs,
        curve=tuple(points),
    )


def _cuts(p: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return how many rows lie above each cut worth trying: dense at the top, and never between equal rows."""
    n = len(p)
    wanted = np.unique(np.concatenate([[0], np.geomspace(1, n, _POINTS).astype(np.int64)]))
    ends = np.concatenate([[0], np.flatnonzero(np.concatenate([np.diff(p) != 0, [True]])) + 1])
    found: NDArray[np.int64] = np.unique(ends[np.searchsorted(ends, wanted)])
    return found


def _threshold(p: NDArray[np.float64], above: int) -> float:
    """Return a probability with so many rows at or above it: half way to the next one."""
    if above == 0:
        return float((1.0 + p[0]) / 2)
    return float(p[above - 1]) if above == len(p) else float((p[above - 1] + p[above]) / 2)
