"""`masthead metrics backtest` and `validate` on files: output, exit status, errors."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from forked import forked

AIR = Path(__file__).parents[2] / "src/masthead/samples/air"
LIVE, HISTORY = str(AIR / "live_data_sample.csv"), str(AIR / "historic_data.json")
OPTIONS = ["--timestamp", "TIMESTAMP", "--timestamp-format", "yyyy-MM-dd HH:mm", "--dimension", "LOCATION_ID"]
OPTIONS += ["--measure", "CO", "--measure", "SO2", "--measure", "NO2", "--interval", "5m"]


def masthead(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(forked()), "metrics", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_published_files_print_their_two_groups_one_per_line(tmp_path: Path) -> None:
    done = masthead(
        "backtest", LIVE, "--history", HISTORY, *OPTIONS, "--scores", str(tmp_path / "scores.parquet")
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("2022-03-24T23:30:00+00:00  2022-03-24T23:35:00+00:00  SO2")
    assert second.startswith("2022-03-24T23:45:00+00:00  2022-03-24T23:50:00+00:00  CO")
    assert first.endswith("LOCATION_ID B-101 100 %")
    assert "configuration" in done.stderr
    assert (tmp_path / "scores.parquet").stat().st_size > 10_000


def test_json_is_one_object_and_nothing_else() -> None:
    done = masthead("backtest", LIVE, "--history", HISTORY, *OPTIONS, "--json")
    found = json.loads(done.stdout)
    assert set(found) == {"groups", "quality", "configuration"}
    assert [group["measure"] for group in found["groups"]] == ["SO2", "CO"]
    assert set(found["groups"][0]) == {
        "start",
        "end",
        "measure",
        "severity",
        "reason",
        "contributions",
        "series",
    }
    assert found["groups"][0]["contributions"] == {"LOCATION_ID": {"B-101": 100.0}}


def test_columns_can_be_named_and_a_lower_sensitivity_prints_more() -> None:
    names = "TIMESTAMP,LOCATION_ID,CO,SO2,NO2"
    done = masthead("backtest", LIVE, *OPTIONS, "--columns", names, "--sensitivity", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["groups"]) >= 2


def test_what_was_read_and_what_taught_is_told_as_it_is(tmp_path: Path) -> None:
    rows = "".join(f"2022-03-2{day},Città,{day}\n" for day in range(1, 5))
    (tmp_path / "days.csv").write_bytes(f"day,place,CO\n{rows}".encode("latin-1"))
    done = masthead(
        "backtest", str(tmp_path / "days.csv"), "--timestamp", "day", "--measure", "CO", "--interval", "1d"
    )
    assert done.returncode == 0, done.stderr
    assert "all 4 intervals served to learn, none was tested" in done.stderr
    assert "refused" not in done.stderr
    assert "not utf-8 text (1)" in done.stderr


def test_no_groups_is_still_a_success() -> None:
    done = masthead("backtest", LIVE, "--history", HISTORY, *OPTIONS, "--sensitivity", "100")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_folder_is_read_with_all_folders_inside(tmp_path: Path) -> None:
    for name, source in (("past/2022/history.json", HISTORY), ("live/03/24/live.csv", LIVE)):
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(source, tmp_path / name)
    done = masthead(
        "backtest", str(tmp_path / "live"), "--history", str(tmp_path / "past"), *OPTIONS, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert {group["measure"] for group in json.loads(done.stdout)["groups"]} == {"SO2", "CO"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["backtest", "nothing/*.csv", *OPTIONS], "DATA: expected a file"),
        (["backtest", LIVE, *OPTIONS], "columns: expected names"),
        (["backtest", LIVE, "--history", "gone.json", *OPTIONS], "history: expected a file"),
        (["backtest", LIVE, "--history", HISTORY, *OPTIONS, "--measure", "O3"], "O3: expected a column"),
        (["backtest", LIVE, "--history", HISTORY, *OPTIONS, "--interval", "soon"], "interval"),
        (["backtest", LIVE, "--history", HISTORY, *OPTIONS, "--sensitivity", "101"], "sensitivity"),
        (
            ["backtest", LIVE, "--history", HISTORY, *OPTIONS, "--timestamp-format", "dd/MM/yyyy"],
            "dd/MM/yyyy",
        ),
        (["backtest", LIVE, "--history", HISTORY, *OPTIONS, "--scores", "/nowhere/at/all.parquet"], "scores"),
        (["backtest", LIVE], "--timestamp"),
    ],
)
def test_invalid_input_ends_with_2_and_one_line(arguments: list[str], words: str) -> None:
    done = masthead(*arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert done.stdout == ""


def test_validate_says_what_is_there_and_what_to_do() -> None:
    done = masthead("validate", HISTORY)
    assert done.returncode == 0, done.stderr
    assert "Validation successful" in done.stdout
    bad = masthead(
        "validate", HISTORY, "--timestamp", "TIMESTAMP", "--timestamp-format", "dd/MM/yyyy", "--json"
    )
    assert bad.returncode == 2
    found = json.loads(bad.stdout)
    assert found["findings"][-1]["action"] == "use yyyy-MM-dd HH:mm, which matches all"


def test_an_aggregation_is_read_in_any_case() -> None:
    options = ["--timestamp", "TIMESTAMP", "--interval", "1h", "--history", HISTORY, "--json"]
    lower, upper = (
        masthead("backtest", LIVE, *options, "--measure", f"CO:{form}") for form in ("max", "MAX")
    )
    assert lower.returncode == 0, lower.stderr
    assert lower.stdout == upper.stdout


@pytest.mark.parametrize("command", ["backtest", "validate"])
def test_a_column_is_not_both_a_measure_and_a_dimension(tmp_path: Path, command: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,v\n" + "".join(f"2022-03-24 00:{minute:02d},1\n" for minute in range(0, 60, 5)))
    options = ["--timestamp", "t", "--measure", "v", "--dimension", "v", "--interval", "5m"]
    done = masthead(command, str(path), *options)
    assert done.returncode == 2
    told = "measures: expected columns other than the dimensions, got 'v' in both"
    assert told in done.stdout + done.stderr


def test_a_dimension_of_too_many_values_is_invalid_input(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text("t,d,v\n" + "".join(f"2024-01-01 00:00,{n},1\n" for n in range(51_000)))
    done = masthead(
        "backtest", str(path), "--timestamp", "t", "--measure", "v", "--dimension", "d", "--interval", "5m"
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "d: expected at most 50,000 series" in done.stderr
