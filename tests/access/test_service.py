"""Things, certificates and policies as verbs."""

import json
import stat
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from masthead.access.authority import signed_by
from masthead.access.records import MOST_FORBIDDEN, MOST_SHARED
from masthead.access.service import AccessService
from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.base.folder import DataFolder
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

PUBLISH_AIR: dict[str, Any] = {
    "Statement": [
        {"Effect": "Allow", "Action": ["iot:Connect", "iot:Publish"], "Resource": ["client/*", "topic/air/#"]}
    ]
}


@pytest.fixture
def access(any_database: Database, folder: DataFolder, clock: ManualClock, journal: Journal) -> AccessService:
    return AccessService(any_database, folder, SecretBox.open_or_create(folder.path), clock, journal)


def test_a_new_thing_gets_key_certificate_and_authority_as_files(access: AccessService) -> None:
    made = access.create_thing("Test-Thing", attributes={"site": "north"})
    assert stat.S_IMODE(made.key_path.stat().st_mode) == 0o600
    assert made.key_path.read_text() == made.key
    assert signed_by(made.certificate_path.read_bytes(), made.authority_path.read_bytes())
    assert made.thing.policies == ("sensor",)
    assert access.get_thing("Test-Thing") == made.thing
    assert [user.thing for user in access.users()] == ["Test-Thing"]


def test_the_users_subject_is_the_certificates_own(access: AccessService) -> None:
    made = access.create_thing("a")
    found = x509.load_pem_x509_certificate(made.certificate.encode())
    assert access.users()[0].subject == found.subject.rfc4514_string()
    assert made.thing.certificate_sha256 == found.fingerprint(SHA256()).hex()


def test_the_authoritys_key_lies_sealed_in_the_database(
    access: AccessService, any_database: Database
) -> None:
    access.create_thing("a")
    with any_database.read() as connection:
        sealed = connection.exec_driver_sql("SELECT sealed_key FROM authorities").scalar_one()
    assert b"PRIVATE KEY" not in bytes(sealed)


def test_a_revoked_thing_is_no_user_and_cannot_be_renewed(access: AccessService) -> None:
    access.create_thing("a")
    before = access.revision()
    assert access.revoke_thing("a").revoked
    assert access.users() == []
    assert access.revision() > before
    with pytest.raises(Conflict, match="revoked"):
        access.renew_thing("a")


def test_a_renewal_leaves_the_former_certificate_a_day(access: AccessService, clock: ManualClock) -> None:
    old = access.create_thing("a").thing
    new = access.renew_thing("a").thing
    assert new.serial != old.serial
    assert access.get_thing("a").serial == new.serial
    assert len(access.users()) == 2
    clock.advance(86_401)
    assert [user.subject for user in access.users()] == [f"OU={new.serial},CN=a"]


def test_a_deleted_things_certificate_does_not_open_for_a_new_thing_of_that_name(
    access: AccessService,
) -> None:
    old = access.create_thing("a")
    access.delete_thing("a")
    assert not old.key_path.exists()
    access.create_thing("a")
    assert f"OU={old.thing.serial},CN=a" not in [user.subject for user in access.users()]


def test_certificates_are_told_before_they_end_and_end_by_time(
    access: AccessService, clock: ManualClock
) -> None:
    access.create_thing("a", days=40)
    assert access.expiring() == []
    clock.advance(11 * 86_400)
    assert [thing.name for thing in access.expiring()] == ["a"]
    clock.advance(30 * 86_400)
    assert access.users() == []


@pytest.mark.parametrize("name", ["", "a/b", "../x", "a b", "x" * 64, 3])
def test_a_name_that_could_not_be_a_path_is_refused(access: AccessService, name: Any) -> None:
    with pytest.raises(InvalidInput, match="name"):
        access.create_thing(name)


@pytest.mark.parametrize("value", ["+", "a/b", "#", "a*", "a b", "", "$x"])
def test_an_attribute_that_would_widen_a_policy_is_refused(access: AccessService, value: str) -> None:
    with pytest.raises(InvalidInput, match="attributes"):
        access.create_thing("a", attributes={"site": value})


def test_names_are_taken_once(access: AccessService) -> None:
    access.create_thing("a")
    with pytest.raises(Conflict, match="exists"):
        access.create_thing("a")
    access.create_policy("air", PUBLISH_AIR)
    with pytest.raises(Conflict, match="exists"):
        access.create_policy("air", PUBLISH_AIR)
    with pytest.raises(Conflict, match="exists"):
        access.create_policy("sensor", PUBLISH_AIR)


def test_a_policy_in_use_cannot_be_deleted(access: AccessService) -> None:
    access.create_policy("air", PUBLISH_AIR)
    access.create_thing("a", ["air"])
    with pytest.raises(Conflict, match="used by"):
        access.delete_policy("air")
    access.update_thing("a", policies=["sensor"])
    access.delete_policy("air")
    with pytest.raises(NotFound):
        access.get_policy("air")
    with pytest.raises(Conflict, match="built in"):
        access.delete_policy("sensor")


def test_a_changed_policy_holds_for_the_things_that_have_it(access: AccessService) -> None:
    access.create_policy("air", PUBLISH_AIR)
    access.create_thing("a", ["air"])
    before = access.compiled_permissions()["a"]
    document = json.loads(json.dumps(PUBLISH_AIR).replace("air", "water"))
    assert access.update_policy("air", document).document == document
    assert access.compiled_permissions()["a"] != before
    with pytest.raises(Conflict, match="built in"):
        access.update_policy("sensor", PUBLISH_AIR)
    with pytest.raises(NotFound):
        access.update_policy("none", PUBLISH_AIR)
    with pytest.raises(InvalidInput):
        access.update_policy("air", {"Statement": "all"})


def test_a_policy_can_be_tried_before_use(access: AccessService) -> None:
    access.create_policy("air", PUBLISH_AIR)
    assert access.test_policy("air", "iot:Publish", "topic/air/x")
    assert not access.test_policy("air", "iot:Publish", "water/x")
    assert access.test_policy("sensor", "iot:Publish", "sensors/b/x", "b")
    with pytest.raises(InvalidInput, match="action"):
        access.test_policy("air", "iot:Fly", "x")


def test_an_unknown_policy_makes_no_thing(access: AccessService) -> None:
    with pytest.raises(NotFound, match="policies"):
        access.create_thing("a", ["nope"])
    assert access.list_things() == []


def test_forbidden_publishes_are_counted_and_bounded(access: AccessService, clock: ManualClock) -> None:
    access.create_thing("a")
    access.record_forbidden("a", "x")
    clock.advance(1)
    access.record_forbidden("a", "x", count=4)
    (found,) = access.forbidden("a")
    assert (found.topic, found.count) == ("x", 5)
    assert found.at - found.first_at == timedelta(seconds=1)
    clock.advance(1)
    for number in range(MOST_FORBIDDEN):
        access.record_forbidden("a", f"y{number}")
    topics = [one.topic for one in access.forbidden("a")]
    assert len(topics) == MOST_FORBIDDEN
    assert "x" not in topics


def test_a_client_id_that_two_things_share_is_counted_for_both_and_bounded(
    access: AccessService, clock: ManualClock
) -> None:
    access.create_thing("a")
    access.create_thing("b")
    access.record_takeover("pump", "b", "a")
    clock.advance(1)
    access.record_takeover("pump", "a", "b", count=4)
    (found,) = access.shared_client_ids("a")
    assert [found] == access.shared_client_ids("b") == access.shared_client_ids()
    assert (found.client_id, found.things, found.count) == ("pump", ("a", "b"), 5)
    assert found.at - found.first_at == timedelta(seconds=1)
    clock.advance(3600)
    assert access.shared_client_ids(within=timedelta(hours=1)) == [found]
    for number in range(MOST_SHARED):
        clock.advance(1)
        access.record_takeover("x" * 5000 + str(number) if number == 0 else f"x{number}", "a", "c")
    assert len(access.shared_client_ids()) == MOST_SHARED
    assert access.shared_client_ids("b") == []
    assert access.shared_client_ids(within=timedelta(seconds=10))
    assert len(access.shared_client_ids("c")[-1].client_id) == 200
    access.delete_thing("a")
    assert access.shared_client_ids() == []


def test_the_sender_follows_changes_once_told(access: AccessService) -> None:
    access.create_thing("a")
    assert access.sender("sensors.a.air") == "a"
    access.delete_thing("a")
    access.forget_senders()
    assert access.sender("sensors.a.air") is None


def test_the_server_certificate_is_renewed_for_age_and_for_a_new_name(
    access: AccessService, folder: DataFolder, clock: ManualClock
) -> None:
    home = folder.path / "nats"
    assert access.server_certificate(home, ["localhost", "127.0.0.1"])[3]
    assert not access.server_certificate(home, ["localhost"])[3]
    assert access.server_certificate(home, ["localhost", "gate.example"])[3]
    clock.advance(340 * 86_400)
    certificate, _, authority, renewed = access.server_certificate(home, ["localhost"])
    assert renewed
    assert signed_by(certificate.read_bytes(), authority.read_bytes())
    assert authority == folder.path / "ca.pem"


def test_an_installation_from_before_gets_the_file_of_its_authority_and_keeps_its_certificate(
    access: AccessService, folder: DataFolder
) -> None:
    home = folder.path / "https"
    certificate, _, authority, _ = access.server_certificate(home, ["localhost"])
    kept = certificate.read_bytes()
    authority.rename(home / "ca.pem")
    assert not access.server_certificate(home, ["localhost"])[3]
    assert certificate.read_bytes() == kept
    assert authority.read_bytes() == (home / "ca.pem").read_bytes()
