"""The simulate dialog, and how a simulation goes: how many were sent, and what was caught, against the truth."""

from typing import Any
from urllib.parse import quote

from nicegui import run, ui

from masthead.base.errors import InvalidInput
from masthead.console.parts import confirmed, form, number_card, on_this_page, title
from masthead.console.shell import Console, watch


def open_simulate(console: Console) -> None:
    """Open the dialog that begins a simulation; its page follows."""
    from masthead.fraud.desk.simulate import SHARE  # brings the tables: only where one is begun

    start = console.masthead.portal.start_simulation

    async def save() -> None:
        name = await run.io_bound(
            start,
            rate=_number(rate, "rate"),
            duration_s=_number(duration, "duration"),
            concurrent=round(_number(concurrent, "concurrent")),
            fraud_share=_number(share, "fraud share") / 100,
            seed=round(_number(seed, "seed")),
            history=round(_number(history, "transactions before")),
        )
        ui.navigate.to(f"/fraud?space={quote(str(name))}")

    with form("Simulate transactions", save, verb="Start"):
        ui.label(
            "Made-up payments with rings in them are scored by the live model, on a graph of their own; they never touch "
            "real ones, and can be deleted as a whole. Months pass in the minutes that you choose; labels arrive late, as "
            "they do."
        ).classes("mh-soft")
        with ui.grid(columns=2).classes("w-full"):
            duration = ui.number("Duration, seconds", value=300, min=1, max=3600)
            rate = ui.number("Rate, per second", value=20, min=0.1, max=2000)
            share = ui.number(
                "Fraud share, per cent", value=round(100 * SHARE, 1), min=0.1, max=50, step=0.5
            ).classes("mh-half")
            concurrent = ui.number("Requests at once", value=8, min=1, max=64)
            history = ui.number("Transactions before", value=10_000, min=0)
            seed = ui.number("Seed", value=1, min=0)


def _number(field: ui.number, name: str) -> float:
    if field.value is None:
        raise InvalidInput(f"{name}: expected a number, got nothing", field=name)
    return float(field.value)


def simulation_panel(console: Console, space: str) -> None:
    """Draw how the simulation of a space goes."""
    portal = console.masthead.portal
    with ui.column().classes("mh-card w-full").style("gap: 10px"):
        with ui.row().classes("items-center w-full"):
            title("Simulation")
            state = ui.label().classes("mh-soft").props("role=status")
            ui.space()
            stop = ui.button("Stop", icon="stop", on_click=lambda: portal.stop_simulation(space)).props(
                "outline"
            )
            ui.button("Delete", icon="delete", on_click=lambda: _delete(console, space)).props(
                "outline color=negative"
            )
        bar = ui.linear_progress(value=0, show_value=False).props("aria-label='How much was sent'")
        with ui.row().classes("w-full items-stretch mh-figures"):
            cards = [
                number_card(name) for name in ("Precision", "Recall", "Average precision", "Rings caught")
            ]

    def update() -> None:
        found = next((one for one in portal.simulations() if one["name"] == space), None)
        if found is None:
            state.text = "deleted"
            return
        state.text = _state(found)
        stop.visible = found["state"] in ("preparing", "running")
        bar.value = found["sent"] / max(1, found["total"]) if "sent" in found else 0.0
        for card, (value, note) in zip(cards, _figures(found), strict=True):
            card.show(value, note)

    watch(update)


async def _delete(console: Console, space: str) -> None:
    delete = console.masthead.portal.delete_simulation
    with on_this_page():
        if await confirmed("Delete this simulation with all of its transactions?", verb="Delete"):
            await run.io_bound(delete, space)
            ui.navigate.to("/fraud")  # a message here would go with the page


def _state(found: dict[str, Any]) -> str:
    if "sent" not in found:
        told = {
            "preparing": "storing the history before it ...",
            "kept": "another process ran it, or an earlier one",
        }
        state = str(found["state"])
        return told.get(state, state) + (f": {found['problem']}" if found.get("problem") else "")
    failed = f", {found['failed']:,} failed: {found['problem']}" if found["failed"] else ""
    return (
        f"{found['state']}: {found['sent']:,} of {found['total']:,} at {found['per_second']:g} a second, "
        f"{found['labels']:,} labels have arrived{failed}"
    )


def _figures(found: dict[str, Any]) -> list[tuple[str, str]]:
    if "sent" not in found:
        return [("", "")] * 4

    def of(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    return [
        (of(found["precision"]), f"{found['caught']:,} of {found['flagged']:,} flagged are fraud"),
        (of(found["recall"]), f"{found['caught']:,} of {found['frauds']:,} frauds are flagged"),
        (of(found["average_precision"]), "of the order of scores, whatever the threshold"),
        (f"{found['rings_caught']:,} of {found['rings']:,}", "rings with two payments or more"),
    ]
