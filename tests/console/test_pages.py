"""Each page opened in a real browser, light and dark: what a person looks for is there, and nothing else goes wrong."""

import re

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

# address -> (heading, texts that a person looks for)
PAGES = {
    "/": (
        "Overview",
        (
            "Detectors running",
            "Open anomalies",
            "Needs attention",
            "days left: renew it",
            "Client id pump is used by B-101 and B-102 in turn",
            "SO2",
        ),
    ),
    "/detectors": ("Detectors", ("air", "active", "CO, SO2, NO2")),
    "/detectors/air": ("air", ("Live", "CO, LOCATION_ID B-101", "Data quality", "Duplicates", "activation")),
    "/groups": ("Anomalies", ("SO2", "CO", "a value never seen before", "B-101 100 %", "high")),
    "/alerts": ("Alerts", ("Delivered", "tell-the-night", "webhook", "delivered")),
    "/fraud": (
        "Fraud",
        ("Counted back from the newest transaction", "Recently flagged", "Latency", "Simulate"),
    ),
    "/fraud/rings": ("Rings", ("No ring in the last 30 days",)),
    "/fraud/models": (
        "Models",
        ("Deployed", "No model is deployed", "Outcomes", "No decision", "Drift", "nothing is deployed"),
    ),
    "/fraud/pipelines": ("Pipelines", ("Runs", "No run yet")),
    "/endpoints": ("Endpoints", ("Models that answer over the API", "Deploy a detector on its page")),
    "/things": ("Things", ("B-101", "connected", "B-102", "TIMESTAMP")),
    "/things/B-102": (
        "B-102",
        (
            "SHA-256",
            "sensors/B-101/air",
            "7",
            "none since the start",
            "client id pump is used by B-101 and B-102 in turn",
            "41",
        ),
    ),
    "/policies": ("Policies", ("sensor", "north-only", "B-101, B-102")),
    "/rules": (
        "Topic rules",
        ("keep-air", "SELECT * FROM 'sensors/+/air'", "delivery stream air-to-objects"),
    ),
    "/streams": ("Streams", ("Lag", "batches not yet taken", "5.15 MiB", "air-to-objects")),
    "/logs": ("Logs", ("activating", "created")),
}
NEVER = re.compile(r"\b(NaN|None|undefined|null|nan|inf|Infinity|Traceback)\b|\[object")


@pytest.mark.parametrize("path", PAGES)
def test_a_page_shows_what_a_person_looks_for(visit, path):
    heading, texts = PAGES[path]
    page = visit.open(path, heading)
    for text in texts:
        expect(page.locator("body")).to_contain_text(text)
    expect(page.locator("[aria-current=page]")).to_have_count(1)
    assert not NEVER.findall(page.inner_text("body"))


@pytest.fixture(scope="session")
def dark_context(browser: Browser, world) -> BrowserContext:
    found = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme="dark")
    found.set_default_timeout(15_000)
    world.let_in(found)
    yield found
    found.close()


def _shine(colour: str) -> float:
    """Return the relative luminance of `rgb(...)`; WCAG 2.2, "relative luminance"."""
    parts = [int(float(part)) / 255 for part in re.findall(r"[\d.]+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: str, other: str) -> float:
    brighter, darker = sorted((_shine(one), _shine(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_a_system_that_prefers_dark_gets_dark_pages_with_readable_text_and_may_switch(dark_context, world):
    page = dark_context.new_page()
    page.goto(world.url + "/detectors/air")
    expect(page.locator("body.body--dark")).to_be_visible()
    # Asked in one go: a part that is drawn anew between look and question has no colour any more.
    colour = "name => [...document.querySelectorAll(name)].map(one => getComputedStyle(one).color).at(-1)"
    card = page.locator(".mh-card").first.evaluate("element => getComputedStyle(element).backgroundColor")
    for one in (".mh-soft", ".mh-link", ".q-btn--outline"):
        expect(page.locator(one).last).to_be_visible()
        assert _contrast(page.evaluate(colour, one), card) >= 4.5, one
    page.get_by_role("button", name="Light theme").click()
    expect(page.locator("body.body--light")).to_be_visible()
    page.close()


def test_pages_follow_the_system_until_somebody_chooses(browser, world):
    context = browser.new_context(color_scheme="light")
    context.set_default_timeout(15_000)
    world.let_in(context)
    page = context.new_page()
    page.goto(world.url + "/logs")
    expect(page.locator("body.body--light")).to_be_visible()
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body.body--dark")).to_be_visible()
    page.get_by_role("button", name="Light theme").click()
    expect(page.locator("body.body--light")).to_be_visible()
    page.emulate_media(color_scheme="light")
    page.emulate_media(color_scheme="dark")
    page.goto(world.url + "/logs")
    expect(page.get_by_role("button", name="Dark theme")).to_be_visible()
    expect(page.locator("body.body--light")).to_be_visible()
    context.close()


def test_what_is_not_there_is_said_on_the_page(visit):
    page = visit.open("/detectors/nobody", "nobody")
    expect(page.get_by_text("there is none named")).to_be_visible()
    page = visit.open("/groups/none", "Anomaly")
    expect(page.get_by_text("there is none with the id")).to_be_visible()
    for path, heading in (("", "Fraud"), ("/rings", "Rings"), ("/lists", "Lists")):
        page = visit.open(f"/fraud{path}?space=nope", heading)
        expect(page.get_by_text("There is no such space of transactions: 'nope'")).to_be_visible()


def test_every_section_is_reached_with_the_keyboard_alone(visit):
    page = visit.open("/", "Overview")
    entry = page.get_by_role("navigation", name="Sections").get_by_role("link", name="Rules")
    for _ in range(30):
        if entry.evaluate("element => element === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Topic rules", level=1)).to_be_visible()


def test_every_button_and_field_has_a_name(visit):
    for path, (heading, _) in PAGES.items():
        page = visit.open(path, heading)
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll('button, a[href], input, textarea, [role=slider]')]
                .filter(one => one.offsetParent && !(one.innerText || '').trim() && !one.getAttribute('aria-label')
                    && !one.closest('label')?.innerText.trim() && !one.getAttribute('aria-labelledby')
                    && !one.closest('[aria-label]'))
                .map(one => one.outerHTML.slice(0, 200))"""
        )
        assert unnamed == [], path


def test_the_first_page_is_under_one_and_a_half_megabytes_and_all_from_this_machine(browser, world):
    context = browser.new_context()
    world.let_in(context)
    page, sizes, asked = context.new_page(), [], []
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(world.url + "/")
    expect(page.get_by_text("Latest anomalies")).to_be_visible()
    page.wait_for_load_state("networkidle")
    context.close()
    away = [url for url in asked if not re.match(r"(https?|wss?)://127\.0\.0\.1:|data:|blob:", url)]
    assert away == []
    assert any("/_nicegui" in url for url in asked)
    print(f"first page: {sum(sizes):,.0f} bytes")
    assert 100_000 < sum(sizes) < 1_500_000


def test_a_closed_page_leaves_no_timer_behind(context, world):
    from nicegui import Client, ui

    def timers() -> int:
        found = [client for client in list(Client.instances.values()) if client.has_socket_connection]
        return sum(isinstance(one, ui.timer) for client in found for one in list(client.elements.values()))

    page = context.new_page()
    page.goto(world.url + "/detectors/air")
    expect(page.get_by_text("Data quality")).to_be_visible()
    page.wait_for_timeout(500)
    open_ones = timers()
    assert open_ones >= 4
    page.close()
    until(lambda: timers() < open_ones)


def until(found, within_s=10.0):
    import time

    ends = time.monotonic() + within_s
    while not found():
        assert time.monotonic() < ends
        time.sleep(0.05)
