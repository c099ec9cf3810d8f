"""How decisions turned out: precision and recall of all that is known, and of the sample that nobody looked into."""

from typing import Any

from nicegui import ui

from masthead.base.clock import DAY_US
from masthead.console.beside import Beside
from masthead.console.fraud_parts import LIVE, rate
from masthead.console.parts import title
from masthead.console.shell import Console, watch
from masthead.console.tables import changed_rows, table

_DAYS = 120  # label.maturity of most is 60: as long again lies behind it
_COLUMNS = (
    ("name", "Decisions"),
    ("decided", "Made"),
    ("known", "Outcome known"),
    ("flagged", "Flagged"),
    ("caught", "Of these fraud"),
    ("frauds", "Frauds"),
    ("precision", "Precision"),
    ("recall", "Recall"),
)
_NAMES = {"all": "All", "released": "Released, and passed of the same draw"}
_NOTE = (
    f"Real transactions of the last {_DAYS} days. Who is reviewed is a chosen sample, so a share of would-be reviews can "
    "be released unreviewed: masthead fraud deploy NAME --release-share 0.01. Of these only what is mature counts."
)
Json = dict[str, Any]


def outcomes_part(console: Console) -> None:
    """Draw the outcomes; they are counted anew each minute."""
    with ui.column().classes("mh-card w-full").style("gap: 10px"):
        with ui.row().classes("items-center w-full"):
            title("Outcomes")
            word = ui.label("is being counted").classes("mh-soft").props("role=status")
        rows = table(_COLUMNS, [], empty="No decision was made yet")
        ui.label(_NOTE).classes("mh-soft")

    masthead = console.masthead  # asked in another thread, which knows no page

    def ask(space: str) -> Json:
        newest = masthead.portal.newest(space=space)
        if newest is None:
            return {}
        return masthead.fraud.outcomes(space=space, start=max(0, newest - _DAYS * DAY_US))

    def draw(found: Json) -> None:
        word.text = ""
        changed_rows(rows, [_row(name, told) for name, told in found.items()])

    def refuse(why: str) -> None:
        word.text = why

    outcomes = Beside(ask, draw, refuse)
    watch(lambda: outcomes.follow(LIVE), every_s=1.0)


def _row(name: str, told: Json) -> Json:
    counts = {field: f"{told[field]:,}" for field in ("decided", "known", "flagged", "caught", "frauds")}
    shares = {field: rate(told[field]) or "-" for field in ("precision", "recall")}
    return {"name": _NAMES[name], **counts, **shares}
