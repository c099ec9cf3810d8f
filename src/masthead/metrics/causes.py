"""Which few dimension values explain a deviation that many leaves share: the root-cause set.

The question is RiskLoc's (M. Kalander, "RiskLoc: Localization of Multi-dimensional Root Causes by Weighted
Risk", arXiv:2205.10004, 2022), and so is the first idea: the tail that points away from the anomaly shows how
large chance is. The score is ours. An element (values of some dimensions) is a cause when its leaves moved
*together*: their relative deviations are told in fewer words as "one common shift, with little spread" than
as chance. In numbers, the gain of log-likelihood of that model over chance, less what it costs to name the
element among all others (minimum description length; J. Rissanen, "Modeling by shortest data description",
Automatica 14, 1978). A parent that holds calm leaves gains less than the child without them, and a child gains
less than a parent that moved as a whole, so the right depth needs no rule of its own.

One `bincount` per sum and cuboid (set of dimensions); a cause taken out is subtracted, not counted again.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput

__all__ = ["MAX_LEAVES", "Cause", "find_causes"]

MAX_LEAVES = 200_000
MAX_CAUSES = 12
MAX_DIMENSIONS = 10
# 31 cuboids of five dimensions together hold some 10^5 elements; a lattice beyond this is searched only in
# its shorter part, so that ten dimensions neither fill memory nor hold up an interval.
MAX_ELEMENTS = 2_000_000

MARGIN = 5.0  # nats beyond the naming cost: chance passes it about once in e^5 = 150 searches
LEAST_SHIFT = 1.0  # a common shift must exceed the scatter of calm leaves
MOST_SPREAD = 1.0  # its own spread at most: two crowds, one calm and one moved, are not one shift
SPREAD_RANGE = (0.02, 0.12)  # spread of relative deviations inside a cause, in the model
COMMON_SPREAD = 0.1  # the same, where the shift comes on top of each leaf's own noise
MOST_MISFIT = 1.5  # mean square there, in units of the model's: two crowds again
TAIL = 0.02  # part of the chance distribution that is an exponential tail
BIN_LEAVES = 2000  # leaves per class of size: small numbers scatter more than large ones
LEAST_CALM = 20
NOTHING = 1e-300  # a leaf of nothing says nothing, and dividing by less overflows
# Counts near 0 scatter by their own size and unevenly (three of four leaves at 0.3 read 0, "fallen by 100 %"),
# so classes of size with more scatter than this are not heard one by one ...
MOST_SCATTER = 0.4
LEAST_HEARD = 0.5  # ... and when that silences most of the whole, leaves are added up over one dimension.


@dataclass(frozen=True, slots=True)
class Cause:
    """One element of the root-cause set.

    Attributes:
        elements: (dimension, code) pairs, by dimension: the leaves that hold all of them. Empty = all leaves.
        share: Part of the deviation explained by the whole set that lies in those leaves, 0-1.
        shift: Mean relative deviation of its leaves, 0-2; the sign is that of the whole deviation.
        gain: Nats by which it explains its leaves better than chance, naming cost paid.
    """

    elements: tuple[tuple[int, int], ...]
    share: float
    shift: float
    gain: float


def find_causes(
    codes: NDArray[np.int64],
    real: NDArray[np.float64],
    expected: NDArray[np.float64],
    *,
    share: float = 0.02,
) -> list[Cause]:
    """Return the root-cause set, the largest share first; empty when chance explains what is seen.

    Args:
        codes: (leaves, dimensions) int64, 0 or more: the dimension values of each leaf.
        real: (leaves,) float64, finite: what was measured; additive (a sum, or an average times its count).
        expected: (leaves,) float64, finite: what was expected.
        share: Lowest part of the explained deviation that a cause is told for.

    Raises:
        InvalidInput: Shapes do not agree, a value is not finite, too many leaves or dimensions.
    """
    _check(codes, real, expected)
    size = np.maximum(np.abs(real), np.abs(expected))
    deviation = expected - real
    if deviation.sum() < 0:
        deviation = -deviation
    some = size > NOTHING
    if not some.any():
        return []
    codes, size, deviation = codes[some], size[some], deviation[some]
    relative = deviation / size
    log_chance, scatter = _chance(relative, size)
    heard = scatter < MOST_SCATTER
    if float(size[heard].sum()) < LEAST_HEARD * float(size.sum()) and codes.shape[1] > 1:
        return _coarser(codes, real[some], expected[some], share)
    if not heard.any():
        return []
    lattice = _Lattice(codes[heard], relative[heard], deviation[heard], log_chance[heard], scatter[heard])
    found: list[_Found] = []
    while len(found) < MAX_CAUSES:
        cause = lattice.take_best()
        if cause is None:
            break
        found.append(cause)
    explained = sum(max(amount, 0.0) for _, amount, _, _ in found)
    causes = [
        Cause(elements=elements, share=amount / explained, shift=shift, gain=gain)
        for elements, amount, shift, gain in found
        if amount > 0 and amount >= share * explained
    ]
    return sorted(causes, key=lambda cause: (-cause.share, cause.elements))


#: (elements, deviation, shift, gain)
_Found: TypeAlias = tuple[tuple[tuple[int, int], ...], float, float, float]


class _Lattice:
    """All cuboids with their sums per element; causes are taken out one after another."""

    def __init__(
        self,
        codes: NDArray[np.int64],
        relative: NDArray[np.float64],
        deviation: NDArray[np.float64],
        log_chance: NDArray[np.float64],
        scatter: NDArray[np.float64],
    ) -> None:
        self.codes = codes
        weight = 1 / (scatter**2 + COMMON_SPREAD**2)
        self.terms = (
            np.ones(len(codes)),
            relative,
            relative**2,
            weight,
            weight * relative,
            weight * relative**2,
            0.5 * np.log(weight / (2 * np.pi)),
            log_chance,
            scatter,
            deviation,
        )
        self.live = np.ones(len(codes), bool)
        self.cuboids = []
        for cuboid, key, elements in _cuboids(codes):
            sums = [
                np.bincount(key, weights=term, minlength=elements).astype(np.float64) for term in self.terms
            ]
            self.cuboids.append((cuboid, key, sums))
        self.naming = MARGIN + math.log(len(self.cuboids))

    def take_best(self) -> _Found | None:
        """Take out and return the element that explains most; None when chance explains the rest."""
        best = (0.0, -1, -1)
        for place, (_, _, sums) in enumerate(self.cuboids):
            gain = self._gain(sums)
            element = int(gain.argmax())
            if gain[element] > best[0]:
                best = (float(gain[element]), place, element)
        gain_nats, place, element = best
        if place < 0:
            return None
        cuboid, key, sums = self.cuboids[place]
        shift, amount = float(sums[1][element] / sums[0][element]), float(sums[-1][element])
        rows = np.flatnonzero(self.live & (key == element))
        elements = tuple((dimension, int(self.codes[rows[0], dimension])) for dimension in cuboid)
        self.live[rows] = False
        for _, other, totals in self.cuboids:
            for total, term in zip(totals, self.terms, strict=True):
                total -= np.bincount(other[rows], weights=term[rows], minlength=len(total))
        return elements, amount, shift, gain_nats

    def _gain(self, sums: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return (elements,) nats by which one common shift explains the leaves better than chance.

        Two forms of "one common shift", the better counts: every leaf moved by nearly the same part, the
        noise gone with it (a switched-off share of traffic), or the shift came on top of each leaf's noise.
        """
        count, first, second, weight, weighted, squared, log_weight, log_chance, scatter, _ = sums
        filled = count > 0.5
        leaves = np.where(filled, count, 1.0)
        least = LEAST_SHIFT * scatter / leaves
        shift = first / leaves
        rest = np.maximum(second - first * shift, 0.0)
        variance = np.clip(rest / leaves, SPREAD_RANGE[0] ** 2, SPREAD_RANGE[1] ** 2)
        tight = -0.5 * count * np.log(2 * np.pi * variance) - rest / (2 * variance)
        tight[(shift <= least) | (rest > (MOST_SPREAD * shift) ** 2 * leaves)] = -np.inf
        shift = weighted / np.where(filled, weight, 1.0)
        rest = np.maximum(squared - weighted * shift, 0.0)
        loose = log_weight - rest / 2
        loose[(shift <= least) | (rest > MOST_MISFIT * leaves)] = -np.inf
        cost = self.naming + math.log(len(count)) + 0.5 * np.log(leaves)
        gain: NDArray[np.float64] = np.where(filled, np.maximum(tight, loose) - log_chance - cost, -np.inf)
        return gain


def _coarser(
    codes: NDArray[np.int64], real: NDArray[np.float64], expected: NDArray[np.float64], share: float
) -> list[Cause]:
    """Return the causes among the leaves added up over the dimension with the most values."""
    dropped = int(codes.max(axis=0).argmax())
    kept = [dimension for dimension in range(codes.shape[1]) if dimension != dropped]
    rows, place = np.unique(codes[:, kept], axis=0, return_inverse=True)
    place = place.reshape(-1)
    found = find_causes(
        rows,
        np.bincount(place, weights=real).astype(np.float64),
        np.bincount(place, weights=expected).astype(np.float64),
        share=share,
    )
    return [replace(one, elements=tuple((kept[d], code) for d, code in one.elements)) for one in found]


def _cuboids(codes: NDArray[np.int64]) -> list[tuple[tuple[int, ...], NDArray[np.int64], int]]:
    """Return (dimensions, key per leaf, number of elements) per cuboid, shortest first, "everything" leading."""
    widths = [int(width) + 1 for width in codes.max(axis=0)]
    answer: list[tuple[tuple[int, ...], NDArray[np.int64], int]] = []
    total = 0
    for layer in range(len(widths) + 1):
        for cuboid in itertools.combinations(range(len(widths)), layer):
            key = np.zeros(len(codes), np.int64)
            elements = math.prod(widths[dimension] for dimension in cuboid)
            if elements > 4 * len(codes) + 64:
                elements = 0  # mostly empty: number only the tuples that occur
            for dimension in cuboid:
                key = key * widths[dimension] + codes[:, dimension]
                if not elements:
                    key = np.unique(key, return_inverse=True)[1].astype(np.int64)
            elements = elements or int(key.max()) + 1
            total += elements
            if total > MAX_ELEMENTS:
                return answer
            answer.append((cuboid, key, elements))
    return answer


def _chance(
    relative: NDArray[np.float64], size: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (leaves,) log-likelihood of each relative deviation under chance, and (leaves,) its scatter.

    Learned per class of size from the leaves that deviate the other way; Gaussian, with an exponential tail
    beyond the 98 % quantile, because real noise has more large errors than a Gaussian allows.
    """
    log_chance, scatter = np.empty(len(relative)), np.empty(len(relative))
    classes = max(1, len(relative) // BIN_LEAVES)
    for rows in np.array_split(np.argsort(size, kind="stable"), classes):
        distance = np.abs(relative[rows])
        calm = -relative[rows][relative[rows] < 0]
        sigma, knee, decay = _scatter(relative[rows], calm)
        body = -0.5 * (distance / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
        tail = math.log(TAIL / 2 / decay) - (distance - knee) / decay
        log_chance[rows] = np.where(distance > knee, tail, body)
        scatter[rows] = sigma
    return log_chance, scatter


def _scatter(relative: NDArray[np.float64], calm: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return scale, start of the tail and its mean excess of chance deviations."""
    if len(calm) >= LEAST_CALM and len(calm) * 10 >= len(relative):
        sigma = max(float(np.median(calm)) / 0.6745, 1e-3)
        knee = max(float(np.quantile(calm, 1 - TAIL)), sigma)
        beyond = calm[calm > knee]
        return sigma, knee, max(float((beyond - knee).mean()) if len(beyond) else 0.0, sigma / 5, 1e-4)
    # Too few point the other way (few leaves, or nearly all moved): the scatter about the middle.
    sigma = max(1.4826 * float(np.median(np.abs(relative - np.median(relative)))), 0.01)
    return sigma, 2.33 * sigma, sigma / 2


def _check(codes: NDArray[np.int64], real: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    if codes.ndim != 2 or not len(codes) == len(real) == len(expected):
        raise InvalidInput(f"codes: expected one row per leaf, got {codes.shape} for {len(real)} leaves")
    if not 0 < len(real) <= MAX_LEAVES:
        raise InvalidInput(f"codes: expected 1 to {MAX_LEAVES} leaves, got {len(real)}")
    if codes.shape[1] > MAX_DIMENSIONS:
        raise InvalidInput(f"codes: expected at most {MAX_DIMENSIONS} dimensions, got {codes.shape[1]}")
    if not (np.isfinite(real).all() and np.isfinite(expected).all()):
        raise InvalidInput("real: expected finite values, got NaN or infinity")
