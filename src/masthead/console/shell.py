"""The frame around every page: masthead, navigation, theme; and the one place that mounts NiceGUI.

The theme is a cookie, so that the server knows it before the first chart is drawn. Without the cookie a line of script
sets it to what the system prefers and loads the page once more.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import FastAPI
from nicegui import ui

from masthead.app import Masthead

PREFIX = "/ui"
COOKIE = "masthead_theme"
NAVIGATION = (
    ("overview", "Overview", "home", "/"),
    ("detectors", "Detectors", "monitor_heart", "/detectors"),
    ("groups", "Anomalies", "notifications_active", "/groups"),
    ("alerts", "Alerts", "campaign", "/alerts"),
    ("things", "Things", "sensors", "/things"),
    ("rules", "Rules", "alt_route", "/rules"),
    ("streams", "Streams", "water", "/streams"),
    ("logs", "Logs", "article", "/logs"),
)
_CHOOSE_THEME = f"""<script>
if (!document.cookie.includes('{COOKIE}=')) {{
  const theme = matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light';
  document.cookie = `{COOKIE}=${{theme}}; path=/; max-age=31536000; samesite=strict`;
  if (theme === 'dark') location.reload();
}}
</script>"""
_STYLE = """
:root { --mh-navy: #12304f; --mh-line: #dfe4ea; --mh-soft: #5b6775; --mh-page: #f6f8fa; --mh-card: #ffffff; }
body.body--dark { --mh-line: #2b3541; --mh-soft: #9aa7b5; --mh-page: #11161c; --mh-card: #19212a; }
body { background: var(--mh-page); }
.mh-card { background: var(--mh-card); border: 1px solid var(--mh-line); border-radius: 8px; padding: 16px; box-shadow: none; }
.mh-soft { color: var(--mh-soft); }
.mh-number { font-size: 1.75rem; line-height: 2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.mh-title { font-size: 1.25rem; font-weight: 600; }
.mh-here { background: rgba(64, 132, 196, .14); border-radius: 6px; font-weight: 600; }
.q-table { font-variant-numeric: tabular-nums; }
a:focus-visible, button:focus-visible { outline: 2px solid #4084c4; outline-offset: 2px; }
"""


class Devices(Protocol):
    """What the pages ask of the devices' door, when this server has one."""

    def state(self) -> dict[str, Any]:
        """Return what is connected, the lag, the rate and the size of the stream."""

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing: topic, payload, arrived."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages read: the product, and the devices' door (None when that role is not run)."""

    masthead: Masthead
    devices: Devices | None

    def devices_state(self) -> dict[str, Any]:
        """Return the door's state; empty without a door."""
        return self.devices.state() if self.devices else {}

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing; empty without a door."""
        return self.devices.last_readings() if self.devices else {}


def mount(api: FastAPI, masthead: Masthead, devices: Devices | None) -> None:
    """Make every page and mount them under `/ui`. Nothing that a page loads lies on another machine."""
    from masthead.console.pages import PAGES

    console = Console(masthead, devices)
    for make in PAGES:
        make(console)
    ui.run_with(api, mount_path=PREFIX, title="Masthead", show_welcome_message=False, reconnect_timeout=10)


def is_dark() -> bool:
    """Return whether the page being made is dark."""
    request = ui.context.client.request
    return request is not None and request.cookies.get(COOKIE) == "dark"


def link(path: str) -> str:
    """Return the address of a page as a link inside the console needs it."""
    return PREFIX + path.rstrip("/") if path != "/" else PREFIX + "/"


@contextlib.contextmanager
def frame(section: str, title: str, *, trail: tuple[tuple[str, str], ...] = ()) -> Iterator[None]:
    """Draw the frame; what is made inside stands in the page's body.

    Args:
        section: Which entry of the navigation is the present one.
        title: Of the page and of the browser's tab.
        trail: (text, path) of the pages above, in order.
    """
    dark = is_dark()
    ui.page_title(f"{title} - Masthead")
    ui.add_head_html(_CHOOSE_THEME)
    ui.add_css(_STYLE)
    ui.dark_mode(dark)
    ui.colors(
        primary="#2b6cb0",
        secondary="#12304f",
        accent="#c05621",
        positive="#2f855a",
        negative="#c53030",
        warning="#b7791f",
    )
    with (
        ui.left_drawer(value=True, bordered=True)
        .props("width=200 breakpoint=900")
        .classes("q-pa-sm") as drawer
    ):
        _navigation(section)
    with ui.header(elevated=False).classes("items-center q-px-md q-py-xs").style("background: #12304f"):
        ui.button(icon="menu", on_click=drawer.toggle).props("flat dense color=white aria-label='Navigation'")
        with ui.link(target=link("/")).classes("no-underline text-white row items-center q-gutter-xs"):
            ui.icon("visibility", size="sm")
            ui.label("Masthead").classes("text-h6")
        ui.space()
        icon, label = ("light_mode", "Light theme") if dark else ("dark_mode", "Dark theme")
        ui.button(icon=icon, on_click=lambda: _switch_theme(dark)).props(
            f"flat dense color=white aria-label='{label}'"
        )
    with ui.column().classes("w-full q-pa-md").style("max-width: 1440px; margin: 0 auto; gap: 16px"):
        with ui.row().classes("items-center w-full").style("gap: 8px"):
            for text, path in trail:
                ui.link(text, link(path)).classes("mh-soft")
                ui.label("/").classes("mh-soft")
            ui.label(title).classes("mh-title").props("role=heading aria-level=1")
        yield


def _navigation(section: str) -> None:
    with ui.element("nav").props("aria-label='Sections'").classes("column").style("gap: 2px"):
        for key, text, icon, path in NAVIGATION:
            entry = (
                ui.link(target=link(path))
                .classes("no-underline row items-center q-pa-sm")
                .style("gap: 10px; color: inherit")
            )
            if key == section:
                entry.classes("mh-here").props("aria-current=page")
            with entry:
                ui.icon(icon, size="20px")
                ui.label(text)


def _switch_theme(dark: bool) -> None:
    theme = "light" if dark else "dark"
    ui.run_javascript(
        f"document.cookie = '{COOKIE}={theme}; path=/; max-age=31536000; samesite=strict'; location.reload()"
    )


def watch(update: Callable[[], None], *, every_s: float = 2.0) -> None:
    """Call `update` now and every so often while the page is open; the timer ends with its page."""
    update()
    ui.timer(every_s, update)


__all__ = ["Console", "frame", "is_dark", "link", "mount", "watch"]
