"""The parts of the demonstration: its clock, its folder, its stories, its listener. The whole is in `tests/stories`."""

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from forked import forked
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.errors import Conflict, InvalidInput
from masthead.base.folder import DataFolder
from masthead.cli.demo.commands import _factor
from masthead.cli.demo.folder import MARKER, clean, note, prepare
from masthead.cli.demo.listener import AlertListener
from masthead.cli.demo.pace import HeldClock, Pipeline, play
from masthead.cli.demo.payments import page_of
from masthead.cli.demo.stories import air, stations

NOW_S = datetime(2026, 10, 1, 14, 37, tzinfo=UTC).timestamp()


def masthead(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(forked()), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_page_that_the_payments_name_is_one_of_the_console() -> None:
    from masthead.console.shell import PREFIX  # brings NiceGUI

    assert page_of("sim-1") == f"{PREFIX}/fraud?space=sim-1"


# clock


def test_a_held_clock_stands_until_its_bar_moves_and_loses_nothing() -> None:
    clock = HeldClock(1000.0, 1_000_000.0)
    time.sleep(0.01)
    assert clock.time() == 1000.0
    clock.until(1500.0)
    assert clock.time() < 1500.0 + 1e-6
    clock.wait_for(1500.0)
    time.sleep(0.01)
    assert clock.time() == 1500.0


def test_without_a_factor_time_is_where_its_bar_is() -> None:
    clock = HeldClock(1000.0, None)
    clock.until(90_000.0)
    clock.wait_for(90_000.0)
    assert clock.time() == 90_000.0


def test_a_clock_set_free_goes_on_from_where_it_stood_at_the_worlds_pace() -> None:
    clock = HeldClock(1000.0, None)
    clock.until(5000.0)
    clock.wait_for(5000.0)
    clock.run_free()
    time.sleep(0.02)
    assert 5000.0 < clock.time() < 5005.0


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_a_held_clock_never_goes_back_nor_beyond_its_bar(bars: list[float]) -> None:
    clock, seen, highest = HeldClock(0.0, None), 0.0, 0.0
    for bar in bars:
        clock.until(bar)
        highest = max(highest, bar)
        shown = clock.time()
        assert seen <= shown <= highest
        seen = shown


def test_the_sender_waits_for_the_readings_before_the_last_ones() -> None:
    sent: list[int] = []
    taken = [0]

    def slow() -> None:
        for _ in range(200):
            time.sleep(0.001)
            assert len(sent) - taken[0] <= 2
            taken[0] = min(taken[0] + 1, len(sent))

    reader = threading.Thread(target=slow)
    reader.start()

    def send(number: int) -> int:
        sent.append(number)
        return 1

    play(
        [(float(step), step) for step in range(50)],
        send,
        clock=HeldClock(0.0, None),
        pipeline=Pipeline(lambda: taken[0]),
    )
    reader.join()
    assert sent == list(range(50))


def test_a_pipeline_that_stands_is_told() -> None:
    with pytest.raises(InvalidInput, match="3 readings still wait"):
        Pipeline(lambda: 0).wait_for(3, timeout_s=0.05)


# stories


def test_the_air_story_begins_in_the_present_interval_and_keeps_its_distances() -> None:
    story = air(NOW_S)
    assert story.readings[0].row["TIMESTAMP"] == "2026-10-01 14:35"
    assert story.original("2026-10-01T14:35:00+00:00") == "2022-03-24 00:00"
    assert len(story.readings) == 576
    assert story.end_s - story.readings[0].time_s == 2 * 86_400
    last = [json.loads(line)["TIMESTAMP"] for line in story.history.splitlines()]
    assert max(last) < "2026-10-01 14:35"
    assert len(last) == 2358


def test_the_stations_story_stays_on_whole_hours_of_its_zone() -> None:
    story = stations(NOW_S)
    assert story.things == ["Aotizhongxin", "Changping", "Dongsi", "Wanliu"]
    assert story.readings[0].row["timestamp"] == "2026-10-01 22:00"
    assert story.original("2026-10-01T14:00:00+00:00") == "2017-01-27 00:00"
    assert story.topic_of(story.readings[0].row) == "sensors/Aotizhongxin/hourly"


# folder


def _made(path: Path) -> Path:
    prepare(path)
    (path / "masthead.db").write_text("")
    (path / "objects" / "air").mkdir(parents=True)
    note(path)
    return path


def test_what_a_demonstration_made_is_removed_with_its_folder(tmp_path: Path) -> None:
    path = _made(tmp_path / "demo")
    assert set(clean(path)) == {"masthead.db", "objects", MARKER}
    assert not path.exists()


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    path = _made(tmp_path / "demo")
    (path / "notes.txt").write_text("mine")
    note(path)
    clean(path)
    assert [entry.name for entry in path.iterdir()] == ["notes.txt"]


def test_a_second_demonstration_begins_anew(tmp_path: Path) -> None:
    path = _made(tmp_path / "demo")
    assert "masthead.db" in prepare(path)
    assert [entry.name for entry in path.iterdir()] == [MARKER]


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("kept")
    path = tmp_path / "demo"
    prepare(path)
    (path / "objects").symlink_to(outside)
    note(path)
    clean(path)
    assert (outside / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / MARKER).unlink(),
        lambda path: (path / MARKER).write_text("{"),
        lambda path: (path / MARKER).write_text('{"made": ["../other"]}'),
    ],
)
def test_a_folder_without_a_sound_marker_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    path = _made(tmp_path / "demo")
    damage(path)
    with pytest.raises(InvalidInput, match="data: expected"):
        clean(path)
    assert (path / "masthead.db").exists()


def test_a_folder_that_is_served_is_refused(tmp_path: Path) -> None:
    path = _made(tmp_path / "demo")
    with DataFolder(path).lock(), pytest.raises(Conflict, match="in use by the server"):
        clean(path)
    assert (path / "masthead.db").exists()


def test_a_demonstration_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = masthead("demo", "--exit", "--json", "--data", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert "no demonstration made it" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_cleaning_a_folder_that_is_none_exits_with_2(tmp_path: Path) -> None:
    done = masthead("demo", "clean", "--data", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "does not exist" in done.stderr


# command line


@pytest.mark.parametrize(("speed", "factor"), [("max", None), ("1", 1.0), ("1440", 1440.0), ("2.5", 2.5)])
def test_a_speed_is_a_factor_or_max(speed: str, factor: float | None) -> None:
    assert _factor(speed) == factor


@pytest.mark.parametrize("speed", ["0", "-1", "nan", "inf", "fast", "1e9", ""])
def test_another_speed_is_refused(speed: str) -> None:
    with pytest.raises(InvalidInput, match="speed: expected 1 to"):
        _factor(speed)


def test_demo_alone_means_demo_air() -> None:
    done = masthead("demo", "--speed", "0")
    assert done.returncode == 2
    assert "speed: expected 1 to 10000 or max" in done.stderr
    assert "clean" in masthead("demo", "--help").stdout


# listener


def test_the_listener_keeps_each_alert_once() -> None:
    heard = []
    with AlertListener(heard.append) as listener:
        for key in ("a", "b", "a"):
            request = urllib.request.Request(
                listener.url, b'{"n": 1}', {"Idempotency-Key": key}, method="POST"
            )
            with urllib.request.urlopen(request, timeout=5) as answer:
                assert answer.status == 204
        assert [one.key for one in listener.received] == ["a", "b"]
    assert [one.payload for one in heard] == [{"n": 1}, {"n": 1}]
