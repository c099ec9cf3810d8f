"""Charts of transactions as ECharts options: scores as they come, counts over time, latencies, and the graph around one."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from masthead.console.charts import GRID, INK, LINE, TIP

Json = dict[str, Any]
_FLAGGED = {True: "#fc8181", False: "#c53030"}
_PASSED = {True: "#63b3ed", False: "#2b6cb0"}
_ENTITY = {True: "#a3b0be", False: "#556270"}
# Label of a transaction -> (colour in the dark, colour, sign): a colour never stands alone.
_NODES = {
    "fraud": ("#fc8181", "#c53030", "diamond"),
    "legit": ("#68d391", "#2f855a", "circle"),
    "presumed-legit": ("#68d391", "#2f855a", "emptyCircle"),
    "flagged": ("#f0b429", "#b7791f", "triangle"),
    "unknown": ("#63b3ed", "#2b6cb0", "circle"),
}

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


def live_chart(*, dark: bool, cuts: tuple[float, float] | None = None) -> Json:
    """Return the empty chart of scores as they are given; its two series are what passed and what was flagged.

    Args:
        cuts: From where is reviewed and blocked, which two lines show.
    """
    names = (("passed", _PASSED, "circle", 5), ("flagged", _FLAGGED, "diamond", 11))
    return {
        **_described(
            "Probability of fraud of each transaction as it was scored; the same stands in the table below"
        ),
        "useUTC": True,
        "tooltip": _tip(dark, trigger="item", **{":formatter": _POINT}),
        "legend": {
            "data": [name for name, *_ in names],
            "textStyle": {"color": INK[dark]},
            "top": 0,
            "right": 0,
        },
        "grid": {"left": 8, "right": 16, "top": 40, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "time", "axisLabel": {"hideOverlap": True}},
        "yAxis": {
            "type": "value",
            "name": "probability of fraud",
            "min": 0,
            "max": 1,
            "nameTextStyle": {"align": "left"},
        },
        "series": [
            {
                "name": name,
                "type": "scatter",
                "data": [],
                "symbol": sign,
                "symbolSize": size,
                "itemStyle": {"color": colour[dark], "opacity": 0.75},
                **({"markLine": _cut_lines(*cuts, dark=dark)} if cuts and name == "passed" else {}),
            }
            for name, colour, sign, size in names
        ],
    }


def _cut_lines(review: float, block: float, *, dark: bool) -> Json:
    """Return a line from where is reviewed, and one from where is blocked; their words stand at different ends."""
    return {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"color": INK[dark], "type": "dashed", "opacity": 0.7},
        "data": [
            {
                "yAxis": value,
                "label": {
                    "formatter": f"{name} from {value:.3f}",
                    "color": INK[dark],
                    "backgroundColor": TIP[dark],  # it stands among the points
                    "padding": 2,
                    "position": position,
                },
            }
            for name, value, position in (
                ("review", review, "insideStartTop"),
                ("block", block, "insideEndBottom" if block > 0.9 else "insideEndTop"),
            )
        ],
    }


_POINT = (
    "point => { const box = document.createElement('div'); box.textContent = `${point.value[2]}: "
    "${point.value[1].toFixed(3)}, amount ${point.value[3]}`; return box; }"
)


def live_points(fed: Sequence[Any]) -> list[list[Any]]:
    """Return new points of the live chart: what passed, and what was flagged."""
    found: list[list[Any]] = [[], []]
    for one in fed:
        amount = "unknown" if one.amount is None else f"{one.amount:,.2f}"
        found[one.flagged].append([one.arrived / 1e3, round(one.score, 4), one.id, amount])
    return found


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


def psi_bars(indices: Sequence[tuple[str, float]], *, moved: Sequence[str], limit: float, dark: bool) -> Json:
    """Return the bars of what moved most, from (name, stability index), with a line at the index from which it has moved.

    The score, which may come first, is kept; of the others the first 14, which have moved most.
    """
    first = indices[:1] if indices and indices[0][0] == "score" else []
    top = list(reversed([*first, *indices[len(first) : 15]]))
    bars = [
        {
            "value": round(value, 3),
            "itemStyle": {"color": (_FLAGGED if name in moved else LINE)[dark]},
            "label": {"formatter": f"{value:.3f}" + (" moved" if name in moved else "")},
        }
        for name, value in top
    ]
    line = {
        "silent": True,
        "symbol": "none",
        "lineStyle": {"color": INK[dark], "type": "dashed"},
        "label": {"formatter": f"moved from {limit:g} on", "color": INK[dark]},
        "data": [{"xAxis": limit}],
    }
    return {
        **_described(
            "Stability index of the score and of the columns that moved most; the same stands in the table below"
        ),
        "tooltip": _tip(dark, trigger="item"),
        "grid": {"left": 8, "right": 90, "top": 28, "bottom": 8, "containLabel": True},
        "xAxis": {"type": "value", "min": 0},
        "yAxis": {"type": "category", "data": [name for name, _ in top]},
        "series": [
            {
                "type": "bar",
                "data": bars,
                "barMaxWidth": 18,
                "label": {"show": True, "position": "right", "color": INK[dark]},
                "markLine": line,
            }
        ],
    }


def node_kind(node: Mapping[str, Any]) -> str:
    """Return what a transaction of the graph is to be drawn as."""
    label = str(node["label"])
    return "flagged" if label == "unknown" and node.get("flagged") else label


_NARROW = 560  # pixels of a chart up to which it is drawn for a phone
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
    amount = "" if one["amount"] is None else f", amount {one['amount']:,.2f}"
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
