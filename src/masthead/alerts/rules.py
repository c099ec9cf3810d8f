"""Who hears of what: the alert rule, whether an event matches it, and when it must stay quiet. Pure."""

import dataclasses
import re
import zoneinfo
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal, get_args

from masthead.alerts.events import SELF, AlertEvent
from masthead.base.errors import InvalidInput, nearest, shown
from masthead.base.ids import check_name

Form = Literal["long", "short", "json"]

FORMS: tuple[Form, ...] = get_args(Form)
MOST_MEASURES, MOST_DIMENSIONS, MOST_VALUES = 5, 5, 10
RISE = 10.0  # a rule speaks again when the severity has risen by this much since it last spoke

_QUIET = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Who hears of what.

    Attributes:
        name: Unique name.
        channel: `{"kind": "webhook" | "email" | "apprise" | "command" | "subject" | "named", ...}`; see `channels.py`.
        detector: Name of a detector; empty: every detector and Masthead itself; `masthead`: Masthead only.
        threshold: Lowest severity told, 0 to 100.
        measures: Only these measures, at most 5; empty: all.
        dimensions: Only these values: dimension -> values, at most 5 of 10; empty: all.
        form: `long`, `short` (at most 160 GSM-7 characters) or `json`.
        quiet_hours: `22:00-06:00`: alerts wait until the end of this time; empty: never.
        zone: IANA zone of the quiet hours; empty: the detector's.
        on_close: Also tell the end of what was told.
        enabled: False: the rule is kept and says nothing.
        description: For people.
    """

    name: str
    channel: Mapping[str, Any]
    detector: str = ""
    threshold: float = 70.0
    measures: tuple[str, ...] = ()
    dimensions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    form: Form = "long"
    quiet_hours: str = ""
    zone: str = ""
    on_close: bool = False
    enabled: bool = True
    description: str = ""
    created: datetime | None = None
    updated: datetime | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.detector:
            check_name(self.detector, "detector")
        if not isinstance(self.threshold, int | float) or not 0 <= self.threshold <= 100:
            raise InvalidInput(f"threshold: expected 0 to 100, got {shown(self.threshold)}")
        if self.form not in FORMS:
            raise InvalidInput(f"form: expected one of {', '.join(FORMS)}, got {shown(self.form)}")
        for name in ("on_close", "enabled"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidInput(f"{name}: expected true or false, got {shown(getattr(self, name))}")
        if not isinstance(self.description, str) or len(self.description) > 256:
            raise InvalidInput("description: expected a text of at most 256 characters")
        _check_filters(self.measures, self.dimensions)
        _check_quiet(self.quiet_hours, self.zone)

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON values. The channel is shown as it is stored: secrets as `***`."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {
            "channel": dict(self.channel),
            "measures": list(self.measures),
            "dimensions": {name: list(values) for name, values in self.dimensions.items()},
            "created": self.created.isoformat() if self.created else None,
            "updated": self.updated.isoformat() if self.updated else None,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any], *, name: str | None = None) -> "AlertRule":
        """Return the rule that `found` describes; `name`, when given, wins over the one inside.

        A missing form is `long` for people (email, apprise) and `json` for programs.

        Raises:
            InvalidInput: A field is unknown, missing or outside its domain.
        """
        if not isinstance(found, Mapping):
            raise InvalidInput(f"rule: expected an object, got {shown(found)}")
        if unknown := sorted(set(found) - set(cls.__slots__)):
            raise InvalidInput(
                f"{unknown[0]}: expected one of {', '.join(cls.__slots__)}, got an unknown field"
            )
        fields = dict(found) if name is None else dict(found) | {"name": name}
        channel = fields.get("channel")
        if not isinstance(channel, Mapping) or not isinstance(channel.get("kind"), str):
            raise InvalidInput(f"channel: expected an object with a kind, got {shown(channel)}")
        if "name" not in fields:
            raise InvalidInput("name: expected the name of the rule, got none")
        for_people = channel["kind"] in ("email", "apprise")
        fields.setdefault("form", "long" if for_people else "json")
        fields["measures"] = _texts(fields.get("measures") or (), "measures")
        fields["dimensions"] = _values(fields.get("dimensions") or {})
        for stamp in ("created", "updated"):
            fields[stamp] = datetime.fromisoformat(fields[stamp]) if fields.get(stamp) else None
        return cls(**fields)

    def changed(self, **fields: Any) -> "AlertRule":
        """Return the rule with other values in `fields`."""
        return dataclasses.replace(self, **fields)


@dataclass(frozen=True, slots=True)
class Watched:
    """What the events of a detector can be about."""

    measures: frozenset[str]
    dimensions: frozenset[str]


def warnings_of(
    rule: AlertRule, detectors: Mapping[str, Watched], channels: Collection[str] | None = None
) -> list[str]:
    """Return why `rule` cannot match anything that exists now, in the form of an error; [] when it can.

    `channels` are the named ones. No errors: a rule may be made before its detector, and a detector may get its data set later.

    >>> warnings_of(AlertRule("r", {"kind": "webhook"}, detector="aire"), {"air": Watched(frozenset(), frozenset())})
    ["detector: expected one that exists, such as air, got 'aire'"]
    """
    found = []
    if channels is not None and (name := rule.channel.get("name")) and name not in channels:
        found = [_unknown("channel.name", name, channels)]
    if rule.detector == SELF:
        return found
    if rule.detector and rule.detector not in detectors:
        return [*found, _unknown("detector", rule.detector, {*detectors, SELF} if detectors else ())]
    about = [detectors[rule.detector]] if rule.detector else list(detectors.values())
    for field_name, asked in (("measures", rule.measures), ("dimensions", tuple(rule.dimensions))):
        known = frozenset[str]().union(*(getattr(one, field_name) for one in about))
        # A detector without data set yet has none: nothing can be said then.
        found += [_unknown(field_name, one, known) for one in asked if known and one not in known]
    return found


def _unknown(field_name: str, value: str, known: Iterable[str]) -> str:
    near = nearest(value, known)
    such = f", such as {near}" if near else ""
    return f"{field_name}: expected one that exists{such}, got {shown(value)}"


def matches(rule: AlertRule, event: AlertEvent) -> bool:
    """Return whether `rule` is about the subject of `event`: detector, measure and dimensions.

    The severity is another question: it depends on what the rule has told before (`next_stage`).
    """
    return not why_not(rule, event)


def why_not(rule: AlertRule, event: AlertEvent) -> str:
    """Return why `rule` is not about the subject of `event`; "" when it is."""
    if not rule.enabled:
        return "enabled: the rule is disabled"
    if event.muted:
        return "muted: the group is muted"
    if rule.detector and rule.detector != event.detector:
        return f"detector: the rule is about {rule.detector}, the event about {event.detector}"
    if rule.measures and event.measure not in rule.measures:
        return f"measure: the rule is about {', '.join(rule.measures)}, the event about {event.measure}"
    return "" if _has_values(rule, event) else "dimensions: no series has the values that the rule is about"


def _has_values(rule: AlertRule, event: AlertEvent) -> bool:
    if not rule.dimensions:
        return True
    if event.series:
        return any(_inside(rule, one.get("dimensions") or {}) for one in event.series)
    return all(
        any(event.contributions.get(dimension, {}).get(value, 0) > 0 for value in values)
        for dimension, values in rule.dimensions.items()
    )


def next_stage(rule: AlertRule, event: AlertEvent, told: Mapping[str, float]) -> str | None:
    """Return the stage under which `rule` tells `event` now, or None when it stays silent.

    Args:
        rule: A rule that matches the event.
        event: The event.
        told: Stage -> severity of what the rule has told about this group: `open`, `raised`, `raised-2`...
    """
    if event.stage == "closed":
        return "closed" if rule.on_close and told and "closed" not in told else None
    if event.severity < rule.threshold or "closed" in told:
        return None
    if not told:
        return "open"
    if event.severity < max(told.values()) + RISE:
        return None
    before = sum(stage.startswith("raised") for stage in told)
    return "raised" if not before else f"raised-{before + 1}"


def quiet_until(rule: AlertRule, now: datetime, *, zone: str = "UTC") -> datetime | None:
    """Return the end of the quiet time that `now` lies in, aware UTC, or None outside it.

    Args:
        rule: The rule; its own zone wins.
        now: Aware.
        zone: The detector's zone.

    A wall time that the clocks skip in spring is read as if they had not been moved.
    """
    match = _QUIET.fullmatch(rule.quiet_hours)
    if not match:
        return None
    there = zoneinfo.ZoneInfo(rule.zone or zone)
    begin, end = time(int(match[1]), int(match[2])), time(int(match[3]), int(match[4]))
    local = now.astimezone(there)
    clock = local.time().replace(fold=0)
    over_midnight = begin > end
    inside = (clock >= begin or clock < end) if over_midnight else begin <= clock < end
    if not inside:
        return None
    day = local.date() + timedelta(days=1 if over_midnight and clock >= begin else 0)
    return datetime.combine(day, end, there).astimezone(UTC)


def _inside(rule: AlertRule, dimensions: Mapping[str, Any]) -> bool:
    return all(str(dimensions.get(name)) in values for name, values in rule.dimensions.items())


def _check_filters(measures: tuple[str, ...], dimensions: Mapping[str, tuple[str, ...]]) -> None:
    if len(measures) > MOST_MEASURES:
        raise InvalidInput(f"measures: expected at most {MOST_MEASURES}, got {len(measures)}")
    if len(dimensions) > MOST_DIMENSIONS:
        raise InvalidInput(f"dimensions: expected at most {MOST_DIMENSIONS}, got {len(dimensions)}")
    for name, values in dimensions.items():
        if not 1 <= len(values) <= MOST_VALUES:
            raise InvalidInput(
                f"dimensions: expected 1 to {MOST_VALUES} values of {shown(name)}, got {len(values)}"
            )


def _check_quiet(quiet_hours: str, zone: str) -> None:
    match = _QUIET.fullmatch(quiet_hours) if isinstance(quiet_hours, str) else None
    if quiet_hours != "" and (not match or match[1] + match[2] == match[3] + match[4]):
        raise InvalidInput(f"quiet_hours: expected a time such as 22:00-06:00, got {shown(quiet_hours)}")
    if zone:
        try:
            zoneinfo.ZoneInfo(zone)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, TypeError, OSError) as error:
            raise InvalidInput(
                f"zone: expected an IANA zone such as Europe/Berlin, got {shown(zone)}"
            ) from error


def _texts(found: Any, field_name: str) -> tuple[str, ...]:
    if isinstance(found, str) or not isinstance(found, list | tuple):
        raise InvalidInput(f"{field_name}: expected a list of names, got {shown(found)}")
    for one in found:
        if not isinstance(one, str) or not one:
            raise InvalidInput(f"{field_name}: expected names, got {shown(one)}")
    return tuple(found)


def _values(found: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(found, Mapping):
        raise InvalidInput(f"dimensions: expected an object of lists, got {shown(found)}")
    return {str(name): _texts(values, "dimensions") for name, values in found.items()}


__all__ = [
    "FORMS",
    "SELF",
    "AlertRule",
    "Form",
    "Watched",
    "matches",
    "next_stage",
    "quiet_until",
    "warnings_of",
    "why_not",
]
