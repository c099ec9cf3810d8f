"""Runs beside the AWS IoT device SDK: one device, driven by lines on standard input, answering with lines of JSON.

python iot.py SETTINGS        {"port", "client_id", "ca", and "certificate" with "key" unless it shall have none}

publish TOPIC PAYLOAD | subscribe TOPIC | heard | disconnect
"""

import json
import sys
from collections.abc import Callable
from typing import Any

from awscrt import io, mqtt
from awsiot import mqtt_connection_builder

WAIT_S = 15
QOS = mqtt.QoS.AT_LEAST_ONCE


def main() -> None:
    """Connect, then do what each line says."""
    settings = json.loads(sys.argv[1])
    common = {
        "endpoint": "localhost",
        "port": settings["port"],
        "client_id": settings["client_id"],
        "ca_filepath": settings["ca"],
        "clean_session": True,
        "keep_alive_secs": 30,
    }
    if "certificate" in settings:
        line = mqtt_connection_builder.mtls_from_path(settings["certificate"], settings["key"], **common)
    else:
        options = io.TlsContextOptions()
        options.override_default_trust_store_from_path(None, settings["ca"])
        line = mqtt.Connection(
            client=mqtt.Client(None, io.ClientTlsContext(options)),
            host_name="localhost",
            port=settings["port"],
            client_id=settings["client_id"],
        )
    heard: list[list[str]] = []
    tell(lambda: line.connect().result(WAIT_S) and "connected")
    for command in sys.stdin:
        tell(lambda command=command: obey(line, heard, *command.strip().split(" ", 2)))


def obey(line: Any, heard: list[list[str]], verb: str, topic: str = "", payload: str = "") -> object:
    """Return what a command is answered with."""
    if verb == "publish":
        return line.publish(topic, payload, QOS)[0].result(WAIT_S)["packet_id"]
    if verb == "subscribe":

        def keep(topic: str, payload: bytes, **_: object) -> None:
            heard.append([topic, payload.decode()])

        return line.subscribe(topic, QOS, keep)[0].result(WAIT_S)["topic"]
    if verb == "heard":
        return heard
    line.disconnect().result(WAIT_S)
    return "disconnected"


def tell(act: Callable[[], object]) -> None:
    """Print what an act gives, or how it failed."""
    try:
        told = {"answer": act()}
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)


main()
