"""Training scripts by SageMaker's contract: what they find, how they end, and that nothing of them is left over."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound
from masthead.cli.main import run
from masthead.learn.scripts import Script, ScriptFailure, run_script

TELL = """
    import json, os, sys
    told = {"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}
    for name in ("hyperparameters", "inputdataconfig", "resourceconfig"):
        with open(os.path.join(os.environ["SM_INPUT_CONFIG_DIR"], name + ".json")) as file:
            told[name] = json.load(file)
    with open(os.path.join(os.environ["SM_CHANNEL_TRAIN"], "a.csv")) as file:
        told["train"] = file.read()
    told["folders"] = [os.path.isdir(os.environ["SM_OUTPUT_" + x]) for x in ("DIR", "DATA_DIR", "INTERMEDIATE_DIR")]
    print("epoch 1 auc=0.5")
    print("epoch 2 auc=0.75")
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "told.json"), "w") as file:
        json.dump(told, file)
"""
Make = Callable[..., Script]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(text: str, **fields: object) -> Script:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "train.py").write_text(textwrap.dedent(text))
        (tmp_path / "a.csv").write_text("id,y\n1,0\n")
        (tmp_path / "more").mkdir(exist_ok=True)
        known = {"entry_point": "train.py", "source_dir": source, "hyperparameters": {}, "channels": {}}
        return Script(**{**known, "model_dir": tmp_path / "model", **fields})  # type: ignore[arg-type]

    return made


def test_a_script_finds_its_folders_arguments_and_variables(make: Make, tmp_path: Path) -> None:
    script = make(
        TELL,
        channels={"train": tmp_path / "a.csv", "test": tmp_path / "more"},
        hyperparameters={
            "rate": 0.1,
            "b": 3,
            "name": "x y",
            "deep": {"k": 1},
            "sagemaker_program": "train.py",
        },
        metrics={"auc": r"auc=([0-9.]+)", "loss": r"loss=(.+)"},
    )
    os.environ["MASTHEAD_TEST_SECRET"] = "hush"
    try:
        lines: list[str] = []
        found = run_script(script, told=lines.append)
    finally:
        del os.environ["MASTHEAD_TEST_SECRET"]
    assert lines == ["epoch 1 auc=0.5", "epoch 2 auc=0.75"]
    assert (found.metrics, found.history) == ({"auc": 0.75}, {"auc": [0.5, 0.75]})
    assert found.files == ["told.json"]
    told = json.loads((tmp_path / "model/told.json").read_text())
    env = told["env"]
    base = env["SAGEMAKER_BASE_DIR"]
    assert told["argv"] == ["-b", "3", "--deep", "k=1", "--name", "x y", "--rate", "0.1"]
    assert told["cwd"] == env["SM_MODULE_DIR"] == f"{base}/code"
    assert told["train"] == "id,y\n1,0\n"
    assert told["folders"] == [True] * 3
    assert told["hyperparameters"]["rate"] == "0.1"
    assert set(told["inputdataconfig"]) == {"train", "test"}
    assert told["resourceconfig"]["current_host"] == env["SM_CURRENT_HOST"] == "algo-1"
    assert env["SM_CHANNEL_TEST"] == f"{base}/input/data/test"
    assert env["SM_CHANNELS"] == '["test","train"]'
    assert env["SM_HPS"] == '{"b":3,"deep":{"k":1},"name":"x y","rate":0.1}'
    assert (env["SM_HP_RATE"], env["SM_HP_NAME"], env["SM_HP_DEEP"]) == ("0.1", "x y", '{"k":1}')
    assert "SM_HP_SAGEMAKER_PROGRAM" not in env
    assert json.loads(env["SM_USER_ARGS"]) == told["argv"]
    assert json.loads(env["SM_TRAINING_ENV"])["channel_input_dirs"]["train"] == env["SM_CHANNEL_TRAIN"]
    promised = (
        "MODEL_DIR OUTPUT_DIR OUTPUT_DATA_DIR OUTPUT_INTERMEDIATE_DIR INPUT_DIR INPUT_CONFIG_DIR CHANNELS HPS USER_ARGS "
        "USER_ENTRY_POINT MODULE_NAME MODULE_DIR HOSTS CURRENT_HOST CURRENT_INSTANCE_TYPE CURRENT_INSTANCE_GROUP "
        "NETWORK_INTERFACE_NAME NUM_CPUS NUM_GPUS NUM_NEURONS FRAMEWORK_MODULE FRAMEWORK_PARAMS LOG_LEVEL "
        "RESOURCE_CONFIG INPUT_DATA_CONFIG TRAINING_ENV"
    )
    assert [name for name in promised.split() if f"SM_{name}" not in env] == []
    assert "MASTHEAD_TEST_SECRET" not in env
    assert not Path(base).exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "model", "more", "source"]


def test_a_failure_says_what_the_script_wrote_else_its_last_words(make: Make, tmp_path: Path) -> None:
    words = make("print('one'); raise ValueError('no rows in x.csv')")
    with pytest.raises(ScriptFailure, match=r"train.py ended with status 1: ValueError: no rows in x.csv"):
        run_script(words, base=tmp_path / "base")
    assert "no rows in x.csv" in (tmp_path / "base/output/failure").read_text()
    assert not (tmp_path / "model").exists()
    wrote = make(
        """
        import os, sys
        with open(os.environ["SM_OUTPUT_DIR"] + "/failure", "w") as file:
            file.write("AlgorithmError: too few")
        sys.exit(7)
        """
    )
    with pytest.raises(ScriptFailure, match="status 7: AlgorithmError: too few"):
        run_script(wrote)
    with pytest.raises(ScriptFailure, match="status 137"):
        run_script(make("import os; os.kill(os.getpid(), 9)"))


LINGER = """
    import signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"])
    print(child.pid, flush=True)
    time.sleep({seconds})
"""


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("end", ["limit", "cancel", "exit"])
def test_nothing_that_a_script_started_outlives_it(
    make: Make, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    monkeypatch.setattr("masthead.learn.processes._GRACE_S", 0.3)  # only how long a deaf script is asked
    lines: list[str] = []

    class Cancelled(BaseException):
        pass

    def check() -> None:
        if end == "cancel" and lines:
            raise Cancelled

    script = make(LINGER.format(seconds=0 if end == "exit" else 60), limit_s=2.0 if end == "limit" else 60.0)
    expected = {"limit": LimitReached, "cancel": Cancelled}.get(end)
    if expected is None:
        run_script(script, told=lines.append, check=check)
    else:
        with pytest.raises(expected):
            run_script(script, told=lines.append, check=check)
    assert gone(int(lines[0]))


def test_a_script_ends_when_the_process_that_runs_it_is_killed(make: Make, tmp_path: Path) -> None:
    script = make(LINGER.format(seconds=60).replace("SIG_IGN", "SIG_DFL"))
    asking = f"""
from pathlib import Path
from masthead.learn.scripts import Script, run_script
run_script(
    Script("train.py", Path({str(script.source_dir)!r}), {{}}, {{}}, Path({str(script.model_dir)!r})),
    told=lambda line: print(line, flush=True),
)
"""
    with subprocess.Popen([sys.executable, "-c", asking], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    assert gone(pid)


def test_long_lines_and_endless_output_are_bounded_and_do_not_block(make: Make) -> None:
    lines: list[str] = []
    run_script(make("print('x' * 100_000)\nfor i in range(5000): print(i)"), told=lines.append)
    assert len(lines) == 5001
    assert lines[0] == "x" * 4000
    assert lines[-1] == "4999"


def test_what_cannot_be_run_is_told_before_anything_is_made(make: Make, tmp_path: Path) -> None:
    cases: list[tuple[dict[str, object], type[Exception], str]] = [
        ({"entry_point": "other.py"}, NotFound, "entry_point"),
        ({"entry_point": "../train.py"}, InvalidInput, "entry_point"),
        ({"channels": {"train": tmp_path / "none.csv"}}, NotFound, "channel"),
        ({"channels": {"../x": tmp_path / "a.csv"}}, InvalidInput, "channel"),
        ({"python": str(tmp_path / "python9")}, NotFound, "python"),
        ({"metrics": {"auc": "auc"}}, InvalidInput, "one group"),
        ({"metrics": {"auc": "("}}, InvalidInput, "regular expression"),
        ({"model_dir": tmp_path}, Conflict, "model_dir"),
    ]
    for fields, kind, text in cases:
        with pytest.raises(kind, match=text):
            run_script(make("", **fields))


def test_a_source_folder_that_holds_the_base_and_a_script_without_a_folder_are_copied(
    make: Make, tmp_path: Path
) -> None:
    text = "import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').write(' '.join(sorted(os.listdir('.'))))"
    script = make(text)
    source = script.source_dir
    assert source is not None
    (source / "helper.py").touch()
    run_script(Script("train.py", source, {}, {}, source / "model"))
    assert (source / "model/m").read_text() == "helper.py train.py"
    run_script(Script(str(source / "train.py"), None, {}, {}, tmp_path / "alone"))
    assert (tmp_path / "alone/m").read_text() == "train.py"


def test_several_scripts_run_side_by_side(make: Make, tmp_path: Path) -> None:
    script = make("import os; open(os.environ['SM_MODEL_DIR'] + '/m', 'w').close()")
    threads = [
        threading.Thread(
            target=run_script,
            args=(Script("train.py", script.source_dir, {}, {}, tmp_path / "out" / str(number)),),
        )
        for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.parent.name for path in (tmp_path / "out").glob("*/m")) == ["0", "1", "2"]


def test_a_channel_that_leads_nowhere_is_input_that_cannot_be_used(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--entry-point",
        "train.py",
        "--source-dir",
        str(make(TELL).source_dir),
        "--model-dir",
        str(tmp_path / "m"),
    ]
    assert run(["fraud", "run-script", *given, "--channel", "train=nosuch"]) == 2
    assert "channel: there is no file or folder nosuch for train" in capsys.readouterr().err


def test_the_command_prints_what_was_made(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = make(TELL)
    status = run(
        [
            *("fraud", "run-script", "--entry-point", "train.py", "--source-dir", str(script.source_dir)),
            *("--channel", f"train={tmp_path / 'a.csv'}", "--hyperparameters", '{"rate": 0.5}'),
            *(
                "--metric",
                "auc=auc=([0-9.]+)",
                "--python",
                sys.executable,
                "--model-dir",
                str(tmp_path / "m"),
            ),
            "--json",
        ]
    )
    told = capsys.readouterr()
    assert status == 0, told.err
    found = json.loads(told.out)
    assert (found["metrics"], found["files"]) == ({"auc": 0.75}, ["told.json"])
    assert "epoch 2 auc=0.75" in told.err
    assert json.loads((tmp_path / "m/told.json").read_text())["argv"] == ["--rate", "0.5"]
