"""No link of any page leads nowhere."""

from urllib.parse import urlsplit

from playwright.sync_api import expect


def test_every_link_of_every_page_leads_to_a_page(visit, world):
    group = world.masthead.metrics.list_groups("air").items[0].id
    starts = ("/", "/detectors", "/detectors/air", f"/groups/{group}", "/alerts", "/things/B-102", "/streams")
    found: set[str] = set()
    for path in starts:
        visit.page.goto(world.url + path)
        expect(visit.page.get_by_role("heading", level=1)).to_be_visible()
        visit.page.wait_for_timeout(
            200
        )  # NiceGUI puts the prefix into its links one turn after they are drawn
        found |= set(
            visit.page.evaluate("() => [...document.querySelectorAll('a[href]')].map(one => one.href)")
        )
    assert len(found) > 12
    for url in sorted(found):
        assert urlsplit(url).path.startswith("/ui"), url
        assert visit.page.request.get(url).status == 200, url
