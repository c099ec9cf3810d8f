"""Any object as JSON or TOML text, to be read, changed and saved; what is refused is said as the API says it."""

import tomllib
from collections.abc import Callable, Mapping
from typing import Any

from nicegui import ui

from masthead.base.errors import InvalidInput, MastheadError
from masthead.console.parts import as_json, from_json, look_again, on_this_page, page_dialog, title
from masthead.metrics.toml import write_toml


def open_editor(
    heading: str, record: Mapping[str, Any], save: Callable[[dict[str, Any]], object], *, note: str = ""
) -> None:
    """Open a dialog with a record's text; `save` gets the fields that the text holds.

    Args:
        heading: Of the dialog.
        record: Fields as the API shows them; None is left out.
        save: Raises a MastheadError for what is refused: the dialog says it and stays.
        note: A line above the text.
    """
    fields = {key: value for key, value in record.items() if value is not None}
    width = "width: min(760px, 94vw); max-width: 94vw; gap: 8px"
    with page_dialog(heading, width=width, persistent=True) as (dialog, _):
        with ui.row().classes("items-center w-full"):
            title(heading)
            ui.space()
            language = ui.toggle(["JSON", "TOML"], value="JSON").props("dense aria-label='Language'")
        if note:
            ui.label(note).classes("mh-soft")
        text = ui.textarea("Text", value=as_json(fields)).classes("w-full mh-editor")
        text.props("rows=18 outlined spellcheck=false autofocus")
        refusal = (
            ui.label().classes("mh-tone text-negative").props("role=alert").style("white-space: pre-wrap")
        )

        def translate() -> None:
            try:
                found = parsed(text.value or "", "TOML" if language.value == "JSON" else "JSON")
                text.value, refusal.text = _written(found, language.value), ""
            except MastheadError as error:  # the text stays as the person wrote it
                refusal.text = _told(error)

        def keep() -> None:
            with on_this_page():
                try:
                    save(parsed(text.value or "", language.value))
                except MastheadError as error:
                    refusal.text = _told(error)
                    return
                dialog.close()
                ui.notify("Saved", type="positive")
                look_again()

        language.on_value_change(translate)
        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("Save", on_click=keep)


def parsed(text: str, language: str) -> dict[str, Any]:
    """Return the fields that a text holds.

    Raises:
        InvalidInput: It is not of the language, or no object.
    """
    if language == "TOML":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise InvalidInput(f"text: expected TOML: {error}", field="text") from error
    found = from_json(text, "text")
    if not isinstance(found, dict):
        raise InvalidInput("text: expected an object with fields", field="text")
    return found


def _written(fields: dict[str, Any], language: str) -> str:
    return write_toml(fields) if language == "TOML" else as_json(fields)


def _told(error: MastheadError) -> str:
    return f"{error.code}: {error.message}"
