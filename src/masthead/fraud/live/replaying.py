"""What lies in the tables as the arrays from which a state is rebuilt."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from masthead.fraud.data.events import Events, Labels
from masthead.fraud.scoring.state import GraphState
from masthead.fraud.store.log import History

__all__ = ["take_history"]


def take_history(state: GraphState, history: History, keys: Mapping[int, str]) -> None:
    """Let a state take what a log holds behind what it has, in the log's own order.

    Args:
        keys: Number of an entity -> its key.
    """
    if len(history.seq):
        rows = np.searchsorted(history.seq, history.labelled)
        inside = (rows < len(history.seq)) & (history.labelled >= history.seq[0])
        labels = Labels(
            rows=np.where(inside, rows, -1),
            ids=[""] * len(rows),
            value=history.value,
            arrived_at=history.arrived_at,
        )
        state.replay(
            _events(history, keys),
            labels,
            seqs=history.seq,
            before=np.searchsorted(history.seq, history.label_seq),
        )
    else:
        inside = np.zeros(len(history.labelled), bool)
    for place in np.flatnonzero(~inside).tolist():
        state.label(int(history.labelled[place]), int(history.value[place]), int(history.arrived_at[place]))


def _events(history: History, keys: Mapping[int, str]) -> Events:
    """Return transactions without what only their own features tell: a state does not remember that."""
    n = len(history.seq)
    codes, vocabularies = np.empty(history.ents.shape, np.int32), []
    for r in range(history.ents.shape[1]):
        codes[:, r], present = _numbered(history.ents[:, r])
        vocabularies.append([keys[eid] for eid in present])
    nothing = np.empty(0, np.int8)
    return Events(
        ids=[""] * n,
        ts=history.ts,
        amount=history.amount,
        codes=codes,
        vocabularies=vocabularies,
        numerics=np.empty((n, 0), np.float32),
        category_codes=np.empty((n, 0), np.int32),
        category_values=[],
        raw_ids=None,
        raw_times=None,
        inline_label=nothing,
        absent=(),
        problems=None,
    )


def _numbered(column: NDArray[np.int32]) -> tuple[NDArray[np.int32], list[int]]:
    """Return places in the list of the numbers that occur, -1 for 0, and that list."""
    if len(column) < 10_000:
        present = np.unique(column[column > 0])
        return np.where(column > 0, np.searchsorted(present, column), -1).astype(np.int32), present.tolist()
    there: NDArray[np.bool_] = np.zeros(int(column.max()) + 1, bool)  # a tenth of the time that sorting takes
    there[column] = True
    there[0] = False
    numbers = np.flatnonzero(there)
    table = np.full(len(there), -1, np.int32)
    table[numbers] = np.arange(len(numbers))
    return table[column], numbers.tolist()
