"""Overview: what a person looks for first."""

from nicegui import ui

from masthead.console.groups import GROUP_COLUMNS, group_rows
from masthead.console.parts import number_card, table
from masthead.console.shell import Console, frame, link


def register(console: Console) -> None:
    """Make the page `/ui/`."""

    @ui.page("/")
    def overview_page() -> None:
        with frame("overview", "Overview"):

            @ui.refreshable
            def figures() -> None:
                _figures(console)

            figures()
            ui.label("Latest anomalies").classes("mh-title")
            groups = table(
                GROUP_COLUMNS, [], links="start", key="id", empty="Nothing unusual so far", page=10
            )

            def update() -> None:
                figures.refresh()
                groups.rows = group_rows(
                    console.masthead.metrics.list_groups(min_severity=70, limit=10).items
                )

            ui.timer(2.0, update)
            update()


def _figures(console: Console) -> None:
    masthead, state = console.masthead, console.devices_state()
    detectors = masthead.metrics.list_detectors()
    running = sum(detector.state in ("learning", "active") for detector in detectors)
    failed = [detector.name for detector in detectors if detector.state == "failed"]
    opened = masthead.metrics.list_groups(min_severity=70, state="open", limit=100).items
    counts = masthead.alerts.counts()
    with ui.row().classes("w-full"):
        with ui.link(target=link("/detectors")).classes("no-underline").style("color: inherit; flex: 1"):
            note = f"failed: {', '.join(failed)}" if failed else f"of {len(detectors)}"
            number_card("Detectors running", str(running), note, tone="text-negative" if failed else "")
        with ui.link(target=link("/groups")).classes("no-underline").style("color: inherit; flex: 1"):
            number_card(
                "Open anomalies",
                str(len(opened)),
                "severity 70 and above",
                tone="text-negative" if opened else "",
            )
        with ui.link(target=link("/alerts")).classes("no-underline").style("color: inherit; flex: 1"):
            undelivered = counts.get("undelivered", 0)
            note = f"{undelivered} undelivered, {counts.get('pending', 0)} waiting"
            number_card(
                "Alerts delivered",
                str(counts.get("delivered", 0)),
                note,
                tone="text-negative" if undelivered else "",
            )
        with ui.link(target=link("/things")).classes("no-underline").style("color: inherit; flex: 1"):
            things = masthead.access.list_things()
            number_card("Things connected", str(len(state.get("connected", ()))), f"of {len(things)}")
        with ui.link(target=link("/streams")).classes("no-underline").style("color: inherit; flex: 1"):
            rate, lag = state.get("rate_per_s", 0.0), state.get("lag", 0)
            number_card("Readings per second", f"{rate:,.0f}", f"{lag:,} waiting" if lag else "none waiting")
