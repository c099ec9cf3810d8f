"""The ways an alert leaves: webhook, e-mail, the apprise services (SMS gateways among them), and a command.

A channel is a plain object with a `kind`. Its secrets are sealed apart from it and shown as `***`. A sender takes
the channel with its secrets and one message, and returns an `Outcome`; it never waits longer than its time limit.

    webhook   url, secret?, headers?          POST; X-Masthead-Signature = HMAC-SHA256 of the body, in hex
    email     host, to, sender, port?, security? (starttls | tls | none), user?, password?
    apprise   url                             any of apprise's services, e.g. an SMS gateway
    command   command (list of texts)         JSON on standard input, no shell, 30 s
    subject   subject?                        a port: the devices room registers the sender
    named     name                            the channel of that name (`named.py`), which may not exist yet
"""

import hashlib
import hmac
import logging
import re
import smtplib
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from masthead.alerts.commands import run_command
from masthead.alerts.messages import Message
from masthead.base.errors import InvalidInput, shown
from masthead.base.topics import check_subject

MASK = "***"
NAMED = "named"
SUBJECTS = "masthead.alerts."  # and the detector's name: where a channel publishes that names no subject
HTTP_LIMIT_S = 10.0  # a receiver that needs longer to say "taken" is tried again
SMTP_LIMIT_S = 15.0
NOTE_CHARACTERS = 500
_ANSWER_BYTES = 2_000

_FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {  # kind -> (needed, further)
    "webhook": (frozenset({"url"}), frozenset({"secret", "headers"})),
    "email": (frozenset({"host", "to", "sender"}), frozenset({"port", "security", "user", "password"})),
    "apprise": (frozenset({"url"}), frozenset()),
    "command": (frozenset({"command"}), frozenset()),
    "subject": (frozenset(), frozenset({"subject"})),
    NAMED: (frozenset({"name"}), frozenset()),
}
_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,255}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try ended.

    Attributes:
        delivered: The receiver took it.
        note: What the receiver said, or why it failed; no secrets.
        reached: Receivers that took it although others did not; they get no second message.
    """

    delivered: bool
    note: str = ""
    reached: tuple[str, ...] = ()


Sender = Callable[[Mapping[str, Any], Message], Outcome]


def check_channel(channel: Mapping[str, Any]) -> dict[str, Any]:
    """Return the channel with its defaults filled in.

    Raises:
        InvalidInput: The kind is unknown, or a field is unknown, missing or outside its domain.
    """
    kind = channel.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise InvalidInput(f"channel: expected a kind of {', '.join(_FIELDS)}, got {shown(kind)}")
    needed, further = _FIELDS[kind]
    given = {name: value for name, value in channel.items() if value is not None}
    if missing := sorted(needed - set(given)):
        raise InvalidInput(f"channel.{missing[0]}: expected a value for kind {kind}, got none")
    if unknown := sorted(set(given) - needed - further - {"kind"}):
        known = ", ".join(sorted(needed | further))
        raise InvalidInput(
            f"channel.{unknown[0]}: expected one of {known} for kind {kind}, got another field"
        )
    return _CHECKS[kind](given)


def check_channel_name(value: object, field: str = "channel.name") -> str:
    """Return `value` if it may name a channel.

    Raises:
        InvalidInput: It is no text of 1 to 256 letters, digits, `-`, `_` or `.`.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInput(
            f"{field}: expected 1 to 256 letters, digits, '-', '_' or '.', a letter or digit first, got {shown(value)}"
        )
    return value


def split_secrets(channel: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the channel as it may be shown, and its secret fields."""
    open_part, secret = dict(channel), {}
    for name in ("secret", "password"):
        if channel.get(name):
            secret[name], open_part[name] = channel[name], MASK
    if channel.get("headers"):
        secret["headers"] = dict(channel["headers"])
        open_part["headers"] = dict.fromkeys(channel["headers"], MASK)
    if channel["kind"] == "apprise":
        secret["url"] = channel["url"]
        open_part["url"] = f"{urlsplit(channel['url']).scheme or channel['url'].partition(':')[0]}://{MASK}"
    if channel["kind"] == "webhook":
        masked = _masked_url(channel["url"])
        if masked != channel["url"]:
            secret["url"], open_part["url"] = channel["url"], masked
    return open_part, secret


def keep_secrets(
    given: Mapping[str, Any], shown_before: Mapping[str, Any], secret: Mapping[str, Any]
) -> dict[str, Any]:
    """Return `given` with the stored secret wherever it repeats what was shown, so that a form can send it back."""
    out = dict(given)
    for name, value in secret.items():
        if given.get("kind") == shown_before.get("kind") and given.get(name) == shown_before.get(name):
            out[name] = value
    return out


def send_webhook(channel: Mapping[str, Any], message: Message) -> Outcome:
    """POST the message; any 2xx answer counts as taken. A redirect is not followed: it is reported."""
    import httpx  # 0.1 s of CPU that no command without an alert should pay

    body = message.body
    headers = {
        **channel.get("headers", {}),
        "Content-Type": message.content_type,
        "Idempotency-Key": message.key,
        "User-Agent": "Masthead",
    }
    if channel.get("secret"):
        headers["X-Masthead-Signature"] = sign(channel["secret"], body)
    deadline = time.monotonic() + HTTP_LIMIT_S
    try:
        with (
            httpx.Client(
                timeout=HTTP_LIMIT_S / 2, follow_redirects=False, trust_env=False, verify=_tls_context()
            ) as client,
            client.stream("POST", channel["url"], content=body, headers=headers) as answer,
        ):
            text = b""
            for part in answer.iter_bytes(_ANSWER_BYTES):
                text += part
                if len(text) >= _ANSWER_BYTES or time.monotonic() > deadline:
                    break
    except (httpx.HTTPError, OSError, ValueError) as error:
        return Outcome(False, _note(f"{type(error).__name__}: {error}", channel))
    if answer.is_redirect:
        return Outcome(
            False, f"HTTP {answer.status_code}: the address has moved; set the new one in the rule"
        )
    said = f"HTTP {answer.status_code} {text.decode(errors='replace').strip()}".strip()
    return Outcome(answer.is_success, _note(said, channel))


def sign(secret: str, body: bytes) -> str:
    """Return the hex HMAC-SHA256 of `body` under `secret` (RFC 2104).

    >>> sign("key", b"The quick brown fox jumps over the lazy dog")[:16]
    'f7bc83f430538424'
    """
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def send_email(channel: Mapping[str, Any], message: Message) -> Outcome:
    """Hand the message to the SMTP server, once per receiver that earlier tries did not reach.

    smtplib, not apprise: it says which receiver was refused and why, where apprise says only "no".
    """
    left = [receiver for receiver in channel["to"] if receiver not in message.reached]
    mail = _mail(channel, message)
    try:
        with _smtp(channel) as server:
            refused = server.send_message(mail, from_addr=parseaddr(channel["sender"])[1], to_addrs=left)
    except smtplib.SMTPRecipientsRefused as error:
        refused = error.recipients
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return Outcome(False, _note(f"{type(error).__name__}: {error}", channel), message.reached)
    reached = message.reached + tuple(receiver for receiver in left if receiver not in refused)
    if not refused:
        return Outcome(True, f"taken for {', '.join(left)}"[:NOTE_CHARACTERS], reached)
    why = "; ".join(f"{who}: {code} {text.decode(errors='replace')}" for who, (code, text) in refused.items())
    return Outcome(False, _note(f"refused for {why}", channel), reached)


def send_apprise(channel: Mapping[str, Any], message: Message) -> Outcome:
    """Send through the service that the URL names. apprise returns False and logs why: the log becomes the note."""
    apprise = _apprise()
    said: list[str] = []
    here = threading.get_ident()

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here and record.levelno >= logging.WARNING:
                said.append(record.getMessage())

    keep, log = Keep(), logging.getLogger("apprise")
    log.addHandler(keep)
    try:
        # The service itself, not the Apprise object: that one sends, and logs, in threads of its own.
        service = apprise.Apprise.instantiate(channel["url"])
        taken = service is not None and service.notify(
            title="" if message.form == "short" else message.title,
            body=message.body.decode() if message.form == "json" else message.text,
            body_format=apprise.NotifyFormat.TEXT,
        )
    finally:
        log.removeHandler(keep)
    note = "; ".join(said) or ("taken" if taken else "the service did not take it and gave no reason")
    return Outcome(taken is True, _note(note, channel))


def send_command(channel: Mapping[str, Any], message: Message) -> Outcome:
    """Run the command with the JSON form on its standard input; exit status 0 counts as taken."""
    import orjson

    delivered, note = run_command(channel["command"], orjson.dumps(message.payload), key=message.key)
    return Outcome(delivered, _note(note, channel))


SENDERS: dict[str, Sender] = {
    "webhook": send_webhook,
    "email": send_email,
    "apprise": send_apprise,
    "command": send_command,
}


@lru_cache(maxsize=1)
def _tls_context() -> ssl.SSLContext:
    """Return the system's certificates, read once: 25 ms of CPU that each alert would pay otherwise."""
    return ssl.create_default_context()


_LOADING = threading.Lock()


@lru_cache(maxsize=1)
def _apprise() -> Any:
    """Return apprise with its services loaded; some of them import what Python 3.11 has deprecated."""
    with _LOADING, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        apprise.Apprise().add("json://localhost")
    return apprise


def _smtp(channel: Mapping[str, Any]) -> smtplib.SMTP:
    """Return an open, encrypted and signed-in session; the caller closes it."""
    host, port, security = channel["host"], channel["port"], channel["security"]
    context = _tls_context()
    if security == "tls":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SMTP_LIMIT_S, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=SMTP_LIMIT_S)
    try:
        if security == "starttls":
            server.starttls(context=context)
        if channel.get("user"):
            server.login(channel["user"], channel.get("password", ""))
    except BaseException:
        server.close()
        raise
    return server


def _mail(channel: Mapping[str, Any], message: Message) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"] = channel["sender"], ", ".join(channel["to"])
    mail["Subject"], mail["Date"] = message.title, formatdate()
    mail["Message-ID"] = f"<{message.key}@masthead.invalid>"  # same at every try: mail programs show it once
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
    if message.form == "json":
        mail.set_content(message.body, maintype="application", subtype="json")
    else:
        mail.set_content(message.text)
    return mail


def _note(text: str, channel: Mapping[str, Any]) -> str:
    """Return `text` bounded, on one line, without the channel's secrets."""
    _, secret = split_secrets(channel)
    values = [value for value in secret.values() if isinstance(value, str)]
    values += list(secret.get("headers", {}).values())
    if channel["kind"] == "apprise":  # a token in the URL may be repeated alone
        values += [part for part in re.split(r"[/?&=:@]+", channel["url"]) if len(part) >= 8]
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, MASK)
    return " ".join(text.split())[:NOTE_CHARACTERS]


def _masked_url(url: str) -> str:
    """Return the URL without what services hide in its query: tokens."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=MASK if parts.query else "", fragment=""))


def _text(channel: Mapping[str, Any], name: str, limit: int = 2_000) -> str:
    value = channel[name]
    if not isinstance(value, str) or not value.strip() or len(value) > limit or not value.isprintable():
        what = "a text" if name in ("secret", "password", "url") else shown(value)
        raise InvalidInput(f"channel.{name}: expected 1 to {limit} printable characters, got {what}")
    return value


def _secret(channel: Mapping[str, Any], name: str) -> None:
    if channel.get(name) is not None and _text(channel, name) == MASK:
        raise InvalidInput(f"channel.{name}: expected the secret itself, got the mask {MASK}")


def _check_webhook(channel: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(_text(channel, "url"))
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise InvalidInput("channel.url: expected http(s)://HOST/... without a user name, got another form")
    if parts.query == MASK:
        raise InvalidInput(f"channel.url: expected the whole address, got the mask {MASK}")
    _secret(channel, "secret")
    headers = channel.get("headers", {})
    if not isinstance(headers, Mapping) or len(headers) > 20:
        raise InvalidInput("channel.headers: expected an object of at most 20 headers")
    for name, value in headers.items():
        if not _HEADER.fullmatch(str(name)) or not isinstance(value, str) or not value.isprintable():
            raise InvalidInput(f"channel.headers: expected names and printable texts, got {shown(name)}")
        if value == MASK:
            raise InvalidInput(f"channel.headers: expected the value itself, got the mask {MASK}")
    return channel


def _check_email(channel: dict[str, Any]) -> dict[str, Any]:
    security = channel.setdefault("security", "starttls")
    if security not in _PORTS:
        raise InvalidInput(f"channel.security: expected one of {', '.join(_PORTS)}, got {shown(security)}")
    port = channel.setdefault("port", _PORTS[security])
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65_535:
        raise InvalidInput(f"channel.port: expected 1 to 65535, got {shown(port)}")
    _text(channel, "host", 255)
    receivers = channel["to"] if isinstance(channel["to"], list | tuple) else [channel["to"]]
    for address in [*receivers, channel["sender"]]:
        # parseaddr: what smtplib will put on the envelope; a comma would smuggle in a second receiver
        if (
            not isinstance(address, str)
            or not address.isprintable()
            or not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", parseaddr(address)[1])
        ):
            raise InvalidInput(f"channel.to: expected mail addresses, got {shown(address)}")
    if not 1 <= len(receivers) <= 50:
        raise InvalidInput(f"channel.to: expected 1 to 50 addresses, got {len(receivers)}")
    channel["to"] = [parseaddr(address)[1] for address in receivers]
    _secret(channel, "password")
    if channel.get("user") is not None:
        _text(channel, "user", 320)
        if security == "none" and channel["host"] not in ("localhost", "127.0.0.1", "::1"):
            raise InvalidInput(
                "channel.security: expected starttls or tls where a password is sent, got 'none'"
            )
    return channel


def _check_apprise(channel: dict[str, Any]) -> dict[str, Any]:
    url = _text(channel, "url")
    if MASK in url:
        raise InvalidInput(f"channel.url: expected the whole address, got the mask {MASK}")
    if not _apprise().Apprise().add(url):
        raise InvalidInput(
            "channel.url: expected one apprise URL (https://appriseit.com/services/), got none"
        )
    return channel


def _check_command(channel: dict[str, Any]) -> dict[str, Any]:
    argv = channel["command"]
    good = isinstance(argv, list | tuple) and 1 <= len(argv) <= 50
    if not good or not all(isinstance(one, str) and "\0" not in one and len(one) <= 4_000 for one in argv):
        raise InvalidInput(f"channel.command: expected a list of 1 to 50 texts, got {shown(argv)}")
    if not argv[0].startswith("/"):
        raise InvalidInput(f"channel.command: expected a program by its absolute path, got {shown(argv[0])}")
    channel["command"] = list(argv)
    return channel


def _check_subject(channel: dict[str, Any]) -> dict[str, Any]:
    if channel.get("subject") is not None:
        check_subject(channel["subject"], "channel.subject", own=SUBJECTS)
    return channel


def _check_named(channel: dict[str, Any]) -> dict[str, Any]:
    check_channel_name(channel["name"])
    return channel


_CHECKS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "webhook": _check_webhook,
    "email": _check_email,
    "apprise": _check_apprise,
    "command": _check_command,
    "subject": _check_subject,
    NAMED: _check_named,
}
