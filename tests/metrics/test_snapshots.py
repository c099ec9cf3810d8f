"""A memory on disk is whole or passed over, and after it scores go on to the bit."""

from pathlib import Path

import numpy as np
import pytest

from masthead.base.errors import Conflict
from masthead.metrics.detection import Decision, Detection
from masthead.metrics.readers import Selection, rows_of_records
from masthead.metrics.scorer import SeriesScorer
from masthead.metrics.snapshots import Snapshot, newest_snapshot, write_snapshot
from masthead.metrics.spec import DetectorSpec

SPEC = DetectorSpec.from_json(
    {
        "name": "air",
        "time": {"column": "t", "format": "epoch_s"},
        "measures": ["CO", {"name": "n", "column": "CO", "aggregation": "sum"}],
        "dimensions": ["at"],
    }
)


def _decided(detection: Detection, step: int) -> Decision:
    random = np.random.default_rng(step)
    records = [
        {"t": 300 * step + second, "at": f"B-{place}", "CO": float(random.normal())}
        for place in range(1 + step % 4)
        for second in (0, 10)
    ]
    rows = rows_of_records(
        records, Selection("t", "epoch_s", numbers=("CO",), labels=("at",)), arrived=[0.0] * len(records)
    )
    detection.cube.add(300 * step, rows)
    return detection.cube.decide(300 * step)[0]


def _snapshot(detection: Detection, entry: int) -> Snapshot:
    return Snapshot(entry, {"detection": detection.to_json()}, detection.scorer)


def test_scores_after_a_restart_are_those_of_an_undisturbed_run_to_the_bit(tmp_path: Path) -> None:
    whole = Detection.fresh(SPEC)
    expected = [whole.score(_decided(whole, step)).results.tobytes() for step in range(1, 60)]
    first = Detection.fresh(SPEC)
    decisions = []
    for step in range(1, 41):
        decisions.append(_decided(first, step))
        first.score(decisions[-1])
        if step == 30:
            write_snapshot(tmp_path, _snapshot(first, step))
    found = newest_snapshot(tmp_path)
    assert found is not None
    again = Detection.restored(SPEC, found.state["detection"], found.scorer)
    scores = [again.follow(decision).results.tobytes() for decision in decisions[30:]]
    scores += [again.score(_decided(again, step)).results.tobytes() for step in range(41, 60)]
    assert scores == expected[30:]
    assert again.to_json() == whole.to_json()


def test_a_decision_survives_json(tmp_path: Path) -> None:
    detection = Detection.fresh(SPEC)
    decision = _decided(detection, 3)
    again = Decision.from_json(decision.to_json(), decision.values, decision.counts)
    assert (again.start_s, again.leaves, again.seen.tolist()) == (
        900,
        decision.leaves,
        decision.seen.tolist(),
    )


@pytest.mark.parametrize("broken", ["json", "npz"])
def test_a_damaged_snapshot_is_passed_over_for_the_one_before(tmp_path: Path, broken: str) -> None:
    detection = Detection.fresh(SPEC)
    for step in (1, 2):
        detection.score(_decided(detection, step))
        write_snapshot(tmp_path, _snapshot(detection, step))
    path = tmp_path / f"{2:012d}.{broken}"
    path.write_bytes(path.read_bytes()[:-20])
    found = newest_snapshot(tmp_path)
    assert found is not None
    assert found.entry == 1


def test_two_snapshots_are_kept_and_the_log_from_the_older_on(tmp_path: Path) -> None:
    detection = Detection.fresh(SPEC)
    kept = [write_snapshot(tmp_path, _snapshot(detection, number)) for number in (3, 6, 9)]
    assert kept == [3, 3, 6]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000000000006.json", "000000000006.npz", "000000000009.json", "000000000009.npz"
    ]  # fmt: skip


def test_a_snapshot_of_another_kernel_is_said_aloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_snapshot(tmp_path, Snapshot(1, {}, SeriesScorer(1)))
    monkeypatch.setattr("masthead.metrics.scorer.configuration_hash", lambda configuration: "another")
    with pytest.raises(Conflict, match="kernel"):
        newest_snapshot(tmp_path)


def test_no_snapshot_is_none(tmp_path: Path) -> None:
    assert newest_snapshot(tmp_path / "nothing") is None
