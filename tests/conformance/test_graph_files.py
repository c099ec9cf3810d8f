"""The files of a graph are the same whichever engine writes them."""

from pathlib import Path

import pytest
from small_table import SCHEMA, write_data

from masthead.fraud.data.etl import Order, extract

# Ibis asks DuckDB by a name that its newest version calls old; PySpark 4 itself calls what Python and pandas have deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.mark.timeout(600)  # Spark starts
@pytest.mark.parametrize("from_file", [False, True], ids=["inline", "file"])
def test_spark_writes_what_duckdb_writes(from_file: bool, tmp_path: Path) -> None:
    data, labels = write_data(tmp_path / "data"), None
    if from_file:
        labels = tmp_path / "labels.csv"
        labels.write_text("no,value,arrived_at\nc,fraud,5\n007,1,10\nd,0,2021-01-01\n")
    how = {"labels": labels, "format": "both", "checksums": True}
    one, other = (
        extract(Order(SCHEMA, (data,), tmp_path / engine, engine=engine, **how))
        for engine in ("duckdb", "spark")
    )
    assert one == other
    parts = [path.read_text() for path in sorted((tmp_path / "spark" / "tags.csv").glob("part-*"))]
    rows = [line for part in parts for line in part.splitlines()[1:]]
    assert sorted(rows) == sorted((tmp_path / "duckdb" / "tags.csv").read_text().splitlines()[1:])
