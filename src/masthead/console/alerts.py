"""Alerts: who hears of what, and whether it arrived."""

import json
from typing import Any

from nicegui import ui

from masthead.alerts.records import Delivery
from masthead.alerts.rules import FORMS, AlertRule
from masthead.base.errors import InvalidInput
from masthead.console.parts import Row, number_card, short_time, table, telling_errors
from masthead.console.shell import Console, frame, watch

# kind of channel -> (field, label, example); a field in _SECRET is not shown while typed
CHANNELS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "webhook": (
        ("url", "Address that takes a POST", "https://example.org/hook"),
        ("secret", "Secret of the signature", ""),
    ),
    "email": (
        ("host", "Mail server", "mail.example.org"),
        ("to", "To, by commas", "night@example.org"),
        ("sender", "From", "masthead@example.org"),
        ("user", "User", ""),
        ("password", "Password", ""),
    ),
    "apprise": (("url", "Apprise address of an SMS gateway, a chat ...", "json://gateway.example.org"),),
    "command": (("command", "Program and arguments, as a JSON list", '["/usr/local/bin/page-me"]'),),
    "subject": (("subject", "Subject; empty: masthead.alerts.DETECTOR", ""),),
}
_SECRET = ("secret", "password")


def register(console: Console) -> None:
    """Make the page `/ui/alerts`."""

    @ui.page("/alerts")
    def alerts_page() -> None:
        with frame("alerts", "Alerts"):
            _counts(console)
            with ui.row().classes("items-center w-full"):
                ui.label("Rules").classes("mh-title")
                ui.space()
                ui.button("New alert rule", icon="add", on_click=lambda: _new_rule(console))
            rules = table(
                (
                    ("name", "Name"),
                    ("detector", "Detector"),
                    ("threshold", "From severity"),
                    ("channel", "Channel"),
                    ("form", "Form"),
                    ("quiet_hours", "Quiet hours"),
                ),
                [],
                empty="Nobody is told yet: make a rule with New alert rule",
                actions={
                    "Send a test": ("send", lambda row: _test(console, row)),
                    "Delete": ("delete", lambda row: console.masthead.alerts.delete_rule(row["name"])),
                },
            )
            ui.label("Deliveries").classes("mh-title")
            deliveries = table(
                (
                    ("created", "At"),
                    ("rule", "Rule"),
                    ("measure", "Measure"),
                    ("severity", "Severity"),
                    ("stage", "Stage"),
                    ("state", "State"),
                    ("tries", "Tries"),
                    ("last_error", "Last error"),
                ),
                [],
                key="id",
                empty="Nothing was sent yet",
                actions={"Try again": ("refresh", lambda row: console.masthead.alerts.retry(row["id"]))},
            )

            def update() -> None:
                rules.rows = [_rule_row(rule) for rule in console.masthead.alerts.list_rules()]
                deliveries.rows = [
                    _delivery_row(one) for one in console.masthead.alerts.deliveries(limit=200)
                ]

            watch(update)


@ui.refreshable
def _counts(console: Console) -> None:
    counts = console.masthead.alerts.counts()
    with ui.row().classes("w-full"):
        for state in ("delivered", "pending", "undelivered"):
            found = counts.get(state, 0)
            number_card(
                state.capitalize(),
                str(found),
                tone="text-negative" if state == "undelivered" and found else "",
            )


def _rule_row(rule: AlertRule) -> Row:
    return rule.to_json() | {"detector": rule.detector or "every one", "channel": rule.channel["kind"]}


def _delivery_row(delivery: Delivery) -> Row:
    return delivery.to_json() | {"created": short_time(delivery.created)}


def _test(console: Console, row: Row) -> None:
    delivery = console.masthead.alerts.test_rule(row["name"])
    if delivery.state == "delivered":
        ui.notify(f"The test arrived. {delivery.note}"[:300], type="positive")
    else:
        ui.notify(f"The test did not arrive: {delivery.last_error}", type="negative", multi_line=True)


def _new_rule(console: Console) -> None:
    """Open the dialog that makes a rule."""
    names = {"": "every detector", "masthead": "Masthead itself"}
    names |= {detector.name: detector.name for detector in console.masthead.metrics.list_detectors()}
    with ui.dialog(value=True) as dialog, ui.card().style("min-width: 440px"):
        ui.label("New alert rule").classes("mh-title")
        name = ui.input("Name").classes("w-full")
        detector = ui.select(names, value="", label="Detector").classes("w-full")
        threshold = ui.number("From severity", value=70, min=0, max=100).classes("w-full")
        kind = ui.select(list(CHANNELS), value="webhook", label="Channel").classes("w-full")
        fields: dict[str, ui.input] = {}

        @ui.refreshable
        def channel_fields() -> None:
            fields.clear()
            for field, label, example in CHANNELS[kind.value]:
                secret = field in _SECRET
                fields[field] = ui.input(label, placeholder=example, password=secret).classes("w-full")

        channel_fields()
        kind.on_value_change(channel_fields.refresh)
        form = ui.select(list(FORMS), value="json", label="Form of the message").classes("w-full")
        quiet = ui.input("Quiet hours", placeholder="22:00-06:00").classes("w-full")
        on_close = ui.checkbox("Also tell when it is over")

        def save() -> None:
            with telling_errors():
                console.masthead.alerts.create_rule(
                    {
                        "name": name.value,
                        "detector": detector.value,
                        "threshold": threshold.value,
                        "channel": _channel(
                            kind.value, {name: field.value for name, field in fields.items()}
                        ),
                        "form": form.value,
                        "quiet_hours": quiet.value or "",
                        "on_close": on_close.value,
                    }
                )
                dialog.close()

        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("Save", on_click=save)


def _channel(kind: str, texts: dict[str, str | None]) -> dict[str, Any]:
    """Return the channel that the dialog's texts describe; empty fields are not given."""
    given: dict[str, Any] = {name: text.strip() for name, text in texts.items() if text and text.strip()}
    if "to" in given:
        given["to"] = [part.strip() for part in given["to"].split(",")]
    if "command" in given:
        try:
            given["command"] = json.loads(given["command"])
        except ValueError as error:
            raise InvalidInput(f"command: expected a JSON list of texts, got {given['command']!r}") from error
    return {"kind": kind, **given}
