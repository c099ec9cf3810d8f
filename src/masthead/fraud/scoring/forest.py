"""Trees of LightGBM, walked without LightGBM: one row in 0.03 ms instead of 0.3 ms.

Three details decide that the answers are equal: what counts as missing stands in bits 2 and 3 of a node's decision
(0 nothing, 1 zero, 2 NaN) and where it goes in bit 1; a NaN where NaN is not missing counts as 0; a split of
categories asks for a bit in a list of words, and NaN, negative values and values beyond the list go right.

Source: LightGBM 4.7, `include/LightGBM/tree.h`, `NumericalDecision` and `CategoricalDecision`.
"""

# mypy: disable-error-code="no-any-return, arg-type, return-value, assignment"

import io
import re
import zipfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput, shown
from masthead.learn.compiled import compiled, compiled_brief

__all__ = ["Forest", "Trees", "read_arrays"]

Array = Any


class Trees(NamedTuple):
    """Flat arrays of all trees. Children at or above 0 are nodes, below 0 leaf `-child - 1`."""

    feature: Array  # (nodes,) int32
    threshold: Array  # (nodes,) float64
    decision: Array  # (nodes,) int32
    left: Array  # (nodes,) int32
    right: Array  # (nodes,) int32
    leaf: Array  # (leaves,) float64
    roots: Array  # (trees,) int32
    starts: Array  # int64: of each list of words
    words: Array  # int64: lists of 32 bits
    starts0: Array  # (nodes,) int64: where the tree's own starts begin
    words0: Array  # (nodes,) int64: where the tree's own words begin


KINDS = Trees("i4", "f8", "i4", "i4", "i4", "f8", "i4", "i8", "i8", "i8", "i8")


@compiled_brief
def walk(t: Trees, x: Array) -> float:
    """Return the sum of the leaves that a row falls into. `x`: (columns,) float32."""
    total = 0.0
    for root in t.roots:
        n = root
        while n >= 0:
            v, decision = np.float64(x[t.feature[n]]), t.decision[n]
            if decision & 1:
                goes_left = False
                if v == v and v >= 0 and v < 2147483648.0:
                    value, k = int(v), int(t.threshold[n])
                    first, end = t.starts[t.starts0[n] + k], t.starts[t.starts0[n] + k + 1]
                    if value // 32 < end - first:
                        goes_left = (t.words[t.words0[n] + first + value // 32] >> (value % 32)) & 1 == 1
            else:
                missing = (decision >> 2) & 3
                if v != v and missing != 2:
                    v = 0.0
                if v != v or (missing == 1 and abs(v) <= 1e-35):
                    goes_left = decision & 2 != 0
                else:
                    goes_left = v <= t.threshold[n]
            n = t.left[n] if goes_left else t.right[n]
        total += t.leaf[-n - 1]
    return total


@compiled
def walk_all(t: Trees, x: Array, out: Array) -> None:
    """Fill `out` (rows,) with the sums of many rows."""
    for i in range(len(x)):
        out[i] = walk(t, x[i])


class Forest:
    """A binary LightGBM model that answers by itself."""

    def __init__(self, trees: Trees, columns: int) -> None:
        self.trees = trees
        self.columns = columns

    @staticmethod
    def parse(text: str) -> "Forest":
        """Return the forest of a model in LightGBM's text form.

        Raises:
            InvalidInput: The text is none, or not of a binary objective.
        """
        head, *blocks = text.split("\nTree=")
        columns = re.search(r"^max_feature_idx=(\d+)$", head, re.MULTILINE)
        if columns is None or "objective=binary" not in head or "average_output" in head:
            raise InvalidInput(
                f"model: expected LightGBM's text form of a binary model, got {shown(text[:60])}"
            )
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in Trees._fields}
        for block in blocks:
            _append(parts, block)
        flat = {
            name: np.concatenate(parts[name] or [np.empty(0)]).astype(kind)
            for name, kind in zip(Trees._fields, KINDS, strict=True)
        }
        return Forest(Trees(**flat), int(columns[1]) + 1)

    def raw(self, x: NDArray[np.float32]) -> float:
        """Return the score of one row before calibration, in log-odds. `x`: (columns,) float32."""
        return walk(self.trees, x)

    def raws(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the scores of many rows, those of `raw`. `x`: (rows, columns) float32."""
        out = np.empty(len(x))
        walk_all(self.trees, np.ascontiguousarray(x, np.float32), out)
        return out

    def to_bytes(self, **more: NDArray[Any]) -> bytes:
        """Return the arrays, and `more` beside them, as the bytes of an npz file."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, columns=np.array(self.columns), **self.trees._asdict(), **more)
        return buffer.getvalue()

    @staticmethod
    def from_bytes(data: bytes) -> "Forest":
        """Return the forest of an npz file.

        Raises:
            InvalidInput: The bytes are none.
        """
        *arrays, columns = read_arrays(data, *Trees._fields, "columns")
        kinds = zip(arrays, KINDS, strict=True)
        return Forest(Trees(*(np.asarray(array, kind) for array, kind in kinds)), int(columns))


def read_arrays(data: bytes, *names: str, name: str = "forest.npz") -> list[NDArray[Any]]:
    """Return these arrays of an npz file.

    Raises:
        InvalidInput: The bytes are none, or lack one.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as found:
            return [found[one] for one in names]
    except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{name}: expected its arrays, got {shown(error)}") from error


def _append(parts: dict[str, list[NDArray[Any]]], block: str) -> None:
    """Add one tree to the lists of arrays, its nodes and leaves numbered on."""

    def field(key: str, kind: type = float) -> NDArray[Any]:
        hit = re.search(rf"^{key}=(.*)$", block, re.MULTILINE)
        return np.array(hit.group(1).split() if hit else [], dtype=kind)

    def total(name: str) -> int:
        return sum(map(len, parts[name]))

    node0, leaf0 = total("feature"), total("leaf")
    feature = field("split_feature", int)
    starts0, words0 = total("starts"), total("words")
    parts["roots"].append(np.array([node0 if len(feature) else -leaf0 - 1]))
    for name, key in (("left", "left_child"), ("right", "right_child")):
        child = field(key, int)
        parts[name].append(np.where(child >= 0, child + node0, child - leaf0))  # ~leaf moves on by leaf0
    parts["feature"].append(feature)
    parts["threshold"].append(field("threshold"))
    parts["decision"].append(field("decision_type", int))
    parts["leaf"].append(field("leaf_value"))
    parts["starts0"].append(np.full(len(feature), starts0))
    parts["words0"].append(np.full(len(feature), words0))
    parts["starts"].append(field("cat_boundaries", int))
    parts["words"].append(field("cat_threshold", int))
