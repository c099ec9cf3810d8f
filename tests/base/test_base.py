"""The ground floor: names, durations, tokens, secrets, the folder's lock, journals and settings."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.base.clock import Beat, ManualClock, VirtualClock
from masthead.base.errors import Conflict, InvalidInput
from masthead.base.folder import DataFolder, write_atomic
from masthead.base.ids import check_name, new_id
from masthead.base.log import Journal
from masthead.base.pages import decode_token, encode_token
from masthead.base.secrets import SecretBox
from masthead.base.settings import load_settings, unknown_variables
from masthead.base.units import parse_bytes, parse_duration_s, short_duration


def test_ids_made_later_sort_later() -> None:
    assert new_id("x", time_s=1.0) < new_id("x", time_s=2.0)


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a.b", "ä", "a" * 64, None, 7, "a\n"])
def test_a_name_that_is_unsafe_in_a_path_is_refused(name: object) -> None:
    with pytest.raises(InvalidInput, match="name: expected"):
        check_name(name)


@given(st.integers(1, 10**7))
def test_a_duration_survives_being_written_and_read(seconds: int) -> None:
    assert parse_duration_s(short_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "5 minutes", "-5m", "0", "1.5s", "nan", True, "9" * 40])
def test_what_is_no_duration_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match="such as 30s, 5m, 1h or 1d"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "size"), [("5 MiB", 5 << 20), ("500", 500), ("2kb", 2000), ("1 GiB", 1 << 30)]
)
def test_sizes_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_bytes(text) == size


def test_a_virtual_clock_runs_at_its_factor_and_never_backwards() -> None:
    clock = VirtualClock(1000.0, 1000.0)
    clock.sleep(5)
    assert clock.time() >= 1005
    clock.set(0.0)
    assert clock.time() >= 1005


@given(st.lists(st.one_of(st.integers(), st.text())))
def test_a_page_token_gives_back_its_place(last: list[object]) -> None:
    assert decode_token("groups", encode_token("groups", last)) == last


@given(st.text())
def test_a_foreign_page_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="next_token"):
        decode_token("groups", token)


def test_a_secret_opens_only_in_its_own_row_and_under_its_own_key(tmp_path: Path) -> None:
    box = SecretBox.open_or_create(tmp_path)
    sealed = box.seal(b"pass", context="alert:a")
    assert SecretBox.open_or_create(tmp_path).open(sealed, context="alert:a") == b"pass"
    assert b"pass" not in sealed
    for other, context in ((box, "alert:b"), (SecretBox(bytes(32)), "alert:a")):
        with pytest.raises(Conflict, match="cannot be opened"):
            other.open(sealed, context=context)
    assert (tmp_path / "master.key").stat().st_mode & 0o777 == 0o600


def test_a_second_server_on_the_same_folder_is_told_who_holds_it(folder: DataFolder) -> None:
    code = (
        "import sys, pathlib\nfrom masthead.base.folder import DataFolder\n"
        f"folder = DataFolder(pathlib.Path({str(folder.path)!r}))\n"
        "with folder.lock():\n    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        assert folder.served_by() == holder.pid
        with pytest.raises(Conflict, match=f"process id {holder.pid}"), folder.lock():
            pass
        holder.kill()
    with folder.lock():
        pass
    assert folder.served_by() is None


def test_an_atomic_write_replaces_the_whole_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a" / "key"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [found.name for found in path.parent.iterdir()] == ["key"]


def test_a_journal_stays_bounded_and_keeps_the_newest(tmp_path: Path, clock: ManualClock) -> None:
    journal = Journal(tmp_path, clock=clock, limit_bytes=2000)
    for number in range(500):
        journal.write("detector", "air", "closed", number=number)
    found = [entry["number"] for entry in journal.read("detector", "air", limit=10)]
    assert found == list(range(490, 500))
    assert sum(path.stat().st_size for path in (tmp_path / "detector").iterdir()) <= 4000
    assert journal.names("detector") == ["air"]


def test_following_a_journal_yields_what_another_process_writes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("stream", "raw", "first")
    lines = journal.follow("stream", "raw", wait_s=0.01)
    assert next(lines)["event"] == "first"
    Journal(tmp_path).write("stream", "raw", "second")
    assert next(lines)["event"] == "second"


def test_settings_take_the_option_before_the_environment_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "masthead.toml").write_text("port = 1\nmqtt_port = 2\nsync = 'interval'\n")
    found = load_settings({"MASTHEAD_MQTT_PORT": "3", "MASTHEAD_PORT": "4"}, data=tmp_path, port=5, host=None)
    assert (found.port, found.mqtt_port, found.sync, found.host) == (5, 3, "interval", "127.0.0.1")


@pytest.mark.parametrize(
    ("text", "field"), [("prot = 1", "prot"), ("port = 70000", "port"), ("port = ", "config")]
)
def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path, text: str, field: str) -> None:
    (tmp_path / "masthead.toml").write_text(text)
    with pytest.raises(InvalidInput, match=field):
        load_settings({}, data=tmp_path)


def test_what_a_setting_expected_is_told_in_one_form(tmp_path: Path) -> None:
    cases = [
        ({"MASTHEAD_PORT": "70000"}, "port: expected 65535 or less, got '70000'"),
        ({"MASTHEAD_PORT": "-1"}, "port: expected 0 or more, got '-1'"),
        ({"MASTHEAD_STREAM_MAX_GIB": "0"}, "stream_max_gib: expected more than 0, got '0'"),
        ({"MASTHEAD_SYNC": "never"}, "sync: expected 'always' or 'interval', got 'never'"),
    ]
    for environment, message in cases:
        with pytest.raises(InvalidInput) as told:
            load_settings(environment, data=tmp_path)
        assert told.value.message.startswith(message)
    (tmp_path / "masthead.toml").write_text("prot = 1")
    with pytest.raises(
        InvalidInput, match=r"^prot: expected the name of a setting, such as port, got 'prot' in "
    ):
        load_settings({}, data=tmp_path)


def test_a_variable_that_sets_nothing_is_told_with_the_nearest_one() -> None:
    found = unknown_variables(
        {"MASTHEAD_MQTTPORT": "1", "MASTHEAD_CONFIG": "x", "MASTHEAD_PORT": "1", "HOME": "/"}
    )
    assert found == [
        "MASTHEAD_MQTTPORT: expected the name of a setting, such as MASTHEAD_MQTT_PORT; it sets nothing"
    ]


def test_a_library_logs_warnings_to_standard_error_and_nothing_to_standard_output() -> None:
    code = "from masthead.base.log import get_logger; log = get_logger('x'); log.info('quiet'); log.warning('loud')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == ""
    assert "loud" in found.stderr
    assert "quiet" not in found.stderr


def test_importing_masthead_loads_nothing_heavy() -> None:
    heavy = ["torch", "numba", "lightgbm", "nicegui", "dbos", "botocore", "sqlalchemy", "ibis", "fastapi"]
    code = f"import sys, json, masthead; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code])) == []


def test_a_virtual_clock_stands_where_it_was_told_and_goes_on_when_nobody_leads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = VirtualClock(1000.0, 1.0)
    clock.follow(Beat(factor=1e9, until=2000.0))
    time.sleep(0.01)
    assert clock.time() == 2000.0
    clock.follow(Beat(until=1500.0))  # an earlier stop does not bring time back
    assert clock.time() == 2000.0
    clock.follow(Beat(time=1.0, until=3000.0, factor=1e9))
    time.sleep(0.01)
    assert clock.time() == 3000.0
    assert clock.at(time.time() - 100) == 2000.0  # how it ran before the last beat is not remembered
    monkeypatch.setattr(VirtualClock, "PATIENCE_S", 0.005)
    assert 3000.0 < clock.time() < 3001.0


@pytest.mark.parametrize(
    "given", [[], {"x": 1}, {"time": "now"}, {"factor": 0}, {"until": float("inf")}, {"time": True}]
)
def test_a_beat_that_is_none_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="expected"):
        Beat.from_json(given)


def test_buckets_are_read_from_a_variable_and_from_a_table(tmp_path: Path) -> None:
    wanted = {"air": "/srv/air", "lake": "s3://company/lake"}
    given = {"MASTHEAD_BUCKETS": "air=/srv/air, lake=s3://company/lake"}
    assert load_settings(given, data=tmp_path).buckets == wanted
    (tmp_path / "masthead.toml").write_text('[buckets]\nair = "/srv/air"\nlake = "s3://company/lake"\n')
    assert load_settings({}, data=tmp_path).buckets == wanted
    with pytest.raises(InvalidInput, match="buckets"):
        load_settings({"MASTHEAD_BUCKETS": "air"}, data=tmp_path)
