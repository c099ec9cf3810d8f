"""What every face asks before it does anything: may this caller come, and may it do this. Answers are values."""

import ipaddress
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client import Counter, Gauge

from masthead.access.arns import user_arn
from masthead.access.audit import Audit, AuditEntry
from masthead.access.conditions import read_address, read_network
from masthead.access.keys import Key, KeyService
from masthead.access.policy import decide
from masthead.access.refusals import Refusal
from masthead.access.throttle import Left, Throttle
from masthead.base.clock import Clock
from masthead.base.log import get_logger
from masthead.base.telemetry import REGISTRY

__all__ = ["AuditEntry", "Caller", "Gate", "Refusal"]

MOST_FAILURES, FAILURES_S = 10, 60.0
"""Failed authentications that one address may make in so many seconds."""

MOST_ADDRESSES = 10_000
_SYNC_S, _FLUSH_S = 1.0, 5.0
_LOG = get_logger("access")
_REFUSALS = Counter("masthead_refusals", "Requests that were refused.", ["kind"], registry=REGISTRY)
_QUOTA_LEFT = Gauge(
    "masthead_key_quota_left", "Requests that a key has left of its quota.", ["key"], registry=REGISTRY
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request, and from where.

    Attributes:
        key: The key that was proved.
        address: Where it comes from.
        secure: It came by TLS.
        user_agent: What it calls itself.
        region: The region that it speaks of.
    """

    key: Key
    address: str
    secure: bool = False
    user_agent: str = ""
    region: str = ""


class Gate:
    """The one gate of a process. Every method may be called from any thread."""

    def __init__(
        self,
        keys: KeyService,
        throttle: Throttle,
        audit: Audit,
        clock: Clock,
        *,
        audit_reads: bool = False,
        tags_of: Callable[[str], Mapping[str, str]] = lambda resource: {},
    ) -> None:
        self._keys, self._throttle, self._audit, self._clock = keys, throttle, audit, clock
        self._audit_reads, self._tags_of = audit_reads, tags_of
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._resting = threading.Event()
        self._keeper: threading.Thread | None = None

    def admit(self, caller: Caller) -> Refusal | None:
        """Count a request of a caller; return why it may not come."""
        self._keep()
        refusal = self._by_address(caller) or self._throttle.admit(caller.key)
        return self._told(refusal)

    def authorise(
        self,
        caller: Caller,
        action: str,
        resources: Sequence[str],
        extra: Mapping[str, str | Sequence[str]] | None = None,
    ) -> Refusal | None:
        """Return why a caller may not do `action` on all of `resources`.

        Args:
            caller: Who asks.
            action: `service:Action`.
            resources: ARNs; none: the action is about `*`.
            extra: Condition keys of this request, say `aws:TagKeys`. Those of the tags of a resource are looked up
                here, where a policy asks for them.
        """
        policies, context = self._keys.policies_of(caller.key), self.context(caller)
        if extra:
            context.update(extra)
        tagged = any(policy.asks_for_tags for _, policy in policies)
        for resource in resources or ("*",):
            tags = self._tags_of(resource) if tagged else {}
            known = {**context, **{f"aws:ResourceTag/{name}": value for name, value in tags.items()}}
            found = decide(policies, action=action, resource=resource, context=known)
            if not found.allowed:
                return self._told(
                    Refusal("denied", _denial(caller.key.name, action, resource, found.explicit))
                )
        return None

    def context(self, caller: Caller) -> dict[str, str | Sequence[str]]:
        """Return the condition keys that every request has."""
        now, name = self._clock.now(), caller.key.name
        found: dict[str, str | Sequence[str]] = {
            "aws:SourceIp": caller.address,
            "aws:CurrentTime": now.isoformat(timespec="seconds"),
            "aws:EpochTime": str(int(now.timestamp())),
            "aws:SecureTransport": "true" if caller.secure else "false",
            "aws:username": name,
            "aws:PrincipalArn": user_arn(name),
        }
        if caller.user_agent:
            found["aws:UserAgent"] = caller.user_agent
        if caller.region:
            found["aws:RequestedRegion"] = caller.region
        return found

    def failed(self, address: str) -> None:
        """Remember that somebody at an address could not prove who it is."""
        place, now = _place(address), self._clock.time()
        with self._lock:
            failures = self._failures.setdefault(place, deque(maxlen=MOST_FAILURES))
            failures.append(now)
            self._failures.move_to_end(place)
            while len(self._failures) > MOST_ADDRESSES:
                self._failures.popitem(last=False)

    def blocked(self, address: str) -> Refusal | None:
        """Return why nobody at an address is listened to now."""
        place, now = _place(address), self._clock.time()
        with self._lock:
            failures = self._failures.get(place)
            if not failures:
                return None
            if now - failures[-1] >= FAILURES_S:
                del self._failures[place]
                return None
            wait_s = failures[0] + FAILURES_S - now
            if len(failures) < MOST_FAILURES or wait_s <= 0:
                return None
        told = f"Too many failed authentications from {address}; come again in {wait_s:.0f} s"
        return self._told(Refusal("failures", told, wait_s))

    def note(self, entry: AuditEntry, *, read: bool = False) -> None:
        """Write a line of the audit; one about a mere read only when that was asked for.

        Raises:
            LimitReached: It cannot be written; a mutation must not be done then.
        """
        if read and not self._audit_reads:
            return
        self._keep()
        self._audit.write(entry)

    def left(self, key: Key) -> Left:
        """Return what a key has left of rate and quota."""
        return self._throttle.left(key)

    @property
    def audit(self) -> Audit:
        """Return the audit, to read it."""
        return self._audit

    def close(self) -> None:
        """Write down use and audit, and rest."""
        self._resting.set()
        if self._keeper is not None:
            self._keeper.join()
        self._flush()
        self._audit.close()

    # ------------------------------------------------------------------ inside

    def _by_address(self, caller: Caller) -> Refusal | None:
        key = caller.key
        if not key.allow and not key.deny:
            return None
        address = read_address(caller.address)
        if address is not None:
            denied = any(address in network for network in _networks(key.deny))
            allowed = not key.allow or any(address in network for network in _networks(key.allow))
            if allowed and not denied:
                return None
        return Refusal("address", f"Key {key.id} may not be used from {caller.address}")

    def _keep(self) -> None:
        """See to it that use and audit are written down from time to time."""
        if self._keeper is None:
            with self._lock:
                if self._keeper is None and not self._resting.is_set():
                    self._keeper = threading.Thread(target=self._run, name="gate", daemon=True)
                    self._keeper.start()

    def _run(self) -> None:
        passed_s = 0.0
        while not self._resting.wait(_SYNC_S):
            self._audit.sync()
            passed_s += _SYNC_S
            if passed_s >= _FLUSH_S:
                passed_s = 0.0
                self._flush()

    def _flush(self) -> None:
        try:
            self._throttle.flush()
            self._tell_quotas()
        except Exception as error:  # the counts are kept, and tried again
            _LOG.error("the use of keys cannot be written down", error=repr(error))

    def _tell_quotas(self) -> None:
        """Tell Prometheus what each key that has a quota has left of it."""
        left = {
            key.id: found
            for key in self._keys.list_keys()
            if key.state == "active" and (found := self._throttle.left(key).quota) is not None
        }
        _QUOTA_LEFT.clear()
        for key, count in left.items():
            _QUOTA_LEFT.labels(key).set(count)

    def _told(self, refusal: Refusal | None) -> Refusal | None:
        if refusal is not None:
            _REFUSALS.labels(refusal.kind).inc()
        return refusal


def _denial(name: str, action: str, resource: str, explicit: bool) -> str:
    """Return AWS's words."""
    reason = (
        "with an explicit deny in an identity-based policy"
        if explicit
        else f"because no identity-based policy allows the {action} action"
    )
    return f"User: {user_arn(name)} is not authorized to perform: {action} on resource: {resource} {reason}"


@lru_cache(1024)
def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(read_network(text, "address") for text in texts)


def _place(address: str) -> str:
    """Return what counts as one address: of IPv6 the first 64 bits, since one owner has them all."""
    found = read_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return address
