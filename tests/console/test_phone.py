"""The console on a phone: nothing is wider than the page, rows are cards, every section and verb is in reach."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

_spec = importlib.util.spec_from_file_location("console_pages", Path(__file__).with_name("test_pages.py"))
assert _spec
assert _spec.loader
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
PAGES = _module.PAGES
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
    .filter((one) => one.offsetParent && one.getBoundingClientRect().right > innerWidth + 1)
    .map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture
def phone(browser: Browser, world: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    context.set_default_timeout(15_000)
    world.let_in(context)
    yield context.new_page()
    context.close()


def test_no_page_is_wider_than_a_phone(phone, world):
    paths = {path: heading for path, (heading, _) in PAGES.items()}
    paths[f"/groups/{world.masthead.metrics.list_groups('air').items[0].id}"] = "Anomaly"
    for path, heading in paths.items():
        phone.goto(world.url + path)
        expect(phone.get_by_role("heading", name=heading, level=1)).to_be_visible()
        assert phone.evaluate("() => document.documentElement.scrollWidth") <= 390, path
        assert phone.evaluate(TOO_WIDE) == [], path


def test_sections_and_verbs_are_in_reach_of_a_thumb(phone, world):
    phone.goto(world.url + "/")
    phone.get_by_role("button", name="Navigation").tap()
    phone.get_by_role("navigation", name="Sections").get_by_role("link", name="Policies").tap()
    expect(phone.get_by_role("heading", name="Policies", level=1)).to_be_visible()
    expect(phone.get_by_role("table")).to_have_count(0)
    card = phone.locator(".mh-row").filter(has_text="north-only")
    expect(card).to_contain_text("Used by")
    button = card.get_by_role("button", name="Show north-only")
    box = button.bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 32
    button.tap()
    expect(phone.get_by_role("dialog").get_by_text("topic/north/")).to_be_visible()
