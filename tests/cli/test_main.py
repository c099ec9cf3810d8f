"""The command itself: light to start, one line per error, exit status by kind of error."""

import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from forked import told

from masthead.cli.main import run

HEAVY = (
    "numba",
    "nicegui",
    "dbos",
    "ibis",
    "fastapi",
    "sqlalchemy",
    "pandas",
    "pyarrow",
    "torch",
    "pydantic",
)


def masthead(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "masthead.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload,no-any-return]


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from masthead.cli.main import run; status = run(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], status)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[] 0"


@pytest.mark.parametrize("room", ["things", "policies", "rules", "streams", "alerts", "detectors"])
def test_a_list_loads_neither_kernel_nor_tables_nor_pages(room: str, tmp_path: Path) -> None:
    heavy = (
        "numba",
        "pandas",
        "pyarrow",
        "duckdb",
        "ibis",
        "dbos",
        "nicegui",
        "fastapi",
        "apprise",
        "alembic",
    )
    code = (
        "import sys; from masthead.cli.main import run; "
        f"status = run([{room!r}, 'list', '--json', '--data', {str(tmp_path)!r}]); "
        f"print([name for name in {heavy!r} if name in sys.modules], status)"
    )
    told(tmp_path, room, "list")  # makes the database
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[] 0"


def test_help_answers_within_300_ms_of_cpu() -> None:
    spent = []
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert masthead("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert statistics.median(spent) < 0.3


def test_the_package_itself_loads_nothing_heavy() -> None:
    code = f"import sys, masthead; print([name for name in {HEAVY!r} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["things", "show", "nobody"], 1, "there is no thing 'nobody'"),
        (["things", "create", "a b"], 2, "name: expected 1 to 63"),
        (["things", "create", "a", "--policy", "nope"], 1, "there is no policy 'nope'"),
        (["things", "create", "a", "--attribute", "x"], 2, "attribute: expected KEY=VALUE"),
        (["rules", "create", "r", "--file", "/nope.json"], 2, "cannot read /nope.json"),
        (["rules", "test", "r"], 2, "message: expected --message"),
        (["objects", "get", "ftp://x"], 2, "uri: expected s3://bucket/key"),
        (["objects", "rm", "s3://air/none"], 1, "there is no object"),
        (["logs", "secret", "x"], 2, "kind: expected one of"),
        (["logs", "thing", "x"], 1, "there is no log"),
        (["detectors", "mute", "g"], 2, "until: expected either"),
        (["detectors", "groups", "mute", "g"], 2, "until: expected either"),
        (["frobnicate"], 2, "frobnicate"),
        (["things", "list", "--frob"], 2, "--frob"),
        (["serve", "--roles", "cook"], 2, "roles: expected some of"),
        (["serve", "--host", "0.0.0.0"], 2, "not loopback"),
        (["serve", "--tls-cert", "x"], 2, "expected both"),
        (["serve", "--port", "99999"], 2, "port"),
        (["restore", "/nope.tgz"], 1, "there is no file /nope.tgz"),
    ],
)
def test_an_error_is_one_line_with_a_status(
    arguments: list[str], status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.environ["MASTHEAD_DATA"] = str(tmp_path / "data")
    try:
        assert run(arguments) == status
    finally:
        del os.environ["MASTHEAD_DATA"]
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1, told.err
    assert told.err.startswith("masthead: ")
    assert words in told.err


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) in (0, 2)
    told = capsys.readouterr()
    assert "Commands" in told.out + told.err


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    script = f"{sys.executable} -m masthead.cli.main policies list --json --data {tmp_path}/data | head -c 1"
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    assert (found.stdout, found.stderr) == ("[", "")


def test_an_unexpected_error_is_one_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "masthead.db").write_bytes(b"this is no database" * 100)
    assert run(["things", "list", "--data", str(data)]) == 1
    told = capsys.readouterr()
    assert len(told.err.splitlines()) == 1
    assert "Traceback" not in told.err


def test_a_variable_that_sets_nothing_is_told_and_the_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MASTHEAD_DTA", "x")
    assert run(["things", "list", "--json", "--data", str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert told.out == "[]\n"
    assert told.err == (
        "masthead: warning: MASTHEAD_DTA: expected the name of a setting, such as MASTHEAD_DATA; it sets nothing\n"
    )


def test_a_shell_completes_commands() -> None:
    environment = os.environ | {
        "_MASTHEAD_COMPLETE": "complete_zsh",
        "_TYPER_COMPLETE_ARGS": "masthead detectors gr",
    }
    found = subprocess.run(
        [str(Path(sys.executable).parent / "masthead")], env=environment, capture_output=True, text=True
    )
    assert "groups" in found.stdout


def test_python_runs_the_package_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "masthead", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, masthead("--version").stdout)


def test_the_version_is_printed() -> None:
    found = masthead("--version")
    assert (found.returncode, found.stdout.count(".")) == (0, 2)
