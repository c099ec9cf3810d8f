"""What a person is about to click stands still, whatever is brought up to date around it."""

import re

import pytest
from playwright.sync_api import Locator, expect

from masthead.console.parts import short_time


def mark(button: Locator) -> None:
    """Mark what is in the page now: whatever is drawn in its place later has no mark."""
    button.evaluate("one => { one.isTheSame = true; }")


def is_the_same(button: Locator) -> bool:
    return bool(button.evaluate("one => one.isTheSame"))


def test_the_buttons_of_a_row_stay_while_its_rows_change(visit, world):
    page = visit.open("/things", "Things")
    button = page.get_by_role("button", name="Delete B-101")
    mark(button)
    before = world.door.last["B-101"]
    world.door.last["B-101"] = before | {"payload": '{"CO": 41.5}'}
    expect(page.get_by_text('{"CO": 41.5}')).to_be_visible()
    assert is_the_same(button)
    world.door.last["B-101"] = before


def test_the_buttons_of_a_table_stay_while_something_else_on_the_page_changes(visit):
    page = visit.open("/policies", "Policies")
    button = page.get_by_role("button", name="Delete north-only")
    mark(button)
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text(re.compile("^(Allowed|Denied): "))).to_be_visible()
    assert is_the_same(button)


def test_the_cards_of_the_overview_stay_while_their_figures_change(visit, world):
    page = visit.open("/", "Overview")
    card = page.get_by_role("link", name="Readings per second")
    mark(card)
    world.door.rate_per_s = 99.5
    expect(card).to_contain_text("99.5")
    world.door.rate_per_s = 12.4
    assert is_the_same(card)


@pytest.fixture
def young(world):
    """A detector that waits for its first readings as soon as it is activated."""
    metrics = world.masthead.metrics
    metrics.create_detector(
        {
            "name": "young",
            "time": {"column": "TIMESTAMP", "format": "yyyy-MM-dd HH:mm"},
            "measures": ["CO"],
            "source": {"kind": "stream", "topic": "young/+"},
        }
    )
    yield "young"
    metrics.deactivate("young")
    metrics.delete_detector("young")


def test_a_dialog_and_the_standing_buttons_outlive_what_is_drawn_anew_behind_it(visit, world, young):
    page = visit.open("/detectors/young", "young")
    standing = page.get_by_role("button", name="Delete", exact=True)
    mark(standing)
    page.get_by_role("button", name="Edit", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Text").fill('{"description": "typed by a person"}')
    world.masthead.metrics.activate(young)
    expect(page.locator("body")).to_contain_text("Deactivate")
    assert page.get_by_role("button", name="Edit", exact=True).count() == 0
    expect(dialog.get_by_label("Text")).to_have_value(re.compile("typed by a person"))
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Conflict: state: young is")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert is_the_same(standing)


def test_a_badge_of_an_anomaly_ends_with_what_it_tells(visit, world):
    group = world.masthead.metrics.list_groups("air").items[0]
    until = world.masthead.clock.now().replace(year=world.masthead.clock.now().year + 1)
    world.masthead.metrics.mute_group(group.id, until)
    page = visit.open(f"/groups/{group.id}", "Anomaly")
    link = page.get_by_role("link", name="Detector air")
    mark(link)
    expect(page.get_by_text(f"muted until {short_time(until)} UTC")).to_be_visible()
    world.masthead.metrics.mute_group(group.id, None)
    expect(page.get_by_text("muted until")).to_have_count(0)
    assert is_the_same(link)
