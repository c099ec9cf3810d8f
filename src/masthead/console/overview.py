"""Overview: what a person looks for first."""

from collections.abc import Callable

from nicegui import ui

from masthead.console.groups import GROUP_COLUMNS, group_rows
from masthead.console.parts import number_card, title
from masthead.console.shell import Console, follow, frame, watch
from masthead.console.tables import changed_rows, table
from masthead.console.things import LATELY, expiry_text

Figure = tuple[str, str, str]
_CARDS = (
    ("Detectors running", "/detectors"),
    ("Open anomalies", "/groups"),
    ("Alerts delivered", "/alerts"),
    ("Things connected", "/things"),
    ("Readings per second", "/streams"),
)
_BAD = "mh-tone text-negative"


def register(console: Console) -> None:
    """Make the page `/ui/`."""

    @ui.page("/")
    def overview_page() -> None:
        with frame("overview", "Overview"):
            watch(_draw_figures(console))
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
    """Return (number, note, tone) of each card."""
    masthead, state = console.masthead, console.devices_state()
    detectors = masthead.metrics.list_detectors()
    running = sum(detector.state in ("learning", "active") for detector in detectors)
    opened = masthead.metrics.list_groups(min_severity=70, state="open", limit=100)
    counts = masthead.alerts.counts()
    undelivered = counts["undelivered"]
    things = len(masthead.access.list_things())
    lag = state.get("lag_batches", 0)
    return [
        (f"{running:,}", f"of {len(detectors):,}", ""),
        (
            f"{len(opened.items)}{'+' if opened.next_token else ''}",
            "severity 70 and above",
            _BAD if opened.items else "",
        ),
        (
            f"{counts['delivered']:,}",
            f"{undelivered:,} undelivered, {counts['pending']:,} waiting",
            _BAD if undelivered else "",
        ),
        (f"{len(state.get('connected', ())):,}", f"of {things:,}", ""),
        (
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
    found += [
        (f"{one.text[0].upper()}{one.text[1:]}: each ends the other's session", f"/things/{one.things[0]}")
        for one in masthead.access.shared_client_ids(within=LATELY)[:10]
    ]
    found += [(str(state[key]), "/streams") for key in ("blocked", "trouble") if state.get(key)]
    return found


def _draw_figures(console: Console) -> Callable[[], None]:
    """Draw the cards, which are links and stand still; return what brings their figures up to date."""
    cards = []
    with ui.row().classes("w-full items-stretch mh-figures"):
        for text, path in _CARDS:
            with ui.link(target=path).classes("no-underline mh-figure").style("color: inherit"):
                cards.append(number_card(text))

    def update() -> None:
        for card, (number, note, tone) in zip(cards, _figures(console), strict=True):
            card.show(number, note, tone=tone)

    return update


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
