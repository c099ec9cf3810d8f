"""A till publishes payments over MQTT, a gate hears the decisions; in between the server is killed."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import small_fraud
from card_records import flat
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from masthead.cli.publisher import Door, Publisher, acknowledged

pytestmark = pytest.mark.slow

HEARS = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "client/*"},
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": "topicfilter/masthead/fraud/*"},
        {"Effect": "Allow", "Action": "iot:Receive", "Resource": "topic/masthead/fraud/*"},
    ],
}


def test_a_payment_over_mqtt_is_decided_once_and_another_thing_hears_it(
    served: Any, eventually: Callable[..., Any]
) -> None:
    served.masthead("things", "create", "till-1")
    served.masthead("policies", "create", "decisions", given=HEARS)
    served.masthead("things", "create", "gate-1", "--policy", "decisions")
    served.masthead("fraud", "deploy", "cards", "--model", str(small_fraud.folder() / "model"))
    served.masthead(
        "rules",
        "create",
        "payments",
        given={
            "sql": "SELECT * FROM 'sensors/+/payments'",
            "actions": [{"kind": "fraud", "name": "cards"}],
        },
    )
    gate = Gate(served)
    try:
        assert gate.listening.wait(10)
        till = Door.of(served.data / "things" / "till-1", port=served.mqtt_port)
        with Publisher("till-1", till) as thing:
            sent = [thing.publish("sensors/till-1/payments", json.dumps(flat(n)).encode()) for n in range(3)]
            acknowledged(sent)
            eventually(lambda: len(gate.heard) == 3, 60)
        served.restart()  # kill -9: what was decided is decided
        with Publisher("till-1", till) as thing:
            again = [thing.publish("sensors/till-1/payments", json.dumps(flat(n)).encode()) for n in (2, 3)]
            acknowledged(again)
            eventually(lambda: str(flat(3)["TransactionID"]) in gate.heard, 60)
    finally:
        gate.stop()
    stored = served.masthead("fraud", "transactions")
    assert {one["decision"]["id"]: one["decision"]["pred_prob"] for one in stored} == gate.heard
    assert len(stored) == 4
    assert gate.differed == 0


class Gate:
    """A thing that opens for payments that pass; it connects again by itself."""

    def __init__(self, served: Any) -> None:
        door = Door.of(served.data / "things" / "gate-1", port=served.mqtt_port)
        self.heard: dict[str, float] = {}
        self.differed = 0
        self.listening = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="gate-1", clean_session=False)
        self._client.tls_set(str(door.authority), str(door.certificate), str(door.key))
        self._client.on_connect = lambda *_: self._client.subscribe("masthead/fraud/cards", qos=1)
        self._client.on_subscribe = lambda *_: self.listening.set()
        self._client.on_message = self._on_message
        self._client.reconnect_delay_set(1, 2)
        self._client.connect("localhost", door.port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        told = json.loads(message.payload)
        self.differed += self.heard.get(told["id"], told["pred_prob"]) != told["pred_prob"]
        self.heard[told["id"]] = told["pred_prob"]
