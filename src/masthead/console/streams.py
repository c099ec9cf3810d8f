"""Streams: the durable stream of readings and its lag, and the delivery streams that make objects of it."""

from typing import Any

from nicegui import ui

from masthead.base.units import format_bytes
from masthead.console.editor import open_editor
from masthead.console.parts import as_json, deleting, form, number_card, show_json, telling_errors, title
from masthead.console.shell import Console, follow, frame, watch
from masthead.console.tables import Row, changed_rows, table

_EXAMPLE = '{"TIMESTAMP": "2026-01-31 12:04", "LOCATION_ID": "B-101", "CO": 2.6}'


def register(console: Console) -> None:
    """Make the page `/ui/streams`."""

    @ui.page("/streams")
    def streams_page() -> None:
        with frame("streams", "Streams"):
            _readings(console)
            _deliveries(console)


def _readings(console: Console) -> None:
    """Draw the figures of the stream of readings; without the devices' role there are none to show."""
    title("Readings")
    if console.devices is None:
        ui.label("This server does not run the role devices, so it reads no stream.").classes("mh-soft")
        return

    def figures(state: dict[str, Any]) -> None:
        most = int(console.masthead.settings.stream_max_gib * 2**30)
        lag = state.get("lag_batches", 0)
        with ui.row().classes("w-full items-stretch"):
            number_card(
                "Lag",
                f"{lag:,}",
                "batches not yet taken",
                tone="mh-tone text-negative" if lag > 100 else "",
            )
            number_card("Rate", f"{state.get('rate_per_s', 0):,.1f}", "readings per second")
            number_card("Taken", f"{state.get('taken', 0):,}", "readings since the start")
            number_card("Size", format_bytes(state.get("log_bytes", 0)), f"of {format_bytes(most)}")
            number_card(
                "Batches", f"{state.get('log_messages', 0):,}", f"the latest is {state.get('log_last', 0):,}"
            )
        for trouble in (state.get("blocked"), state.get("trouble")):
            if trouble:
                ui.label(str(trouble)).classes("mh-tone text-negative").props("role=alert")

    follow(console.devices_state, figures)


def _deliveries(console: Console) -> None:
    streams = console.masthead.streams
    with ui.row().classes("items-center w-full"):
        title("Delivery streams")
        ui.space()
        ui.button("New delivery stream", icon="add", on_click=lambda: _new_stream(console))
    drawn = table(
        (
            ("name", "Name"),
            ("destination", "Destination"),
            ("partitions", "Open partitions"),
            ("held", "Waiting"),
            ("delivered", "Records"),
            ("objects", "Objects"),
            ("errors", "In the error place"),
            ("problem", "Problem"),
        ),
        [],
        empty="No delivery streams yet: make one to keep readings as objects",
        actions={
            "Show": ("visibility", lambda row: _show(console, row)),
            "Edit": ("edit", lambda row: _edit(console, row["name"])),
            "Test": ("science", lambda row: _test(console, row["name"])),
            "Log": (
                "article",
                lambda row: ui.navigate.to(f"/logs?kind=stream&name={row['name']}"),
            ),
            "Delete": (
                "delete",
                deleting("delivery stream", streams.delete_stream, stays="Its objects stay."),
            ),
        },
    )
    watch(lambda: changed_rows(drawn, [_row(console, stream.name) for stream in streams.list_streams()]))


def _row(console: Console, name: str) -> Row:
    stream, state = console.masthead.streams.get_stream(name), console.masthead.streams.stream_state(name)
    return {
        "name": name,
        "destination": stream.destination + stream.prefix,
        "partitions": state.open_partitions or 0,
        "held": format_bytes(state.held_bytes or 0),
        "delivered": f"{state.records:,}",
        "objects": f"{state.stored_objects:,} ({format_bytes(state.stored_bytes)})",
        "errors": f"{state.errors:,}",
        "problem": state.last_error,
    }


def _show(console: Console, row: Row) -> None:
    stream, state = (
        console.masthead.streams.get_stream(row["name"]),
        console.masthead.streams.stream_state(row["name"]),
    )
    show_json(f"Delivery stream {row['name']}", stream.to_json() | {"state": state.to_json()})


def _edit(console: Console, name: str) -> None:
    streams = console.masthead.streams
    stream = streams.get_stream(name).to_json()
    for field in ("name", "version"):
        stream.pop(field)
    open_editor(
        f"Delivery stream {name}",
        stream,
        lambda fields: streams.update_stream({**fields, "name": name}),
        note="What it holds already is put as it was asked before.",
    )


def _test(console: Console, name: str) -> None:
    """Open the dialog that tells where one record would go."""

    def run() -> bool:
        with telling_errors():
            found = console.masthead.streams.test_stream(name, payload.value or "")
            verdict.text = (
                f"Error place: {found['error']}" if found["error"] else f"Goes to {found['folder']}"
            )
            answer.visible = True
            answer.set_content(as_json(found))
        return False

    with form(f"Test {name}", run, verb="Test"):
        ui.label("Nothing is stored: the answer says where the record would go.").classes("mh-soft")
        payload = ui.textarea("Record", value=_EXAMPLE).classes("w-full").props("rows=3")
        verdict = ui.label().classes("text-weight-medium").props("role=status")
        answer = ui.code("", language="json").classes("w-full")
        answer.visible = False


def _new_stream(console: Console) -> None:
    """Open the dialog that makes a delivery stream."""

    def save() -> None:
        when = {"column": column.value, "format": form_of_time.value, "interval": interval.value}
        console.masthead.streams.create_stream(
            {
                "name": name.value,
                "destination": destination.value,
                "prefix": prefix.value or "",
                "error_prefix": error_prefix.value or "",
                "buffer_s": int(buffer_s.value or 0),
                "buffer_mib": buffer_mib.value or 5,
                "compression": compression.value,
                **({"event_time": when} if column.value else {}),
            }
        )

    with form("New delivery stream", save):
        name = ui.input("Name").classes("w-full").props("autofocus")
        destination = ui.input("Destination", value="s3://readings/").classes("w-full")
        prefix = ui.input("Prefix", value="air/!{timestamp:yyyyMMdd}/!{timestamp:HHmm}/").classes("w-full")
        error_prefix = ui.input("Error prefix", value="errors/!{firehose:error-output-type}/").classes(
            "w-full"
        )
        with ui.row().classes("w-full"):
            buffer_s = ui.number("At the latest after, seconds", value=60, min=0, max=900).style("flex: 1")
            buffer_mib = ui.number("or from, MiB", value=5, min=1, max=128).style("flex: 1")
            compression = ui.select(["none", "gzip"], value="none", label="Compression").style("flex: 1")
        column = ui.input(
            "Field with the time of the reading; empty: time of arrival", value="TIMESTAMP"
        ).classes("w-full")
        with ui.row().classes("w-full"):
            form_of_time = ui.input("Form of that time", value="yyyy-MM-dd HH:mm").style("flex: 1")
            interval = ui.input("Interval of a folder", value="5m").style("flex: 1")
