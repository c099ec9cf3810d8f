"""Keys, their use, and the console's links and sessions: the nouns and their SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Integer,
    String,
    Table,
    delete,
    func,
    select,
    update,
)

from masthead.access.records import access_revisions, raise_revision
from masthead.access.shipped import SHIPPED
from masthead.store.engine import Database
from masthead.store.schema import Blob, Json, UtcDateTime, metadata

_REVISION = "keys"

access_keys = Table(
    "access_keys",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("secret_box", Blob, nullable=False),
    Column("policies", Json, nullable=False),
    Column("rate", Float),
    Column("burst", Integer),
    Column("quota", BigInteger),
    Column("window", String(5), nullable=False),
    Column("allow", Json, nullable=False),
    Column("deny", Json, nullable=False),
    Column("origins", Json, nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("last_used", UtcDateTime),
    Column("expires", UtcDateTime),
    Column("revoked", UtcDateTime),
)

access_usage = Table(
    "access_usage",
    metadata,
    Column("key", String(128), primary_key=True),
    Column("window", String(5), primary_key=True),
    Column("start", UtcDateTime, primary_key=True),
    Column("used", BigInteger, nullable=False),
)

console_links = Table(
    "console_links",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("key", String(128), nullable=False),
    Column("ends", UtcDateTime, nullable=False),
)

console_sessions = Table(
    "console_sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("key", String(128), nullable=False),
    Column("seen", UtcDateTime, nullable=False),
    Column("ends", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class KeyPolicy:
    """A policy of a key. One that comes with Masthead is kept by its name alone."""

    name: str
    document: Mapping[str, Any] = field(hash=False)

    @property
    def shipped(self) -> bool:
        """Return whether it comes with Masthead."""
        return SHIPPED.get(self.name) == self.document

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {"name": self.name, "document": dict(self.document)}


@dataclass(frozen=True, slots=True)
class Key:
    """What a program shows who it is by. Its secret is no part of it.

    Attributes:
        rate: Requests a second; None: as many as come.
        burst: Requests at once; None where there is no rate.
        quota: Requests in a window; None: as many as come.
        window: `day`, `week` or `month` in UTC; "" where there is no quota.
        allow: Addresses and ranges that may use it; none: all.
        deny: Those that may not.
        origins: Web pages whose programs may use it in a browser.
        expires: When it ends; None: never.
        revoked: When it was revoked.
        state: `active`, `expired` or `revoked`, as of when it was read.
    """

    id: str
    name: str
    policies: tuple[KeyPolicy, ...]
    rate: float | None
    burst: int | None
    quota: int | None
    window: str
    allow: tuple[str, ...]
    deny: tuple[str, ...]
    origins: tuple[str, ...]
    created: datetime
    last_used: datetime | None
    expires: datetime | None
    revoked: datetime | None
    state: str

    def is_live(self, now: datetime) -> bool:
        """Return whether it opens anything at `now`."""
        return self.revoked is None and (self.expires is None or now < self.expires)

    @property
    def plan(self) -> str:
        """Return its limits in words.

        >>> Key("MH1", "a", (), 10.0, 20, 5, "day", (), (), (), *([None] * 4), "active").plan
        '10/s burst 20, 5/day'
        """
        rate = [f"{self.rate:g}/s burst {self.burst}"] if self.rate is not None else []
        quota = [f"{self.quota}/{self.window}"] if self.quota is not None else []
        return ", ".join([*rate, *quota]) or "unlimited"

    def to_json(self) -> dict[str, Any]:
        """Return the key as JSON values, policies by name."""
        return {
            "id": self.id,
            "name": self.name,
            "policies": [policy.name for policy in self.policies],
            "plan": self.plan,
            "rate": self.rate,
            "burst": self.burst,
            "quota": self.quota,
            "window": self.window,
            "allow": list(self.allow),
            "deny": list(self.deny),
            "origins": list(self.origins),
            "created": self.created.isoformat(),
            "last_used": self.last_used.isoformat() if self.last_used else None,
            "expires": self.expires.isoformat() if self.expires else None,
            "revoked": self.revoked.isoformat() if self.revoked else None,
            "state": self.state,
        }


class KeyRecords:
    """Every statement about keys. What changes who may come in raises the revision."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def revision(self) -> int:
        """Return a number that rises when a key, a link or a session changes."""
        mine = access_revisions.c.name == _REVISION
        with self.database.read() as connection:
            return connection.execute(select(access_revisions.c.value).where(mine)).scalar() or 0

    def keys(self, now: datetime) -> list[tuple[Key, bytes]]:
        """Return every key with its sealed secret, the oldest first."""
        order = (access_keys.c.created, access_keys.c.id)
        with self.database.read() as connection:
            rows = connection.execute(select(access_keys).order_by(*order)).all()
        return [(_key(row, now), row.secret_box) for row in rows]

    def key(self, id: str, now: datetime) -> Key | None:
        """Return one key."""
        with self.database.read() as connection:
            row = connection.execute(select(access_keys).where(access_keys.c.id == id)).first()
        return _key(row, now) if row else None

    def sealed(self) -> tuple[str, bytes] | None:
        """Return the id and the sealed secret of the newest key; None when there is no key."""
        newest = select(access_keys.c.id, access_keys.c.secret_box).order_by(access_keys.c.created.desc())
        with self.database.read() as connection:
            row = connection.execute(newest.limit(1)).first()
        return (row.id, row.secret_box) if row else None

    def add(self, row: Mapping[str, Any]) -> bool:
        """Insert a key; False when the id is taken."""
        with self.database.write() as connection:
            added = self.database.insert_ignore(connection, access_keys, [row])
            self._changed(connection)
        return bool(added)

    def change(self, id: str, values: Mapping[str, Any]) -> bool:
        """Change columns of a key; False when there is none."""
        with self.database.write() as connection:
            found = connection.execute(
                update(access_keys).where(access_keys.c.id == id).values(**values)
            ).rowcount
            self._changed(connection)
        return bool(found)

    def revoke(self, id: str, now: datetime) -> None:
        """Mark a key revoked unless it is, and end its links and sessions."""
        mine = (access_keys.c.id == id) & access_keys.c.revoked.is_(None)
        with self.database.write() as connection:
            connection.execute(update(access_keys).where(mine).values(revoked=now))
            for table in (console_links, console_sessions):
                connection.execute(delete(table).where(table.c.key == id))
            self._changed(connection)

    # ------------------------------------------------------------------ use

    def used(self, key: str, window: str, start: datetime) -> int:
        """Return how much of a quota was used in the window that began at `start`."""
        table = access_usage
        wanted = select(table.c.used).where(
            table.c.key == key, table.c.window == window, table.c.start == start
        )
        with self.database.read() as connection:
            return connection.execute(wanted).scalar() or 0

    def add_use(
        self, uses: Sequence[tuple[str, str, datetime, int]], last: Mapping[str, datetime]
    ) -> dict[tuple[str, str, datetime], int]:
        """Add use to windows, note when keys were used last, and return what the windows hold then."""
        table, found = access_usage, {}
        with self.database.write() as connection:
            for key, window, start, count in uses:
                mine = (table.c.key == key) & (table.c.window == window) & (table.c.start == start)
                row = {"key": key, "window": window, "start": start, "used": 0}
                self.database.insert_ignore(connection, table, [row])
                connection.execute(update(table).where(mine).values(used=table.c.used + count))
                total = connection.execute(select(table.c.used).where(mine)).scalar_one()
                connection.execute(
                    delete(table).where(table.c.key == key, table.c.window == window, table.c.start < start)
                )
                found[key, window, start] = int(total)
            for key, at in last.items():
                connection.execute(update(access_keys).where(access_keys.c.id == key).values(last_used=at))
        return found

    # ------------------------------------------------------------------ the console

    def add_link(self, digest: str, key: str, now: datetime, ends: datetime) -> None:
        """Keep a link that opens one session, and remove those that have ended."""
        with self.database.write() as connection:
            connection.execute(delete(console_links).where(console_links.c.ends <= now))
            connection.execute(console_links.insert().values(digest=digest, key=key, ends=ends))

    def take_link(self, digest: str, now: datetime) -> str | None:
        """Remove a link and return its key; None when it was used, has ended or never was."""
        table = console_links
        taken = delete(table).where(table.c.digest == digest).returning(table.c.key, table.c.ends)
        with self.database.write() as connection:
            row = connection.execute(taken).first()
        return str(row.key) if row and row.ends > now else None

    def add_session(self, digest: str, key: str, now: datetime, ends: datetime, idle: datetime) -> None:
        """Keep a session, and remove those that have ended or were not seen since `idle`."""
        table = console_sessions
        with self.database.write() as connection:
            connection.execute(delete(table).where((table.c.ends <= now) | (table.c.seen <= idle)))
            connection.execute(table.insert().values(digest=digest, key=key, seen=now, ends=ends))

    def session(self, digest: str) -> tuple[str, datetime, datetime] | None:
        """Return a session's key, when it was seen last and when it ends."""
        table = console_sessions
        with self.database.read() as connection:
            row = connection.execute(select(table).where(table.c.digest == digest)).first()
        return (row.key, row.seen, row.ends) if row else None

    def see_session(self, digest: str, now: datetime) -> None:
        """Note that a session is in use."""
        table = console_sessions
        with self.database.write() as connection:
            connection.execute(update(table).where(table.c.digest == digest).values(seen=now))

    def delete_session(self, digest: str) -> None:
        """Remove a session."""
        with self.database.write() as connection:
            connection.execute(delete(console_sessions).where(console_sessions.c.digest == digest))
            self._changed(connection)

    def _changed(self, connection: Connection) -> None:
        raise_revision(self.database, connection, _REVISION)


def has_keys(database: Database) -> bool:
    """Return whether an installation has any key."""
    with database.read() as connection:
        return bool(connection.execute(select(func.count()).select_from(access_keys)).scalar_one())


def stored_policies(policies: Sequence[KeyPolicy]) -> list[dict[str, Any]]:
    """Return policies as a row holds them."""
    return [{"name": one.name, "document": None if one.shipped else dict(one.document)} for one in policies]


def _key(row: Any, now: datetime) -> Key:
    ended = row.expires is not None and now >= row.expires
    return Key(
        id=row.id,
        name=row.name,
        policies=tuple(_policy(one) for one in row.policies),
        rate=row.rate,
        burst=row.burst,
        quota=row.quota,
        window=row.window,
        allow=tuple(row.allow),
        deny=tuple(row.deny),
        origins=tuple(row.origins),
        created=row.created,
        last_used=row.last_used,
        expires=row.expires,
        revoked=row.revoked,
        state="revoked" if row.revoked else "expired" if ended else "active",
    )


def _policy(stored: Mapping[str, Any]) -> KeyPolicy:
    """Return a policy; one that this version does not ship any more allows nothing, and cannot be read."""
    document = stored["document"]
    return KeyPolicy(stored["name"], SHIPPED.get(stored["name"], {}) if document is None else document)
