"""The scores of a backtest as one Parquet file: one row per series and interval, in time order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from masthead.base.errors import InvalidInput, shown
from masthead.metrics.backtest import Scored
from masthead.metrics.state import NOTHING, REASONS

_COLUMNS = ("time", "measure", "value", "expected", "severity", "reason")


class ScoresFile:
    """Writes `time, measure, the dimensions, value, expected, severity, reason` as intervals arrive.

    Args:
        path: Replaced when it exists; whole only after `close`.
        dimensions: Names of the dimension columns.
        sparse: Leave out series without a row in an interval (where each record is an interval of its own).

    Raises:
        InvalidInput: The file cannot be written, or a dimension has the name of another column.
    """

    def __init__(self, path: Path, dimensions: Sequence[str], *, sparse: bool = False) -> None:
        for name in dimensions:
            if name in _COLUMNS:
                raise InvalidInput(
                    f"dimension: expected another name than {', '.join(_COLUMNS)}, got {shown(name)}"
                )
        texts = [("measure", pa.string()), *((name, pa.string()) for name in dimensions)]
        numbers = [("value", pa.float64()), ("expected", pa.float64()), ("severity", pa.float32())]
        self._schema = pa.schema(
            [("time", pa.timestamp("us", tz="UTC")), *texts, *numbers, ("reason", pa.string())]
        )
        self._dimensions, self._sparse = tuple(dimensions), sparse
        self._path, self._part = path, path.with_name(path.name + ".part")
        try:
            self._writer = parquet.ParquetWriter(self._part, self._schema)
        except OSError as error:
            raise InvalidInput(
                f"scores: expected a file that can be written, got {shown(str(path))}: {error}"
            ) from error

    def __enter__(self) -> "ScoresFile":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._writer.close()
        if kind is None:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)

    def take(self, scored: Scored) -> None:
        """Write the rows of these intervals."""
        steps, series = len(scored.times), len(scored.keys)
        later = series - scored.block.values.shape[1]
        kept = np.ones(steps * series, bool)
        if self._sparse:
            kept = _wider(scored.block.present, later, False).reshape(-1)
        values = _wider(scored.block.values, later, np.nan).reshape(-1)[kept]
        scores = {
            name: _wider(scored.scores[name], later, fill).reshape(-1)[kept] for name, fill in _FILLS.items()
        }
        micros = np.round(scored.times * 1e6).astype(np.int64)
        places = np.tile(np.arange(series), steps)[kept]
        columns = {
            "time": pa.array(np.repeat(micros, series)[kept], pa.timestamp("us", tz="UTC")),
            "measure": _texts([key[0] for key in scored.keys], places),
            "value": pa.array(values, from_pandas=True),
            "expected": pa.array(scores["expected"]),
            "severity": pa.array(scores["severity"].astype(np.float32)),
            # The last reason is "nothing"; its code is -1.
            "reason": _texts(list(REASONS), scores["reason"].astype(np.int64) % len(REASONS)),
        }
        for place, name in enumerate(self._dimensions):
            columns[name] = _texts([key[1][place] for key in scored.keys], places)
        self._writer.write_table(pa.table({name: columns[name] for name in self._schema.names}, self._schema))


_FILLS: dict[str, Any] = {"expected": np.nan, "severity": 0, "reason": NOTHING}


def _wider(matrix: Any, columns: int, fill: Any) -> Any:
    """Return the matrix with `columns` more that hold `fill`: series that appear later in the data."""
    return np.pad(matrix, ((0, 0), (0, columns)), constant_values=fill) if columns else matrix


def _texts(values: list[str], places: Any) -> pa.Array:
    return pa.array(values, pa.string()).take(pa.array(places))
