"""A NATS server that somebody else runs (`nats_url`): what it is called, what it cannot do for us, why it fails."""

import re

from nats.js.errors import ServiceUnavailableError

from masthead.base.errors import InvalidInput
from masthead.base.settings import Settings

_CREDENTIALS = re.compile(r"//[^@/]*@")


def check_settings(settings: Settings) -> None:
    """Return when the settings fit an external server.

    Raises:
        InvalidInput: They ask for a door that is ours only with our own.
    """
    if settings.nats_url and settings.mqtt_plain:
        raise InvalidInput("mqtt_plain: expected off with nats_url: its MQTT doors are its own")


def shown_url(url: str) -> str:
    """Return the address without user and password.

    >>> shown_url("nats://me:secret@10.0.0.1:4222")
    'nats://10.0.0.1:4222'
    """
    return _CREDENTIALS.sub("//", url)


def limits(url: str) -> str:
    """Return what works otherwise than with our own server, for its owner to know."""
    return (
        f"the NATS server at {shown_url(url)} is not ours: things connect to it by its own users; things, policies and "
        "revocations made here are not known there, forbidden publishes are not counted, QoS 0 readings are not taken"
    )


def reason(error: Exception, url: str) -> str:
    """Return why a server cannot be used; `url` is empty for our own."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, ServiceUnavailableError):
        text = "JetStream is not enabled, or not ready"
    return f"nats_url: {shown_url(url)}: {text}" if url else text
