"""Whatever is killed, an acknowledged reading is taken, once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *words, "--json"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # logs come before
    return found


@pytest.mark.slow
def test_no_acknowledged_reading_is_lost_or_taken_twice_over_twenty_kills() -> None:
    found = run("faults.py", "--kills", "7", "7", "6", "--pause", "1.0")
    assert found["kills"] == 20
    assert found["acknowledged"] > 5_000
    assert found["resent"] > 0, "the kills came at quiet moments: nothing was tried"
    assert (found["lost"], found["taken_twice"], found["more_often_than_sent"], found["wrong_thing"]) == (
        0,
        0,
        0,
        0,
    )


@pytest.mark.slow
def test_a_full_log_acknowledges_only_what_it_stored_and_goes_on_when_there_is_room() -> None:
    found = run("full_log.py")
    assert found["filled"]
    assert found["acknowledged_while_full"] == 0
    assert (found["lost"], found["taken_twice"]) == (0, 0)
    assert found["acknowledged"] > found["acknowledged_before_room"]
