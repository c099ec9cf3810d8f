"""Alerts over real sockets: a real SMTP server, an HTTP stand-in for a webhook and an SMS gateway, a command."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from masthead.alerts.events import AlertEvent
from masthead.alerts.service import AlertsService
from masthead.base.clock import SystemClock
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database


class Web:
    """An HTTP server on loopback that keeps each request and answers what the test says."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes, float]] = []
        self.answer: tuple[int, dict[str, str], bytes] = (200, {}, b"ok")
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                web.requests.append((self.path, dict(self.headers), body, time.monotonic()))
                status, headers, text = web.answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients are killed here
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()


@pytest.fixture
def alerts(database: Database, journal: Journal) -> Iterator[AlertsService]:
    service = AlertsService(
        database,
        SecretBox(b"k" * 32),
        SystemClock(),
        journal,
        link=lambda event: f"http://127.0.0.1/g/{event.group}",
    )
    service.start()
    yield service
    service.stop()


def tell(alerts: AlertsService, database: Database, group: str = "g1") -> float:
    now = SystemClock().now()
    happening = AlertEvent(
        "air", group, "open", "SO2", 89.0, now, now, 120.0, 65.0, "spike", {"LOCATION_ID": {"B-101": 100.0}},
        ({"dimensions": {"LOCATION_ID": "B-101"}, "value": 120.0, "expected": 65.0},),
    )  # fmt: skip
    with database.write() as connection:
        alerts.notify(connection, happening)
    alerts.wake()
    return time.monotonic()


def until(true: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def delivered(alerts: AlertsService) -> bool:
    return alerts.counts()["delivered"] == 1


def test_a_webhook_gets_the_signed_json_with_its_key_within_two_seconds(
    alerts: AlertsService, database: Database, web: Web
) -> None:
    channel = {"kind": "webhook", "url": f"http://127.0.0.1:{web.port}/hook?token=t", "secret": "s3cret"}
    alerts.create_rule({"name": "r", "channel": channel | {"headers": {"X-Team": "air"}}})
    told = tell(alerts, database)
    until(lambda: delivered(alerts))
    ((path, headers, body, at),) = web.requests
    assert at - told < 2
    assert path == "/hook?token=t"
    assert headers["X-Masthead-Signature"] == hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-Team"] == "air"
    assert headers["Content-Type"] == "application/json"
    found = json.loads(body)
    assert found["impactedMetric"]["metricName"] == "SO2"
    assert found["alertEventId"].endswith(f":event/{headers['Idempotency-Key']}")
    assert alerts.deliveries().items[0].id == headers["Idempotency-Key"]


def test_a_webhook_follows_no_redirect(alerts: AlertsService, database: Database, web: Web) -> None:
    elsewhere = Web()
    web.answer = (307, {"Location": f"http://127.0.0.1:{elsewhere.port}/"}, b"")
    channel = {"kind": "webhook", "url": f"http://127.0.0.1:{web.port}/", "secret": "s3cret"}
    alerts.create_rule({"name": "r", "channel": channel})
    tell(alerts, database)
    until(lambda: alerts.deliveries().items[0].tries == 1)
    assert "has moved" in alerts.deliveries().items[0].last_error
    assert elsewhere.requests == []
    elsewhere.close()


def test_a_webhook_that_was_down_gets_the_alert_when_it_is_back(
    alerts: AlertsService, database: Database, web: Web
) -> None:
    port = web.port
    web.close()
    alerts.create_rule({"name": "r", "channel": {"kind": "webhook", "url": f"http://127.0.0.1:{port}/"}})
    tell(alerts, database)
    until(lambda: alerts.deliveries().items[0].tries == 1)
    (waiting,) = alerts.deliveries().items
    assert waiting.state == "pending"
    assert "ConnectError" in waiting.last_error
    back = Web(port)
    until(lambda: delivered(alerts))  # the second try, after 5 s
    assert len(back.requests) == 1
    assert back.requests[0][1]["Idempotency-Key"] == waiting.id
    assert alerts.deliveries().items[0].tries == 2
    back.close()


def test_an_alert_given_up_is_undelivered_and_recovers_by_hand(
    alerts: AlertsService, database: Database, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.alerts.worker.PAUSES_S", (0.05, 0.05, 0.05))
    web.answer = (503, {}, b"busy")
    alerts.create_rule({"name": "r", "channel": {"kind": "webhook", "url": f"http://127.0.0.1:{web.port}/"}})
    tell(alerts, database)
    until(lambda: alerts.counts()["undelivered"] == 1)
    (found,) = alerts.deliveries(state="undelivered").items
    assert (found.tries, found.last_error) == (4, "HTTP 503 busy")
    web.answer = (200, {}, b"ok")
    alerts.retry(found.id)
    until(lambda: delivered(alerts))
    assert len({headers["Idempotency-Key"] for _, headers, _, _ in web.requests}) == 1


def test_a_slow_answer_is_cut_off(alerts: AlertsService, web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masthead.alerts.channels.HTTP_LIMIT_S", 0.4)
    silent = __import__("socket").create_server(("127.0.0.1", 0))
    channel = {"kind": "webhook", "url": f"http://127.0.0.1:{silent.getsockname()[1]}/"}
    alerts.create_rule({"name": "r", "channel": channel})
    started = time.monotonic()
    found = alerts.test_rule("r")
    assert time.monotonic() - started < 3
    assert (found.state, "ReadTimeout" in found.last_error) == ("undelivered", True)
    silent.close()


def test_an_endless_answer_is_cut_off(alerts: AlertsService, web: Web) -> None:
    web.answer = (200, {}, b"x" * 10_000_000)
    alerts.create_rule({"name": "r", "channel": {"kind": "webhook", "url": f"http://127.0.0.1:{web.port}/"}})
    found = alerts.test_rule("r")
    assert found.state == "delivered"
    assert len(found.note) <= 500


class Mailbox:
    """What the real SMTP server took, and whom it refuses."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], Message]] = []
        self.refuse: dict[str, str] = {}

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.mails.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content)))
        return "250 taken"


def check_login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"u", b"p4ssword")
    return AuthResult(success=good, handled=good)


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, int]]:
    box = Mailbox()
    control = Controller(
        box,
        hostname="127.0.0.1",
        port=0,
        authenticator=check_login,
        auth_require_tls=False,
        auth_required=False,
    )
    control.port = free_port()
    control.start()
    yield box, control.port
    control.stop()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mail_channel(port: int, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "email",
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "Masthead <masthead@example.org>",
        "to": ["a@example.org", "b@example.org"],
    } | fields


def test_a_mail_arrives_signed_in_with_subject_text_and_link(
    alerts: AlertsService, database: Database, mailbox: tuple[Mailbox, int]
) -> None:
    box, port = mailbox
    alerts.create_rule({"name": "r", "channel": mail_channel(port, user="u", password="p4ssword")})
    tell(alerts, database)
    until(lambda: delivered(alerts))
    ((to, mail),) = box.mails
    assert to == ["a@example.org", "b@example.org"]
    assert mail["Subject"] == "air: SO2 120 at B-101, severity 89"
    text = mail.get_payload(decode=True)
    assert isinstance(text, bytes)
    assert b"SO2 120 at B-101, expected 65" in text
    assert b"http://127.0.0.1/g/g1" in text
    assert mail["Message-ID"] == f"<{alerts.deliveries().items[0].id}@masthead.invalid>"


def test_a_wrong_password_is_told_without_the_password(
    alerts: AlertsService, mailbox: tuple[Mailbox, int]
) -> None:
    _, port = mailbox
    alerts.create_rule({"name": "r", "channel": mail_channel(port, user="u", password="wr0ngpass")})
    found = alerts.test_rule("r")
    assert found.state == "undelivered"
    assert "SMTPAuthenticationError" in found.last_error
    assert "wr0ngpass" not in found.last_error


def test_only_the_receiver_that_was_refused_is_tried_again(
    alerts: AlertsService, database: Database, mailbox: tuple[Mailbox, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masthead.alerts.worker.PAUSES_S", (0.3, 0.3, 0.3))
    box, port = mailbox
    box.refuse = {"b@example.org": "450 greylisted"}
    alerts.create_rule({"name": "r", "channel": mail_channel(port)})
    tell(alerts, database)
    until(lambda: alerts.deliveries().items[0].tries == 1)
    assert alerts.deliveries().items[0].last_error == "refused for b@example.org: 450 greylisted"
    box.refuse = {}
    until(lambda: delivered(alerts))
    assert [to for to, _ in box.mails] == [["a@example.org"], ["b@example.org"]]


def test_a_closed_mail_port_is_a_failure_with_its_reason(alerts: AlertsService) -> None:
    alerts.create_rule({"name": "r", "channel": mail_channel(free_port())})
    found = alerts.test_rule("r")
    assert (found.state, "ConnectionRefusedError" in found.last_error) == ("undelivered", True)


def test_a_server_without_starttls_gets_no_password(
    alerts: AlertsService, mailbox: tuple[Mailbox, int]
) -> None:
    _, port = mailbox
    channel = mail_channel(port, security="starttls", user="u", password="p4ssword")
    alerts.create_rule({"name": "r", "channel": channel})
    found = alerts.test_rule("r")
    assert (found.state, "SMTPNotSupportedError" in found.last_error) == ("undelivered", True)


def test_an_sms_gateway_behind_apprise_gets_the_short_form(
    alerts: AlertsService, database: Database, web: Web
) -> None:
    url = f"form://gateway:t0kentoken@127.0.0.1:{web.port}/sms?-to=4915112345678"
    alerts.create_rule({"name": "r", "channel": {"kind": "apprise", "url": url}, "form": "short"})
    tell(alerts, database)
    until(lambda: delivered(alerts))
    ((path, headers, body, _),) = web.requests
    assert path.startswith("/sms")
    assert headers["Authorization"].startswith("Basic ")
    assert b"SO2+120+at+B-101%2C+expected+65%2C+severity+89" in body


def test_apprise_on_a_closed_port_or_a_refusal_is_a_failure_with_its_reason(
    alerts: AlertsService, web: Web
) -> None:
    alerts.create_rule(
        {"name": "closed", "channel": {"kind": "apprise", "url": f"json://127.0.0.1:{free_port()}"}}
    )
    found = alerts.test_rule("closed")
    assert found.state == "undelivered"
    assert found.last_error
    web.answer = (500, {}, b"no")
    url = f"json://user:t0kentoken@127.0.0.1:{web.port}/"
    alerts.create_rule({"name": "refusing", "channel": {"kind": "apprise", "url": url}})
    found = alerts.test_rule("refusing")
    assert found.state == "undelivered"
    assert "500" in found.last_error
    assert "t0kentoken" not in found.last_error


def test_a_command_acts_on_the_alert(alerts: AlertsService, database: Database, tmp_path: Path) -> None:
    target = tmp_path / "alert.json"
    code = f"import sys; open({str(target)!r}, 'w').write(sys.stdin.read()); print('valve closed')"
    channel = {"kind": "command", "command": [sys.executable, "-I", "-c", code]}
    alerts.create_rule({"name": "r", "channel": channel})
    tell(alerts, database)
    until(lambda: delivered(alerts))
    assert json.loads(target.read_text())["masthead"]["stage"] == "open"
    assert alerts.deliveries().items[0].note == "valve closed"


CHILD = """
    import sys, time
    from pathlib import Path
    from masthead.alerts.events import AlertEvent
    from masthead.alerts.service import AlertsService
    from masthead.base.clock import SystemClock
    from masthead.base.folder import DataFolder
    from masthead.base.log import Journal
    from masthead.base.secrets import SecretBox
    from masthead.store.engine import Database

    folder = DataFolder(Path(sys.argv[1]))
    database = Database.open(folder.database_path)
    alerts = AlertsService(database, SecretBox(b"k" * 32), SystemClock(), Journal(folder.logs))
    alerts.start()
    if sys.argv[2] == "tell":
        now = SystemClock().now()
        with database.write() as connection:
            for number in range(50):
                alerts.notify(connection, AlertEvent("air", f"g{number}", "open", "SO2", 89.0, now, now))
        print("told", flush=True)
        alerts.wake()
    time.sleep(60)
"""


def test_alerts_survive_kill_9_under_the_same_keys(
    database: Database, folder: DataFolder, journal: Journal, web: Web, tmp_path: Path
) -> None:
    service = AlertsService(database, SecretBox(b"k" * 32), SystemClock(), journal)
    service.create_rule({"name": "r", "channel": {"kind": "webhook", "url": f"http://127.0.0.1:{web.port}/"}})
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))

    def start(what: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, script, str(folder.path), what], stdout=subprocess.PIPE)

    with start("tell") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"told\n"
        until(lambda: len(web.requests) >= 5)
        os.kill(first.pid, signal.SIGKILL)
    assert service.counts()["pending"] > 0
    with start("send") as second:
        until(lambda: service.counts()["delivered"] == 50)
        os.kill(second.pid, signal.SIGKILL)
    keys = [headers["Idempotency-Key"] for _, headers, _, _ in web.requests]
    assert len(set(keys)) == 50  # none lost
    assert len(keys) <= 51  # at most the one under way at the kill came twice, and its key says so
