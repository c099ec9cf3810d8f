"""Logs: the bounded log of every job, stream, detector and endpoint, live."""

import json

from nicegui import ui

from masthead.base.log import JOURNAL_KINDS
from masthead.console.shell import Console, frame, watch


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
            lines = ui.log(max_lines=500).classes("w-full mh-card").style("height: 65vh")
            shown: list[str] = []

            def update() -> None:
                entries = journal.read(kinds.value, picked.value, limit=300) if picked.value else []
                texts = [_line(entry) for entry in entries]
                if texts != shown:
                    lines.clear()
                    for text in texts:
                        lines.push(text)
                    shown[:] = texts

            def choose_kind() -> None:
                found = journal.names(kinds.value)
                picked.set_options(found, value=next(iter(found), None))

            kinds.on_value_change(choose_kind)
            watch(update, every_s=1.0)


def _line(entry: dict[str, object]) -> str:
    rest = {key: value for key, value in entry.items() if key not in ("at", "event")}
    fields = "  ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in rest.items()
    )
    return f"{entry.get('at', '')}  {entry.get('event', '')}  {fields}"
