"""What is kept of detectors is given back the same on both engines."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from masthead.base.clock import utc
from masthead.base.errors import NotFound
from masthead.metrics import records, results
from masthead.metrics.records import AnomalyGroup, Detector, Execution, Feedback
from masthead.metrics.results import CHUNK, RESULT
from masthead.metrics.spec import DetectorSpec
from masthead.store.engine import Database

NOW = utc(1_700_000_000)
SPEC = DetectorSpec.from_json({"name": "air", "dimensions": ["at"], "measures": ["CO"]})


def _group(number: int, start: datetime, **changes: Any) -> AnomalyGroup:
    plain = AnomalyGroup(
        id=f"group-x-{number}",
        detector="air",
        measure="CO",
        kind="value",
        start=start,
        end=start + timedelta(minutes=5),
        severity=80.0,
        reason="jump",
        state="open",
        confidence="full",
        contributions={"at": {"B-101": 100.0}},
        causes=[],
        series=[{"measure": "CO", "dimensions": {"at": "B-101"}, "value": 1.0}],
        series_count=1,
        created=NOW,
        run="run-1",
    )
    return replace(plain, **changes)


def test_a_detector_comes_back_with_its_progress(any_database: Database) -> None:
    detector = Detector("air", "active", "", SPEC, NOW, NOW, run="run-1")
    facts = {
        "late": 3,
        "duplicates": 2,
        "refused": 1,
        "late_by_thing": {"b": 3},
        "progress": {"seen": 7, "needed": 100},
    }
    with any_database.write() as connection:
        records.put_detector(any_database, connection, detector)
        for last in (NOW, None):  # an entry that closes no interval leaves the last one
            records.put_progress(
                any_database,
                connection,
                run="run-1",
                detector="air",
                entry=9,
                last_interval=last,
                facts=facts,
            )
    with any_database.read() as connection:
        found = records.require_detector(connection, "air")
        assert records.last_entry(connection, "run-1") == 9
    assert (found.late, found.duplicates, found.refused, found.progress.seen) == (3, 2, 1, 7)
    assert (found.last_interval, found.spec, found.created) == (NOW, SPEC, NOW)


def test_a_state_changes_only_from_the_states_named(any_database: Database) -> None:
    with any_database.write() as connection:
        records.put_detector(any_database, connection, Detector("air", "active", "", SPEC, NOW, NOW))
        assert not records.set_state(connection, "air", "stopped", now=NOW, only=("learning",))
        assert records.set_state(connection, "air", "failed", now=NOW, failure="why")
        assert records.require_detector(connection, "air").failure == "why"


def test_what_people_said_of_a_group_outlives_its_growth(any_database: Database) -> None:
    with any_database.write() as connection:
        records.put_group(connection, _group(1, NOW))
        records.update_group(connection, "group-x-1", acknowledged=True, muted_until=NOW)
        found = records.put_group(connection, _group(1, NOW, severity=95.0, state="closed"))
        assert (found.severity, found.state, found.acknowledged, found.muted_until) == (
            95.0,
            "closed",
            True,
            NOW,
        )
        assert found.contributions == {"at": {"B-101": 100.0}}
        with pytest.raises(NotFound):
            records.require_group(connection, "group-x-2")


def test_groups_are_found_by_overlap_severity_and_place_in_the_list(any_database: Database) -> None:
    starts = [NOW + timedelta(hours=hour) for hour in range(5)]
    with any_database.write() as connection:
        for number, start in enumerate(starts):
            records.put_group(connection, _group(number, start, severity=50.0 + 10 * number))
        found = records.find_groups(
            connection, detector="air", min_severity=60, start=starts[1] + timedelta(minutes=5)
        )
        assert [one.id for one in found] == ["group-x-4", "group-x-3", "group-x-2", "group-x-1"]
        found = records.find_groups(connection, end=starts[3], after=(starts[2], "group-x-2"), limit=1)
        assert [one.id for one in found] == ["group-x-1"]
        assert records.find_groups(connection, detector="water") == []
        assert [span.id for span in records.find_spans(connection, "air", start=starts[4])] == ["group-x-4"]
        records.close_groups(connection, "run-1")
        assert {one.state for one in records.find_groups(connection)} == {"closed"}


def test_feedback_waits_until_it_is_applied(any_database: Database) -> None:
    word = Feedback(0, "group-x-1", "air", "CO", {"at": "B"}, 1.5, "jump", True, NOW, False, "run-1")
    with any_database.write() as connection:
        ids = [records.add_feedback(connection, word).id for _ in range(3)]
        records.mark_applied(connection, ids[:2])
        records.mark_applied(connection, [])
        waiting = records.find_feedback(connection, detector="air", waiting=True)
        assert waiting == [replace(word, id=ids[2])]
        assert len(records.find_feedback(connection, group="group-x-1")) == 3


def test_executions_and_quality_are_kept(any_database: Database) -> None:
    with any_database.write() as connection:
        for state in ("running", "finished"):
            records.put_execution(any_database, connection, Execution("run-1", "air", "backtest", state, NOW))
        records.put_quality(any_database, connection, "air", {"rows": 5}, now=NOW)
        assert [one.state for one in records.find_executions(connection, "air")] == ["finished"]
        assert records.find_quality(connection, "air") == {"rows": 5}


def test_a_deleted_detector_leaves_nothing(any_database: Database) -> None:
    with any_database.write() as connection:
        records.put_detector(any_database, connection, Detector("air", "stopped", "", SPEC, NOW, NOW))
        records.put_group(connection, _group(1, NOW))
        results.put_series(connection, "run-1", "air", [("CO", ("B",))])
        results.put_results(connection, "run-1", "air", [0], np.zeros((1, 1), RESULT))
        records.remove_detector(connection, "air")
        results.remove_results(connection, detector="air")
        assert records.find_detector(connection, "air") is None
        assert records.find_groups(connection) == []
        assert results.find_series(connection, "air") == []


# --- scores ------------------------------------------------------------------------------------------------


def _results(values: list[list[float]]) -> Any:
    block = np.zeros(np.shape(values), RESULT)
    block["value"] = values
    block["expected"], block["low"], block["high"], block["reason"] = np.nan, -1.5, 1.5, -1
    return block


def test_a_chart_joins_the_runs_of_a_series_and_the_later_run_counts(any_database: Database) -> None:
    keys = [("CO", (f"B-{number}",)) for number in range(CHUNK + 3)]
    wanted = ("CO", (f"B-{CHUNK + 2}",))
    with any_database.write() as connection:
        results.put_series(connection, "run-1", "air", keys[:5])
        results.put_series(connection, "run-1", "air", keys[5:], first=5)
        results.put_series(connection, "run-2", "air", [wanted])
        block = _results([[float(number) for number in range(len(keys))]] * 2)
        results.put_results(
            connection, "run-1", "air", [300], block[:1, :CHUNK]
        )  # before the series was known
        results.put_results(connection, "run-1", "air", [600, 900], block)
        results.put_results(connection, "run-2", "air", [900, 1200], _results([[7.0], [float("nan")]]))
        chart = results.find_chart(
            connection, "air", wanted, names=("at",), interval_s=300, start_s=0, end_s=1e12, limit=10
        )
        assert chart.times == [utc(600), utc(900), utc(1200)]
        assert chart.values == [CHUNK + 2, 7.0, None]
        assert (chart.expected[0], chart.low[0], chart.high[0], chart.reason[0]) == (None, -1.5, 1.5, "")
        chart = results.find_chart(
            connection, "air", wanted, names=("at",), interval_s=300, start_s=600, end_s=1200, limit=1
        )
        assert chart.times == [utc(900)]
        with pytest.raises(NotFound):
            results.find_chart(
                connection, "air", ("CO", ("?",)), names=("at",), interval_s=300, start_s=0, end_s=1, limit=1
            )


def test_scores_are_bounded_by_age_and_by_bytes(any_database: Database) -> None:
    with any_database.write() as connection:
        results.put_results(
            connection, "run-1", "air", list(range(0, 3000, 300)), _results([[1.0, 2.0]] * 10)
        )
        size = 2 * RESULT.itemsize
        assert results.trim_results(connection, before=utc(600), most_bytes=10**9) == 2
        assert results.trim_results(connection, before=utc(600), most_bytes=5 * size) == 4
        starts, _ = results.find_results(connection, "run-1", 0, start_s=0, end_s=1e12, limit=100)
        assert starts == [1800, 2100, 2400, 2700]
        assert results.trim_results(connection, before=utc(600), most_bytes=5 * size) == 0
