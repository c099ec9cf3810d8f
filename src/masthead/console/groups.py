"""Anomalies: groups of series that were unusual together, why, with what else, and what a person says of them."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from nicegui import ui

from masthead.console.charts import contribution_bars
from masthead.console.parts import (
    Row,
    number_card,
    plain,
    severity_badge,
    short_time,
    state_badge,
    table,
    telling_errors,
)
from masthead.console.shell import Console, frame, is_dark, link, watch
from masthead.metrics.records import AnomalyGroup

GROUP_COLUMNS = (
    ("start", "Start (UTC)"),
    ("end", "Last interval"),
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
                groups.rows = group_rows(page.items)

            lowest.on("change", update)
            watch(update)

    @ui.page("/groups/{group}")
    def group_page(group: str) -> None:
        with frame("groups", "Anomaly", trail=(("Anomalies", "/groups"),)), telling_errors():
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
            "measure": group.measure,
            "severity": round(group.severity, 1),
            "reason": group.reason.replace("_", " "),
            "top": _top(group.contributions),
            "state": group.state,
        }
        for group in groups
    ]


def _top(contributions: dict[str, dict[str, float]]) -> str:
    """Return the largest contributor of each dimension."""
    best = [max(values.items(), key=lambda entry: entry[1]) for values in contributions.values() if values]
    return ", ".join(f"{name} {share:.0f} %" for name, share in best)


def _one_group(console: Console, group: AnomalyGroup) -> None:
    metrics, dark = console.masthead.metrics, is_dark()
    with ui.row().classes("items-center w-full"):
        severity_badge(group.severity)
        ui.label(f"{group.measure}: {group.reason.replace('_', ' ')}").classes("mh-title")
        state_badge(group.state)
        if group.confidence == "low":
            ui.badge("the detector is still young", color="warning")
        ui.space()
        ui.link(group.detector, link(f"/detectors/{group.detector}"))
    with ui.row().classes("w-full"):
        number_card("From", short_time(group.start), "UTC")
        number_card("Last interval", short_time(group.end), "UTC")
        number_card("Series", str(group.series_count), "anomalous together")
    _verdict(console, group)
    ui.label("Who contributed").classes("mh-title")
    with ui.row().classes("w-full"):
        for dimension, values in group.contributions.items():
            chart = ui.echart(
                contribution_bars(values, dimension=dimension, dark=dark), theme="dark" if dark else None
            )
            chart.classes("mh-card").style(
                f"flex: 1; min-width: 320px; height: {90 + 26 * min(15, len(values))}px"
            )
        if not group.contributions:
            ui.label("This data set has no dimensions.").classes("mh-soft")
    shares = [
        {"dimension": dimension, "value": value, "share": f"{share:.2f} %", "id": f"{dimension}/{value}"}
        for dimension, values in group.contributions.items()
        for value, share in values.items()
    ]
    if shares:
        with ui.expansion("The same as a table").classes("w-full"):
            table(
                (("dimension", "Dimension"), ("value", "Value"), ("share", "Share")),
                shares,
                key="id",
                empty="",
            )
    _causes(group)
    ui.label("Series").classes("mh-title")
    table(
        (
            ("where", "Where"),
            ("value", "Value"),
            ("expected", "Expected"),
            ("severity", "Severity"),
            ("reason", "Reason"),
        ),
        [_series_row(place, one) for place, one in enumerate(group.series)],
        key="id",
        empty="No single series stands out",
    )
    _related(metrics.related(group.id))


def _verdict(console: Console, group: AnomalyGroup) -> None:
    """Draw what a person can say; feedback changes later severity."""
    metrics = console.masthead.metrics

    def say(is_anomaly: bool) -> None:
        with telling_errors():
            metrics.give_feedback(group.id, is_anomaly=is_anomaly)
            ui.notify(
                "Learned: "
                + ("its repeat will alarm again" if is_anomaly else "the like of it will alarm less")
            )

    def mute() -> None:
        with telling_errors():
            metrics.mute_group(group.id, console.masthead.clock.now() + timedelta(hours=24))
            ui.notify("No alerts of this group for 24 hours")

    def acknowledge() -> None:
        with telling_errors():
            metrics.acknowledge_group(group.id)
            ui.notify("Acknowledged")

    with ui.row().classes("items-center"):
        ui.label("Is it an anomaly?")
        ui.button("Yes", icon="thumb_up", on_click=lambda: say(True)).props("outline dense")
        ui.button("No", icon="thumb_down", on_click=lambda: say(False)).props("outline dense")
        ui.button("Acknowledge", icon="done", on_click=acknowledge).props("outline dense")
        ui.button("Mute for 24 h", icon="notifications_off", on_click=mute).props("outline dense")


def _series_row(place: int, series: dict[str, Any]) -> Row:
    where = ", ".join(f"{name} {value}" for name, value in series.get("dimensions", {}).items())
    return {
        "id": place,
        "where": f"{series.get('measure', '')} {where}".strip(),
        "value": plain(series.get("value")),
        "expected": plain(series.get("expected")),
        "severity": round(series.get("severity") or 0, 1),
        "reason": str(series.get("reason", "")).replace("_", " "),
    }


def _causes(group: AnomalyGroup) -> None:
    if not group.causes:
        return
    ui.label("Shortest explanation").classes("mh-title")
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
    ui.label("Moved at the same time").classes("mh-title")
    rows = [{"text": one.text, "id": place} for place, one in enumerate(found)]
    table((("text", "Measure"),), rows, key="id", empty="No other measure moved beside it")
