"""Channels: what is refused when a rule is made, and how each sender behaves at its limits."""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.alerts.channels import check_channel, keep_secrets, send_command, sign, split_secrets
from masthead.alerts.commands import OUTPUT_BYTES, run_command
from masthead.alerts.events import AlertEvent
from masthead.alerts.messages import compose
from masthead.alerts.rules import AlertRule
from masthead.base.errors import InvalidInput

MAIL = {"kind": "email", "host": "127.0.0.1", "to": ["a@b.de"], "sender": "Masthead <m@b.de>"}
HOOK = {"kind": "webhook", "url": "https://127.0.0.1/x"}


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ({"kind": "pigeon"}, "channel: expected a kind of webhook, email"),
        ({"kind": "webhook"}, "channel.url: expected a value"),
        (HOOK | {"urll": "x"}, "channel.urll: expected one of headers, secret, url"),
        (HOOK | {"url": "ftp://127.0.0.1/"}, "channel.url: expected http(s)"),
        (HOOK | {"url": "http://u:p@127.0.0.1/"}, "channel.url: expected http(s)"),
        (HOOK | {"url": "http:///x"}, "channel.url: expected http(s)"),
        (HOOK | {"url": 7}, "channel.url: expected 1 to 2000 printable"),
        (HOOK | {"secret": "***"}, "channel.secret: expected the secret itself"),
        (HOOK | {"headers": {"X Y": "z"}}, "channel.headers: expected"),
        (HOOK | {"headers": {"X": "a\r\nb"}}, "channel.headers: expected"),
        (MAIL | {"to": []}, "channel.to: expected 1 to 50 addresses, got 0"),
        (MAIL | {"to": ["nobody"]}, "channel.to: expected mail addresses, got 'nobody'"),
        (MAIL | {"to": ["a@b.de\nBcc: c@d.de"]}, "channel.to: expected mail addresses"),
        (MAIL | {"security": "hope"}, "channel.security: expected one of starttls, tls, none"),
        (MAIL | {"port": 0}, "channel.port: expected 1 to 65535, got 0"),
        (
            MAIL | {"host": "mail.example.org", "security": "none", "user": "u", "password": "p"},
            "channel.security: expected starttls or tls",
        ),
        ({"kind": "apprise", "url": "no such thing"}, "channel.url: expected one apprise URL"),
        ({"kind": "apprise", "url": "json://***"}, "channel.url: expected the whole address"),
        ({"kind": "command", "command": "rm -rf /"}, "channel.command: expected a list"),
        (
            {"kind": "command", "command": ["echo"]},
            "channel.command: expected a program by its absolute path",
        ),
        ({"kind": "command", "command": []}, "channel.command: expected a list"),
        ({"kind": "subject", "subject": "a..b"}, "channel.subject: expected a NATS subject"),
        ({"kind": "subject", "subject": "alerts.>"}, "channel.subject: expected a NATS subject"),
        ({"kind": "subject", "subject": "$JS.API"}, "channel.subject: expected"),
        ({"kind": "subject", "subject": "_INBOX.x"}, "channel.subject: expected a subject of your own"),
        ({"kind": "subject", "subject": "masthead.clock"}, "channel.subject: expected a subject of your own"),
    ],
)
def test_a_channel_that_cannot_work_is_refused_with_the_field(channel: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_channel(channel)
    assert message in str(caught.value)


def test_a_refusal_never_repeats_a_secret() -> None:
    with pytest.raises(InvalidInput) as caught:
        check_channel({"kind": "apprise", "url": "nosuch://token-1234@"})
    assert "token-1234" not in str(caught.value)


@given(
    st.dictionaries(
        st.sampled_from(
            ["kind", "url", "secret", "headers", "host", "to", "sender", "command", "subject", "port"]
        ),
        st.one_of(
            st.sampled_from(["webhook", "email", "command", "subject"]),
            st.text(max_size=20),
            st.integers(),
            st.lists(st.text(max_size=5), max_size=3),
            st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
            st.none(),
        ),
    )
)
def test_any_object_is_a_channel_or_an_error_of_ours(channel: dict[str, Any]) -> None:
    try:
        whole = check_channel(channel)
    except InvalidInput:
        return
    shown, secret = split_secrets(whole)
    assert keep_secrets(shown, shown, secret) == whole


def message() -> Any:
    now = datetime(2022, 3, 24, 23, 30, tzinfo=UTC)
    rule = AlertRule.from_json({"name": "r", "channel": {"kind": "command", "command": ["/bin/cat"]}})
    event = AlertEvent("air", "g1", "open", "SO2", 90.0, now, now, 120.0, 65.0)
    return compose(rule, event, key="k" * 32)


def test_a_command_reads_the_json_and_its_output_is_kept() -> None:
    outcome = send_command({"kind": "command", "command": ["/bin/cat"]}, message())
    assert outcome.delivered
    assert '"metricName":"SO2"' in outcome.note


def test_a_command_gets_its_arguments_as_they_are_and_no_environment_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MASTHEAD_MASTER_KEY_FILE", "/secret")
    code = "import os, sys; print(sys.argv[1], sorted(os.environ), os.environ['MASTHEAD_ALERT_KEY'])"
    delivered, said = run_command([sys.executable, "-I", "-c", code, "$(id); x"], b"{}", key="k1")
    assert delivered
    assert said.startswith("$(id); x ['LANG'")
    assert "MASTER_KEY" not in said
    assert said.endswith("k1")


def test_a_command_that_fails_says_how() -> None:
    assert run_command(["/bin/sh", "-c", "echo broken >&2; exit 3"], b"", key="k") == (
        False,
        "exit status 3: broken",
    )
    assert run_command(["/no/such/program"], b"", key="k")[1].startswith("not started:")


def test_a_command_that_hangs_is_killed_with_all_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    started = time.monotonic()
    delivered, said = run_command(
        ["/bin/sh", "-c", f"(sleep 2; touch {mark}) & sleep 60"], b"", key="k", limit_s=0.5
    )
    assert time.monotonic() - started < 2
    assert (delivered, said) == (False, "killed after 0.5 s")
    time.sleep(2.2)
    assert not mark.exists()


def test_a_child_left_behind_by_a_command_does_not_hold_us() -> None:
    started = time.monotonic()
    assert run_command(["/bin/sh", "-c", "sleep 5 & echo done"], b"", key="k") == (True, "done")
    assert time.monotonic() - started < 2


def test_a_flood_of_output_is_bounded_and_does_not_block_the_command() -> None:
    delivered, said = run_command(["/bin/sh", "-c", "yes | head -c 5000000"], b"x" * 500_000, key="k")
    assert delivered
    assert len(said) <= OUTPUT_BYTES


def test_the_signature_is_hmac_sha256_in_hex() -> None:
    # RFC 4231, test case 2
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign("Jefe", b"what do ya want for nothing?") == expected
