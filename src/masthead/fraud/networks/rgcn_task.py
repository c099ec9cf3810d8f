"""What a graph network learns from, and how."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.networks.graph import Direction, Floats

__all__ = ["OPTIMIZERS", "Options", "Task"]

OPTIMIZERS = ("adam", "adamw", "sgd")


@dataclass(frozen=True, slots=True)
class Options:
    """How to train; the names are those of the command line."""

    n_layers: int = 2
    n_hidden: int = 64
    embedding_size: int = 64
    n_epochs: int = 100
    optimizer: str = "adam"
    lr: float = 1e-2
    dropout: float = 0.2
    weight_decay: float = 5e-4
    threshold: float = 0.5
    seed: int = 0

    def check(self) -> None:
        """Check every value.

        Raises:
            InvalidInput: One lies outside its range.
        """
        for name in ("n_layers", "n_hidden", "embedding_size", "n_epochs"):
            value = getattr(self, name)
            if not 1 <= value <= 100_000:
                raise InvalidInput(f"{name}: expected 1 or more, got {value}")
        if self.optimizer not in OPTIMIZERS:
            raise InvalidInput(f"optimizer: expected {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InvalidInput(f"lr: expected a number above 0, got {self.lr}")
        if not 0 <= self.dropout < 1:
            raise InvalidInput(f"dropout: expected a share in [0, 1), got {self.dropout}")
        if not 0 <= self.weight_decay < math.inf:
            raise InvalidInput(f"weight_decay: expected 0 or more, got {self.weight_decay}")
        if not 0 <= self.threshold <= 1:
            raise InvalidInput(f"threshold: expected a probability in [0, 1], got {self.threshold}")
        if not 0 <= self.seed < 2**31:
            raise InvalidInput(f"seed: expected 0 to {2**31 - 1}, got {self.seed}")


@dataclass(frozen=True, slots=True)
class Task:
    """What is learned from.

    Attributes:
        types: Node types, the target first. counts: Nodes of each.
        x: (targets, columns) standardised. labels: (targets,) 1, 0, -1.
        fit, check: Rows that are learned from, and rows on which the epoch is chosen.
        silent: (targets,) those held out.
    """

    types: tuple[str, ...]
    counts: tuple[int, ...]
    x: Floats
    labels: NDArray[np.int8]
    fit: NDArray[np.int64]
    check: NDArray[np.int64]
    silent: NDArray[np.bool_]
    directions: dict[str, Direction]
