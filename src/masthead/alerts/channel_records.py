"""What the room keeps of named channels, and which deliveries wait for one. With `records`, the only SQL."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, String, Table, delete, insert, select, update

from masthead.alerts.records import alert_deliveries, all_rules
from masthead.store.schema import Blob, Json, UtcDateTime, metadata

alert_channels = Table(
    "alert_channels",
    metadata,
    Column("name", String(256), primary_key=True),
    Column("channel", Json, nullable=False),
    Column("secret", Blob),
    Column("created", UtcDateTime, nullable=False),
)


def add_channel(
    connection: Connection, name: str, channel: Mapping[str, Any], secret: bytes | None, created: datetime
) -> None:
    """Store a new channel."""
    row = {"name": name, "channel": dict(channel), "secret": secret, "created": created}
    connection.execute(insert(alert_channels).values(row))


def find_channel(connection: Connection, name: str) -> tuple[dict[str, Any], bytes | None] | None:
    """Return a channel as it is shown and its sealed secrets, or None."""
    table = alert_channels.c
    row = connection.execute(select(table.channel, table.secret).where(table.name == name)).one_or_none()
    return None if row is None else (row.channel, row.secret)


def all_channels(connection: Connection) -> list[tuple[str, dict[str, Any], datetime]]:
    """Return (name, channel as it is shown, when it was made), by name."""
    table = alert_channels.c
    rows = connection.execute(select(table.name, table.channel, table.created).order_by(table.name))
    return [(row.name, row.channel, row.created) for row in rows]


def channel_names(connection: Connection) -> frozenset[str]:
    """Return the names of all channels."""
    return frozenset(connection.execute(select(alert_channels.c.name)).scalars())


def remove_channel(connection: Connection, name: str) -> bool:
    """Delete a channel; return whether there was one."""
    return connection.execute(delete(alert_channels).where(alert_channels.c.name == name)).rowcount > 0


def release(connection: Connection, name: str, *, since: datetime, now: datetime) -> None:
    """Make due what was told to a channel since a time, when nobody heard it."""
    table = alert_deliveries.c
    waiting = (table.state == "unheard") & (table.created >= since) & _of(connection, name)
    connection.execute(update(alert_deliveries).where(waiting).values(state="pending", due=now))


def hold(connection: Connection, name: str) -> None:
    """Let what is still to be told to a channel wait unheard."""
    waiting = (alert_deliveries.c.state == "pending") & _of(connection, name)
    connection.execute(update(alert_deliveries).where(waiting).values(state="unheard"))


def _of(connection: Connection, name: str) -> Any:
    """Return the condition of deliveries whose rule speaks to a channel of this name."""
    rules = [rule.name for rule in all_rules(connection) if rule.channel.get("name") == name]
    return alert_deliveries.c.rule.in_(rules)
