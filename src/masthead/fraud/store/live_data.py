"""All stored transactions and labels as two files of a run, and these files as columns again: what a retraining learns from.

Keys stay as they are stored: a composite or derived key cannot be told apart into the columns that it was made of.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from masthead.base.errors import Conflict
from masthead.fraud.data.columns import Events, Labels
from masthead.fraud.data.schema import Schema
from masthead.fraud.data.tables import PROBLEMS
from masthead.fraud.store import live_results
from masthead.fraud.store.log import TransactionLog
from masthead.learn.packages import file_sha256

__all__ = ["describe_live", "read_live", "write_live"]

_EVENTS, _LABELS = "transactions.parquet", "labels.parquet"


def write_live(
    store: TransactionLog, space: str, schema: Schema, folder: Path, told: Callable[[int, int], None]
) -> dict[str, Any]:
    """Write what a space holds now into a folder; return counts, checksums and up to which number of the log.

    Args:
        told: Is given rows done and rows in all, now and then.

    Raises:
        Conflict: It holds no transaction.
    """
    last = store.head().last
    entities = store.entity_keys(space=space)
    keys = _Keys([eid for eid, _, _ in entities], [key for _, _, key in entities])
    rows = 0
    with store.database.read() as connection:
        total = live_results.count(connection, space, last)
        if not total:
            raise Conflict(f"data: expected transactions in the space {space}, there are none to learn from")
        with pq.ParquetWriter(folder / _EVENTS, _form(schema)) as file:
            for page in live_results.transactions(connection, space, last):
                file.write_table(_table(schema, page, keys))
                rows += len(page)
                told(rows, total)
        said = live_results.labels(connection, space, last)
    ids, value, arrived_at = zip(*said, strict=True) if said else ((), (), ())
    columns = [pa.array(ids, pa.string()), pa.array(value, pa.int8()), pa.array(arrived_at, pa.int64())]
    pq.write_table(pa.table(columns, ["id", "value", "arrived_at"]), folder / _LABELS)
    stored = [
        {"file": name, "bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)}
        for name in (_EVENTS, _LABELS)
    ]
    return {"space": space, "up_to": last, "rows": rows, "labels": len(said), "stored": stored, "files": []}


class _Keys:
    """Keys of entities by their number."""

    def __init__(self, eids: list[int], keys: list[str]) -> None:
        self._eids, self._keys = np.array(eids, np.int64), pa.array(keys, pa.string())

    def of(self, column: NDArray[np.int32]) -> pa.Array:
        """Return the keys of numbers, null for 0 and for one that was erased meanwhile."""
        if not len(self._eids):
            return pa.nulls(len(column), pa.string())
        places = np.minimum(np.searchsorted(self._eids, column), len(self._eids) - 1)
        return self._keys.take(pa.array(places, mask=self._eids[places] != column))


def _names(schema: Schema) -> tuple[list[str], list[str], list[str]]:
    return (
        [f"relation.{one.name}" for one in schema.relations],
        [f"numeric.{name}" for name in schema.numerics],
        [f"categorical.{name}" for name in schema.categoricals],
    )


def _form(schema: Schema) -> pa.Schema:
    relations, numerics, categoricals = _names(schema)
    return pa.schema(
        [
            ("id", pa.string()),
            ("ts", pa.int64()),
            ("amount", pa.float64()),
            *((name, pa.string()) for name in relations),
            *((name, pa.float32()) for name in numerics),
            *((name, pa.string()) for name in categoricals),
        ]
    )


def _table(schema: Schema, page: Sequence[Any], keys: _Keys) -> pa.Table:
    ids, ts, amount, ents, feat, body = zip(*page, strict=True)
    n = len(page)
    numbers = np.frombuffer(b"".join(ents), np.int32).reshape(n, len(schema.relations))
    numerics = np.frombuffer(b"".join(feat), "<f4").reshape(n, len(schema.numerics))
    bodies = [orjson.loads(one) for one in body]
    columns = [
        pa.array(ids, pa.string()),
        pa.array(ts, pa.int64()),
        pa.array(amount, pa.float64()),
        *(keys.of(numbers[:, r]) for r in range(numbers.shape[1])),
        *(pa.array(numerics[:, j], pa.float32(), from_pandas=True) for j in range(numerics.shape[1])),
        *(pa.array([one[c] for one in bodies], pa.string()) for c in range(len(schema.categoricals))),
    ]
    return pa.table(columns, schema=_form(schema))


def read_live(schema: Schema, folder: Path) -> tuple[Events, Labels]:
    """Return the transactions and labels of a folder that `write_live` has written, equal to what was stored."""
    table, said = pq.read_table(folder / _EVENTS), pq.read_table(folder / _LABELS)
    relations, numerics, categoricals = _names(schema)
    ids, ts = table["id"].to_pylist(), table["ts"].to_numpy()
    keys, values = [_coded(table[name]) for name in relations], [_coded(table[name]) for name in categoricals]
    events = Events(
        ids=ids,
        ts=ts,
        amount=_floats(table["amount"], np.float64),
        codes=_stacked([codes for codes, _ in keys], len(ids)),
        vocabularies=[known for _, known in keys],
        numerics=_side_by_side([_floats(table[name], np.float32) for name in numerics], len(ids)),
        category_codes=_stacked([codes for codes, _ in values], len(ids)),
        category_values=[known for _, known in values],
        raw_ids=pa.array(ids, pa.string()),
        raw_times=pa.array(ts, pa.timestamp("us", "UTC")),
        inline_label=np.full(len(ids), -1, np.int8),
        absent=(),
        problems=PROBLEMS.empty_table(),
    )
    places = {identity: place for place, identity in enumerate(ids)}
    about = said["id"].to_pylist()
    labels = Labels(
        rows=np.array([places.get(one, -1) for one in about], np.int64),
        ids=about,
        value=said["value"].to_numpy().astype(np.int8),
        arrived_at=said["arrived_at"].to_numpy().astype(np.int64),
    )
    return events, labels


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], list[str]]:
    coded = pa.concat_arrays(column.chunks).dictionary_encode()
    codes = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    return codes, coded.dictionary.to_pylist()


def _floats(column: pa.ChunkedArray, kind: Any) -> NDArray[Any]:
    found: NDArray[Any] = column.to_numpy().astype(kind)  # null is NaN
    return found


def _stacked(columns: list[NDArray[np.int32]], rows: int) -> NDArray[np.int32]:
    return np.column_stack(columns) if columns else np.empty((rows, 0), np.int32)


def _side_by_side(columns: list[NDArray[np.float32]], rows: int) -> NDArray[np.float32]:
    return np.column_stack(columns) if columns else np.empty((rows, 0), np.float32)


def describe_live(folder: Path) -> Iterator[tuple[dict[str, Any] | None, float, str]]:
    """Yield (None, share, what goes on) and at the end the columns: type, share of nulls, values."""
    table, columns = pq.read_table(folder / _EVENTS), []
    for place, name in enumerate(table.column_names):
        yield None, place / table.num_columns, name
        column = table[name]
        columns.append(
            {
                "file": _EVENTS,
                "column": name,
                "null_share": round(column.null_count / max(table.num_rows, 1), 6),
                "distinct": int(pc.count_distinct(column).as_py()),
                "used": True,
            }
        )
    found = {"columns": columns, "matched": len(columns), "absent": []}
    yield found, 1.0, f"{len(columns)} columns"
