"""Parts that several pages share: severity in colour and words, tables with a word when empty, numbers, errors."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from nicegui import ui

from masthead.base.errors import MastheadError
from masthead.base.units import format_duration

# Lower bound, colour and word of each band; a colour never stands alone.
SEVERITY = (
    (90.0, "#c53030", "critical"),
    (70.0, "#dd6b20", "high"),
    (50.0, "#b7791f", "low"),
    (0.0, "#718096", "none"),
)
STATES = {
    "active": "positive",
    "learning": "primary",
    "activating": "primary",
    "backtesting": "primary",
    "backtested": "positive",
    "failed": "negative",
    "delivered": "positive",
    "undelivered": "negative",
    "pending": "warning",
    "open": "negative",
}


def severity_band(severity: float) -> tuple[str, str]:
    """Return colour and word of a severity from 0 to 100."""
    return next((colour, word) for bound, colour, word in SEVERITY if severity >= bound)


def severity_badge(severity: float) -> None:
    """Draw a severity as number and word in its colour."""
    colour, word = severity_band(severity)
    ui.badge(f"{severity:.0f} {word}").style(f"background: {colour} !important").props("text-color=white")


def state_badge(state: str) -> None:
    """Draw a state as a word in its colour."""
    ui.badge(state, color=STATES.get(state, "grey-7"))


def number_card(title: str, value: str, note: str = "", *, tone: str = "") -> None:
    """Draw one figure that a person looks for first."""
    with ui.column().classes("mh-card").style("min-width: 160px; flex: 1; gap: 2px"):
        ui.label(title).classes("mh-soft")
        ui.label(value).classes("mh-number " + tone)
        ui.label(note).classes("mh-soft text-caption")


def table(
    columns: Sequence[tuple[str, str]],
    rows: list[dict[str, Any]],
    *,
    empty: str,
    key: str = "id",
    page: int = 25,
) -> ui.table:
    """Draw rows under (field, title) columns; `empty` says what to do when there are none."""
    drawn = ui.table(
        columns=[
            {"name": name, "field": name, "label": title, "align": "left", "sortable": True}
            for name, title in columns
        ],
        rows=rows,
        row_key=key,
        pagination=page,
    )
    return drawn.classes("w-full mh-card").props(f'flat dense no-data-label="{empty}"')


def short_time(at: datetime | None) -> str:
    """Return a time as a reader needs it: date, minutes, UTC."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    return "never" if at is None else f"{format_duration(max(0.0, round((now - at).total_seconds())))} ago"


def plain(value: float | None) -> str:
    """Return a measured value in at most five digits."""
    return "" if value is None or value != value else f"{value:.5g}"


@contextlib.contextmanager
def telling_errors() -> Iterator[None]:
    """Show what Masthead refuses as a message on the page; anything else is a fault and goes on."""
    try:
        yield
    except MastheadError as error:
        ui.notify(error.message, type="negative", multi_line=True, close_button=True, timeout=10_000)


def action(do: Callable[[], object], *, done: str = "") -> Callable[[], None]:
    """Return a handler that does something, tells errors, and says when it is done."""

    def handler() -> None:
        with telling_errors():
            do()
            if done:
                ui.notify(done, type="positive")

    return handler
