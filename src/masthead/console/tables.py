"""Tables: rows that are brought up to date in place, with verbs at their ends; on a narrow page a card per row."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from masthead.console.parts import SEVERITY, STATES, look_again, on_this_page, settled

Row = dict[str, Any]
Handler = Callable[[Row], object]


class Table(Element, component="rows.js"):
    """Rows in a page; set `rows` to show others."""

    def __init__(self, columns: list[dict[str, Any]], rows: list[Row], **given: Any) -> None:
        """Draw; the names given are those of `rows.js`."""
        super().__init__()
        self.props["columns"], self.props["rows"] = columns, rows
        self.props["severities"], self.props["states"] = SEVERITY, STATES
        for name, value in given.items():
            self.props[name] = value

    @property
    def rows(self) -> list[Row]:
        """What the table shows."""
        found: list[Row] = self.props["rows"]
        return found

    @rows.setter
    def rows(self, rows: list[Row]) -> None:
        self.props["rows"] = rows
        self.update()


def table(
    columns: Sequence[tuple[str, str]],
    rows: list[Row],
    *,
    empty: str,
    key: str = "name",
    page: int = 25,
    links: str = "",
    actions: Mapping[str, tuple[str, Handler]] = MappingProxyType({}),
) -> Table:
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
    drawn_columns: list[dict[str, Any]] = [
        {"name": name, "field": name, "label": text, "align": "left", "sortable": True}
        for name, text in columns
    ]
    if actions:
        drawn_columns.append(
            {"name": "actions", "field": "actions", "label": "", "align": "right", "sortable": False}
        )
    verbs = [{"text": text, "icon": icon} for text, (icon, _) in actions.items()]
    drawn = Table(drawn_columns, rows, rowKey=key, page=page, empty=empty, links=links, verbs=verbs)
    drawn.classes("w-full")

    async def handle(event: GenericEventArguments) -> None:
        text, row = event.args
        with on_this_page():
            await settled(actions[text][1](row))
            look_again()

    if actions:
        drawn.on("row_action", handle)
    return drawn


def changed_rows(drawn: Table, rows: list[Row]) -> None:
    """Give a table its rows; nothing is sent to the browser when they are what it shows."""
    if drawn.rows != rows:
        drawn.rows = rows
