"""The devices' host with a real nats-server, without MQTT clients; those are in tests/wire and tests/faults."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import eventually

from masthead.base.errors import Conflict, InvalidInput, LimitReached
from masthead.devices.host import DeviceHost
from masthead.devices.nats_server import end_stale
from masthead.streams.readings import Reading


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_readings_of_other_doors_are_stored_and_taken_in_order(product: Any, host: DeviceHost) -> None:
    given = [Reading(f"air/{number}", b"{}" * 500, 1.5 + number) for number in range(3000)]
    host.ingest(given)
    assert product.await_readings(3000) == given
    sequences = [batch.sequence for batch in product.batches]
    assert sequences == sorted(set(sequences))
    assert host.last_readings()["air/2999"]["arrived"] == 3000.5


def test_a_sink_that_fails_is_tried_again_and_nothing_is_lost(product: Any, host: DeviceHost) -> None:
    product.failures = 2
    host.ingest([Reading("a", b"1", 1.0)])
    eventually(lambda: "the sink is full" in host.state()["trouble"])
    assert product.await_readings(1)
    eventually(lambda: host.state()["trouble"] == "")


def test_a_restart_reads_from_the_sinks_place(product: Any, host: DeviceHost) -> None:
    for number in range(3):
        host.ingest([Reading("a", b"%d" % number, 1.0)])
    product.await_readings(3)
    host.stop()
    product.batches.clear()
    product.place = 2
    again = DeviceHost(product)
    again.start()
    try:
        assert [reading.payload for reading in product.await_readings(2)] == [b"1", b"2"]
    finally:
        again.stop()


def test_a_log_that_lost_its_end_goes_on_behind_all_that_a_sink_may_know(product: Any) -> None:
    product.place = 500  # the smallest of the sinks' places
    host = DeviceHost(product)
    host.start()
    try:
        host.ingest([Reading("a", b"1", 1.0)])
        product.await_readings(1)
        first = product.batches[0].sequence
        assert first > 500 + 10**9
        (note,) = host.state()["notes"]
        assert "it ended at 0, the sinks want 500" in note
    finally:
        host.stop()
    again = DeviceHost(product)
    again.start()
    try:
        again.ingest([Reading("a", b"2", 1.0)])
        product.await_readings(3)  # the fake's place stands still: the first is read again
        assert product.batches[-1].sequence == first + 1
        assert again.state()["notes"] == []
    finally:
        again.stop()


def test_without_a_place_reading_starts_at_the_end(product: Any, host: DeviceHost) -> None:
    host.ingest([Reading("a", b"old", 1.0)])
    product.await_readings(1)
    host.stop()
    product.batches.clear()
    product.place = None
    again = DeviceHost(product)
    again.start()
    try:
        again.ingest([Reading("a", b"new", 1.0)])
        assert [reading.payload for reading in product.await_readings(1)] == [b"new"]
    finally:
        again.stop()


def test_a_killed_nats_server_is_started_again(product: Any, host: DeviceHost) -> None:
    first = host.state()["nats_pid"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: host.state()["running"] and host.state()["nats_pid"] not in (None, first))
    host.ingest([Reading("a", b"1", 1.0)])
    product.await_readings(1)


def test_a_port_in_use_is_named(tmp_path: Path, product: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        product.settings = product.settings.model_copy(update={"mqtt_port": port})
        with pytest.raises(Conflict, match=f"mqtt_port: cannot listen on 127.0.0.1:{port}"):
            DeviceHost(product).start()


def test_an_external_server_that_is_not_there_is_an_error(product: Any) -> None:
    product.settings = product.settings.model_copy(update={"nats_url": "nats://127.0.0.1:1"})
    with pytest.raises(LimitReached, match="the broker cannot be used"):
        DeviceHost(product).start()


@pytest.mark.parametrize("slow", [2, 3])
def test_a_broker_that_is_slow_to_answer_at_first_is_tried_three_times(
    product: Any, monkeypatch: pytest.MonkeyPatch, slow: int
) -> None:
    session, tried = DeviceHost._session, []

    async def late(self: DeviceHost, stopping: asyncio.Event) -> None:
        tried.append(time.monotonic())
        if len(tried) <= slow:
            raise TimeoutError("no answer")
        await session(self, stopping)

    monkeypatch.setattr(DeviceHost, "_session", late)
    host = DeviceHost(product)
    if slow == 3:
        with pytest.raises(LimitReached, match="no answer"):
            host.start()
    else:
        host.start()
        host.stop()
    assert len(tried) == 3


def test_after_stop_nothing_runs_and_ingest_says_so(product: Any, host: DeviceHost) -> None:
    pid = host.state()["nats_pid"]
    host.stop()
    assert not lives(pid)
    assert product.ingest is None
    with pytest.raises(LimitReached):
        host.ingest([Reading("a", b"1", 1.0)])


def test_a_topic_that_no_device_could_hear_is_refused(host: DeviceHost) -> None:
    with pytest.raises(InvalidInput, match="topic"):
        host.publish("a/#", b"1")


def test_no_stored_rule_or_alert_publishes_where_the_broker_or_masthead_listens(
    product: Any, host: DeviceHost
) -> None:
    reading = Reading("a", b"1", 1.0)
    host.ingest([reading])
    product.await_readings(1)
    for name in ("$JS.API.STREAM.DELETE.READINGS", "masthead.clock", "a..b", "a b"):
        with pytest.raises(InvalidInput, match="name: expected"):
            product.senders["subject"]({"kind": "subject", "name": name}, b"", reading)
        outcome = product.channels["subject"]({"subject": name}, None)
        assert not outcome.delivered
        assert "channel.subject: expected" in outcome.note
    for name in ("commands.fan", "commands/fan", "masthead.fraud.cards"):
        product.senders["subject"]({"kind": "subject", "name": name}, b"", reading)
    host.ingest([reading])
    product.await_readings(2)


def test_the_store_is_encrypted(product: Any, host: DeviceHost) -> None:
    host.ingest([Reading("a", b"plain words that must not lie on disk", 1.0)])
    product.await_readings(1)
    files = [path for path in (product.folder.nats / "store").rglob("*") if path.is_file()]
    assert files
    assert not any(b"plain words" in path.read_bytes() for path in files)


def test_ones_own_key_can_be_set(product: Any, tmp_path: Path) -> None:
    key = tmp_path / "key"
    product.settings = product.settings.model_copy(update={"stream_key_file": key})
    with pytest.raises(InvalidInput, match="stream_key_file"):
        DeviceHost(product).start()
    key.write_bytes(os.urandom(32))
    host = DeviceHost(product)
    host.start()
    host.stop()


def test_a_things_name_without_its_certificate_opens_no_client_port(product: Any, host: DeviceHost) -> None:
    thing = product.access.create_thing("a").thing
    eventually(lambda: thing.serial in (product.folder.nats / "nats.conf").read_text())
    assert host._own is not None
    port = host._own.server.options.client_port
    for user, password in ((f"OU={thing.serial},CN=a", ""), ("masthead", ""), ("masthead", "guess")):
        assert b"Authorization Violation" in enter(port, user, password)


def enter(port: int, user: str, password: str) -> bytes:
    """Return what nats-server answers to a client on its own port."""
    how = json.dumps({"user": user, "pass": password, "verbose": False, "protocol": 1})
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.recv(65_536)
        client.sendall(f"CONNECT {how}\r\nPING\r\n".encode())
        return client.recv(65_536)


ORPHAN = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import Product
from masthead.devices.host import DeviceHost
host = DeviceHost(Product(Path({data!r})))
host.start()
print(host.state()["nats_pid"], flush=True)
time.sleep(60)
"""


def test_nats_server_ends_with_a_killed_masthead(tmp_path: Path) -> None:
    code = ORPHAN.format(tests=str(Path(__file__).parent), data=str(tmp_path / "data"))
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert lives(pid)
        process.kill()
    eventually(lambda: not lives(pid))


def test_a_server_left_behind_is_ended_and_a_stranger_is_not(tmp_path: Path) -> None:
    config = tmp_path / "nats.conf"
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen([*sleeper, str(config)]) as ours, subprocess.Popen(sleeper) as stranger:
        (tmp_path / "nats.pid").write_text(str(stranger.pid))
        end_stale(tmp_path)
        assert stranger.poll() is None
        (tmp_path / "nats.pid").write_text(str(ours.pid))
        eventually(lambda: str(config) in Path(f"/proc/{ours.pid}/cmdline").read_text())
        end_stale(tmp_path)
        assert ours.wait(30) == -signal.SIGTERM
        stranger.kill()
    assert not (tmp_path / "nats.pid").exists()


def trim(host: DeviceHost, *, position: int, keep_s: float) -> tuple[int, int]:
    """Trim, and return the first and the last sequence that are left."""
    left: list[tuple[int, int]] = []

    async def work() -> None:
        assert host._log is not None
        await host._log.trim(position=position, keep_s=keep_s, now=time.time())
        state = (await host._log.info()).state
        left.append((state.first_seq, state.last_seq))

    host._call(work(), timeout_s=10)
    return left[0]


def test_the_log_is_trimmed_by_age_but_never_what_a_sink_still_wants(product: Any, host: DeviceHost) -> None:
    for number in range(10):
        host.ingest([Reading("a", b"%d" % number, 1.0)])
    product.await_readings(10)
    assert trim(host, position=11, keep_s=3600) == (1, 10)
    assert trim(host, position=4, keep_s=-1) == (4, 10)
    assert trim(host, position=11, keep_s=-1) == (11, 10)


def test_a_log_that_fills_is_trimmed_whatever_its_age(product: Any) -> None:
    product.settings = product.settings.model_copy(update={"stream_max_gib": 4e6 / 2**30})
    host = DeviceHost(product)
    host.start()
    try:
        for number in range(7):
            host.ingest([Reading("a", os.urandom(500_000), float(number))])
        product.await_readings(7)
        first, last = trim(host, position=8, keep_s=3600)
        assert 1 < first <= 8
        assert last == 7
        too_much = [Reading("a", os.urandom(500_000), 1.0) for _ in range(9)]
        with pytest.raises(LimitReached, match="takes no more"):
            host.ingest(too_much)
    finally:
        host.stop()
