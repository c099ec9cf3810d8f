"""One thing's connection: publishes over MQTT with TLS and its certificate, at QoS 1."""

import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from masthead.base.errors import InvalidInput, LimitReached

_CONNECT_S = 15.0
_ACKNOWLEDGE_S = 30.0


@dataclass(frozen=True, slots=True)
class Door:
    """Where a thing connects, and with what: the three files that `masthead things create` wrote."""

    host: str
    port: int
    certificate: Path
    key: Path
    authority: Path

    @classmethod
    def of(cls, folder: Path, *, port: int, host: str = "localhost") -> "Door":
        """Return the door for the thing whose files lie in `folder`.

        Raises:
            InvalidInput: A file is missing.
        """
        paths = [folder / name for name in ("certificate.pem", "private.key", "ca.pem")]
        for path in paths:
            if not path.is_file():
                raise InvalidInput(f"thing: expected the file {path}, which `masthead things create` writes")
        return cls(host, port, *paths)


class Publisher:
    """A thing that publishes; it reconnects by itself and sends again what was not acknowledged."""

    def __init__(self, name: str, door: Door) -> None:
        self.name, self._door = name, door
        self._connected, self._refusal = threading.Event(), ""
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTv311)
        self._client.tls_set(
            ca_certs=str(door.authority),
            certfile=str(door.certificate),
            keyfile=str(door.key),
            tls_version=ssl.PROTOCOL_TLS_CLIENT,
        )
        self._client.max_queued_messages_set(0)
        self._client.reconnect_delay_set(min_delay=1, max_delay=5)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            LimitReached: Nobody answers, or the certificate is not accepted.
        """
        try:
            self._client.connect(self._door.host, self._door.port, keepalive=60)
        except OSError as error:
            raise LimitReached(
                f"mqtt: {self.name} cannot connect to {self._door.host}:{self._door.port}: {error}"
            ) from error
        self._client.loop_start()
        if not self._connected.wait(_CONNECT_S) or self._refusal:
            self._client.loop_stop()
            raise LimitReached(
                f"mqtt: {self.name} was not let in by {self._door.host}:{self._door.port}: "
                f"{self._refusal or 'no answer'}"
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes) -> MQTTMessageInfo:
        """Send one reading; `acknowledged` tells when it is stored."""
        sent = self._client.publish(topic, payload, qos=1)
        if sent.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
            sent.rc = MQTTErrorCode.MQTT_ERR_SUCCESS  # it is queued and goes out after the reconnect
        return sent

    def _on_connect(
        self, _client: Client, _data: Any, _flags: ConnectFlags, code: ReasonCode, _more: Properties | None
    ) -> None:
        self._refusal = str(code) if code.is_failure else ""
        self._connected.set()

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, code: ReasonCode, _more: Properties | None
    ) -> None:
        if not self._connected.is_set():
            self._refusal = str(code)
            self._connected.set()


def acknowledged(sent: Sequence[MQTTMessageInfo], *, timeout_s: float = _ACKNOWLEDGE_S) -> None:
    """Return when every reading has been acknowledged, and so is stored durably.

    Raises:
        LimitReached: One was not in time: the stream is full, or the thing's policies forbid the topic.
    """
    for message in sent:
        message.wait_for_publish(timeout_s)
        if not message.is_published():
            raise LimitReached(
                f"mqtt: a reading was not acknowledged within {timeout_s:g} s: "
                "the stream is full, or the thing's policies forbid the topic"
            )
