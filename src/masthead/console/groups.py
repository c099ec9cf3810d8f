"""Anomalies: groups of series that were unusual together, why, with what else, and what a person says of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nicegui import ui

from masthead.console.charts import contribution_bars, theme
from masthead.console.live import group_chart
from masthead.console.parts import (
    look_again,
    measure_text,
    number_card,
    or_missing,
    plain,
    reason_text,
    severity_badge,
    short_time,
    state_badge,
    telling_errors,
    title,
)
from masthead.console.shell import Console, follow, frame, is_dark, link, watch
from masthead.console.tables import Row, changed_rows, table
from masthead.metrics.records import AnomalyGroup

GROUP_COLUMNS = (
    ("start", "Start (UTC)"),
    ("end", "Last interval (UTC)"),
    ("detector", "Detector"),
    ("measure", "Measure"),
    ("severity", "Severity"),
    ("reason", "Reason"),
    ("top", "Contribution"),
    ("state", "State"),
)


def register(console: Console) -> None:
    """Make the pages `/ui/groups` and `/ui/groups/ID`."""

    @ui.page("/groups")
    def groups_page() -> None:
        with frame("groups", "Anomalies"):
            with ui.row().classes("items-center w-full"):
                lowest = (
                    ui.slider(min=50, max=100, value=70)
                    .style("width: 240px")
                    .props("label aria-label='Lowest severity'")
                )
                ui.label().bind_text_from(lowest, "value", lambda value: f"from severity {value:.0f}")
            groups = table(
                GROUP_COLUMNS, [], links="start", key="id", empty="Nothing unusual at this severity"
            )

            def update() -> None:
                page = console.masthead.metrics.list_groups(min_severity=lowest.value, limit=200)
                changed_rows(groups, group_rows(page.items))

            lowest.on("change", update)
            watch(update)

    @ui.page("/groups/{group}")
    def group_page(group: str) -> None:
        with frame("groups", "Anomaly", trail=(("Anomalies", "/groups"),)), or_missing():
            _one_group(console, console.masthead.metrics.get_group(group))


def group_rows(groups: Iterable[AnomalyGroup]) -> list[Row]:
    """Return a table row per group."""
    return [
        {
            "id": group.id,
            "href": link(f"/groups/{group.id}"),
            "start": short_time(group.start),
            "end": short_time(group.end),
            "detector": group.detector,
            "measure": measure_text(group.measure),
            "severity": round(group.severity, 1),
            "reason": reason_text(group.reason),
            "top": _top(group.contributions),
            "state": group.state,
        }
        for group in groups
    ]


def _top(contributions: dict[str, dict[str, float]]) -> str:
    """Return the largest contributor of each dimension."""
    best = [max(values.items(), key=lambda entry: entry[1]) for values in contributions.values() if values]
    return ", ".join(f"{name} {share:.0f} %" for name, share in best)


def _one_group(console: Console, found: AnomalyGroup) -> None:
    """Draw one group; what a person says of it and its severity follow by themselves, the rest stands still."""
    metrics = console.masthead.metrics
    with ui.row().classes("items-center w-full"):
        follow(lambda: _said(metrics.get_group(found.id), console.masthead.clock.now()), _draw_said)
        ui.space()
        ui.link(f"Detector {found.detector}", f"/detectors/{found.detector}").classes("mh-link")
    follow(lambda: _span(metrics.get_group(found.id)), _draw_span)
    _verdict(console, found.id)
    group_chart(console, found)
    _contributions(found.contributions)
    _causes(found)
    title("Series")
    table(
        (
            ("where", "Where"),
            ("value", "Value"),
            ("expected", "Expected"),
            ("severity", "Severity"),
            ("reason", "Reason"),
        ),
        [_series_row(place, one) for place, one in enumerate(found.series)],
        key="id",
        empty="No single series stands out",
        actions={
            "An anomaly": ("thumb_up", lambda row: _say(console, found.id, True, row["id"])),
            "No anomaly": ("thumb_down", lambda row: _say(console, found.id, False, row["id"])),
        },
    )
    _related(metrics.related(found.id))


@dataclass(frozen=True, slots=True)
class _Said:
    """What is said of a group at its head."""

    severity: float
    text: str
    state: str
    badges: tuple[tuple[str, str], ...]


def _said(group: AnomalyGroup, now: datetime) -> _Said:
    badges = [("acknowledged", "positive")] if group.acknowledged else []
    if group.muted_until and group.muted_until > now:
        badges.append((f"muted until {short_time(group.muted_until)} UTC", "grey-8"))
    if group.confidence == "low":
        badges.append(("the detector is still young", "warning"))
    text = f"{measure_text(group.measure)}: {reason_text(group.reason)}"
    return _Said(group.severity, text, group.state, tuple(badges))


def _draw_said(said: _Said) -> None:
    with ui.row().classes("items-center"):
        severity_badge(said.severity)
        ui.label(said.text).classes("mh-title")
        state_badge(said.state)
        for text, colour in said.badges:
            ui.badge(text, color=colour)


def _span(group: AnomalyGroup) -> tuple[datetime, datetime, int]:
    return group.start, group.end, group.series_count


def _draw_span(span: tuple[datetime, datetime, int]) -> None:
    start, end, count = span
    with ui.row().classes("w-full items-stretch mh-figures"):
        number_card("From", short_time(start), "UTC")
        number_card("Last interval", short_time(end), "UTC")
        number_card("Series", f"{count:,}", "anomalous together")


def _contributions(contributions: dict[str, dict[str, float]]) -> None:
    """Draw who contributed, as bars and as a table."""
    dark = is_dark()
    title("Who contributed")
    if not contributions:
        ui.label("This data set has no dimensions.").classes("mh-soft")
        return
    with ui.row().classes("w-full items-stretch"):
        for dimension, values in contributions.items():
            options = contribution_bars(values, dimension=dimension, dark=dark)
            chart = ui.echart(options, theme=theme(dark=dark)).classes("mh-card").props("role=img")
            chart.style(f"flex: 1; min-width: min(320px, 100%); height: {86 + 26 * min(15, len(values))}px")
    shares = [
        {"dimension": dimension, "value": value, "share": f"{share:.1f} %", "id": f"{dimension}/{value}"}
        for dimension, values in contributions.items()
        for value, share in sorted(values.items(), key=lambda entry: -entry[1])
    ]
    with ui.expansion("The same as a table").classes("w-full"):
        table(
            (("dimension", "Dimension"), ("value", "Value"), ("share", "Share")),
            shares,
            key="id",
            empty="None",
        )


def _say(console: Console, group: str, is_anomaly: bool, series: int | None = None) -> None:
    """Give feedback; it changes later severity."""
    console.masthead.metrics.give_feedback(group, series, is_anomaly=is_anomaly)
    ui.notify(
        "Learned: " + ("its repeat will alarm again" if is_anomaly else "the like of it will alarm less")
    )


def _verdict(console: Console, group: str) -> None:
    """Draw what a person can say of the whole group."""
    metrics = console.masthead.metrics

    def acknowledge() -> None:
        metrics.acknowledge_group(group, not metrics.get_group(group).acknowledged)

    def mute() -> None:
        now, until = console.masthead.clock.now(), metrics.get_group(group).muted_until
        is_muted = until is not None and until > now
        metrics.mute_group(group, None if is_muted else now + timedelta(hours=24))
        ui.notify(
            "Alerts of this group are told again" if is_muted else "No alerts of this group for 24 hours"
        )

    def done(do: Callable[[], None]) -> None:
        with telling_errors():
            do()
            look_again()

    with ui.row().classes("items-center"):
        ui.label("Is it an anomaly?")
        for text, icon, is_anomaly in (("Yes", "thumb_up", True), ("No", "thumb_down", False)):
            ui.button(
                text, icon=icon, on_click=lambda _, told=is_anomaly: done(lambda: _say(console, group, told))
            ).props("outline")
        ui.button("Acknowledge", icon="done", on_click=lambda: done(acknowledge)).props("outline")
        ui.button("Mute for 24 h", icon="notifications_off", on_click=lambda: done(mute)).props("outline")


def _series_row(place: int, series: dict[str, Any]) -> Row:
    where = ", ".join(
        f"{name} {value}" for name, value in series.get("dimensions", {}).items() if value != "*"
    )
    return {
        "id": place,
        "where": f"{series.get('measure', '')}, {where}" if where else str(series.get("measure", "")),
        "value": plain(series.get("value")) or "missing",
        "expected": plain(series.get("expected")) or "unknown",
        "severity": round(series.get("severity") or 0, 1),
        "reason": reason_text(str(series.get("reason", ""))),
    }


def _causes(group: AnomalyGroup) -> None:
    if not group.causes:
        return
    title("Shortest explanation")
    rows = [
        {
            "what": " and ".join(f"{name} = {value}" for name, value in cause["elements"].items()),
            "share": f"{cause['share']:.0f} %",
        }
        for cause in group.causes
    ]
    table(
        (("what", "These values together"), ("share", "Share of the deviation")), rows, key="what", empty=""
    )


def _related(found: Iterable[Any]) -> None:
    """Draw what else moved; words that promise no cause."""
    title("Moved at the same time")
    rows = [{"text": one.text, "id": place} for place, one in enumerate(found)]
    table((("text", "Measure"),), rows, key="id", empty="No other measure moved beside it")
