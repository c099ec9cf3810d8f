"""Which few dimension values explain a deviation that many leaves share: the root-cause set.

Source: M. Kalander, "RiskLoc: Localization of Multi-dimensional Root Causes by Weighted Risk",
arXiv:2205.10004, 2022. Own code from the paper's description: relative deviation per leaf, a cut taken from
the opposite tail, weights by distance from the cut, and per cuboid (a set of dimensions), shortest first,
the risk of each element: its weighted share in the abnormal part minus what a common shift of the element
(the ripple effect) leaves unexplained. One `bincount` per sum and cuboid, so the whole lattice of five
dimensions and 48,000 leaves costs a fraction of a second.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput

__all__ = ["MAX_LEAVES", "Cause", "find_causes"]

MAX_LEAVES = 200_000
MAX_CAUSES = 12
OUTLIERS = 5


@dataclass(frozen=True, slots=True)
class Cause:
    """One element of the root-cause set.

    Attributes:
        elements: (dimension, code) pairs, by dimension: the leaves that hold all of them.
        share: Part of the whole deviation that lies in those leaves, 0-1.
        risk: RiskLoc's score; at most 1.
    """

    elements: tuple[tuple[int, int], ...]
    share: float
    risk: float


def find_causes(
    codes: NDArray[np.int64],
    real: NDArray[np.float64],
    expected: NDArray[np.float64],
    *,
    risk: float = 0.5,
    share: float = 0.02,
) -> list[Cause]:
    """Return the root-cause set, the strongest explanation first; empty when nothing deviates.

    Args:
        codes: (leaves, dimensions) int64, 0 or more: the dimension values of each leaf.
        real: (leaves,) float64, finite: what was measured.
        expected: (leaves,) float64, finite: what was expected.
        risk: Lowest risk of an element.
        share: Lowest part of the whole deviation that an element must explain.

    Raises:
        InvalidInput: Shapes do not agree, a value is not finite, or more than `MAX_LEAVES` leaves.
    """
    _check(codes, real, expected)
    deviation = expected - real
    size = np.abs(expected) + np.abs(real)
    relative = np.divide(2 * deviation, size, out=np.zeros(len(real)), where=size > 0)
    sign = 1.0 if deviation.sum() > 0 else -1.0
    relative, deviation = relative * sign, deviation * sign
    cut = max(1e-3, -float(np.sort(relative)[min(OUTLIERS, len(relative) - 1)]))
    high = relative > cut
    weight = np.where(high, np.abs(relative - cut), np.minimum(np.abs(relative - cut), 1.0))
    whole = float(np.abs(deviation[high]).sum())
    live = np.ones(len(real), bool)
    found: list[Cause] = []
    while len(found) < MAX_CAUSES:
        part = high & live
        if not part.any() or float(np.abs(deviation[part]).sum()) < share * whole:
            break
        best = None
        for layer in range(1, codes.shape[1] + 1):
            for cuboid in itertools.combinations(range(codes.shape[1]), layer):
                key, elements = _keys(codes, cuboid)
                explained = np.bincount(key[part], deviation[part], elements) / whole
                risky = np.bincount(key[part], weight[part], elements)
                both = np.bincount(key[live], weight[live], elements)
                before = np.bincount(key, np.where(live, expected, 0.0), elements)
                after = np.bincount(key, np.where(live, real, 0.0), elements)
                ratio = np.divide(after, before, out=np.ones(elements), where=before > 1e-9)
                ripple = np.bincount(key, np.where(live, np.abs(real - expected * ratio[key]), 0.0), elements)
                plain = np.bincount(key, np.where(live, np.abs(real - expected), 0.0), elements)
                score = np.divide(risky, both, out=np.zeros(elements), where=both > 0) - np.divide(
                    ripple, plain, out=np.ones(elements), where=plain > 0
                )
                score[explained < share] = -9
                j = int(score.argmax())
                if score[j] >= risk and (best is None or explained[j] > best[0]):
                    best = (float(explained[j]), cuboid, key == j, float(score[j]))
            if best:
                break
        if best is None:
            break
        explained_share, cuboid, hit, value = best
        row = int(np.flatnonzero(hit)[0])
        found.append(Cause(tuple((d, int(codes[row, d])) for d in cuboid), explained_share, value))
        live &= ~hit
    return found


def _keys(codes: NDArray[np.int64], cuboid: tuple[int, ...]) -> tuple[NDArray[np.int64], int]:
    key, size = np.zeros(len(codes), np.int64), 1
    for dimension in cuboid:
        width = int(codes[:, dimension].max()) + 1
        key, size = key * width + codes[:, dimension], size * width
    return key, size


def _check(codes: NDArray[np.int64], real: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    if codes.ndim != 2 or not len(codes) == len(real) == len(expected):
        raise InvalidInput(f"codes: expected one row per leaf, got {codes.shape} for {len(real)} leaves")
    if not 0 < len(real) <= MAX_LEAVES:
        raise InvalidInput(f"codes: expected 1 to {MAX_LEAVES} leaves, got {len(real)}")
    if not (np.isfinite(real).all() and np.isfinite(expected).all()):
        raise InvalidInput("real: expected finite values, got NaN or infinity")
