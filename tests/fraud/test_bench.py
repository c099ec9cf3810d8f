"""The figures of the durable path are measured as they are told: small here, at full size by hand."""

import json
from pathlib import Path
from typing import Any

import pytest
import small_fraud

from masthead.cli.main import run


@pytest.fixture(autouse=True)
def _beside_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a ground lies beside where it is asked for


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Return what a bench prints, with a model that is there already."""
    model = () if arguments[0] == "store" else ("--model", str(small_fraud.folder() / "model"))
    assert run(["fraud", "bench", *arguments, *model, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_nothing_acknowledged_is_lost_and_nothing_is_there_in_part_after_kill_9(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = told(capsys, "crash", "--kills", "2", "--history", "1000")
    assert found["acknowledged"] > 50
    assert found["labels_acknowledged"] > 5
    assert found["stored"] >= found["acknowledged"]
    assert (found["lost"], found["partial"], found["different"]) == (0, 0, 0)


def test_latency_is_the_median_of_runs_and_tells_what_is_not_the_commit(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = told(capsys, "latency", "--history", "1000", "--hub", "800", "--n", "50", "--runs", "3")
    assert sorted(found["p99_ms_of_runs"])[1] == found["p99_ms"]
    assert 0 < found["no_commit_p50_ms"] < found["p50_ms"]
    assert found["fsync_p50_ms"] > 0


def test_throughput_counts_what_was_answered(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(
        capsys, "throughput", "--history", "500", "--seconds", "1", "--clients", "8", "--rate", "100"
    )
    assert found["acknowledged"] >= found["tx_per_s"] * 0.4
    assert found["p50_ms"] <= found["p99_ms"] <= found["max_ms"]


def test_explanations_are_timed_with_their_paths(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "explain", "--history", "1000", "--n", "30")
    assert 0 < found["explanation_p50_ms"] <= found["explanation_p99_ms"]
