"""`/ui/signin`: a one-time link or a key becomes a session of the console, kept in a cookie.

The link is used by a POST that the page sends itself: whatever looks at an address beforehand (a chat, a virus scanner)
must not use it up. The page loads nothing, so that it needs no session.
"""

import html
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from masthead.access.gate import Caller
from masthead.access.keys import SESSION_S
from masthead.access.refusals import Refusal
from masthead.api.doorkeeper import AUDITED, SIGN_IN, SIGN_OUT, Audited, cookie_of, session_cookie
from masthead.app import Masthead
from masthead.base.errors import LimitReached

router = APIRouter(include_in_schema=False)
_MOST_BYTES = 8_192
_HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "strict-origin",  # none at all would make the browser send the form with Origin: null
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data:; base-uri 'none'; frame-ancestors 'none'",
}
_STYLE = """
:root { color-scheme: light dark; --page: #f6f8fa; --card: #fff; --line: #dfe4ea; --soft: #556270; --text: #1b232c; }
@media (prefers-color-scheme: dark) {
  :root { --page: #11161c; --card: #19212a; --line: #2b3541; --soft: #a3b0be; --text: #e8edf2; } }
body { background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; margin: 0; }
header { background: #12304f; color: #fff; padding: 12px 20px; font-size: 1.25rem; }
main { background: var(--card); border: 1px solid var(--line); border-radius: 8px; max-width: 520px;
  margin: 48px auto; padding: 24px; }
h1 { font-size: 1.25rem; margin: 0 0 12px; }
code { font: 14px ui-monospace, monospace; background: var(--page); border: 1px solid var(--line); border-radius: 4px;
  padding: 2px 6px; }
label { display: block; color: var(--soft); margin-top: 20px; }
input { box-sizing: border-box; width: 100%; font: inherit; padding: 8px; margin-top: 4px; border-radius: 4px;
  border: 1px solid var(--soft); background: var(--card); color: inherit; }
button { font: inherit; margin-top: 12px; padding: 8px 20px; border: 0; border-radius: 4px; background: #2b6cb0;
  color: #fff; cursor: pointer; }
:focus-visible { outline: 2px solid #4084c4; outline-offset: 2px; }
.told { border-left: 4px solid #c53030; padding-left: 12px; }
"""


@router.get(SIGN_IN)
async def page(link: str = "", next: str = "/ui/") -> HTMLResponse:
    """Return the page; with a link it goes on by itself."""
    return _page(_with_link(link, next) if link else _with_key(next))


@router.post(SIGN_IN)
async def sign_in(request: Request) -> Response:
    """Open a session for a link or a key, and lead to where one wanted to go."""
    masthead: Masthead = request.app.state.masthead
    told: Audited = request.scope[AUDITED]
    told.silent, told.verb = False, "sign in"
    if int(request.headers.get("content-length") or _MOST_BYTES + 1) > _MOST_BYTES:
        return _again("The form is too large.", 413)
    given = parse_qs((await request.body()).decode(errors="replace"))
    link, key, wanted = (given.get(name, [""])[0].strip() for name in ("link", "key", "next"))
    if (refusal := masthead.gate.blocked(told.address)) is not None:
        told.silent = True
        return _refused(refusal)
    session = await run_in_threadpool(_session, masthead, told, request, link, key)
    if isinstance(session, Refusal):
        told.refused, told.code = True, "Forbidden"
        return _refused(session)
    if session is None:
        masthead.gate.failed(told.address)
        told.refused, told.code = True, "Unauthenticated"
        what = (
            "This link was used before or is older than ten minutes." if link else "No key is like this one."
        )
        return _again(what, 401, wanted)
    try:  # it opens a door: without a line about it, it stays shut
        masthead.gate.note(told.entry(request.scope, 303, "console"))
    except LimitReached:
        await run_in_threadpool(masthead.keys.close_session, session)
        return _again("The audit cannot be written, so nobody can sign in.", 503, wanted)
    told.silent = True
    answer = RedirectResponse(_local(wanted), 303, headers={"cache-control": "no-store"})
    secure = request.url.scheme == "https"
    answer.set_cookie(
        session_cookie(request.scope),
        session,
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    return answer


@router.post(SIGN_OUT)
async def sign_out(request: Request) -> Response:
    """End the session."""
    masthead: Masthead = request.app.state.masthead
    name = session_cookie(request.scope)
    if token := cookie_of(request.headers, name):
        await run_in_threadpool(masthead.keys.close_session, token)
    answer = RedirectResponse(SIGN_IN, 303, headers={"cache-control": "no-store"})
    answer.delete_cookie(name, httponly=True, samesite="strict")
    return answer


def _session(
    masthead: Masthead, told: Audited, request: Request, link: str, given: str
) -> str | Refusal | None:
    """Return the token of a new session, why there is none for this caller, or None for a wrong link or key."""
    if given:
        key = masthead.keys.authenticate(given)
        link = masthead.keys.make_link(key.id) if key else ""
    session = masthead.keys.open_session(link) if link else None
    key = masthead.keys.session(session) if session else None
    if session is None or key is None:
        return None
    told.caller = Caller(key, told.address, secure=request.url.scheme == "https")
    refusal = masthead.gate.admit(told.caller)
    if refusal is not None:
        masthead.keys.close_session(session)
        return refusal
    return session


def _local(path: str) -> str:
    """Return a path of this server; anything else leads to the overview.

    >>> _local("/ui/groups?x=1"), _local("//evil.example"), _local("https://evil.example"), _local("/\\\\evil")
    ('/ui/groups?x=1', '/ui/', '/ui/', '/ui/')
    """
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain and not path.startswith(SIGN_IN) else "/ui/"


def _refused(refusal: Refusal) -> HTMLResponse:
    status = 403 if refusal.kind == "address" else 429
    answer = _again(refusal.message, status)
    if status == 429:
        answer.headers["retry-after"] = str(max(1, -int(-refusal.retry_after_s // 1)))
    return answer


def _again(message: str, status: int, wanted: str = "/ui/") -> HTMLResponse:
    return _page(f'<p class="told" role="alert">{html.escape(message)}</p>' + _with_key(wanted), status)


def _with_link(link: str, wanted: str) -> str:
    return f"""<form method="post" action="{SIGN_IN}">
<input type="hidden" name="link" value="{html.escape(link)}">
<input type="hidden" name="next" value="{html.escape(wanted)}">
<p>This link opens the console once.</p>
<button>Open the console</button>
</form>
<script>document.forms[0].submit()</script>"""


def _with_key(wanted: str) -> str:
    return f"""<p>On the machine that serves, run <code>masthead console link</code> and open the address that it
prints.</p>
<form method="post" action="{SIGN_IN}">
<input type="hidden" name="next" value="{html.escape(wanted)}">
<label for="key">Or give a key, as ID.SECRET</label>
<input id="key" name="key" type="password" autocomplete="off" required>
<button>Sign in</button>
</form>"""


def _page(content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in - Masthead</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>
<body><header>Masthead</header><main><h1>Sign in</h1>
{content}
</main></body>
</html>
""",
        status,
        headers=_HEADERS,
    )
