"""Runs of the pipeline as the state machine that they are: steps in order, with state, time, progress and error."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from nicegui import ui

from masthead.base.errors import NotFound
from masthead.base.units import format_duration
from masthead.console.fraud_parts import LIVE, sections
from masthead.console.parts import STATES, confirmed, on_this_page, short_time, show_text, title
from masthead.console.shell import Console, frame, link, watch
from masthead.console.tables import Row, changed_rows, table

_RUNS = (
    ("id", "Run"),
    ("state", "State"),
    ("step", "Step"),
    ("created", "Begun (UTC)"),
    ("error", "Error"),
)
_NOTHING = "No run yet. masthead fraud pipeline start --config FILE begins one, or Retrain on the page of the models."
_SHOWN = ("rows", "matched", "transactions", "positives", "loaded", "labels", "model", "action", "endpoint")
_STYLE = """
.mh-steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(230px, 100%), 1fr)); gap: 14px; width: 100%;
  list-style: none; padding: 0; margin: 0; counter-reset: step; }
.mh-step { border: 1px solid var(--mh-line); border-left: 5px solid var(--mh-line); border-radius: 8px; padding: 10px 12px;
  display: flex; flex-direction: column; gap: 4px; position: relative; min-width: 0; }
.mh-step.running { border-left-color: #4084c4; box-shadow: 0 0 0 1px #4084c4; }
.mh-step.done { border-left-color: #2f855a; }
.mh-step.failed, .mh-step.interrupted, .mh-step.cancelled { border-left-color: #c53030; }
.mh-step:not(:last-child)::after { content: '\\2192'; position: absolute; right: -13px; top: 8px; color: var(--mh-soft); }
.mh-step div { overflow-wrap: anywhere; }
"""


def register(console: Console) -> None:
    """Make the page `/ui/fraud/pipelines`."""

    @ui.page("/fraud/pipelines")
    def pipelines_page(run: str = "") -> None:
        with frame("fraud", "Pipelines", trail=(("Fraud", "/fraud"),)):
            ui.add_css(_STYLE)
            sections(console, "Pipelines", LIVE)
            machine = _machine(console, run)
            title("Runs")
            runs = table(_RUNS, [], key="id", links="id", page=10, empty=_NOTHING)

            def update() -> None:
                found = console.masthead.pipelines.list()
                changed_rows(runs, [_run_row(one) for one in found])
                if run or found:
                    machine()

            watch(update, every_s=1.0)


def _run_row(one: dict[str, Any]) -> Row:
    return {
        "id": one["id"],
        "state": one["state"],
        "step": one["step"],
        "created": short_time(datetime.fromtimestamp(one["created"], UTC)),
        "error": one["error"][:200],
        "href": link(f"/fraud/pipelines?run={quote(one['id'])}"),
    }


@dataclass(frozen=True, slots=True)
class _Step:
    """The drawing of one step; what it shows changes in place."""

    box: ui.element
    badge: ui.badge
    time: ui.label
    bar: ui.linear_progress
    note: ui.label

    def show(self, step: dict[str, Any], run: dict[str, Any]) -> None:
        """Show a step as it is now."""
        state, now = step["state"], step["name"] == run["step"]
        progress = run["progress"] if now and state != "done" else {}
        self.box.classes(replace=f"mh-step {state}")
        if self.badge.text != state:
            self.badge.text = state
            self.badge.props(f"color={STATES.get(state, 'grey-8')}")
        seconds = step["seconds"] if step["seconds"] is not None else progress.get("seconds")
        limit = f"at most {format_duration(step['limit_s'])}"
        self.time.text = limit if seconds is None else f"{seconds:,.1f} s of {limit}"
        self.bar.visible = state == "running"
        self.bar.value = progress["done"] / progress["total"] if progress.get("total") else 0.0
        failed = now and state in ("failed", "interrupted", "cancelled")
        self.note.text = run["error"] if failed and run["error"] else _found(step) or _under_way(progress)
        self.note.classes(replace="text-negative mh-tone" if failed and run["error"] else "mh-soft")


def _found(step: dict[str, Any]) -> str:
    output = step["output"]
    if output is None:
        return ""
    if "skipped" in output:
        return f"skipped: {output['skipped']}"
    shown = [f"{name} {output[name]}" for name in _SHOWN if output.get(name) not in (None, "", {})]
    return ", ".join(shown)


def _under_way(progress: dict[str, Any]) -> str:
    if not progress:
        return ""
    share = f"{100 * progress['done'] / progress['total']:.0f} %: " if progress.get("total") else ""
    return share + str(progress.get("message", ""))


def _machine(console: Console, id: str) -> Callable[[], None]:
    """Draw a run, "" = the newest, and return what brings it up to date."""
    with ui.column().classes("mh-card w-full").style("gap: 12px") as card:
        with ui.row().classes("items-center w-full"):
            head = title("Run")
            badge = ui.badge("", color="grey-8")
            told = ui.label().classes("mh-soft").props("role=status")
            ui.space()
            resume = ui.button("Resume", icon="play_arrow", on_click=lambda: _resume(console, drawn["id"]))
            cancel = ui.button("Cancel", icon="stop", on_click=lambda: _cancel(console, drawn["id"]))
            cancel.props("outline color=negative")
        steps = ui.element("ol").classes("mh-steps").props("aria-label='Steps in their order'")
    card.visible = False
    drawn: dict[str, Any] = {"id": "", "steps": {}}

    def update() -> None:
        try:
            found = console.masthead.pipelines.get(id)
        except NotFound:
            card.visible = False
            return
        card.visible = True
        if drawn["id"] != found["id"]:
            steps.clear()
            with steps:
                drawn.update(id=found["id"], steps=_draw_all(console, found))
        head.text = found["id"]
        if badge.text != found["state"]:
            badge.text = found["state"]
            badge.props(f"color={STATES.get(found['state'], 'grey-8')}")
        told.text = _told(found)
        again = found["state"] == "failed" and found["resume"]  # without it, it would fail again
        resume.visible = bool(again) or found["state"] in ("cancelled", "interrupted")
        cancel.visible = found["state"] in ("waiting", "running")
        for one in found["steps"]:
            drawn["steps"][one["name"]].show(one, found)

    return update


def _told(found: dict[str, Any]) -> str:
    config = found["config"]
    for_whom = f"to {config['endpoint']}" if config["endpoint"] else "without an endpoint"
    if config["challenges"]:
        for_whom = f"a challenger of {config['challenges']}, from what is stored"
    done = sum(one["state"] == "done" for one in found["steps"])
    return f"{for_whom}; {done} of {len(found['steps'])} steps done, attempt {found['attempt']}"


def _draw_all(console: Console, found: dict[str, Any]) -> dict[str, _Step]:
    return {
        one["name"]: _draw(console, found["id"], place, one["name"])
        for place, one in enumerate(found["steps"], start=1)
    }


def _draw(console: Console, run: str, place: int, name: str) -> _Step:
    with ui.element("li").classes("mh-step") as box:
        with ui.row().classes("items-center w-full no-wrap").style("gap: 8px"):
            ui.label(f"{place}. {name}").classes("text-weight-medium")
            ui.space()
            ui.button(icon="article", on_click=lambda: _log(console, run, name)).props(
                f"flat dense size=sm aria-label='Log of {name}'"
            )
        badge = ui.badge("", color="grey-8").style("align-self: flex-start")
        time = ui.label().classes("mh-soft text-caption")
        bar = ui.linear_progress(value=0, show_value=False).props(f"aria-label='Progress of {name}'")
        note = ui.label().classes("mh-soft")
    return _Step(box, badge, time, bar, note)


def _log(console: Console, run: str, step: str) -> None:
    with on_this_page():
        show_text(f"{step}: what it printed", console.masthead.pipelines.log(run, step) or "nothing", "text")


def _resume(console: Console, run: str) -> None:
    with on_this_page():
        console.masthead.pipelines.resume(run)


async def _cancel(console: Console, run: str) -> None:
    cancel = console.masthead.pipelines.cancel
    with on_this_page():
        if await confirmed(
            "Cancel this run? It can be resumed behind its last finished step.", verb="Cancel run"
        ):
            cancel(run)
