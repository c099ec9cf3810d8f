"""Models of transactions in the console: thresholds, cards, names, what is drawn of scores; in a real browser."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import small_fraud
from playwright.sync_api import expect

from masthead.cli.demo.air import leading_to
from masthead.console.fraud_card import graph_facts, graph_rows, metric_facts
from masthead.console.fraud_charts import live_points, psi_bars

SPACE = "weighed"
OPTIONS = (
    "place => getElement(+document.querySelectorAll('.nicegui-echart')[place].id.slice(1)).chart.getOption()"
)


@pytest.fixture(scope="module")
def judged(world: Any) -> Iterator[str]:
    """A deployment with a space of its own: its name."""
    fraud = world.masthead.fraud
    fraud.deploy("weighed", small_fraud.folder() / "model", space=SPACE)
    yield "weighed"
    fraud.undeploy("weighed")


def _pay(world: Any, place: int, **more: Any) -> dict[str, Any]:
    one = {"TransactionID": str(9_400_000 + place), "TransactionDT": 15_000_000 + place, "TransactionAmt": 5}
    return dict(world.masthead.fraud.score({**one, **more}, space=SPACE))


def _open_thresholds(visit: Any, name: str) -> Any:
    page = visit.open("/fraud/models", "Models")
    page.get_by_role("button", name=f"Thresholds {name}").click()
    return page.get_by_role("dialog")


def test_saving_thresholds_that_nobody_changed_leaves_the_models_own(visit, world, judged):
    portal = world.masthead.portal
    own = portal.thresholds(judged)
    dialog = _open_thresholds(visit, judged)
    expect(dialog.get_by_label("Review from")).to_have_value(f"{own['review']:.6g}")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    assert portal.thresholds(judged) == own


def test_a_threshold_that_was_not_changed_stays_exact_beside_one_that_was(visit, world, judged):
    portal = world.masthead.portal
    own = portal.thresholds(judged)
    portal.set_thresholds(judged, review=0.00003, block=own["block"])
    dialog = _open_thresholds(visit, judged)
    expect(dialog.get_by_label("Review from")).to_have_value("0.00003")
    dialog.get_by_label("Review from").fill("0.00004")
    dialog.get_by_role("button", name="Save").click()
    expect(visit.page.get_by_text("0.00004")).to_be_visible()
    found = portal.thresholds(judged)
    assert (found["review"], found["block"]) == (0.00004, own["block"])
    visit.page.get_by_role("button", name=f"Thresholds {judged}").click()
    dialog.get_by_role("button", name="The model's own").click()
    expect(dialog).to_have_count(0)
    assert portal.thresholds(judged) == own


def test_escape_closes_a_dialog_until_something_was_typed(visit, world, judged):
    dialog = _open_thresholds(visit, judged)
    expect(dialog.get_by_label("Review from")).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    dialog = _open_thresholds(visit, judged)
    dialog.get_by_label("Review from").fill("")
    dialog.get_by_role("button", name="Save").click()
    expect(visit.page.get_by_text("review: expected a probability from 0 to 1, got nothing")).to_be_visible()
    visit.page.keyboard.press("Escape")
    expect(dialog.get_by_label("Review from")).to_be_visible()
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)


def test_a_card_says_what_a_model_is_and_what_its_thresholds_cost(visit, world, judged):
    page = visit.open("/fraud/models", "Models")
    card = small_fraud.model().card
    page.get_by_role("button", name=f"Card {card['id']}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Trees (LightGBM) on columns of the transaction")
    expect(dialog).to_contain_text(f"{card['rows']:,}, of them {card['positives']:,} frauds")
    for kind, name in (("validation", "streamed"), ("transductive", "transductive")):
        row = dialog.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))
        expect(row).to_contain_text(f"{card[kind]['average_precision']:.3f}")
    expect(dialog.locator("canvas")).to_be_visible()
    drawn = dialog.locator(".nicegui-echart").evaluate(
        "element => getElement(+element.id.slice(1)).chart.getOption().series"
        ".map(one => [one.name, one.data.length, one.markLine?.data.length ?? 0])"
    )
    points = len(card["thresholds"]["curve"])
    assert drawn == [["cost", points, 2], ["missed fraud in it", points, 0]]
    dialog.get_by_text("The same as a table").click()
    expect(dialog.get_by_role("columnheader", name="Cost a day")).to_be_visible()
    expect(dialog.locator("code").first).to_be_hidden()
    dialog.get_by_text("All of it as JSON").click()
    expect(dialog.locator("code").first).to_contain_text("bagging_fraction")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_graph_networks_card_counts_its_nodes_and_edges():
    card = {
        "target": "user",
        "rows": 1800,
        "validation_rows": 200,
        "columns": ["age"],
        "types": ["user", "shop"],
        "directions": [{"name": ">buys"}, {"name": "<buys"}],
    }
    assert ("Learned from", "1,800 labelled nodes of type user") in graph_facts(card)
    told = [(row["name"], row["count"]) for row in graph_rows(card)]
    assert told == [
        ("nodes of type user", "not told"),
        ("nodes of type shop", "not told"),
        ("edges of relation buys", "not told"),
    ]
    counted = graph_rows({**card, "nodes": {"user": 2500, "shop": 7}, "edges": {"buys": 9000}})
    assert [row["count"] for row in counted] == ["2,500", "7", "9,000"]
    measures = metric_facts({"ap": 0.5, "confusion": {"tp": 1, "fp": 2, "fn": 3, "tn": 4}}, 0.5)
    assert ("Average precision", "0.500") in measures
    assert measures[-1] == (
        "From 0.500 on",
        "1 frauds found and 3 missed, 2 others called fraud and 4 not",
    )


def test_what_passed_is_to_review_and_was_blocked_are_apart_on_the_live_chart(visit, world, judged):
    portal = world.masthead.portal
    for place, cuts in enumerate(((0.9999, 0.99999), (0.0, 0.99999), (0.0, 0.0))):
        portal.set_thresholds(judged, review=cuts[0], block=cuts[1])
        _pay(world, place)
    portal.set_thresholds(judged, review=0.015, block=0.25)
    page = visit.open(f"/fraud?space={SPACE}", "Fraud")
    page.wait_for_function(f"() => ({OPTIONS})(0).series.every(one => one.data.length === 1)")
    drawn = page.evaluate(OPTIONS, 0)
    assert [one["name"] for one in drawn["series"]] == ["passed", "to review", "blocked"]
    assert len({one["symbol"] for one in drawn["series"]}) == 3
    low, high = drawn["yAxis"][0]["min"], drawn["yAxis"][0]["max"]
    review, block = (one["yAxis"] for one in drawn["series"][0]["markLine"]["data"])
    assert low + 2 < review < block - 1 < high - 2  # neither lies on an edge of the chart
    portal.set_thresholds(judged)


def test_an_amount_that_nobody_could_count_is_short(visit, world, judged):
    """A sum takes it as 10^15 at most."""
    _pay(world, 20, TransactionAmt=1e300)
    page = visit.open(f"/fraud?space={SPACE}", "Fraud")
    expect(page.locator(".mh-figure").filter(has_text="Amount").first).to_contain_text("1.00 × 10¹⁵")
    assert not re.findall(r"\b(inf|nan|Infinity|\d{20,})\b", page.inner_text("body"))


def test_an_entity_is_offered_only_what_applies_and_no_word_twice(visit, world, judged):
    _pay(world, 30, DeviceInfo="model 363")
    page = visit.open(
        f"/fraud/entity?relation=DeviceInfo&value=model%20363&space={SPACE}", "device model 363"
    )
    block, allow, off = (
        page.get_by_role("button", name=name) for name in ("Block", "Allow", "Take off the list")
    )
    expect(off).to_be_hidden()
    block.click()
    expect(page.get_by_text("on the block list")).to_be_visible()
    expect(block).to_be_hidden()
    expect(allow).to_be_visible()
    off.click()
    expect(page.get_by_text("on no list")).to_be_visible()
    expect(off).to_be_hidden()


def test_a_link_to_sign_in_leads_to_the_page_of_the_story(browser, world, judged):
    path = f"/ui/fraud?space={SPACE}"
    link = f"{world.url}/signin?link={world.masthead.keys.make_link()}"
    context = browser.new_context()
    page = context.new_page()
    page.goto(leading_to(link, path))
    expect(page.get_by_role("heading", name="Fraud", level=1)).to_be_visible()
    assert page.url.endswith(path)
    context.close()


def test_the_bars_of_drift_stand_in_order_beside_the_line_of_the_alert():
    indices = [("score", 0.1), ("card1.count", 0.9), ("amount", 0.3), ("addr2.since_last", 0.5)]
    drawn = psi_bars(
        indices,
        moved=["card1.count"],
        limit=0.2,
        dark=False,
        names={"addr2.since_last": "billing country: time since the last one"},
    )
    assert [bar["value"] for bar in drawn["series"][0]["data"]] == [0.1, 0.3, 0.5, 0.9]  # from below
    assert drawn["yAxis"]["data"][2] == "billing country: time since the last one"
    assert [bar["label"]["formatter"] for bar in drawn["series"][0]["data"]] == [
        "0.100",
        "0.300 usual",
        "0.500 usual",
        "0.900 moved",
    ]
    assert drawn["xAxis"]["name"] == "population stability index"
    assert drawn["series"][0]["markLine"]["data"] == [{"xAxis": 0.2}]


def test_a_chart_without_points_has_three_empty_series():
    assert live_points([]) == [[], [], []]
