"""Which tuples of dimension values are series: leaves as they come, roll-ups from their second member on."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.metrics.contributions import ROLLED_UP

Cell = tuple[str, ...]


@dataclass(slots=True)
class Cells:
    """The cells and what lies under them.

    `leaves`: full tuple -> number. `cells`: every series-bearing tuple by number. Per level (which dimensions
    are kept), `_under` holds the number of the pattern over each leaf, and a pattern its cell, -1 while it
    has but one member.
    """

    dimensions: tuple[str, ...]
    rollups: str
    leaves: dict[Cell, int] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    _leaf_cell: list[int] = field(default_factory=list)
    _levels: list[tuple[bool, ...]] = field(default_factory=list)
    _under: list[list[int]] = field(default_factory=list)
    _patterns: dict[Cell, int] = field(default_factory=dict)
    _members: list[int] = field(default_factory=list)
    _pattern_cell: list[int] = field(default_factory=list)
    _values: list[set[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._levels = _kept_dimensions(len(self.dimensions), self.rollups)
        self._under = [[] for _ in self._levels]
        self._values = [set() for _ in self.dimensions]

    def note_values(self, leaves: Sequence[Cell]) -> None:
        """Count the values of each dimension, also of leaves that will be refused."""
        for place, values in enumerate(self._values):
            values.update(leaf[place] for leaf in leaves)

    def widest(self) -> tuple[str, int]:
        """Return the dimension with the most values, and their number."""
        sizes = [len(values) for values in self._values] or [0]
        return (self.dimensions or ("measures",))[int(np.argmax(sizes))], max(sizes)

    def add_leaf(self, leaf: Cell) -> int:
        """Register a leaf; return how many cells were born: itself, and roll-ups that now have two members."""
        before = len(self.cells)
        self.leaves[leaf] = len(self.leaves)
        self._leaf_cell.append(len(self.cells))
        self.cells.append(leaf)
        for level, under in zip(self._levels, self._under, strict=True):
            pattern = tuple(value if kept else ROLLED_UP for value, kept in zip(leaf, level, strict=True))
            number = self._patterns.setdefault(pattern, len(self._patterns))
            if number == len(self._members):
                self._members.append(0)
                self._pattern_cell.append(-1)
            under.append(number)
            self._members[number] += 1
            if self._members[number] == 2:
                self._pattern_cell[number] = len(self.cells)
                self.cells.append(pattern)
        return len(self.cells) - before

    def part(self, leaves: Sequence[Cell]) -> "Cells":
        """Return cells of their own for those of `leaves` that are known: the same roll-ups lie over each of them."""
        found = Cells(self.dimensions, self.rollups)
        for leaf in leaves:
            if leaf in self.leaves:
                found.add_leaf(leaf)
        for pattern, number in found._patterns.items():
            # Its other members may not be in the part; in the whole it is a series all the same.
            if self._pattern_cell[self._patterns[pattern]] >= 0 > found._pattern_cell[number]:
                found._members[number] = 2
                found._pattern_cell[number] = len(found.cells)
                found.cells.append(pattern)
        return found

    def restore_cells(self, cells: Sequence[Cell]) -> None:
        """Check that registering the leaves in order gave the same cells as when they were written."""
        if list(cells) != self.cells:
            raise InvalidInput("state: expected cells that follow from their leaves, got others")
        self.note_values(list(self.leaves))

    def levels(self) -> list[NDArray[np.int64]]:
        """Return, for the leaves and each roll-up level, (leaves,) int64: the cell over each leaf, -1 for none."""
        cells = np.array(self._pattern_cell, np.int64)
        return [
            np.array(self._leaf_cell, np.int64),
            *(cells[np.array(under, np.int64)] for under in self._under),
        ]


def _kept_dimensions(size: int, rollups: str) -> list[tuple[bool, ...]]:
    """Return the roll-up levels, each a tuple of which dimensions keep their value."""
    levels = itertools.product((False, True), repeat=size)
    if rollups == "none":
        return []
    if rollups == "single":
        return [tuple(place == kept for place in range(size)) for kept in range(size) if size > 1] + [
            (False,) * size
        ] * bool(size)
    return [level for level in levels if not all(level)]
