"""Detectors: the list, and one detector with its live chart, its groups and the quality of its data."""

from collections.abc import Mapping
from typing import Any

from nicegui import run, ui

from masthead.console.editor import open_editor
from masthead.console.groups import GROUP_COLUMNS, group_rows
from masthead.console.live import detector_chart
from masthead.console.parts import (
    Row,
    changed_rows,
    deleting,
    iso_time,
    look_again,
    number_card,
    on_this_page,
    or_missing,
    short_time,
    show_text,
    state_badge,
    table,
    telling_errors,
    title,
)
from masthead.console.shell import Console, follow, frame, link, watch
from masthead.console.verdict import show_validation
from masthead.console.wizard import open_wizard
from masthead.metrics.records import Detector
from masthead.metrics.service import EDITABLE

_STAYS = "Its groups, scores and alert rules go too; the objects it read stay."


def register(console: Console) -> None:
    """Make the pages `/ui/detectors` and `/ui/detectors/NAME`."""

    @ui.page("/detectors")
    def detectors_page() -> None:
        metrics = console.masthead.metrics
        with frame("detectors", "Detectors"):
            with ui.row().classes("items-center w-full"):
                ui.label("One detector watches one data set").classes("mh-soft")
                ui.space()
                ui.button("New detector", icon="add", on_click=lambda: open_wizard(console))
            detectors = table(
                (
                    ("name", "Name"),
                    ("state", "State"),
                    ("progress", "Progress"),
                    ("interval", "Interval"),
                    ("measures", "Measures"),
                    ("last", "Last interval (UTC)"),
                    ("late", "Late"),
                ),
                [],
                links="name",
                empty="No detectors yet: New detector leads through the steps",
                actions={
                    "Edit": ("edit", lambda row: _edit(console, row["name"])),
                    "Test": ("fact_check", lambda row: _validate(console, row["name"])),
                    "Delete": ("delete", deleting("detector", metrics.delete_detector, stays=_STAYS)),
                },
            )
            watch(lambda: changed_rows(detectors, [_row(detector) for detector in metrics.list_detectors()]))

    @ui.page("/detectors/{name}")
    def detector_page(name: str) -> None:
        with frame("detectors", name, trail=(("Detectors", "/detectors"),)), or_missing():
            console.masthead.metrics.get_detector(name)
            _head(console, name)
            detector_chart(console, name)
            _groups(console, name)
            _quality(console, name)
            _executions(console, name)


def _row(detector: Detector) -> Row:
    return {
        "name": detector.name,
        "href": link(f"/detectors/{detector.name}"),
        "state": detector.state,
        "progress": detector.failure or detector.progress.text,
        "interval": detector.spec.interval,
        "measures": ", ".join(measure.name for measure in detector.spec.measures) or "none yet",
        "last": short_time(detector.last_interval) or "none yet",
        "late": f"{detector.late:,}",
    }


async def _validate(console: Console, name: str) -> None:
    """Look at the detector's data and show what was found."""
    found = await run.io_bound(console.masthead.metrics.validate, name)
    assert found is not None
    with (
        ui.dialog(value=True).props("aria-label='Validation'") as dialog,
        ui.card().style("min-width: min(760px, 94vw)"),
    ):
        show_validation(found.to_json())
        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close)


def _edit(console: Console, name: str) -> None:
    """Open the specification as text; a field that is left out goes back to its default."""
    metrics = console.masthead.metrics
    spec = metrics.get_detector(name).spec.to_json()
    spec.pop("name")

    def save(fields: dict[str, Any]) -> None:
        metrics.update_detector(name, dict.fromkeys(spec) | fields)

    open_editor(
        f"Detector {name}",
        spec,
        save,
        note="A detector that runs is deactivated first. A field that is left out goes back to its default.",
    )


def _head(console: Console, name: str) -> None:
    """Draw state and verbs, which follow the state, and how far it has learned."""
    metrics = console.masthead.metrics

    async def delete() -> None:
        with on_this_page():
            await deleting("detector", metrics.delete_detector, stays=_STAYS)({"name": name})
            if name not in {detector.name for detector in metrics.list_detectors()}:
                ui.navigate.to("/detectors")

    async def do(verb: Any) -> None:
        with on_this_page():
            await run.io_bound(verb, name)
            look_again()

    async def test() -> None:
        with on_this_page():
            await _validate(console, name)

    def show() -> None:
        show_text(f"Detector {name}", metrics.get_detector(name).spec.to_toml(), "toml")

    async def deploy() -> None:
        with on_this_page():
            made = await run.io_bound(metrics.deploy, name)
            assert made is not None
            ui.notify(f"Endpoint {made.name} serves {made.about['model']}", type="positive")

    def verbs(state: str) -> None:
        with ui.row().classes("items-center"):
            for text, icon, verb in _verbs(console, name, state):
                ui.button(text, icon=icon, on_click=lambda _, verb=verb: do(verb)).props("outline")
            ui.button("Test", icon="fact_check", on_click=test).props("outline")
            if state in ("learning", "active", "stopped"):
                ui.button("Deploy", icon="api", on_click=deploy).props("outline")
            if state in EDITABLE:
                ui.button("Edit", icon="edit", on_click=lambda: _edit(console, name)).props("outline")
            ui.button("Show", icon="visibility", on_click=show).props("outline")
            ui.button("Log", icon="article", on_click=lambda: _to_log(name)).props("outline")
            ui.button("Delete", icon="delete", color="negative", on_click=delete).props("outline")

    with ui.row().classes("items-center w-full"):
        follow(lambda: _state(metrics.get_detector(name)), _draw_state)
        ui.space()
        follow(lambda: metrics.get_detector(name).state, verbs)
    follow(lambda: _learned(metrics.get_detector(name)), _draw_learned)


def _state(detector: Detector) -> tuple[str, str, str]:
    return detector.state, detector.failure, detector.progress.text


def _draw_state(seen: tuple[str, str, str]) -> None:
    state, failure, progress = seen
    with ui.row().classes("items-center"):
        state_badge(state)
        ui.label(failure or progress).classes("mh-tone text-negative" if failure else "mh-soft")


def _learned(detector: Detector) -> float | None:
    """Return the share of the intervals that a learning detector has seen; None when it does not learn."""
    if detector.state != "learning" or not detector.progress.needed:
        return None
    return detector.progress.seen / detector.progress.needed


def _draw_learned(share: float | None) -> None:
    if share is not None:
        ui.linear_progress(share, show_value=False).props("aria-label='Learned so far'")


def _to_log(name: str) -> None:
    ui.navigate.to(f"/logs?kind=detector&name={name}")


def _verbs(console: Console, name: str, state: str) -> list[tuple[str, str, Any]]:
    """Return (title, icon, verb) of what the state allows."""
    metrics = console.masthead.metrics
    if state in ("learning", "active"):
        return [("Deactivate", "stop", metrics.deactivate)]
    if state in ("created", "stopped", "failed", "backtested"):
        if metrics.get_detector(name).spec.mode == "backtest":
            return [("Run the backtest", "history", metrics.backtest)]
        return [("Activate", "play_arrow", metrics.activate)]
    return []


def _groups(console: Console, name: str) -> None:
    metrics = console.masthead.metrics

    def export() -> None:
        with telling_errors():
            ui.download.content(metrics.export_groups(name), f"{name}-anomalies.csv", "text/csv")

    with ui.row().classes("items-center w-full"):
        title("Anomalies")
        ui.label("from severity 50").classes("mh-soft")
        ui.space()
        ui.button("Export as CSV", icon="download", on_click=export).props("outline")
    groups = table(GROUP_COLUMNS, [], links="start", key="id", empty="No anomaly was found yet")
    watch(
        lambda: changed_rows(groups, group_rows(metrics.list_groups(name, min_severity=50, limit=100).items))
    )


# ------------------------------------------------------------------------------------------ data quality


def _quality(console: Console, name: str) -> None:
    """Draw what is known of the data: what the running detector counted, and what its files held."""
    title("Data quality")

    def cards(found: dict[str, Any]) -> None:
        with ui.row().classes("w-full items-stretch"):
            number_card("Rows", _count(found.get("rows")), "counted in intervals")
            number_card("Late", _count(found.get("late")), "after their interval had closed")
            number_card("Duplicates", _count(found.get("duplicates")), "dropped")
            number_card("Refused", _count(found.get("refused")), "in the error place, each with its reason")
        late = found.get("late_by_thing") or {}
        if late:
            text = ", ".join(
                f"{thing} {count:,}" for thing, count in sorted(late.items(), key=lambda one: -one[1])[:10]
            )
            ui.label(f"Late by thing: {text}").classes("mh-soft")
        if found.get("refused"):
            ui.label(f"Refused records lie in {found['error_place']}").classes("mh-soft")
        data = found.get("data") or {}
        _files_quality(data.get("history", data))

    follow(lambda: console.masthead.metrics.data_quality(name), cards, every_s=1.0)


def _files_quality(data: Mapping[str, Any]) -> None:
    """Draw what was found in history or files, which come once."""
    rows = [
        ("Rows in the files", _count(data.get("rows"))),
        ("First", iso_time(data.get("first"))),
        ("Last", iso_time(data.get("last"))),
        ("Intervals", _intervals(data)),
        ("Rows out of order", _count(data.get("out_of_order"))),
        ("Rows that repeat a time", _count(data.get("duplicate_stamps"))),
        (
            "Without a value",
            ", ".join(f"{name} {count:,}" for name, count in (data.get("missing") or {}).items() if count),
        ),
        (
            "Refused",
            ", ".join(f"{why} {count:,}" for why, count in (data.get("refused_by_reason") or {}).items()),
        ),
    ]
    table(
        (("what", "In the history and files"), ("value", "Found")),
        [{"what": what, "value": value or "none"} for what, value in rows] if data else [],
        key="what",
        empty="This detector has read no files.",
        page=20,
    )


def _intervals(data: Mapping[str, Any]) -> str:
    present, expected = data.get("intervals_present"), data.get("intervals_expected")
    return f"{present:,} of {expected:,}" if expected and present is not None else ""


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "0"


def _executions(console: Console, name: str) -> None:
    title("Activations and backtests")
    runs = table(
        (
            ("started", "Started (UTC)"),
            ("kind", "Kind"),
            ("state", "State"),
            ("text", "What it did"),
            ("failure", "Failure"),
        ),
        [],
        key="id",
        empty="It was never activated",
        page=5,
    )

    def update() -> None:
        found = console.masthead.metrics.executions(name).items
        changed_rows(
            runs,
            [
                {
                    "id": one.id,
                    "started": short_time(one.started),
                    "kind": one.kind,
                    "state": one.state,
                    "text": one.text,
                    "failure": one.failure,
                }
                for one in found
            ],
        )

    watch(update)
