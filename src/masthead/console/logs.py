"""Logs: the bounded log of every job, stream, detector and endpoint, live."""

import json

from nicegui import ui

from masthead.base.log import JOURNAL_KINDS
from masthead.console.shell import Console, frame, watch

_LINES = 300


def register(console: Console) -> None:
    """Make the page `/ui/logs`, with `?kind=...&name=...` for one log."""

    @ui.page("/logs")
    def logs_page(kind: str = "detector", name: str = "") -> None:
        journal = console.masthead.journal
        chosen = kind if kind in JOURNAL_KINDS else "detector"
        with frame("logs", "Logs"):
            with ui.row().classes("items-center w-full"):
                kinds = ui.select(list(JOURNAL_KINDS), value=chosen, label="Kind").style("min-width: 160px")
                names = journal.names(chosen)
                picked = ui.select(
                    names, value=name if name in names else next(iter(names), None), label="Name"
                )
                picked.style("min-width: 240px")
            lines = ui.label().classes("w-full mh-card mh-log").style("min-height: 60vh")
            lines.props("role=log aria-live=off tabindex=0 aria-label='Log, the latest line first'")

            def update() -> None:
                entries = journal.read(kinds.value, picked.value, limit=_LINES) if picked.value else []
                texts = [_line(entry) for entry in reversed(entries)]
                lines.text = "\n".join(texts) or f"No {kinds.value} has written a log yet."

            def choose_kind() -> None:
                found = journal.names(kinds.value)
                picked.set_options(found, value=next(iter(found), None))
                update()

            kinds.on_value_change(choose_kind)
            picked.on_value_change(update)
            watch(update, every_s=1.0)


def _line(entry: dict[str, object]) -> str:
    rest = {key: value for key, value in entry.items() if key not in ("at", "event") and value is not None}
    fields = "  ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in rest.items()
    )
    at = str(entry.get("at", ""))[:23].replace("T", " ")
    return f"{at}  {entry.get('event', '')}  {fields}".rstrip()
