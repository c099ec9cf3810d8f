"""The configuration of nats-server as text. Pure.

Source: https://docs.nats.io/running-a-nats-service/configuration and its pages on mqtt, accounts and authorization
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from masthead.access.service import User

KEY_VARIABLE = "MASTHEAD_JETSTREAM_KEY"
SERVICE_USER = "masthead"
SYSTEM_USER = "system"
LISTENER_USER = "listener"
_NOT_FROM_THINGS = (
    "$MQTT.>",
    "$JS.>",
    "$SYS.>",
    "$SRV.>",
    "$KV.>",
    "$O.>",
    "$NRG.>",
    "$JSC.>",
    "_INBOX.>",
    "masthead.>",
)
_SLACK_BYTES = 4 * 1024**3  # sessions, retained messages and QoS 2 in flight, beside the bounded streams


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What our nats-server is told. Ports are real ports, never 0."""

    folder: Path
    host: str
    mqtt_port: int
    client_port: int
    password: str
    certificate: Path
    key: Path
    authority: Path
    sync: str
    stream_bytes: int
    encryption_key: str | None


def config_text(options: ServerOptions, users: Iterable[User]) -> str:
    """Return the whole configuration. Internal clients enter on loopback with a password, things with a certificate.

    A thing may use the MQTT door only: its user has no password, which elsewhere would be an open door.
    """
    things = "\n".join(f"    {_user(user)}" for user in users)
    cipher = f"  cipher: aes\n  key: ${KEY_VARIABLE}\n" if options.encryption_key else ""
    sync = "  sync_interval: always\n" if options.sync == "always" else ""
    return f"""server_name: masthead
host: 127.0.0.1
port: {options.client_port}
max_payload: 8MB
max_pending: 256MB
write_deadline: "10s"
jetstream {{
  store_dir: {_quoted(str(options.folder / "store"))}
  max_mem: 268435456
  max_file: {options.stream_bytes + _SLACK_BYTES}
{sync}{cipher}}}
mqtt {{
  host: {_quoted(options.host)}
  port: {options.mqtt_port}
  consumer_inactive_threshold: "24h"
  tls {{
    cert_file: {_quoted(str(options.certificate))}
    key_file: {_quoted(str(options.key))}
    ca_file: {_quoted(str(options.authority))}
    verify_and_map: true
    timeout: 10
  }}
}}
accounts {{
  MASTHEAD {{ jetstream: enabled, users = [
    {{user: {SERVICE_USER}, password: {_quoted(options.password)}, allowed_connection_types: ["STANDARD"]}}
    {{user: {LISTENER_USER}, password: {_quoted(options.password)}, allowed_connection_types: ["STANDARD"],
      permissions: {{publish: {{deny: [">"]}}, subscribe: {_rule([">"], _NOT_FROM_THINGS)}}}}}
{things}
  ] }}
  SYS {{ users = [
    {{user: {SYSTEM_USER}, password: {_quoted(options.password)}, allowed_connection_types: ["STANDARD"]}}
  ] }}
}}
system_account: SYS
"""


def _user(user: User) -> str:
    granted = user.permissions
    publish = _rule(granted.publish, granted.publish_deny)
    subscribe = _rule(granted.subscribe, granted.subscribe_deny)
    return (
        f'{{user: {_quoted(user.subject)}, allowed_connection_types: ["MQTT"], '
        f"permissions: {{publish: {publish}, subscribe: {subscribe}}}}}"
    )


def _rule(allow: Iterable[str], deny: Iterable[str]) -> str:
    """Return one side of the permissions. To nats-server an empty allow list allows everything: say deny instead."""
    allowed = ", ".join(map(_quoted, allow))
    if not allowed:
        return '{deny: [">"]}'
    return f"{{allow: [{allowed}], deny: [{', '.join(map(_quoted, deny))}]}}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
