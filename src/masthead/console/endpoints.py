"""Endpoints: which models answer under which names, and what is counted of their calls."""

from nicegui import ui

from masthead.base.units import format_bytes
from masthead.console.parts import Row, changed_rows, deleting, short_time, show_json, table
from masthead.console.shell import Console, frame, watch
from masthead.learn.records import Endpoint, Usage


def register(console: Console) -> None:
    """Make the page `/ui/endpoints`."""

    @ui.page("/endpoints")
    def endpoints_page() -> None:
        endpoints = console.masthead.endpoints
        with frame("endpoints", "Endpoints"):
            ui.label("Models that answer over the API. Deploy a detector on its page.").classes("mh-soft")
            drawn = table(
                (
                    ("name", "Name"),
                    ("model", "Model"),
                    ("learned", "Learned until (UTC)"),
                    ("calls", "Calls"),
                    ("errors", "Errors"),
                    ("p50", "p50"),
                    ("p99", "p99"),
                    ("last", "Last called (UTC)"),
                    ("memory", "Memory"),
                ),
                [],
                empty="No endpoints yet: the page of a detector that has learned deploys it",
                actions={
                    "Describe": ("visibility", lambda row: _describe(console, row["name"])),
                    "Log": (
                        "article",
                        lambda row: ui.navigate.to(f"/logs?kind=endpoint&name={row['name']}"),
                    ),
                    "Delete": (
                        "delete",
                        deleting("endpoint", endpoints.delete, stays="Calls will not find it any more."),
                    ),
                },
            )
            watch(lambda: changed_rows(drawn, [_row(one) for one in console.masthead.list_endpoints()]))


def _row(endpoint: Endpoint) -> Row:
    found, about = endpoint.to_json(), endpoint.about
    until = about.get("learned_until")
    return {
        "name": endpoint.name,
        "model": found["model"],
        "learned": str(until)[:16].replace("T", " ") if until else "",
        "calls": f"{found['calls']:,}",
        "errors": f"{found['errors']:,}",
        "p50": _milliseconds(found["p50_ms"]),
        "p99": _milliseconds(found["p99_ms"]),
        "last": _last(endpoint.total),
        "memory": format_bytes(int(about.get("bytes", 0))),
    }


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:g} ms"


def _last(usage: Usage) -> str:
    return short_time(usage.last) or "never"


def _describe(console: Console, name: str) -> None:
    """Show all that is known of an endpoint, its calls per key among it."""
    show_json(f"Endpoint {name}", console.masthead.get_endpoint(name).to_json())
