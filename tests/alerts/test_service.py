"""The verbs: rules with sealed secrets, notify inside a transaction, tries, tests, counts, self-watch."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from masthead.alerts.channels import Outcome
from masthead.alerts.events import AlertEvent
from masthead.alerts.messages import Message
from masthead.alerts.service import AlertsService
from masthead.alerts.watch import Facts
from masthead.alerts.worker import PAUSES_S
from masthead.base.clock import ManualClock
from masthead.base.errors import Conflict, InvalidInput, NotFound
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.base.telemetry import exposition
from masthead.store.engine import Database

SUBJECT = {"kind": "subject"}


class Receiver:
    """A channel that the test holds in its hand: it takes or refuses, and keeps what it took."""

    def __init__(self) -> None:
        self.up = True
        self.seen: list[Message] = []
        self.tries: list[float] = []

    def __call__(self, channel: Mapping[str, Any], message: Message) -> Outcome:
        self.tries.append(time.monotonic())
        if not self.up:
            return Outcome(False, "nobody there")
        self.seen.append(message)
        return Outcome(True, "taken")


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def alerts(any_database: Database, clock: ManualClock, journal: Journal, receiver: Receiver) -> AlertsService:
    service = AlertsService(any_database, SecretBox(b"k" * 32), clock, journal)
    service.register_channel("subject", receiver)
    return service


def event(clock: ManualClock, **fields: Any) -> AlertEvent:
    now = clock.now()
    known = {"detector": "air", "group": "g1", "stage": "open", "measure": "SO2", "severity": 89.0}
    return AlertEvent(**(known | {"start": now, "end": now, "value": 120.0} | fields))


def tell(alerts: AlertsService, database: Database, happening: AlertEvent) -> int:
    with database.write() as connection:
        return alerts.notify(connection, happening)


def test_a_group_is_told_once_however_often_it_is_reported(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    assert tell(alerts, any_database, event(clock)) == 1
    assert tell(alerts, any_database, event(clock)) == 0
    assert alerts.deliver_due() == 1
    assert tell(alerts, any_database, event(clock, severity=98.0, stage="raised")) == 0
    assert tell(alerts, any_database, event(clock, severity=99.0, stage="raised")) == 1
    assert tell(alerts, any_database, event(clock, severity=99.0, stage="closed")) == 0
    alerts.deliver_due()
    assert [one.event.severity for one in receiver.seen] == [89.0, 99.0]
    assert len({one.key for one in receiver.seen}) == 2


def test_an_alert_and_the_change_it_reports_are_stored_together_or_not_at_all(
    alerts: AlertsService, any_database: Database, clock: ManualClock
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})

    def fail() -> None:
        with any_database.write() as connection:
            assert alerts.notify(connection, event(clock)) == 1
            raise RuntimeError("the group could not be stored")

    with pytest.raises(RuntimeError):
        fail()
    assert alerts.deliver_due() == 0
    assert tell(alerts, any_database, event(clock)) == 1


# --- named channels -------------------------------------------------------------------------------------

NIGHT = {"kind": "named", "name": "night"}


def test_what_is_told_to_a_channel_that_does_not_exist_waits_until_it_does(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    before = _counter("masthead_alerts_unheard_total")
    alerts.create_rule({"name": "r", "channel": NIGHT})
    assert tell(alerts, any_database, event(clock)) == 1
    assert alerts.deliver_due() == 0
    (waiting,) = alerts.deliveries(state="unheard").items
    assert (waiting.rule, waiting.channel, waiting.tries) == ("r", "named", 0)
    assert alerts.counts()["unheard"] == 1
    assert _counter("masthead_alerts_unheard_total") == before + 1
    with pytest.raises(Conflict, match="night"):
        alerts.retry(waiting.id)
    alerts.create_channel({"name": "night", **SUBJECT})
    assert alerts.deliver_due() == 1
    assert [one.event.group for one in receiver.seen] == ["g1"]
    assert alerts.get_delivery(waiting.id).state == "delivered"


def test_a_new_channel_gets_what_is_a_day_old_and_no_more(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": NIGHT})
    tell(alerts, any_database, event(clock, group="old"))
    clock.advance(23 * 3600)
    tell(alerts, any_database, event(clock, group="fresh"))
    clock.advance(2 * 3600)
    alerts.create_channel({"name": "night", **SUBJECT})
    alerts.deliver_due()
    assert [one.event.group for one in receiver.seen] == ["fresh"]
    (old,) = alerts.deliveries(state="unheard").items
    alerts.retry(old.id)
    alerts.deliver_due()
    assert [one.event.group for one in receiver.seen] == ["fresh", "old"]


def test_rules_share_a_named_channel_until_it_is_deleted(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_channel({"name": "night", **SUBJECT})
    for name in ("a", "b"):
        alerts.create_rule({"name": name, "channel": NIGHT})
    assert tell(alerts, any_database, event(clock)) == 2
    alerts.deliver_due()
    assert sorted(one.rule for one in receiver.seen) == ["a", "b"]
    tell(alerts, any_database, event(clock, group="g2"))
    alerts.delete_channel("night")
    assert alerts.deliver_due() == 0
    assert [one.group for one in alerts.deliveries(state="unheard").items] == ["g2", "g2"]
    with pytest.raises(NotFound, match="night"):
        alerts.delete_channel("night")


def test_a_named_channel_hides_its_secrets_and_still_has_them(
    alerts: AlertsService, any_database: Database, receiver: Receiver
) -> None:
    seen: list[Mapping[str, Any]] = []
    alerts.register_channel("webhook", lambda channel, message: seen.append(channel) or Outcome(True, "ok"))
    made = alerts.create_channel(
        {"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:9/x", "secret": "s3cret-words"}
    )
    assert made.to_json()["secret"] == "***"
    assert [one.name for one in alerts.list_channels()] == ["hook"]
    alerts.create_rule({"name": "r", "channel": {"kind": "named", "name": "hook"}})
    assert alerts.test_rule("r").state == "delivered"
    assert seen[0]["secret"] == "s3cret-words"
    with any_database.read() as connection:
        row = connection.execute(text("SELECT channel, secret FROM alert_channels")).one()
    assert "s3cret" not in row.channel
    assert b"s3cret" not in bytes(row.secret)


def test_the_test_of_a_rule_without_its_channel_says_that_nobody_hears_it(alerts: AlertsService) -> None:
    alerts.create_rule({"name": "r", "channel": NIGHT})
    sent = alerts.test_rule("r")
    assert sent.state == "undelivered"
    assert "no channel night" in sent.last_error


@pytest.mark.parametrize(
    "given",
    [
        {"name": "x", **NIGHT},
        {"name": "a b", **SUBJECT},
        {"name": "x", "kind": "webhook"},
        {"kind": "subject"},
        {"name": "x", "kind": "subject", "colour": "red"},
    ],
)
def test_a_channel_that_cannot_be_is_refused(alerts: AlertsService, given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        alerts.create_channel(given)
    assert alerts.list_channels() == []


def test_a_name_is_one_channel(alerts: AlertsService) -> None:
    alerts.create_channel({"name": "x", **SUBJECT})
    with pytest.raises(Conflict, match="x"):
        alerts.create_channel({"name": "x", **SUBJECT})
    assert alerts.get_channel("x").channel == SUBJECT


def _counter(name: str) -> float:
    lines = [line for line in exposition().decode().splitlines() if line.startswith(f"{name} ")]
    return float(lines[0].split()[1]) if lines else 0.0


def test_a_muted_group_stays_silent(
    alerts: AlertsService, any_database: Database, clock: ManualClock
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    assert tell(alerts, any_database, event(clock, muted=True)) == 0


def test_a_refused_alert_is_tried_at_the_stated_times_and_then_given_up(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    receiver.up = False
    tell(alerts, any_database, event(clock))
    start, times = clock.time(), []
    for pause_s in (0, *PAUSES_S):
        clock.advance(pause_s)
        assert alerts.deliver_due() == 1
        assert alerts.deliver_due() == 0
        times.append(clock.time() - start)
    assert times[:7] == [0, 5, 30, 120, 600, 4200, 7800]
    assert times[-1] == 600 + 24 * 3600
    (found,) = alerts.deliveries().items
    assert (found.state, found.tries, found.last_error) == ("undelivered", 29, "nobody there")
    assert alerts.counts()["undelivered"] == 1
    assert b"masthead_alerts_undelivered_total" in exposition()
    receiver.up = True
    clock.advance(10)
    assert alerts.deliver_due() == 0
    alerts.retry(found.id)
    assert alerts.deliver_due() == 1
    assert alerts.get_delivery(found.id).state == "delivered"
    with pytest.raises(Conflict):
        alerts.retry(found.id)


def test_an_alert_that_fails_at_first_arrives_later_under_the_same_key(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    receiver.up = False
    tell(alerts, any_database, event(clock))
    alerts.deliver_due()
    receiver.up = True
    clock.advance(5)
    alerts.deliver_due()
    (found,) = alerts.deliveries().items
    assert found.state == "delivered"
    assert found.tries == 2
    assert found.id == receiver.seen[0].key


def test_a_sender_that_breaks_is_a_failed_try(
    alerts: AlertsService, any_database: Database, clock: ManualClock
) -> None:
    def broken(channel: Mapping[str, Any], message: Message) -> Outcome:
        raise RuntimeError("bug")

    alerts.register_channel("subject", broken)
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    tell(alerts, any_database, event(clock))
    alerts.deliver_due()
    assert alerts.deliveries().items[0].last_error == "RuntimeError: bug"


def test_quiet_hours_hold_an_alert_and_lose_nothing(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    # the clock stands at 2023-11-14 22:13:20 UTC
    alerts.create_rule({"name": "r", "channel": SUBJECT, "quiet_hours": "22:00-06:00"})
    tell(alerts, any_database, event(clock))
    assert alerts.deliver_due() == 0
    (held,) = alerts.deliveries().items
    assert held.due == datetime(2023, 11, 15, 6, 0, tzinfo=UTC)
    clock.advance((held.due - clock.now()).total_seconds())
    assert alerts.deliver_due() == 1
    assert len(receiver.seen) == 1


def test_a_retry_does_not_ring_in_quiet_hours(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT, "quiet_hours": "22:14-06:00"})
    receiver.up = False
    tell(alerts, any_database, event(clock))
    alerts.deliver_due()
    receiver.up = True
    clock.advance(60)  # 22:14:20
    alerts.deliver_due()
    assert receiver.seen == []
    clock.advance(8 * 3600)
    alerts.deliver_due()
    assert len(receiver.seen) == 1


def test_secrets_are_sealed_and_never_shown(alerts: AlertsService, any_database: Database) -> None:
    hook = {"kind": "webhook", "url": "http://127.0.0.1:1/x?token=tok3n", "secret": "s3cret"}
    hook["headers"] = {"Authorization": "Bearer b3arer"}
    mail = {"kind": "email", "host": "127.0.0.1", "to": "a@b.de", "sender": "m@b.de"}
    mail |= {"user": "u", "password": "p4ssword"}
    made = [
        alerts.create_rule({"name": "hook", "channel": hook}),
        alerts.create_rule({"name": "mail", "channel": mail}),
        alerts.create_rule(
            {"name": "sms", "channel": {"kind": "apprise", "url": "json://u:s3cr3t@127.0.0.1"}}
        ),
    ]
    shown = str([one.to_json() for one in made + alerts.list_rules()])
    with any_database.read() as connection:
        stored = str(connection.execute(text("SELECT * FROM alert_rules")).all())
    for secret in ("s3cret", "tok3n", "b3arer", "p4ssword", "s3cr3t"):
        assert secret not in shown
        assert secret not in stored
    assert alerts.get_rule("hook").channel["secret"] == "***"
    assert alerts.get_rule("sms").channel["url"] == "json://***"


def test_a_changed_rule_keeps_the_secrets_that_were_shown_as_stars(
    alerts: AlertsService, any_database: Database, clock: ManualClock
) -> None:
    got: list[Mapping[str, Any]] = []

    def keep(channel: Mapping[str, Any], message: Message) -> Outcome:
        got.append(channel)
        return Outcome(True)

    alerts.register_channel("webhook", keep)
    hook = {"kind": "webhook", "url": "http://127.0.0.1:1/x?token=t", "secret": "s3cret"}
    alerts.create_rule({"name": "r", "channel": hook})
    shown = alerts.get_rule("r").to_json()
    alerts.update_rule("r", shown | {"threshold": 50})
    tell(alerts, any_database, event(clock, severity=55.0))
    alerts.deliver_due()
    assert got[0]["secret"] == "s3cret"
    assert got[0]["url"] == "http://127.0.0.1:1/x?token=t"
    alerts.update_rule("r", {"channel": dict(shown["channel"]) | {"secret": "other"}})
    assert "other" not in str(alerts.get_rule("r"))
    with pytest.raises(InvalidInput, match="the mask"):
        alerts.create_rule({"name": "r2", "channel": hook | {"secret": "***"}})


def test_rules_are_made_listed_and_deleted(
    alerts: AlertsService, any_database: Database, clock: ManualClock
) -> None:
    alerts.create_rule({"name": "b", "channel": SUBJECT, "detector": "air"})
    alerts.create_rule({"name": "a", "channel": SUBJECT})
    assert [one.name for one in alerts.list_rules()] == ["a", "b"]
    assert [one.name for one in alerts.list_rules("air")] == ["b"]
    with pytest.raises(Conflict):
        alerts.create_rule({"name": "a", "channel": SUBJECT})
    tell(alerts, any_database, event(clock))
    alerts.delete_rule("a")
    assert [one.rule for one in alerts.deliveries().items] == ["b"]  # what a had not told is gone with it
    with any_database.write() as connection:
        assert alerts.delete_rules_of(connection, "air") == 1
    with pytest.raises(NotFound):
        alerts.get_rule("b")
    with pytest.raises(NotFound):
        alerts.delete_rule("b")


def test_a_test_sends_a_marked_message_and_reports_the_outcome(
    alerts: AlertsService, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT, "measures": ["SO2"], "form": "short"})
    found = alerts.test_rule("r")
    assert (found.state, found.stage, found.note) == ("delivered", "test", "taken")
    assert receiver.seen[0].text.startswith("TEST: SO2 120")
    receiver.up = False
    found = alerts.test_rule("r")
    assert (found.state, found.tries, found.last_error) == ("undelivered", 1, "nobody there")
    assert alerts.counts()["undelivered"] == 0  # tests do not count


def test_a_test_about_an_event_is_sent_where_the_rule_tells_it(
    alerts: AlertsService, receiver: Receiver
) -> None:
    alerts.create_rule(
        {"name": "r", "channel": SUBJECT, "measures": ["SO2"], "dimensions": {"site": ["A"]}, "form": "short"}
    )
    site: dict[str, Any] = {"dimensions": {"site": "A"}, "value": 7.5, "expected": 2.0}
    given: dict[str, Any] = {
        "measure": "SO2",
        "severity": 91,
        "value": 7.5,
        "expected": 2.0,
        "series": [site],
    }
    assert alerts.test_rule("r", given).state == "delivered"
    assert receiver.seen[0].text.startswith("TEST: SO2 7.5 at A, expected 2, severity 91")
    for change, why in (
        ({"measure": "CO"}, "measure: the rule is about SO2, the event about CO"),
        ({"severity": 69}, "severity: the rule tells 70 and more, the event has 69"),
        ({"series": [{"dimensions": {"site": "B"}}]}, "dimensions: no series has the values"),
        ({"series": ["A"]}, "series: expected a list of objects"),
        ({"colour": "red"}, "colour: expected one of"),
        ({"start": "soon"}, "expected an alert event"),
    ):
        with pytest.raises(InvalidInput, match=why):
            alerts.test_rule("r", {**given, **change})
    assert len(receiver.seen) == 1


def test_a_channel_that_only_the_server_has_is_tested_through_the_outbox(
    alerts: AlertsService, any_database: Database, clock: ManualClock, journal: Journal, receiver: Receiver
) -> None:
    command_line = AlertsService(any_database, SecretBox(b"k" * 32), clock, journal)
    command_line.create_rule({"name": "r", "channel": SUBJECT})
    assert command_line.test_rule("r", wait_s=0.1).state == "pending"
    server = threading.Thread(target=lambda: (time.sleep(0.2), alerts.deliver_due()))
    server.start()
    assert command_line.test_rule("r", wait_s=10).state == "delivered"
    server.join()


def test_deliveries_come_in_pages_newest_first(
    alerts: AlertsService, any_database: Database, clock: ManualClock
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    for number in range(5):
        clock.advance(number % 2)  # two of a pair share their time
        tell(alerts, any_database, event(clock, group=f"g{number}"))
    seen, token = [], None
    while True:
        page = alerts.deliveries(limit=2, token=token)
        seen += [(one.created, one.id) for one in page.items]
        token = page.next_token
        if token is None:
            break
    assert len(seen) == 5
    assert seen == sorted(seen, reverse=True)
    with pytest.raises(InvalidInput):
        alerts.deliveries(state="lost")


def test_old_deliveries_are_trimmed_and_waiting_ones_are_not(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    tell(alerts, any_database, event(clock))
    alerts.deliver_due()
    receiver.up = False
    tell(alerts, any_database, event(clock, group="g2"))
    clock.advance(100)
    assert alerts.trim(clock.now()) == 1
    assert [one.group for one in alerts.deliveries().items] == ["g2"]


def test_masthead_reports_its_own_trouble_once_through_the_same_rules(
    alerts: AlertsService, any_database: Database, clock: ManualClock, journal: Journal, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "own", "channel": SUBJECT, "detector": "masthead", "on_close": True})
    full = Facts(disk_free_bytes=1e9, disk_warn_bytes=2e9, ingest_behind_s=0.0, certificates={})
    assert len(alerts.watch(full)) == 1
    assert alerts.watch(full) == []
    again = AlertsService(any_database, SecretBox(b"k" * 32), clock, journal)  # a restart
    assert again.watch(full) == []
    clock.advance(60)
    assert len(alerts.watch(replace(full, disk_free_bytes=9e9))) == 1
    alerts.deliver_due()
    assert [one.event.stage for one in receiver.seen] == ["open", "closed"]
    clock.advance(60)
    alerts.watch(full)
    alerts.deliver_due()
    assert len(receiver.seen) == 3  # a second time is a new condition


def test_an_alert_that_does_not_arrive_is_told_by_another_way_until_it_does(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    def dead(channel: Mapping[str, Any], message: Message) -> Outcome:
        return Outcome(False, "no route")

    alerts.register_channel("webhook", dead)
    alerts.create_rule({"name": "own", "channel": SUBJECT, "detector": "masthead", "on_close": True})
    alerts.create_rule(
        {"name": "r", "channel": {"kind": "webhook", "url": "http://127.0.0.1:1/"}, "detector": "air"}
    )
    facts = Facts(ingest_behind_s=0.0, certificates={})
    tell(alerts, any_database, event(clock))
    for pause_s in (0, 5, 25, 90):
        clock.advance(pause_s)
        alerts.deliver_due()
        assert alerts.watch(facts) == []
    clock.advance(480)
    alerts.deliver_due()
    (told,) = alerts.watch(facts)
    assert told.reason == "Rule r: 1 alert not taken after 5 tries. Last error: no route"
    alerts.register_channel("webhook", receiver)
    clock.advance(3600)
    alerts.deliver_due()
    (told,) = alerts.watch(facts)
    assert told.stage == "closed"


def test_commands_can_be_switched_off(any_database: Database, clock: ManualClock, journal: Journal) -> None:
    strict = AlertsService(any_database, SecretBox(b"k" * 32), clock, journal, commands=False)
    with pytest.raises(Conflict):
        strict.create_rule({"name": "r", "channel": {"kind": "command", "command": ["/bin/true"]}})


def test_every_try_stands_in_the_rules_own_log(
    alerts: AlertsService, any_database: Database, clock: ManualClock, journal: Journal, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    receiver.up = False
    tell(alerts, any_database, event(clock))
    alerts.deliver_due()
    assert [one["event"] for one in journal.read("alert", "r")] == ["created", "failed"]


def test_twenty_groups_at_once_cost_one_rule_no_order(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT})
    with any_database.write() as connection:
        for number in range(20):
            alerts.notify(connection, event(clock, group=f"g{number:02}"))
    alerts.start()
    alerts.wake()
    try:
        deadline = time.monotonic() + 10
        while len(receiver.seen) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        alerts.stop()
    assert len({one.key for one in receiver.seen}) == 20
    assert timedelta(seconds=receiver.tries[-1] - receiver.tries[0]) < timedelta(seconds=5)


def test_an_event_of_numpy_numbers_and_thousands_of_series_is_stored_short(
    alerts: AlertsService, any_database: Database, clock: ManualClock, receiver: Receiver
) -> None:
    alerts.create_rule({"name": "r", "channel": SUBJECT, "dimensions": {"D": ["999"]}})
    series = tuple({"dimensions": {"D": str(one)}, "value": np.float32(one)} for one in range(1000))
    many = {"D": {str(one): np.float64(0.1) for one in range(1000)}}
    wide = event(clock, severity=np.float32(89.5), value=np.float64("nan"), series=series, contributions=many)
    assert tell(alerts, any_database, wide) == 1
    alerts.deliver_due()
    (found,) = receiver.seen
    assert len(found.event.series) == len(found.event.contributions["D"]) == 50
    assert found.event.value is None
