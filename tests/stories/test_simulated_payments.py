"""`masthead fraud simulate`: payments replayed through a running server, held against the truth, and gone again."""

import json
import os
import subprocess
from typing import Any

import pytest
import small_fraud
from forked import forked

pytestmark = pytest.mark.slow

SMALL = ("--rate", "40", "--duration", "2", "--concurrent", "2", "--history", "300")


def simulate(served: Any, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(forked()), "fraud", "simulate", "--data", str(served.data), *SMALL, *options],
        env={**os.environ, "MASTHEAD_DATA": str(served.data)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_payments_are_replayed_counted_and_taken_away_unless_they_are_kept(served: Any) -> None:
    early = simulate(served)
    assert early.returncode == 1
    assert "masthead fraud deploy" in early.stderr or "space" in early.stderr
    served.masthead("fraud", "deploy", "cards", "--model", str(small_fraud.folder() / "model"))
    made = json.loads(simulate(served, "--json", "--keep", "--seed", "3").stdout)
    assert (made["sent"], made["total"], made["failed"], made["problem"]) == (80, 80, 0, "")
    assert (made["kept"], made["state"]) == (True, "finished")
    assert 0 < made["p50_ms"] <= made["p99_ms"]
    stored = served.masthead("fraud", "transactions", "--space", made["space"], "--limit", "1000")
    decided = [one for one in stored if one["decision"]]
    assert (len(decided), len(stored)) == (80, 380)  # and the history
    flagged = [one for one in decided if one["decision"]["flag"]]
    assert made["flagged"] <= len(flagged)  # of some nobody knows the truth
    assert all(one["decision"]["reasons"] for one in flagged)
    turned_out = served.masthead("fraud", "outcomes", "--space", made["space"])
    assert (turned_out["all"]["decided"], turned_out["released"]["decided"]) == (
        80,
        0,
    )  # no share is released

    data = str(small_fraud.folder() / "data")
    done = simulate(served, "--source", data, "--labels", f"{data}/labels.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("80 of 80 transactions at ")
    assert "precision" in done.stdout
    assert done.stdout.endswith("; deleted again\n")
    assert served.masthead("fraud", "transactions") == []  # real ones are not touched
    wrong = simulate(served, "--source", "nowhere")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "source: expected generated or a file that is there, got 'nowhere'" in wrong.stderr
    assert simulate(served, "--rate", "0").returncode == 2
