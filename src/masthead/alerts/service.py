"""The verbs of the alerts room: rules, notify, deliveries, self-watch."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection

from masthead.alerts import records
from masthead.alerts.channel_records import channel_names, find_channel
from masthead.alerts.channels import NAMED, SENDERS, Sender, check_channel, keep_secrets, split_secrets
from masthead.alerts.events import AlertEvent
from masthead.alerts.messages import Arns, plain_arn
from masthead.alerts.named import NamedChannel, NamedChannels
from masthead.alerts.records import STATES, Delivery, State
from masthead.alerts.rules import AlertRule, matches, next_stage, quiet_until, why_not
from masthead.alerts.sealing import open_secrets, secret_context
from masthead.alerts.watch import STUCK_TRIES, Facts, changes
from masthead.base.clock import Clock
from masthead.base.errors import Conflict, InvalidInput, LimitReached, NotFound, shown
from masthead.base.ids import new_id
from masthead.base.log import Journal
from masthead.base.pages import Page, check_limit, decode_token, encode_token
from masthead.base.secrets import SecretBox
from masthead.store.engine import Database

if TYPE_CHECKING:
    from masthead.alerts.worker import DeliveryWorker

MOST_RULES = 1_000
TEST_WAIT_S = 15.0


class AlertsService:
    """Who hears of what, and whether it arrived.

    Args:
        database: Holds rules and outbox.
        box: Seals the channels' secrets.
        clock: Real time: alerts concern people and networks, also while a demonstration's clock runs fast.
        journal: One log per rule, kind `alert`.
        link: Gives the address of an event's page, for the messages.
        arn: Gives the resource name for (kind, name) in JSON messages.
        commands: False refuses rules that run a command.
    """

    def __init__(
        self,
        database: Database,
        box: SecretBox,
        clock: Clock,
        journal: Journal,
        *,
        link: Callable[[AlertEvent], str] = lambda event: "",
        arn: Arns = plain_arn,
        commands: bool = True,
    ) -> None:
        self._database, self._box, self._clock, self._journal = database, box, clock, journal
        self._commands = commands
        self._senders: dict[str, Sender] = dict(SENDERS)
        self._link, self._arn = link, arn
        self._channels = NamedChannels(database, box, clock, commands=commands)
        self._building = threading.Lock()
        self._built: DeliveryWorker | None = None

    @property
    def _worker(self) -> "DeliveryWorker":
        """Return what delivers. It brings counters and messages along: made when something is to be sent."""
        with self._building:
            if self._built is None:
                from masthead.alerts.carrier import Carrier
                from masthead.alerts.worker import DeliveryWorker

                carrier = Carrier(
                    self._database,
                    self._box,
                    self._clock,
                    self._journal,
                    self._senders,
                    link=self._link,
                    arn=self._arn,
                    commands=self._commands,
                )
                self._built = DeliveryWorker(self._database, self._clock, carrier)
            return self._built

    # ------------------------------------------------------------------ life

    def start(self) -> None:
        """Begin to deliver in the background, starting with what an earlier run left."""
        self._worker.start()

    def stop(self) -> None:
        """End the background work; what is under way is repeated at the next start."""
        if self._built is not None:
            self._built.stop()

    def wake(self) -> None:
        """Deliver now: call it after the transaction of `notify` has committed. A worker begins with a look anyway."""
        if self._built is not None:
            self._built.wake()

    def refresh(self) -> None:
        """Follow what another process wrote. Rules are read at each event, so only the outbox needs a look."""
        self.wake()

    def deliver_due(self) -> int:
        """Deliver what is due in the calling thread; return the number of tries."""
        return self._worker.deliver_due()

    def register_channel(self, kind: str, sender: Sender) -> None:
        """Let another room send for `kind`, as devices does for `subject`."""
        self._senders[kind] = sender

    # ----------------------------------------------------------------- rules

    def create_rule(self, rule: AlertRule | Mapping[str, Any]) -> AlertRule:
        """Return the stored rule; its secrets are sealed and shown as `***`.

        Raises:
            InvalidInput: A field is outside its domain.
            Conflict: The name is taken.
            LimitReached: There are too many rules.
        """
        asked = rule if isinstance(rule, AlertRule) else AlertRule.from_json(rule)
        now = self._clock.now()
        given, sealed = self._sealed(asked.changed(created=now, updated=now))
        with self._database.write() as connection:
            if records.get_rule(connection, given.name) is not None:
                raise Conflict(f"name: alert rule {given.name} exists already")
            if len(records.all_rules(connection)) >= MOST_RULES:
                raise LimitReached(f"rules: expected at most {MOST_RULES} alert rules")
            records.put_rule(self._database, connection, given, sealed)
        self._journal.write("alert", given.name, "created", channel=given.channel["kind"])
        return given

    def update_rule(self, name: str, changes: Mapping[str, Any]) -> AlertRule:
        """Return the rule with `changes` applied; a secret given back as it was shown stays what it is.

        Raises:
            NotFound: There is no such rule.
            InvalidInput: A field is outside its domain.
        """
        with self._database.read() as connection:
            stored, sealed = self._get(connection, name)
        merged = stored.to_json() | {key: value for key, value in changes.items() if key != "name"}
        asked = AlertRule.from_json(merged, name=name)
        channel = keep_secrets(asked.channel, stored.channel, open_secrets(self._box, name, sealed))
        given, sealed = self._sealed(
            asked.changed(channel=channel, created=stored.created, updated=self._clock.now())
        )
        with self._database.write() as connection:
            self._get(connection, name)  # deleted meanwhile: not brought back
            records.put_rule(self._database, connection, given, sealed)
        self._journal.write("alert", name, "changed", fields=sorted(changes))
        return given

    def list_rules(self, detector: str | None = None) -> list[AlertRule]:
        """Return the rules by name; with `detector` only those bound to it."""
        with self._database.read() as connection:
            rules = records.all_rules(connection)
        return [rule for rule in rules if detector is None or rule.detector == detector]

    def get_rule(self, name: str) -> AlertRule:
        """Return a rule, its secrets shown as `***`.

        Raises:
            NotFound: There is no such rule.
        """
        with self._database.read() as connection:
            return self._get(connection, name)[0]

    def delete_rule(self, name: str) -> None:
        """Delete a rule, and what it had not told yet.

        Raises:
            NotFound: There is no such rule.
        """
        with self._database.write() as connection:
            if not records.remove_rules(connection, [name]):
                raise NotFound(f"name: there is no alert rule {shown(name)}")
        self._journal.write("alert", name, "deleted")

    def delete_rules_of(self, connection: Connection, detector: str) -> int:
        """Delete the rules bound to a detector, in the caller's transaction; return how many."""
        names = records.names_of_detector(connection, detector)
        return records.remove_rules(connection, names) if names else 0

    def test_rule(
        self, name: str, event: Mapping[str, Any] | None = None, *, wait_s: float = TEST_WAIT_S
    ) -> Delivery:
        """Send a message marked as a test and return how it ended.

        Args:
            event: Fields of an event, as `AlertEvent` has them, in place of those of the example; None: the example.

        A channel that only the server can use (a subject) is asked through the outbox: the result is then
        awaited for `wait_s`, and a delivery that still says `pending` means that no server runs.

        Raises:
            NotFound: There is no such rule.
            InvalidInput: It is no event, or none that the rule tells; the reason is named.
        """
        now = self._clock.now()
        with self._database.write() as connection:
            rule, _ = self._get(connection, name)
            told = _example(rule, now) if event is None else _given(rule, event, now)
            # Out of the worker's reach while this thread sends it.
            kind = _kind(connection, rule)
            here = (
                kind in self._senders or kind == NAMED
            )  # of one that does not exist nobody hears: told at once
            due = now + timedelta(days=1) if here else now
            key = records.add_delivery(self._database, connection, rule, told, stage="test", now=now, due=due)
        assert key is not None  # a fresh group id
        if here:
            self._worker.attempt(self.get_delivery(key))
            return self.get_delivery(key)
        self.wake()
        deadline = time.monotonic() + wait_s
        while (found := self.get_delivery(key)).state == "pending" and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    # -------------------------------------------------------------- channels

    def create_channel(self, channel: Mapping[str, Any]) -> NamedChannel:
        """Return the stored named channel; what rules told it in the last 24 hours is delivered now.

        Raises: As `NamedChannels.create`.
        """
        made = self._channels.create(channel)
        self.wake()
        return made

    def list_channels(self) -> list[NamedChannel]:
        """Return the named channels by name; their secrets are shown as `***`."""
        return self._channels.list()

    def get_channel(self, name: str) -> NamedChannel:
        """Return a named channel.

        Raises:
            NotFound: There is none of that name.
        """
        return self._channels.get(name)

    def delete_channel(self, name: str) -> None:
        """Delete a named channel; what rules tell it from now on waits unheard.

        Raises:
            NotFound: There is none of that name.
        """
        self._channels.delete(name)

    # ---------------------------------------------------------------- notify

    def notify(self, connection: Connection, event: AlertEvent) -> int:
        """Put what the rules want told into the outbox, in the caller's transaction; return how many alerts.

        Call it at every change of a group, then `wake()` after the commit. Telling the same event again
        adds nothing.
        """
        rules = [rule for rule in records.all_rules(connection) if matches(rule, event)]
        if not rules:
            return 0
        now, told, count, unheard = self._clock.now(), records.told(connection, event.group), 0, 0
        missing = _missing_channels(connection, rules)
        for rule in rules:
            stage = next_stage(rule, event, told.get(rule.name, {}))
            if stage is None:
                continue
            due = quiet_until(rule, now, zone=event.zone) or now
            state: State = "unheard" if rule.channel.get("name") in missing else "pending"
            key = records.add_delivery(
                self._database, connection, rule, event, stage=stage, now=now, due=due, state=state
            )
            count += key is not None
            unheard += key is not None and state == "unheard"
        if unheard:
            _count_unheard(unheard)
        return count

    def watch(self, facts: Facts) -> list[AlertEvent]:
        """Return what Masthead now says about itself: conditions that began, grew worse or ended.

        The app calls it every few seconds; `facts.troubled` is filled in here.
        """
        now = self._clock.now()
        with self._database.read() as connection:
            troubled = records.troubled_rules(connection, STUCK_TRIES)
            opened = records.open_conditions(connection)
        if not changes(replace(facts, troubled=troubled), opened, now):
            return []
        told = []
        with self._database.write() as connection:  # looked at again: another process may have been faster
            opened = records.open_conditions(connection)
            for event, condition in changes(replace(facts, troubled=troubled), opened, now):
                if condition is not None:
                    records.put_condition(connection, condition)
                else:
                    records.remove_condition(connection, _name_of(event, opened))
                self.notify(connection, event)
                told.append(event)
        self.wake()
        return told

    # ------------------------------------------------------------ deliveries

    def deliveries(
        self,
        rule: str | None = None,
        state: str | None = None,
        limit: int = 100,
        *,
        group: str | None = None,
        token: str | None = None,
    ) -> Page[Delivery]:
        """Return deliveries, newest first.

        Raises:
            InvalidInput: The state, limit or token is unknown.
        """
        if state is not None and state not in STATES:
            raise InvalidInput(f"state: expected one of {', '.join(STATES)}, got {shown(state)}")
        check_limit(limit)
        before = None
        if token is not None:
            place = decode_token("deliveries", token)
            before = (datetime.fromisoformat(place[0]), str(place[1]))
        with self._database.read() as connection:
            found = records.find_deliveries(
                connection, rule=rule, state=state, group=group, limit=limit + 1, before=before
            )
        more = found[limit - 1] if len(found) > limit else None
        following = encode_token("deliveries", [more.created.isoformat(), more.id]) if more else None
        return Page(tuple(found[:limit]), following)

    def get_delivery(self, key: str) -> Delivery:
        """Return one delivery.

        Raises:
            NotFound: There is none of this id.
        """
        with self._database.read() as connection:
            found = records.get_delivery(connection, key)
        if found is None:
            raise NotFound(f"id: there is no delivery {shown(key)}")
        return found

    def retry(self, key: str) -> Delivery:
        """Try a delivery again now, with all its tries, and return it.

        Raises:
            NotFound: There is none of this id.
            Conflict: It was delivered, its rule is gone, or the channel of its rule does not exist yet.
        """
        found = self.get_delivery(key)
        with self._database.write() as connection:
            if records.get_rule(connection, found.rule) is None:
                raise Conflict(f"id: the rule {found.rule} of this delivery is gone")
            if found.state == "unheard" and (name := self._missing(connection, found.rule)):
                raise Conflict(f"id: nobody hears this yet; make the channel {name} first")
            if not records.start_again(connection, key, self._clock.now()):
                raise Conflict(f"id: delivery {key} was delivered already")
        self.wake()
        return self.get_delivery(key)

    def counts(self) -> dict[str, Any]:
        """Return the numbers of pending, delivered and undelivered alerts, in all and by channel; tests left out."""
        with self._database.read() as connection:
            found = records.count_states(connection)
        channels: dict[str, dict[str, int]] = {}
        for (channel, state), count in sorted(found.items()):
            channels.setdefault(channel, dict.fromkeys(STATES, 0))[state] = count
        total = {state: sum(one[state] for one in channels.values()) for state in STATES}
        return total | {"channels": channels}

    def trim(self, before: datetime) -> int:
        """Delete ended deliveries made before `before`; return how many."""
        with self._database.write() as connection:
            return records.trim_deliveries(connection, before)

    # --------------------------------------------------------------- private

    def _get(self, connection: Connection, name: str) -> tuple[AlertRule, bytes | None]:
        found = records.get_rule(connection, name)
        if found is None:
            raise NotFound(f"name: there is no alert rule {shown(name)}")
        return found

    def _missing(self, connection: Connection, rule: str) -> str:
        """Return the name of the channel that a rule speaks to and that does not exist; "" = it exists."""
        return next(iter(_missing_channels(connection, [self._get(connection, rule)[0]])), "")

    def _sealed(self, rule: AlertRule) -> tuple[AlertRule, bytes | None]:
        """Return the rule as it may be shown and its channel's secrets, sealed. Outside any transaction: slow."""
        whole = check_channel(rule.channel)
        if whole["kind"] == "command" and not self._commands:
            raise Conflict("channel.kind: commands are switched off on this installation")
        open_part, secret = split_secrets(whole)
        sealed = self._box.seal(orjson.dumps(secret), context=secret_context(rule.name)) if secret else None
        return rule.changed(channel=open_part), sealed


def _missing_channels(connection: Connection, rules: Sequence[AlertRule]) -> frozenset[str]:
    """Return the names of channels that rules speak to and that do not exist."""
    wanted = {str(rule.channel["name"]) for rule in rules if rule.channel["kind"] == NAMED}
    return frozenset(wanted - channel_names(connection)) if wanted else frozenset()


def _kind(connection: Connection, rule: AlertRule) -> str:
    """Return the kind of a rule's channel, looked up where it is named; `named` when there is none of that name."""
    if rule.channel["kind"] != NAMED:
        return str(rule.channel["kind"])
    found = find_channel(connection, rule.channel["name"])
    return NAMED if found is None else str(found[0]["kind"])


def _count_unheard(count: int) -> None:
    from masthead.alerts.carrier import UNHEARD  # counters: not for commands that only name rules

    UNHEARD.inc(count)


def _name_of(event: AlertEvent, opened: Mapping[str, records.OpenCondition]) -> str:
    return next(name for name, condition in opened.items() if condition.group == event.group)


def _example(rule: AlertRule, now: datetime) -> AlertEvent:
    """Return an event like those that `rule` will tell, marked as a test."""
    dimensions = {name: values[0] for name, values in rule.dimensions.items()}
    value, expected = 120.0, 65.0
    return AlertEvent(
        detector=rule.detector or "example",
        group=new_id("test", time_s=now.timestamp()),
        stage="test",
        measure=rule.measures[0] if rule.measures else "example",
        severity=max(rule.threshold, 70.0),
        start=now - timedelta(minutes=5),
        end=now,
        value=value,
        expected=expected,
        reason="a test message: nothing happened",
        contributions={name: {only: 100.0} for name, only in dimensions.items()},
        series=({"dimensions": dimensions, "value": value, "expected": expected},),
        zone=rule.zone or "UTC",
    )


def _given(rule: AlertRule, event: Mapping[str, Any], now: datetime) -> AlertEvent:
    """Return an event with the fields that somebody gives, if `rule` tells it, marked as a test."""
    example = _example(rule, now)
    if unknown := sorted(set(event) - set(AlertEvent.__slots__)):
        raise InvalidInput(
            f"event.{unknown[0]}: expected one of {', '.join(AlertEvent.__slots__)}, got an unknown field"
        )
    base = example.to_json()
    if {"series", "contributions"} & set(event):  # the example's would match what is given does not
        base |= {"series": [], "contributions": {}}
    made = AlertEvent.from_json({**base, **event, "group": example.group, "stage": "test"})
    if not all(isinstance(one, dict) for one in made.series):
        raise InvalidInput(f"event.series: expected a list of objects, got {shown(event['series'])}")
    why = why_not(rule, made)
    if not why and made.severity < rule.threshold:
        why = f"severity: the rule tells {rule.threshold:g} and more, the event has {made.severity:g}"
    if why:
        raise InvalidInput(f"event: expected one that {rule.name} tells; {why}")
    return made
