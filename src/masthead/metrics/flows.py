"""The room's long jobs as lists of steps: an activation, and a back-test.

A job belongs to a run, named in the detector's row; the run's id is the job's. A finished step is not run again, also
after kill -9; what is too large for its stored result lies in a file of the run's folder. The step that was under way
is run again, and clears what its first try left. The last one changes the row, with all it stores, in one
transaction, and only while the detector still waits for this run: so a job done twice is a job done once.
"""

from typing import Any

from masthead.metrics import activating, backtesting
from masthead.metrics.work import Work

__all__ = ["ACTIVATION", "BACKTEST", "activation", "backtest"]

ACTIVATION, BACKTEST = "activation", "backtest"

_LOOK_S, _READ_S, _SCORE_S, _STORE_S = (
    600.0,
    4 * 3600.0,
    24 * 3600.0,
    600.0,
)  # limits: far above what was seen


def activation(work: Work) -> dict[str, Any]:
    """Score a detector's history and let it watch; return what was learned."""
    step = work.run.step
    step("validate", work.validate, limit_s=_LOOK_S)
    read = step("read history", activating.read_history, work, limit_s=_READ_S)
    learned = step("learn", activating.learn_history, work, read, limit_s=_SCORE_S)
    step("go live", activating.go_live, work, read, learned, limit_s=_STORE_S)
    return {"rows": read["rows"], **learned}


def backtest(work: Work) -> dict[str, Any]:
    """Score all of a detector's data and store what was found; return the counts."""
    step = work.run.step
    step("validate", work.validate, limit_s=_LOOK_S)
    read = step("read", backtesting.read, work, limit_s=_READ_S)
    step("learn", backtesting.learn, work, limit_s=_SCORE_S)
    found = step("test", backtesting.test, work, limit_s=_SCORE_S)
    step("store", backtesting.store, work, read, found, limit_s=_STORE_S)
    return {"rows": read["rows"], **found}
