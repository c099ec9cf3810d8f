"""The chart of a detector: choose a series, watch it grow, or read the same as a table; and the chart of one anomaly."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from nicegui import ui

from masthead.base.errors import NotFound
from masthead.console.charts import SCRIPT, band_chart, band_series, seen_before, theme, thinned
from masthead.console.parts import plain, reason_text, short_time, title
from masthead.console.shell import Console, is_dark, watch
from masthead.console.tables import Row, Table, changed_rows, table
from masthead.metrics.records import AnomalyGroup, Detector
from masthead.metrics.results import Chart

READ_POINTS = (
    20_000  # the latest intervals that "seen before" is told from, and the longest backtest drawn whole
)
CHART_POINTS = 2_000  # on a chart that grows; a backtest's is thinned to about as many
DAY_S = 86_400.0
_TABLE_ROWS = 200
_READING = (
    "Shaded: the usual course, which is where the series was heading, give or take its usual distance. Dotted: the "
    "lowest and the highest value seen before. A value inside the one can lie outside the other."
)
_COLUMNS = (
    ("time", "Interval (UTC)"),
    ("value", "Value"),
    ("expected", "Expected"),
    ("range", "Usual course"),
    ("seen", "Seen before"),
    ("severity", "Severity"),
    ("reason", "Why"),
)


@dataclass(slots=True)
class _Shown:
    """What a page's chart shows: the series, its run, its last interval, and the reach of all values so far."""

    series: str | None = None
    run: tuple[str, ...] = ()
    last: datetime | None = None
    reach: tuple[float, float] | None = None


def detector_chart(console: Console, name: str) -> None:
    """Draw the chart; once a series is drawn, only intervals that are new are read and travel to the browser."""
    metrics, dark = console.masthead.metrics, is_dark()
    is_backtest = metrics.get_detector(name).spec.mode == "backtest"
    ui.add_head_html(SCRIPT)
    with ui.column().classes("mh-card w-full").style("gap: 8px"):
        with ui.row().classes("items-center w-full"):
            title("Backtest" if is_backtest else "Live")
            range_told = ui.label().classes("mh-soft")
            ui.space()
            chosen = ui.select({}, label="Series").style("min-width: min(320px, 100%)")
        word = ui.label(_nothing_yet(is_backtest)).classes("mh-soft")
        chart = _empty_chart(dark)
        ui.label(_READING).classes("mh-soft text-caption")
        with ui.expansion("The same as a table").classes("w-full"):
            twin = table(_COLUMNS, [], key="time", empty="No interval was scored yet")
    series: dict[str, Row] = {}
    shown = _Shown()

    def update() -> None:
        found = {_title(one): one for one in metrics.series(name)}
        if found != series:
            series.clear()
            series.update(found)
            kept = chosen.value if chosen.value in series else next(iter(series), None)
            chosen.set_options(list(series), value=kept)
        word.visible, chart.visible = not series, bool(series)
        if chosen.value not in series:
            return
        detector = metrics.get_detector(name)
        one = series[chosen.value]
        # A backtest is drawn anew when it goes on; a live one when it begins again.
        run = (detector.run, detector.state) if is_backtest else (detector.run,)
        is_same = (shown.series, shown.run) == (chosen.value, run)
        if is_same and shown.last is not None and not is_backtest:
            _grow(console, detector, one, chart, twin, shown)
        elif not is_same or shown.last is None:
            data = metrics.chart(name, one["measure"], one["dimensions"], limit=READ_POINTS)
            _draw_whole(chart, data, dark=dark, is_backtest=is_backtest)
            shown.series, shown.run = chosen.value, run
            shown.last = data.times[-1] if data.times else None
            shown.reach = seen_before([*data.values, None])[-1]
            twin.rows = _table_rows(data, seen_before(data.values), is_backtest=is_backtest)
            if is_backtest and data.times:
                range_told.text = f"{short_time(data.times[0])} to {short_time(data.times[-1])} UTC"

    chosen.on_value_change(update)
    watch(update)


def _nothing_yet(is_backtest: bool) -> str:
    if is_backtest:
        return "Nothing was tested yet. Run the backtest above: the chart shows the whole of it."
    return "No interval was scored yet: activate the detector; the chart begins with its first interval."


def _empty_chart(dark: bool) -> ui.echart:
    options = band_chart(band_series([], [], [], [], [], []), measure="", dark=dark)
    return ui.echart(options, theme=theme(dark=dark)).style("height: 400px").props("role=img")


def _draw_whole(chart: ui.echart, data: Chart, *, dark: bool, is_backtest: bool) -> None:
    """Send a series whole: a backtest to its full length, a live one from its last day on."""
    seen = seen_before(data.values)
    if is_backtest:
        places = thinned(data.values, data.severity, CHART_POINTS)
    else:
        places = list(range(max(0, len(data.times) - CHART_POINTS), len(data.times)))
    step = len(data.times) / max(1, len(places)) if is_backtest else 1.0
    options = band_chart(
        _points(data, seen, places, step=max(1.0, 3 * step if step > 1 else 1.0)),
        measure=data.measure,
        dark=dark,
        view_s=float("inf") if is_backtest else DAY_S,
    )
    chart.options.clear()
    chart.options.update(options)
    chart.update()


def _points(
    data: Chart, seen: Sequence[tuple[float, float] | None], places: Sequence[int], *, step: float = 1.0
) -> list[list[Any]]:
    return band_series(
        [data.times[i].timestamp() for i in places],
        [data.values[i] for i in places],
        [data.expected[i] for i in places],
        [data.low[i] for i in places],
        [data.high[i] for i in places],
        [data.severity[i] for i in places],
        reasons=[data.reason[i] for i in places],
        seen=[seen[i] for i in places],
        interval_s=data.interval_s * step,
    )


def _grow(
    console: Console, detector: Detector, one: Row, chart: ui.echart, twin: Table, shown: _Shown
) -> None:
    """Read what came after the last interval shown, and send only that."""
    assert shown.last is not None
    # From the last shown one on, so that a gap right after it breaks the line.
    data = console.masthead.metrics.chart(
        detector.name, one["measure"], one["dimensions"], start=shown.last, limit=CHART_POINTS
    )
    new = 1000 * shown.last.timestamp()
    if not data.times or data.times[-1] <= shown.last:
        return
    older = list(shown.reach or ())
    seen = seen_before([*older, *data.values])[len(older) :]
    points = _points(data, seen, range(len(data.times)))
    fresh = [[point for point in line if _stamp(point) > new] for line in points]
    shown.last, shown.reach = data.times[-1], seen_before([*older, *data.values, None])[-1]
    ui.run_javascript(f"mhAppend({chart.id}, {json.dumps(fresh, allow_nan=False)}, {CHART_POINTS})")
    rows = [row for row in _table_rows(data, seen) if row["time"] > twin.rows[0]["time"]] if twin.rows else []
    changed_rows(twin, (rows + twin.rows)[:_TABLE_ROWS])


def group_chart(console: Console, group: AnomalyGroup) -> None:
    """Draw the most severe series of a group from a day before it on, the group's span shaded."""
    if not group.series:
        return
    one, dark = group.series[0], is_dark()
    metrics = console.masthead.metrics
    try:
        interval_s = metrics.get_detector(group.detector).spec.interval_s or 1
        around = timedelta(seconds=max(DAY_S / 2, 60 * interval_s))
        data = metrics.chart(
            group.detector, one["measure"], one["dimensions"], end=group.end + around, limit=READ_POINTS
        )
    except NotFound:  # scores are kept for a while, groups for longer
        return
    first = next((i for i, at in enumerate(data.times) if at >= group.start - around), len(data.times))
    if first == len(data.times):
        return
    points = _points(data, seen_before(data.values), range(first, len(data.times)))
    span = (group.start.timestamp(), group.end.timestamp() + interval_s)
    ui.add_head_html(SCRIPT)
    with ui.column().classes("mh-card w-full").style("gap: 8px"):
        title(_title(one))
        chart = ui.echart(
            band_chart(points, measure=one["measure"], dark=dark, span=span), theme=theme(dark=dark)
        )
        chart.style("height: 340px").props("role=img")
        ui.label(_READING).classes("mh-soft text-caption")


def _stamp(point: Any) -> float:
    return float((point["value"] if isinstance(point, dict) else point)[0])


def _table_rows(
    data: Chart, seen: Sequence[tuple[float, float] | None], *, is_backtest: bool = False
) -> list[Row]:
    """Return a table row for each of the latest intervals; of a backtest, its anomalies before all others."""
    places = list(range(len(data.times)))[::-1]
    if is_backtest:
        places.sort(key=lambda i: data.severity[i] < 50)
    return [_table_row(data, seen[i], i) for i in places[:_TABLE_ROWS]]


def _table_row(data: Chart, seen: tuple[float, float] | None, place: int) -> Row:
    low, high, severity = plain(data.low[place]), plain(data.high[place]), data.severity[place]
    return {
        "time": short_time(data.times[place]),
        "value": plain(data.values[place]) or "missing",
        "expected": plain(data.expected[place]),
        "range": f"{low} to {high}" if low and high else "",
        "seen": f"{plain(seen[0])} to {plain(seen[1])}" if seen else "",
        "severity": round(severity, 1) if severity == severity else "",
        "reason": reason_text(data.reason[place]),
    }


def _title(series: Row) -> str:
    where = ", ".join(f"{name} {value}" for name, value in series["dimensions"].items() if value != "*")
    return f"{series['measure']}, {where}" if where else f"{series['measure']}, all together"
