"""The nouns of this room and its SQL."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Integer, String, Table, delete, func, select, update

from masthead.store.engine import Database
from masthead.store.schema import Blob, Json, UtcDateTime, metadata

MOST_FORBIDDEN = 200
"""Topics kept per thing; the one heard of longest ago goes first."""

_REVISION = "access"

authorities = Table(
    "authorities",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("certificate", Blob, nullable=False),
    Column("sealed_key", Blob, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

things = Table(
    "things",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("policies", Json, nullable=False),
    Column("attributes", Json, nullable=False),
    Column("serial", String(40), nullable=False),
    Column("created", UtcDateTime, nullable=False),
    Column("revoked", Boolean, nullable=False, default=False),
)

thing_certificates = Table(
    "thing_certificates",
    metadata,
    Column("serial", String(40), primary_key=True),
    Column("thing", String(63), nullable=False, index=True),
    Column("sha256", String(64), nullable=False),
    Column("issued", UtcDateTime, nullable=False),
    Column("expires", UtcDateTime, nullable=False),
    Column("ends", UtcDateTime, nullable=False),
)

thing_policies = Table(
    "thing_policies",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("document", Json, nullable=False),
    Column("created", UtcDateTime, nullable=False),
)

forbidden_publishes = Table(
    "forbidden_publishes",
    metadata,
    Column("thing", String(63), primary_key=True),
    Column("topic", String(1100), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("first_at", UtcDateTime, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)

access_revisions = Table(
    "access_revisions",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)


@dataclass(frozen=True, slots=True)
class Thing:
    """A device. `serial`, `certificate_sha256` and `expires` are those of its newest certificate."""

    name: str
    certificate_sha256: str
    serial: str
    policies: tuple[str, ...]
    attributes: Mapping[str, str] = field(hash=False)
    created: datetime
    expires: datetime
    revoked: bool

    def to_json(self) -> dict[str, Any]:
        """Return the thing as JSON values."""
        return {
            "name": self.name,
            "certificate_sha256": self.certificate_sha256,
            "serial": self.serial,
            "policies": list(self.policies),
            "attributes": dict(self.attributes),
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat(),
            "revoked": self.revoked,
        }


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate of a thing; it is accepted until `ends`, which a renewal or a revocation brings forward."""

    serial: str
    thing: str
    sha256: str
    issued: datetime
    expires: datetime
    ends: datetime

    @property
    def subject(self) -> str:
        """Return the subject as the broker reads it from the certificate."""
        return f"OU={self.serial},CN={self.thing}"


@dataclass(frozen=True, slots=True)
class ThingPolicy:
    """A named policy document."""

    name: str
    document: Mapping[str, Any] = field(hash=False)
    created: datetime
    built_in: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the policy as JSON values."""
        return {
            "name": self.name,
            "document": dict(self.document),
            "created": self.created.isoformat(),
            "built_in": self.built_in,
        }


@dataclass(frozen=True, slots=True)
class Forbidden:
    """Publishes of one thing to one topic that its policies forbid; `at` is the last of them."""

    thing: str
    topic: str
    count: int
    first_at: datetime
    at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {
            "thing": self.thing,
            "topic": self.topic,
            "count": self.count,
            "first_at": self.first_at.isoformat(),
            "at": self.at.isoformat(),
        }


class Records:
    """Every statement of the room. Each call that changes what the broker enforces raises the revision."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def revision(self) -> int:
        """Return a number that rises when things, certificates or policies change."""
        with self.database.read() as connection:
            mine = access_revisions.c.name == _REVISION
            return connection.execute(select(access_revisions.c.value).where(mine)).scalar() or 0

    def authority(self) -> tuple[bytes, bytes] | None:
        """Return the certificate and the sealed key of the installation's authority."""
        with self.database.read() as connection:
            row = connection.execute(select(authorities).where(authorities.c.name == "things")).first()
        return (row.certificate, row.sealed_key) if row else None

    def add_authority(self, certificate: bytes, sealed_key: bytes, now: datetime) -> None:
        """Keep a new authority unless another process was first."""
        row = {"name": "things", "certificate": certificate, "sealed_key": sealed_key, "created": now}
        with self.database.write() as connection:
            self.database.insert_ignore(connection, authorities, [row])

    def add_thing(self, row: Mapping[str, Any], certificate: Certificate) -> bool:
        """Insert a thing with its certificate; False when the name is taken."""
        with self.database.write() as connection:
            if not self.database.insert_ignore(connection, things, [row]):
                return False
            self._add_certificate(connection, certificate)
            self._changed(connection)
        return True

    def add_certificate(self, certificate: Certificate, *, others_end: datetime) -> None:
        """Insert a further certificate of a thing; its other ones end at `others_end` or earlier."""
        with self.database.write() as connection:
            self._end(connection, certificate.thing, others_end)
            self._add_certificate(connection, certificate)
            mine = things.c.name == certificate.thing
            connection.execute(update(things).where(mine).values(serial=certificate.serial))
            self._changed(connection)

    def revoke(self, name: str, now: datetime) -> None:
        """Mark a thing revoked and end its certificates at `now`."""
        with self.database.write() as connection:
            connection.execute(update(things).where(things.c.name == name).values(revoked=True))
            self._end(connection, name, now)
            self._changed(connection)

    def update_thing(self, name: str, values: Mapping[str, Any]) -> None:
        """Change policies or attributes."""
        with self.database.write() as connection:
            connection.execute(update(things).where(things.c.name == name).values(**values))
            self._changed(connection)

    def delete_thing(self, name: str) -> bool:
        """Delete a thing, its certificates and its forbidden publishes; False when there is none."""
        with self.database.write() as connection:
            for table in (thing_certificates, forbidden_publishes):
                connection.execute(delete(table).where(table.c.thing == name))
            found = connection.execute(delete(things).where(things.c.name == name)).rowcount
            self._changed(connection)
        return bool(found)

    def things(self) -> list[Thing]:
        """Return all things by name."""
        with self.database.read() as connection:
            rows = connection.execute(_NEWEST.order_by(things.c.name)).all()
        return [_thing(row) for row in rows]

    def thing(self, name: str) -> Thing | None:
        """Return one thing."""
        with self.database.read() as connection:
            row = connection.execute(_NEWEST.where(things.c.name == name)).first()
        return _thing(row) if row else None

    def certificates(self, now: datetime) -> list[Certificate]:
        """Return the certificates that are accepted at `now`."""
        table = thing_certificates
        with self.database.read() as connection:
            rows = connection.execute(select(table).where(table.c.ends > now).order_by(table.c.serial)).all()
        return [
            Certificate(row.serial, row.thing, row.sha256, row.issued, row.expires, row.ends) for row in rows
        ]

    def add_policy(self, name: str, document: Mapping[str, Any], now: datetime) -> bool:
        """Insert a policy; False when the name is taken."""
        row = {"name": name, "document": document, "created": now}
        with self.database.write() as connection:
            added = self.database.insert_ignore(connection, thing_policies, [row])
            self._changed(connection)
        return bool(added)

    def update_policy(self, name: str, document: Mapping[str, Any]) -> bool:
        """Replace a policy's document; False when there is none."""
        statement = update(thing_policies).where(thing_policies.c.name == name).values(document=document)
        with self.database.write() as connection:
            found = connection.execute(statement).rowcount
            self._changed(connection)
        return bool(found)

    def delete_policy(self, name: str) -> bool:
        """Delete a policy; False when there is none."""
        with self.database.write() as connection:
            found = connection.execute(delete(thing_policies).where(thing_policies.c.name == name)).rowcount
            self._changed(connection)
        return bool(found)

    def policies(self) -> list[ThingPolicy]:
        """Return the stored policies by name."""
        with self.database.read() as connection:
            rows = connection.execute(select(thing_policies).order_by(thing_policies.c.name)).all()
        return [ThingPolicy(row.name, row.document, row.created) for row in rows]

    def add_forbidden(self, thing: str, topic: str, count: int, at: datetime) -> None:
        """Count forbidden publishes of a thing to a topic; only the `MOST_FORBIDDEN` latest topics are kept."""
        table = forbidden_publishes
        mine = (table.c.thing == thing) & (table.c.topic == topic)
        row = {"thing": thing, "topic": topic, "times": count, "first_at": at, "last_at": at}
        with self.database.write() as connection:
            if not self.database.insert_ignore(connection, table, [row]):
                values = {"times": table.c.times + count, "last_at": at}
                connection.execute(update(table).where(mine).values(**values))
                return
            known = connection.execute(
                select(func.count()).select_from(table).where(table.c.thing == thing)
            ).scalar_one()
            if known > MOST_FORBIDDEN:
                oldest = (
                    select(table.c.topic)
                    .where(table.c.thing == thing)
                    .order_by(table.c.last_at, table.c.topic)
                    .limit(known - MOST_FORBIDDEN)
                )
                gone = list(connection.execute(oldest).scalars())
                connection.execute(delete(table).where((table.c.thing == thing) & table.c.topic.in_(gone)))

    def forbidden(self, thing: str | None) -> list[Forbidden]:
        """Return forbidden publishes, the latest first."""
        table = forbidden_publishes
        wanted = select(table).order_by(table.c.last_at.desc(), table.c.topic)
        if thing is not None:
            wanted = wanted.where(table.c.thing == thing)
        with self.database.read() as connection:
            rows = connection.execute(wanted).all()
        return [Forbidden(row.thing, row.topic, row.times, row.first_at, row.last_at) for row in rows]

    def _end(self, connection: Connection, thing: str, at: datetime) -> None:
        table = thing_certificates
        later = (table.c.thing == thing) & (table.c.ends > at)
        connection.execute(update(table).where(later).values(ends=at))

    def _add_certificate(self, connection: Connection, certificate: Certificate) -> None:
        row = {name: getattr(certificate, name) for name in Certificate.__slots__}
        connection.execute(thing_certificates.insert().values(**row))

    def _changed(self, connection: Connection) -> None:
        raise_revision(self.database, connection, _REVISION)


def raise_revision(database: Database, connection: Connection, name: str) -> None:
    """Count a change, so that other processes see that there was one."""
    database.insert_ignore(connection, access_revisions, [{"name": name, "value": 0}])
    mine = access_revisions.c.name == name
    connection.execute(update(access_revisions).where(mine).values(value=access_revisions.c.value + 1))


_NEWEST = select(things, thing_certificates.c.sha256, thing_certificates.c.expires).join(
    thing_certificates, thing_certificates.c.serial == things.c.serial
)


def _thing(row: Any) -> Thing:
    return Thing(
        name=row.name,
        certificate_sha256=row.sha256,
        serial=row.serial,
        policies=tuple(row.policies),
        attributes=row.attributes,
        created=row.created,
        expires=row.expires,
        revoked=row.revoked,
    )
