"""The wizard that makes a detector: detector, data set, validation, measures, dimensions, time, review."""

from typing import Any

from nicegui import ui

from masthead.console.parts import Row, table, telling_errors
from masthead.console.shell import Console, link
from masthead.metrics.spec import AGGREGATIONS, DetectorSpec

_SOURCES = {
    "stream": "Live messages of a topic",
    "path": "Folders of objects, one per interval",
    "files": "Files, once",
}


class _Draft:
    """What the person has chosen so far, as the fields of a specification."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {
            "name": "",
            "description": "",
            "mode": "continuous",
            "interval": "5m",
            "zone": "UTC",
            "delay_s": 0,
            "rollups": "single",
        }
        self.kind, self.place, self.history = "stream", "sensors/+/air", ""
        self.column, self.format = "TIMESTAMP", "yyyy-MM-dd HH:mm"
        self.measures: list[dict[str, str]] = [{"column": "", "aggregation": "avg"}]
        self.dimensions, self.filters = "", ""

    def spec(self) -> DetectorSpec:
        """Return the specification, or tell which field is wrong."""
        where = {"stream": "topic", "path": "template", "files": "paths"}[self.kind]
        place: Any = _texts(self.place) if self.kind == "files" else self.place.strip()
        found = self.fields | {
            "mode": "backtest" if self.kind == "files" else self.fields["mode"],
            "source": {"kind": self.kind, where: place},
            "time": {"column": self.column.strip(), "format": self.format.strip()},
            "measures": [
                {
                    "name": one["column"].strip(),
                    "column": one["column"].strip(),
                    "aggregation": one["aggregation"],
                }
                for one in self.measures
                if one["column"].strip()
            ],
            "dimensions": _texts(self.dimensions),
            "filters": dict(_filter(text) for text in self.filters.split(";") if text.strip()),
        }
        if self.history.strip():
            found["history"] = {"paths": _texts(self.history)}
        return DetectorSpec.from_json(found)


def _texts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _filter(text: str) -> tuple[str, list[str]]:
    column, _, values = text.partition("=")
    return column.strip(), _texts(values)


def open_wizard(console: Console) -> None:
    """Open the dialog; its last step saves and activates."""
    draft = _Draft()
    with (
        ui.dialog(value=True).props("persistent") as dialog,
        ui.card().style("min-width: 720px; max-width: 960px"),
    ):
        with ui.row().classes("items-center w-full"):
            ui.label("New detector").classes("mh-title")
            ui.space()
            ui.button(icon="close", on_click=dialog.close).props("flat dense aria-label='Close'")
        with ui.stepper().props("vertical flat").classes("w-full") as steps:
            _detector_step(draft, steps)
            _data_step(draft, steps)
            _time_step(draft, steps)
            _measures_step(draft, steps)
            _dimensions_step(draft, steps)
            _validation_step(console, draft, steps)
            _review_step(console, draft, steps, dialog)


def _buttons(steps: ui.stepper, *, first: bool = False) -> None:
    with ui.stepper_navigation():
        ui.button("Next", on_click=steps.next)
        if not first:
            ui.button("Back", on_click=steps.previous).props("flat")


def _detector_step(draft: _Draft, steps: ui.stepper) -> None:
    with ui.step("Detector"):
        ui.input("Name").bind_value(draft.fields, "name").classes("w-full")
        ui.input("Description").bind_value(draft.fields, "description").classes("w-full")
        ui.input("Interval", placeholder="5m, 10m, 1h, 1d or any other").bind_value(
            draft.fields, "interval"
        ).classes("w-full")
        _buttons(steps, first=True)


def _data_step(draft: _Draft, steps: ui.stepper) -> None:
    with ui.step("Data set"):
        ui.select(_SOURCES, label="Where the rows come from").bind_value(draft, "kind").classes("w-full")
        ui.input("Topic filter, path template or files", placeholder="sensors/+/air").bind_value(
            draft, "place"
        ).classes("w-full")
        ui.input("Historical files for a warm start, by commas").bind_value(draft, "history").classes(
            "w-full"
        )
        ui.input("Only rows with", placeholder="LOCATION_ID=B-101,B-102; KIND=outdoor").bind_value(
            draft, "filters"
        ).classes("w-full")
        _buttons(steps)


def _time_step(draft: _Draft, steps: ui.stepper) -> None:
    with ui.step("Time"):
        ui.input("Column with the time").bind_value(draft, "column").classes("w-full")
        ui.input("Its form", placeholder="yyyy-MM-dd HH:mm, iso, epoch_s, epoch_ms").bind_value(
            draft, "format"
        ).classes("w-full")
        ui.input("Time zone").bind_value(draft.fields, "zone").classes("w-full")
        ui.number("Wait for late rows, seconds", min=0, max=432_000, format="%d").bind_value(
            draft.fields, "delay_s", forward=lambda value: int(value or 0)
        ).classes("w-full")
        _buttons(steps)


def _measures_step(draft: _Draft, steps: ui.stepper) -> None:
    with ui.step("Measures"):

        @ui.refreshable
        def rows() -> None:
            for measure in draft.measures:
                with ui.row().classes("items-center"):
                    ui.input("Column").bind_value(measure, "column")
                    ui.select(
                        [name for name in AGGREGATIONS if name != "ratio"], label="Aggregation"
                    ).bind_value(measure, "aggregation")

        def add() -> None:
            draft.measures.append({"column": "", "aggregation": "avg"})
            rows.refresh()

        rows()
        ui.button("Another measure", icon="add", on_click=add).props("flat dense")
        _buttons(steps)


def _dimensions_step(draft: _Draft, steps: ui.stepper) -> None:
    with ui.step("Dimensions"):
        ui.input("Columns of categories, by commas", placeholder="LOCATION_ID").bind_value(
            draft, "dimensions"
        ).classes("w-full")
        ui.select(
            {
                "none": "Only the combinations",
                "single": "Also each single value and the total",
                "all": "Every combination",
            },
            label="Roll-ups",
        ).bind_value(draft.fields, "rollups").classes("w-full")
        _buttons(steps)


def _validation_step(console: Console, draft: _Draft, steps: ui.stepper) -> None:
    with ui.step("Validation"):
        answer = ui.column().classes("w-full")

        def run() -> None:
            answer.clear()
            with answer, telling_errors():
                _show_validation(console.masthead.metrics.validate(draft.spec()).to_json())

        ui.button("Validate", icon="fact_check", on_click=run)
        _buttons(steps)


def _show_validation(found: Row) -> None:
    """Draw the answer: whether it is valid, every finding with what to do, and sample rows."""
    if found.get("valid"):
        ui.label("Validation successful").classes("text-positive text-h6")
    else:
        ui.label("Validation failed").classes("text-negative text-h6")
    for finding in found.get("findings", ()):
        ui.label(str(finding.get("text", finding)) if isinstance(finding, dict) else str(finding))
    rows = [dict(row) for row in found.get("sample", ())]
    if rows:
        columns = [(name, name) for name in rows[0]]
        table(
            columns,
            [row | {"_place": place} for place, row in enumerate(rows)],
            key="_place",
            empty="",
            page=5,
        )


def _review_step(console: Console, draft: _Draft, steps: ui.stepper, dialog: ui.dialog) -> None:
    metrics = console.masthead.metrics
    with ui.step("Review"):
        review = ui.code("", language="toml").classes("w-full")

        def show() -> None:
            with telling_errors():
                review.set_content(draft.spec().to_toml())

        def save(activate: bool) -> None:
            with telling_errors():
                detector = metrics.create_detector(draft.spec())
                if activate:
                    begin = metrics.backtest if detector.spec.mode == "backtest" else metrics.activate
                    begin(detector.name)
                dialog.close()
                ui.navigate.to(link(f"/detectors/{detector.name}"))

        steps.on_value_change(lambda event: show() if event.value == "Review" else None)
        with ui.stepper_navigation():
            ui.button("Save and activate", icon="play_arrow", on_click=lambda: save(True))
            ui.button("Save only", on_click=lambda: save(False)).props("outline")
            ui.button("Back", on_click=steps.previous).props("flat")
