"""Things over MQTT with mutual TLS: unmodified paho-mqtt against our nats-server."""

import importlib.util
import os
import re
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from waiting import eventually

from masthead.access.authority import Authority
from masthead.base.telemetry import exposition
from masthead.devices.host import DeviceHost

_spec = importlib.util.spec_from_file_location(
    "devices_conftest", Path(__file__).parents[1] / "devices" / "conftest.py"
)
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
Product = _module.Product

ANYTHING = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


class Thing:
    """A device: paho-mqtt, certificate, and what it heard."""

    def __init__(
        self,
        folder: Path,
        port: int,
        name: str,
        *,
        clean: bool = True,
        plain: bool = False,
        client_id: str = "",
    ) -> None:
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or name, clean_session=clean
        )
        if not plain:
            self.client.tls_set(
                str(folder / "ca.pem"), str(folder / "certificate.pem"), str(folder / "private.key")
            )
        self.heard: list[tuple[str, bytes, int]] = []
        self.granted: list[bool] = []
        self.lost = threading.Event()
        self.client.on_message = lambda c, u, m: self.heard.append((m.topic, m.payload, m.qos))
        self.client.on_subscribe = lambda c, u, i, codes, p: self.granted.append(
            not any(code.is_failure for code in codes)
        )
        self.client.on_disconnect = lambda c, u, f, code, p: self.lost.set()
        self.client.connect("localhost", port, keepalive=30)
        self.client.loop_start()
        eventually(self.client.is_connected)

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        """Publish and return after the acknowledgement."""
        sent = self.client.publish(topic, payload, qos)
        sent.wait_for_publish(10)
        assert sent.is_published()

    def subscribe(self, topic: str, qos: int = 1) -> bool:
        """Subscribe and return whether the broker granted it."""
        known = len(self.granted)
        self.client.subscribe(topic, qos)
        eventually(lambda: len(self.granted) > known)
        return self.granted[-1]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Any]:
    made = Product(tmp_path / "data", mqtt_plain=True)
    made.access.create_policy("anything", ANYTHING)
    yield made
    made.database.close()


@pytest.fixture
def host(product: Any) -> Iterator[DeviceHost]:
    made = DeviceHost(product)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def join(product: Any, host: DeviceHost) -> Iterator[Callable[..., Thing]]:
    """Make a thing, have the broker know it, and connect it."""
    there: list[Thing] = []

    def connect(name: str, policies: list[str] | None = None, **how: Any) -> Thing:
        made = product.access.create_thing(name, policies)
        host.follow()
        there.append(Thing(made.key_path.parent, host.mqtt_port, name, **how))
        return there[-1]

    yield connect
    for thing in there:
        thing.close()


def test_each_quality_of_service_arrives_once_and_names_its_thing(product: Any, join: Any) -> None:
    sensor = join("b-101")
    for qos in (0, 1, 2):
        sensor.publish("sensors/b-101/air", b'{"qos": %d}' % qos, qos)
    readings = product.await_readings(3)
    time.sleep(0.5)
    assert sorted(one.payload for one in product.readings) == [b'{"qos": %d}' % qos for qos in (0, 1, 2)]
    assert {(one.topic, one.thing) for one in readings} == {("sensors/b-101/air", "b-101")}
    assert all(abs(one.arrived - time.time()) < 30 for one in readings)


def test_a_new_thing_connects_at_its_first_try(join: Any) -> None:
    for place in range(5):
        assert not join(f"new-{place}").lost.is_set()


@pytest.mark.parametrize(
    "topic",
    [
        "x/y",
        "x.y/z",
        "/x",
        "x/",
        "x//y",
        "/",
        "//",
        ".",
        "x/./y",
        "x./y",
        "é/ü",
        "x/y//",
        "x/*",
        "x/>",
        "a\x01b",
    ],
)
def test_a_topic_comes_back_as_the_device_wrote_it(product: Any, join: Any, topic: str) -> None:
    thing = join("a", ["anything"])
    thing.publish(topic, b"1", 1)
    thing.publish(topic, b"0", 0)
    assert [one.topic for one in product.await_readings(2)] == [topic, topic]


def test_a_revoked_thing_is_cut_at_once_and_the_others_are_not(
    product: Any, host: DeviceHost, join: Any
) -> None:
    bad, good = join("bad"), join("good")
    product.access.revoke_thing("bad")
    assert bad.lost.wait(2)
    bad.client.loop_stop()
    with pytest.raises(AssertionError):
        Thing(product.folder.things / "bad", host.mqtt_port, "bad2").close()
    assert not good.lost.is_set()
    good.publish("sensors/good/air", b"1")
    product.await_readings(1)


def test_a_certificate_of_another_authority_and_none_at_all_are_refused(
    tmp_path: Path, product: Any, host: DeviceHost, join: Any
) -> None:
    join("a")
    now = datetime.now(UTC)
    stranger = Authority.create(name="elsewhere", now=now).issue_thing("a", now=now, days=1)
    folder = tmp_path / "foreign"
    folder.mkdir()
    (folder / "certificate.pem").write_bytes(stranger.certificate)
    (folder / "private.key").write_bytes(stranger.key)
    (folder / "ca.pem").write_bytes(product.access.authority_certificate())
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        Thing(folder, host.mqtt_port, "a2")
    bare = mqtt.Client(CallbackAPIVersion.VERSION2)
    bare.tls_set(str(folder / "ca.pem"))
    bare.connect("localhost", host.mqtt_port)
    bare.loop_start()
    time.sleep(1)
    assert not bare.is_connected()
    bare.loop_stop()


def test_a_forbidden_publish_is_told_to_the_owner(product: Any, join: Any) -> None:
    thing = join("b-102")
    for _ in range(3):
        thing.publish("sensors/other/air", b"1")
    thing.publish("sensors/b-102/air", b"1")
    (found,) = eventually(lambda: product.access.forbidden("b-102"))
    eventually(lambda: product.access.forbidden("b-102")[0].count == 3)
    assert found.topic == "sensors/other/air"
    assert abs(found.at - datetime.now(UTC)) < timedelta(seconds=30)
    assert b'masthead_forbidden_publishes_total{thing="b-102"} 3.0' in exposition()
    assert [one.topic for one in product.await_readings(1)] == ["sensors/b-102/air"]


def test_two_things_under_one_client_id_are_told_to_their_owner_and_one_that_comes_back_is_not(
    product: Any, host: DeviceHost, join: Any
) -> None:
    one, other, port = join("one"), join("other"), host.mqtt_port
    again = Thing(product.folder.things / "one", port, "one")  # as after a network that failed
    eventually(one.lost.is_set)
    again.close()
    clients = [Thing(product.folder.things / name, port, name, client_id="pump") for name in ("one", "other")]
    (found,) = eventually(
        lambda: [row for row in product.access.shared_client_ids("other") if row.count >= 3]
    )
    for client in (*clients, one, other):
        client.close()
    assert found.text == "client id pump is used by one and other in turn"
    assert abs(found.at - datetime.now(UTC)) < timedelta(seconds=30)
    assert product.access.shared_client_ids("one") == product.access.shared_client_ids()
    assert re.search(rb'masthead_client_id_takeovers_total\{thing="(one|other)"\} [1-9]', exposition())
    entries = product.journal.read("thing", "one")
    assert any(
        line["event"] == "session ended by another thing" and line["by"] == "other" for line in entries
    )


def test_even_a_thing_that_may_do_anything_cannot_write_into_the_store(product: Any, join: Any) -> None:
    thing = join("a", ["anything"])
    for topic in (
        "$MQTT/msgs/sensors/b/air",
        "masthead/readings/mqtt",
        "$JS/API/STREAM/DELETE/READINGS",
        "masthead/clock",
    ):
        thing.publish(topic, b"evil")
    thing.publish("ok", b"1")
    assert [one.topic for one in product.await_readings(1)] == ["ok"]
    eventually(lambda: len(product.access.forbidden("a")) == 4)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_topic_of_the_brokers_own_is_not_stored_and_is_told_to_the_owner(
    product: Any, join: Any, qos: int
) -> None:
    thing = join("a", ["anything"])
    for topic in ("$aws/things/a/shadow/update", "$x", "$/x", "$$/x"):
        thing.publish(topic, b"no", qos)
    thing.publish("sensors/$x", b"1", qos)
    assert [one.topic for one in product.await_readings(1)] == ["sensors/$x"]
    told = {"$aws/things/a/shadow/update", "$x", "$/x", "$$/x"}
    eventually(lambda: {one.topic for one in product.access.forbidden("a")} == told)
    assert not product.access.test_policy("anything", "iot:Publish", "$aws/things/a/shadow/update", "a")
    time.sleep(0.3)
    assert len(product.readings) == 1


def test_subscriptions_follow_the_policy(join: Any) -> None:
    thing = join("a")
    assert thing.subscribe("commands/a/#")
    assert not thing.subscribe("commands/#")
    assert not thing.subscribe("sensors/a/#")
    assert not join("b", ["alert-listener"]).subscribe("#")
    curious = join("c", ["anything"])
    assert curious.subscribe("#", 1)
    assert curious.subscribe("#", 2)
    for spy in ("$MQTT/#", "$MQTT/msgs/#", "$MQTT/sub/#", "$MQTT/+/#", "$JS/#", "masthead/readings/+"):
        assert not curious.subscribe(spy, 0)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_denied_topic_is_not_heard_under_a_wider_subscription(product: Any, join: Any, qos: int) -> None:
    document = {
        "Statement": [
            *ANYTHING["Statement"],
            {"Effect": "Deny", "Action": "iot:Receive", "Resource": "topic/cmd/secret/*"},
        ]
    }
    product.access.create_policy("no-secrets", document)
    ear, mouth = join("ear", ["no-secrets"]), join("mouth", ["anything"])
    if qos == 0:
        assert ear.subscribe("cmd/#", 0)
    elif not ear.subscribe("cmd/#", 1):
        return  # refused as a whole: narrower than AWS, and no leak
    for number in (0, 1):
        mouth.publish("cmd/secret/x", b"no", number)
        mouth.publish("cmd/open", b"yes", number)
    eventually(lambda: len([one for one in ear.heard if one[1] == b"yes"]) == 2)
    time.sleep(0.5)
    assert not [one for one in ear.heard if one[1] == b"no"]


def test_an_alert_reaches_subscribers_of_both_kinds_once_and_is_no_reading(
    product: Any, host: DeviceHost, join: Any
) -> None:
    now, sure = join("now", ["alert-listener"]), join("sure", ["alert-listener"])
    surest = join("surest", ["alert-listener"])
    assert surest.subscribe("masthead/alerts/air", 2)
    assert now.subscribe("masthead/alerts/#", 0)
    assert sure.subscribe("masthead/alerts/#", 1)
    host.publish_subject("masthead.alerts.air", b"SO2 120")
    eventually(lambda: now.heard and sure.heard and surest.heard)
    time.sleep(0.5)
    assert now.heard == [("masthead/alerts/air", b"SO2 120", 0)]
    assert sure.heard == surest.heard == [("masthead/alerts/air", b"SO2 120", 1)]
    assert product.readings == []


def test_a_sleeping_thing_gets_its_alert_when_it_wakes(product: Any, host: DeviceHost, join: Any) -> None:
    sleeper = join("sleeper", ["alert-listener"], clean=False)
    assert sleeper.subscribe("masthead/alerts/#", 1)
    sleeper.close()
    host.publish("masthead/alerts/air", b"1")
    awake = Thing(product.folder.things / "sleeper", host.mqtt_port, "sleeper", clean=False)
    eventually(lambda: awake.heard == [("masthead/alerts/air", b"1", 1)])
    awake.close()


def door_state(host: DeviceHost) -> Any:
    """Return the state of the door's own stream."""
    found: list[Any] = []

    async def look() -> None:
        assert host._client is not None
        found.append((await host._client.jetstream().stream_info("$MQTT_msgs")).state)

    host._call(look(), timeout_s=10)
    return found[0]


def test_what_was_copied_is_cleared_but_not_what_a_sleeping_thing_must_hear(
    product: Any, host: DeviceHost, join: Any
) -> None:
    sensor, sleeper = join("a"), join("sleeper", ["alert-listener"], clean=False)
    assert sleeper.subscribe("masthead/alerts/#", 1)
    sleeper.close()
    host.publish("masthead/alerts/air", b"wake up")

    def flood(total: int) -> None:
        last = None
        for _ in range(2_200):
            last = sensor.client.publish("sensors/a/air", b"1", 1)
        assert last
        last.wait_for_publish(60)
        product.await_readings(total, 60)
        time.sleep(2.1)
        sensor.publish("sensors/a/air", b"1")  # clearing waits for the next copy

    flood(2_200)
    time.sleep(0.5)
    assert door_state(host).first_seq <= 1
    awake = Thing(product.folder.things / "sleeper", host.mqtt_port, "sleeper", clean=False)
    eventually(lambda: awake.heard == [("masthead/alerts/air", b"wake up", 1)])
    flood(2 * 2_200 + 1)
    eventually(lambda: door_state(host).first_seq > 2_200)  # the last 2,000 wait for company
    awake.close()


def test_the_plain_door_speaks_for_the_thing_local(product: Any, host: DeviceHost) -> None:
    assert host.plain_port
    thing = Thing(Path(), host.plain_port, "tool", plain=True)
    thing.publish("sensors/local/air", b"1")
    thing.publish("sensors/b-101/air", b"1")
    assert product.await_readings(1)[0].thing == "local"
    eventually(lambda: [one.topic for one in product.access.forbidden("local")] == ["sensors/b-101/air"])
    thing.close()


def test_things_that_come_and_go_disturb_nobody_who_publishes(product: Any, join: Any) -> None:
    sensor = join("a")
    for number in range(5):
        product.access.create_thing(f"new{number}")
        for _ in range(20):
            sensor.publish("sensors/a/air", b"1")
        time.sleep(0.3)
    assert not sensor.lost.is_set()
    product.await_readings(100)


def test_a_server_certificate_that_is_renewed_needs_no_restart(
    product: Any, host: DeviceHost, join: Any
) -> None:
    join("a")
    before = host.state()["nats_pid"]
    product.access.server_certificate(product.folder.nats.absolute(), ["localhost", "gate.example"])
    os.kill(before, signal.SIGHUP)
    time.sleep(0.5)
    folder = product.folder.things / "a"
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "certificate.pem", folder / "private.key")
    import socket

    with (
        socket.create_connection(("127.0.0.1", host.mqtt_port)) as raw,
        context.wrap_socket(raw, server_hostname="gate.example") as peer,
    ):
        assert peer.version() == "TLSv1.3"
    assert host.state()["nats_pid"] == before


def test_the_console_sees_who_is_connected(host: DeviceHost, join: Any) -> None:
    join("a")
    eventually(lambda: host.state()["connected"] == {"a": 1}, 15)


def test_a_deleted_log_is_made_anew_and_what_was_copied_is_not_copied_again(
    product: Any, host: DeviceHost, join: Any
) -> None:
    thing = join("a")
    for number in range(10):
        thing.publish("sensors/a/air", b"%d" % number)
    product.await_readings(10)
    product.place = product.batches[-1].sequence + 1

    async def delete() -> None:
        assert host._client is not None
        await host._client.jetstream().delete_stream("READINGS")

    host._call(delete(), timeout_s=10)
    eventually(lambda: host.state()["notes"], 20)
    for number in range(10, 20):
        thing.publish("sensors/a/air", b"%d" % number)
    assert [one.payload for one in product.await_readings(20, 20)] == [b"%d" % n for n in range(20)]
    time.sleep(1)
    assert len(product.readings) == 20
