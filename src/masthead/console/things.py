"""Things: devices, their last readings, their certificates, and what they were forbidden to publish."""

from datetime import datetime
from typing import Any

from nicegui import ui

from masthead.base.clock import utc
from masthead.console.parts import Row, ago, confirmed, plain, short_time, table, telling_errors
from masthead.console.shell import Console, frame, link, watch


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
                    ("connected", "Connection"),
                    ("last", "Last reading"),
                    ("policies", "Policies"),
                    ("expires", "Certificate until"),
                    ("forbidden", "Forbidden publishes"),
                ),
                [],
                links="name",
                empty="No things yet: make one with New thing, or masthead things create NAME",
                actions={"Revoke": ("block", lambda row: console.masthead.access.revoke_thing(row["name"]))},
            )

            def update() -> None:
                things.rows = _rows(console)

            watch(update)

    @ui.page("/things/{name}")
    async def thing_page(name: str) -> None:
        with frame("things", name, trail=(("Things", "/things"),)), telling_errors():
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
            "connected": "revoked"
            if thing.revoked
            else "connected"
            if thing.name in connected
            else "not connected",
            "last": _last(last.get(thing.name), now),
            "policies": ", ".join(thing.policies),
            "expires": short_time(thing.expires),
            "forbidden": forbidden.get(thing.name, 0),
        }
        for thing in access.list_things()
    ]


def _last(reading: dict[str, Any] | None, now: datetime) -> str:
    if not reading:
        return "none since the start"
    return f"{ago(utc(reading['arrived']), now)}: {str(reading['payload'])[:120]}"


def _one_thing(console: Console, name: str) -> None:
    access = console.masthead.access
    thing = access.get_thing(name)
    with ui.row().classes("w-full items-stretch"):
        with ui.column().classes("mh-card").style("flex: 1; gap: 4px"):
            for title, text in (
                ("Certificate SHA-256", thing.certificate_sha256),
                ("Serial", thing.serial),
                ("Made", short_time(thing.created)),
                ("Valid until", short_time(thing.expires)),
                ("State", "revoked" if thing.revoked else "valid"),
                ("Policies", ", ".join(thing.policies)),
            ):
                ui.label(title).classes("mh-soft text-caption")
                ui.label(text).style("overflow-wrap: anywhere")
        with ui.column().classes("mh-card").style("flex: 1; gap: 8px"):
            ui.label("Last reading").classes("mh-soft")
            last = ui.label().style("overflow-wrap: anywhere")
            ui.label("A reading sent with QoS 0 has no acknowledgement and may be lost on its way.").classes(
                "mh-soft text-caption"
            )

            async def revoke() -> None:
                if await confirmed(
                    f"Revoke the certificate of {name}? The thing is cut off at once.", verb="Revoke"
                ):
                    with telling_errors():
                        access.revoke_thing(name)

            ui.button("Revoke", icon="block", color="negative", on_click=revoke).props("outline")
    ui.label("Forbidden publishes").classes("mh-title")
    ui.label(
        "MQTT acknowledges these to the device and drops them: the device believes that it delivers."
    ).classes("mh-soft")
    forbidden = table(
        (("topic", "Topic"), ("count", "Times"), ("at", "Last at")),
        [],
        key="topic",
        empty="None: every publish was allowed",
    )

    def update() -> None:
        last.text = _last(console.last_readings().get(name), console.masthead.clock.now())
        forbidden.rows = [row.to_json() | {"at": short_time(row.at)} for row in access.forbidden(name)]

    watch(update)


def _new_thing(console: Console) -> None:
    """Open the dialog that makes a thing and tells, once, where its files lie."""
    policies = [policy.name for policy in console.masthead.access.list_policies()]
    with ui.dialog(value=True).props("persistent") as dialog, ui.card().style("min-width: 440px") as card:
        ui.label("New thing").classes("mh-title")
        name = ui.input("Name").classes("w-full")
        chosen = ui.select(policies, multiple=True, value=["sensor"], label="Policies").classes("w-full")

        def save() -> None:
            with telling_errors():
                made = console.masthead.access.create_thing(name.value or "", chosen.value)
                card.clear()
                with card:
                    ui.label(f"{name.value} is ready").classes("mh-title")
                    for title, text in made.to_json().items():
                        ui.label(f"{title}: {plain(text) if isinstance(text, float) else text}").style(
                            "overflow-wrap: anywhere"
                        )
                    ui.label("Copy these files to the device; the key is kept nowhere else.").classes(
                        "mh-soft"
                    )
                    ui.button("Close", on_click=dialog.close)

        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("Make", on_click=save)
