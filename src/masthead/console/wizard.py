"""The wizard that makes a detector: detector, data set, validation, measures, dimensions, time, review, activate."""

from collections.abc import Callable
from typing import Any

from nicegui import run, ui

from masthead.base.errors import InvalidInput
from masthead.console.parts import look_again, page_dialog, telling_errors, title
from masthead.console.shell import Console
from masthead.console.tables import Row
from masthead.console.verdict import show_validation
from masthead.metrics.spec import DetectorSpec

_SOURCES = {
    "stream": "Live messages of a topic",
    "rule": "What a topic rule selects",
    "path": "Folders of objects, one per interval",
    "files": "Files, scored once (a backtest)",
}
_PLACES = {
    "stream": ("Topic filter", "sensors/+/air"),
    "rule": ("Name of the rule", "keep-air"),
    "path": ("Path template", "s3://readings/air/{{yyyyMMdd}}/{{HHmm}}"),
    "files": ("Files, folders or patterns, by commas", "/data/air/*.csv"),
}
_FIELDS = {"stream": "topic", "rule": "rule", "path": "template", "files": "paths"}
_ROLLUPS = {
    "none": "Only the combinations",
    "single": "Also each single value and the total",
    "all": "Every combination",
}
_COMBINED = {
    "avg": "avg: the mean",
    "sum": "sum",
    "min": "min: the lowest",
    "max": "max: the highest",
    "count": "count: how many",
    "last": "last: the latest",
    "p50": "p50: the median",
    "p95": "p95: 95 of 100 lie below",
    "ratio": "ratio: one sum by another",
}
_DEDUPE = {"": "as is usual: once in a stream, each in files", "exact": "count once", "none": "count each"}
STEPS = ("Detector", "Data set", "Validation", "Measures", "Dimensions", "Time", "Review")


class Draft:
    """What the person has chosen so far; what is left open is taken from the data by the validation."""

    def __init__(self) -> None:
        self.name, self.description, self.interval = "", "", "5m"
        self.kind, self.place, self.history, self.filters = "stream", "", "", ""
        self.file_kind, self.delimiter, self.header, self.columns = "auto", "", "auto", ""
        self.charset, self.missing_values = "utf-8", ""
        self.dedupe, self.dedupe_key = "", ""
        self.measures: list[dict[str, str]] = []
        self.dimensions, self.rollups = "", "single"
        self.column, self.format, self.zone, self.delay_s = "", "", "UTC", 0
        self.validated: dict[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """Return the fields of a specification; a measure without a column is left out."""
        written = self.format_fields()
        found: dict[str, Any] = {
            "name": self.name.strip(),
            "description": self.description.strip(),
            "mode": "backtest" if self.kind == "files" else "continuous",
            "interval": self.interval.strip(),
            "zone": self.zone.strip() or "UTC",
            "delay_s": int(self.delay_s or 0),
            "rollups": self.rollups,
            "dedupe": self.dedupe,
            "dedupe_key": self.dedupe_key.strip(),
            "source": self.source_fields() | ({"format": written} if written else {}),
            "time": {"column": self.column.strip(), "format": self.format.strip()},
            "measures": [fields for one in self.measures if (fields := measure_fields(one))],
            "dimensions": _texts(self.dimensions),
            "filters": dict(_filter(text) for text in self.filters.split(";") if text.strip()),
        }
        if self.history.strip():
            found["history"] = {"paths": _texts(self.history)} | ({"format": written} if written else {})
        return found

    def source_fields(self) -> dict[str, Any]:
        """Return where the rows come from."""
        place: Any = _texts(self.place) if self.kind == "files" else self.place.strip()
        return {"kind": "stream" if self.kind == "rule" else self.kind, _FIELDS[self.kind]: place}

    def format_fields(self) -> dict[str, Any]:
        """Return how the files are written; what is left to be found in them is left out."""
        delimiter = "\t" if self.delimiter == "\\t" else self.delimiter
        found: dict[str, Any] = {
            "kind": "" if self.file_kind == "auto" else self.file_kind,
            "delimiter": delimiter,
            "charset": "" if self.charset.strip() == "utf-8" else self.charset.strip(),
            "columns": _texts(self.columns),
        }
        found = {key: value for key, value in found.items() if value}
        if self.header != "auto":
            found["header"] = self.header == "yes"
        if self.missing_values.strip():
            found["missing_values"] = ["", *_texts(self.missing_values)]
        return found

    def spec(self) -> DetectorSpec:
        """Return the specification.

        Raises:
            InvalidInput: A field is outside its domain; the message names it.
        """
        return DetectorSpec.from_json(self.fields())

    def learn(self, found: Row) -> None:
        """Fill in what the data say: measures, dimensions and time that the person has not named."""
        if not self.measures:
            self.measures = [
                {
                    "column": one.get("numerator") or one.get("column", one["name"]),
                    "denominator": one.get("denominator", ""),
                    "name": "",
                    "aggregation": one["aggregation"],
                }
                for one in found["measures"]
            ]
        self.dimensions = self.dimensions or ", ".join(found["dimensions"])
        if not self.column:
            self.column = found["time"]["column"]
        if not self.format and self.column == found["time"]["column"]:
            self.format = found["time"]["format"]


def measure_fields(one: dict[str, str]) -> dict[str, str]:
    """Return a measure's fields from a row of the wizard; none when the row names no column."""
    column, other, name = (one.get(key, "").strip() for key in ("column", "denominator", "name"))
    if not column:
        return {}
    if one["aggregation"] == "ratio":
        over = {"numerator": column, "denominator": other}
        return {"name": name or f"{column}/{other}", "aggregation": "ratio", **over}
    return {"name": name or column, "column": column, "aggregation": one["aggregation"]}


def _texts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _filter(text: str) -> tuple[str, list[str]]:
    column, equals, values = text.partition("=")
    if not equals:
        raise InvalidInput(f"filters: expected COLUMN=value,value, got {text.strip()!r}", field="filters")
    return column.strip(), _texts(values)


def open_wizard(console: Console) -> None:
    """Open the dialog; its last step saves and activates."""
    draft = Draft()
    width = "width: min(860px, 96vw); max-width: 96vw"
    with page_dialog("New detector", width=width, persistent=True) as (dialog, _):
        with ui.row().classes("items-center w-full"):
            title("New detector")
            ui.space()
            ui.button(icon="close", on_click=dialog.close).props("flat dense aria-label='Close'")
        with ui.stepper().props("vertical flat header-nav=false").classes("w-full") as steps:
            _detector_step(draft, steps)
            _data_step(draft, steps)
            _validation_step(console, draft, steps)
            _measures_step(draft, steps)
            _dimensions_step(draft, steps)
            _time_step(draft, steps)
            _review_step(console, draft, steps, dialog)


def _buttons(steps: ui.stepper, step: str, check: Any = None) -> None:
    """Draw Next and Back; Next first runs `check`, which may refuse."""

    async def forward() -> None:
        with telling_errors():
            if check is not None:
                check()
            steps.next()

    with ui.stepper_navigation():
        ui.button("Next", on_click=forward).props(f"aria-label='Next: after {step}'")
        if step != STEPS[0]:
            ui.button("Back", on_click=steps.previous).props("flat")


def _detector_step(draft: Draft, steps: ui.stepper) -> None:
    def check() -> None:
        DetectorSpec.from_json({"name": draft.name.strip(), "interval": draft.interval.strip()})

    with ui.step("Detector"):
        ui.input("Name").bind_value(draft, "name").classes("w-full").props("autofocus")
        ui.input("Description").bind_value(draft, "description").classes("w-full")
        ui.input("Interval", placeholder="5m, 10m, 1h, 1d or any other").bind_value(
            draft, "interval"
        ).classes("w-full")
        _buttons(steps, "Detector", check)


def _data_step(draft: Draft, steps: ui.stepper) -> None:
    with ui.step("Data set"):
        kind = (
            ui.select(_SOURCES, label="Where the rows come from").bind_value(draft, "kind").classes("w-full")
        )
        place = ui.input(_PLACES["stream"][0], placeholder=_PLACES["stream"][1]).bind_value(draft, "place")
        place.classes("w-full")

        def follow() -> None:
            label, example = _PLACES[kind.value]
            place.props(f'label="{label}" placeholder="{example}"')

        kind.on_value_change(follow)
        ui.input(
            "Historical files for a warm start, by commas", placeholder="/data/air/history.json"
        ).bind_value(draft, "history").classes("w-full")
        ui.input("Only rows with", placeholder="LOCATION_ID=B-101,B-102; KIND=outdoor").bind_value(
            draft, "filters"
        ).classes("w-full")
        _format_fields(draft)
        _buttons(steps, "Data set", draft.spec)


def _format_fields(draft: Draft) -> None:
    """Draw how files are written: all of it is found in them when nothing is said here."""
    with (
        ui.expansion("How files are written (found in them when left as it is)").classes("w-full"),
        ui.row().classes("w-full items-end"),
    ):
        ui.select(["auto", "csv", "json", "parquet"], label="Kind").bind_value(draft, "file_kind").style(
            "min-width: 100px"
        )
        ui.input("Delimiter", placeholder="; or \\t").bind_value(draft, "delimiter").style("width: 100px")
        ui.select(
            {"auto": "found", "yes": "names in the first row", "no": "none"}, label="Header"
        ).bind_value(draft, "header").style("min-width: 180px")
        ui.input("Charset").bind_value(draft, "charset").style("width: 120px")
        ui.input("Names of the columns, by commas", placeholder="TIMESTAMP,LOCATION_ID,CO").bind_value(
            draft, "columns"
        ).classes("w-full")
        ui.input("Texts that stand for no value, by commas", placeholder="-999, n/a").bind_value(
            draft, "missing_values"
        ).classes("w-full")


def _validation_step(console: Console, draft: Draft, steps: ui.stepper) -> None:
    with ui.step("Validation"):
        ui.label(
            "Reads the first 10,000 rows of each file and says what they hold. Nothing is stored."
        ).classes("mh-soft")

        async def validate() -> None:
            with telling_errors():
                found = await run.io_bound(console.masthead.metrics.validate, draft.spec())
                assert found is not None
                draft.validated = found.to_json()
                draft.learn(draft.validated)
                answer.clear()
                with answer:
                    show_validation(draft.validated)

        ui.button("Validate", icon="fact_check", on_click=validate).props("outline")
        answer = ui.column().classes("w-full")
        _buttons(steps, "Validation")


def _measures_step(draft: Draft, steps: ui.stepper) -> None:
    with ui.step("Measures"):
        ui.label("The numbers to watch, each combined over an interval").classes("mh-soft")

        @ui.refreshable
        def rows() -> None:
            for place, measure in enumerate(draft.measures, 1):
                with ui.row().classes("items-center w-full"):
                    _measure_row(measure, place, remove)

        def remove(measure: dict[str, str]) -> None:
            draft.measures.remove(measure)
            rows.refresh()

        def add() -> None:
            draft.measures.append({"column": "", "aggregation": "avg", "denominator": "", "name": ""})
            rows.refresh()

        def check() -> None:
            if not draft.fields()["measures"]:
                raise InvalidInput("measures: expected at least one, got none", field="measures")
            draft.spec()

        rows()
        steps.on_value_change(lambda event: rows.refresh() if event.value == "Measures" else None)
        ui.button("Another measure", icon="add", on_click=add).props("flat")
        _buttons(steps, "Measures", check)


def _measure_row(measure: dict[str, str], place: int, remove: Callable[[dict[str, str]], None]) -> None:
    """Draw a measure's fields; a ratio has a second column."""
    ui.input(f"Column {place}").bind_value(measure, "column").style("flex: 2; min-width: 120px")
    how = ui.select(_COMBINED, label="Combined by").bind_value(measure, "aggregation")
    how.style("flex: 2; min-width: 150px")
    ui.input(f"Divided by column {place}").bind_value(measure, "denominator").bind_visibility_from(
        how, "value", value="ratio"
    ).style("flex: 2; min-width: 120px")
    ui.input(f"Name {place}", placeholder="as the column").bind_value(measure, "name").style(
        "flex: 1; min-width: 110px"
    )
    ui.button(icon="close", on_click=lambda: remove(measure)).props(
        f"flat round dense aria-label='Leave out column {place}'"
    )


def _dimensions_step(draft: Draft, steps: ui.stepper) -> None:
    with ui.step("Dimensions"):
        ui.input("Columns of categories, by commas", placeholder="LOCATION_ID").bind_value(
            draft, "dimensions"
        ).classes("w-full")
        ui.select(_ROLLUPS, label="Roll-ups").bind_value(draft, "rollups").classes("w-full")
        ui.select(_DEDUPE, label="Rows that are equal in everything").bind_value(draft, "dedupe").classes(
            "w-full"
        )
        ui.input("Column that marks a row sent twice", placeholder="MESSAGE_ID").bind_value(
            draft, "dedupe_key"
        ).classes("w-full")
        _buttons(steps, "Dimensions", draft.spec)


def _time_step(draft: Draft, steps: ui.stepper) -> None:
    with ui.step("Time"):
        ui.input("Column with the time; empty, for a stream: time of arrival").bind_value(
            draft, "column"
        ).classes("w-full")
        ui.input("Its form", placeholder="yyyy-MM-dd HH:mm, iso, epoch_s, epoch_ms").bind_value(
            draft, "format"
        ).classes("w-full")
        ui.input(
            "Time zone, for times without an offset and for days", placeholder="UTC, Europe/Rome"
        ).bind_value(draft, "zone").classes("w-full")
        ui.number("Wait for late rows, seconds", min=0, max=432_000, format="%d").bind_value(
            draft, "delay_s"
        ).classes("w-full")
        _buttons(steps, "Time", lambda: draft.spec().require_complete())


def _review_step(console: Console, draft: Draft, steps: ui.stepper, dialog: ui.dialog) -> None:
    metrics = console.masthead.metrics

    async def save(activate: bool) -> None:
        with telling_errors():
            spec = draft.spec()
            if activate:  # looked at before it is stored, so that a refusal leaves nothing behind
                spec.require_complete()
                found = await run.io_bound(metrics.validate, spec)
                assert found is not None
                found.require_valid()
            detector = metrics.create_detector(spec)
            if activate:
                begin = metrics.backtest if spec.mode == "backtest" else metrics.activate
                begin(detector.name, validated=True)
            dialog.close()
            look_again()
            ui.navigate.to(f"/detectors/{detector.name}")

    with ui.step("Review"):
        review = ui.code("", language="toml").classes("w-full")

        def show() -> None:
            with telling_errors():
                review.set_content(draft.spec().to_toml())

        steps.on_value_change(lambda event: show() if event.value == "Review" else None)
        with ui.stepper_navigation():
            ui.button("Save and activate", icon="play_arrow", on_click=lambda: save(True))
            ui.button("Save only", on_click=lambda: save(False)).props("outline")
            ui.button("Back", on_click=steps.previous).props("flat")
