"""One try of one delivery: rule, secrets, message, channel; then what is counted and logged about it."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import Counter

from masthead.alerts import records
from masthead.alerts.channel_records import find_channel
from masthead.alerts.channels import NAMED, Outcome, Sender
from masthead.alerts.events import AlertEvent
from masthead.alerts.messages import Arns, compose
from masthead.alerts.records import Delivery
from masthead.alerts.rules import quiet_until
from masthead.alerts.sealing import channel_context, open_sealed, open_secrets
from masthead.base.clock import Clock
from masthead.base.log import Journal
from masthead.base.secrets import SecretBox
from masthead.base.telemetry import REGISTRY
from masthead.store.engine import Database

_TEST_ENDS = timedelta(hours=1)  # a test whose process died is not sent when nobody waits for it any more

_DELIVERED = Counter(
    "masthead_alerts_delivered", "Alerts that a channel took.", ["channel"], registry=REGISTRY
)
_UNDELIVERED = Counter(
    "masthead_alerts_undelivered", "Alerts given up after 24 hours of tries.", registry=REGISTRY
)
UNHEARD = Counter("masthead_alerts_unheard", "Alerts whose named channel did not exist.", registry=REGISTRY)
_TRIES = Counter(
    "masthead_alert_tries", "Tries to deliver an alert.", ["channel", "outcome"], registry=REGISTRY
)


class Carrier:
    """What the worker needs of the room; it keeps no state of its own."""

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        clock: Clock,
        journal: Journal,
        senders: Mapping[str, Sender],
        *,
        link: Callable[[AlertEvent], str],
        arn: Arns,
        commands: bool,
    ) -> None:
        self._database, self._box, self._clock, self._journal = database, box, clock, journal
        self._senders, self._link, self._arn, self._commands = senders, link, arn, commands

    def send(self, delivery: Delivery) -> Outcome:
        """Make one try."""
        with self._database.read() as connection:
            found = records.get_rule(connection, delivery.rule)
        if found is None:
            return Outcome(False, "the rule is gone", delivery.reached)
        if delivery.stage == "test" and self._clock.now() - delivery.created > _TEST_ENDS:
            return Outcome(False, "the test was interrupted")
        rule, sealed = found
        channel = dict(rule.channel) | open_secrets(self._box, rule.name, sealed)
        if channel["kind"] == "command" and not self._commands:
            return Outcome(False, "commands are switched off", delivery.reached)
        if channel["kind"] == NAMED:
            named = self._named(channel["name"])
            if named is None:
                return Outcome(False, f"nobody hears this yet: there is no channel {channel['name']}")
            channel = named
        sender = self._senders.get(channel["kind"])
        if sender is None:
            return Outcome(False, f"no sender for {channel['kind']} runs here", delivery.reached)
        link = self._link(delivery.event)
        message = compose(
            rule, delivery.event, key=delivery.id, link=link, arn=self._arn, reached=delivery.reached
        )
        return sender(channel, message)

    def _named(self, name: str) -> dict[str, Any] | None:
        """Return a named channel with its secrets; None = there is none, or it is a command and these are off."""
        with self._database.read() as connection:
            found = find_channel(connection, name)
        if found is None or (found[0]["kind"] == "command" and not self._commands):
            return None
        return found[0] | open_sealed(self._box, channel_context(name), found[1])

    def held_until(self, delivery: Delivery, now: datetime) -> datetime | None:
        """Return the end of the quiet time that `now` lies in, if the rule has one."""
        if delivery.stage == "test":
            return None
        with self._database.read() as connection:
            found = records.get_rule(connection, delivery.rule)
        return quiet_until(found[0], now, zone=delivery.event.zone) if found else None

    def ended(self, delivery: Delivery, outcome: Outcome, *, final: bool) -> None:
        """Count and log a try."""
        _TRIES.labels(delivery.channel, "taken" if outcome.delivered else "failed").inc()
        if delivery.stage != "test" and outcome.delivered:
            _DELIVERED.labels(delivery.channel).inc()
        if delivery.stage != "test" and final and not outcome.delivered:
            _UNDELIVERED.inc()
        said = "delivered" if outcome.delivered else "undelivered" if final else "failed"
        fields = {"id": delivery.id, "group": delivery.group, "stage": delivery.stage, "note": outcome.note}
        self._journal.write("alert", delivery.rule, said, channel=delivery.channel, **fields)
