"""A process that is killed in the middle of a flow: finished steps are not run again, the rest is."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.flows.service import Flows

CHILD = """
    import sys, time
    from pathlib import Path
    from masthead.base.folder import DataFolder
    from masthead.base.log import Journal
    from masthead.flows.service import Flows

    folder, marks = DataFolder(Path(sys.argv[1])), Path(sys.argv[2])

    def mark(name, value):
        with marks.open("a") as file:
            file.write(name + "\\n")
        time.sleep(value)
        return name

    def work(run, args):
        run.progress(0, 4, "begun")
        for number in range(3):
            run.step(f"quick-{number}", mark, f"quick-{number}", 0)
            run.progress(number + 1, 4)
        run.step("long", mark, "long", args["seconds"] if sys.argv[3] == "start" else 0)
        return {"by": sys.argv[3]}

    flows = Flows(f"sqlite:///{folder.flows_path}", Journal(folder.logs))
    flows.register("work", work)
    if sys.argv[3] == "start":
        flows.start("work", "job-1", {"seconds": 60})
        time.sleep(60)
    else:
        print(flows.open(), flush=True)
        print(flows.wait("job-1", limit_s=30).state, flush=True)
        flows.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.big)])
def test_a_flow_survives_kill_9(folder: DataFolder, tmp_path: Path, journal: Journal, kills: int) -> None:
    script, marks = tmp_path / "child.py", tmp_path / "marks"
    script.write_text(textwrap.dedent(CHILD))
    marks.touch()

    def run(what: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, script, str(folder.path), str(marks), what], stdout=subprocess.PIPE, text=True
        )

    for number in range(kills):
        with run("start") as child:
            deadline = time.monotonic() + 30
            while marks.read_text().count("long") <= number:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            os.kill(child.pid, signal.SIGKILL)
    with run("go on") as child:
        said, _ = child.communicate(timeout=60)
    assert said.split("\n")[:2] == ["1", "done"]
    ran = marks.read_text().split()
    assert ran == ["quick-0", "quick-1", "quick-2"] + ["long"] * (kills + 1)
    looking = Flows(f"sqlite:///{folder.flows_path}", journal, executes=False)
    found = looking.get("job-1")
    assert found.output == {"by": "go on"}
    assert found.progress == {"done": 3, "total": 4, "text": ""}
    looking.close()
