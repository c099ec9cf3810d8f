"""The live chart of a detector: choose a series, watch it grow, or read the same as a table."""

import json
from typing import Any

from nicegui import ui

from masthead.console.charts import APPEND, band_chart, band_series, theme
from masthead.console.parts import Row, changed_rows, plain, short_time, table, title
from masthead.console.shell import Console, is_dark, watch
from masthead.metrics.results import Chart

CHART_POINTS = 600
_TABLE_ROWS = 200


def live_chart(console: Console, name: str) -> None:
    """Draw the chart; once a series is drawn, only intervals that are new travel to the browser."""
    metrics, dark = console.masthead.metrics, is_dark()
    ui.add_head_html(APPEND)
    with ui.column().classes("mh-card w-full"):
        with ui.row().classes("items-center w-full"):
            title("Live")
            ui.space()
            chosen = ui.select({}, label="Series").style("min-width: 320px")
        word = ui.label("No interval was scored yet: the chart begins with the first one.").classes("mh-soft")
        empty: list[list[Any]] = [[], [], [], [], []]
        chart = ui.echart(band_chart(empty, measure="", dark=dark), theme=theme(dark=dark)).style(
            "height: 400px"
        )
        chart.props("role=img")
        with ui.expansion("The same as a table").classes("w-full"):
            twin = table(
                (
                    ("time", "Interval (UTC)"),
                    ("value", "Value"),
                    ("expected", "Expected"),
                    ("range", "Expected range"),
                    ("severity", "Severity"),
                    ("reason", "Reason"),
                ),
                [],
                key="time",
                empty="No interval was scored yet",
            )
    series: dict[str, Row] = {}
    seen: dict[str, Any] = {"series": None, "last": None}

    def update() -> None:
        found = {_title(one): one for one in metrics.series(name)}
        if found != series:
            series.clear()
            series.update(found)
            kept = chosen.value if chosen.value in series else next(iter(series), None)
            chosen.set_options(list(series), value=kept)
        word.visible = not series
        if chosen.value not in series:
            return
        one = series[chosen.value]
        data = metrics.chart(name, one["measure"], one["dimensions"], limit=CHART_POINTS)
        last = data.times[-1] if data.times else None
        if (chosen.value, last) == (seen["series"], seen["last"]):
            return
        _push(chart, data, since=seen["last"] if chosen.value == seen["series"] else None, dark=dark)
        seen.update(series=chosen.value, last=last)
        changed_rows(twin, _table_rows(data))

    chosen.on_value_change(update)
    watch(update)


def _push(chart: ui.echart, data: Chart, *, since: Any, dark: bool) -> None:
    """Send the whole series when it is another one, else what came after `since`."""
    first = (
        0 if since is None else next((i for i, at in enumerate(data.times) if at > since), len(data.times))
    )
    # One point more than is new, so that a gap right before it breaks the line.
    begin = max(0, first - 1) if since is not None else 0
    points = band_series(
        [at.timestamp() for at in data.times[begin:]],
        data.values[begin:],
        data.expected[begin:],
        data.low[begin:],
        data.high[begin:],
        data.severity[begin:],
        interval_s=data.interval_s,
    )
    if since is None:
        options = band_chart(points, measure=data.measure, dark=dark)
        chart.options.clear()
        chart.options.update(options)
        chart.update()
        return
    new = 1000 * since.timestamp()
    fresh = [[point for point in line if _stamp(point) > new] for line in points]
    ui.run_javascript(f"mhAppend({chart.id}, {_js(fresh)}, {CHART_POINTS})")


def _stamp(point: Any) -> float:
    return float((point["value"] if isinstance(point, dict) else point)[0])


def _js(points: list[list[Any]]) -> str:
    return json.dumps(points, allow_nan=False)


def _table_rows(data: Chart) -> list[Row]:
    rows = zip(
        data.times, data.values, data.expected, data.low, data.high, data.severity, data.reason, strict=True
    )
    return [
        {
            "time": short_time(at),
            "value": plain(value) or "missing",
            "expected": plain(expected),
            "range": f"{plain(low)} to {plain(high)}" if plain(low) and plain(high) else "",
            "severity": round(severity, 1) if severity == severity else "",
            "reason": reason.replace("_", " "),
        }
        for at, value, expected, low, high, severity, reason in reversed(list(rows)[-_TABLE_ROWS:])
    ]


def _title(series: Row) -> str:
    where = ", ".join(f"{name} {value}" for name, value in series["dimensions"].items() if value != "*")
    return f"{series['measure']}, {where}" if where else f"{series['measure']}, all together"
