"""Transactions: counts and amounts, scores as they come, the latest frauds, and how long decisions took."""

import json
import math
from collections.abc import Callable
from typing import Any

from nicegui import ui

from masthead.base.clock import DAY_US, utc
from masthead.base.errors import NotFound
from masthead.console import (
    fraud_entity,
    fraud_lists,
    fraud_models,
    fraud_pipelines,
    fraud_rings,
    fraud_transaction,
)
from masthead.console.charts import theme
from masthead.console.fraud_charts import SCRIPT, count_bars, latency_bars, live_chart, live_points
from masthead.console.fraud_parts import (
    COLUMNS,
    LIVE,
    deciding_cuts,
    money,
    probability,
    require_space,
    sections,
    transaction_path,
    transaction_row,
)
from masthead.console.fraud_simulation import open_simulate, simulation_panel
from masthead.console.parts import number_card, or_missing, short_time, title
from masthead.console.shell import PREFIX, Console, frame, is_dark, link, watch
from masthead.console.tables import Row, changed_rows, table

MOST_POINTS = 600
_BARS = 60
_WINDOWS = {
    "hour": DAY_US // 24,
    "day": DAY_US,
    "7 days": 7 * DAY_US,
    "30 days": 30 * DAY_US,
    "year": 365 * DAY_US,
}
_COUNTED = (
    ("time", "From (UTC)"),
    ("count", "Transactions"),
    ("amount", "Amount"),
    ("flagged", "Flagged"),
    ("flagged_amount", "Flagged amount"),
)
_NOTHING = (
    "No transaction yet. Train and deploy a model with masthead fraud train and masthead fraud deploy, then send "
    "transactions to POST /fraud/transactions, or simulate some."
)


def register(console: Console) -> None:
    """Make the pages under `/ui/fraud`."""

    @ui.page("/fraud")
    def fraud_page(space: str = LIVE) -> None:
        with frame("fraud", "Fraud"), or_missing():
            sections(console, "Overview", space)
            require_space(console, space)
            if console.masthead.portal.newest(space=space) is None and space == LIVE:
                ui.label(_NOTHING).classes("mh-soft")
            ui.add_head_html(SCRIPT)
            window = _top(console)
            figures = _draw_figures(console, space, window)
            if _is_simulation(console, space):
                simulation_panel(console, space)
            _live(console, space)
            frauds = _draw_frauds(console, space)
            counts = _draw_counts(console, space, window)
            latencies = _draw_latencies(console)
            parts: tuple[Callable[[], None], ...] = (figures, frauds, counts, latencies)

            def update() -> None:
                for part in parts:
                    part()

            window.on_value_change(update)
            watch(update)

    for page in (fraud_transaction, fraud_entity, fraud_rings, fraud_models, fraud_pipelines, fraud_lists):
        page.register(console)


def _is_simulation(console: Console, space: str) -> bool:
    return any(one.name == space and one.kind == "simulation" for one in console.masthead.fraud.spaces())


def _top(console: Console) -> ui.select:
    with ui.row().classes("items-center w-full"):
        ui.label("Counted back from the newest transaction").classes("mh-soft")
        window = ui.select(list(_WINDOWS), value="7 days", label="Window").style("min-width: 120px")
        ui.space()
        ui.button("Simulate", icon="play_arrow", on_click=lambda: open_simulate(console))
    return window


def _bounds(console: Console, space: str, window: ui.select) -> tuple[int, int]:
    newest = console.masthead.portal.newest(space=space)
    end = (newest or 0) + 1
    return max(0, end - _WINDOWS[window.value]), end


def _draw_figures(console: Console, space: str, window: ui.select) -> Callable[[], None]:
    with ui.row().classes("w-full items-stretch mh-figures"):
        names = ("Transactions", "Amount", "Flagged", "Flagged amount")
        cards = [number_card(name) for name in names]

    def update() -> None:
        start, end = _bounds(console, space, window)
        found = console.masthead.fraud.stats(space=space, start=start, end=end)
        count, amount = found["totalCount"], found["totalAmount"]
        until = "" if not count else f"until {short_time(utc(end / 1e6))} UTC"
        tone = "text-negative mh-tone" if found["fraudCount"] else ""
        for card, (value, note, colour) in zip(
            cards,
            (
                (f"{count:,}", until, ""),
                (
                    money(amount),
                    f"{money(amount / count)} each" if count and math.isfinite(amount) else "",
                    "",
                ),
                (f"{found['fraudCount']:,}", _share(found["fraudCount"], count), tone),
                (money(found["totalFraudAmount"]), _share(found["totalFraudAmount"], amount), tone),
            ),
            strict=True,
        ):
            card.show(value, note, tone=colour)

    return update


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.2f} % of all" if whole and math.isfinite(whole) else ""


def _live(console: Console, space: str) -> None:
    """Draw scores as they come: only what is new travels."""
    dark, last = is_dark(), 0
    with ui.column().classes("mh-card w-full").style("gap: 8px"):
        with ui.row().classes("items-center w-full"):
            title("Live")
            word = ui.label().classes("mh-soft")
        chart = ui.echart(
            live_chart(dark=dark, cuts=deciding_cuts(console, space)),
            theme=theme(dark=dark),
            on_point_click=lambda event: ui.navigate.to(transaction_path(str(event.value[2]), space)),
        )
        chart.style("height: 300px").props("role=img")
        with ui.expansion("The same as a table").classes("w-full"):
            twin = table(
                (
                    ("id", "Transaction"),
                    ("arrived", "Scored (UTC)"),
                    ("amount", "Amount"),
                    ("score", "Probability"),
                    ("action", "Action"),
                ),
                [],
                key="id",
                links="id",
                page=10,
                empty="Nothing was scored yet",
            )

    def update() -> None:
        nonlocal last
        fed = console.masthead.portal.feed(space=space, after=last, limit=MOST_POINTS)
        word.text = "" if fed or last else "nothing was scored yet"
        if not fed:
            return
        points = live_points(fed)
        if not last:
            for series, new in zip(chart.options["series"], points, strict=True):
                series["data"] = new
            chart.update()
        else:
            ui.run_javascript(f"mhFeed({chart.id}, {json.dumps(points)}, {MOST_POINTS})")
        last = fed[-1].seq
        rows = [_fed_row(one, space) for one in reversed(fed)]
        changed_rows(twin, (rows + twin.rows)[:50])

    watch(update)


def _fed_row(one: Any, space: str) -> Row:
    return {
        "id": one.id,
        "arrived": utc(one.arrived / 1e6).strftime("%Y-%m-%d %H:%M:%S"),
        "amount": money(one.amount),
        "score": probability(one.score),
        "action": one.action + (" (released, not reviewed)" if one.flagged and one.action == "pass" else ""),
        "href": link(transaction_path(one.id, space)),
    }


def _draw_frauds(console: Console, space: str) -> Callable[[], None]:
    def say(verdict: str) -> Callable[[Row], None]:
        def handle(row: Row) -> None:
            console.masthead.portal.give_verdict(row["id"], verdict, space=space)
            ui.notify(f"{row['id']}: {verdict}")

        return handle

    title("Recently flagged")
    drawn = table(
        COLUMNS,
        [],
        key="id",
        links="id",
        page=15,
        empty="Nothing was flagged yet",
        actions={
            "Fraud": ("gpp_bad", say("fraud")),
            "Legitimate": ("verified_user", say("legit")),
            "Unsure": ("help_outline", say("unsure")),
        },
    )

    def update() -> None:
        try:
            found = console.masthead.fraud.find(space=space, flagged=True, limit=15, explain=False).items
        except NotFound:  # no space before the first deployment
            found = ()
        changed_rows(drawn, [transaction_row(one, space, PREFIX) for one in found])

    return update


def _draw_counts(console: Console, space: str, window: ui.select) -> Callable[[], None]:
    dark = is_dark()
    shown: list[dict[str, Any]] | None = None
    with ui.column().classes("mh-card w-full").style("gap: 8px"):
        title("Transactions over time")
        chart = (
            ui.echart(count_bars([], dark=dark), theme=theme(dark=dark))
            .style("height: 260px")
            .props("role=img")
        )
        with ui.expansion("The same as a table").classes("w-full"):
            twin = table(_COUNTED, [], key="time", page=15, empty="Nothing in this window")

    def update() -> None:
        nonlocal shown
        start, end = _bounds(console, space, window)
        width = max(1_000_000, _WINDOWS[window.value] // _BARS)
        start -= start % width  # bars stand still while time goes on
        found = console.masthead.portal.timeline(start=start, end=end, width=width, space=space)
        if found == shown:
            return
        shown = found
        chart.options.clear()
        chart.options.update(count_bars(found, dark=dark))
        chart.update()
        changed_rows(twin, [_counted(one) for one in reversed(found)])

    return update


def _counted(one: dict[str, Any]) -> Row:
    return {
        "time": short_time(utc(one["start"] / 1e6)),
        "count": f"{one['count']:,.0f}",
        "amount": money(one["amount"]),
        "flagged": f"{one['flagged']:,.0f}",
        "flagged_amount": money(one["flagged_amount"]),
    }


def _draw_latencies(console: Console) -> Callable[[], None]:
    dark = is_dark()
    shown: list[tuple[float, int]] | None = None
    with ui.column().classes("mh-card w-full").style("gap: 8px"):
        title("Latency")
        ui.label("From a request to its durable answer, of all spaces since the server began").classes(
            "mh-soft"
        )
        chart = ui.echart(latency_bars([], dark=dark), theme=theme(dark=dark)).style("height: 240px")
        chart.props("role=img")
        with ui.expansion("The same as a table").classes("w-full"):
            columns = (("latency", "At most"), ("count", "Decisions"), ("share", "So far"))
            twin = table(columns, [], key="latency", empty="Nothing was scored yet")

    def update() -> None:
        nonlocal shown
        found = console.masthead.portal.latencies()
        if found == shown:
            return
        shown = found
        named = [(_bound(most), count) for most, count in found]
        chart.options.clear()
        chart.options.update(latency_bars(named, dark=dark))
        chart.update()
        total, so_far, rows = sum(count for _, count in named), 0, []
        for name, count in named:
            so_far += count
            share = f"{100 * so_far / total:.1f} %" if total else ""
            rows.append({"latency": name, "count": f"{count:,}", "share": share})
        changed_rows(twin, rows)

    return update


def _bound(seconds: float) -> str:
    return "more" if seconds == float("inf") else f"{seconds * 1e3:g} ms"
