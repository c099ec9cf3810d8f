"""Things: devices, their last readings, their certificates, and what they were forbidden to publish."""

from datetime import datetime, timedelta
from typing import Any

from nicegui import run, ui

from masthead.access.records import Thing
from masthead.access.service import RENEW_BEFORE_DAYS, Credentials
from masthead.access.thing_policies import KINDS, allows
from masthead.base.clock import utc
from masthead.base.errors import InvalidInput
from masthead.console.parts import (
    Row,
    ago,
    changed_rows,
    confirmed,
    deleting,
    facts,
    form,
    look_again,
    on_this_page,
    or_missing,
    short_time,
    table,
    telling_errors,
    title,
)
from masthead.console.shell import Console, follow, frame, link, watch


def register(console: Console) -> None:
    """Make the pages `/ui/things` and `/ui/things/NAME`."""

    @ui.page("/things")
    def things_page() -> None:
        with frame("things", "Things"):
            with ui.row().classes("items-center w-full"):
                ui.label("Devices with a certificate of this installation").classes("mh-soft")
                ui.space()
                ui.button("New thing", icon="add", on_click=lambda: _new_thing(console))
            things = table(
                (
                    ("name", "Name"),
                    ("state", "Connection"),
                    ("last", "Last reading"),
                    ("policies", "Policies"),
                    ("expires", "Certificate until"),
                    ("forbidden", "Forbidden publishes"),
                ),
                [],
                links="name",
                empty="No things yet: make one with New thing, or masthead things create NAME",
                actions={
                    "Edit": ("edit", lambda row: _edit(console, row["name"])),
                    "Renew": ("autorenew", lambda row: _renew(console, row["name"])),
                    "Revoke": ("block", lambda row: _revoke(console, row["name"])),
                    "Delete": ("delete", deleting("thing", console.masthead.access.delete_thing)),
                },
            )
            watch(lambda: changed_rows(things, _rows(console)))

    @ui.page("/things/{name}")
    def thing_page(name: str) -> None:
        with frame("things", name, trail=(("Things", "/things"),)), or_missing():
            console.masthead.access.get_thing(name)
            _one_thing(console, name)


def _rows(console: Console) -> list[Row]:
    """Return a row per thing; what was forbidden is summed over topics."""
    access, now = console.masthead.access, console.masthead.clock.now()
    connected, last = set(console.devices_state().get("connected", ())), console.last_readings()
    forbidden: dict[str, int] = {}
    for row in access.forbidden():
        forbidden[row.thing] = forbidden.get(row.thing, 0) + row.count
    return [
        {
            "name": thing.name,
            "href": link(f"/things/{thing.name}"),
            "state": _connection(thing, connected),
            "last": _last(last.get(thing.name), now),
            "policies": ", ".join(thing.policies) or "none",
            "expires": expiry_text(thing, now),
            "forbidden": f"{forbidden[thing.name]:,}" if thing.name in forbidden else "none",
        }
        for thing in access.list_things()
    ]


def _connection(thing: Thing, connected: set[str]) -> str:
    if thing.revoked:
        return "revoked"
    return "connected" if thing.name in connected else "not connected"


def expiry_text(thing: Thing, now: datetime) -> str:
    """Return until when a certificate is valid, and a word when that is soon."""
    left = thing.expires - now
    if left <= timedelta(0):
        return f"{short_time(thing.expires)}, expired"
    soon = f", {left.days} days left: renew it" if left.days < RENEW_BEFORE_DAYS and not thing.revoked else ""
    return short_time(thing.expires) + soon


def _last(reading: dict[str, Any] | None, now: datetime) -> str:
    if not reading:
        return "none since the start"
    return f"{ago(utc(reading['arrived']), now)}: {str(reading['payload'])[:120]}"


def _one_thing(console: Console, name: str) -> None:
    access = console.masthead.access

    def seen() -> tuple[Thing, str]:
        thing = access.get_thing(name)
        return thing, _connection(thing, set(console.devices_state().get("connected", ())))

    def certificate(told: tuple[Thing, str]) -> None:
        (thing, connection), now = told, console.masthead.clock.now()
        facts(
            (
                ("Connection", connection),
                ("Certificate until", expiry_text(thing, now)),
                ("Made", short_time(thing.created)),
                ("Serial", thing.serial),
                ("SHA-256", thing.certificate_sha256),
                ("Policies", ", ".join(thing.policies) or "none"),
                (
                    "Attributes",
                    ", ".join(f"{key} = {value}" for key, value in thing.attributes.items()) or "none",
                ),
            )
        )

    async def delete() -> None:
        with on_this_page():
            await deleting("thing", access.delete_thing)({"name": name})
            if name not in {thing.name for thing in access.list_things()}:
                ui.navigate.to("/things")

    with ui.row().classes("w-full items-stretch"):
        with ui.column().classes("mh-card").style("flex: 1; min-width: 340px; gap: 12px"):
            follow(seen, certificate)
            with ui.row():
                ui.button("Edit", icon="edit", on_click=lambda: _edit(console, name)).props("outline")
                for verb, icon, do in (("Renew", "autorenew", _renew), ("Revoke", "block", _revoke)):
                    ui.button(verb, icon=icon, on_click=lambda _, do=do: _do(do(console, name))).props(
                        "outline"
                    )
                ui.button("Delete", icon="delete", color="negative", on_click=delete).props("outline")
        with ui.column().classes("mh-card").style("flex: 1; min-width: 340px; gap: 8px"):
            title("Last reading")
            last = ui.label().style("overflow-wrap: anywhere")
            ui.label("A reading sent with QoS 0 has no acknowledgement and may be lost on its way.").classes(
                "mh-soft text-caption"
            )
            ui.link("Log of this thing", f"/logs?kind=thing&name={name}").classes("mh-link")
    title("Forbidden publishes")
    ui.label(
        "MQTT acknowledges these to the device and drops them: the device believes that it delivers."
    ).classes("mh-soft")
    forbidden = table(
        (("topic", "Topic"), ("count", "Times"), ("at", "Last at (UTC)")),
        [],
        key="topic",
        empty="None: every publish was allowed",
    )
    _bench(console, name)

    def update() -> None:
        last.text = _last(console.last_readings().get(name), console.masthead.clock.now())
        changed_rows(
            forbidden,
            [
                {"topic": row.topic, "count": row.count, "at": short_time(row.at)}
                for row in access.forbidden(name)
            ],
        )

    watch(update)


async def _do(work: Any) -> None:
    with on_this_page():
        await work
        look_again()


async def _revoke(console: Console, name: str) -> None:
    if await confirmed(f"Revoke the certificate of {name}? The thing is cut off at once.", verb="Revoke"):
        console.masthead.access.revoke_thing(name)
        ui.notify(f"{name} is revoked")


async def _renew(console: Console, name: str) -> None:
    question = f"Make a new key and certificate for {name}? The present one works for one more day."
    if await confirmed(question, verb="Renew"):
        made = await run.io_bound(console.masthead.access.renew_thing, name)
        assert made is not None
        with ui.dialog(value=True).props("aria-label='Renewed'") as dialog, ui.card():
            _show_credentials(made, f"{name} has a new certificate", dialog)


def _edit(console: Console, name: str) -> None:
    """Open the dialog that changes what a thing may do and what is said of it."""
    access = console.masthead.access
    thing = access.get_thing(name)

    def save() -> None:
        access.update_thing(name, policies.value, _attributes(attributes.value or ""))

    with form(f"Edit {name}", save):
        policies = ui.select(
            [policy.name for policy in access.list_policies()],
            multiple=True,
            value=list(thing.policies),
            label="Policies",
        ).classes("w-full")
        told = ", ".join(f"{key}={value}" for key, value in thing.attributes.items())
        attributes = ui.input("Attributes", value=told, placeholder="site=north, floor=2").classes("w-full")


def _bench(console: Console, name: str) -> None:
    """Draw the place where a thing's policies, taken together, are asked."""
    access = console.masthead.access
    with ui.column().classes("mh-card w-full"):
        title("Test what it may do")
        with ui.row().classes("w-full items-end"):
            action = ui.select(list(KINDS), value="iot:Publish", label="Action").style("min-width: 160px")
            resource = ui.input("Topic, filter or client", value=f"sensors/{name}/air").style(
                "flex: 1; min-width: 220px"
            )
            ui.button("Test", icon="play_arrow", on_click=lambda: ask())
        answer = ui.label().classes("text-weight-medium").props("role=status")

        def ask() -> None:
            with telling_errors():
                permissions = access.compiled_permissions()[name]
                allowed = allows(permissions, action=action.value, resource=resource.value or "")
                answer.text = f"{'Allowed' if allowed else 'Denied'}: {action.value} on {resource.value}"


def _new_thing(console: Console) -> None:
    """Open the dialog that makes a thing and tells, once, where its files lie."""
    policies = [policy.name for policy in console.masthead.access.list_policies()]

    async def save() -> bool:
        made = await run.io_bound(
            console.masthead.access.create_thing,
            name.value or "",
            chosen.value,
            _attributes(attributes.value or ""),
        )
        assert made is not None
        card.clear()
        with card:
            _show_credentials(made, f"{name.value} is ready", dialog)
        look_again()
        return False

    with form("New thing", save, verb="Make") as (dialog, card):
        name = ui.input("Name").classes("w-full").props("autofocus")
        chosen = ui.select(policies, multiple=True, value=["sensor"], label="Policies").classes("w-full")
        attributes = ui.input("Attributes", placeholder="site=north, floor=2").classes("w-full")


def _attributes(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals:
            raise InvalidInput(f"attributes: expected name=value, got {part!r}")
        found[key.strip()] = value.strip()
    return found


def _show_credentials(made: Credentials, heading: str, dialog: Any) -> None:
    """Draw where the files of a device lie; the key itself never enters the page."""
    title(heading)
    facts(
        (
            ("Key", str(made.key_path.absolute())),
            ("Certificate", str(made.certificate_path.absolute())),
            ("Authority", str(made.authority_path.absolute())),
            ("Valid until", short_time(made.thing.expires)),
        )
    )
    ui.label("Copy these files to the device; the key is kept nowhere else.").classes("mh-soft")
    with ui.row().classes("w-full justify-end"):
        ui.button("Close", on_click=dialog.close)
