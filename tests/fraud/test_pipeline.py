"""The pipeline: parameters that are checked, steps that are done once, a user's script, and kill -9 in the middle."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fresh import fresh

from masthead.app import Masthead
from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.base.settings import load_settings
from masthead.cli.main import run
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema
from masthead.fraud.pipeline.config import STEPS, Config, read_config
from masthead.fraud.pipeline.runs import Runs
from masthead.fraud.scoring.tuning import tuning
from masthead.store.archive import write_archive

ROWS = 1_500


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated tables."""
    folder = tmp_path_factory.mktemp("cards")
    generate(ROWS, 5, folder)
    return folder


def asked(cards: Path, **fields: Any) -> dict[str, Any]:
    return {
        "schema": str(cards / "schema.toml"),
        "data": [str(cards / "train_transaction.csv"), str(cards / "train_identity.csv")],
        "labels": str(cards / "labels.csv"),
        **fields,
    }


# ---------------------------------------------------------------------- parameters


def test_every_parameter_has_a_value_and_relative_paths_are_seen_from_the_file(tmp_path: Path) -> None:
    found = read_config({"schema": "ieee-cis", "data": "a.csv"}, folder=tmp_path)
    assert found.schema == "ieee-cis"
    assert found.data == (str(tmp_path / "a.csv"),)
    assert (found.engine, found.format, found.trials, found.load) == ("duckdb", "csv", 0, True)
    assert set(found.limits_s) == set(STEPS)
    assert Config.from_json(json.loads(json.dumps(found.to_json()))) == found
    whole = read_config(
        {
            "schema": "s.toml",
            "data": ["a.csv"],
            "train": {
                "until": 100,
                "hyperparameters": {"num_leaves": 15, "learning_rate": 0.1},
                "script": {"entry_point": "t.py", "source_dir": "code", "metrics": {"auc": "auc=(.+)"}},
            },
            "endpoint": {"name": "cards", "shadow": True},
            "limits_s": {"train": 60},
        },
        folder=tmp_path,
    )
    assert Config.from_json(json.loads(json.dumps(whole.to_json()))) == whole
    assert (whole.schema, whole.train_until, whole.limits_s["train"]) == (
        str(tmp_path / "s.toml"),
        "100",
        60.0,
    )
    assert whole.script is not None
    assert whole.script.source_dir == str(tmp_path / "code")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"dada": 1}, "dada"),
        ({"data": []}, "data"),
        ({"data": [1]}, "data"),
        ({"schema": ""}, "schema"),
        ({"train": {"tree": 1}}, "train.tree"),
        ({"train": 1}, "train"),
        ({"train": {"seed": -1}}, "train.seed"),
        ({"train": {"seed": True}}, "train.seed"),
        ({"train": {"trials": 101}}, "train.trials"),
        ({"train": {"until": [1]}}, "train.until"),
        ({"train": {"hyperparameters": {"objective": 1}}}, "train.hyperparameters.objective"),
        ({"train": {"hyperparameters": {"learning_rate": 2}}}, "train.hyperparameters.learning_rate"),
        ({"train": {"hyperparameters": {"num_leaves": 15.5}}}, "train.hyperparameters.num_leaves"),
        ({"train": {"script": {"source_dir": "a"}}}, "train.script.entry_point"),
        ({"process": {"engine": "ray"}}, "process.engine"),
        ({"process": {"format": "xml"}}, "process.format"),
        ({"endpoint": {"name": "a_b"}}, "endpoint"),
        ({"endpoint": {"name": "a", "shadow": 1}}, "endpoint.shadow"),
        ({"load": "yes"}, "load"),
        ({"limits_s": {"train": 0}}, "limits_s.train"),
        ({"limits_s": {"walk": 1}}, "limits_s.walk"),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_cannot_be_used_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_config({"schema": "ieee-cis", "data": "a.csv", **fields}, folder=Path("/"))
    assert caught.value.field == field


def test_over_the_network_paths_are_absolute_and_scripts_lie_in_their_folder(tmp_path: Path) -> None:
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        start = product.pipelines.start
        given: dict[str, Any] = {"schema": "ieee-cis", "data": ["/a.csv"]}
        code = tmp_path / "data/scripts/mine"
        code.mkdir(parents=True)
        (tmp_path / "data/scripts/out").symlink_to(tmp_path)
        for fields, text in [
            ({"data": ["a.csv"]}, "absolute"),
            ({"train": {"script": {"entry_point": "a.py", "source_dir": "/tmp"}}}, "scripts"),
            ({"train": {"script": {"entry_point": "a.py", "source_dir": str(code / "../out")}}}, "scripts"),
            (
                {"train": {"script": {"entry_point": "a.py", "source_dir": str(code), "python": "python3"}}},
                "interpreter",
            ),
        ]:
            with pytest.raises(InvalidInput, match=text):
                start({**given, **fields})
        assert product.pipelines.list() == []
        (code / "a.py").touch()
        with pytest.raises(InvalidInput, match=r"train\.script\.entry_point: expected a file .*scripts"):
            start({**given, "train": {"script": {"entry_point": "/tmp/a.py"}}})
        found = start({**given, "train": {"script": {"entry_point": "a.py", "source_dir": str(code)}}})
        assert found["state"] == "waiting"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": {"until": "garbage"}}, r"train\.until: expected ISO 8601 or a number of s, got 'garbage'"),
        ({"train": {"from": "2018-05-01", "until": "2018-01-01"}}, r"train\.from: expected a time before"),
        ({"train": {"labels_until": "soon"}}, r"train\.labels_until: .*'soon'"),
        (
            {"train": {"script": {"entry_point": "no.py"}}},
            r"train\.script\.entry_point: there is no file .*no\.py",
        ),
        (
            {"train": {"script": {"entry_point": "no.py", "source_dir": "no"}}},
            r"train\.script\.source_dir: .*no",
        ),
        (
            {"train": {"script": {"entry_point": "t.py", "metrics": {"auc": "("}}}},
            r"train\.script\.metrics: expected a regular expression for auc",
        ),
        (
            {"train": {"script": {"entry_point": "t.py", "python": "no-such"}}},
            r"train\.script\.python: .*no-such",
        ),
        ({"data": "nowhere.csv"}, r"data: expected a file or a folder, got .*nowhere\.csv"),
        ({"labels": "nowhere.csv"}, r"labels: expected a file or a folder, got .*nowhere\.csv"),
        ({"schema": "./nowhere.toml"}, r"schema: .*nowhere"),
    ],
    ids=lambda given: "" if isinstance(given, dict) else given[:18],
)
def test_what_would_fail_later_is_refused_before_a_run_begins(
    cards: Path, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    (tmp_path / "t.py").touch()
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        with pytest.raises(InvalidInput, match=message):
            product.pipelines.start(asked(cards, **fields), folder=tmp_path, by_owner=True)
        assert product.pipelines.list() == []


def test_a_script_may_lie_by_itself_and_labels_until_may_be_now(cards: Path, tmp_path: Path) -> None:
    (tmp_path / "t.py").touch()
    train = {"labels_until": "now", "script": {"entry_point": "t.py"}}
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        found = product.pipelines.start(asked(cards, train=train), folder=tmp_path, by_owner=True)
    assert found["config"]["script"]["entry_point"] == str(tmp_path / "t.py")
    assert found["config"]["script"]["source_dir"] == ""
    assert datetime.fromisoformat(found["config"]["labels_until"]).tzinfo is not None


# ---------------------------------------------------------------------- runs


def test_a_run_is_held_by_one_process_and_a_step_counts_when_it_is_whole(tmp_path: Path) -> None:
    runs = Runs(tmp_path / "run")
    with pytest.raises(NotFound, match="none yet"):
        runs.get("")
    run_folder = runs.create({"a": 1})
    assert (runs.get("").id, run_folder.config()) == (run_folder.id, {"a": 1})
    run_folder.put_state(state="running", step="ingest")
    assert run_folder.state().state == "interrupted"
    with run_folder.hold():
        assert run_folder.state().state == "running"
        with pytest.raises(Conflict, match="runs already"), run_folder.hold():
            pass
        with pytest.raises(Conflict, match="runs already"):
            runs.delete(run_folder.id)
    beside = run_folder.begin("ingest")
    (beside / "half").touch()
    assert run_folder.output("ingest") is None
    (run_folder.begin("ingest") / "whole").touch()
    run_folder.finish("ingest", {"rows": 3})
    assert run_folder.output("ingest") == {"rows": 3}
    assert sorted(path.name for path in (run_folder.path / "ingest").iterdir()) == ["output.json", "whole"]
    for wrong in ("run-x", "../run", run_folder.id[:-1] + "0z"):
        with pytest.raises(NotFound):
            runs.get(wrong)
    runs.delete(run_folder.id)
    assert list((tmp_path / "run").iterdir()) == []


def test_who_was_killed_is_told_how_to_go_on_and_who_took_too_long_what_to_set_higher(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = fresh(tmp_path / "data")
    with Masthead.open(load_settings({}, data=data)) as product:
        begun = product.pipelines.start(asked(cards))
        folder = Runs(product.folder.runs).get(begun["id"])
        folder.put_state(state="running", step="ingest")
        for found in (product.pipelines.get(), product.pipelines.list()[0]):
            assert (found["state"], found["resume"]) == (
                "interrupted",
                f"masthead fraud pipeline resume {begun['id']}",
            )
    (tmp_path / "p.json").write_text(json.dumps(asked(cards, limits_s={"ingest": 0.001})))
    assert run(["fraud", "pipeline", "start", "--config", str(tmp_path / "p.json"), "--data", str(data)]) == 1
    told = capsys.readouterr().out
    assert "failed in ingest: step ingest: expected to end within 0.001 s" in told
    assert (
        "set a higher limits_s.ingest and begin another run: masthead fraud pipeline start --config" in told
    )
    assert "go on with" not in told


# ---------------------------------------------------------------------- whole runs

SCRIPT = """
    import argparse, os, sys
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=float)
    share = parser.parse_args().share
    train, data = os.environ["SM_CHANNEL_TRAIN"], os.environ["SM_CHANNEL_DATA"]
    with open(os.path.join(train, "features.csv")) as file:
        rows = sum(1 for _ in file) - 1
    assert sorted(name.split("-", 1)[1] for name in os.listdir(data)) == ["train_identity.csv", "train_transaction.csv"]
    assert os.path.exists(os.path.join(os.environ["SM_CHANNEL_SCHEMA"], "schema.toml"))
    if share > 1:
        sys.exit("share is too large")
    print("rows=%d" % rows)
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "mine.txt"), "w") as file:
        file.write(str(rows * share))
"""


@pytest.mark.slow
def test_the_users_own_script_trains_and_a_failed_run_goes_on_where_it_failed(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code/train.py").write_text(textwrap.dedent(SCRIPT))
    script = {
        "entry_point": "train.py",
        "source_dir": "code",
        "python": sys.executable,
        "hyperparameters": {"share": 2},
        "metrics": {"rows": "rows=([0-9]+)"},
    }
    config = tmp_path / "p.json"
    config.write_text(json.dumps(asked(cards, load=False, train={"script": script})))

    def command(*words: str) -> tuple[int, Any]:
        status = run(["fraud", "pipeline", *words, "--data", str(tmp_path / "data"), "--json"])
        text = capsys.readouterr().out
        return status, json.loads(text) if text else None

    status, found = command("start", "--config", str(config))
    assert (status, found["state"], found["step"]) == (1, "failed", "train")
    assert "share is too large" in found["error"]
    assert found["resume"] == f"masthead fraud pipeline resume {found['id']}"
    ingested = found["steps"][1]["output"]
    assert [Path(one["path"]).name for one in ingested["files"]] == [
        "train_transaction.csv",
        "train_identity.csv",
        "labels.csv",
    ]
    assert ingested["files"][0]["rows"] == ROWS

    (tmp_path / "code/train.py").write_text(textwrap.dedent(SCRIPT).replace("share > 1", "share > 5"))
    status, found = command("resume", found["id"])
    assert (status, found["state"], found["attempt"]) == (0, "done", 2)
    steps = {step["name"]: step for step in found["steps"]}
    assert list(steps) == list(STEPS)
    assert {step["state"] for step in found["steps"]} == {"done"}
    assert steps["train"]["output"]["metrics"] == {"rows": ROWS}
    assert steps["package"]["output"]["files"].keys() == {"mine.txt"}
    assert steps["create-model"]["output"]["model"] == ""
    assert steps["check"]["output"] == {"skipped": "no endpoint is asked for"}
    columns = {one["column"]: one for one in steps["catalogue"]["output"]["columns"]}
    assert columns["TransactionID"]["null_share"] == 0
    assert abs(columns["TransactionID"]["distinct_about"] / ROWS - 1) < 0.2
    assert "distinct" not in columns["TransactionID"]
    assert columns["TransactionID"]["used"] is True
    assert run(["fraud", "pipeline", "log", found["id"], "train", "--data", str(tmp_path / "data")]) == 0
    assert f"rows={ROWS}" in capsys.readouterr().out
    assert command("list")[1][0]["state"] == "done"
    assert command("resume", found["id"])[0] == 1
    assert command("delete", found["id"]) == (0, {"deleted": found["id"]})
    assert command("status")[0] == 1


@pytest.mark.slow
def test_a_run_that_would_fail_again_says_so_and_ends_with_2(
    cards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "p.json"
    config.write_text(json.dumps(asked(cards, load=False, train={"from": "2030-01-01"})))
    words = ["fraud", "pipeline", "start", "--config", str(config), "--data", str(tmp_path / "data")]
    assert run(words) == 2
    told = capsys.readouterr().out
    assert "go on with" not in told
    assert "mend them and begin another run: masthead fraud pipeline start --config FILE" in told
    assert run(["fraud", "pipeline", "status", "--data", str(tmp_path / "data"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["step"], found["code"], found["resume"]) == ("train", "InvalidInput", "")


SERVE = """
import sys, time
from pathlib import Path
from masthead.app import Masthead
from masthead.base.settings import load_settings

with Masthead.open(load_settings({}, data=Path(sys.argv[1]))) as product:
    product.build()
    product.flows.open()
    product.pipelines.serve()
    print("up", flush=True)
    while product.pipelines.get()["state"] in ("waiting", "running", "interrupted"):
        time.sleep(0.1)
"""


def children_of(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Callable[[], bool], limit_s: float = 240.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_step_over_its_own_limit_fails_and_the_limit_is_told(cards: Path, tmp_path: Path) -> None:
    before = set(children_of(os.getpid()))
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        limits = {"ingest": 0.02, "train": 3_000}
        id = product.pipelines.start(asked(cards, limits_s=limits))["id"]
        product.pipelines.run_here(id)
        until(lambda: product.pipelines.get(id)["state"] == "failed", 20)
        found = product.pipelines.get(id)
        assert found["error"] == "step ingest: expected to end within 0.02 s"
        assert (found["step"], found["resume"]) == ("ingest", ""), (
            "a run keeps its limits: to resume it would fail again"
        )
        told = {one["name"]: (one["state"], one["limit_s"]) for one in found["steps"]}
        assert told["ingest"] == ("failed", 0.02)
        assert told["normalise-parameters"][0] == "done"
        assert told["train"] == ("waiting", 3_000)
        until(lambda: set(children_of(os.getpid())) <= before, 10)  # leave nobody behind who still writes


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_pipeline_survives_kill_9_and_finished_steps_are_not_run_again(cards: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Masthead.open(load_settings({}, data=data)) as product:
        given = asked(cards, endpoint={"name": "cards"}, train={"hyperparameters": {"num_leaves": 7}})
        id = product.pipelines.start(given)["id"]
    folder = Runs(data / "runs").get(id)

    def serve() -> "subprocess.Popen[str]":
        child = subprocess.Popen([sys.executable, "-c", SERVE, str(data)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        return child

    def kill_in(step: str) -> list[int]:
        """Kill the process while a child of it works at a step; return that child and what it started."""
        with serve() as process:
            until(lambda: (folder.path / f"{step}.tmp").exists() and bool(children_of(process.pid)))
            keepers = children_of(process.pid)
            found = [*keepers, *(pid for keeper in keepers for pid in children_of(keeper))]
            os.kill(process.pid, signal.SIGKILL)
        return found

    stamps: dict[str, int] = {}
    for step in ("train", "check"):
        orphans = kill_in(step)
        assert orphans
        for pid in orphans:
            until(lambda pid=pid: not alive(pid), 15)  # type: ignore[misc]
        assert folder.state().state == "interrupted"
        for name in STEPS[: STEPS.index(step)]:
            made = (folder.path / name / "output.json").stat().st_mtime_ns
            assert stamps.setdefault(name, made) == made, f"{name} was run again"
        assert folder.output(step) is None
    with serve() as process:
        assert process.wait(240) == 0
    with Masthead.open(load_settings({}, data=data)) as product:
        found = product.pipelines.get(id)
        assert (found["state"], found["attempt"], found["error"]) == ("done", 1, "")
        outputs = {step["name"]: step["output"] for step in found["steps"]}
        assert outputs["check"]["rows"] == 1_000
        assert outputs["check"]["largest_difference"] <= 1e-6
        assert outputs["load-graph"]["loaded"] == ROWS
        (deployed,) = product.fraud.deployments()
        assert (deployed.name, deployed.source["model"]) == ("cards", outputs["train"]["model"])
        assert [one.kind for one in product.fraud.spaces()] == ["live"]
        assert product.fraud.stats()["totalCount"] == ROWS
        card = product.fraud.model(outputs["train"]["model"]).card
        assert card["configuration"]["num_leaves"] == 7
        assert list((data / "models").iterdir()) == [data / "models" / outputs["train"]["model"]]
    assert not list(folder.path.glob("*.tmp"))


@pytest.mark.slow
def test_trials_are_judged_by_later_data_and_given_parameters_stay(cards: Path) -> None:
    schema = Schema.read(cards / "schema.toml")
    data = [cards / "train_transaction.csv", cards / "train_identity.csv"]

    # Labels that stand in the data are known after a week; those of the file, after two months.
    steps = tuning(schema, data, None, window=("", "", ""), given={"num_leaves": 7}, trials=1, seed=3)
    *_, (found, share, _) = steps
    assert share == 1.0
    assert found is not None
    assert len(found["trials"]) == 2
    assert found["trials"][0]["parameters"] == {"num_leaves": 7}
    assert {one["parameters"]["num_leaves"] for one in found["trials"]} == {7}
    best = max(one["average_precision"] for one in found["trials"])
    assert found["chosen"] in [
        one["parameters"] for one in found["trials"] if one["average_precision"] == best
    ]
    assert 0 < best <= 1


def test_a_backup_leaves_runs_out(tmp_path: Path) -> None:
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        product.pipelines.start({"schema": "ieee-cis", "data": ["/a.csv"]})
        write_archive(
            product.folder, tmp_path / "a.tar.gz", version="1", now=datetime.now(UTC), still=nullcontext()
        )
    with tarfile.open(tmp_path / "a.tar.gz") as tar:
        names = tar.getnames()
    assert "data/masthead.db" in names
    assert not [name for name in names if "runs" in name]
