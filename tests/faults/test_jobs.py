"""kill -9 of the server in the middle of each step of a back-test and of an activation: it finishes, once, the same."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forked import forked
from sqlalchemy import select

from masthead.app import Masthead
from masthead.base.settings import load_settings
from masthead.metrics import results

ROWS = 40_000
T0 = 1_600_000_200
CHILD = """
import os, sys, time
from pathlib import Path
from masthead.base.settings import load_settings
from masthead.metrics import flows
from masthead.metrics.work import Work
from masthead.server import Server

# Each step lasts long enough to be hit: half before its work, half behind it.
plain = {}
def slowed(step):
    def slow(run, name, function, *args, **options):
        def work(*given):
            time.sleep(float(sys.argv[2]))
            found = function(*given)
            run.log("effect done", step=name)
            time.sleep(float(sys.argv[2]))
            return found
        return step(run, name, work, *args, **options)
    return slow

from masthead.flows.run import Run
Run.step = slowed(Run.step)
server = Server(load_settings({}, data=Path(sys.argv[1]), port=0, aws_port=0, roles="worker,api"))
server.start()
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two stations every five minutes, with a planted level every 700 intervals."""
    path = tmp_path_factory.mktemp("data") / "air.csv"
    chance = np.random.default_rng(7)
    with path.open("w") as file:
        file.write("t,CO,at\n")
        for step in range(ROWS // 2):
            for place in ("B-1", "B-2"):
                value = chance.normal(20, 2) + (60 if step % 700 == 650 else 0)
                file.write(f"{T0 + 300 * step},{value:.3f},{place}\n")
    return path


@dataclass
class Served:
    """A server process over a folder, killed and started again."""

    folder: Path
    pause_s: float = 0.0
    process: subprocess.Popen[str] | None = None
    pid: int = 0

    def start(self) -> None:
        script = self.folder.with_suffix(".py")
        script.write_text(CHILD)
        command = [str(forked("python")), str(script), str(self.folder), str(self.pause_s)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.pid = int(self.process.stdout.readline())

    def kill(self) -> None:
        assert self.process is not None
        os.kill(self.pid, signal.SIGKILL)
        self.process.communicate()
        self.process = None


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    found = Served(tmp_path / "killed", 0.15)
    yield found
    if found.process is not None:
        found.kill()


def spec(mode: str, data: Path) -> dict[str, Any]:
    where: dict[str, Any] = {"source": {"kind": "files", "paths": [str(data)]}}
    if mode == "continuous":
        where = {"source": {"kind": "stream", "topic": "air/#"}, "history": [str(data)]}
    return {
        "name": "air",
        "mode": mode,
        "time": {"column": "t", "format": "epoch_s"},
        "measures": ["CO"],
        "dimensions": ["at"],
        **where,
    }


def begin(folder: Path, mode: str, data: Path) -> str:
    with Masthead.open(load_settings({}, data=folder)) as masthead:
        masthead.metrics.create_detector(spec(mode, data))
        verb = masthead.metrics.activate if mode == "continuous" else masthead.metrics.backtest
        return verb("air").run


def events(folder: Path, run: str) -> list[tuple[str, str]]:
    path = folder / "logs" / "job" / f"{run}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(line["event"], line.get("step", "")) for line in lines]


def until(folder: Path, run: str, event: tuple[str, str]) -> None:
    deadline = time.monotonic() + 60
    while event not in events(folder, run):
        assert time.monotonic() < deadline, f"{event} never came: {events(folder, run)}"
        time.sleep(0.01)


def outcome(folder: Path) -> dict[str, Any]:
    """Return what a job left: state, groups and scores without the run's own name."""
    with Masthead.open(load_settings({}, data=folder)) as masthead:
        metrics = masthead.metrics
        found = metrics.get_detector("air")
        groups = [one.to_json() for one in metrics.list_groups("air", min_severity=0, limit=1000).items]
        for one in groups:
            one["id"] = one["id"].rsplit("-", 1)[1]
            del one["run"], one["created"]
        table = results.detector_results.c
        with masthead.database.read() as connection:
            rows = connection.execute(
                select(table.chunk, table.start, table.data).order_by(table.start, table.chunk)
            )
            scores = [(chunk, start, bytes(data)) for chunk, start, data in rows]
        executions = [(one.kind, one.state, one.done) for one in metrics.executions("air").items]
        jobs = [(one.name, one.state, one.output) for one in masthead.flows.list()]
    memory = sorted(path.read_bytes() for path in (folder / "metrics").rglob("snapshots/*.npz"))
    rest = sorted(str(path.name) for path in (folder / "metrics").rglob("job/*"))
    return {
        "state": found.state,
        "progress": found.progress,
        "groups": groups,
        "scores": scores,
        "executions": executions,
        "jobs": jobs,
        "memory": len(memory),
        "rest": rest,
    }


STEPS = {
    "backtest": ("validate", "read", "learn", "test", "store"),
    "continuous": ("validate", "read history", "learn", "go live"),
}
LAST = {"backtest": "store", "continuous": "go live"}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["backtest", "continuous"])
def test_a_job_killed_in_every_step_ends_as_an_undisturbed_one(
    mode: str, served: Served, tmp_path: Path, data: Path
) -> None:
    calm = Served(tmp_path / "calm")
    run = begin(calm.folder, mode, data)
    calm.start()
    until(calm.folder, run, ("done", ""))
    time.sleep(0.5)
    calm.kill()

    run = begin(served.folder, mode, data)
    for event in [("step begins", name) for name in STEPS[mode]] + [("effect done", LAST[mode])]:
        served.start()
        until(served.folder, run, event)
        served.kill()
    served.start()
    until(served.folder, run, ("done", ""))
    time.sleep(0.5)
    served.kill()

    told = events(served.folder, run)
    for name in STEPS[mode]:
        assert told.count(("step done", name)) == 1, f"{name} was finished more than once"
    expected, found = outcome(calm.folder), outcome(served.folder)
    assert found == expected
    assert expected["state"] == ("backtested" if mode == "backtest" else "active")
    assert len(expected["scores"]) > 5_000
    assert expected["rest"] == []
    if mode == "backtest":
        assert len(expected["groups"]) > 10
