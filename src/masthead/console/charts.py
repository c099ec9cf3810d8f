"""Charts as ECharts options: plain dictionaries from arrays, so that they can be tested without a browser."""

import math
from collections.abc import Sequence
from typing import Any

from masthead.console.parts import reason_text, severity_band

MARK_FROM = 50.0
LINE = {True: "#63b3ed", False: "#1a5fa0"}
_BAND = {True: "rgba(99, 179, 237, .18)", False: "rgba(26, 95, 160, .13)"}
_EXPECTED = {True: "#a3b0be", False: "#718096"}
INK = {True: "#cbd5e0", False: "#2d3748"}
_SEEN = {True: "#f0b429", False: "#9a5b00"}
_SPAN = {True: "rgba(252, 129, 129, .16)", False: "rgba(197, 48, 48, .10)"}
TIP = {True: "#19212a", False: "#ffffff"}
GRID = {True: "#2b3541", False: "#e2e8f0"}

_STROKE = "path://M0 5h20v3H0z"  # a line's sign in the legend
# The two lines of what was seen before share a name, and so an entry of the legend.
LINES = ("from", "usual course", "expected", "value", "anomaly", "seen before", "seen before")

SCRIPT = """<script>
// Adds points to the end of a chart's lines, drops as many at the start, and leaves zoom and legend as they are.
window.mhAppend = (id, added, most) => {
  const chart = getElement(id)?.chart;
  if (!chart) return;
  const data = chart.getOption().series.map((one, place) => one.data.concat(added[place]));
  const oldest = data[0].length > most ? data[0][data[0].length - most][0] : -Infinity;
  chart.setOption({series: data.map((one) => ({data: one.filter((point) => (point.value || point)[0] >= oldest)}))});
};
// Says what stands at one time, and why it is an anomaly; texts are written as texts, never as HTML.
window.mhTooltip = (params) => {
  const at = {}, box = document.createElement('div');
  for (const one of params) at[one.seriesIndex] = one.value;
  const number = (place) => at[place]?.[1] ?? null;
  const plain = (value) => String(+value.toPrecision(5));
  const say = (text, bold) => {
    const line = document.createElement('div');
    line.textContent = text;
    if (bold) line.style.fontWeight = 600;
    box.append(line);
  };
  say(new Date(params[0].value[0]).toISOString().slice(0, 16).replace('T', ' ') + ' UTC', true);
  if (at[4]) say(`Severity ${at[4][2]} ${at[4][3]}: ${at[4][4]}`, true);
  if (number(3) !== null) say('Value ' + plain(number(3)));
  if (number(2) !== null) say('Expected ' + plain(number(2)));
  if (number(1) !== null) say(`Usual course ${plain(number(0))} to ${plain(number(0) + number(1))}`);
  if (number(5) !== null) say(`Seen before ${plain(number(5))} to ${plain(number(6))}`);
  return box;
};
</script>"""
"""The browser's half of a chart: only what is new travels, and a point says why it was marked."""


def theme(*, dark: bool) -> dict[str, Any]:
    """Return the theme of every chart; named always, so that a chart never depends on the browser's preference."""
    axis = {
        "axisLine": {"lineStyle": {"color": INK[dark]}},
        "axisLabel": {"color": INK[dark]},
        "splitLine": {"lineStyle": {"color": GRID[dark]}},
    }
    return {
        "darkMode": dark,
        "backgroundColor": "transparent",
        "color": [LINE[dark], _EXPECTED[dark]],
        "textStyle": {"color": INK[dark], "fontFamily": "inherit"},
        "timeAxis": axis,
        "valueAxis": axis,
        "categoryAxis": axis,
    }


def seen_before(values: Sequence[float | None]) -> list[tuple[float, float] | None]:
    """Return for each value the lowest and highest of all before it; None where there was none."""
    found: list[tuple[float, float] | None] = []
    reach: tuple[float, float] | None = None
    for value in values:
        found.append(reach)
        if (number := _number(value)) is not None:
            reach = (number, number) if reach is None else (min(reach[0], number), max(reach[1], number))
    return found


def thinned(values: Sequence[float | None], severity: Sequence[float | None], most: int) -> list[int]:
    """Return the places of about `most` points that keep a long line's shape: of each stretch its first, lowest and
    highest value, and every anomaly."""
    if len(values) <= most:
        return list(range(len(values)))
    size = -(-3 * len(values) // most)
    kept: set[int] = {len(values) - 1}
    for first in range(0, len(values), size):
        places = [i for i in range(first, min(first + size, len(values))) if _number(values[i]) is not None]
        kept.add(first)
        if places:
            kept |= {min(places, key=lambda i: values[i] or 0.0), max(places, key=lambda i: values[i] or 0.0)}
    kept |= {i for i, score in enumerate(severity) if score is not None and score >= MARK_FROM}
    return sorted(kept)


def band_series(
    times: Sequence[float],
    values: Sequence[float | None],
    expected: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    severity: Sequence[float | None],
    *,
    reasons: Sequence[str] = (),
    seen: Sequence[tuple[float, float] | None] = (),
    interval_s: float = 0,
) -> list[list[Any]]:
    """Return the points of a chart's lines, in the order of `LINES`.

    Args:
        times: Interval starts, epoch seconds; all sequences are equally long; NaN or None = missing.
        severity: 0 to 100; from `MARK_FROM` on a point is marked in its band's colour. An interval without a value
            (a silence) is marked at the last value before it.
        reasons: Why each value surprised; codes as the scorer gives them.
        seen: Lowest and highest value before each, from `seen_before`.
        interval_s: Where more than one and a half of it lie between two times the lines are broken; 0 = nowhere.
    """
    lines: list[list[Any]] = [[] for _ in LINES]
    before: float | None = None
    last: float | None = None
    for place, (time, *numbers, score) in enumerate(
        zip(times, values, expected, low, high, severity, strict=True)
    ):
        value, middle, floor, ceiling = map(_number, numbers)
        if before is not None and interval_s and time - before > 1.5 * interval_s:
            for line in (*lines[:4], *lines[5:]):
                line.append([1000 * (before + interval_s), None])
        before, stamp = time, 1000 * time
        height = None if floor is None or ceiling is None else _number(ceiling - floor)
        least, most = (seen[place] if seen else None) or (None, None)
        for line, number in zip(
            (*lines[:4], *lines[5:]), (floor, height, middle, value, least, most), strict=True
        ):
            line.append([stamp, number])
        last = last if value is None else value
        if score is not None and score >= MARK_FROM and last is not None:
            lines[4].append(_mark(stamp, last, float(score), reasons[place] if reasons else ""))
    return lines


def _mark(stamp: float, value: float, score: float, reason: str) -> dict[str, Any]:
    colour, word = severity_band(score)
    return {
        "value": [stamp, value, round(score), word, reason_text(reason)],
        "itemStyle": {"color": colour},
        "symbolSize": round(8 + 8 * (score - MARK_FROM) / (100 - MARK_FROM), 1),
    }


def band_chart(
    points: list[list[Any]],
    *,
    measure: str,
    dark: bool,
    view_s: float = math.inf,
    span: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return the options of a series' chart.

    Args:
        points: From `band_series`.
        measure: The name at the axis.
        view_s: How many seconds before the end are shown at first; the slider shows the rest.
        span: Start and end, epoch seconds, of a stretch to be shaded.
    """
    start = _first_view([stamp for stamp, _ in points[3]], view_s)
    zoom = {"start": start, "end": 100, "minValueSpan": 60_000}
    return {
        "animation": False,
        "aria": {
            "enabled": True,
            "label": {"description": f"{measure} over time; the same stands in the table below"},
        },
        "tooltip": {"trigger": "axis", "confine": True, ":formatter": "params => mhTooltip(params)"}
        | {
            "backgroundColor": TIP[dark],
            "borderColor": GRID[dark],
            "textStyle": {"color": INK[dark], "fontSize": 12},
        },
        "legend": {
            "data": [
                {"name": "value", "icon": _STROKE},
                {"name": "expected", "icon": _STROKE},
                {"name": "usual course", "icon": "rect", "itemStyle": {"color": _BAND[dark]}},
                {"name": "seen before", "icon": _STROKE},
                {"name": "anomaly", "icon": "circle"},
            ],
            "itemWidth": 18,
            "itemHeight": 10,
            "textStyle": {"color": INK[dark]},
            "top": 0,
            "right": 0,
        },
        "grid": {"left": 8, "right": 16, "top": 66, "bottom": 56, "containLabel": True},
        "xAxis": {"type": "time", "axisLabel": {"hideOverlap": True}, "axisLine": {"onZero": False}},
        "useUTC": True,
        "yAxis": {"type": "value", "name": measure, "scale": True, "nameTextStyle": {"align": "left"}},
        "dataZoom": [
            {"type": "inside", **zoom},
            {"type": "slider", **zoom, "height": 20, "bottom": 12, "showDataShadow": False},
        ],
        "series": _drawn(points, dark=dark, span=span),
    }


def _drawn(points: list[list[Any]], *, dark: bool, span: tuple[float, float] | None) -> list[dict[str, Any]]:
    """Return the lines of a chart, in the order of `LINES`."""
    floor, height, expected, value, anomalies, least, most = points
    before: dict[str, Any] = {"width": 1.2, "color": _SEEN[dark], "kind": "dotted", "step": True}
    shade = {"itemStyle": {"color": _SPAN[dark]}, "silent": True}
    area = [[{"xAxis": 1000 * span[0]}, {"xAxis": 1000 * span[1]}]] if span else []
    return [
        # "all": a height must be stacked on its floor also where the floor lies below zero.
        _line(LINES[0], floor, width=0, stack="band"),
        {
            **_line(LINES[1], height, width=0, stack="band"),
            "areaStyle": {"color": _BAND[dark]},
            "itemStyle": {"color": _BAND[dark]},
        },
        _line(LINES[2], expected, width=1.2, color=_EXPECTED[dark], kind="dashed"),
        _line(LINES[3], value, width=1.8, color=LINE[dark]) | {"markArea": shade | {"data": area}},
        {
            "name": LINES[4],
            "type": "scatter",
            "data": anomalies,
            "z": 10,
            "itemStyle": {"color": severity_band(100)[0], "borderColor": TIP[dark], "borderWidth": 1},
            "label": {
                "show": True,
                "position": "top",
                "formatter": "{@[2]}",
                "color": INK[dark],
                "fontWeight": 600,
            },
        },
        _line(LINES[5], least, **before),
        _line(LINES[6], most, **before),
    ]


def _first_view(stamps: list[float], view_s: float) -> float:
    """Return from which per cent of the time on the chart is shown at first; 20 points at least."""
    if len(stamps) <= 20:
        return 0.0
    whole = stamps[-1] - stamps[0]
    return round(max(0.0, 100 * (1 - max(1000 * view_s, stamps[-1] - stamps[-20]) / whole)), 2)


def contribution_bars(contributions: dict[str, float], *, dimension: str, dark: bool) -> dict[str, Any]:
    """Return the options of a bar chart of shares in per cent, largest on top, at most fifteen."""
    top = sorted(contributions.items(), key=lambda entry: entry[1])[-15:]
    return {
        "animation": False,
        "aria": {"enabled": True, "label": {"description": f"Contribution by {dimension}"}},
        "grid": {"left": 130, "right": 60, "top": 34, "bottom": 10},
        "title": {"text": dimension, "left": 0, "textStyle": {"fontSize": 13, "color": INK[dark]}},
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
                "itemStyle": {"color": LINE[dark], "borderRadius": 3},
                "label": {"show": True, "position": "right", "formatter": "{c} %", "color": INK[dark]},
            }
        ],
    }


def _line(
    name: str,
    data: list[Any],
    *,
    width: float,
    color: str = "transparent",
    kind: str = "solid",
    stack: str | None = None,
    step: bool = False,
) -> dict[str, Any]:
    drawn = {
        "name": name,
        "type": "line",
        "data": data,
        "showSymbol": False,
        "lineStyle": {"width": width, "color": color, "type": kind},
        "itemStyle": {"color": color},
    }
    drawn |= {"step": "end"} if step else {}
    return drawn | ({"stack": stack, "stackStrategy": "all"} if stack else {})


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
