"""Parts that several pages share: severity in colour and words, tables with a word when empty, dialogs, errors."""

import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.value_element import ValueElement

from masthead.base.errors import InvalidInput, MastheadError, NotFound, shown
from masthead.base.units import format_duration

# Lower bound, colour and word of each band; a colour never stands alone. White on each is 4.5:1 or more.
SEVERITY = (
    (90.0, "#c53030", "critical"),
    (70.0, "#b4500f", "high"),
    (50.0, "#8a6100", "low"),
    (0.0, "#5b6775", "none"),
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
    "connected": "positive",
    "revoked": "negative",
    "on": "positive",
    "running": "primary",
    "finished": "positive",
    "done": "positive",
    "interrupted": "warning",
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
    ui.badge(state, color=STATES.get(state, "grey-8"))


@dataclass(frozen=True, slots=True)
class NumberCard:
    """One figure that a person looks for first; what it shows changes in place."""

    value: ui.label
    note: ui.label

    def show(self, value: str, note: str, *, tone: str = "") -> None:
        """Show another figure; nothing is sent to the browser when it is the same."""
        self.value.text, self.note.text = value, note
        self.value.classes(replace=f"mh-number {tone}".strip())


def number_card(title: str, value: str = "", note: str = "", *, tone: str = "") -> NumberCard:
    """Draw one figure, and return it."""
    with ui.column().classes("mh-card mh-figure"):
        ui.label(title).classes("mh-soft")
        card = NumberCard(ui.label(), ui.label().classes("mh-soft text-caption"))
    card.show(value, note, tone=tone)
    return card


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Draw names and values, one under the other; long values wrap."""
    with ui.grid(columns="max-content 1fr").classes("w-full").style("gap: 6px 20px"):
        for title, text in rows:
            ui.label(title).classes("mh-soft")
            ui.label(text).style("overflow-wrap: anywhere")


def title(text: str) -> ui.label:
    """Draw the heading of a part of the page."""
    return ui.label(text).classes("mh-title").props("role=heading aria-level=2")


# ----------------------------------------------------------------------------------------------- verbs


async def settled(answer: object) -> object:
    """Return what a handler gave, awaited when it is to be awaited."""
    return await answer if inspect.isawaitable(answer) else answer


def look_again() -> None:
    """Bring everything on this page up to date now, rather than at the next look."""
    for element in list(ui.context.client.elements.values()):
        if isinstance(element, ui.timer) and element.active and element.callback is not None:
            element.callback()


# --------------------------------------------------------------------------------------------- dialogs


@contextlib.contextmanager
def page_dialog(
    heading: str, *, width: str = "min-width: min(560px, 92vw)", persistent: bool = False
) -> Iterator[tuple[ui.dialog, ui.card]]:
    """Open a dialog of the page as a whole: it stays when what it was opened from is drawn anew or goes.

    Args:
        heading: Its name to a screen reader. width: As CSS.
        persistent: Once a field was changed it stays on Escape and on a click beside it, so that nothing typed is lost.
    """
    stays = "persistent " if persistent else ""
    with (
        ui.context.client,
        ui.dialog(value=True).props(f"{stays}aria-label='{heading}'") as dialog,
        ui.card().style(width) as card,
    ):
        yield dialog, card
        if persistent:
            before = _filled(card)
            # Sent in the place of closing it.
            dialog.on("shake", lambda: dialog.close() if _filled(card) == before else None, [])


def _filled(card: ui.card) -> dict[int, object]:
    """Return what each field of a dialog holds."""
    return {one.id: one.value for one in card.descendants() if isinstance(one, ValueElement)}


@contextlib.contextmanager
def form(
    heading: str, save: Callable[[], object], *, verb: str = "Save"
) -> Iterator[tuple[ui.dialog, ui.card]]:
    """Open a dialog with fields; `save` runs on the verb, tells what is refused, and closes it unless it returns False."""
    width = "min-width: min(560px, 92vw); gap: 8px"
    with page_dialog(heading, width=width, persistent=True) as (dialog, card):
        title(heading)
        yield dialog, card

        async def handle() -> None:
            with on_this_page():
                answer = await settled(save())
                if answer is not False:
                    dialog.close()
                    look_again()

        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button(verb, on_click=handle)


def show_text(heading: str, text: str, language: str = "json") -> None:
    """Open a dialog with a text to read or copy."""
    with page_dialog(heading, width="min-width: min(640px, 92vw)") as (dialog, _):
        title(heading)
        ui.code(text, language=language).classes("w-full")
        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close)


def show_json(heading: str, value: object) -> None:
    """Open a dialog with a record as the API gives it."""
    show_text(heading, as_json(value))


def as_json(value: object) -> str:
    """Return a record as indented JSON."""
    return json.dumps(value, indent=2, default=str, ensure_ascii=False)


def from_json(text: str | None, field: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        InvalidInput: It is no JSON; `field` names it.
    """
    try:
        return json.loads(text or "")
    except ValueError as error:
        raise InvalidInput(
            f"{field}: expected JSON, got {shown(text or '')}: {error}", field=field
        ) from error


async def confirmed(question: str, *, verb: str) -> bool:
    """Ask before something cannot be taken back; return whether the person said yes."""
    with page_dialog("Are you sure?", width="") as (dialog, _):
        ui.label(question)
        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat")
            ui.button(verb, color="negative", on_click=lambda: dialog.submit(True))
    answer = await dialog
    return bool(answer)


def deleting(
    noun: str, delete: Callable[[str], object], *, stays: str = ""
) -> Callable[[dict[str, Any]], Awaitable[None]]:
    """Return a row's handler that asks, then deletes what the row names."""

    async def handler(row: dict[str, Any]) -> None:
        if await confirmed(f"Delete the {noun} {row['name']}? {stays}".strip(), verb="Delete"):
            delete(row["name"])
            ui.notify(f"Deleted the {noun} {row['name']}")

    return handler


# ---------------------------------------------------------------------------------------------- words


def short_time(at: datetime | None) -> str:
    """Return a time as a reader needs it: date, minutes, UTC."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def iso_time(text: str | None) -> str:
    """Return a time of ISO 8601 as a reader needs it."""
    return short_time(datetime.fromisoformat(text)) if text else ""


def ago(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was."""
    return "never" if at is None else f"{format_duration(max(0.0, round((now - at).total_seconds())))} ago"


def plain(value: float | None) -> str:
    """Return a measured value in at most five digits."""
    return "" if value is None or value != value else f"{value:.5g}"


_REASONS = {
    "value_never_seen": "a value never seen before",
    "level_never_seen": "a level never seen before",
    "off_course": "far off its usual course",
    "jump": "a sudden jump",
    "off_season": "unusual for this time of the day or week",
    "flatline": "the same value again and again",
    "silence": "no values arrive",
}


def reason_text(reason: str) -> str:
    """Return in words why a value surprised."""
    return _REASONS.get(reason, reason.replace("_", " "))


def measure_text(measure: str) -> str:
    """Return a group's measure in words; `*` is a source that fell silent with all of them."""
    return "all measures" if measure == "*" else measure


@contextlib.contextmanager
def telling_errors() -> Iterator[None]:
    """Show what Masthead refuses as a message on the page; anything else is a fault and goes on."""
    try:
        yield
    except MastheadError as error:
        ui.notify(error.message, type="negative", multi_line=True, close_button="Close", timeout=10_000)


@contextlib.contextmanager
def on_this_page() -> Iterator[None]:
    """Tell errors, on the page as a whole: a handler that waits may outlive the button that called it."""
    with ui.context.client, telling_errors():
        yield


@contextlib.contextmanager
def or_missing() -> Iterator[None]:
    """Say on the page itself that what its address names is not there."""
    try:
        yield
    except NotFound as error:
        ui.label(error.message).classes("mh-soft text-h6")
