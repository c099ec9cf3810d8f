"""A thing's own way in, tried for real: TLS with its certificate, CONNECT, and a publish that must be acknowledged."""

import threading
import time
from typing import TYPE_CHECKING, Any

from masthead.base.errors import NotFound
from masthead.cli.addresses import mqtt_endpoint

if TYPE_CHECKING:
    from masthead.app import Masthead

_PATIENCE_S = 10.0


def probe(masthead: "Masthead", name: str, *, topic: str, payload: bytes | None) -> dict[str, Any]:
    """Return what happened: `connected`, `published`, `allowed` and `ok`, with the reason of a failure.

    `tested` and `not_tested` say plainly what was looked at. Without a server on this data folder nothing connects:
    whatever else listens on that port would be another installation's.

    Raises:
        NotFound: There is no such thing, or its key is not in this data folder.
    """
    from masthead.access.thing_policies import allows

    thing = masthead.access.get_thing(name)
    home = masthead.folder.things / name
    key, certificate, authority = (home / part for part in ("private.key", "certificate.pem", "ca.pem"))
    if not key.exists():
        raise NotFound(f"key: there is no key of thing {name} in {home}; test it where its key lies")
    host, port = mqtt_endpoint(masthead.folder.path, masthead.settings)
    allowed = allows(masthead.access.compiled_permissions()[thing.name], action="iot:Publish", resource=topic)
    found: dict[str, Any] = {
        "thing": name,
        "endpoint": f"{host}:{port}",
        "connected": False,
        "published": False,
        "topic": topic,
        "allowed": allowed,
        "reason": "",
        "ok": False,
        "tested": ["key and certificate", f"policies on {topic}"],
        "not_tested": [],
    }
    files = {"ca_certs": str(authority), "certfile": str(certificate), "keyfile": str(key)}
    found["reason"] = _files_refused(files)
    if found["reason"]:
        found["not_tested"] = ["connection", "publish"]
    elif masthead.folder.served_by() is None:
        found["not_tested"] = ["connection", "publish"]
        found["reason"] = "no server runs on this data folder: start masthead serve and test again"
    else:
        _meet(found, host, port, files, payload)
    return found


def _meet(found: dict[str, Any], host: str, port: int, files: dict[str, str], payload: bytes | None) -> None:
    """Connect and publish, and note what was tried and how it ended."""
    _talk(found, host, port, files, payload)
    found["tested"].append("connection")
    published = found["connected"] and payload is not None
    found["tested" if published else "not_tested"].append("publish")
    if payload is None and found["connected"]:
        found["reason"] = "publish was not tried: give --message FILE"
    elif published and not found["allowed"]:
        found["reason"] = "the policies forbid this topic: the broker acknowledged the message and dropped it"
    found["ok"] = found["connected"] and (payload is None or (found["published"] and found["allowed"]))


def _files_refused(files: dict[str, str]) -> str:
    """Return why TLS cannot use a thing's files; "" when it can."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=files["ca_certs"])
        context.load_cert_chain(files["certfile"], files["keyfile"])
    except (ssl.SSLError, OSError) as error:
        return f"the files cannot be used: {error}"
    return ""


def _talk(found: dict[str, Any], host: str, port: int, files: dict[str, str], payload: bytes | None) -> None:
    import importlib

    paho: Any = importlib.import_module("paho.mqtt.client")
    connected = threading.Event()
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id=f"{found['thing']}-test-{time.time_ns()}"
    )
    client.tls_set(**files)

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        found["connected"] = not reason.is_failure
        found["reason"] = str(reason) if reason.is_failure else ""
        connected.set()

    client.on_connect = on_connect
    client.on_disconnect = lambda *_: connected.set()
    try:
        client.connect(host, port, keepalive=30)
    except OSError as error:  # ssl.SSLError is one
        found["reason"] = f"no connection to {found['endpoint']}: {error}"
        return
    client.loop_start()
    try:
        connected.wait(_PATIENCE_S)
        if not found["connected"]:
            found["reason"] = found["reason"] or "the server closed the connection"
        elif payload is not None:
            message = client.publish(found["topic"], payload, qos=1)
            message.wait_for_publish(_PATIENCE_S)
            found["published"] = message.is_published()
    finally:
        client.disconnect()
        client.loop_stop()
