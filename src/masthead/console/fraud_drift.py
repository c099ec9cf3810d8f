"""Drift of a deployment: how far each column and the score have moved, what nobody had seen, how the model still ranks."""

from typing import Any

from nicegui import ui

from masthead.console.beside import Beside
from masthead.console.charts import theme
from masthead.console.fraud_charts import psi_bars
from masthead.console.fraud_parts import rate
from masthead.console.parts import iso_time, number_card, title
from masthead.console.shell import Console, is_dark, watch
from masthead.console.tables import changed_rows, table

_COLUMNS = (
    ("name", "Column"),
    ("psi", "Stability index"),
    ("from", "Moves from"),
    ("moved", "Moved"),
    ("key", "In the model"),
)
_UNSEEN = (("name", "Relation"), ("share", "Never seen before"))

Json = dict[str, Any]


def drift_part(console: Console) -> None:
    """Draw the drift of a deployment that can be chosen; it is counted anew each minute, beside the page's own thread."""
    dark = is_dark()
    with ui.column().classes("mh-card w-full").style("gap: 10px"):
        with ui.row().classes("items-center w-full"):
            title("Drift")
            word = ui.label().classes("mh-soft").props("role=status")
            ui.space()
            chosen = ui.select([], label="Deployment").style("min-width: 180px")
        with ui.row().classes("w-full items-stretch mh-figures"):
            names = ("Score", "Columns that moved", "Average precision", "Precision at 100 a day", "Late")
            cards = [number_card(name) for name in names]
        chart = ui.echart(psi_bars([], moved=(), limit=0.2, dark=dark), theme=theme(dark=dark))
        chart.style("height: 380px").props("role=img")
        ui.label(
            "How far each has moved from what the model learned: 0 is not at all. An alert is told at the line; what "
            "is called usual lies beyond it in any week."
        ).classes("mh-soft")
        with ui.expansion("The same as a table").classes("w-full"):
            twin = table(_COLUMNS, [], key="key", page=15, empty="Nothing was scored in this window")
        with ui.expansion("Never seen before").classes("w-full"):
            unseen = table(_UNSEEN, [], key="key", page=15, empty="Nothing was scored in this window")

    def draw(found: Json) -> None:
        window = found["window"]
        many = window["transactions"]
        told = f"{many:,} transactions from {iso_time(window['from'])} to {iso_time(window['until'])} UTC"
        word.text = told if many else "nothing was scored in the 7 days before the newest transaction"
        chart.visible = bool(many)
        for card, (value, note, tone) in zip(cards, _figures(found), strict=True):
            card.show(value, note, tone=tone)
        indices = _indices(found)
        chart.options.clear()
        names = {name: _called(name) for name, _ in indices}
        limit, moved = found["alert_from"], found["moved"]
        chart.options.update(psi_bars(indices, moved=moved, limit=limit, dark=dark, names=names))
        chart.update()
        changed_rows(twin, [_row(found, name, index) for name, index in indices])
        changed_rows(
            unseen,
            [
                {
                    "key": name,
                    "name": _relation(name),
                    "share": "no value" if share is None else f"{100 * share:.1f} %",
                }
                for name, share in found["unseen_share"].items()
            ],
        )

    def refuse(why: str) -> None:
        word.text = why

    drift = Beside(console.masthead.fraud.drift, draw, refuse)

    def update() -> None:
        names = [one.name for one in console.masthead.fraud.deployments() if not one.source.get("graph")]
        if names != chosen.options:
            first = names[0] if names else None
            chosen.set_options(names, value=chosen.value if chosen.value in names else first)
        if chosen.value:
            drift.follow(str(chosen.value))
        else:
            word.text = "nothing is deployed that scores stored transactions"

    watch(update, every_s=1.0)


def _indices(found: Json) -> list[tuple[str, float]]:
    score = [] if found["score"] is None else [("score", float(found["score"]))]
    return [*score, *found["features"].items()]


def _called(column: str) -> str:
    from masthead.fraud.scoring.words import column_text  # brings the tables

    return column_text(column)


def _relation(name: str) -> str:
    from masthead.fraud.scoring.words import noun_of  # as above

    return noun_of(name)


def _row(found: Json, name: str, index: float) -> Json:
    limit = found["limits"].get(name, found["alert_from"])
    return {
        "key": name,
        "name": _called(name),
        "psi": f"{index:.3f}",
        "from": f"{limit:.3g}",
        "moved": "moved" if name in found["moved"] else "",
    }


def _figures(found: Json) -> list[tuple[str, str, str]]:
    matured, limit, score = found["matured"], found["alert_from"], found["score"]
    moved = sum(name != "score" for name in found["moved"])
    learned = matured["validation_average_precision"]
    told = f"of {matured['transactions']:,} matured, {matured['positives']:,} frauds"
    late = found["late_share"]
    return [
        (
            "-" if score is None else f"{score:.3f}",
            f"stability index; moved from {limit:g} on",
            "text-negative mh-tone" if "score" in found["moved"] else "",
        ),
        (
            f"{moved:,} of {len(found['features']):,}",
            f"stability index of {limit:g} or more, and unusual",
            "",
        ),
        (
            rate(matured["average_precision"]) or "-",
            f"{told}; {rate(learned)} when it learned",
            "",
        ),
        (rate(matured["precision_at_100_per_day"]) or "-", told, ""),
        ("-" if late is None else f"{100 * late:.1f} %", "older than one before them", ""),
    ]
