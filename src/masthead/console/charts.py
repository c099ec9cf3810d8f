"""Charts as ECharts options: plain dictionaries from arrays, so that they can be tested without a browser."""

import math
from collections.abc import Sequence
from typing import Any

from masthead.console.parts import severity_band

MOST_POINTS = 2000
_LINE = {True: "#63b3ed", False: "#1a5fa0"}
_BAND = {True: "rgba(99, 179, 237, .18)", False: "rgba(26, 95, 160, .14)"}
_INK = {True: "#cbd5e0", False: "#2d3748"}
_GRID = {True: "#2b3541", False: "#e2e8f0"}


def band_chart(
    times: Sequence[float],
    values: Sequence[float | None],
    expected: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    severity: Sequence[float | None],
    *,
    title: str,
    dark: bool,
    bar: float = 50.0,
) -> dict[str, Any]:
    """Return the options of a series' chart: value, expected value and band, and a mark at each anomaly.

    Args:
        times: Interval starts, epoch seconds; all sequences are equally long; NaN or None = missing.
        severity: 0 to 100; from `bar` on a point is marked in its band's colour and with its number.
    """
    stamps = [1000 * time for time in times]
    floor = [_number(value) for value in low]
    height = [
        None if a is None or b is None else b - a for a, b in zip(floor, map(_number, high), strict=True)
    ]
    marks = [
        {
            "value": [stamp, _number(value), round(float(score), 1)],
            "itemStyle": {"color": severity_band(score)[0]},
            "symbolSize": 7 + 9 * (score - bar) / (100 - bar),
        }
        for stamp, value, score in zip(stamps, values, severity, strict=True)
        if score is not None and score >= bar and _number(value) is not None
    ]
    return {
        "backgroundColor": "transparent",
        "animation": False,
        "textStyle": {"color": _INK[dark]},
        "tooltip": {"trigger": "axis"},
        "legend": {"data": ["value", "expected", "anomaly"], "textStyle": {"color": _INK[dark]}, "right": 10},
        "grid": {"left": 60, "right": 20, "top": 40, "bottom": 60},
        "xAxis": {"type": "time", "useUTC": True, "axisLine": {"lineStyle": {"color": _INK[dark]}}},
        "yAxis": {
            "type": "value",
            "name": title,
            "scale": True,
            "axisLabel": {"color": _INK[dark]},
            "splitLine": {"lineStyle": {"color": _GRID[dark]}},
        },
        "dataZoom": [{"type": "inside"}, {"type": "slider", "height": 18, "bottom": 10}],
        "series": [
            _line("band from", stamps, floor, width=0, stack="band"),
            {**_line("band", stamps, height, width=0, stack="band"), "areaStyle": {"color": _BAND[dark]}},
            _line("expected", stamps, list(map(_number, expected)), width=1, color="#a0aec0", dashed=True),
            _line("value", stamps, list(map(_number, values)), width=1.6, color=_LINE[dark]),
            {"name": "anomaly", "type": "scatter", "data": marks, "z": 10, "tooltip": {"show": True}},
        ],
    }


def contribution_bars(contributions: dict[str, float], *, dimension: str, dark: bool) -> dict[str, Any]:
    """Return the options of a bar chart of shares in per cent, largest on top, at most fifteen."""
    top = sorted(contributions.items(), key=lambda entry: entry[1])[-15:]
    return {
        "backgroundColor": "transparent",
        "animation": False,
        "textStyle": {"color": _INK[dark]},
        "grid": {"left": 120, "right": 50, "top": 30, "bottom": 20},
        "title": {"text": dimension, "textStyle": {"fontSize": 13, "color": _INK[dark]}},
        "xAxis": {"type": "value", "max": 100, "show": False},
        "yAxis": {"type": "category", "data": [name for name, _ in top], "axisLabel": {"color": _INK[dark]}},
        "series": [
            {
                "type": "bar",
                "data": [share for _, share in top],
                "itemStyle": {"color": _LINE[dark]},
                "label": {"show": True, "position": "right", "formatter": "{c} %", "color": _INK[dark]},
            }
        ],
    }


def _line(
    name: str,
    stamps: Sequence[float],
    data: Sequence[float | None],
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
        "data": [list(pair) for pair in zip(stamps, data, strict=True)],
        "showSymbol": False,
        "lineStyle": style,
        "itemStyle": {"color": color},
    }
    return drawn | ({"stack": stack, "tooltip": {"show": False}} if stack else {})


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
