"""Parts that several pages share: severity in colour and words, tables with a word when empty, numbers, errors."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments

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


Row = dict[str, Any]


def table(
    columns: Sequence[tuple[str, str]],
    rows: list[Row],
    *,
    empty: str,
    key: str = "name",
    page: int = 25,
    links: str = "",
    actions: Mapping[str, tuple[str, Callable[[Row], object]]] = MappingProxyType({}),
) -> ui.table:
    """Draw rows under (field, title) columns.

    Args:
        columns: What to show; a field named `severity` or `state` is drawn as a badge.
        rows: Values by field; `href` is the target of the first column when `links` is set.
        empty: What to say, and what to do, when there are no rows.
        key: The field that is unique.
        page: Rows on a page.
        links: The field that becomes a link to the row's `href`.
        actions: Title -> (icon, handler of the row) of the buttons at each row's end.
    """
    shown = [
        {"name": name, "field": name, "label": title, "align": "left", "sortable": True}
        for name, title in columns
    ]
    if actions:
        shown.append(
            {"name": "actions", "field": "actions", "label": "", "align": "right", "sortable": False}
        )
    drawn = ui.table(columns=shown, rows=rows, row_key=key, pagination=page)
    drawn.classes("w-full mh-card").props(f'flat dense no-data-label="{empty}"')
    if links:
        drawn.add_slot(f"body-cell-{links}", _LINK_CELL)
    drawn.add_slot("body-cell-severity", _SEVERITY_CELL)
    drawn.add_slot("body-cell-state", _STATE_CELL)
    if actions:
        _add_actions(drawn, actions)
    return drawn


_LINK_CELL = (
    '<q-td :props="props"><a :href="props.row.href" class="text-primary">{{ props.value }}</a></q-td>'
)
_SEVERITY_CELL = """<q-td :props="props"><q-badge text-color="white" :style="{background:
  props.value >= 90 ? '#c53030' : props.value >= 70 ? '#dd6b20' : props.value >= 50 ? '#b7791f' : '#718096'}">
  {{ Math.round(props.value) }} {{ props.value >= 90 ? 'critical' : props.value >= 70 ? 'high' : props.value >= 50 ? 'low' : '' }}
</q-badge></q-td>"""
_STATE_CELL = f"""<q-td :props="props"><q-badge :color="({STATES!r})[props.value] || 'grey-7'">
  {{{{ props.value }}}}</q-badge></q-td>"""


def _add_actions(drawn: ui.table, actions: Mapping[str, tuple[str, Callable[[Row], object]]]) -> None:
    buttons = "".join(
        f"""<q-btn flat dense size="sm" icon="{icon}" aria-label="{title}"
              @click="() => $parent.$emit('row_action', '{title}', props.row)"><q-tooltip>{title}</q-tooltip></q-btn>"""
        for title, (icon, _) in actions.items()
    )
    drawn.add_slot("body-cell-actions", f'<q-td :props="props">{buttons}</q-td>')

    def handle(event: GenericEventArguments) -> None:
        title, row = event.args
        with telling_errors():
            actions[title][1](row)

    drawn.on("row_action", handle)


async def confirmed(question: str, *, verb: str) -> bool:
    """Ask before something cannot be taken back; return whether the person said yes."""
    with ui.dialog() as dialog, ui.card():
        ui.label(question)
        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=lambda: dialog.submit(False)).props("flat")
            ui.button(verb, color="negative", on_click=lambda: dialog.submit(True))
    answer = await dialog
    return bool(answer)


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
