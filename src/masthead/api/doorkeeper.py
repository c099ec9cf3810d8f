"""Who is let in: every request but those about health shows a key, or belongs to a session of the console.

Keys come as `Authorization: Bearer ID.SECRET` or `x-api-key: ID.SECRET`; sessions as a cookie. A web page of another
origin is answered only when the key that it shows names that origin (Fetch Standard, CORS protocol). What was refused
and what changes something goes to the audit before it is answered.
"""

import contextlib
import hashlib
import hmac
import time
import uuid
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response

from masthead.access.audit import AuditEntry
from masthead.access.gate import Caller, Gate
from masthead.access.keys import Key, KeyService
from masthead.access.refusals import Refusal
from masthead.access.verbs import Deed
from masthead.access.visit import VISIT, Visit
from masthead.api.middleware import App, Message, Receive, Scope, Send, error_response
from masthead.base.addresses import Network, client_address
from masthead.base.errors import LimitReached, shown

REGION = "us-east-1"
"""What resources' names say to policies where no region is set: one Masthead is one place."""

SIGN_IN, SIGN_OUT = "/ui/signin", "/ui/signout"
AUDITED = "masthead.audited"
"""Where a request's scope holds what the audit will say of it."""

_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
_OWNERS = frozenset({"/backup", "/clock", "/follow"})
_DOOR = "/ingest/"  # open to the folder's owner too, who simulates readings
_PAGES = ("/ui", "/docs")
_ASSETS = "/ui/_nicegui/"  # the same for everybody; they do not count as requests of a key
_METHODS = "GET, POST, PUT, PATCH, DELETE"
_HEADERS = "authorization, x-api-key, content-type, content-encoding, accept"
_READABLE = "x-request-id, retry-after, content-disposition"
_REMEMBER_S = 600


@dataclass(slots=True)
class Audited:
    """What has become known of one request; the audit tells it."""

    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    began: float = field(default_factory=time.perf_counter)
    address: str = ""
    caller: Caller | None = None
    verb: str = ""
    deed: Deed | None = None
    resources: tuple[str, ...] = ()
    code: str = ""
    refused: bool = False
    silent: bool = False
    body: Any = field(default_factory=hashlib.sha256)
    body_read: bool = False

    def entry(self, scope: Scope, status: int, face: str) -> AuditEntry:
        """Return the line."""
        key = self.caller.key if self.caller else None
        action = self.deed.action if self.deed else ""
        return AuditEntry(
            request_id=self.request_id,
            key_id=key.id if key else "",
            key_name=key.name if key else "",
            address=self.address,
            face=face,
            service=action.partition(":")[0],
            operation=self.verb or f"{scope['method']} {scope['path']}",
            action=action,
            resources=self.resources,
            region=self.caller.region if self.caller else "",
            code=self.code,
            status=status,
            latency_ms=(time.perf_counter() - self.began) * 1000,
            user_agent=Headers(scope=scope).get("user-agent", ""),
            body_sha256=self.body.hexdigest() if self.body_read else "",
        )


def cookie_name(port: int) -> str:
    """Return the name of the cookie that holds a session: browsers keep cookies by host, not by port."""
    return f"masthead_session_{port}"


def session_cookie(scope: Scope) -> str:
    """Return the name of the session's cookie at the door that a request came by."""
    server = scope.get("server") or ("", 0)
    return cookie_name(server[1])


def origin_of(headers: Headers) -> str | None:
    """Return the origin of the page that calls when it is not one of this very host and port, else None."""
    origin = headers.get("origin")
    own = headers.get("host", "").lower()
    return None if origin is None or origin.lower().partition("://")[2] == own else origin


class Doorkeeper:
    """Lets requests in, and notes who was refused and what was changed."""

    def __init__(
        self,
        app: App,
        *,
        keys: KeyService,
        gate: Gate,
        token: str,
        console: bool,
        region: str,
        trusted: Sequence[Network] = (),
    ) -> None:
        self._app, self._keys, self._gate = app, keys, gate
        self._token, self._console, self._region, self._trusted = token, console, region, trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        peer = (scope.get("client") or ("", 0))[0]
        told = scope[AUDITED] = Audited(
            address=client_address(peer, headers.get("x-forwarded-for", ""), self._trusted)
        )
        answers = _Answers(self._gate, scope, send, told, origin_of(headers))
        refused = await self._refused(scope, headers, told, answers.origin)
        if refused is None:
            try:
                await self._app(scope, _hashed(receive, told), answers.send)
            except Exception:
                answers.failed()
                raise
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "sign in"})
        else:
            await refused(scope, receive, answers.send)

    async def _refused(
        self, scope: Scope, headers: Headers, told: Audited, origin: str | None
    ) -> Response | None:
        """Return the answer to who may not come in; None lets the request in."""
        if origin is not None:
            known = await run_in_threadpool(self._names, origin)
            if not known or scope["path"] in (SIGN_IN, SIGN_OUT):
                return _forbidden(told, _foreign(origin, headers), "origin")
            if scope.get("method") == "OPTIONS" and "access-control-request-method" in headers:
                told.silent = True
                return _preflight(origin)
        if scope["path"] in _OPEN or (self._console and scope["path"] in (SIGN_IN, SIGN_OUT)):
            told.silent = True
            return None
        owners = scope["path"] in _OWNERS or scope["path"].startswith(_DOOR)
        if owners and _same(headers.get("authorization", ""), f"Bearer {self._token}"):
            told.silent = True
            return None
        if _shown(headers) is not None:
            return self._by_key(scope, headers, told, origin)
        return await self._by_session(scope, headers, told, origin)

    # ------------------------------------------------------------------ ways in

    def _by_key(self, scope: Scope, headers: Headers, told: Audited, origin: str | None) -> Response | None:
        given = _shown(headers) or ""
        if (refusal := self._gate.blocked(told.address)) is not None:
            told.silent = True  # a flood must not fill the disk; the failures before it have their lines
            return refused_response(told, refusal)
        key = self._keys.authenticate(given)
        if key is None:
            self._gate.failed(told.address)
            return _unauthenticated(told, "key: expected ID.SECRET of a key that works, got another")
        told.caller = self._caller(scope, headers, told, key)
        if origin is not None and not _is_of(key, origin):
            return _forbidden(told, _foreign(origin, headers), "origin")
        return self._admitted(scope, told, Visit(told.caller))

    async def _by_session(
        self, scope: Scope, headers: Headers, told: Audited, origin: str | None
    ) -> Response | None:
        token = cookie_of(headers, session_cookie(scope))
        key = await run_in_threadpool(self._keys.session, token) if token else None
        if key is None:
            return self._to_sign_in(scope, headers, told)
        told.caller = self._caller(scope, headers, told, key)
        if origin is not None:  # a cookie comes along whoever calls; only a shown key speaks for another page
            return _forbidden(told, _foreign(origin, headers), "origin")
        return self._admitted(scope, told, Visit(told.caller, token))

    def _admitted(self, scope: Scope, told: Audited, visit: Visit) -> Response | None:
        scope[VISIT] = visit
        if scope["path"].startswith(_ASSETS):
            return None
        refusal = self._gate.admit(visit.caller)
        return None if refusal is None else refused_response(told, refusal)

    def _to_sign_in(self, scope: Scope, headers: Headers, told: Audited) -> Response:
        """Return the way to the sign-in page for a person, and a plain refusal for a program."""
        page = scope["path"] == "/" or scope["path"].startswith(_PAGES)
        if self._console and page and "text/html" in headers.get("accept", ""):
            told.silent = True
            wanted = scope["path"] + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
            return RedirectResponse(f"{SIGN_IN}?next={quote(wanted, safe='/')}", 303)
        return _unauthenticated(told, "key: expected the header x-api-key: ID.SECRET, got none")

    def _caller(self, scope: Scope, headers: Headers, told: Audited, key: Key) -> Caller:
        return Caller(
            key,
            told.address,
            secure=scope["scheme"] in ("https", "wss"),
            user_agent=headers.get("user-agent", ""),
            region=self._region,
        )

    def _names(self, origin: str) -> bool:
        return any(_is_of(key, origin) for key in self._keys.list_keys() if key.state == "active")


class _Answers:
    """Passes an answer on once the audit has its line; a change without one is answered with 503."""

    def __init__(self, gate: Gate, scope: Scope, send: Send, told: Audited, origin: str | None) -> None:
        self._gate, self._scope, self._send, self._told, self.origin = gate, scope, send, told, origin
        self._replaced = False

    async def send(self, message: Message) -> None:
        """Send one message of an answer."""
        if message["type"] == "http.response.start":
            await self._start(message)
        elif not self._replaced:
            await self._send(message)

    def failed(self) -> None:
        """Note a change that ended in a fault of ours; its answer of 500 is sent from outside."""
        self._told.code = "Error"
        with contextlib.suppress(LimitReached):
            self._note(500)

    async def _start(self, message: Message) -> None:
        told, headers = self._told, message.setdefault("headers", [])
        try:
            self._note(message["status"])
        except LimitReached as error:
            if told.deed is not None and told.deed.changes and message["status"] < 500:
                self._replaced = True
                answer = error_response(503, "LimitReached", error.message, "audit")
                answer.headers["retry-after"] = "5"
                await answer(self._scope, _nothing, self._send)
                return
        headers.append((b"x-request-id", told.request_id.encode()))
        if self.origin is not None and told.caller is not None and _is_of(told.caller.key, self.origin):
            headers += [
                (b"access-control-allow-origin", self.origin.encode()),
                (b"access-control-expose-headers", _READABLE.encode()),
                (b"vary", b"Origin"),
            ]
        await self._send(message)

    def _note(self, status: int) -> None:
        told = self._told
        if told.silent:
            return
        read = not (told.refused or (told.deed is not None and told.deed.changes))
        if not read or told.deed is not None:
            self._gate.note(told.entry(self._scope, status, "api"), read=read)


def refused_response(told: Audited, refusal: Refusal) -> Response:
    """Return the answer to a caller whom the gate refuses, and let the audit know."""
    if refusal.kind in ("denied", "address"):
        return _forbidden(told, refusal.message, None)
    told.refused, told.code = True, "LimitReached"
    answer = error_response(429, "LimitReached", refusal.message)
    answer.headers["retry-after"] = str(max(1, -int(-refusal.retry_after_s // 1)))
    return answer


def _forbidden(told: Audited, message: str, about: str | None) -> Response:
    told.refused, told.code = True, "Forbidden"
    return error_response(403, "Forbidden", message, about)


def _unauthenticated(told: Audited, message: str) -> Response:
    told.refused, told.code = True, "Unauthenticated"
    answer = error_response(401, "Unauthenticated", message, "key")
    answer.headers["www-authenticate"] = 'Bearer realm="masthead"'
    return answer


def _preflight(origin: str) -> Response:
    """Answer a browser that asks before it calls; the call itself is refused when its key does not name the origin."""
    headers = {
        "access-control-allow-origin": origin,
        "access-control-allow-methods": _METHODS,
        "access-control-allow-headers": _HEADERS,
        "access-control-max-age": str(_REMEMBER_S),
        "vary": "Origin",
    }
    return Response(status_code=204, headers=headers)


def _foreign(origin: str, headers: Headers) -> str:
    host = headers.get("host", "")
    return f"origin: expected a page of {host}, or one that the shown key names, got {shown(origin, 100)}"


def _is_of(key: Key, origin: str) -> bool:
    return origin in key.origins or "*" in key.origins


def _shown(headers: Headers) -> str | None:
    """Return the credentials that a program shows; None when it shows none."""
    if (given := headers.get("x-api-key")) is not None:
        return given.strip()
    scheme, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else None


def cookie_of(headers: Headers, name: str) -> str:
    """Return the value of a cookie; "" without it."""
    return cookie_parser(headers.get("cookie", "")).get(name, "")


def _same(given: str, wanted: str) -> bool:
    return wanted != "Bearer " and hmac.compare_digest(given.encode(), wanted.encode())


def _hashed(receive: Receive, told: Audited) -> Receive:
    async def hashed() -> Message:
        message = await receive()
        if body := message.get("body"):
            told.body.update(body)
            told.body_read = True
        return message

    return hashed


async def _nothing() -> MutableMapping[str, Any]:
    return {"type": "http.disconnect"}
