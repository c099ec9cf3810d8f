"""What an alert says: long for mail, short for a phone, JSON for programs. Pure.

Sources: the JSON follows the example alert of "Working with alerts", Amazon Lookout for Metrics developer guide
(2021); the short form keeps to the default alphabet of 3GPP TS 23.038 (GSM-7), section 6.2.1.
"""

import math
import unicodedata
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from masthead.alerts.events import MOST_SERIES, SELF, AlertEvent
from masthead.alerts.rules import AlertRule
from masthead.base.ids import series_id

SHORT_SEPTETS = 160  # one SMS, 3GPP TS 23.040

_GSM7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM7_TWICE = frozenset("^{}\\[~]|€\f")  # sent as an escape and a character
_PLAIN = str.maketrans(
    {"–": "-", "—": "-", "’": "'", "‘": "'", "“": '"', "”": '"', "…": "...", "µ": "u", "°": ""}
)

Arns = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Message:
    """One alert, ready for a channel.

    Attributes:
        key: Same at every try of one alert; receivers drop a key that they have seen.
        rule: Name of the rule.
        title: One line, for a mail's subject.
        text: The long or the short form.
        payload: The JSON form.
        form: Which of them the rule asked for.
        event: What happened.
        reached: Receivers that earlier tries reached already.
    """

    key: str
    rule: str
    title: str
    text: str
    payload: dict[str, Any]
    form: str
    event: AlertEvent
    reached: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """Return what is sent: the payload's JSON, or the text in UTF-8."""
        return orjson.dumps(self.payload) if self.form == "json" else self.text.encode()

    @property
    def content_type(self) -> str:
        """Return the media type of `body`."""
        return "application/json" if self.form == "json" else "text/plain; charset=utf-8"


def plain_arn(kind: str, name: str) -> str:
    """Return the resource name used when no AWS account is configured.

    >>> plain_arn("Alert", "night")
    'arn:aws:lookoutmetrics:us-east-1:000000000000:Alert:night'
    """
    return f"arn:aws:lookoutmetrics:us-east-1:000000000000:{kind}:{name}"


def compose(
    rule: AlertRule,
    event: AlertEvent,
    *,
    key: str,
    link: str = "",
    arn: Arns = plain_arn,
    reached: tuple[str, ...] = (),
) -> Message:
    """Return the message of `event` under `rule`.

    Args:
        rule: Gives form, name and description.
        event: What happened.
        key: The delivery's id.
        link: Address of the group's page; left out when empty.
        arn: Gives the resource name for a kind (`Alert`, `AnomalyDetector`) and a name.
        reached: Receivers that need no second message.
    """
    text = short_text(event) if rule.form == "short" else long_text(event, link=link)
    return Message(
        key=key,
        rule=rule.name,
        title=title(event),
        text=text,
        payload=json_payload(rule, event, key=key, arn=arn, link=link),
        form=rule.form,
        event=event,
        reached=reached,
    )


def title(event: AlertEvent) -> str:
    """Return one line for people."""
    if event.detector == SELF:
        line = (
            f"Masthead: {event.measure} {'is well again' if event.stage == 'closed' else 'needs attention'}"
        )
    else:
        line = f"{event.detector}: {_what(event)}{_at(event)}, severity {event.severity:.0f}"
    return " ".join(_marked(event, line).split())[:200]


def short_text(event: AlertEvent) -> str:
    """Return the event in at most 160 characters of GSM-7, so that it is one SMS.

    The place is cut first: what, how much and since when matter most to a woken person.
    """
    if event.detector == SELF:
        end = "over: " if event.stage == "closed" else ""
        return _fit(_marked(event, f"Masthead: {end}{event.reason or event.measure}"), SHORT_SEPTETS)
    head = _marked(event, _what(event))
    tail = f", severity {event.severity:.0f}, since {_clock(event)}"
    if event.stage == "closed":
        tail = (
            f", over, severity was {event.severity:.0f}, {_clock(event)} to {_local(event, event.end):%H:%M}"
        )
    elif event.expected is not None:
        tail = f", expected {number(event.expected)}{tail}"
    head = _fit(head, SHORT_SEPTETS - _septets(tail))
    room = SHORT_SEPTETS - _septets(head) - _septets(tail)
    place = _fit(_at(event), room) if room >= 6 else ""
    return head + place + tail


def long_text(event: AlertEvent, *, link: str = "") -> str:
    """Return the event in some lines for people: what, where, since when, value, severity, causes, link."""
    if event.detector == SELF:
        lines = [_marked(event, event.reason or event.measure)]
        lines += ["This condition is over."] if event.stage == "closed" else []
        lines += [f"Since {_stamp(event, event.start)}. Severity {event.severity:.0f}."]
        return "\n".join(lines + ([f"\n{link}"] if link else [])) + "\n"
    lines = [_marked(event, _what(event) + _at(event) + _against(event)), ""]
    lines.append(f"Severity  {event.severity:.0f} of 100{_confidence(event)}")
    lines.append(f"Detector  {event.detector}")
    over = event.stage == "closed"
    lines.append(f"{'From' if over else 'Since'}      "[:10] + _stamp(event, event.start))
    if over or event.end > event.start:
        lines.append(f"Until     {_stamp(event, event.end)}" + (" (over)" if over else ""))
    if event.reason:
        lines.append(f"Why       {event.reason}")
    lines += _causes(event)
    for other in event.related[:3]:
        told = f"{other.get('measure', '')} {other.get('text', '')}".strip()
        lines.append(f"Related   {told}")
    if link:
        lines += ["", link]
    return "\n".join(lines) + "\n"


def json_payload(
    rule: AlertRule, event: AlertEvent, *, key: str, arn: Arns = plain_arn, link: str = ""
) -> dict[str, Any]:
    """Return the alert in the documented JSON form, and under `masthead` what that form cannot say."""
    alert = arn("Alert", rule.name)
    description = rule.description or title(event)
    return {
        "alertName": rule.name,
        "alertEventId": f"{alert}:event/{key}",
        "anomalyDetectorArn": arn("AnomalyDetector", event.detector),
        "alertArn": alert,
        "alertDescription": _marked(event, description),
        "impactedMetric": {
            "metricName": event.measure,
            "dimensionContribution": [
                {
                    "dimensionName": name,
                    "dimensionValueContributions": [
                        {"dimensionValue": value, "valueContribution": percent}
                        for value, percent in _largest(values, MOST_SERIES)
                    ],
                }
                for name, values in event.contributions.items()
            ],
            "relevantTimeSeries": [_series(event, one) for one in event.series[:MOST_SERIES]],
        },
        "timestamp": _java_time(event.start, event.zone),
        "anomalyScore": round(event.severity, 2),
        "masthead": {
            "key": key,
            "stage": event.stage,
            "test": event.stage == "test",
            "detector": event.detector,
            "group": event.group,
            "kind": event.kind,
            "reason": event.reason,
            "start": event.start.isoformat(),
            "end": event.end.isoformat(),
            "value": _finite(event.value),
            "expected": _finite(event.expected),
            "confidence": event.confidence,
            "text": short_text(event),
            "related": [dict(one) for one in event.related[:MOST_SERIES]],
            "link": link,
        },
    }


def number(value: float) -> str:
    """Return a number as people read it: three digits, more only before the point.

    >>> number(4.8), number(64.97), number(12345.6), number(0.000123), number(-120)
    ('4.8', '65', '12346', '0.000123', '-120')
    """
    return f"{value:.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _what(event: AlertEvent) -> str:
    if event.kind == "silence" or event.value is None or math.isnan(event.value):
        return f"{event.measure} silent"
    verb = "stuck at " if event.kind == "flatline" else ""
    return f"{event.measure} {verb}{number(event.value)}"


def _at(event: AlertEvent) -> str:
    names = _place(event)
    return f" at {', '.join(names)}" if names else ""


def _place(event: AlertEvent) -> list[str]:
    """Return the dimension values of the worst series, or the values that make up most of the deviation."""
    if event.series:
        dimensions = event.series[0].get("dimensions") or {}
        return [str(value) for value in dimensions.values() if value not in ("*", None)]
    tops = (_largest(values, 1) for values in event.contributions.values())
    return [top[0][0] for top in tops if top and top[0][1] >= 50]


def _against(event: AlertEvent) -> str:
    return "" if event.expected is None else f", expected {number(event.expected)}"


def _confidence(event: AlertEvent) -> str:
    return "" if event.confidence == "full" else " (the detector is still young)"


def _causes(event: AlertEvent) -> list[str]:
    """Return the three values that contribute most, over all dimensions."""
    shares = ((name, *one) for name, values in event.contributions.items() for one in _largest(values, 3))
    top = sorted(shares, key=lambda share: (-share[2], share[0], share[1]))[:3]
    heads = ["From      "] + ["          "] * 2
    return [
        f"{head}{name} {value}: {percent:g} %"
        for head, (name, value, percent) in zip(heads, top, strict=False)
    ]


def _largest(values: Mapping[str, float], count: int) -> list[tuple[str, float]]:
    return sorted(values.items(), key=lambda pair: (-pair[1], pair[0]))[:count]


def _series(event: AlertEvent, one: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = {str(name): str(value) for name, value in (one.get("dimensions") or {}).items()}
    return {
        "timeSeriesId": series_id(event.detector, event.measure, dimensions),
        "dimensions": [
            {"dimensionName": name, "dimensionValue": value}
            for name, value in dimensions.items()
            if value != "*"
        ],
        "metricValue": _finite(one.get("value")),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _marked(event: AlertEvent, text: str) -> str:
    return f"TEST: {text}" if event.stage == "test" else text


def _local(event: AlertEvent, moment: datetime) -> datetime:
    return moment.astimezone(_zone(event.zone))


def _zone(name: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return zoneinfo.ZoneInfo("UTC")  # an alert in UTC beats none


def _clock(event: AlertEvent) -> str:
    """Return the start as a wall time, with the day when the event did not end on it."""
    start, end = _local(event, event.start), _local(event, event.end)
    return f"{start:%H:%M}" if start.date() == end.date() else f"{start:%m-%d %H:%M}"


def _stamp(event: AlertEvent, moment: datetime) -> str:
    return f"{_local(event, moment):%Y-%m-%d %H:%M} {event.zone}"


def _java_time(moment: datetime, zone: str) -> str:
    """Return the text of Java's ZonedDateTime, which the documented alerts carry.

    >>> _java_time(datetime.fromisoformat("2022-03-24T23:30Z"), "UTC")
    '2022-03-24T23:30Z[UTC]'
    """
    local = moment.astimezone(_zone(zone))
    offset = local.strftime("%z")
    offset = "Z" if not local.utcoffset() else f"{offset[:3]}:{offset[3:5]}"
    clock = "%Y-%m-%dT%H:%M:%S" if local.second else "%Y-%m-%dT%H:%M"
    return f"{local.strftime(clock)}{offset}[{zone}]"


def _septets(text: str) -> int:
    return sum(2 if character in _GSM7_TWICE else 1 for character in text)


def _gsm7(text: str) -> str:
    """Return `text` in GSM-7: accents dropped where the alphabet lacks the letter, `?` for the rest."""
    out = []
    for character in " ".join(text.translate(_PLAIN).split()):
        if character in _GSM7 or character in _GSM7_TWICE:
            out.append(character)
            continue
        base = unicodedata.normalize("NFKD", character)
        kept = "".join(one for one in base if one in _GSM7)
        out.append(kept or ("" if unicodedata.combining(character) else "?"))
    return "".join(out)


def _fit(text: str, septets: int) -> str:
    """Return `text` in GSM-7, cut with three dots to `septets`."""
    lead = " " if text.startswith(" ") else ""
    text = lead + _gsm7(text)
    if _septets(text) <= septets:
        return text
    kept, used = [], 3
    for character in text:
        used += _septets(character)
        if used > septets:
            break
        kept.append(character)
    return "".join(kept).rstrip() + "..."


__all__ = ["Message", "compose", "json_payload", "long_text", "number", "plain_arn", "short_text", "title"]
