"""Alerts: who hears of what, and whether it arrived."""

import dataclasses
from typing import Any

from nicegui import run, ui

from masthead.alerts.records import STATES, Delivery
from masthead.alerts.rules import FORMS, AlertRule
from masthead.base.errors import InvalidInput
from masthead.console.editor import open_editor
from masthead.console.parts import (
    deleting,
    form,
    from_json,
    measure_text,
    number_card,
    short_time,
    show_json,
    title,
)
from masthead.console.shell import Console, follow, frame, link, watch
from masthead.console.tables import Row, changed_rows, table

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
        ("security", "Security: starttls, tls or none", "starttls"),
        ("port", "Port; empty: the usual one", "587"),
        ("user", "User", ""),
        ("password", "Password", ""),
    ),
    "apprise": (("url", "Apprise address of an SMS gateway, a chat ...", "json://gateway.example.org"),),
    "command": (("command", "Program and arguments, as a JSON list", '["/usr/local/bin/page-me"]'),),
    "subject": (("subject", "Subject; empty: masthead.alerts.DETECTOR", ""),),
    "named": (("name", "Name of the channel; it may be made later", "night-shift"),),
}
_SECRET = ("secret", "password")
_ANY = "every state"


def register(console: Console) -> None:
    """Make the page `/ui/alerts`."""

    @ui.page("/alerts")
    def alerts_page() -> None:
        with frame("alerts", "Alerts"):
            _counts(console)
            _rules(console)
            _inbox(console)
            _channels(console)
            _deliveries(console)


def _counts(console: Console) -> None:
    def cards(counts: dict[str, int]) -> None:
        notes = {"delivered": "the channel took them", "pending": "tried again until they arrive"}
        notes["unheard"] = "their channel does not exist yet"
        with ui.row().classes("w-full"):
            for state in ("delivered", "pending", "undelivered", "unheard"):
                bad = state in ("undelivered", "unheard") and counts[state]
                number_card(
                    state.capitalize(),
                    f"{counts[state]:,}",
                    notes.get(state, "given up; try again below"),
                    tone="mh-tone text-negative" if bad else "",
                )

    follow(console.masthead.alerts.counts, cards)


def _rules(console: Console) -> None:
    alerts = console.masthead.alerts
    with ui.row().classes("items-center w-full"):
        title("Alert rules")
        ui.space()
        ui.button("New alert rule", icon="add", on_click=lambda: _new_rule(console))
    rules = table(
        (
            ("name", "Name"),
            ("detector", "Detector"),
            ("threshold", "From severity"),
            ("only", "Only"),
            ("channel", "Channel"),
            ("form", "Form"),
            ("quiet_hours", "Quiet hours"),
            ("state", "State"),
        ),
        [],
        empty="Nobody is told yet: make a rule with New alert rule",
        actions={
            "Show": (
                "visibility",
                lambda row: show_json(row["name"], alerts.get_rule(row["name"]).to_json()),
            ),
            "Edit": ("edit", lambda row: _edit(console, row["name"])),
            "Test": ("send", lambda row: _test(console, row)),
            "Switch on or off": ("power_settings_new", lambda row: _switch(console, row)),
            "Delete": ("delete", deleting("alert rule", alerts.delete_rule)),
        },
    )
    watch(lambda: changed_rows(rules, [_rule_row(rule) for rule in alerts.list_rules()]))


def _inbox(console: Console) -> None:
    """Show what was told to channels that do not exist, while there is any."""
    alerts = console.masthead.alerts
    with ui.column().classes("w-full") as inbox:
        title("Nobody hears this yet")
        waiting = table(
            (
                ("created", "At (UTC)"),
                ("rule", "Rule"),
                ("name", "Channel to make"),
                ("measure", "Measure"),
                ("severity", "Severity"),
            ),
            [],
            key="id",
            links="measure",
            empty="Every rule has its channel",
            actions={"Try again": ("refresh", lambda row: alerts.retry(row["id"]))},
        )

    def update() -> None:
        found = alerts.deliveries(state="unheard", limit=200).items
        names = {rule.name: rule.channel.get("name", "") for rule in alerts.list_rules()} if found else {}
        inbox.set_visibility(bool(found))
        changed_rows(waiting, [_delivery_row(one) | {"name": names.get(one.rule, "")} for one in found])

    watch(update)


def _channels(console: Console) -> None:
    alerts = console.masthead.alerts
    with ui.row().classes("items-center w-full"):
        title("Named channels")
        ui.space()
        ui.button("New channel", icon="add", on_click=lambda: _new_channel(console))
    channels = table(
        (("name", "Name"), ("kind", "Kind"), ("created", "Made (UTC)")),
        [],
        empty="No channels yet: rules may have a channel of their own, or speak to one by name",
        actions={
            "Show": (
                "visibility",
                lambda row: show_json(row["name"], alerts.get_channel(row["name"]).to_json()),
            ),
            "Delete": ("delete", deleting("channel", alerts.delete_channel)),
        },
    )
    watch(
        lambda: changed_rows(
            channels,
            [
                {"name": one.name, "kind": one.channel["kind"], "created": short_time(one.created)}
                for one in alerts.list_channels()
            ],
        )
    )


def _deliveries(console: Console) -> None:
    alerts = console.masthead.alerts
    with ui.row().classes("items-center w-full"):
        title("Deliveries")
        ui.space()
        wanted = ui.select([_ANY, *STATES], value=_ANY, label="State").style("min-width: 160px")
    deliveries = table(
        (
            ("created", "At (UTC)"),
            ("rule", "Rule"),
            ("measure", "Measure"),
            ("severity", "Severity"),
            ("stage", "Stage"),
            ("channel", "Channel"),
            ("state", "State"),
            ("tries", "Tries"),
            ("last_error", "Last error"),
        ),
        [],
        key="id",
        links="measure",
        empty="Nothing was sent yet",
        actions={"Try again": ("refresh", lambda row: alerts.retry(row["id"]))},
    )

    def update() -> None:
        state = None if wanted.value == _ANY else wanted.value
        found = alerts.deliveries(state=state, limit=200)
        changed_rows(deliveries, [_delivery_row(one) for one in found.items])

    wanted.on_value_change(update)
    watch(update)


def _rule_row(rule: AlertRule) -> Row:
    only = [", ".join(rule.measures)] if rule.measures else []
    only += [f"{name} in {', '.join(values)}" for name, values in rule.dimensions.items()]
    return {
        "name": rule.name,
        "detector": rule.detector or "every one",
        "threshold": f"{rule.threshold:g}",
        "only": "; ".join(only) or "everything",
        "channel": rule.channel.get("name") or rule.channel["kind"],
        "form": rule.form,
        "quiet_hours": rule.quiet_hours or "none",
        "state": "on" if rule.enabled else "off",
    }


def _delivery_row(delivery: Delivery) -> Row:
    is_group = delivery.stage != "test" and delivery.detector != "masthead"
    return {
        "id": delivery.id,
        "created": short_time(delivery.created),
        "rule": delivery.rule,
        "measure": measure_text(delivery.measure),
        "href": link(f"/groups/{delivery.group}" if is_group else "/alerts"),
        "severity": delivery.severity,
        "stage": delivery.stage,
        "channel": delivery.channel,
        "state": delivery.state,
        "tries": delivery.tries,
        "last_error": delivery.last_error,
    }


async def _test(console: Console, row: Row) -> None:
    """Send the test in a thread: a channel may take seconds to answer."""
    delivery = await run.io_bound(console.masthead.alerts.test_rule, row["name"])
    assert delivery is not None
    if delivery.state == "delivered":
        ui.notify(f"The test arrived. {delivery.note}"[:300], type="positive")
    elif delivery.state == "pending":
        ui.notify("The test waits: only a running server can use this channel", type="warning")
    else:
        ui.notify(f"The test did not arrive: {delivery.last_error}", type="negative", multi_line=True)


_STAMPS = ("name", "created", "updated")


def _edit(console: Console, name: str) -> None:
    alerts = console.masthead.alerts
    rule = {key: value for key, value in alerts.get_rule(name).to_json().items() if key not in _STAMPS}

    def save(fields: dict[str, Any]) -> None:
        gone: dict[str, Any] = {
            entry.name: _default(entry)
            for entry in dataclasses.fields(AlertRule)
            if entry.name in rule and entry.name not in fields
        }
        alerts.update_rule(name, gone | fields)

    note = "A secret shown as *** stays what it is. A field that is left out goes back to its default."
    open_editor(f"Alert rule {name}", rule, save, note=note)


def _default(entry: "dataclasses.Field[Any]") -> Any:
    """Return what a field is when nothing is said of it; None where something must be."""
    if entry.default_factory is not dataclasses.MISSING:
        return entry.default_factory()
    return None if entry.default is dataclasses.MISSING else entry.default


def _switch(console: Console, row: Row) -> None:
    rule = console.masthead.alerts.get_rule(row["name"])
    console.masthead.alerts.update_rule(rule.name, {"enabled": not rule.enabled})


def _new_rule(console: Console) -> None:
    """Open the dialog that makes a rule."""
    names = {"": "every detector, and Masthead itself", "masthead": "Masthead itself"}
    names |= {detector.name: detector.name for detector in console.masthead.metrics.list_detectors()}
    fields: dict[str, ui.input] = {}

    def save() -> None:
        console.masthead.alerts.create_rule(
            {
                "name": name.value,
                "detector": detector.value,
                "threshold": threshold.value,
                "measures": [part.strip() for part in (measures.value or "").split(",") if part.strip()],
                "dimensions": _dimensions(dimensions.value or ""),
                "channel": _channel(kind.value, {field: drawn.value for field, drawn in fields.items()}),
                "form": form_of_message.value,
                "quiet_hours": quiet.value or "",
                "on_close": on_close.value,
            }
        )

    with form("New alert rule", save):
        name = ui.input("Name").classes("w-full").props("autofocus")
        with ui.row().classes("w-full"):
            detector = ui.select(names, value="", label="Detector").style("flex: 2")
            threshold = ui.number("From severity", value=70, min=0, max=100).style("flex: 1")
        with ui.row().classes("w-full"):
            measures = ui.input("Only measures", placeholder="CO, SO2").style("flex: 1")
            dimensions = ui.input("Only dimensions", placeholder="LOCATION_ID=B-101,B-102").style("flex: 1")
        kind = _channel_fields([*CHANNELS], fields)
        with ui.row().classes("w-full"):
            form_of_message = ui.select(list(FORMS), value="json", label="Form of the message").style(
                "flex: 1"
            )
            quiet = ui.input("Quiet hours", placeholder="22:00-06:00").style("flex: 1")
        on_close = ui.checkbox("Also tell when it is over")


def _new_channel(console: Console) -> None:
    """Open the dialog that makes a named channel."""
    fields: dict[str, ui.input] = {}

    def save() -> None:
        texts = {field: drawn.value for field, drawn in fields.items()}
        console.masthead.alerts.create_channel({"name": name.value, **_channel(kind.value, texts)})

    with form("New channel", save):
        name = ui.input("Name").classes("w-full").props("autofocus")
        kind = _channel_fields([one for one in CHANNELS if one != "named"], fields)


def _channel_fields(kinds: list[str], fields: dict[str, ui.input]) -> ui.select:
    """Draw the choice of a kind of channel and its fields, which are put into `fields`; return the choice."""
    kind = ui.select(kinds, value=kinds[0], label="Channel").classes("w-full")

    @ui.refreshable
    def drawn_fields() -> None:
        fields.clear()
        for field, label, example in CHANNELS[kind.value]:
            drawn = ui.input(label, placeholder=example, password=field in _SECRET).classes("w-full")
            fields[field] = drawn

    drawn_fields()
    kind.on_value_change(drawn_fields.refresh)
    return kind


def _dimensions(text: str) -> dict[str, list[str]]:
    """Return `NAME=a,b; OTHER=c` as names and values."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, values = part.partition("=")
        if not equals:
            raise InvalidInput(f"dimensions: expected NAME=value,value, got {part!r}")
        found[name.strip()] = [value.strip() for value in values.split(",") if value.strip()]
    return found


def _channel(kind: str, texts: dict[str, str | None]) -> dict[str, Any]:
    """Return the channel that the dialog's texts describe; empty fields are not given."""
    given: dict[str, Any] = {name: text.strip() for name, text in texts.items() if text and text.strip()}
    if "to" in given:
        given["to"] = [part.strip() for part in given["to"].split(",")]
    if "command" in given:
        given["command"] = from_json(given["command"], "command")
    if "port" in given:
        given["port"] = from_json(given["port"], "port")
    return {"kind": kind, **given}
