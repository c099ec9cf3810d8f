"""Rings: transactions that rare entities tie together, with frauds among them."""

from typing import Any

from nicegui import ui

from masthead.base.errors import NotFound
from masthead.console.fraud_parts import (
    LIVE,
    entity_path,
    money,
    require_space,
    sections,
    transaction_path,
)
from masthead.console.parts import iso_time, or_missing, page_dialog, title
from masthead.console.shell import Console, frame, link, watch
from masthead.console.tables import Row, changed_rows, table

_MOST = 50
_COLUMNS = (
    ("ring", "First transaction"),
    ("size", "Transactions"),
    ("amount", "Amount"),
    ("confirmed", "Confirmed"),
    ("flagged", "Flagged"),
    ("first", "First seen (UTC)"),
    ("last", "Last seen (UTC)"),
    ("entities", "Tied by"),
)


def register(console: Console) -> None:
    """Make the page `/ui/fraud/rings`."""

    @ui.page("/fraud/rings")
    def rings_page(space: str = LIVE) -> None:
        with frame("fraud", "Rings", trail=(("Fraud", "/fraud"),)), or_missing():
            sections(console, "Rings", space)
            require_space(console, space)
            ui.label(
                "What rare entities tie together in the 30 days up to the newest transaction, with two confirmed frauds "
                "or three flagged transactions among it; the largest first."
            ).classes("mh-soft")
            drawn = table(
                _COLUMNS,
                [],
                key="ring",
                links="ring",
                empty="No ring in the last 30 days",
                actions={"Members": ("group", lambda row: _members(console, str(row["ring"]), space))},
            )

            def update() -> None:
                try:
                    found = console.masthead.fraud.rings(space=space, limit=_MOST)
                except NotFound:  # no space before the first deployment
                    found = []
                changed_rows(drawn, [_row(one, space) for one in found])

            watch(update, every_s=5.0)


def _members(console: Console, ring: str, space: str) -> None:
    """Open a dialog with links to what a ring is made of: its transactions, and the entities that tie them."""
    rings = console.masthead.fraud.rings(space=space, limit=_MOST)
    found = next((one for one in rings if str(one["ring"]) == ring), None)
    if found is None:
        raise NotFound(f"ring: there is none of the transaction {ring} any more")
    with page_dialog(f"Ring of {ring}") as (dialog, _):
        title(f"Ring of {ring}")
        ui.label("Tied by").classes("mh-soft")
        for each in found["entities"]:
            ui.link(each["text"], entity_path(str(each["relation"]), str(each["value"]), space)).classes(
                "mh-link"
            )
        named = found["transactions"]
        of = "" if len(named) == found["size"] else f", the first {len(named):,} of {found['size']:,}"
        ui.label(f"Transactions{of}").classes("mh-soft")
        with ui.row().classes("w-full").style("gap: 4px 14px; max-height: 50vh; overflow: auto"):
            for id in named:
                ui.link(str(id), transaction_path(str(id), space)).classes("mh-link")
        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close)


def _row(one: dict[str, Any], space: str) -> Row:
    named = [each["text"] for each in one["entities"][:4]]
    more = len(one["entities"]) - len(named)
    return {
        "ring": str(one["ring"]),
        "size": one["size"],
        "amount": money(one["amount"]),
        "confirmed": one["confirmed"],
        "flagged": one["flagged"],
        "first": iso_time(one["first_seen"]),
        "last": iso_time(one["last_seen"]),
        "entities": ", ".join(named) + (f" and {more} more" if more else ""),
        "href": link(transaction_path(str(one["ring"]), space)),
    }
