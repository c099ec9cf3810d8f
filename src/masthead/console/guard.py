"""What pages are handed in the place of the product: every verb first asks the policies of who looks at the page.

A page opened an hour ago must not do what its key may not do any more, so session and key are looked up at each call.
"""

import inspect
import time
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, cast

from masthead.access.audit import AuditEntry
from masthead.access.gate import Caller
from masthead.access.verbs import VERBS, Deed
from masthead.access.visit import Refused, SignedOut, Visit
from masthead.app import Masthead
from masthead.base.errors import MastheadError, NotFound

_ROOMS = frozenset(
    {
        "access",
        "alerts",
        "endpoints",
        "flows",
        "fraud",
        "journal",
        "metrics",
        "pipelines",
        "portal",
        "streams",
    }
)
_STATUS = {"InvalidInput": 400, "NotFound": 404, "Conflict": 409, "LimitReached": 429}  # as the API answers
_FREE = frozenset({"clock", "settings"})


class Guard:
    """Asks on behalf of one visit."""

    def __init__(self, masthead: Masthead, visit: Visit | None) -> None:
        self._masthead, self._visit = masthead, visit

    def product(self) -> Masthead:
        """Return the product as this visit may use it."""
        return cast(Masthead, _Guarded(self, self._masthead, ""))

    def do(self, verb: str, do: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do a verb and return what it returns.

        Raises:
            SignedOut: The session has ended, or the key of it.
            Refused: No policy allows it, or one forbids it.
            LimitReached: The audit cannot be written, so nothing may be changed.
        """
        deed, gate = VERBS[verb], self._masthead.gate
        caller = self._visit.still(self._masthead.keys) if self._visit else None
        if caller is None:
            raise SignedOut("session: it has ended; sign in again")
        arns = deed.arns(_values(do, args, kwargs), caller.region, self._detector_of)
        note = partial(self._note, caller, verb, deed, arns, time.perf_counter())
        if deed.changes:
            gate.audit.check()
        refusal = gate.authorise(caller, deed.action, arns)
        if refusal is not None:
            note(403, "Forbidden")
            raise Refused(refusal)
        try:
            found = do(*args, **kwargs)
        except Exception as error:
            code = error.code if isinstance(error, MastheadError) else "Error"
            note(_STATUS.get(code, 500), code)
            raise
        note(200, "")
        return found

    def _note(
        self,
        caller: Caller,
        verb: str,
        deed: Deed,
        arns: tuple[str, ...],
        began: float,
        status: int,
        code: str,
    ) -> None:
        entry = AuditEntry(
            request_id=uuid.uuid4().hex,
            key_id=caller.key.id,
            key_name=caller.key.name,
            address=caller.address,
            face="console",
            service=deed.action.partition(":")[0],
            operation=verb,
            action=deed.action,
            resources=arns,
            region=caller.region,
            code=code,
            status=status,
            latency_ms=(time.perf_counter() - began) * 1000,
            user_agent=caller.user_agent,
        )
        self._masthead.gate.note(entry, read=not deed.changes and status != 403)

    def _detector_of(self, group: str) -> str:
        try:
            return self._masthead.metrics.get_group(group).detector
        except NotFound:
            return "*"


class _Guarded:
    """A room whose verbs ask first; what is no verb of `access.verbs` is not there."""

    def __init__(self, guard: Guard, inner: Any, room: str) -> None:
        self._guard, self._inner, self._room = guard, inner, room

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not self._room and name in _FREE:
            return found
        if not self._room and name in _ROOMS:
            return _Guarded(self._guard, found, name)
        verb = f"{self._room}.{name}" if self._room else name
        if verb not in VERBS:
            raise AttributeError(f"{verb}: no verb that the console may use")
        return partial(self._guard.do, verb, found)


def _values(do: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a call by name, with the fields of what is given as a whole."""
    given = dict(zip(_parameters(getattr(do, "__func__", do)), args, strict=False)) | dict(kwargs)
    found: dict[str, Any] = {}
    for value in given.values():
        if isinstance(value, Mapping):
            found |= value
        elif not isinstance(value, str) and isinstance(name := getattr(value, "name", None), str):
            found["name"] = name
    return found | {name: value for name, value in given.items() if isinstance(value, str)}


@lru_cache(256)
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(function).parameters if name != "self")
