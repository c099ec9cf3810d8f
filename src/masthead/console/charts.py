"""Charts as ECharts options: plain dictionaries from arrays, so that they can be tested without a browser."""

import math
from collections.abc import Sequence
from typing import Any

from masthead.console.parts import severity_band

MARK_FROM = 50.0
_LINE = {True: "#63b3ed", False: "#1a5fa0"}
_BAND = {True: "rgba(99, 179, 237, .18)", False: "rgba(26, 95, 160, .13)"}
_EXPECTED = {True: "#a3b0be", False: "#718096"}
_INK = {True: "#cbd5e0", False: "#2d3748"}
_GRID = {True: "#2b3541", False: "#e2e8f0"}

_STROKE = "path://M0 5h20v3H0z"  # a line's sign in the legend
FIRST_VIEW = 288  # intervals shown at first, a day of five minutes; the slider shows the rest

APPEND = """<script>
// Adds points to the end of a chart's lines, drops as many at the start, and leaves zoom and legend as they are.
window.mhAppend = (id, added, most) => {
  const chart = getElement(id)?.chart;
  if (!chart) return;
  const data = chart.getOption().series.map((one, place) => one.data.concat(added[place]));
  const oldest = data[0].length > most ? data[0][data[0].length - most][0] : -Infinity;
  chart.setOption({series: data.map((one) => ({data: one.filter((point) => (point.value || point)[0] >= oldest)}))});
};
</script>"""
"""The browser's half of a live chart: only what is new travels, not the whole series again."""


def theme(*, dark: bool) -> dict[str, Any]:
    """Return the theme of every chart; named always, so that a chart never depends on the browser's preference."""
    axis = {
        "axisLine": {"lineStyle": {"color": _INK[dark]}},
        "axisLabel": {"color": _INK[dark]},
        "splitLine": {"lineStyle": {"color": _GRID[dark]}},
    }
    return {
        "darkMode": dark,
        "backgroundColor": "transparent",
        "color": [_LINE[dark], _EXPECTED[dark]],
        "textStyle": {"color": _INK[dark], "fontFamily": "inherit"},
        "timeAxis": axis,
        "valueAxis": axis,
        "categoryAxis": axis,
    }


def band_series(
    times: Sequence[float],
    values: Sequence[float | None],
    expected: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    severity: Sequence[float | None],
    *,
    interval_s: float = 0,
) -> list[list[Any]]:
    """Return the points of the five lines of a chart: band's floor, band's height, expected, value, anomalies.

    Args:
        times: Interval starts, epoch seconds; all sequences are equally long; NaN or None = missing.
        severity: 0 to 100; from `MARK_FROM` on a point is marked in its band's colour.
        interval_s: Where more than one and a half of it lie between two times the lines are broken; 0 = nowhere.
    """
    lines: list[list[Any]] = [[], [], [], [], []]
    before: float | None = None
    for time, *numbers, score in zip(times, values, expected, low, high, severity, strict=True):
        value, middle, floor, ceiling = map(_number, numbers)
        if before is not None and interval_s and time - before > 1.5 * interval_s:
            for line in lines[:4]:
                line.append([1000 * (before + interval_s), None])
        before, stamp = time, 1000 * time
        height = None if floor is None or ceiling is None else _number(ceiling - floor)
        for line, number in zip(lines, (floor, height, middle, value), strict=False):
            line.append([stamp, number])
        if score is not None and score >= MARK_FROM and value is not None:
            lines[4].append(_mark(stamp, value, float(score)))
    return lines


def _mark(stamp: float, value: float, score: float) -> dict[str, Any]:
    return {
        "value": [stamp, value, round(score)],
        "itemStyle": {"color": severity_band(score)[0]},
        "symbolSize": round(8 + 8 * (score - MARK_FROM) / (100 - MARK_FROM), 1),
    }


def band_chart(points: list[list[Any]], *, measure: str, dark: bool) -> dict[str, Any]:
    """Return the options of a series' chart: value, expected value and band, and a mark at each anomaly."""
    floor, height, expected, value, anomalies = points
    start = _first_view([stamp for stamp, _ in value])
    return {
        "animation": False,
        "aria": {
            "enabled": True,
            "label": {"description": f"{measure} over time; the same stands in the table below"},
        },
        "tooltip": {"trigger": "axis", "confine": True},
        "legend": {
            "data": [
                {"name": "value", "icon": _STROKE},
                {"name": "expected", "icon": _STROKE},
                {"name": "anomaly", "icon": "circle"},
            ],
            "itemWidth": 18,
            "textStyle": {"color": _INK[dark]},
            "top": 0,
            "right": 16,
        },
        "grid": {"left": 64, "right": 24, "top": 40, "bottom": 76},
        "xAxis": {"type": "time", "axisLabel": {"hideOverlap": True}},
        "useUTC": True,
        "yAxis": {"type": "value", "name": measure, "scale": True},
        "dataZoom": [
            {"type": "inside", "start": start, "end": 100},
            {
                "type": "slider",
                "start": start,
                "end": 100,
                "height": 20,
                "bottom": 12,
                "showDataShadow": False,
            },
        ],
        "series": [
            # "all": a height must be stacked on its floor also where the floor lies below zero.
            _line("band from", floor, width=0, stack="band"),
            {**_line("band", height, width=0, stack="band"), "areaStyle": {"color": _BAND[dark]}},
            _line("expected", expected, width=1.2, color=_EXPECTED[dark], dashed=True),
            _line("value", value, width=1.8, color=_LINE[dark]),
            {
                "name": "anomaly",
                "type": "scatter",
                "data": anomalies,
                "z": 10,
                "itemStyle": {"color": severity_band(100)[0]},
                "label": {"show": True, "position": "top", "formatter": "{@[2]}", "color": _INK[dark]},
                "tooltip": {"show": False},
            },
        ],
    }


def _first_view(stamps: list[float]) -> float:
    """Return from which per cent of the time on the chart is shown at first."""
    if len(stamps) <= FIRST_VIEW:
        return 0.0
    return round(100 * (stamps[-FIRST_VIEW] - stamps[0]) / (stamps[-1] - stamps[0]), 2)


def contribution_bars(contributions: dict[str, float], *, dimension: str, dark: bool) -> dict[str, Any]:
    """Return the options of a bar chart of shares in per cent, largest on top, at most fifteen."""
    top = sorted(contributions.items(), key=lambda entry: entry[1])[-15:]
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": f"Contribution by {dimension}"}},
        "grid": {"left": 130, "right": 60, "top": 34, "bottom": 10},
        "title": {"text": dimension, "left": 0, "textStyle": {"fontSize": 13, "color": _INK[dark]}},
        "xAxis": {"type": "value", "max": 100, "show": False},
        "yAxis": {
            "type": "category",
            "data": [name for name, _ in top],
            "axisLine": {"show": False},
            "axisTick": {"show": False},
            "axisLabel": {"width": 115, "overflow": "truncate"},
        },
        "series": [
            {
                "type": "bar",
                "barMaxWidth": 20,
                "data": [round(share, 1) for _, share in top],
                "itemStyle": {"color": _LINE[dark], "borderRadius": 3},
                "label": {"show": True, "position": "right", "formatter": "{c} %", "color": _INK[dark]},
            }
        ],
    }


def _line(
    name: str,
    data: list[Any],
    *,
    width: float,
    color: str = "transparent",
    dashed: bool = False,
    stack: str | None = None,
) -> dict[str, Any]:
    style = {"width": width, "color": color, "type": "dashed" if dashed else "solid"}
    drawn = {
        "name": name,
        "type": "line",
        "data": data,
        "showSymbol": False,
        "lineStyle": style,
        "itemStyle": {"color": color},
    }
    return drawn | ({"stack": stack, "stackStrategy": "all", "tooltip": {"show": False}} if stack else {})


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
