"""The verbs of this room: things, their certificates, their policies, and what was forbidden to them."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from masthead.access.authority import Authority, Issued, expiry, server_names, signed_by
from masthead.access.publishers import Publishers
from masthead.access.records import Certificate, Forbidden, Records, SharedClientId, Thing, ThingPolicy
from masthead.access.thing_policies import (
    BUILT_IN,
    Permissions,
    allows,
    check_document,
    compile_policies,
)
from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, NotFound, shown
from masthead.base.folder import DataFolder, write_atomic
from masthead.base.ids import check_name
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

DEFAULT_POLICY = "sensor"
THING_DAYS = 365
SERVER_DAYS = 365
RENEW_BEFORE_DAYS = 30
OVERLAP_S = 86_400
"""How long a renewed thing's former certificate still works, so that nobody has to be there at that second."""

_MOST_ATTRIBUTES = 50
_MOST_ATTRIBUTE_LENGTH = 800  # as AWS IoT's limit of an attribute value
_MOST_OF_CLIENT_ID = 200  # characters kept of what a device chose
_SEALED = "access:authority"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a device needs: PEM texts, and the files that hold them. The private key is kept nowhere else."""

    thing: Thing
    certificate: str
    key: str
    authority: str
    certificate_path: Path
    key_path: Path
    authority_path: Path

    def to_json(self) -> dict[str, Any]:
        """Return the credentials as JSON values."""
        return {
            "thing": self.thing.to_json(),
            "certificate": self.certificate,
            "key": self.key,
            "authority": self.authority,
            "certificate_path": str(self.certificate_path),
            "key_path": str(self.key_path),
            "authority_path": str(self.authority_path),
        }


@dataclass(frozen=True, slots=True)
class User:
    """One accepted certificate, as the broker knows it, and what its thing may do."""

    subject: str
    thing: str
    permissions: Permissions


class AccessService:
    """Things and their policies. Every verb may be called from any thread and from any process."""

    def __init__(
        self, database: Database, folder: DataFolder, box: SecretBox, clock: Clock, journal: Journal
    ) -> None:
        self._records = Records(database)
        self._folder, self._box, self._clock, self._journal = folder, box, clock, journal
        self._lock = threading.Lock()
        self._publishers: tuple[int, Publishers] | None = None

    def create_thing(
        self,
        name: str,
        policies: Iterable[str] | None = None,
        attributes: Mapping[str, str] | None = None,
        *,
        days: int = THING_DAYS,
    ) -> Credentials:
        """Make a thing with key and certificate, written under `things/NAME/` in the data folder.

        Args:
            name: 1 to 63 letters, digits, `-` or `_`.
            policies: Names of policies; `sensor` alone when none are given.
            attributes: Texts that policies can name as `${iot:Connection.Thing.Attributes[x]}`.
            days: Life of the certificate.

        Raises:
            InvalidInput: A name, attribute or number of days is out of its range.
            NotFound: There is no such policy.
            Conflict: The name is taken.
        """
        check_name(name)
        chosen = self._check_policies([DEFAULT_POLICY] if policies is None else policies)
        given = _check_attributes(attributes or {})
        if self._records.thing(name):
            raise Conflict(f"name: a thing {name} exists already")
        now = self._clock.now()
        issued = self._issue(name, days, now)
        row: dict[str, Any] = {"name": name, "policies": chosen, "attributes": given, "serial": issued.serial}
        row |= {"created": now, "revoked": False}
        if not self._records.add_thing(row, _certificate(name, issued, now)):
            raise Conflict(f"name: a thing {name} exists already")
        self._journal.write("thing", name, "created", policies=chosen, serial=issued.serial)
        return self._deliver(name, issued)

    def list_things(self) -> list[Thing]:
        """Return all things by name."""
        return self._records.things()

    def get_thing(self, name: str) -> Thing:
        """Return a thing.

        Raises:
            NotFound: There is none of this name.
        """
        found = self._records.thing(name)
        if found is None:
            raise NotFound(f"name: there is no thing {shown(name)}")
        return found

    def update_thing(
        self,
        name: str,
        policies: Iterable[str] | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Thing:
        """Change a thing's policies or attributes; what is not given stays.

        Raises:
            NotFound: There is no such thing or policy.
            InvalidInput: An attribute is out of its range.
        """
        self.get_thing(name)
        values: dict[str, Any] = {}
        if policies is not None:
            values["policies"] = self._check_policies(policies)
        if attributes is not None:
            values["attributes"] = _check_attributes(attributes)
        if values:
            self._records.update_thing(name, values)
            self._journal.write("thing", name, "changed", **values)
        return self.get_thing(name)

    def revoke_thing(self, name: str) -> Thing:
        """Refuse a thing from now on: its live connections are cut within a second.

        Raises:
            NotFound: There is no such thing.
        """
        self.get_thing(name)
        self._records.revoke(name, self._clock.now())
        self._journal.write("thing", name, "revoked")
        return self.get_thing(name)

    def renew_thing(self, name: str, *, days: int = THING_DAYS, overlap_s: int = OVERLAP_S) -> Credentials:
        """Make a new key and certificate; the former certificate works for `overlap_s` more.

        Raises:
            NotFound: There is no such thing.
            Conflict: It is revoked.
        """
        if self.get_thing(name).revoked:
            raise Conflict(f"name: thing {name} is revoked; delete it and create it anew")
        now = self._clock.now()
        issued = self._issue(name, days, now)
        self._records.add_certificate(
            _certificate(name, issued, now), others_end=now + timedelta(seconds=overlap_s)
        )
        self._journal.write("thing", name, "renewed", serial=issued.serial)
        return self._deliver(name, issued)

    def delete_thing(self, name: str) -> None:
        """Delete a thing and its files; its certificates are refused from now on.

        Raises:
            NotFound: There is no such thing.
        """
        if not self._records.delete_thing(check_name(name)):
            raise NotFound(f"name: there is no thing {shown(name)}")
        for path in self._paths(name):
            path.unlink(missing_ok=True)
        home = self._folder.things / name
        if home.is_dir() and not any(home.iterdir()):
            home.rmdir()
        self._journal.write("thing", name, "deleted")

    def create_policy(self, name: str, document: object) -> ThingPolicy:
        """Keep a policy.

        Raises:
            InvalidInput: The broker cannot enforce it; the message says which word.
            Conflict: The name is taken.
        """
        check_name(name)
        checked = check_document(document)
        now = self._clock.now()
        if name in BUILT_IN or not self._records.add_policy(name, checked, now):
            raise Conflict(f"name: a policy {name} exists already")
        return ThingPolicy(name, checked, now)

    def list_policies(self) -> list[ThingPolicy]:
        """Return all policies by name, the built-in ones among them."""
        always = [ThingPolicy(name, text, self._clock.now(), True) for name, text in BUILT_IN.items()]
        return sorted([*always, *self._records.policies()], key=lambda policy: policy.name)

    def get_policy(self, name: str) -> ThingPolicy:
        """Return a policy.

        Raises:
            NotFound: There is none of this name.
        """
        for policy in self.list_policies():
            if policy.name == name:
                return policy
        raise NotFound(f"name: there is no policy {shown(name)}")

    def update_policy(self, name: str, document: object) -> ThingPolicy:
        """Replace a policy's document; its things are held to the new one within a second.

        Raises:
            InvalidInput: The broker cannot enforce it; the message says which word.
            NotFound: There is none of this name.
            Conflict: It is built in.
        """
        if self.get_policy(name).built_in:
            raise Conflict(f"name: the policy {name} is built in")
        if not self._records.update_policy(name, check_document(document)):
            raise NotFound(f"name: there is no policy {shown(name)}")
        return self.get_policy(name)

    def delete_policy(self, name: str) -> None:
        """Delete a policy.

        Raises:
            NotFound: There is none of this name.
            Conflict: It is built in, or a thing has it.
        """
        if self.get_policy(name).built_in:
            raise Conflict(f"name: the policy {name} is built in")
        users = [thing.name for thing in self._records.things() if name in thing.policies]
        if users:
            raise Conflict(f"name: the policy {name} is used by {shown(users)}")
        self._records.delete_policy(name)

    def test_policy(self, name: str, action: str, resource: str, thing: str = "") -> bool:
        """Return whether the policy `name` alone lets `thing` do `action` on a topic, filter or client.

        `thing` need not exist; without one, the thing is called `thing` and has no attributes.

        Raises:
            NotFound: There is no such policy.
            InvalidInput: The action or the resource is none.
        """
        known = self._records.thing(thing) if thing else None
        attributes = known.attributes if known else {}
        document = self.get_policy(name).document
        granted = compile_policies([document], thing=thing or "thing", attributes=attributes)
        if action != "iot:Connect":  # whether it may connect at all is a question of its own
            granted = Permissions(
                True, granted.publish, granted.subscribe, granted.publish_deny, granted.subscribe_deny
            )
        return allows(granted, action=action, resource=resource)

    def compiled_permissions(self) -> dict[str, Permissions]:
        """Return what each thing may do; a revoked thing may do nothing."""
        documents = {policy.name: policy.document for policy in self.list_policies()}
        return {
            thing.name: Permissions()
            if thing.revoked
            else compile_policies(
                [documents[name] for name in thing.policies if name in documents],
                thing=thing.name,
                attributes=thing.attributes,
            )
            for thing in self._records.things()
        }

    def users(self) -> list[User]:
        """Return every certificate that the broker accepts now, of things that may connect."""
        permissions = self.compiled_permissions()
        return [
            User(certificate.subject, certificate.thing, permissions[certificate.thing])
            for certificate in self._records.certificates(self._clock.now())
            if certificate.thing in permissions and permissions[certificate.thing].connect
        ]

    def revision(self) -> int:
        """Return a number that rises when `users` may have changed; certificates also end by time."""
        return self._records.revision()

    def sender(self, subject: str) -> str | None:
        """Return the only thing that may publish to a subject, or None. Follows changes on `forget_senders`."""
        publishers = self._publishers
        if publishers is None:
            revision = self.revision()
            publishers = self._publishers = (revision, Publishers(self.compiled_permissions()))
        return publishers[1].sender(subject)

    def forget_senders(self) -> None:
        """Let the next `sender` look at things and policies afresh."""
        self._publishers = None

    def record_forbidden(self, thing: str, topic: str, *, count: int = 1, at: datetime | None = None) -> None:
        """Remember that a thing published `count` times to a topic that its policies forbid."""
        self._records.add_forbidden(thing, topic, count, at or self._clock.now())
        self._journal.write("thing", thing, "forbidden publish", topic=topic, count=count)

    def forbidden(self, thing: str | None = None) -> list[Forbidden]:
        """Return the forbidden publishes of a thing, or of all, the latest first."""
        return self._records.forbidden(thing)

    def record_takeover(self, client_id: str, ended: str, by: str, *, count: int = 1) -> None:
        """Remember that a thing's session was ended `count` times by another that came under the same client id."""
        at, known = self._clock.now(), client_id[:_MOST_OF_CLIENT_ID]
        one, other = sorted((ended, by))
        self._records.add_shared(known, (one, other), count, at)
        self._journal.write(
            "thing", ended, "session ended by another thing", client_id=known, by=by, count=count
        )

    def shared_client_ids(
        self, thing: str | None = None, *, within: timedelta | None = None
    ) -> list[SharedClientId]:
        """Return the client ids that a thing, or any, shares with another, the latest first; `within`: seen since."""
        found = self._records.shared(thing)
        since = None if within is None else self._clock.now() - within
        return [one for one in found if since is None or one.at >= since]

    def expiring(self, within_days: int = RENEW_BEFORE_DAYS) -> list[Thing]:
        """Return the things whose newest certificate ends within so many days, revoked ones left out."""
        limit = self._clock.now() + timedelta(days=within_days)
        return [thing for thing in self._records.things() if not thing.revoked and thing.expires < limit]

    def authority_certificate(self) -> bytes:
        """Return the CA certificate, PEM, that devices trust the server by."""
        return self._authority().certificate

    def server_certificate(self, folder: Path, names: Iterable[str]) -> tuple[Path, Path, Path, bool]:
        """Return the paths of a server's certificate and key in `folder` and of the CA, and whether they were made anew.

        They are made when there are none, 30 days before they end, and when a name is missing. The CA is the one file
        of the installation, whichever server speaks: what clients are told to trust.
        """
        certificate, key = folder / "server.pem", folder / "server.key"
        wanted = set(names)
        own, authority = self._authority(), self._folder.authority.absolute()
        if not authority.exists() or authority.read_bytes() != own.certificate:
            write_atomic(authority, own.certificate)
        if certificate.exists() and key.exists():
            old = certificate.read_bytes()
            soon = self._clock.now() + timedelta(days=RENEW_BEFORE_DAYS)
            fresh = signed_by(old, own.certificate) and expiry(old) > soon
            if fresh and wanted <= server_names(old):
                return certificate, key, authority, False
        issued = own.issue_server(sorted(wanted), now=self._clock.now(), days=SERVER_DAYS)
        write_atomic(key, issued.key)
        write_atomic(certificate, issued.certificate)
        return certificate, key, authority, True

    def _issue(self, name: str, days: int, now: datetime) -> Issued:
        if not 1 <= days <= 3650:
            raise InvalidInput(f"days: expected 1 to 3650, got {shown(days)}")
        return self._authority().issue_thing(name, now=now, days=days)

    def _deliver(self, name: str, issued: Issued) -> Credentials:
        certificate_path, key_path, authority_path = self._paths(name)
        own = self._authority().certificate
        write_atomic(key_path, issued.key, mode=0o600)
        write_atomic(certificate_path, issued.certificate)
        write_atomic(authority_path, own)
        return Credentials(
            thing=self.get_thing(name),
            certificate=issued.certificate.decode(),
            key=issued.key.decode(),
            authority=own.decode(),
            certificate_path=certificate_path,
            key_path=key_path,
            authority_path=authority_path,
        )

    def _paths(self, name: str) -> tuple[Path, Path, Path]:
        home = self._folder.things / name
        return home / "certificate.pem", home / "private.key", home / "ca.pem"

    def _authority(self) -> Authority:
        with self._lock:
            found = self._records.authority()
            if found is None:
                now = self._clock.now()
                made = Authority.create(name="Masthead things", now=now)
                self._records.add_authority(made.certificate, self._box.seal(made.key, context=_SEALED), now)
                found = self._records.authority()
            assert found is not None
            return Authority(found[0], self._box.open(found[1], context=_SEALED))

    def _check_policies(self, names: Iterable[str]) -> list[str]:
        if isinstance(names, str):
            raise InvalidInput(f"policies: expected a list of names, got {shown(names)}")
        chosen = list(dict.fromkeys(names))
        known = {policy.name for policy in self.list_policies()}
        for name in chosen:
            if name not in known:
                raise NotFound(f"policies: there is no policy {shown(name)}")
        return chosen


def _certificate(name: str, issued: Issued, now: datetime) -> Certificate:
    return Certificate(issued.serial, name, issued.sha256, now, issued.expires, ends=issued.expires)


def _check_attributes(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes if policies can name them; a wildcard in one would widen the policy."""
    if len(attributes) > _MOST_ATTRIBUTES:
        raise InvalidInput(f"attributes: expected at most {_MOST_ATTRIBUTES}, got {len(attributes)}")
    for name, value in attributes.items():
        check_name(name, "attributes")
        if not isinstance(value, str) or not 1 <= len(value) <= _MOST_ATTRIBUTE_LENGTH:
            raise InvalidInput(
                f"attributes: expected texts of 1 to {_MOST_ATTRIBUTE_LENGTH} characters, got {shown(value)}"
            )
        if any(sign in value for sign in "*?+#>$/") or not value.isprintable() or " " in value:
            raise InvalidInput(
                f"attributes: expected no wildcard, '/', '$' or space, since topics are made of them, got {shown(value)}"
            )
    return dict(attributes)
