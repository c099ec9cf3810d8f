"""Topic rules: SQL over messages, what it does with them, and a bench to try it on one message."""

import json

from nicegui import ui

from masthead.base.errors import InvalidInput
from masthead.console.parts import Row, table, telling_errors
from masthead.console.shell import Console, frame, watch

_EXAMPLE = "SELECT * FROM 'sensors/+/air' WHERE CO > 0"


def register(console: Console) -> None:
    """Make the page `/ui/rules`."""

    @ui.page("/rules")
    def rules_page() -> None:
        with frame("rules", "Topic rules"):
            with ui.row().classes("items-center w-full"):
                ui.label("What happens to the messages of a topic").classes("mh-soft")
                ui.space()
                ui.button("New rule", icon="add", on_click=lambda: _new_rule(console))
            rules = table(
                (("name", "Name"), ("sql", "SQL"), ("does", "Does"), ("enabled", "Enabled")),
                [],
                empty="No rules yet: make one with New rule",
                actions={"Delete": ("delete", lambda row: console.masthead.streams.delete_rule(row["name"]))},
            )

            def update() -> None:
                rules.rows = [_row(rule.to_json()) for rule in console.masthead.streams.list_rules()]

            watch(update)
            _bench(console)


def _row(rule: Row) -> Row:
    does = [
        " ".join(str(part) for part in (action["kind"], action.get("name") or action.get("url")))
        for action in rule["actions"]
    ]
    return rule | {"does": ", ".join(does) or "nothing", "enabled": "yes" if rule["enabled"] else "no"}


def _bench(console: Console) -> None:
    """Draw the place where SQL is tried on a message before anything depends on it."""
    with ui.column().classes("mh-card w-full"):
        ui.label("Try a rule").classes("mh-title")
        sql = ui.input("SQL", value=_EXAMPLE).classes("w-full")
        topic = ui.input("Topic", value="sensors/B-101/air").classes("w-full")
        payload = ui.textarea("Message", value='{"CO": 2.6, "SO2": 75}').classes("w-full")
        answer = ui.code("", language="json").classes("w-full")

        def run() -> None:
            with telling_errors():
                found = console.masthead.streams.test_rule(
                    sql.value or "", topic.value or "", payload.value or ""
                )
                answer.set_content(json.dumps(found, indent=2, default=str))

        ui.button("Run", icon="play_arrow", on_click=run)


def _new_rule(console: Console) -> None:
    """Open the dialog that makes a rule."""
    streams = [stream.name for stream in console.masthead.streams.list_streams()]
    detectors = [detector.name for detector in console.masthead.metrics.list_detectors()]
    with ui.dialog(value=True) as dialog, ui.card().style("min-width: 480px"):
        ui.label("New rule").classes("mh-title")
        name = ui.input("Name").classes("w-full")
        sql = ui.input("SQL", value=_EXAMPLE).classes("w-full")
        chosen_streams = ui.select(streams, multiple=True, value=[], label="Into delivery streams").classes(
            "w-full"
        )
        chosen_detectors = ui.select(detectors, multiple=True, value=[], label="Into detectors").classes(
            "w-full"
        )
        subject = ui.input("Onto a subject").classes("w-full")

        def save() -> None:
            with telling_errors():
                actions = [{"kind": "delivery_stream", "name": found} for found in chosen_streams.value]
                actions += [{"kind": "detector", "name": found} for found in chosen_detectors.value]
                actions += [{"kind": "subject", "name": subject.value}] if subject.value else []
                if not actions:
                    raise InvalidInput("actions: expected at least one place for the messages, got none")
                console.masthead.streams.create_rule(
                    {"name": name.value, "sql": sql.value, "actions": actions}
                )
                dialog.close()

        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("Save", on_click=save)
