"""Charts of transactions as ECharts options: scores as they come, counts over time, latencies, and the graph around one."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from masthead.console.charts import GRID, INK, LINE, TIP
from masthead.console.fraud_parts import money, probability

Json = dict[str, Any]
_FLAGGED = {True: "#fc8181", False: "#c53030"}
_PASSED = {True: "#63b3ed", False: "#2b6cb0"}
_REVIEWED = {True: "#f0b429", False: "#b7791f"}
_ENTITY = {True: "#a3b0be", False: "#556270"}
# Label of a transaction -> (colour in the dark, colour, sign): a colour never stands alone.
_NODES = {
    "fraud": ("#fc8181", "#c53030", "diamond"),
    "legit": ("#68d391", "#2f855a", "circle"),
    "presumed-legit": ("#68d391", "#2f855a", "emptyCircle"),
    "flagged": ("#f0b429", "#b7791f", "triangle"),
    "unknown": ("#63b3ed", "#2b6cb0", "circle"),
}
_NARROW = 560  # pixels of a chart up to which it is drawn for a phone

SCRIPT = """<script>
// Adds points to the live chart, and drops the oldest.
window.mhFeed = (id, added, most) => {
  const chart = getElement(id)?.chart;
  if (!chart) return;
  const now = chart.getOption().series;
  chart.setOption({series: added.map((points, place) => ({data: (now[place].data || []).concat(points).slice(-most)}))});
};
</script>"""


def _tip(dark: bool, **more: Any) -> Json:
    return {
        "confine": True,
        "backgroundColor": TIP[dark],
        "borderColor": GRID[dark],
        "textStyle": {"color": INK[dark], "fontSize": 12},
        **more,
    }


def _described(text: str) -> Json:
    return {"animation": False, "aria": {"enabled": True, "label": {"description": text}}}


# What was done -> (name in the legend, colours, sign, size): a colour never stands alone.
_ACTIONS = {
    "pass": ("passed", _PASSED, "circle", 5),
    "review": ("to review", _REVIEWED, "triangle", 11),
    "block": ("blocked", _FLAGGED, "diamond", 13),
}
_LOWEST, _HIGHEST = -5, 4  # decimal logarithms of the odds: probabilities from 0.00001 to 0.9999


def height_of(probability: float) -> float:
    """Return where a probability stands on the axis: the decimal logarithm of its odds, within the axis.

    >>> height_of(0.5), round(height_of(0.01), 2), height_of(0.0), height_of(1.0)
    (0.0, -2.0, -5, 4)
    """
    if not 0 < probability < 1:
        return _HIGHEST if probability >= 1 else _LOWEST
    return min(max(math.log10(probability / (1 - probability)), _LOWEST), _HIGHEST)


def _probability_axis(place: str = "end") -> Json:
    """Return an axis of probabilities by the logarithm of their odds: small ones lie apart, and so do great ones."""
    return {
        "type": "value",
        "name": "probability of fraud",
        "nameLocation": place,
        "min": _LOWEST,
        "max": _HIGHEST,
        "interval": 1,
        "axisLabel": {":formatter": _ODDS, "hideOverlap": True},
    }


_ODDS = (
    "place => ({'-1': '0.09', 0: '0.5', 1: '0.91'})[place] ?? (place < 0 ? 10 ** place : 1 - 10 ** -place)"
    ".toFixed(Math.abs(place))"
)


def live_chart(*, dark: bool, cuts: tuple[float, float] | None = None) -> Json:
    """Return the empty chart of scores as they are given; its series are what passed, is to review, was blocked.

    Args:
        cuts: From where is reviewed and blocked, which two lines show.
    """
    return {
        **_described(
            "Probability of fraud of each transaction as it was scored; the same stands in the table below"
        ),
        "useUTC": True,
        "tooltip": _tip(dark, trigger="item", **{":formatter": _POINT}),
        "legend": {
            "data": [name for name, *_ in _ACTIONS.values()],
            "textStyle": {"color": INK[dark]},
            "top": 0,
            "right": 0,
        },
        "grid": {"left": 8, "right": 16, "top": 56, "bottom": 8, "containLabel": True},
        "xAxis": {
            "type": "time",
            "axisLabel": {"hideOverlap": True},
            "axisLine": {"onZero": False},
        },
        "yAxis": {**_probability_axis(), "nameTextStyle": {"align": "left"}},
        "series": [
            {
                "name": name,
                "type": "scatter",
                "data": [],
                "symbol": sign,
                "symbolSize": size,
                "itemStyle": {"color": colour[dark], "opacity": 0.75},
                **({"markLine": _cut_lines(*cuts, dark=dark)} if cuts and action == "pass" else {}),
            }
            for action, (name, colour, sign, size) in _ACTIONS.items()
        ],
    }


def _cut_lines(review: float, block: float, *, dark: bool, axis: str = "yAxis") -> Json:
    """Return a line from where is reviewed, and one from where is blocked; their words stand at different ends."""
    return {
        "silent": True,
        "z": 5,  # above all points
        "symbol": "none",
        "lineStyle": {"color": INK[dark], "type": "dashed", "opacity": 0.7},
        "data": [
            {
                axis: height_of(value),
                "name": f"{name} from {probability(value)}",
                "label": {
                    "formatter": "{b}",
                    "color": INK[dark],
                    "backgroundColor": TIP[dark],  # it stands among the points
                    "padding": 2,
                    "position": position,
                },
            }
            for name, value, position in (
                ("review", review, "insideStartTop"),
                ("block", block, "insideEndBottom" if block > 0.999 else "insideEndTop"),
            )
        ],
    }


_POINT = (
    "point => { const box = document.createElement('div'), [, , id, amount, score, done] = point.value; "
    "box.textContent = `${id}: ${score}, ${done}, amount ${amount}`; return box; }"
)


def live_points(fed: Sequence[Any]) -> list[list[Any]]:
    """Return new points of the live chart: what passed, what is to review, and what was blocked."""
    found: dict[str, list[Any]] = {action: [] for action in _ACTIONS}
    for one in fed:
        told = (one.id, money(one.amount) or "unknown", probability(one.score), one.action)
        found[one.action].append([one.arrived / 1e3, round(height_of(one.score), 4), *told])
    return list(found.values())


def cost_curve(
    curve: Sequence[Mapping[str, float]], cuts: tuple[float, float], told: Sequence[str], *, dark: bool
) -> Json:
    """Return the chart of what each cut would cost a day, with lines at the two that were chosen.

    Args:
        curve: As a model card holds it. cuts: From where is reviewed and blocked.
        told: What is said at each point.
    """
    nothing = max(curve[0]["cost"] if curve else 0.0, 1e-9)  # what it costs to flag nothing
    places = [height_of(one["threshold"]) for one in curve]

    def line(name: str, field: str, colour: str, kind: str, **more: Any) -> Json:
        points = [
            [height_of(one["threshold"]), one[field], text] for one, text in zip(curve, told, strict=True)
        ]
        return {
            "name": name,
            "type": "line",
            "showSymbol": False,
            "data": points,
            "itemStyle": {"color": colour},
            "lineStyle": {"color": colour, "type": kind, "width": 2},
            **more,
        }

    marks = _cut_lines(*cuts, dark=dark, axis="xAxis")
    for one, position, distance in zip(marks["data"], ("end", "end"), (4, 20), strict=True):
        one["label"] |= {"position": position, "distance": distance}  # one above the other
    return {
        **_described("What each cut would cost a day; the same stands in the table below"),
        "tooltip": _tip(dark, trigger="axis", **{":formatter": _COST}),
        "legend": {
            "data": ["cost", "missed fraud in it"],
            "textStyle": {"color": INK[dark]},
            "top": 0,
            "left": 0,
        },
        "grid": {"left": 8, "right": 24, "top": 70, "bottom": 34, "containLabel": True},
        "xAxis": {
            **_probability_axis("middle"),
            "name": "flagged from this probability on",
            "min": math.floor(min(places, default=_LOWEST)),
            "max": math.ceil(max(places, default=_HIGHEST)),
            "nameGap": 28,
            "splitLine": {"show": False},
        },
        "yAxis": {
            "type": "value",
            "axisLine": {"onZero": False},
            "name": "a day",
            "min": 0,
            "max": float(f"{2 * nothing:.1g}"),
        },
        "series": [
            line("cost", "cost", LINE[dark], "solid", markLine=marks),
            line("missed fraud in it", "missed", _FLAGGED[dark], "dotted"),
        ],
    }


_COST = (
    "points => { const box = document.createElement('div'); box.style.whiteSpace = 'pre-line'; "
    "box.textContent = points[0].value[2]; return box; }"
)


def count_bars(stretches: Sequence[Mapping[str, Any]], *, dark: bool) -> Json:
    """Return the chart of counts over time, flagged ones on top."""

    def bars(name: str, colour: str, values: list[Any]) -> Json:
        return {
            "name": name,
            "type": "bar",
            "stack": "count",
            "barMaxWidth": 26,
            "data": values,
            "itemStyle": {"color": colour},
        }

    passed = [[one["start"] / 1e3, one["count"] - one["flagged"]] for one in stretches]
    flagged = [[one["start"] / 1e3, one["flagged"]] for one in stretches]
    return {
        **_described("Transactions over time; the same stands in the table below"),
        "useUTC": True,
        "tooltip": _tip(dark, trigger="axis"),
        "legend": {"data": ["passed", "flagged"], "textStyle": {"color": INK[dark]}, "top": 0, "right": 0},
        "grid": {"left": 8, "right": 16, "top": 40, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "time", "axisLabel": {"hideOverlap": True}},
        "yAxis": {"type": "value", "name": "transactions", "nameTextStyle": {"align": "left"}},
        "series": [bars("passed", _PASSED[dark], passed), bars("flagged", _FLAGGED[dark], flagged)],
    }


def latency_bars(classes: Sequence[tuple[str, int]], *, dark: bool) -> Json:
    """Return the histogram of latencies from (class, decisions)."""
    return {
        **_described("How long decisions took; the same stands in the table below"),
        "tooltip": _tip(dark, trigger="axis"),
        "grid": {"left": 8, "right": 16, "top": 34, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "category", "data": [name for name, _ in classes], "axisLabel": {"rotate": 40}},
        "yAxis": {"type": "value", "name": "decisions", "nameTextStyle": {"align": "left"}},
        "series": [{"type": "bar", "data": [n for _, n in classes], "itemStyle": {"color": LINE[dark]}}],
    }


def psi_bars(
    indices: Sequence[tuple[str, float]],
    *,
    moved: Sequence[str],
    limit: float,
    dark: bool,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Json:
    """Return the bars of what moved most, the longest on top, with a line at the index from which an alert is told.

    Args:
        indices: (name, stability index), first what has moved most beyond what is usual for it; 15 are shown.
        moved: Names of what has moved. Another one beyond the line moves as far every week.
        names: What people call them.
    """
    top = sorted(indices[:15], key=lambda one: one[1])  # the axis counts from below
    called = [names.get(name, name) for name, _ in top]
    bars = [
        {
            "value": round(value, 3),
            "itemStyle": {"color": (_FLAGGED if name in moved else LINE)[dark]},
            "label": {"formatter": f"{value:.3f}{_moved_word(name in moved, value >= limit)}"},
        }
        for name, value in top
    ]
    line = {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"color": INK[dark], "type": "dashed", "width": 2},
        "label": {"formatter": f"alert from {limit:g}", "color": INK[dark], "align": "left"},
        "data": [{"xAxis": limit}],
    }
    longest = max((value for _, value in top), default=0.0)
    return {
        **_described(
            "Stability index of the score and of the columns that moved most; the same stands in the table below"
        ),
        "tooltip": _tip(dark, trigger="item"),
        "grid": {"left": 8, "right": 100, "top": 28, "bottom": 30, "containLabel": True},
        "xAxis": {
            "type": "value",
            "name": "population stability index",
            "nameLocation": "middle",
            "nameGap": 28,
            "min": 0,
            "max": None if longest > limit else 1.2 * limit,  # the line is always seen
        },
        "yAxis": {
            "type": "category",
            "data": called,
            "axisTick": {"show": False},
            "z": 3,
        },
        "series": [
            {
                "type": "bar",
                "data": bars,
                "label": {"show": True, "position": "right", "color": INK[dark]},
                "markLine": line,
            }
        ],
        "media": [
            {"query": {"maxWidth": _NARROW}, "option": _names_above(called, bars)},
            {"option": _names_beside(called)},
        ],
    }


def _names_beside(called: Sequence[str]) -> Json:
    return {
        "grid": {"right": 100},
        "yAxis": {
            "data": called,
            "axisLabel": {"inside": False, "verticalAlign": "middle", "padding": 0, "fontSize": 12},
        },
        "series": [{"barMaxWidth": 18, "label": {"show": True}}],
    }


def _names_above(called: Sequence[str], bars: Sequence[Json]) -> Json:
    """Return what is other on a phone, where there is no room beside the bars."""
    texts = [f"{bar['label']['formatter']}: {name}" for name, bar in zip(called, bars, strict=True)]
    style = {"inside": True, "verticalAlign": "bottom", "padding": [0, 0, 4, 4], "fontSize": 10}
    return {
        "grid": {"right": 24},
        "yAxis": {"data": texts, "axisLabel": style},
        "series": [{"barMaxWidth": 6, "label": {"show": False}}],
    }


def _moved_word(moved: bool, beyond: bool) -> str:
    return " moved" if moved else " usual" if beyond else ""


def node_kind(node: Mapping[str, Any]) -> str:
    """Return what a transaction of the graph is to be drawn as."""
    label = str(node["label"])
    return "flagged" if label == "unknown" and node.get("flagged") else label


_WIDE, _HIGH = (190.0, 100.0), (100.0, 150.0)  # radii of the graph


def _is(node: Mapping[str, Any], kind: str) -> bool:
    return node["kind"] == "transaction" and node_kind(node) == kind


def ego_graph(found: Mapping[str, Any], *, dark: bool) -> Json:
    """Return the options of the graph around a transaction, as `FraudService.graph` gives it; nodes can be clicked."""
    kinds = [name for name in _NODES if any(_is(one, name) for one in found["nodes"])]
    wide, high = (_drawn(found, dark, phone=phone) for phone in (False, True))
    return {
        **_described("The graph around the transaction; the same stands in the table below"),
        "tooltip": _tip(dark, trigger="item", **{":formatter": _NODE}),
        "legend": {
            "data": [
                {"name": "entity", "icon": "roundRect"},
                *({"name": name, "icon": _NODES[name][2]} for name in kinds),
            ],
            "textStyle": {"color": INK[dark]},
            "top": 0,
            "itemWidth": 14,
            "type": "scroll",
        },
        "series": [
            {
                "type": "graph",
                "layout": "none",
                "roam": True,
                "top": 40,
                "categories": [
                    {"name": "entity", "symbol": "roundRect", "itemStyle": {"color": _ENTITY[dark]}},
                    *(
                        {"name": name, "symbol": sign, "itemStyle": {"color": colours[not dark]}}
                        for name, (*colours, sign) in _NODES.items()
                    ),
                ],
                "data": wide,
                "links": [{"source": one["transaction"], "target": one["entity"]} for one in found["edges"]],
                "lineStyle": {"color": _ENTITY[dark], "opacity": 0.5},
                # Edges cross behind the words.
                "label": {
                    "color": INK[dark],
                    "fontSize": 11,
                    "textBorderColor": TIP[dark],
                    "textBorderWidth": 3,
                },
                "labelLayout": {"hideOverlap": True},
                "emphasis": {"focus": "adjacency"},
            }
        ],
        "media": [
            {"query": {"maxWidth": _NARROW}, "option": {"series": [{"data": high}]}},
            {"option": {"series": [{"data": wide}]}},  # a page is narrow for a moment before it is laid out
        ],
    }


def _drawn(found: Mapping[str, Any], dark: bool, *, phone: bool) -> list[Json]:
    """Return the nodes: in a wide ellipse, or on a phone in a high one with short labels below."""
    at = _places(found, _HIGH if phone else _WIDE)
    drawn = [
        _transaction(one, dark) if one["kind"] == "transaction" else _entity(one, dark, phone=phone)
        for one in found["nodes"]
    ]
    return [one | at[one["id"]] for one in drawn]


def _places(found: Mapping[str, Any], radii: tuple[float, float]) -> dict[str, Json]:
    """Return where each node stands: entities around the transaction, and behind each its others. Always the same."""
    entities = [one["id"] for one in found["nodes"] if one["kind"] == "entity"]
    behind: dict[str, list[str]] = {one: [] for one in entities}
    first = {edge["transaction"]: edge["entity"] for edge in reversed(found["edges"])}
    places: dict[str, Json] = {}
    for one in found["nodes"]:
        if one["kind"] != "entity":
            places[one["id"]] = {"x": 0.0, "y": 0.0}
            if not one.get("centre") and one["id"] in first:
                behind[first[one["id"]]].append(one["id"])
    for number, entity in enumerate(entities):
        slice_width = 2 * math.pi / len(entities)
        angle = slice_width * number - math.pi / 2
        places[entity] = _at(angle, 1.0 + 0.18 * (number % 2), radii)
        for place, each in enumerate(behind[entity]):
            spread = (place + 0.5) / len(behind[entity]) - 0.5
            places[each] = _at(angle + 0.85 * slice_width * spread, 1.9 + 0.22 * (place % 2), radii)
    return places


def _at(angle: float, radius: float, radii: tuple[float, float]) -> Json:
    x, y = radii
    return {"x": round(x * radius * math.cos(angle), 1), "y": round(y * radius * math.sin(angle), 1)}


_NODE = (
    "point => { const box = document.createElement('div'); "
    "box.textContent = point.dataType === 'node' ? point.data.told : ''; return box; }"
)


def _transaction(one: Mapping[str, Any], dark: bool) -> Json:
    kind, centre = node_kind(one), bool(one.get("centre"))
    amount = "" if one["amount"] is None else f", amount {money(one['amount'])}"
    border = {"borderColor": INK[dark], "borderWidth": 3} if centre else {}
    return {
        "id": one["id"],
        "name": str(one["transaction"]),
        "category": 1 + list(_NODES).index(kind),
        "symbolSize": 30 if centre else 17,
        "transaction": one["transaction"],
        "told": f"Transaction {one['transaction']} of {str(one['time'])[:16].replace('T', ' ')} UTC{amount}: {kind}",
        "itemStyle": border,
        "label": {"show": centre, "position": "bottom"},
    }


def _entity(one: Mapping[str, Any], dark: bool, *, phone: bool) -> Json:
    label = {"position": "bottom", "width": 76, "overflow": "truncate"} if phone else {"position": "right"}
    return {
        "id": one["id"],
        "name": one["text"],
        "category": 0,
        "symbolSize": 20,
        "relation": one["relation"],
        "value": one["value"],
        "told": f"{one['text']}: {one['degree']:,} transactions",
        "label": {"show": True, **label},
    }
