"""Durable jobs in this process: steps, retries, limits, cancel, resume, progress, log."""

import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.flows.service import Flows, Run


@pytest.fixture
def url(folder: DataFolder) -> str:
    return f"sqlite:///{folder.flows_path}"


@pytest.fixture
def flows(url: str, journal: Journal) -> Iterator[Flows]:
    found = Flows(url, journal)
    yield found
    found.close(wait_s=0)


def until(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def test_a_flow_runs_its_steps_once_however_often_it_is_started(flows: Flows) -> None:
    ran: list[str] = []

    def work(run: Run, args: dict[str, Any]) -> Any:
        for name in args["names"]:
            run.step(name, ran.append, name)
        return {"ran": len(ran)}

    flows.register("work", work)
    assert flows.list() == []
    first = flows.start("work", "job-1", {"names": ["a", "b"]})
    assert first.state in ("running", "done")
    done = flows.wait("job-1")
    assert (done.state, done.output, done.args) == ("done", {"ran": 2}, {"names": ["a", "b"]})
    assert flows.start("work", "job-1", {"names": ["c"]}).output == {"ran": 2}
    assert ran == ["a", "b"]
    assert [one.id for one in flows.list("work")] == ["job-1"]
    assert flows.list("other") == []
    assert flows.list(state="failed") == []


def test_a_step_that_fails_at_first_is_tried_again(flows: Flows) -> None:
    calls: list[int] = []

    def shaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("not yet")
        return "there"

    flows.register("work", lambda run, args: run.step("shaky", shaky, tries=5, pause_s=0.01))
    flows.start("work", "job-1")
    assert flows.wait("job-1").output == "there"
    assert len(calls) == 3


def test_a_step_whose_tries_are_used_up_fails_the_flow_with_its_last_error(
    flows: Flows, journal: Journal
) -> None:
    def broken() -> None:
        raise OSError("disk on fire")

    flows.register("work", lambda run, args: run.step("burn", broken, tries=2, pause_s=0.01))
    flows.start("work", "job-1")
    found = flows.wait("job-1")
    assert found.state == "failed"
    assert "step burn: failed 2 times, at last with disk on fire" in found.error
    events = [one["event"] for one in journal.read("job", "job-1")]
    assert events.count("step failed") == 2
    assert events[-1] == "failed"


def test_a_callers_mistake_is_not_tried_again(flows: Flows) -> None:
    calls: list[int] = []

    def wrong() -> None:
        calls.append(1)
        raise InvalidInput("path: expected a file, got 'x'")

    flows.register("work", lambda run, args: run.step("read", wrong, tries=5))
    flows.start("work", "job-1")
    assert "path: expected a file" in flows.wait("job-1").error
    assert calls == [1]


def test_a_step_ends_at_its_time_limit_and_its_thread_learns_of_it(flows: Flows) -> None:
    left = threading.Event()

    def work(run: Run, args: dict[str, Any]) -> Any:
        def long() -> None:
            try:
                while True:
                    run.check()
                    time.sleep(0.01)
            finally:
                left.set()

        try:
            run.step("long", long, limit_s=0.2)
        except LimitReached as error:
            return str(error)

    flows.register("work", work)
    flows.start("work", "job-1")
    assert flows.wait("job-1").output == "step long: expected to end within 0.2 s"
    assert left.wait(5)


def test_progress_is_seen_while_the_flow_runs(flows: Flows) -> None:
    go = threading.Event()

    def work(run: Run, args: dict[str, Any]) -> None:
        def long() -> None:
            run.progress(3, 3, "inside")
            go.wait(20)

        run.progress(1, 3, "begun")
        run.step("long", long, limit_s=30)

    flows.register("work", work)
    flows.start("work", "job-1")
    until(lambda: flows.get("job-1").progress.get("text") == "inside")
    go.set()
    assert flows.wait("job-1").progress == {"done": 3, "total": 3, "text": "inside"}


def test_a_flow_that_reports_before_it_looks_whether_it_was_cancelled_ends_as_cancelled(flows: Flows) -> None:
    told: list[str] = []
    begun, go = threading.Event(), threading.Event()

    def work(run: Run, args: dict[str, Any]) -> None:
        run.step("only", report, run)

    def report(run: Run) -> None:
        begun.set()
        go.wait(20)
        run.progress(1, 1, "reported")

    flows.register("work", work, ended=lambda id, args, state, error: told.append(state))
    flows.start("work", "job-1")
    assert begun.wait(20)
    flows.cancel("job-1")
    go.set()
    until(lambda: told)
    assert told == ["cancelled"]
    assert flows.get("job-1").state == "cancelled"


def test_a_cancelled_flow_stops_and_goes_on_behind_its_last_step(flows: Flows) -> None:
    ran: list[str] = []
    hold = [True]

    def work(run: Run, args: dict[str, Any]) -> str:
        run.step("first", ran.append, "first")
        run.step("second", second, run)
        return "all"

    def second(run: Run) -> None:
        ran.append("second")
        while hold[0]:
            run.check()
            time.sleep(0.02)

    flows.register("work", work)
    flows.start("work", "job-1")
    until(lambda: "second" in ran)
    assert flows.cancel("job-1").state == "cancelled"
    hold[0] = False
    time.sleep(0.2)
    found = flows.resume("job-1")
    assert found.state in ("waiting", "running", "done")
    assert flows.wait("job-1").output == "all"
    assert ran == ["first", "second", "second"]
    with pytest.raises(Conflict):
        flows.cancel("job-1")
    with pytest.raises(Conflict):
        flows.resume("job-1")


def test_another_process_may_look_and_cancel_but_not_run(flows: Flows, url: str, folder: DataFolder) -> None:
    go = threading.Event()
    stopped = threading.Event()

    def work(run: Run, args: dict[str, Any]) -> None:
        try:
            run.step(
                "wait",
                lambda: [run.check() or time.sleep(0.02) for _ in range(1000) if not go.is_set()] and None,
            )
        except BaseException:
            stopped.set()
            raise

    flows.register("work", work)
    flows.start("work", "job-1")
    code = f"""
import sys
from pathlib import Path
from masthead.base.log import Journal
from masthead.base.errors import Conflict
from masthead.flows.service import Flows
flows = Flows({url!r}, Journal(Path({str(folder.logs)!r})), executes=False)
flows.register("work", print)
flows.open()
print(flows.get("job-1").state)
try:
    flows.start("work", "job-2")
except Conflict as error:
    print(error)
print(flows.cancel("job-1").state)
"""
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout.split("\n")[:3] == [
        "running",
        "flows: only the server runs flows; start it first",
        "cancelled",
    ]
    assert stopped.wait(10)


def test_what_cannot_be_stored_or_found_is_refused(flows: Flows) -> None:
    flows.register("work", lambda run, args: None)
    flows.register("other", lambda run, args: None)
    with pytest.raises(NotFound, match="there is no flow 'nothing'"):
        flows.start("nothing", "job-1")
    with pytest.raises(InvalidInput, match="id: expected"):
        flows.start("work", "a/../b")
    with pytest.raises(InvalidInput, match="JSON values"):
        flows.start("work", "job-1", {"x": object()})
    with pytest.raises(NotFound):
        flows.get("job-1")
    flows.start("work", "job-1")
    with pytest.raises(Conflict, match="is a flow of work"):
        flows.start("other", "job-1")


def test_an_output_that_is_no_json_fails_the_flow(flows: Flows) -> None:
    flows.register("work", lambda run, args: run.step("s", object))
    flows.start("work", "job-1")
    assert "expected JSON values" in flows.wait("job-1").error


def test_nothing_heavy_is_loaded_before_there_is_work(folder: DataFolder) -> None:
    code = f"""
import sys
from pathlib import Path
from masthead.base.log import Journal
from masthead.flows.service import Flows
flows = Flows("sqlite:///{folder.flows_path}", Journal(Path({str(folder.logs)!r})))
flows.register("work", print)
assert flows.open() == 0
assert "dbos" not in sys.modules
flows.close()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert not folder.flows_path.exists()


def test_the_file_is_in_wal_and_only_its_owner_reads_it(flows: Flows, folder: DataFolder) -> None:
    flows.register("work", lambda run, args: None)
    flows.start("work", "job-1")
    flows.wait("job-1")
    with sqlite3.connect(folder.flows_path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    assert folder.flows_path.stat().st_mode & 0o077 == 0


def test_no_outside_address_is_named_and_no_code_is_stored(
    flows: Flows, folder: DataFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    flows.register("work", lambda run, args: run.step("s", lambda: {"a": [1, 2.5, None]}))
    flows.start("work", "job-1", {"x": 1})
    flows.wait("job-1")
    out, err = capfd.readouterr()
    assert "http" not in out + err
    assert logging.getLogger("dbos").level >= logging.ERROR
    with sqlite3.connect(folder.flows_path) as connection:
        stored = connection.execute("SELECT output FROM operation_outputs").fetchall()
    connection.close()
    assert stored == [('{"a":[1,2.5,null]}',)]


def test_a_closed_and_reopened_set_goes_on(url: str, journal: Journal, tmp_path: Path) -> None:
    ran: list[str] = []
    hold = [True]

    def work(run: Run, args: dict[str, Any]) -> str:
        run.step("first", ran.append, "first")
        run.step("second", second, run)
        return "all"

    def second(run: Run) -> None:
        ran.append("second")
        while hold[0]:
            run.check()
            time.sleep(0.01)

    first = Flows(url, journal)
    first.register("work", work)
    first.start("work", "job-1")
    until(lambda: "second" in ran)
    first.close(wait_s=5)
    hold[0] = False
    again = Flows(url, journal)
    again.register("work", work)
    assert again.open() == 1
    assert again.wait("job-1").output == "all"
    again.close()
    assert ran == ["first", "second", "second"]


def test_flows_live_in_postgresql_too(postgres_url: str, journal: Journal) -> None:
    found = Flows(postgres_url, journal)
    found.register("work", lambda run, args: run.step("s", lambda: args["x"] + 1))
    assert found.open() == 0
    found.start("work", "job-1", {"x": 1})
    assert found.wait("job-1").output == 2
    found.close()
    again = Flows(postgres_url, journal)
    assert again.open() == 0
    again.close()
