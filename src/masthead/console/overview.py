"""Overview: what a person looks for first."""

from nicegui import ui

from masthead.console.groups import GROUP_COLUMNS, group_rows
from masthead.console.parts import changed_rows, number_card, table, title
from masthead.console.shell import Console, follow, frame, watch
from masthead.console.things import expiry_text

Figure = tuple[str, str, str, str, str]
_BAD = "mh-tone text-negative"


def register(console: Console) -> None:
    """Make the page `/ui/`."""

    @ui.page("/")
    def overview_page() -> None:
        with frame("overview", "Overview"):
            follow(lambda: _figures(console), _draw_figures)
            follow(lambda: _attention(console), _draw_attention)
            title("Latest anomalies")
            groups = table(
                GROUP_COLUMNS,
                [],
                links="start",
                key="id",
                empty="Nothing unusual so far. Anomalies of severity 70 and above stand here.",
                page=10,
            )

            def update() -> None:
                found = console.masthead.metrics.list_groups(min_severity=70, limit=10)
                changed_rows(groups, group_rows(found.items))

            watch(update)


def _figures(console: Console) -> list[Figure]:
    """Return (path, title, number, note, tone) of each card."""
    masthead, state = console.masthead, console.devices_state()
    detectors = masthead.metrics.list_detectors()
    running = sum(detector.state in ("learning", "active") for detector in detectors)
    opened = masthead.metrics.list_groups(min_severity=70, state="open", limit=100)
    counts = masthead.alerts.counts()
    undelivered = counts["undelivered"]
    things = len(masthead.access.list_things())
    lag = state.get("lag_batches", 0)
    return [
        ("/detectors", "Detectors running", f"{running:,}", f"of {len(detectors):,}", ""),
        (
            "/groups",
            "Open anomalies",
            f"{len(opened.items)}{'+' if opened.next_token else ''}",
            "severity 70 and above",
            _BAD if opened.items else "",
        ),
        (
            "/alerts",
            "Alerts delivered",
            f"{counts['delivered']:,}",
            f"{undelivered:,} undelivered, {counts['pending']:,} waiting",
            _BAD if undelivered else "",
        ),
        ("/things", "Things connected", f"{len(state.get('connected', ())):,}", f"of {things:,}", ""),
        (
            "/streams",
            "Readings per second",
            f"{state.get('rate_per_s', 0.0):,.1f}",
            f"{lag:,} batches waiting" if lag else "none waiting",
            "",
        ),
    ]


def _attention(console: Console) -> list[tuple[str, str]]:
    """Return (text, path) of what somebody should look after."""
    masthead, state = console.masthead, console.devices_state()
    found = [
        (f"Detector {detector.name} failed: {detector.failure}", f"/detectors/{detector.name}")
        for detector in masthead.metrics.list_detectors()
        if detector.state == "failed"
    ]
    found += [
        (
            f"Certificate of {thing.name}: until {expiry_text(thing, masthead.clock.now())}",
            f"/things/{thing.name}",
        )
        for thing in masthead.access.expiring()[:10]
    ]
    found += [(str(state[key]), "/streams") for key in ("blocked", "trouble") if state.get(key)]
    return found


def _draw_figures(figures: list[Figure]) -> None:
    with ui.row().classes("w-full items-stretch"):
        for path, text, number, note, tone in figures:
            with ui.link(target=path).classes("no-underline").style("color: inherit; flex: 1"):
                number_card(text, number, note, tone=tone)


def _draw_attention(found: list[tuple[str, str]]) -> None:
    if not found:
        return
    with (
        ui.column()
        .classes("mh-card w-full")
        .style("gap: 4px; border-left: 4px solid #b7791f")
        .props("role=status")
    ):
        title("Needs attention")
        for text, path in found:
            ui.link(text, path).classes("mh-link")
