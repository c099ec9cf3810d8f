"""Keys: made once, shown once, refused at once; links and sessions of the console."""

import json
import os
import stat
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from masthead.access.keys import KeyService, NewKey
from masthead.access.shipped import SHIPPED
from masthead.app import Masthead
from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.base.settings import load_settings
from masthead.store.engine import Database

ARN = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/air"
ONLY_AIR: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": ARN},
}


@pytest.fixture
def keys(any_database: Database, folder: DataFolder, clock: ManualClock, journal: Journal) -> KeyService:
    return KeyService(any_database, SecretBox.open_or_create(folder.path), clock, journal)


def token(made: NewKey) -> str:
    return f"{made.key.id}.{made.secret}"


def test_a_new_key_opens_with_its_secret_and_with_no_other(keys: KeyService) -> None:
    made, other = keys.create_key("a", ["admin"]), keys.create_key("b", ["admin"])
    assert keys.authenticate(token(made)) == made.key
    for wrong in (
        "",
        ".",
        made.key.id,
        f"{made.key.id}.",
        f"{made.key.id}.{other.secret}",
        f"X.{made.secret}",
    ):
        assert keys.authenticate(wrong) is None
    assert keys.authenticate(f"{made.key.id}.\ud800") is None


def test_ids_and_secrets_have_the_promised_form(keys: KeyService) -> None:
    made = keys.create_key()
    assert made.key.id.startswith("MHAK")
    assert len(made.key.id) == 20
    assert set(made.key.id[4:]) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    assert len(made.secret) == 40
    assert made.key.name == made.key.id


def test_the_secret_is_in_no_repr_no_json_and_lies_sealed(keys: KeyService, any_database: Database) -> None:
    made = keys.create_key("a", ["admin"])
    assert made.secret not in repr(made)
    assert made.secret not in json.dumps(made.key.to_json())
    keys.authenticate(token(made))
    assert made.secret not in repr(vars(keys))
    with any_database.read() as connection:
        sealed = bytes(connection.exec_driver_sql("SELECT secret_box FROM access_keys").scalar_one())
    assert made.secret.encode() not in sealed
    assert sealed[:1] == b"\x01"


def test_rows_cannot_be_swapped(keys: KeyService, any_database: Database) -> None:
    made, other = keys.create_key("a", ["admin"]), keys.create_key("b")
    with any_database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE access_keys SET secret_box = (SELECT secret_box FROM access_keys WHERE id = '{other.key.id}')"
        )
    assert keys.authenticate(f"{made.key.id}.{other.secret}") is None


def test_a_key_without_a_policy_may_do_nothing(keys: KeyService) -> None:
    made = keys.create_key("a")
    assert made.key.policies == ()
    assert keys.test_policy(made.key.id, "sagemaker:InvokeEndpoint", ARN).word == "implicit deny"


@pytest.mark.parametrize("policies", [["invoke"], [("one", ONLY_AIR)], ["invoke", ("one", ONLY_AIR)]])
def test_a_key_that_only_invokes_is_bounded_unless_told_otherwise(keys: KeyService, policies: Any) -> None:
    made = keys.create_key("a", policies)
    assert (made.key.rate, made.key.burst) == (10, 20)
    assert keys.create_key("b", policies, quota=5, window="day").key.rate is None
    assert keys.create_key("c", [*policies, "ingest"]).key.rate is None
    assert keys.create_key("d", policies, rate=2.5).key.plan == "2.5/s burst 3"


def test_a_revoked_key_is_refused_at_once_and_by_another_process_within_a_second(
    keys: KeyService, any_database: Database, folder: DataFolder, clock: ManualClock, journal: Journal
) -> None:
    url = any_database.engine.url.render_as_string(hide_password=False)
    elsewhere = Database.open(folder.database_path if any_database.is_sqlite else url)
    other = KeyService(elsewhere, SecretBox.open_or_create(folder.path), clock, journal)
    made = keys.create_key("a", ["admin"])
    assert other.authenticate(token(made))
    revoked = keys.revoke_key(made.key.id)
    started = time.monotonic()
    assert revoked.state == "revoked"
    assert keys.authenticate(token(made)) is None
    while other.authenticate(token(made)):
        assert time.monotonic() - started < 1
        time.sleep(0.02)
    clock.advance(60)
    assert keys.revoke_key(made.key.id).revoked == revoked.revoked
    elsewhere.close()


def test_a_key_expires_by_time(keys: KeyService, clock: ManualClock) -> None:
    made = keys.create_key("a", ["admin"], expires_s=3600)
    clock.advance(3599)
    assert keys.authenticate(token(made))
    clock.advance(1)
    assert keys.authenticate(token(made)) is None
    assert keys.get_key(made.key.id).state == "expired"


def test_policies_are_replaced_and_tried(keys: KeyService) -> None:
    made = keys.create_key("a", ["invoke"])
    assert keys.test_policy(made.key.id, "sagemaker:InvokeEndpoint", ARN).statement == "invoke: Invoke"
    changed = keys.set_policies(made.key.id, [("one", ONLY_AIR)])
    assert changed.policies[0].document == ONLY_AIR
    assert keys.test_policy(made.key.id, "sagemaker:InvokeEndpoint", ARN).allowed
    assert not keys.test_policy(made.key.id, "sagemaker:InvokeEndpoint", ARN + "2").allowed
    with pytest.raises(NotFound, match="nope"):
        keys.set_policies(made.key.id, ["nope"])
    with pytest.raises(InvalidInput, match="shipped"):
        keys.set_policies(made.key.id, [("admin", ONLY_AIR)])
    with pytest.raises(InvalidInput, match="10"):
        keys.set_policies(made.key.id, [(f"p{n}", ONLY_AIR) for n in range(11)])


def test_a_shipped_policy_is_kept_by_its_name(keys: KeyService, any_database: Database) -> None:
    keys.create_key("a", ["read-only"])
    with any_database.read() as connection:
        stored = connection.exec_driver_sql("SELECT policies FROM access_keys").scalar_one()
    assert json.loads(stored) == [{"name": "read-only", "document": None}]
    assert keys.list_keys()[0].policies[0].document == SHIPPED["read-only"]


def test_a_stored_policy_that_cannot_be_read_denies_everything(
    keys: KeyService, any_database: Database
) -> None:
    made = keys.create_key("a", ["admin", ("one", ONLY_AIR)])
    with any_database.write() as connection:
        connection.exec_driver_sql("UPDATE access_keys SET policies = replace(policies, 'Effect', 'Defect')")
    assert keys.test_policy(made.key.id, "sagemaker:InvokeEndpoint", ARN).word == "explicit deny"


def test_what_is_not_named_stays_when_a_key_changes(keys: KeyService) -> None:
    made = keys.create_key("a", ["admin"], rate=5, burst=10, quota=7, window="week", allow=["10.0.0.0/8"])
    changed = keys.update_key(made.key.id, quota=9, origins=["https://App.example:443"])
    assert (changed.rate, changed.burst, changed.quota, changed.window) == (5, 10, 9, "week")
    assert (changed.allow, changed.origins) == (("10.0.0.0/8",), ("https://app.example",))
    freed = keys.update_key(made.key.id, rate=None, quota=None)
    assert freed.plan == "unlimited"
    assert keys.authenticate(token(made)) == freed


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"rate": 0}, "rate"),
        ({"rate": 20_000.0}, "rate"),
        ({"burst": 5}, "burst"),
        ({"rate": 0.001, "burst": 1000}, "burst"),
        ({"rate": 1.0, "burst": 0}, "burst"),
        ({"quota": 5}, "quota"),
        ({"quota": 5, "window": "year"}, "quota"),
        ({"quota": 0, "window": "day"}, "quota"),
        ({"allow": ["10.0.0.300"]}, "allow"),
        ({"deny": ["x"]}, "deny"),
        ({"origins": ["example.org"]}, "origin"),
        ({"origins": ["https://a/path"]}, "origin"),
        ({"origins": ["https://u@a"]}, "origin"),
        ({"expires_s": 0}, "expires"),
    ],
)
def test_a_bound_out_of_its_range_is_refused_by_name(keys: KeyService, limits: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        keys.create_key("a", ["admin"], **limits)
    assert caught.value.field == field
    assert keys.list_keys() == []


def test_the_first_start_makes_one_key_and_the_second_none(keys: KeyService) -> None:
    made = keys.first_key()
    assert made is not None
    assert (made.key.name, [one.name for one in made.key.policies], made.preset) == (
        "admin",
        ["admin"],
        False,
    )
    assert keys.first_key() is None
    keys.revoke_key(made.key.id)
    assert keys.first_key() is None


def test_a_preset_holds_after_every_start(keys: KeyService) -> None:
    other = keys.create_key("other", ["invoke"])
    for secret in ("one-secret", "one-secret", "another-secret"):
        made = keys.first_key(("preset_key", secret))
        assert made is not None
        assert made.preset
        assert keys.authenticate(f"preset_key.{secret}") == made.key
    assert keys.authenticate("preset_key.one-secret") is None
    keys.revoke_key("preset_key")
    keys.first_key(("preset_key", "another-secret"))
    assert keys.authenticate("preset_key.another-secret")
    keys.set_policies("preset_key", ["invoke"])
    keys.first_key(("preset_key", "another-secret"))
    assert [one.name for one in keys.get_key("preset_key").policies] == ["admin"]
    assert keys.authenticate(token(other))
    assert len(keys.list_keys()) == 2


def test_a_preset_that_does_not_change_writes_nothing(keys: KeyService, any_database: Database) -> None:
    keys.first_key(("preset_key", "one-secret"))
    with any_database.read() as connection:
        before = connection.exec_driver_sql("SELECT value FROM access_revisions").scalar_one()
    keys.first_key(("preset_key", "one-secret"))
    with any_database.read() as connection:
        assert connection.exec_driver_sql("SELECT value FROM access_revisions").scalar_one() == before


@pytest.mark.parametrize(
    ("id", "secret", "field"),
    [
        ("abc", "s", "access_key_id"),
        ("with-dash", "s", "access_key_id"),
        ("a" * 129, "s", "access_key_id"),
        ("preset", "a b", "secret_access_key"),
        ("preset", "s" * 129, "secret_access_key"),
        ("preset", "ä", "secret_access_key"),
    ],
)
def test_a_preset_out_of_its_range_is_refused_without_showing_it(
    keys: KeyService, id: str, secret: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        keys.first_key((id, secret))
    assert caught.value.field == field
    assert field == "access_key_id" or secret not in caught.value.message


def test_another_master_key_is_told_in_one_sentence(keys: KeyService, any_database: Database, clock: ManualClock, journal: Journal) -> None:  # fmt: skip
    keys.create_key("a", ["admin"])
    other = KeyService(any_database, SecretBox(b"x" * 32), clock, journal)
    for act in (other.first_key, other.check_master_key, lambda: other.create_key("b")):
        with pytest.raises(Conflict, match="another master key"):
            act()
    assert other.secret_of(keys.list_keys()[0].id) is None


def test_an_absent_master_key_is_not_made_anew_where_there_are_keys(tmp_path: Path) -> None:
    settings = load_settings({}, data=tmp_path / "data")
    with Masthead.open(settings) as product:
        product.keys.create_key("a", ["admin"])
    kept = (tmp_path / "data/master.key").read_bytes()
    (tmp_path / "data/master.key").unlink()
    with pytest.raises(Conflict, match="master key that is not at"):
        Masthead.open(settings)
    assert not (tmp_path / "data/master.key").exists()
    (tmp_path / "data/master.key").write_bytes(kept)
    with Masthead.open(settings) as product:
        assert len(product.keys.list_keys()) == 1


def test_a_link_opens_one_session_within_ten_minutes(keys: KeyService, clock: ManualClock) -> None:
    made = keys.create_key("a", ["admin"])
    link = keys.make_link(made.key.id)
    opened = keys.open_session(link)
    assert opened is not None
    assert keys.session(opened) == made.key
    assert keys.open_session(link) is None
    late = keys.make_link()
    clock.advance(600)
    assert keys.open_session(late) is None
    assert keys.open_session("nonsense") is None
    assert keys.session("nonsense") is None


def test_a_link_without_a_key_is_the_oldest_administrators(keys: KeyService, clock: ManualClock) -> None:
    keys.create_key("b", ["invoke"])
    with pytest.raises(NotFound, match="admin"):
        keys.make_link()
    first = keys.create_key("a", ["admin"])
    clock.advance(1)
    keys.create_key("c", ["admin"])
    session = keys.open_session(keys.make_link())
    assert session is not None
    assert keys.session(session) == first.key
    keys.revoke_key(first.key.id)
    with pytest.raises(Conflict, match="revoked"):
        keys.make_link(first.key.id)


def test_a_session_ends_when_idle_when_old_when_closed_and_with_its_key(
    keys: KeyService, clock: ManualClock
) -> None:
    made = keys.create_key("a", ["admin"])

    def opened() -> str:
        found = keys.open_session(keys.make_link(made.key.id))
        assert found is not None
        return found

    idle = opened()
    clock.advance(12 * 3600)
    assert keys.session(idle) is None
    used = opened()
    for _ in range(14):
        clock.advance(12 * 3600 - 1)
        assert keys.session(used)
    clock.advance(14)
    assert keys.session(used) is None
    closed = opened()
    keys.close_session(closed)
    assert keys.session(closed) is None
    last = opened()
    keys.revoke_key(made.key.id)
    assert keys.session(last) is None


def test_a_sessions_use_is_seen_by_another_process(
    keys: KeyService, any_database: Database, folder: DataFolder, clock: ManualClock, journal: Journal
) -> None:
    keys.create_key("a", ["admin"])
    session = keys.open_session(keys.make_link())
    assert session is not None
    other = KeyService(any_database, SecretBox.open_or_create(folder.path), clock, journal)
    assert other.session(session)
    clock.advance(7 * 3600)
    assert keys.session(session)
    clock.advance(7 * 3600)
    assert other.session(session)


def test_tokens_are_kept_as_digests_only(keys: KeyService, any_database: Database) -> None:
    keys.create_key("a", ["admin"])
    link = keys.make_link()
    session = keys.open_session(keys.make_link())
    with any_database.read() as connection:
        rows = [
            str(row)
            for table in ("console_links", "console_sessions")
            for row in connection.exec_driver_sql(f"SELECT * FROM {table}")
        ]
    assert len(rows) == 2
    assert not any(secret in row for row in rows for secret in (link, str(session)))


def test_a_preset_needs_both_halves_and_is_in_no_repr() -> None:
    both = {"MASTHEAD_ACCESS_KEY_ID": "preset", "MASTHEAD_SECRET_ACCESS_KEY": "very-secret"}
    found = load_settings(both)
    assert found.preset_key == ("preset", "very-secret")
    assert "very-secret" not in repr(found) + str(found.model_dump()) + found.model_dump_json()
    for name in both:
        with pytest.raises(InvalidInput, match="both") as caught:
            _ = load_settings({name: both[name]}).preset_key
        assert "very-secret" not in caught.value.message
    assert load_settings({}).preset_key is None


def test_a_secret_of_the_wrong_type_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "masthead.toml").write_text("secret_access_key = 271828182845\n")
    with pytest.raises(InvalidInput) as caught:
        load_settings({}, data=tmp_path)
    assert "271828" not in caught.value.message
    assert caught.value.__cause__ is None


def test_the_master_key_and_the_data_folder_are_their_owners_only(tmp_path: Path) -> None:
    os.umask(0o022)
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        product.keys.create_key("a")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data/master.key").stat().st_mode) == 0o600


def test_keys_that_were_made_by_another_service_are_found(
    keys: KeyService, any_database: Database, folder: DataFolder, clock: ManualClock, journal: Journal
) -> None:
    assert keys.authenticate("MHAKNONE.x") is None
    made = KeyService(any_database, SecretBox.open_or_create(folder.path), clock, journal).create_key("a")
    until = time.monotonic() + 1
    while keys.authenticate(token(made)) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    assert keys.list_keys()[0].created == clock.now()
    assert clock.now() - keys.list_keys()[0].created == timedelta(0)
