"""Keys, their policies, the audit and the console's link on the command line."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from masthead.access.audit import AuditEntry
from masthead.app import Masthead
from masthead.base.settings import load_settings
from masthead.cli.main import run

Call = Callable[..., tuple[int, str, str]]
DENY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "NoPut", "Effect": "Deny", "Action": "firehose:PutRecord", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "firehose:*",
            "Resource": "*",
            "Condition": {
                "IpAddress": {"aws:SourceIp": "10.0.0.0/8"},
                "ForAnyValue:StringEquals": {"aws:TagKeys": "b"},
            },
        },
    ],
}


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in `tmp_path`; gives status, standard output and standard error."""
    monkeypatch.setenv("MASTHEAD_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(DENY))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = run(arguments)
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def made(call: Call, *options: str) -> dict[str, Any]:
    status, out, _ = call("keys", "create", "--json", *options)
    assert status == 0
    found: dict[str, Any] = json.loads(out)
    return found


def test_a_key_with_every_option(call: Call) -> None:
    found = made(
        call,
        *(
            "--name",
            "customer-1",
            "--policy",
            "invoke",
            "--policy",
            "mine.json",
            "--rate",
            "5",
            "--burst",
            "9",
        ),
        *("--quota", "1000/week", "--expires", "90d", "--allow", "10.0.0.0/8", "--allow", "192.0.2.7"),
        *("--deny", "10.9.0.0/16", "--origin", "https://app.example"),
    )
    assert (found["name"], found["policies"]) == ("customer-1", ["invoke", "mine"])
    assert found["plan"] == "5/s burst 9, 1000/week"
    assert (found["allow"], found["deny"]) == (["10.0.0.0/8", "192.0.2.7/32"], ["10.9.0.0/16"])
    assert found["origins"] == ["https://app.example"]
    status, out, _ = call("keys", "list", "--json")
    (listed,) = json.loads(out)
    assert (status, listed) == (0, {name: value for name, value in found.items() if name != "secret"})


def test_the_secret_is_printed_once(call: Call, tmp_path: Path) -> None:
    status, out, _ = call("keys", "create", "--name", "a", "--policy", "admin")
    secret = next(line.split()[1] for line in out.splitlines() if line.startswith("secret:"))
    assert status == 0
    assert len(secret) == 40
    id = json.loads(call("keys", "list", "--json")[1])[0]["id"]
    later = [call("keys", "list"), call("keys", "policy", id), call("keys", "revoke", id), call("audit")]
    assert not any(secret in out + err for _, out, err in later)
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
    ]


def test_a_key_without_a_policy_is_warned_of(call: Call) -> None:
    status, _, err = call("keys", "create")
    assert status == 0
    assert "without a policy the key may do nothing" in err


def test_a_mistyped_action_is_warned_of(call: Call, tmp_path: Path) -> None:
    text = json.dumps(DENY).replace("PutRecord", "PutRecrod")
    (tmp_path / "typo.json").write_text(text)
    status, _, err = call("keys", "create", "--policy", "typo.json")
    assert status == 0
    assert (
        "typo.json: Statement[0]: no action is called firehose:putrecrod; the nearest is firehose:PutRecord"
        in err
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--policy", "nope"], "policy: expected admin, read-only"),
        (["--quota", "5"], "quota: expected N/day"),
        (["--expires", "soon"], "expires: expected a duration"),
        (["--burst", "5"], "burst: expected a rate"),
        (["--allow", "x"], "allow: expected an address"),
        (["--origin", "x"], "origin: expected"),
        (["--name", "a b"], "name: expected 1 to 64"),
    ],
)
def test_input_that_cannot_be_used_ends_with_2(call: Call, options: list[str], told: str) -> None:
    status, out, err = call("keys", "create", *options)
    assert (status, out) == (2, "")
    assert err.startswith(f"masthead: {told}")


def test_a_document_that_is_none_is_told_by_its_path(call: Call, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps(DENY).replace('"Deny"', '"Maybe"'))
    status, _, err = call("keys", "create", "--policy", "bad.json")
    assert (status, err) == (2, "masthead: Statement[0].Effect: expected Allow or Deny, got 'Maybe'\n")


def test_policies_are_printed_set_and_tried(call: Call) -> None:
    id = made(call, "--policy", "invoke")["id"]
    assert json.loads(call("keys", "policy", id, "--json")[1])[0]["name"] == "invoke"
    assert "sagemaker:InvokeEndpoint" in call("keys", "policy", id)[1]
    status, out, _ = call("keys", "policy", id, "--set", "mine.json", "--json")
    assert (status, json.loads(out)) == (0, [{"name": "mine", "document": DENY}])

    def test(*arguments: str) -> str:
        status, out, err = call("keys", "policy", id, "--test", *arguments)
        assert (status, err) == (0, "")
        return out

    assert test("firehose:PutRecord", "*") == "explicit deny: mine: NoPut\n"
    assert test("firehose:DeleteDeliveryStream", "*") == "implicit deny: no statement allows it\n"
    context = [
        "--context",
        "aws:SourceIp=10.0.0.7",
        "--context",
        "aws:TagKeys=a",
        "--context",
        "aws:TagKeys=b",
    ]
    assert test("firehose:DeleteDeliveryStream", "*", *context) == "allow: mine: statement 2\n"
    assert json.loads(test("firehose:putrecord", "*", "--json")) == {
        "decision": "explicit deny",
        "allowed": False,
        "statement": "mine: NoPut",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "admin", "--test", "a:b", "*"),
        ("--context", "a=b"),
        ("--test", "PutRecord", "*"),
        ("--test", "firehose:PutRecord", "air"),
        ("--test", "firehose:PutRecord", "*", "--context", "x"),
    ],
)
def test_a_question_that_makes_no_sense_ends_with_2(call: Call, arguments: tuple[str, ...]) -> None:
    id = made(call)["id"]
    assert call("keys", "policy", id, *arguments)[0] == 2


def test_an_unknown_key_ends_with_1(call: Call) -> None:
    for arguments in (("revoke", "X"), ("policy", "X"), ("policy", "X", "--set", "admin")):
        status, out, err = call("keys", *arguments)
        assert (status, out, err) == (1, "", "masthead: key: there is no key 'X'\n")
    assert call("console", "link", "--key", "X")[0] == 1


def test_revoking_twice_changes_nothing(call: Call) -> None:
    id = made(call)["id"]
    first = json.loads(call("keys", "revoke", id, "--json")[1])
    assert first["state"] == "revoked"
    assert json.loads(call("keys", "revoke", id, "--json")[1]) == first
    assert call("keys", "revoke", id) == (0, f"revoked key {id}\n", "")


def test_a_running_product_refuses_a_revoked_key_within_a_second(call: Call, tmp_path: Path) -> None:
    found = made(call, "--policy", "admin")
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        token = f"{found['id']}.{found['secret']}"
        assert product.keys.authenticate(token)
        call("keys", "revoke", found["id"])
        started = time.monotonic()
        while product.keys.authenticate(token):
            assert time.monotonic() - started < 1
            time.sleep(0.02)


def test_a_link_opens_a_session_of_the_key(call: Call, tmp_path: Path) -> None:
    assert call("console", "link") == (
        1,
        "",
        "masthead: key: no key that works has the policy admin; name another with --key\n",
    )
    id = made(call, "--policy", "admin")["id"]
    status, out, _ = call("console", "link")
    assert status == 0
    assert out.startswith("http://127.0.0.1:8400/ui/signin?link=")
    url = json.loads(call("console", "link", "--key", id, "--json")[1])["url"]
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        session = product.keys.open_session(url.partition("link=")[2])
        assert session is not None
        found = product.keys.session(session)
        assert found is not None
        assert found.id == id


def test_the_audit_is_listed_by_time_and_key(call: Call, tmp_path: Path) -> None:
    assert call("audit")[1] == "Nothing was changed or refused in that time.\n"
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        for id in ("K1", "K2"):
            product.gate.note(
                AuditEntry("r", key_id=id, key_name="ann", action="firehose:PutRecord", status=200)
            )
    assert [line["key_id"] for line in json.loads(call("audit", "--json")[1])] == ["K1", "K2"]
    assert [line["key_id"] for line in json.loads(call("audit", "--json", "--key", "K2")[1])] == ["K2"]
    assert "ann K1" in call("audit", "--since", "1h")[1]
    assert call("audit", "--since", "yesterday")[0] == 2
