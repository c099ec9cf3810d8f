"""The gate: addresses, rates, quotas, policies, failures and the audit."""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from masthead.access.audit import FIELDS, Audit, AuditEntry
from masthead.access.gate import MOST_ADDRESSES, Caller, Gate
from masthead.access.key_records import Key, KeyRecords
from masthead.access.keys import KeyService
from masthead.access.throttle import Throttle, window_of
from masthead.base.clock import ManualClock
from masthead.base.errors import InvalidInput, LimitReached
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

DETECTOR = "arn:aws:lookoutmetrics:us-east-1:000000000000:AnomalyDetector:air"
ALERT = "arn:aws:lookoutmetrics:us-east-1:000000000000:Alert:air"


@pytest.fixture
def keys(any_database: Database, folder: DataFolder, clock: ManualClock, journal: Journal) -> KeyService:
    return KeyService(any_database, SecretBox.open_or_create(folder.path), clock, journal)


@pytest.fixture
def throttle(any_database: Database, clock: ManualClock) -> Throttle:
    return Throttle(KeyRecords(any_database), clock)


@pytest.fixture
def audit(folder: DataFolder, clock: ManualClock) -> Audit:
    return Audit(folder.audit, clock)


@pytest.fixture
def gate(keys: KeyService, throttle: Throttle, audit: Audit, clock: ManualClock) -> Iterator[Gate]:
    found = Gate(keys, throttle, audit, clock)
    yield found
    found.close()


@pytest.fixture
def caller(keys: KeyService) -> Callable[..., Caller]:
    def make(
        policies: Any = ("admin",), address: str = "10.0.0.7", name: str = "ann", **limits: Any
    ) -> Caller:
        return Caller(keys.create_key(name, list(policies), **limits).key, address)

    return make


def test_an_unlimited_key_comes_as_often_as_it_likes(gate: Gate, caller: Callable[..., Caller]) -> None:
    one = caller()
    assert [gate.admit(one) for _ in range(500)] == [None] * 500
    assert gate.left(one.key).to_json() == {"rate": None, "quota": None, "resets": None}


def test_a_rate_holds_in_a_moving_window(gate: Gate, caller: Callable[..., Caller]) -> None:
    one, other = caller(rate=10, burst=10), caller(name="bob", rate=10, burst=10)
    started = time.monotonic()
    answers = [gate.admit(one) for _ in range(12)]
    assert answers[:10] == [None] * 10
    refusal = answers[10]
    assert refusal is not None
    assert refusal.kind == "throttled"
    assert 0 < refusal.retry_after_s <= 1
    assert gate.left(one.key).rate == 0
    assert gate.admit(other) is None
    while gate.admit(one):
        time.sleep(0.02)
    assert 0.9 <= time.monotonic() - started < 3


def test_a_burst_is_spread_over_the_seconds_that_it_needs(gate: Gate, caller: Callable[..., Caller]) -> None:
    one = caller(rate=10, burst=20)
    assert [gate.admit(one) is None for _ in range(21)] == [True] * 20 + [False]
    slow = caller(name="slow", rate=0.5, burst=1)
    assert [gate.admit(slow) is None for _ in range(2)] == [True, False]


@pytest.mark.parametrize("window", ["day", "week", "month"])
def test_a_quota_is_spent_and_begins_anew(
    gate: Gate, caller: Callable[..., Caller], clock: ManualClock, window: str
) -> None:
    one = caller(quota=3, window=window)
    assert [gate.admit(one) for _ in range(3)] == [None] * 3
    refusal = gate.admit(one)
    assert refusal is not None
    assert refusal.kind == "quota"
    left = gate.left(one.key)
    assert left.quota == 0
    assert left.resets == clock.now() + timedelta(seconds=refusal.retry_after_s)
    clock.advance(refusal.retry_after_s - 1)
    assert gate.admit(one)
    clock.advance(1)
    assert gate.admit(one) is None
    assert gate.left(one.key).quota == 2


def test_a_throttled_request_costs_no_quota(gate: Gate, caller: Callable[..., Caller]) -> None:
    one = caller(rate=2, burst=2, quota=10, window="day")
    for _ in range(6):
        gate.admit(one)
    assert gate.left(one.key).quota == 8


def test_a_quota_outlives_a_restart(
    keys: KeyService, any_database: Database, clock: ManualClock, caller: Callable[..., Caller]
) -> None:
    one = caller(quota=5, window="day")
    before = Throttle(KeyRecords(any_database), clock)
    for _ in range(3):
        assert before.admit(one.key) is None
    before.flush()
    before.flush()
    after = Throttle(KeyRecords(any_database), clock)
    assert after.left(one.key).quota == 2
    assert keys.get_key(one.key.id).last_used == clock.now()


def test_processes_that_share_a_database_share_a_quota_after_a_flush(
    any_database: Database, clock: ManualClock, caller: Callable[..., Caller]
) -> None:
    one = caller(quota=4, window="day")
    first, second = (Throttle(KeyRecords(any_database), clock) for _ in range(2))
    for throttle in (first, second):
        assert throttle.admit(one.key) is None
        assert throttle.admit(one.key) is None
    first.flush()
    second.flush()
    assert second.admit(one.key)
    first.admit(one.key)
    first.flush()
    assert first.left(one.key).quota == 0


def test_use_that_could_not_be_written_is_written_later(
    database: Database, clock: ManualClock, folder: DataFolder, journal: Journal
) -> None:
    key = KeyService(database, SecretBox.open_or_create(folder.path), clock, journal).create_key(
        "a", quota=9, window="day"
    ).key  # fmt: skip
    throttle = Throttle(KeyRecords(database), clock)
    throttle.admit(key)
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE access_usage RENAME TO away")
    with pytest.raises(Exception, match="access_usage"):
        throttle.flush()
    assert throttle.left(key).quota == 8
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO access_usage")
    throttle.flush()
    assert Throttle(KeyRecords(database), clock).left(key).quota == 8


def test_former_windows_leave_no_rows(
    any_database: Database, clock: ManualClock, caller: Callable[..., Caller]
) -> None:
    one = caller(quota=5, window="day")
    throttle = Throttle(KeyRecords(any_database), clock)
    for _ in range(3):
        throttle.admit(one.key)
        throttle.flush()
        clock.advance(86_400)
    with any_database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM access_usage").scalar_one() == 1


def test_a_store_of_limits_that_cannot_be_used_is_told(any_database: Database, clock: ManualClock) -> None:
    with pytest.raises(InvalidInput, match="limits_url"):
        Throttle(KeyRecords(any_database), clock, "nonsense://x")


@pytest.mark.parametrize(
    ("now", "window", "begin", "end"),
    [
        ("2026-11-29T23:59:59", "day", "2026-11-29", "2026-11-30"),
        ("2026-11-30T00:00:00", "week", "2026-11-30", "2026-12-07"),
        ("2026-12-31T12:00:00", "month", "2026-12-01", "2027-01-01"),
        ("2028-02-29T12:00:00", "month", "2028-02-01", "2028-03-01"),
    ],
)
def test_windows_begin_and_end_in_utc(now: str, window: str, begin: str, end: str) -> None:
    found = window_of(datetime.fromisoformat(now).replace(tzinfo=UTC), window)
    assert [one.date().isoformat() for one in found] == [begin, end]


@pytest.mark.parametrize(
    ("allow", "deny", "address", "comes"),
    [
        ([], [], "10.0.0.7", True),
        (["10.0.0.0/8"], [], "10.0.0.7", True),
        (["10.0.0.0/8"], [], "11.0.0.7", False),
        (["10.0.0.0/8"], ["10.0.0.7"], "10.0.0.7", False),
        ([], ["10.0.0.7"], "10.0.0.8", True),
        (["10.0.0.0/8"], [], "::ffff:10.0.0.7", True),
        (["2001:db8::/32"], [], "2001:db8::1", True),
        (["10.0.0.0/8"], [], "no address", False),
        ([], ["10.0.0.7"], "no address", False),
    ],
)
def test_a_key_comes_from_its_addresses_only(
    gate: Gate, caller: Callable[..., Caller], allow: list[str], deny: list[str], address: str, comes: bool
) -> None:
    refusal = gate.admit(caller(address=address, allow=allow, deny=deny))
    assert (refusal is None) is comes
    assert refusal is None or refusal.kind == "address"


def test_every_resource_must_pass_and_a_denial_speaks_as_aws_does(
    gate: Gate, caller: Callable[..., Caller]
) -> None:
    document = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "lookoutmetrics:*", "Resource": [DETECTOR, ALERT]},
            {"Effect": "Deny", "Action": "lookoutmetrics:DeleteAlert", "Resource": "*"},
        ],
    }
    one = caller([("mine", document)])
    assert gate.authorise(one, "lookoutmetrics:CreateAlert", [ALERT, DETECTOR]) is None
    refusal = gate.authorise(one, "lookoutmetrics:CreateAlert", [ALERT, f"{DETECTOR}2"])
    assert refusal is not None
    assert (refusal.kind, refusal.message) == (
        "denied",
        "User: arn:aws:iam::000000000000:user/ann is not authorized to perform: lookoutmetrics:CreateAlert on "
        f"resource: {DETECTOR}2 because no identity-based policy allows the lookoutmetrics:CreateAlert action",
    )
    refusal = gate.authorise(one, "lookoutmetrics:DeleteAlert", [ALERT])
    assert refusal is not None
    assert refusal.message.endswith("with an explicit deny in an identity-based policy")
    assert gate.authorise(one, "lookoutmetrics:ListAlerts", [])


@pytest.mark.parametrize(
    ("condition", "passes"),
    [
        ({"IpAddress": {"aws:SourceIp": "10.0.0.0/24"}}, True),
        ({"IpAddress": {"aws:SourceIp": "10.1.0.0/24"}}, False),
        ({"DateGreaterThan": {"aws:CurrentTime": "2023-11-14T00:00:00Z"}}, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2023-11-15T00:00:00Z"}}, False),
        ({"NumericLessThan": {"aws:EpochTime": "1700000001"}}, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False),
        ({"StringEquals": {"aws:username": "ann"}}, True),
        ({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/a*"}}, True),
        ({"StringEquals": {"aws:RequestedRegion": "eu-west-1"}}, True),
        ({"StringLike": {"aws:UserAgent": "Boto3/*"}}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["site", "team"]}}, True),
        ({"StringEquals": {"aws:ResourceTag/site": "north"}}, True),
        ({"StringEquals": {"aws:RequestTag/site": "north"}}, False),
    ],
)
def test_every_key_of_a_request_can_be_a_condition(
    gate: Gate, caller: Callable[..., Caller], condition: dict[str, Any], passes: bool
) -> None:
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    made = caller([("mine", {"Version": "2012-10-17", "Statement": statement})])
    one = Caller(made.key, made.address, False, "Boto3/1.38.19", "eu-west-1")
    extra = {"aws:TagKeys": ["site"], "aws:ResourceTag/site": "north"}
    assert (gate.authorise(one, "lookoutmetrics:ListAlerts", [], extra) is None) is passes


def test_a_policy_about_tags_is_asked_with_those_of_each_resource(
    keys: KeyService, throttle: Throttle, audit: Audit, clock: ManualClock, caller: Callable[..., Caller]
) -> None:
    asked: list[str] = []

    def tags_of(resource: str) -> dict[str, str]:
        asked.append(resource)
        return {"site": resource.rpartition(":")[2]}

    gate = Gate(keys, throttle, audit, clock, tags_of=tags_of)
    condition = {"StringEquals": {"aws:ResourceTag/site": "north"}}
    allow = {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition}
    tagged = caller([("tagged", {"Version": "2012-10-17", "Statement": allow})])
    assert gate.authorise(tagged, "lookoutmetrics:ListAlerts", ["a:north"]) is None
    assert gate.authorise(tagged, "lookoutmetrics:ListAlerts", ["a:north", "a:south"]) is not None
    assert asked == ["a:north", "a:north", "a:south"]
    asked.clear()
    assert gate.authorise(caller(["admin"]), "lookoutmetrics:ListAlerts", ["a:south"]) is None
    assert asked == []  # who asks for no tags pays for no look


def test_ten_failures_a_minute_close_the_gate_for_an_address(gate: Gate, clock: ManualClock) -> None:
    for _ in range(9):
        gate.failed("10.0.0.9")
        clock.advance(1)
    assert gate.blocked("10.0.0.9") is None
    gate.failed("10.0.0.9")
    refusal = gate.blocked("10.0.0.9")
    assert refusal is not None
    assert (refusal.kind, refusal.retry_after_s) == ("failures", 51)
    assert gate.blocked("10.0.0.8") is None
    clock.advance(51)
    assert gate.blocked("10.0.0.9") is None
    gate.failed("10.0.0.9")
    assert gate.blocked("10.0.0.9")


def test_one_owner_of_an_ipv6_network_is_one_address(gate: Gate) -> None:
    for number in range(10):
        gate.failed(f"2001:db8::{number:x}")
    assert gate.blocked("2001:db8::ffff")
    assert gate.blocked("2001:db8:0:1::1") is None


def test_the_table_of_failures_is_bounded(gate: Gate) -> None:
    for _ in range(10):
        gate.failed("first")
    for number in range(MOST_ADDRESSES):
        gate.failed(f"address {number}")
    assert gate.blocked("first") is None
    assert len(gate._failures) == MOST_ADDRESSES


def lines(folder: DataFolder) -> list[dict[str, Any]]:
    return [
        json.loads(line)
        for path in sorted(folder.audit.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]


def test_an_audit_line_has_every_field_and_is_there_at_once(
    gate: Gate, folder: DataFolder, clock: ManualClock
) -> None:
    gate.note(
        AuditEntry("r1", key_id="MHAK1", action="lookoutmetrics:CreateAlert", resources=(ALERT,), status=200)
    )
    (line,) = lines(folder)
    assert tuple(line) == FIELDS
    assert (line["time"], line["resources"]) == (clock.now().isoformat(timespec="milliseconds"), [ALERT])
    (path,) = folder.audit.iterdir()
    assert path.name == "2023-11-14.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600


def test_reads_are_audited_on_request_only(
    keys: KeyService, throttle: Throttle, audit: Audit, clock: ManualClock, folder: DataFolder
) -> None:
    for wanted in (False, True):
        gate = Gate(keys, throttle, audit, clock, audit_reads=wanted)
        gate.note(AuditEntry("r1"), read=True)
        gate.close()
        assert len(lines(folder)) == wanted


def test_the_audit_is_read_by_time_and_key(audit: Audit, clock: ManualClock) -> None:
    for number in range(6):
        audit.write(AuditEntry(f"r{number}", key_id="ab"[number % 2]))
        clock.advance(12 * 3600)
    since = clock.now() - timedelta(hours=36)
    assert [line["request_id"] for line in audit.read(since)] == ["r3", "r4", "r5"]
    assert [line["request_id"] for line in audit.read(since, "b")] == ["r3", "r5"]
    assert len(list(audit.read())) == 6


def test_a_torn_line_is_left_out_and_swallows_no_other(audit: Audit, folder: DataFolder) -> None:
    audit.write(AuditEntry("r1"))
    (path,) = folder.audit.iterdir()
    with path.open("a") as file:
        file.write('{"time": "2023')
    audit._torn = True
    audit.write(AuditEntry("r2"))
    assert [line["request_id"] for line in audit.read()] == ["r1", "r2"]


def test_files_older_than_400_days_go(audit: Audit, clock: ManualClock, folder: DataFolder) -> None:
    audit.write(AuditEntry("old"))
    clock.advance(400 * 86_400)
    assert audit.trim() == 0
    clock.advance(86_400)
    audit.write(AuditEntry("new"))
    assert audit.trim() == 1
    assert [line["request_id"] for line in lines(folder)] == ["new"]


def test_an_audit_that_cannot_be_written_is_told(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "audit").write_text("a file where the folder should be")
    with pytest.raises(LimitReached, match="audit"):
        Audit(tmp_path / "audit", clock).write(AuditEntry("r1"))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_told(folder: DataFolder, audit: Audit, clock: ManualClock) -> None:
    folder.audit.mkdir()
    (folder.audit / f"{clock.now().date()}.jsonl").symlink_to("/dev/full")
    audit.check()  # nobody can know yet
    with pytest.raises(LimitReached, match="No space left"):
        audit.write(AuditEntry("r1"))
    with pytest.raises(LimitReached, match="No space left"):
        audit.check()


def test_long_texts_are_cut(audit: Audit) -> None:
    audit.write(AuditEntry("r1", user_agent="x" * 10_000, resources=("y" * 10_000,) * 50))
    (line,) = audit.read()
    assert len(line["user_agent"]) == 2048
    assert [len(one) for one in line["resources"]] == [2048] * 20


def test_use_and_audit_are_written_down_by_themselves(
    gate: Gate, keys: KeyService, caller: Callable[..., Caller]
) -> None:
    one = caller(quota=5, window="day")
    gate.admit(one)
    gate.close()
    assert keys.get_key(one.key.id).last_used is not None


def test_the_key_of_a_caller_says_nothing_of_its_secret(caller: Callable[..., Caller]) -> None:
    assert not {"secret", "secret_box"} & set(Key.__slots__)
    assert "secret" not in repr(caller())
