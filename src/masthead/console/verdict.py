"""The answer of a validation, as a person reads it: whether the data can be used, each finding with its way out."""

from typing import Any

from nicegui import ui

from masthead.console.parts import iso_time, plain, short_time
from masthead.console.tables import Row, table

_ICONS = {
    "error": ("error", "mh-tone text-negative"),
    "warning": ("warning", "mh-tone text-warning"),
    "info": ("info", "mh-soft"),
}
_SHOWN_ROWS = 5


def show_validation(found: Row) -> None:
    """Draw an answer given as JSON values: verdict, findings, columns and sample rows."""
    with ui.row().classes("items-center").props("role=status"):
        ok = bool(found["valid"])
        ui.icon("check_circle" if ok else "cancel", size="28px").classes(
            "mh-tone text-positive" if ok else "mh-tone text-negative"
        )
        ui.label("Validation successful" if ok else "Validation failed").classes(
            ("mh-tone text-positive" if ok else "mh-tone text-negative") + " text-h6"
        )
    quality = found.get("quality") or {}
    if quality:
        ui.label(
            f"{quality['rows']:,} rows from {iso_time(quality['first'])} to {iso_time(quality['last'])} UTC"
        ).classes("mh-soft")
    for finding in found["findings"]:
        _finding(finding)
    _columns(found["columns"])
    _sample(found["sample"])


def _finding(finding: Row) -> None:
    icon, tone = _ICONS[finding["level"]]
    with ui.row().classes("items-start no-wrap w-full").style("gap: 8px"):
        ui.icon(icon, size="20px").classes(tone)
        with ui.column().style("gap: 0"):
            ui.label(finding["message"])
            if finding["action"]:
                ui.label(f"What to do: {finding['action']}").classes("mh-soft")


def _columns(columns: list[Row]) -> None:
    if not columns:
        return
    table(
        (("name", "Column"), ("type", "Looks like"), ("missing", "Missing"), ("examples", "Examples")),
        [
            {
                "name": column["name"],
                "type": column["type"],
                "missing": f"{column['missing']:,}",
                "examples": ", ".join(column["examples"]),
            }
            for column in columns
        ],
        empty="No columns",
        page=12,
    )


def _sample(sample: list[Row]) -> None:
    if not sample:
        return
    rows = [{name: _cell(value) for name, value in row.items()} for row in sample[:_SHOWN_ROWS]]
    with ui.expansion("The first rows as they are read").classes("w-full"):
        table(
            [(name, name) for name in rows[0]],
            [row | {"_place": place} for place, row in enumerate(rows)],
            key="_place",
            empty="No rows",
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return plain(value)
    if hasattr(value, "astimezone"):
        return short_time(value)
    return str(value)
