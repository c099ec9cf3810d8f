"""Runs beside the AWS IoT device SDK: one device, driven by lines on standard input, answering with lines of JSON.

    python iot.py SETTINGS        {"port", "client_id", "ca", and "certificate" with "key" unless it shall have none}

    publish TOPIC PAYLOAD | subscribe TOPIC | heard | disconnect
"""

import json
import sys

WAIT_S = 15


def main() -> None:
    # Here, since the SDK is in this environment alone.
    from awscrt import io, mqtt
    from awsiot import mqtt_connection_builder

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
        verb, _, rest = command.strip().partition(" ")
        topic, _, payload = rest.partition(" ")
        if verb == "publish":
            tell(lambda: line.publish(topic, payload, mqtt.QoS.AT_LEAST_ONCE)[0].result(WAIT_S)["packet_id"])
        elif verb == "subscribe":

            def keep(topic: str, payload: bytes, **_: object) -> None:
                heard.append([topic, payload.decode()])

            tell(lambda: line.subscribe(topic, mqtt.QoS.AT_LEAST_ONCE, keep)[0].result(WAIT_S)["topic"])
        elif verb == "heard":
            tell(lambda: heard)
        else:
            tell(lambda: line.disconnect().result(WAIT_S) and "disconnected")


def tell(act: object) -> None:
    try:
        told = {"answer": act()}  # type: ignore[operator]
    except Exception as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told), flush=True)


main()
