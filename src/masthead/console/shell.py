"""The frame around every page: masthead, navigation, theme; and the one place that mounts NiceGUI.

The theme is a cookie, so that the server knows it before the first chart is drawn. One cookie holds what the user chose;
until there is a choice, another holds what the system prefers, which a script follows and loads the page once more for.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI
from nicegui import app as pages
from nicegui import ui
from starlette.middleware.gzip import GZipMiddleware

from masthead.access.visit import VISIT, Refused, SignedOut
from masthead.app import Masthead
from masthead.base.errors import MastheadError, NotFound
from masthead.console.guard import Guard

_Seen = TypeVar("_Seen")
PREFIX = "/ui"
COOKIE, SYSTEM_COOKIE = "masthead_theme_chosen", "masthead_theme_system"
NAVIGATION = (
    ("overview", "Overview", "home", "/"),
    ("detectors", "Detectors", "monitor_heart", "/detectors"),
    ("groups", "Anomalies", "notifications_active", "/groups"),
    ("alerts", "Alerts", "campaign", "/alerts"),
    ("fraud", "Fraud", "credit_card", "/fraud"),
    ("endpoints", "Endpoints", "api", "/endpoints"),
    ("things", "Things", "sensors", "/things"),
    ("policies", "Policies", "policy", "/policies"),
    ("rules", "Rules", "alt_route", "/rules"),
    ("streams", "Streams", "water", "/streams"),
    ("logs", "Logs", "article", "/logs"),
)
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><rect width="24" height="24" rx="5" fill="#12304f"/>'
    '<path d="M3 12c3-5 6-7 9-7s6 2 9 7c-3 5-6 7-9 7s-6-2-9-7z" fill="#fff"/><circle cx="12" cy="12" r="3.5" '
    'fill="#12304f"/></svg>'
)
_STYLE = """
:root { --mh-line: #dfe4ea; --mh-soft: #556270; --mh-page: #f6f8fa; --mh-card: #ffffff; --mh-link: #1f5f9e; }
body.body--dark { --mh-line: #2b3541; --mh-soft: #a3b0be; --mh-page: #11161c; --mh-card: #19212a; --mh-link: #8cc2f2; }
body, .q-drawer { background: var(--mh-page) !important; }
.q-drawer { border-color: var(--mh-line) !important; }
.q-dialog .q-card { background: var(--mh-card); }
.q-stepper { background: transparent !important; }
.q-stepper__tab--active .q-stepper__title, .q-stepper__tab--done .q-stepper__title { color: var(--mh-link); }
.mh-card { background: var(--mh-card); border: 1px solid var(--mh-line); border-radius: 8px; padding: 16px; box-shadow: none; }
.mh-table { padding: 6px 16px; }
.mh-table th { font-weight: 600; color: var(--mh-soft); }
.mh-table th, .mh-table td { border-color: var(--mh-line) !important; }
.mh-table .q-table__bottom { min-height: 32px; border: 0; }
.mh-soft { color: var(--mh-soft); }
.mh-table .mh-verbs { white-space: nowrap; }
.mh-number { font-size: 1.75rem; line-height: 2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.mh-title { font-size: 1.15rem; font-weight: 600; }
.mh-here { background: rgba(64, 132, 196, .16); font-weight: 600; }
.mh-row { width: 100%; padding: 10px 14px; display: grid; grid-template-columns: minmax(90px, max-content) 1fr; gap: 2px 14px; }
.mh-row > div { overflow-wrap: anywhere; min-width: 0; }
.mh-row > .mh-row-verbs { grid-column: 1 / -1; }
.mh-folded .q-table__grid-content { gap: 8px; }
.mh-folded .q-table__bottom { border: 0; }
.mh-half { flex: 1; min-width: min(340px, 100%); }
a.mh-figure > .mh-card { height: 100%; }
.mh-figure { flex: 1; min-width: 150px; gap: 2px; }
.mh-nav a { border-radius: 6px; width: 100%; }
.mh-nav a:hover { background: rgba(64, 132, 196, .10); }
.mh-link { color: var(--mh-link); text-decoration: none; }
.mh-link:hover { text-decoration: underline; }
.mh-editor textarea { font: 13px/1.5 ui-monospace, monospace; }
.mh-log { font: 12px/1.5 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
body.body--dark .q-btn--outline, body.body--dark .q-btn--flat, body.body--dark .q-field, body.body--dark .mh-tone {
  --q-primary: #8cc2f2; --q-negative: #fc8181; --q-positive: #68d391; --q-warning: #f0b429; }
.q-table { font-variant-numeric: tabular-nums; }
.q-btn .on-left { font-size: 18px; margin-right: 6px; }
a:focus-visible, button:focus-visible, .q-btn:focus-visible { outline: 2px solid #4084c4; outline-offset: 2px; }
@media (max-width: 599px) {
  .nicegui-content { padding: 0; }
  .mh-number { font-size: 1.35rem; line-height: 1.6rem; }
}
"""


class Devices(Protocol):
    """What the pages ask of the devices' door, when this server has one."""

    def state(self) -> dict[str, Any]:
        """Return what is connected, the lag, the rate and the size of the stream."""

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing: topic, payload, arrived."""


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages read: the product, and the devices' door (None when that role is not run).

    Whatever a page asks is asked on behalf of who looks at it; `guard` refuses what their key may not do.
    """

    whole: Masthead
    devices: Devices | None

    @property
    def masthead(self) -> Masthead:
        """Return the product as the page's visitor may use it."""
        return self._guard().product()

    def devices_state(self) -> dict[str, Any]:
        """Return the door's state; empty without a door."""
        found: dict[str, Any] = self._guard().do("devices_state", self.devices.state) if self.devices else {}
        return found

    def last_readings(self) -> dict[str, dict[str, Any]]:
        """Return the last reading of each thing; empty without a door."""
        devices = self.devices
        found: dict[str, Any] = self._guard().do("last_readings", devices.last_readings) if devices else {}
        return found

    def _guard(self) -> Guard:
        request = ui.context.client.request
        return Guard(self.whole, request.scope.get(VISIT) if request is not None else None)


def mount(api: FastAPI, masthead: Masthead, devices: Devices | None) -> None:
    """Make every page and mount them under `/ui`. Nothing that a page loads lies on another machine."""
    from masthead.console.pages import PAGES

    console = Console(masthead, devices)
    ui.button.default_props("no-caps unelevated")
    for make in PAGES:
        make(console)
    # Ours rather than NiceGUI's own, which leaves the gzip out when it sees a test: what is measured is what is served.
    pages.add_middleware(GZipMiddleware, minimum_size=500)
    ui.run_with(
        api,
        mount_path=PREFIX,
        title="Masthead",
        favicon=_ICON,
        language="en-US",
        show_welcome_message=False,
        reconnect_timeout=10,
        gzip_middleware_factory=None,
    )


def is_dark() -> bool:
    """Return whether the page being made is dark."""
    request = ui.context.client.request
    cookies = {} if request is None else request.cookies
    return (cookies.get(COOKIE) or cookies.get(SYSTEM_COOKIE)) == "dark"


def link(path: str) -> str:
    """Return a page's address as plain HTML needs it; NiceGUI's own links and `navigate` add the prefix themselves."""
    return PREFIX + path


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
    ui.add_head_html(_follow_theme(dark))
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
    # The browser shows it where there is room, and tells; asking the browser would need its answer within a second.
    with (
        ui.left_drawer(value=False, bordered=True)
        .props("width=200 breakpoint=900 show-if-above")
        .classes("q-pa-sm") as drawer
    ):
        _navigation(section)
    with ui.header(elevated=False).classes("items-center q-px-md q-py-xs").style("background: #12304f"):
        ui.button(icon="menu", on_click=drawer.toggle).props("flat dense color=white aria-label='Navigation'")
        with ui.link(target="/").classes("no-underline text-white row items-center q-gutter-xs"):
            ui.icon("visibility", size="sm")
            ui.label("Masthead").classes("text-h6")
        ui.space()
        icon, label = ("light_mode", "Light theme") if dark else ("dark_mode", "Dark theme")
        ui.button(icon=icon, on_click=lambda: _switch_theme(dark)).props(
            f"flat dense color=white aria-label='{label}'"
        )
        ui.button(icon="logout", on_click=_sign_out).props("flat dense color=white aria-label='Sign out'")
    with ui.column().classes("w-full q-pa-md").style("max-width: 1440px; margin: 0 auto; gap: 16px"):
        with ui.row().classes("items-center w-full").style("gap: 8px"):
            for text, path in trail:
                ui.link(text, path).classes("mh-link")
                ui.label("/").classes("mh-soft")
            ui.label(title).classes("mh-title").props("role=heading aria-level=1")
        try:
            yield
        except (Refused, SignedOut) as error:
            _told_instead(error)


def _navigation(section: str) -> None:
    with ui.element("nav").props("aria-label='Sections'").classes("column mh-nav w-full").style("gap: 2px"):
        for key, text, icon, path in NAVIGATION:
            entry = (
                ui.link(target=path)
                .classes("no-underline row items-center q-pa-sm")
                .style("gap: 10px; color: inherit")
            )
            if key == section:
                entry.classes("mh-here").props("aria-current=page")
            with entry:
                ui.icon(icon, size="20px")
                ui.label(text)


def _follow_theme(dark: bool) -> str:
    """Return the script that loads a page again where the system prefers another theme and the user has chosen none."""
    return f"""<script>
{{
  const system = matchMedia('(prefers-color-scheme: dark)');
  const follow = () => {{
    const theme = system.matches ? 'dark' : 'light', told = `{SYSTEM_COOKIE}=${{theme}}`;
    document.cookie = `${{told}}; path=/; max-age=31536000; samesite=strict`;
    // What somebody is writing must not go with the page: then the next page follows.
    const busy = document.querySelector('.q-dialog, input:focus, textarea:focus');
    const free = document.cookie.includes(told) && !document.cookie.includes('{COOKIE}=');
    if (theme !== '{"dark" if dark else "light"}' && free && !busy) location.reload();
  }};
  follow();
  system.addEventListener('change', follow);
}}
</script>"""


def _switch_theme(dark: bool) -> None:
    theme = "light" if dark else "dark"
    ui.run_javascript(
        f"document.cookie = '{COOKIE}={theme}; path=/; max-age=31536000; samesite=strict'; location.reload()"
    )


def _sign_out() -> None:
    """End the session by a form, as the sign-in page began it: only an answer to the browser can take the cookie back."""
    ui.run_javascript(
        "const form = document.createElement('form'); form.method = 'post'; "
        f"form.action = '{PREFIX}/signout'; document.body.append(form); form.submit()"
    )


def _told_instead(error: MastheadError) -> None:
    """Say in the place of a part why it is not shown."""
    with ui.row().classes("items-center w-full").props("role=status"):
        ui.icon("lock", size="20px").classes("mh-soft")
        ui.label(error.message).classes("mh-soft").style("overflow-wrap: anywhere")
    if isinstance(error, SignedOut):
        ui.navigate.to("/signin")


def watch(update: Callable[[], None], *, every_s: float = 2.0) -> None:
    """Call `update` now and every so often while the page is open; the timer ends with its page.

    When what the page is about is deleted, or may not be seen any more, the page stays as it was last seen and no longer
    asks. What may not be seen at all is told in its place.
    """

    def look() -> None:
        try:
            update()
        except (NotFound, Refused) as error:
            timer.deactivate()
            ui.notify(error.message, type="warning")
        except SignedOut:
            timer.deactivate()
            ui.navigate.to("/signin")

    try:
        update()
    except (Refused, SignedOut) as error:
        _told_instead(error)
        return
    timer = ui.timer(every_s, look, immediate=False)


def follow(read: Callable[[], _Seen], draw: Callable[[_Seen], None], *, every_s: float = 2.0) -> None:
    """Draw what `read` gives, here and now; draw it anew only when `read` gives something else.

    What a person is about to click must not be drawn anew under the hand: give `read` no more than `draw` shows.
    """
    try:
        shown = read()
    except (Refused, SignedOut) as error:
        _told_instead(error)
        return

    @ui.refreshable
    def part() -> None:
        draw(shown)

    def update() -> None:
        nonlocal shown
        now = read()
        if now != shown:
            shown = now
            part.refresh()

    part()
    watch(update, every_s=every_s)


__all__ = ["Console", "follow", "frame", "is_dark", "link", "mount", "watch"]
