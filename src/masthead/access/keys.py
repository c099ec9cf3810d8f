"""Keys: who a program or a person at the console acts as. Secrets leave this room once, when they are made."""

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from masthead.access.arns import user_arn
from masthead.access.key_checks import (
    INVOKE_BURST,
    INVOKE_RATE,
    as_columns,
    check_id,
    check_key_name,
    check_plan,
    check_secret,
)
from masthead.access.key_records import Key, KeyPolicy, KeyRecords, stored_policies
from masthead.access.policy import MOST_POLICIES, NOTHING, Decision, Policy, decide
from masthead.access.shipped import INVOKE_ACTION, SHIPPED
from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.log import Journal, get_logger
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

__all__ = ["Key", "KeyChanges", "KeyPolicy", "KeyService", "NewKey", "Policies"]

MOST_KEYS = 10_000
LINK_S = 600
SESSION_S, IDLE_S = 7 * 86_400, 12 * 3_600
"""A session of the console ends after a week, or after half a day without use."""

_LOOK_S = 0.5  # another process's revocation must be seen within 1 s
_SEEN_S = 600  # how exactly a session's last use is kept across a restart
_MOST_SESSIONS = 10_000
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"  # RFC 4648 base 32
_NOBODY = "x" * 40  # compared with when a key is unknown
_LOG = get_logger("access")

Policies = Sequence[str | tuple[str, object]]
"""Names of shipped policies, and (name, document) of others."""


class KeyChanges(TypedDict, total=False):
    """What can be changed of a key; None of a number takes the bound away."""

    rate: float | None
    burst: int | None
    quota: int | None
    window: str
    allow: Iterable[str]
    deny: Iterable[str]
    origins: Iterable[str]
    expires_s: float | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and its secret, which nobody can ask for again.

    Attributes:
        preset: The caller chose the secret, so it need not be shown.
    """

    key: Key
    secret: str = field(repr=False)
    preset: bool = False


@dataclass(slots=True)
class _Known:
    """What this process holds of the keys, as of one revision."""

    revision: int
    keys: dict[str, tuple[Key, bytes]]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)
    compiled: dict[str, tuple[tuple[KeyPolicy, ...], tuple[tuple[str, Policy], ...]]] = field(
        default_factory=dict
    )
    sessions: dict[str, "_Session"] = field(default_factory=dict)


@dataclass(slots=True)
class _Session:
    key: str
    seen: datetime
    noted: datetime
    ends: datetime


class KeyService:
    """Keys, links and sessions. Every verb may be called from any thread and from any process."""

    def __init__(self, database: Database, box: SecretBox, clock: Clock, journal: Journal) -> None:
        self._records = KeyRecords(database)
        self._database, self._box, self._clock, self._journal = database, box, clock, journal
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._version, self._looked = 0, 0.0

    # ------------------------------------------------------------------ keys

    def create_key(self, name: str = "", policies: Policies = (), **limits: Unpack[KeyChanges]) -> NewKey:
        """Make a key. Without a policy it may do nothing.

        A key that may only invoke endpoints, and is given neither rate nor quota, gets 10 a second and a burst of 20.

        Args:
            name: What it acts as, `user/NAME` to policies; its id when none is given.
            policies: Shipped ones by name, others as (name, document).
            **limits: `rate` a second with `burst`, `quota` per `window` (day, week, month), `allow` and `deny`
                (addresses and ranges), `origins` of web pages, `expires_s` from now.

        Raises:
            InvalidInput: A value is out of its range, or a policy is none.
            NotFound: No policy of this name is shipped.
            LimitReached: There are 10,000 keys.
            Conflict: The master key is not the one that the other secrets were sealed with.
        """
        return self._create(_new_id(), secrets.token_urlsafe(30), name, policies, limits)

    def _create(self, id: str, secret: str, name: str, policies: Policies, limits: KeyChanges) -> NewKey:
        self.check_master_key()
        chosen = _chosen(policies)
        if not {"rate", "burst", "quota"} & {key for key, value in limits.items() if value is not None}:
            invokes = [Policy.stored(one.document).only_allows(INVOKE_ACTION) for one in chosen]
            if invokes and all(invokes):
                limits = {**limits, "rate": INVOKE_RATE, "burst": INVOKE_BURST}
        now = self._clock.now()
        row: dict[str, Any] = {
            "id": id,
            "name": check_key_name(name or id[:64]),
            "secret_box": self._box.seal(secret.encode(), context=_context(id)),
            "policies": stored_policies(chosen),
            **check_plan(
                limits.get("rate"), limits.get("burst"), limits.get("quota"), limits.get("window", "")
            ),
            **as_columns({"allow": (), "deny": (), "origins": (), **limits}),
            "created": now,
            "expires": _end(now, limits.get("expires_s")),
        }
        if len(self._records.keys(now)) >= MOST_KEYS:
            raise LimitReached(f"keys: there are {MOST_KEYS} already")
        if not self._records.add(row):
            raise Conflict(f"id: a key {id} exists already")
        self._forget()
        self._journal.write("server", "keys", "created", key=id, key_name=row["name"])
        return NewKey(self.get_key(id), secret)

    def list_keys(self) -> list[Key]:
        """Return every key, the oldest first."""
        return [key for key, _ in self._records.keys(self._clock.now())]

    def get_key(self, id: str) -> Key:
        """Return a key.

        Raises:
            NotFound: There is none of this id.
        """
        found = self._records.key(id, self._clock.now())
        if found is None:
            raise NotFound(f"key: there is no key {shown(id)}")
        return found

    def revoke_key(self, id: str) -> Key:
        """Refuse a key from now on, in every process within 1 s; its sessions end. Revoking it again changes nothing.

        Raises:
            NotFound: There is none of this id.
        """
        before = self.get_key(id)
        if before.revoked is None:
            self._records.revoke(id, self._clock.now())
            self._forget()
            self._journal.write("server", "keys", "revoked", key=id, key_name=before.name)
        return self.get_key(id)

    def set_policies(self, id: str, policies: Policies) -> Key:
        """Give a key these policies in the place of those that it has.

        Raises:
            NotFound: There is no such key, or no policy of this name is shipped.
            InvalidInput: A policy is none.
        """
        self.get_key(id)
        chosen = _chosen(policies)
        self._change(id, {"policies": stored_policies(chosen)})
        self._journal.write("server", "keys", "policies", key=id, policies=[one.name for one in chosen])
        return self.get_key(id)

    def update_key(self, id: str, **changes: Unpack[KeyChanges]) -> Key:
        """Change a key's plan, addresses, origins or end; what is not named stays.

        Raises:
            NotFound: There is none of this id.
            InvalidInput: A value is out of its range.
        """
        key = self.get_key(id)
        if "rate" in changes and "burst" not in changes:
            changes = {**changes, "burst": None if changes["rate"] is None else key.burst}
        values = as_columns(changes)
        if {"rate", "burst", "quota", "window"} & set(changes):
            quota = changes.get("quota", key.quota)
            window = changes.get("window", key.window) if quota is not None else ""
            rate, burst = changes.get("rate", key.rate), changes.get("burst", key.burst)
            values |= check_plan(rate, burst, quota, window)
        if "expires_s" in changes:
            values["expires"] = _end(self._clock.now(), changes["expires_s"])
        if values:
            self._change(id, values)
            self._journal.write("server", "keys", "changed", key=id, fields=sorted(values))
        return self.get_key(id)

    def test_policy(
        self, id: str, action: str, resource: str, context: Mapping[str, str | Sequence[str]] | None = None
    ) -> Decision:
        """Return what a key's policies say about an action; addresses, plan and state of the key play no part.

        Raises:
            NotFound: There is none of this id.
        """
        key = self.get_key(id)
        known = {"aws:username": key.name, "aws:PrincipalArn": user_arn(key.name)}
        return decide(
            self.policies_of(key), action=action, resource=resource, context={**known, **(context or {})}
        )

    def first_key(self, preset: tuple[str, str] | None = None) -> NewKey | None:
        """Return the key that a start makes: the preset one, or `admin` when there is no key; None otherwise.

        A preset is a declaration: after each start its id exists with its secret and the policy `admin`, and works.

        Raises:
            InvalidInput: Id or secret of the preset are out of their range.
            Conflict: The master key is not the one that the secrets were sealed with.
        """
        self.check_master_key()
        if preset is None:
            return None if self._records.sealed() else self.create_key("admin", ["admin"])
        id, secret = check_id(preset[0], "access_key_id"), check_secret(preset[1], "secret_access_key")
        found = self.secret_of(id)
        wanted = _chosen(["admin"])
        if found is None or not _same(found[1], secret) or found[0].policies != wanted:
            self._declare(id, secret, wanted)
        return NewKey(self.get_key(id), secret, preset=True)

    def _declare(self, id: str, secret: str, policies: tuple[KeyPolicy, ...]) -> None:
        values = {
            "secret_box": self._box.seal(secret.encode(), context=_context(id)),
            "policies": stored_policies(policies),
            "expires": None,
            "revoked": None,
        }
        if self._records.key(id, self._clock.now()) is None:
            self._create(id, secret, "admin", ["admin"], {})
        else:
            self._change(id, values)

    def check_master_key(self) -> None:
        """Return when the secrets of keys can be opened.

        Raises:
            Conflict: They were sealed under another master key.
        """
        sealed = self._records.sealed()
        if sealed is None:
            return
        try:
            self._box.open(sealed[1], context=_context(sealed[0]))
        except Conflict as error:
            raise Conflict(
                "master_key_file: the keys of this installation were sealed with another master key; put that one "
                "back as master.key in the data folder, or name its file in MASTHEAD_MASTER_KEY_FILE"
            ) from error

    # ------------------------------------------------------------------ who comes

    def secret_of(self, id: str) -> tuple[Key, str] | None:
        """Return a key that opens something now, and its secret; None for any other. No request reads the database."""
        known = self._follow()
        found = known.keys.get(id)
        if found is None or not found[0].is_live(self._clock.now()):
            return None
        secret = known.secrets.get(id)
        if secret is None:
            try:
                secret = self._box.open(found[1], context=_context(id)).decode()
            except Conflict:
                _LOG.error("the secret of a key cannot be opened", key=id)
                return None
            known.secrets[id] = secret
        return found[0], secret

    def authenticate(self, token: str) -> Key | None:
        """Return the key of `ID.SECRET`, None when it opens nothing; both take the same time."""
        id, _, given = token.partition(".")
        found = self.secret_of(id)
        right = _same(found[1] if found else _NOBODY, given)
        return found[0] if found and right else None

    def policies_of(self, key: Key) -> tuple[tuple[str, Policy], ...]:
        """Return a key's policies, compiled; one that cannot be read denies everything."""
        compiled = self._follow().compiled
        found = compiled.get(key.id)
        if found is None or found[0] is not key.policies:
            found = compiled[key.id] = (
                key.policies,
                tuple((one.name, _compiled(one)) for one in key.policies),
            )
        return found[1]

    # ------------------------------------------------------------------ the console

    def make_link(self, id: str = "") -> str:
        """Return the token of a link that opens one session within ten minutes.

        Args:
            id: Whose session it will be; none: of the oldest key with the policy `admin`.

        Raises:
            NotFound: There is no such key.
            Conflict: It does not work any more.
        """
        now = self._clock.now()
        key = self.get_key(id) if id else self._administrator()
        if not key.is_live(now):
            raise Conflict(f"key: the key {key.id} is {key.state}")
        token = secrets.token_urlsafe(32)
        self._records.add_link(_digest(token), key.id, now, now + timedelta(seconds=LINK_S))
        return token

    def _administrator(self) -> Key:
        wanted = _chosen(["admin"])[0]
        for key in self.list_keys():
            if key.state == "active" and wanted in key.policies:
                return key
        raise NotFound("key: no key that works has the policy admin; name another with --key", field="key")

    def open_session(self, link: str) -> str | None:
        """Return the token of a new session; None when the link was used, is too old, or its key has ended."""
        now = self._clock.now()
        id = self._records.take_link(_digest(link), now)
        known = self._follow().keys.get(id) if id else None
        if known is None or not known[0].is_live(now):
            return None
        token = secrets.token_urlsafe(32)
        ends, idle = now + timedelta(seconds=SESSION_S), now - timedelta(seconds=IDLE_S)
        self._records.add_session(_digest(token), known[0].id, now, ends, idle)
        return token

    def session(self, token: str) -> Key | None:
        """Return the key of a session that lasts, and note that it is in use; None for any other."""
        known, digest, now = self._follow(), _digest(token), self._clock.now()
        found = known.sessions.get(digest)
        if found is None or now >= found.seen + timedelta(
            seconds=IDLE_S
        ):  # another process may have seen it since
            row = self._records.session(digest)
            if row is None:
                return None
            found = _Session(row[0], row[1], row[1], row[2])
        if now >= found.ends or now >= found.seen + timedelta(seconds=IDLE_S):
            return None
        found.seen = max(found.seen, now)
        if now >= found.noted + timedelta(seconds=_SEEN_S):
            found.noted = now
            self._records.see_session(digest, now)
        if len(known.sessions) >= _MOST_SESSIONS:
            known.sessions.clear()
        known.sessions[digest] = found
        key = known.keys.get(found.key)
        return key[0] if key and key[0].is_live(now) else None

    def close_session(self, token: str) -> None:
        """End a session, in every process within 1 s; an unknown one is no error."""
        self._records.delete_session(_digest(token))
        self._forget()

    # ------------------------------------------------------------------ inside

    def refresh(self) -> None:
        """Follow what another process has changed."""
        version, known = self._database.version(), self._known
        if known is None or version == self._version:
            return
        if self._records.revision() != known.revision:
            self._forget()
        self._version = version

    def _follow(self) -> _Known:
        """Return what is known, looked after at most twice a second."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_S:
            self._looked = now
            self.refresh()
        known = self._known
        return known if known is not None else self._load()

    def _load(self) -> _Known:
        with self._lock:
            if self._known is not None:
                return self._known
            # Versions first: what changes while the rows are read is seen at the next look.
            self._version = self._database.version()
            revision = self._records.revision()
            rows = self._records.keys(self._clock.now())
            found = _Known(revision, {key.id: (key, sealed) for key, sealed in rows})
            self._known = found
            return found

    def _forget(self) -> None:
        with self._lock:
            self._known = None

    def _change(self, id: str, values: Mapping[str, Any]) -> None:
        if not self._records.change(id, values):
            raise NotFound(f"key: there is no key {shown(id)}")
        self._forget()


def _chosen(policies: Policies) -> tuple[KeyPolicy, ...]:
    """Return policies by name or document, each read."""
    if len(policies) > MOST_POLICIES:
        raise InvalidInput(f"policies: expected at most {MOST_POLICIES} of one key, got {len(policies)}")
    found: dict[str, KeyPolicy] = {}
    for one in policies:
        name, document = (one, None) if isinstance(one, str) else one
        if document is None and name not in SHIPPED:
            raise NotFound(f"policies: there is no policy {shown(name)}; shipped are {', '.join(SHIPPED)}")
        if document is not None and name in SHIPPED and document != SHIPPED[name]:
            raise InvalidInput(f"policies: {name} is a shipped policy's name; give this one another")
        if name in found:
            raise InvalidInput(f"policies: expected names that differ, got {shown(name)} twice")
        read = Policy.parse(SHIPPED[name] if document is None else document)
        found[check_key_name(name)] = KeyPolicy(name, read.document)
    return tuple(found.values())


def _compiled(policy: KeyPolicy) -> Policy:
    try:
        return Policy.stored(policy.document)
    except InvalidInput as error:
        _LOG.error("a policy cannot be read and denies everything", policy=policy.name, error=error.message)
        return NOTHING


def _same(secret: str, given: str) -> bool:
    """Compare in constant time, whatever the lengths."""
    wanted, got = (hashlib.sha256(text.encode(errors="replace")).digest() for text in (secret, given))
    return hmac.compare_digest(wanted, got)


def _new_id() -> str:
    """Return `MHAK` and 80 random bits; no `AKIA`, or secret scanners would report a leak to Amazon."""
    return "MHAK" + "".join(secrets.choice(_ALPHABET) for _ in range(16))


def _context(id: str) -> str:
    return f"access_key:{id}"


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _end(now: datetime, expires_s: float | None) -> datetime | None:
    if expires_s is None:
        return None
    if not 1 <= expires_s <= 100 * 366 * 86_400:
        raise InvalidInput(f"expires: expected 1 second to 100 years, got {shown(expires_s)} s")
    return now + timedelta(seconds=expires_s)
