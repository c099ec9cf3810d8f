"""The same cube from DuckDB, from Spark and from our arrays: counts, sums, averages, labels and intervals."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from masthead.base.errors import InvalidInput
from masthead.metrics.cubes import Cube
from masthead.metrics.files import Source
from masthead.metrics.intervals import interval_starts
from masthead.metrics.readers import Selection, read_rows
from masthead.metrics.spec import Measure
from masthead.store.tables import connect, cube, read

pytestmark = [
    pytest.mark.slow,
    # PySpark 4 itself calls what Python and pandas have deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

AGGREGATIONS = ("avg", "sum", "min", "max", "count", "p50")


@pytest.fixture(scope="module", params=["duckdb", "spark"])
def backend(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Both engines; Spark starts once."""
    found = connect(request.param)
    yield found
    found.disconnect()


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty thousand rows with gaps, missing values, spaces and empty labels."""
    rng = np.random.default_rng(7)
    n = 20_000
    values = rng.gamma(2, 10, n)
    labels = rng.choice(["B-101", " B-102 ", "", "b-101"], n)
    table = pa.table(
        {
            "t": 1_648_100_000 + np.sort(rng.integers(0, 86_400, n)),
            "station": pa.array([label if k % 50 else None for k, label in enumerate(labels)]),
            "kind": rng.choice(["x", "y"], n),
            "v": pa.array(values, mask=rng.random(n) < 0.1),
        }
    )
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    parquet.write_table(table, path)
    return path


def test_both_engines_give_what_our_arrays_give(backend: Any, rows_file: Path) -> None:
    rows = read(backend, [str(rows_file)])
    measures = {kind: ("v", kind) for kind in AGGREGATIONS}
    expression = cube(rows, seconds=rows.t, interval_s=300, measures=measures, dimensions=["station", "kind"])
    found = expression.to_pyarrow().to_pylist()

    selection = Selection("t", "epoch_s", numbers=("v",), labels=("station", "kind"))
    ours = read_rows([Source(str(rows_file))], selection)
    starts = interval_starts(ours.times, 300)
    unique, step = np.unique(starts, return_inverse=True)
    arrays = Cube([Measure(kind, "v", kind) for kind in AGGREGATIONS], ["station", "kind"], "none")
    block = arrays.close_block(ours, step, len(unique))
    place = {key: number for number, key in enumerate(block.keys)}

    assert sum(row["records"] for row in found) == int(block.records.sum()) == 20_000
    assert len(found) == int(block.present.sum()) // len(AGGREGATIONS)
    for row in found:
        at = int(np.searchsorted(unique, row["start_s"]))
        for kind in AGGREGATIONS:
            mine = block.values[at, place[kind, (row["station"], row["kind"])]]
            theirs = row[kind]
            if theirs is None or (kind == "count" and theirs == 0):
                assert math.isnan(mine) or mine == 0
            else:
                assert theirs == pytest.approx(mine, rel=1e-12)


def test_csv_files_are_read_by_both_engines(backend: Any, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.csv").write_text(f"t,s,v\n{number * 300},a,1\n{number * 300 + 5},a,3\n")
    rows = read(backend, [str(tmp_path / "0.csv"), str(tmp_path / "1.csv")], name="parts")
    found = cube(rows, seconds=rows.t, interval_s=300, measures={"v": ("v", "avg")}, dimensions=["s"])
    assert found.to_pyarrow().to_pylist() == [
        {"start_s": 0, "s": "a", "v": 2.0, "records": 2},
        {"start_s": 300, "s": "a", "v": 2.0, "records": 2},
    ]


def test_files_of_another_kind_and_unknown_aggregations_are_refused(backend: Any, rows_file: Path) -> None:
    for paths in (["a.xml"], ["a.csv", "b.parquet"], []):
        with pytest.raises(InvalidInput, match="files"):
            read(backend, paths)
    rows = read(backend, [str(rows_file)])
    with pytest.raises(InvalidInput, match="aggregation"):
        cube(rows, seconds=rows.t, interval_s=300, measures={"v": ("v", "mode")}, dimensions=[])


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(InvalidInput, match="engine"):
        connect("abacus")  # type: ignore[arg-type]
