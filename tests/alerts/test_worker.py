"""The outbox worker under its own thread: at once, apart, and never twice because of our own trouble."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from masthead.alerts import worker as worker_module
from masthead.alerts.channels import Outcome
from masthead.alerts.events import AlertEvent
from masthead.alerts.messages import Message
from masthead.alerts.service import AlertsService
from masthead.base.clock import SystemClock
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

CHANNEL = {"kind": "subject"}


@pytest.fixture
def alerts(database: Database, journal: Journal) -> Iterator[AlertsService]:
    service = AlertsService(database, SecretBox(b"k" * 32), SystemClock(), journal)
    yield service
    service.stop()


def tell(alerts: AlertsService, database: Database, group: str, detector: str = "air") -> None:
    now = SystemClock().now()
    happening = AlertEvent(detector, group, "open", "SO2", 90.0, now, now)
    with database.write() as connection:
        alerts.notify(connection, happening)
    alerts.wake()


def until(true: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def test_an_alert_leaves_at_once(alerts: AlertsService, database: Database) -> None:
    came: list[float] = []

    def take(channel: Mapping[str, Any], message: Message) -> Outcome:
        came.append(time.monotonic())
        return Outcome(True)

    alerts.register_channel("subject", take)
    alerts.create_rule({"name": "r", "channel": CHANNEL})
    alerts.start()
    time.sleep(0.1)
    told = time.monotonic()
    tell(alerts, database, "g1")
    until(lambda: bool(came))
    assert came[0] - told < 1.0


def test_a_slow_channel_holds_up_no_other_rule(alerts: AlertsService, database: Database) -> None:
    release, came = threading.Event(), []

    def send(channel: Mapping[str, Any], message: Message) -> Outcome:
        if message.rule == "slow":
            release.wait(20)
        came.append(message.rule)
        return Outcome(True)

    alerts.register_channel("subject", send)
    alerts.create_rule({"name": "slow", "channel": CHANNEL})
    alerts.create_rule({"name": "quick", "channel": CHANNEL})
    alerts.start()
    for number in range(40):
        tell(alerts, database, f"g{number}")
    until(lambda: came.count("quick") == 40)
    assert "slow" not in came
    release.set()
    until(lambda: came.count("slow") == 40)


def test_what_another_process_wrote_is_sent_after_a_refresh(
    alerts: AlertsService, database: Database, journal: Journal
) -> None:
    came: list[str] = []
    alerts.register_channel("subject", lambda channel, message: came.append(message.key) or Outcome(True))  # type: ignore[func-returns-value]
    alerts.start()
    time.sleep(0.1)
    other = AlertsService(database, SecretBox(b"k" * 32), SystemClock(), journal)
    other.create_rule({"name": "r", "channel": CHANNEL})
    tell(other, database, "g1")
    alerts.refresh()
    until(lambda: len(came) == 1)


def test_a_result_that_cannot_be_recorded_is_not_sent_again(
    alerts: AlertsService, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[str] = []
    alerts.register_channel("subject", lambda channel, message: came.append(message.key) or Outcome(True))  # type: ignore[func-returns-value]
    alerts.create_rule({"name": "r", "channel": CHANNEL})
    real, full = worker_module.put_result, [True]

    def put_result(*args: Any, **kwargs: Any) -> None:
        if full[0]:
            raise OperationalError("UPDATE", {}, Exception("database or disk is full"))
        real(*args, **kwargs)

    monkeypatch.setattr(worker_module, "put_result", put_result)
    monkeypatch.setattr(worker_module, "_RECORD_PAUSE_S", 0.05)
    alerts.start()
    tell(alerts, database, "g1")
    until(lambda: len(came) == 1)
    time.sleep(0.5)
    assert len(came) == 1
    full[0] = False
    until(lambda: alerts.counts()["delivered"] == 1)
    assert len(came) == 1


def test_what_stood_in_the_outbox_at_the_start_is_sent(alerts: AlertsService, database: Database) -> None:
    came: list[str] = []
    alerts.register_channel("subject", lambda channel, message: came.append(message.key) or Outcome(True))  # type: ignore[func-returns-value]
    alerts.create_rule({"name": "r", "channel": CHANNEL})
    tell(alerts, database, "g1")
    alerts.start()
    until(lambda: alerts.counts()["delivered"] == 1)
    assert len(came) == 1
