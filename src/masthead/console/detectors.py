"""Detectors: the list, and one detector with its live chart, its groups and the quality of its data."""

from typing import Any

from nicegui import ui

from masthead.console.charts import band_chart
from masthead.console.groups import GROUP_COLUMNS, group_rows
from masthead.console.parts import (
    Row,
    confirmed,
    number_card,
    plain,
    short_time,
    state_badge,
    table,
    telling_errors,
)
from masthead.console.shell import Console, frame, is_dark, link, watch
from masthead.console.wizard import open_wizard
from masthead.metrics.records import Detector
from masthead.metrics.results import Chart

_CHART_POINTS = 600


def register(console: Console) -> None:
    """Make the pages `/ui/detectors` and `/ui/detectors/NAME`."""

    @ui.page("/detectors")
    def detectors_page() -> None:
        with frame("detectors", "Detectors"):
            with ui.row().classes("items-center w-full"):
                ui.label("One detector watches one data set").classes("mh-soft")
                ui.space()
                ui.button("New detector", icon="add", on_click=lambda: open_wizard(console))
            detectors = table(
                (
                    ("name", "Name"),
                    ("state", "State"),
                    ("progress", "Progress"),
                    ("interval", "Interval"),
                    ("measures", "Measures"),
                    ("last", "Last interval"),
                    ("late", "Late"),
                ),
                [],
                links="name",
                empty="No detectors yet: New detector leads through the steps",
            )

            def update() -> None:
                detectors.rows = [_row(detector) for detector in console.masthead.metrics.list_detectors()]

            watch(update)

    @ui.page("/detectors/{name}")
    def detector_page(name: str) -> None:
        with frame("detectors", name, trail=(("Detectors", "/detectors"),)), telling_errors():
            console.masthead.metrics.get_detector(name)
            _head(console, name)
            _live_chart(console, name)
            _groups(console, name)
            _quality(console, name)


def _row(detector: Detector) -> Row:
    return {
        "name": detector.name,
        "href": link(f"/detectors/{detector.name}"),
        "state": detector.state,
        "progress": detector.failure or detector.progress.text,
        "interval": detector.spec.interval,
        "measures": ", ".join(measure.name for measure in detector.spec.measures),
        "last": short_time(detector.last_interval),
        "late": detector.late,
    }


def _head(console: Console, name: str) -> None:
    """Draw state and verbs; they follow the state."""
    metrics = console.masthead.metrics

    async def delete() -> None:
        if await confirmed(f"Delete {name} with its groups and alert rules? Objects stay.", verb="Delete"):
            with telling_errors():
                metrics.delete_detector(name)
                ui.navigate.to(link("/detectors"))

    @ui.refreshable
    def head() -> None:
        detector = metrics.get_detector(name)
        with ui.row().classes("items-center w-full"):
            state_badge(detector.state)
            ui.label(detector.failure or detector.progress.text).classes(
                "text-negative" if detector.failure else "mh-soft"
            )
            ui.space()
            for title, icon, verb in _verbs(console, detector):
                ui.button(title, icon=icon, on_click=lambda _, verb=verb: _do(verb)).props("outline dense")
            ui.link("Log", link("/logs") + f"?kind=detector&name={name}")
        if detector.state == "learning" and detector.progress.needed:
            ui.linear_progress(detector.progress.seen / detector.progress.needed, show_value=False)

    shown: list[Any] = []

    def update() -> None:
        detector = metrics.get_detector(name)
        now = [detector.state, detector.failure, detector.progress]
        if now != shown:
            shown[:] = now
            head.refresh()

    def _do(verb: Any) -> None:
        with telling_errors():
            verb(name)
            update()

    head()
    with ui.row().classes("w-full justify-end"):
        ui.button("Delete", icon="delete", color="negative", on_click=delete).props("flat dense")
    ui.timer(2.0, update)


def _verbs(console: Console, detector: Detector) -> list[tuple[str, str, Any]]:
    """Return (title, icon, verb) of what the state allows."""
    metrics = console.masthead.metrics
    if detector.state in ("learning", "active"):
        return [("Deactivate", "stop", metrics.deactivate)]
    if detector.state in ("created", "stopped", "failed", "backtested"):
        if detector.spec.mode == "backtest":
            return [("Run the back-test", "history", metrics.backtest)]
        return [("Activate", "play_arrow", metrics.activate)]
    return []


def _live_chart(console: Console, name: str) -> None:
    """Draw one series over time: choose it, watch it grow, or read it as a table."""
    metrics, dark = console.masthead.metrics, is_dark()
    with ui.column().classes("mh-card w-full"):
        with ui.row().classes("items-center w-full"):
            ui.label("Live").classes("mh-title")
            ui.space()
            chosen = ui.select({}, label="Series").style("min-width: 320px").props("aria-label='Series'")
        chart = ui.echart(
            band_chart([], [], [], [], [], [], title="", dark=dark), theme="dark" if dark else None
        )
        chart.style("height: 380px")
        with ui.expansion("The same as a table").classes("w-full"):
            twin = table(
                (
                    ("time", "Interval"),
                    ("value", "Value"),
                    ("expected", "Expected"),
                    ("severity", "Severity"),
                    ("reason", "Reason"),
                ),
                [],
                key="time",
                empty="No interval was scored yet",
            )
    series: dict[int, Row] = {}
    last: list[Any] = []

    def update() -> None:
        found = dict(enumerate(metrics.series(name)))
        if found != series:
            series.clear()
            series.update(found)
            chosen.set_options(
                {place: _title(one) for place, one in series.items()}, value=chosen.value or _first(series)
            )
        if chosen.value is None or chosen.value not in series:
            return
        one = series[chosen.value]
        data = metrics.chart(name, one["measure"], one["dimensions"], limit=_CHART_POINTS)
        state = [chosen.value, data.times[-1:], len(data.times)]
        if state != last:
            last[:] = state
            _draw(chart, data, dark)
            twin.rows = _table_rows(data)

    chosen.on_value_change(update)
    watch(update)


def _draw(chart: ui.echart, data: Chart, dark: bool) -> None:
    """Hand new data to the chart; zoom and legend stay as the person left them."""
    options = band_chart(
        [at.timestamp() for at in data.times],
        data.values,
        data.expected,
        data.low,
        data.high,
        data.severity,
        title=data.measure,
        dark=dark,
    )
    chart.options["yAxis"] = options["yAxis"]
    chart.options["series"] = options["series"]
    chart.update()


def _table_rows(data: Chart) -> list[Row]:
    rows = zip(data.times, data.values, data.expected, data.severity, data.reason, strict=True)
    return [
        {
            "time": short_time(at),
            "value": plain(value),
            "expected": plain(expected),
            "severity": severity or 0,
            "reason": reason,
        }
        for at, value, expected, severity, reason in reversed(list(rows)[-200:])
    ]


def _title(series: Row) -> str:
    where = ", ".join(f"{name} {value}" for name, value in series["dimensions"].items() if value != "*")
    return f"{series['measure']} - {where}" if where else f"{series['measure']} - all"


def _first(series: dict[int, Row]) -> int | None:
    return next(iter(series), None)


def _groups(console: Console, name: str) -> None:
    ui.label("Anomalies").classes("mh-title")
    groups = table(GROUP_COLUMNS, [], links="start", key="id", empty="No anomaly was found yet")

    def update() -> None:
        page = console.masthead.metrics.list_groups(name, min_severity=50, limit=100)
        groups.rows = group_rows(page.items)

    watch(update)


def _quality(console: Console, name: str) -> None:
    """Draw what is known of the data: late, duplicate and refused records, and what the validation found."""
    ui.label("Data quality").classes("mh-title")

    @ui.refreshable
    def cards() -> None:
        quality = console.masthead.metrics.data_quality(name)
        with ui.row().classes("w-full"):
            number_card("Late records", f"{quality['late']:,}", "after their interval had closed")
            number_card("Duplicates", f"{quality['duplicates']:,}", "dropped")
            number_card("Refused", f"{quality['refused']:,}", "in the error place, each with its reason")
        rest = [
            {"what": key.replace("_", " "), "value": str(value)}
            for key, value in quality.items()
            if _tells(value)
        ]
        table(
            (("what", "What"), ("value", "Value")),
            rest,
            key="what",
            empty="Nothing else is known yet",
            page=10,
        )

    cards()
    ui.timer(5.0, cards.refresh)


def _tells(value: object) -> bool:
    return isinstance(value, int | float | str) and value not in ("", 0)
