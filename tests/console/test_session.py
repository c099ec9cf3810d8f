"""Signing in and out in a real browser, and a page that may not do everything."""

import contextlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

READ_ONLY = ("read-only",)
DENIED = re.compile(r"User: arn:aws:iam::000000000000:user/person is not authorized to perform: ")


@pytest.fixture
def stranger(browser: Browser) -> Iterator[BrowserContext]:
    """A browser that nobody signed in."""
    found = browser.new_context(viewport={"width": 1360, "height": 900}, color_scheme="light")
    found.set_default_timeout(15_000)
    yield found
    found.close()


@pytest.fixture
def tab(stranger: BrowserContext) -> Page:
    return stranger.new_page()


def shows(page: Page, heading: str) -> None:
    """A page of this heading is there; a browser on a busy machine takes its time to move on."""
    expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible(timeout=20_000)


def test_without_a_session_a_page_says_what_command_to_run(tab, world):
    tab.goto(world.url + "/groups")
    shows(tab, "Sign in")
    expect(tab.locator("body")).to_contain_text("masthead console link")
    assert "SO2" not in tab.content()


def test_a_link_opens_the_console_once_and_leads_on(tab, world):
    tab.goto(world.url + "/groups")
    key = world.masthead.keys.create_key("person", ["admin"]).key
    link = world.masthead.keys.make_link(key.id)
    tab.goto(f"{world.url}/signin?link={link}&next=/ui/groups")
    shows(tab, "Anomalies")
    expect(tab.locator("body")).to_contain_text("SO2")  # the socket works, too
    assert link not in tab.url
    cookie = next(one for one in tab.context.cookies() if one["name"].startswith("masthead_session"))
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    tab.context.clear_cookies()
    tab.goto(f"{world.url}/signin?link={link}")
    expect(tab.get_by_role("alert")).to_contain_text("used before")


def test_a_key_may_be_pasted_and_signing_out_ends_it(tab, world):
    made = world.masthead.keys.create_key("person", ["admin"])
    tab.goto(world.url + "/rules")
    tab.get_by_label("Or give a key").fill(f"{made.key.id}.{made.secret}")
    tab.get_by_role("button", name="Sign in").click()
    shows(tab, "Topic rules")
    cookies = tab.context.cookies()
    tab.get_by_role("button", name="Sign out").click()
    shows(tab, "Sign in")
    tab.context.add_cookies(cookies)  # a cookie that somebody kept opens nothing
    tab.goto(world.url + "/rules")
    shows(tab, "Sign in")


def test_a_page_that_is_open_when_its_key_is_revoked_shows_nothing_more(tab, world):
    made = world.masthead.keys.create_key("person", ["admin"])
    link = world.masthead.keys.make_link(made.key.id)
    tab.goto(f"{world.url}/signin?link={link}")
    shows(tab, "Overview")
    expect(tab.locator("body")).to_contain_text("Detectors running")
    world.masthead.keys.revoke_key(made.key.id)
    shows(tab, "Sign in")
    assert world.faults == []


def test_the_socket_of_the_pages_needs_the_session(world):
    host = world.url.partition("://")[2].partition("/")[0]
    socket = f"http://{host}/ui/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(socket)
    assert refused.value.code == 401
    refused.value.close()
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    with contextlib.closing(http.client.HTTPConnection(host)) as asked:
        asked.request("GET", "/ui/_nicegui_ws/socket.io/?EIO=4&transport=websocket", headers=upgrade)
        assert asked.getresponse().status == 403


def test_what_a_key_may_not_do_is_refused_with_the_reason(stranger, world):
    world.let_in(stranger, *READ_ONLY)
    page = stranger.new_page()
    page.goto(world.url + "/rules")
    expect(page.locator("body")).to_contain_text("keep-air")
    page.get_by_role("button", name="Delete keep-air").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text(DENIED)).to_contain_text("iot:DeleteTopicRule")
    assert world.masthead.streams.get_rule("keep-air").name == "keep-air"
    lines = [one for one in world.masthead.gate.audit.read() if one["face"] == "console"]
    assert (lines[-1]["operation"], lines[-1]["code"]) == ("streams.delete_rule", "Forbidden")
    assert world.faults == []


def test_a_part_that_a_key_may_not_see_says_so_and_the_rest_is_shown(stranger, world):
    statement = {"Effect": "Allow", "Action": ["lookoutmetrics:*", "masthead:*"], "Resource": "*"}
    world.let_in(stranger, ("no-things", {"Version": "2012-10-17", "Statement": [statement]}))
    page = stranger.new_page()
    page.goto(world.url + "/")
    expect(page.get_by_text(DENIED).first).to_contain_text("iot:ListThings")
    expect(page.locator("body")).to_contain_text("SO2")  # the latest anomalies
    page.goto(world.url + "/things")
    expect(page.get_by_text(DENIED)).to_be_visible()
    page.goto(world.url + "/things/B-101")
    expect(page.get_by_text(DENIED)).to_contain_text("iot:DescribeThing on resource: arn:aws:iot:us-east-1")
    assert "SHA-256" not in page.content()
    assert world.faults == []


def test_what_is_changed_in_the_console_stands_in_the_audit(visit, world):
    page = visit.open("/rules", "Topic rules")
    page.get_by_role("button", name="Switch on or off keep-air").click()
    expect(page.locator("tr", has_text="keep-air")).to_contain_text("off")
    page.get_by_role("button", name="Switch on or off keep-air").click()
    expect(page.locator("tr", has_text="keep-air")).to_contain_text("on")
    lines = [one for one in world.masthead.gate.audit.read() if one["operation"] == "streams.update_rule"]
    assert [(one["status"], one["key_name"]) for one in lines[-2:]] == [(200, "person")] * 2
    assert lines[-1]["resources"] == ["arn:aws:iot:us-east-1:000000000000:rule/keep-air"]
