"""Parts that several pages share: severity in colour and words, tables with a word when empty, dialogs, errors."""

import contextlib
import inspect
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

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
}

Row = dict[str, Any]
Handler = Callable[[Row], object]


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


def number_card(title: str, value: str, note: str = "", *, tone: str = "") -> None:
    """Draw one figure that a person looks for first."""
    with ui.column().classes("mh-card").style("min-width: 150px; flex: 1; gap: 2px"):
        ui.label(title).classes("mh-soft")
        ui.label(value).classes("mh-number " + tone)
        ui.label(note).classes("mh-soft text-caption")


def facts(rows: Sequence[tuple[str, str]]) -> None:
    """Draw names and values, one under the other; long values wrap."""
    with ui.grid(columns="max-content 1fr").classes("w-full").style("gap: 6px 20px"):
        for title, text in rows:
            ui.label(title).classes("mh-soft")
            ui.label(text).style("overflow-wrap: anywhere")


def title(text: str) -> ui.label:
    """Draw the heading of a part of the page."""
    return ui.label(text).classes("mh-title").props("role=heading aria-level=2")


# ---------------------------------------------------------------------------------------------- tables


def table(
    columns: Sequence[tuple[str, str]],
    rows: list[Row],
    *,
    empty: str,
    key: str = "name",
    page: int = 25,
    links: str = "",
    actions: Mapping[str, tuple[str, Handler]] = MappingProxyType({}),
) -> ui.table:
    """Draw rows under (field, title) columns.

    Args:
        columns: What to show; a field named `severity` or `state` is drawn as a badge.
        rows: Values by field; `href` is the target of the column named by `links`.
        empty: What to say, and what to do, when there are no rows.
        key: The field that is unique.
        page: Rows on a page.
        links: The field that becomes a link to the row's `href`.
        actions: Title -> (icon, handler of the row) of the buttons at each row's end.
    """
    drawn_columns = [
        {"name": name, "field": name, "label": text, "align": "left", "sortable": True}
        for name, text in columns
    ]
    if actions:
        drawn_columns.append(
            {"name": "actions", "field": "actions", "label": "", "align": "right", "sortable": False}
        )
    drawn = ui.table(columns=drawn_columns, rows=rows, row_key=key, pagination=page)
    drawn.classes("w-full mh-card mh-table").props(f'flat dense wrap-cells :rows-per-page-options="[{page}]"')
    with drawn.add_slot("no-data"):
        ui.label(empty).classes("mh-soft q-py-sm")
    if links:
        drawn.add_slot(f"body-cell-{links}", _LINK_CELL)
    drawn.add_slot("body-cell-severity", _SEVERITY_CELL)
    drawn.add_slot("body-cell-state", _STATE_CELL)
    if actions:
        _add_actions(drawn, actions)
    return drawn


def _choice(place: int) -> str:
    """Return the JavaScript that picks colour or word by severity from the one list above."""
    return "".join(f"props.value >= {band[0]:g} ? '{band[place]}' : " for band in SEVERITY) + "''"


_LINK_CELL = '<q-td :props="props"><a :href="props.row.href" class="mh-link">{{ props.value }}</a></q-td>'
_SEVERITY_CELL = f"""<q-td :props="props"><q-badge v-if="props.value !== ''" text-color="white"
  :style="{{background: {_choice(1)}}}">{{{{ Math.round(props.value) }}}} {{{{ {_choice(2)} }}}}</q-badge></q-td>"""
_STATE_CELL = f"""<q-td :props="props"><q-badge v-if="props.value" :color="({STATES!r})[props.value] || 'grey-8'">
  {{{{ props.value }}}}</q-badge></q-td>"""


def _add_actions(drawn: ui.table, actions: Mapping[str, tuple[str, Handler]]) -> None:
    buttons = "".join(
        f"""<q-btn flat dense round size="sm" icon="{icon}" :aria-label="'{text} ' + props.key"
              @click="() => $parent.$emit('row_action', '{text}', props.row)"><q-tooltip>{text}</q-tooltip></q-btn>"""
        for text, (icon, _) in actions.items()
    )
    drawn.add_slot("body-cell-actions", f'<q-td :props="props" style="white-space: nowrap">{buttons}</q-td>')

    async def handle(event: GenericEventArguments) -> None:
        text, row = event.args
        with on_this_page():
            await settled(actions[text][1](row))
            look_again()

    drawn.on("row_action", handle)


async def settled(answer: object) -> object:
    """Return what a handler gave, awaited when it is to be awaited."""
    return await answer if inspect.isawaitable(answer) else answer


def look_again() -> None:
    """Bring everything on this page up to date now, rather than at the next look."""
    for element in list(ui.context.client.elements.values()):
        if isinstance(element, ui.timer) and element.active and element.callback is not None:
            element.callback()


def changed_rows(drawn: ui.table, rows: list[Row]) -> None:
    """Give a table its rows; nothing is sent to the browser when they are what it shows."""
    if drawn.rows != rows:
        drawn.rows = rows


# --------------------------------------------------------------------------------------------- dialogs


@contextlib.contextmanager
def form(
    heading: str, save: Callable[[], object], *, verb: str = "Save"
) -> Iterator[tuple[ui.dialog, ui.card]]:
    """Open a dialog with fields; `save` runs on the verb, tells what is refused, and closes it unless it returns False."""
    with (
        ui.dialog(value=True).props(f"persistent aria-label='{heading}'") as dialog,
        ui.card().style("min-width: min(560px, 92vw); gap: 8px") as card,
    ):
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
    with (
        ui.dialog(value=True).props(f"aria-label='{heading}'") as dialog,
        ui.card().style("min-width: min(640px, 92vw)"),
    ):
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
    with ui.dialog().props("aria-label='Are you sure?'") as dialog, ui.card():
        ui.label(question)
        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat")
            ui.button(verb, color="negative", on_click=lambda: dialog.submit(True))
    answer = await dialog
    return bool(answer)


def deleting(
    noun: str, delete: Callable[[str], object], *, stays: str = ""
) -> Callable[[Row], Awaitable[None]]:
    """Return a row's handler that asks, then deletes what the row names."""

    async def handler(row: Row) -> None:
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
