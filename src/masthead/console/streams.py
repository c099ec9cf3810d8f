"""Streams: the durable stream of readings and its lag, and the delivery streams that make objects of it."""

from nicegui import ui

from masthead.base.units import format_bytes
from masthead.console.parts import Row, confirmed, number_card, table, telling_errors
from masthead.console.shell import Console, frame, watch


def register(console: Console) -> None:
    """Make the page `/ui/streams`."""

    @ui.page("/streams")
    def streams_page() -> None:
        with frame("streams", "Streams"):

            @ui.refreshable
            def readings() -> None:
                _readings(console)

            with ui.row().classes("items-center w-full"):
                ui.label("Delivery streams").classes("mh-title")
                ui.space()
                ui.button("New delivery stream", icon="add", on_click=lambda: _new_stream(console))

            async def delete(row: Row) -> None:
                if await confirmed(
                    f"Delete the delivery stream {row['name']}? Its objects stay.", verb="Delete"
                ):
                    with telling_errors():
                        console.masthead.streams.delete_stream(row["name"])

            streams = table(
                (
                    ("name", "Name"),
                    ("destination", "Destination"),
                    ("partitions", "Open partitions"),
                    ("held", "Waiting"),
                    ("delivered", "Records delivered"),
                    ("objects", "Objects"),
                    ("errors", "In the error place"),
                    ("problem", "Problem"),
                ),
                [],
                empty="No delivery streams yet: make one to keep readings as objects",
                actions={"Delete": ("delete", delete)},
            )
            readings()

            def update() -> None:
                readings.refresh()
                streams.rows = [
                    _row(console, stream.name) for stream in console.masthead.streams.list_streams()
                ]

            watch(update)


def _readings(console: Console) -> None:
    """Draw the figures of the stream of readings; without the devices' role there are none to show."""
    state = console.devices_state()
    ui.label("Readings").classes("mh-title")
    if not state:
        ui.label("This server does not run the role devices.").classes("mh-soft")
        return
    with ui.row().classes("w-full"):
        number_card("Stored", f"{state.get('log_messages', 0):,}", "batches in the stream")
        number_card(
            "Size", format_bytes(state.get("log_bytes", 0)), f"of {format_bytes(state.get('max_bytes', 0))}"
        )
        number_card("Lag", f"{state.get('lag_batches', 0):,}", "batches not yet taken")
        number_card("Rate", f"{state.get('rate_per_s', 0):,.0f}", "readings per second")


def _row(console: Console, name: str) -> Row:
    stream, state = console.masthead.streams.get_stream(name), console.masthead.streams.stream_state(name)
    return {
        "name": name,
        "destination": stream.destination + stream.prefix,
        "partitions": state.open_partitions or 0,
        "held": format_bytes(state.held_bytes or 0),
        "delivered": state.records,
        "objects": state.stored_objects,
        "errors": state.errors,
        "problem": state.last_error,
    }


def _new_stream(console: Console) -> None:
    """Open the dialog that makes a delivery stream."""
    with ui.dialog(value=True) as dialog, ui.card().style("min-width: 480px"):
        ui.label("New delivery stream").classes("mh-title")
        name = ui.input("Name").classes("w-full")
        destination = ui.input("Destination", value="s3://readings/").classes("w-full")
        prefix = ui.input("Prefix", value="air/!{timestamp:yyyyMMdd}/!{timestamp:HHmm}/").classes("w-full")
        error_prefix = ui.input("Error prefix", value="errors/!{firehose:error-output-type}/").classes(
            "w-full"
        )
        buffer_s = ui.number("Write at the latest after, seconds", value=60, min=0, max=900).classes("w-full")
        column = ui.input("Field with the time of the reading", value="TIMESTAMP").classes("w-full")
        form = ui.input("Form of that time", value="yyyy-MM-dd HH:mm").classes("w-full")
        interval = ui.input("Interval of a folder", value="5m").classes("w-full")

        def save() -> None:
            with telling_errors():
                when = {"column": column.value, "format": form.value, "interval": interval.value}
                console.masthead.streams.create_stream(
                    {
                        "name": name.value,
                        "destination": destination.value,
                        "prefix": prefix.value or "",
                        "error_prefix": error_prefix.value or "",
                        "buffer_s": int(buffer_s.value or 0),
                        "buffer_mib": 5,
                        **({"event_time": when} if column.value else {}),
                    }
                )
                dialog.close()

        with ui.row().classes("w-full justify-end"):
            ui.button("Cancel", on_click=dialog.close).props("flat")
            ui.button("Save", on_click=save)
