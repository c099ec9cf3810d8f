"""Long jobs of a detector: what their steps leave, how they are ended, and that a repeat replaces."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Connection

from masthead.alerts.events import AlertEvent
from masthead.base.clock import SystemClock
from masthead.base.errors import Conflict
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.flows.service import Flows
from masthead.metrics.columns import Labels
from masthead.metrics.readers import Rows
from masthead.metrics.rows_file import load_rows, save_rows
from masthead.metrics.service import MetricsService
from masthead.metrics.work import Work
from masthead.store.engine import Database
from masthead.store.objects import Objects

T0 = 1_600_000_200


class Alerts:
    """Hears everything, says nothing."""

    def notify(self, connection: Connection, event: AlertEvent) -> int:
        return 0

    def wake(self) -> None:
        pass

    def delete_rules_of(self, connection: Connection, detector: str) -> int:
        return 0


@pytest.fixture
def flows(folder: DataFolder) -> Iterator[Flows]:
    found = Flows(f"sqlite:///{folder.flows_path}", Journal(folder.logs))
    yield found
    found.close(wait_s=5)


@pytest.fixture
def service(database: Database, folder: DataFolder, flows: Flows) -> Iterator[MetricsService]:
    found = MetricsService(
        database, Objects(folder.objects), Alerts(), SystemClock(), Journal(folder.logs), folder, jobs=flows
    )
    yield found
    flows.close(wait_s=5)
    found.close()


def backtest(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    path = tmp_path / "air.csv"
    chance = np.random.default_rng(5)
    lines = [
        f"{T0 + 300 * step},{chance.normal(20, 2) + (90 if step == 500 else 0):.3f},B-1"
        for step in range(700)
    ]
    path.write_text("t,CO,at\n" + "\n".join(lines))
    plain = {
        "name": "air",
        "mode": "backtest",
        "time": {"column": "t", "format": "epoch_s"},
        "measures": ["CO"],
        "dimensions": ["at"],
        "source": {"kind": "files", "paths": [str(path)]},
    }
    return {**plain, **changes}


def test_a_backtest_is_a_job_of_five_steps_and_its_repeat_replaces_what_was_found(
    service: MetricsService, flows: Flows, folder: DataFolder, tmp_path: Path
) -> None:
    service.create_detector(backtest(tmp_path))
    for _ in range(2):
        run = service.backtest("air").run
        assert service.wait("air").state == "backtested"
        job = flows.wait(run)
        assert (job.name, job.state, job.args) == ("backtest", "done", {"detector": "air"})
        assert [step["name"] for step in job.steps] == ["validate", "read", "learn", "test", "store"]
        (group,) = service.list_groups("air").items
        assert group.run == run
    assert len(service.chart("air", "CO", {"at": "B-1"}).times) == 700
    assert not [*folder.metrics.rglob("job")]
    assert [one.state for one in service.executions("air").items] == ["finished", "finished"]
    with pytest.raises(Conflict, match="has ended already"):
        service.cancel_job(run)
    assert service.cancel_job("run-of-nobody") is None


def test_without_intervals_a_chart_has_one_point_a_second(service: MetricsService, tmp_path: Path) -> None:
    spec = backtest(tmp_path, interval="any")
    path = Path(spec["source"]["paths"][0])
    path.write_text(path.read_text() + f"\n{T0 + 300 * 500}.25,400,B-1\n{T0 + 300 * 500}.5,21,B-2\n")
    service.create_detector(spec)
    service.backtest("air")
    assert service.wait("air").failure == ""
    chart = service.chart("air", "CO", {"at": "B-1"})
    assert len(chart.times) == 700
    assert chart.values[500] in (400.0, pytest.approx(110, abs=10))
    assert chart.severity[500] == max(chart.severity) > 70
    assert service.chart("air", "CO", {"at": "B-2"}).values == [21.0]


@pytest.mark.parametrize("mode", ["backtest", "continuous"])
def test_a_job_under_way_is_cancelled_and_leaves_nothing(
    mode: str,
    service: MetricsService,
    flows: Flows,
    folder: DataFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = backtest(tmp_path)
    if mode == "continuous":
        spec |= {"source": {"kind": "stream", "topic": "a/#"}, "history": spec["source"]["paths"]}
    began: list[str] = []

    def endless(work: Work) -> dict[str, Any]:
        began.append(work.name)
        while True:
            work.report(0.5, "half")
            time.sleep(0.01)

    monkeypatch.setattr(Work, "validate", endless)
    service.create_detector(spec | {"mode": mode})
    run = (service.backtest if mode == "backtest" else service.activate)("air").run
    service.tick(time.time())
    deadline = time.monotonic() + 20
    while not began and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Conflict):
        service.delete_detector("air")
    found = service.cancel_job(run)
    assert found is not None
    assert found.state in ("deactivating", "stopped")
    assert service.wait("air").state == "stopped"
    assert service.executions("air").items[0].state == "cancelled"
    assert flows.wait(run).state == "cancelled"
    assert not (folder.metrics / "air" / run).exists()
    monkeypatch.undo()
    (service.backtest if mode == "backtest" else service.activate)("air")
    assert service.wait("air").state == ("backtested" if mode == "backtest" else "active")


def test_what_nobody_runs_is_stopped_at_once(service: MetricsService, tmp_path: Path) -> None:
    service.create_detector(backtest(tmp_path))
    service.backtest("air")
    assert service.deactivate("air").state == "stopped"
    assert service.executions("air").items[0].state == "cancelled"
    service.backtest("air")
    assert service.wait("air").state == "backtested"


def test_rows_come_back_from_their_file_as_they_were(tmp_path: Path) -> None:
    rows = Rows(
        times=np.array([1.5, 2.0]),
        numbers={"file": np.array([1.0, np.nan])},
        labels={"at": Labels(np.array([0, 1]), ("B-1", "\ud800 odd"))},
        key=Labels(np.array([1, 0]), ("x", "y")),
        files=("a.csv",),
        file=np.array([0, 0]),
        lines=np.array([1, 2]),
        time_format="epoch_s",
        names=("t", "file"),
        filtered=3,
    )
    save_rows(tmp_path / "rows.npz", rows)
    found = load_rows(tmp_path / "rows.npz")
    assert (found.files, found.names, found.time_format, found.filtered) == (
        ("a.csv",),
        ("t", "file"),
        "epoch_s",
        3,
    )
    np.testing.assert_array_equal(found.numbers["file"], rows.numbers["file"])
    assert found.labels["at"].texts() == ["B-1", "\ud800 odd"]
    assert found.key is not None
    assert found.key.texts() == ["y", "x"]
    assert found.times.tolist() == [1.5, 2.0]
