"""Every example runs as a script and tells what its page says."""

import subprocess
import sys
from pathlib import Path

import pytest

from masthead.fraud.pipeline.config import STEPS

ROOT = Path(__file__).resolve().parents[2]


def told_by(name: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / name],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_air_quality_example_finds_the_planted_anomalies_both_ways(tmp_path: Path) -> None:
    lines = told_by("air_quality.py", tmp_path)
    assert [line.partition(",")[0] for line in lines[:2]] == [
        "2022-03-24 23:30 SO2 120",
        "2022-03-24 23:45 CO 4.8",
    ]
    assert lines[2:4] == ["the data can be used: True", "backtested"]
    assert [line.split(" severity ")[0] for line in lines[4:]] == [
        "2022-03-24 23:45 CO",
        "2022-03-24 23:30 SO2",
    ]
    assert all("{'LOCATION_ID': {'B-101': 100.0}}" in line for line in lines[4:])


@pytest.mark.slow
def test_the_fraud_example_goes_from_tables_to_decisions(tmp_path: Path) -> None:
    lines = told_by("fraud_rings.py", tmp_path)
    assert lines[:4] == [
        "6000 transactions, 210 frauds, 6 rings",
        "6000 nodes, 1200 held out, 96261 edges",
        "2198 transactions taught, 1806 were too young to",
        "1622 streamed, 15 frauds among them",
    ]
    area, precision = (float(part.split()[-1]) for part in lines[4].split(","))
    assert area > 0.8
    assert precision > 0.1  # chance has 0.01
    assert lines[5] == "2987999: review, in less than 50 ms"
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_fraud_goes_from_nothing_to_the_files_of_a_graph(tmp_path: Path) -> None:
    lines = told_by("fraud_data.py", tmp_path)
    assert lines[0] == "1000 transactions, 35 of them fraud"
    assert lines[1] == "17 relations, 1000 labels, 0 problems"
    assert int(lines[2].split()[0]) > 0
    assert lines[3:] == ["20 tables, 200 transactions held out", "TransactionID,id_20"]


@pytest.mark.slow
def test_the_example_of_the_pipeline_goes_from_files_to_an_endpoint_and_back(tmp_path: Path) -> None:
    lines = told_by("fraud_pipeline.py", tmp_path)
    assert lines[0] == "3000 transactions, 105 frauds"
    assert lines[1] == f"done: {', '.join(STEPS)}"
    assert lines[2].startswith("new-1: ")
    assert lines[3] == "the second one is riskier: True"
    assert lines[4].startswith("because of ")
    assert lines[5:] == ["3000 loaded from Neptune's form", "3000 nodes scored, 600 of them held out"]
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_run_by_a_test() -> None:
    names = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert names == {"air_quality.py", "fraud_data.py", "fraud_pipeline.py", "fraud_rings.py"}
