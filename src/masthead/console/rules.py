"""Topic rules: SQL over messages, what it does with them, and a bench to try it on one message."""

from typing import Any

from nicegui import ui

from masthead.base.errors import InvalidInput
from masthead.console.editor import open_editor
from masthead.console.parts import as_json, deleting, form, show_json, telling_errors, title
from masthead.console.shell import Console, frame, watch
from masthead.console.tables import Row, changed_rows, table

_EXAMPLE = "SELECT * FROM 'sensors/+/air' WHERE CO > 0"
_OWN_SQL = ""


def register(console: Console) -> None:
    """Make the page `/ui/rules`."""

    @ui.page("/rules")
    def rules_page() -> None:
        streams = console.masthead.streams
        with frame("rules", "Topic rules"):
            with ui.row().classes("items-center w-full"):
                ui.label("What happens to the messages of a topic").classes("mh-soft")
                ui.space()
                ui.button("New rule", icon="add", on_click=lambda: _new_rule(console))
            rules = table(
                (("name", "Name"), ("sql", "SQL"), ("does", "Does"), ("state", "State")),
                [],
                empty="No rules yet: make one with New rule, or masthead rules create NAME --file rule.json",
                actions={
                    "Show": ("visibility", lambda row: _show(console, row)),
                    "Edit": ("edit", lambda row: _edit(console, row["name"])),
                    "Switch on or off": ("power_settings_new", lambda row: _switch(console, row)),
                    "Delete": ("delete", deleting("rule", streams.delete_rule)),
                },
            )

            def update() -> None:
                changed_rows(rules, [_row(rule.to_json()) for rule in streams.list_rules()])

            watch(update)
            _bench(console)


def _row(rule: Row) -> Row:
    does = [
        f"{action['kind'].replace('_', ' ')} {action.get('name') or action.get('url')}"
        for action in rule["actions"]
    ]
    return {
        "name": rule["name"],
        "sql": rule["sql"],
        "does": ", ".join(does) or "nothing",
        "state": "on" if rule["enabled"] else "off",
    }


def _show(console: Console, row: Row) -> None:
    show_json(f"Rule {row['name']}", console.masthead.streams.get_rule(row["name"]).to_json())


def _edit(console: Console, name: str) -> None:
    streams = console.masthead.streams
    rule = streams.get_rule(name).to_json()
    rule.pop("name")
    open_editor(f"Rule {name}", rule, lambda fields: streams.update_rule({**fields, "name": name}))


def _switch(console: Console, row: Row) -> None:
    rule = console.masthead.streams.get_rule(row["name"]).to_json()
    console.masthead.streams.update_rule(rule | {"enabled": not rule["enabled"]})


def _bench(console: Console) -> None:
    """Draw the place where a rule, or SQL that is not one yet, is tried on a message."""
    streams = console.masthead.streams
    with ui.column().classes("mh-card w-full"):
        title("Test a rule")
        picked = ui.select({_OWN_SQL: "the SQL below"}, value=_OWN_SQL, label="Rule").classes("w-full")
        sql = (
            ui.input("SQL", value=_EXAMPLE)
            .classes("w-full")
            .bind_visibility_from(picked, "value", value=_OWN_SQL)
        )
        topic = ui.input("Topic", value="sensors/B-101/air").classes("w-full")
        payload = ui.textarea("Message", value='{"CO": 2.6, "SO2": 75}').classes("w-full").props("rows=3")
        ui.button("Test", icon="play_arrow", on_click=lambda: run())
        verdict = ui.label().classes("text-weight-medium").props("role=status")
        answer = ui.code("", language="json").classes("w-full")
        answer.visible = False

        def run() -> None:
            with telling_errors():
                found = streams.test_rule(
                    picked.value or sql.value or "", topic.value or "", payload.value or ""
                )
                verdict.text = _verdict(found)
                answer.visible = found["result"] is not None
                answer.set_content(as_json(found["result"]))

        def follow() -> None:
            options = {_OWN_SQL: "the SQL below"} | {rule.name: rule.name for rule in streams.list_rules()}
            if options != picked.options:
                picked.set_options(options, value=picked.value if picked.value in options else _OWN_SQL)

        watch(follow)


def _verdict(found: Row) -> str:
    if found["error"]:
        return f"Not taken. {found['error']}"
    return "Matched: this goes on" if found["matched"] else "Not matched: WHERE leaves this message out"


def _new_rule(console: Console) -> None:
    """Open the dialog that makes a rule."""
    streams = [stream.name for stream in console.masthead.streams.list_streams()]
    detectors = [detector.name for detector in console.masthead.metrics.list_detectors()]
    deployments = [one.name for one in console.masthead.fraud.deployments() if not one.source.get("graph")]

    def save() -> None:
        actions: list[dict[str, Any]] = [
            {"kind": "delivery_stream", "name": one} for one in into_streams.value
        ]
        actions += [{"kind": "detector", "name": one} for one in into_detectors.value]
        actions += [{"kind": "fraud", "name": one} for one in into_fraud.value]
        actions += [{"kind": "subject", "name": subject.value}] if subject.value else []
        actions += [{"kind": "webhook", "url": webhook.value}] if webhook.value else []
        if not actions:
            raise InvalidInput("actions: expected at least one place for the messages, got none")
        console.masthead.streams.create_rule({"name": name.value, "sql": sql.value, "actions": actions})

    with form("New rule", save):
        name = ui.input("Name").classes("w-full").props("autofocus")
        sql = ui.input("SQL", value=_EXAMPLE).classes("w-full")
        into_streams = ui.select(streams, multiple=True, value=[], label="Into delivery streams").classes(
            "w-full"
        )
        into_detectors = ui.select(detectors, multiple=True, value=[], label="Into detectors").classes(
            "w-full"
        )
        into_fraud = ui.select(
            deployments, multiple=True, value=[], label="Scored as transactions by"
        ).classes("w-full")
        subject = ui.input("Onto a subject", placeholder="air.high").classes("w-full")
        webhook = ui.input("To a webhook", placeholder="https://example.org/hook").classes("w-full")
