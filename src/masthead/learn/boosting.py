"""LightGBM, loaded where it is first needed: half a second, and most commands need none of it."""

import os
from typing import Any

__all__ = ["lightgbm"]


def lightgbm() -> Any:
    """Return the library, whose threads sleep while they wait for each other.

    By default they spin: on two busy cores 60 rounds on 68,000 rows took 32 s that way with two threads, 10 s with one,
    and 5 to 10 s with two that sleep. OpenMP reads its settings once, when it is loaded.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    import lightgbm

    return lightgbm
