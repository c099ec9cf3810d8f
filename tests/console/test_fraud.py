"""Transactions in the console: simulated, seen, explained, judged by hand; in a real browser on a real server."""

import re
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import small_fraud
import small_graph
from card_records import flat
from playwright.sync_api import Page, expect
from waiting import eventually


@pytest.fixture(scope="module")
def simulated(world: Any) -> Iterator[str]:
    """A deployed model and one simulation to its end: the name of its space."""
    masthead = world.masthead
    masthead.fraud.deploy("cards", small_fraud.folder() / "model")
    name = masthead.portal.start_simulation(rate=60, duration_s=5, fraud_share=0.15, seed=5, history=1_500)
    eventually(lambda: _simulation(world, name)["state"] == "finished", within_s=60)
    yield str(name)
    masthead.portal.delete_simulation(name)
    masthead.fraud.undeploy("cards")


def _simulation(world: Any, name: str) -> dict[str, Any]:
    found = next(one for one in world.masthead.portal.simulations() if one["name"] == name)
    assert found["state"] != "failed", found
    return dict(found)


def _flagged(world: Any, space: str) -> dict[str, Any]:
    found = world.masthead.fraud.find(space=space, flagged=True, limit=50).items
    assert found, "the simulation flagged nothing"
    return dict(max(found, key=lambda one: one["decision"]["pred_prob"]))


def test_a_simulation_is_begun_in_the_dialog_and_caught_on_the_screen(visit, world, simulated):
    page = visit.open("/fraud", "Fraud")
    page.get_by_role("button", name="Simulate").click()
    dialog = page.get_by_role("dialog")
    for field, value in (
        ("Duration, seconds", "4"),
        ("Rate, per second", "40"),
        ("Transactions before", "500"),
        ("Fraud share, per cent", "12"),
    ):
        dialog.get_by_label(field).fill(value)
    dialog.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("space=sim-"))
    expect(page.get_by_text(re.compile(r"finished: 160 of 160"))).to_be_visible(timeout=90_000)
    expect(page.locator(".mh-figure").filter(has_text="Recall")).to_contain_text(
        re.compile(r"\d of \d+ frauds")
    )
    points = page.evaluate(
        "() => getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart"
        ".getOption().series.map(one => one.data.length)"
    )
    assert sum(points) == 160
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url(re.compile("/ui/fraud$"))
    assert [one["name"] for one in world.masthead.portal.simulations()] == [simulated]


def test_from_a_fraud_on_the_screen_over_its_graph_to_the_next_transaction(visit, world, simulated):
    page = visit.open(f"/fraud?space={simulated}", "Fraud")
    page.get_by_role("link", name=re.compile(r"^\d{7}$")).first.click()
    expect(page.get_by_role("heading", name="Why", level=2)).to_be_visible()
    expect(page.locator(".mh-card").filter(has_text="Why")).to_contain_text(re.compile(r"[+-]\d\.\d\d"))
    before = page.url
    page.locator(".nicegui-echart").scroll_into_view_if_needed()  # the mouse reaches what is on the screen
    where = page.evaluate(
        """() => {
          const element = document.querySelector('.nicegui-echart'), chart = getElement(+element.id.slice(1)).chart;
          const data = chart.getModel().getSeriesByIndex(0).getData();
          const place = [...Array(data.count()).keys()].find(i => i > 0 && data.getRawDataItem(i).transaction);
          const [x, y] = chart.convertToPixel({seriesIndex: 0}, data.getItemLayout(place));
          const box = element.getBoundingClientRect();
          return [data.getRawDataItem(place).transaction, box.x + x, box.y + y];
        }"""
    )
    page.mouse.click(where[1], where[2])
    expect(page.get_by_role("heading", name=f"Transaction {where[0]}", level=1)).to_be_visible()
    assert page.url != before


def test_one_key_is_a_verdict_that_changes_what_is_scored_later(visit, world, simulated):
    masthead = world.masthead
    found = _flagged(world, simulated)
    page = visit.open(f"/fraud/transactions/{found['id']}?space={simulated}", f"Transaction {found['id']}")
    page.keyboard.press("f")
    expect(page.get_by_text("known as fraud, an analyst's last word: fraud")).to_be_visible()
    page.get_by_role("button", name="Unsure (u)").click()
    expect(page.get_by_text("known as fraud, an analyst's last word: unsure")).to_be_visible()
    labels = masthead.fraud.get(found["id"], space=simulated)["labels"]
    assert [one["value"] for one in labels if one["source"] == "analyst"] == ["fraud"]


def test_a_listed_entity_is_blocked_whatever_the_model_says(visit, world, simulated):
    masthead = world.masthead
    found = next(
        one
        for one in masthead.fraud.find(space=simulated, flagged=False, limit=100).items
        if one["decision"] and one["decision"]["action"] == "pass"
    )
    page = visit.open(
        f"/fraud/entity?relation=card1&value={found['card1']}&space={simulated}", f"card {found['card1']}"
    )
    page.get_by_role("button", name="Block").click()
    expect(page.get_by_text("on the block list")).to_be_visible()
    visit.open(f"/fraud/lists?space={simulated}", "Lists")
    expect(page.get_by_role("link", name=f"card {found['card1']}")).to_be_visible()
    page.go_back()
    again = {
        "TransactionID": "9000001",
        "TransactionDT": 15_000_000,
        "TransactionAmt": 12.5,
        "card1": found["card1"],
    }
    decision = masthead.fraud.score(again, space=simulated)
    assert (decision["action"], decision["flag"], decision["listed"]["list"]) == ("block", True, "block")
    page.get_by_role("button", name="Take off the list").click()
    expect(page.get_by_text("on no list")).to_be_visible()
    visit.open(f"/fraud/entity?relation=nope&value=1&space={simulated}", "nope 1")
    expect(page.get_by_text("relation: there is none named 'nope'; there are card1")).to_be_visible()
    expect(page.get_by_role("button", name="Block")).to_have_count(0)
    decision = masthead.fraud.score({**again, "TransactionID": "9000002"}, space=simulated)
    assert "listed" not in decision


def test_a_transaction_whose_id_holds_a_slash_has_a_page(visit, world, simulated):
    id = "till 1/2024#7"
    one = {"TransactionID": id, "TransactionDT": 15_000_002, "TransactionAmt": 12.5, "card1": "slashed"}
    world.masthead.fraud.score(one, space=simulated)
    page = visit.open(f"/fraud/transactions/{quote(id, safe='')}?space={simulated}", f"Transaction {id}")
    page.get_by_role("button", name="Legitimate (l)").click()
    expect(page.get_by_text("an analyst's last word: legit")).to_be_visible()
    world.masthead.fraud.erase("card1", "slashed", space=simulated)


def test_thresholds_that_are_set_count_from_the_next_decision_on(visit, world, simulated):
    page = visit.open("/fraud/models", "Models")
    page.get_by_role("button", name="Thresholds cards").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Block from").fill("0.999")
    dialog.get_by_label("Review from").fill("0.998")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("set by hand")).to_be_visible()
    one = {"TransactionID": "9000003", "TransactionDT": 15_000_001, "TransactionAmt": 12.5}
    assert world.masthead.fraud.score(one, space=simulated)["threshold"] == 0.998
    world.masthead.portal.set_thresholds("cards")
    own = world.masthead.portal.thresholds("cards")
    assert own["by_hand"] is False


def test_a_graph_network_and_a_damaged_model_stand_beside_the_others(visit, world, simulated):
    masthead = world.masthead
    masthead.fraud.deploy("network", small_graph.folder() / "model")
    broken = masthead.folder.models / "fraud-0123456789ab"
    shutil.copytree(small_fraud.folder() / "model", broken)
    (broken / "schema.toml").write_text("")
    page = visit.open("/fraud/models", "Models")

    def row(name: str) -> Any:
        return page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))

    expect(row("network").first).to_contain_text("graph network: answers requests, decides nothing")
    id = next(one.source["model"] for one in masthead.fraud.deployments() if one.name == "network")
    expect(row(id).last).to_contain_text("180 nodes of type TransactionID")
    expect(row(id).last).to_contain_text(re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d"))
    expect(row(broken.name)).to_contain_text("Damaged: model: expected schema.toml")
    expect(row(broken.name)).to_contain_text("Deploy it again from an intact folder, or delete it")
    page.get_by_role("button", name=f"Card {id}").click()
    expect(page.get_by_role("dialog")).to_contain_text("fraud-graph")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Thresholds network").click()
    expect(page.get_by_text("which has no thresholds")).to_be_visible()
    masthead.fraud.undeploy("network")
    masthead.fraud.delete_model(id)
    masthead.fraud.delete_model(broken.name)


def test_how_decisions_turned_out_is_told_beside_what_was_released(visit, world, simulated):
    fraud = world.masthead.fraud
    fraud.deploy("sampled", small_fraud.folder() / "model", release_share=0.25, subject="cards.in")
    said = {9_200_001: "fraud", 9_200_002: "legit", 9_200_003: None}
    for place, value in said.items():
        one = {"TransactionID": str(place), "TransactionDT": 15_000_000, "TransactionAmt": 5, "card1": "told"}
        fraud.score(one, alias="sampled")
        if value:
            fraud.label(str(place), value, "chargeback")
    page = visit.open("/fraud/models", "Models")
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name="sampled", exact=True))
    expect(row).to_contain_text("25 %")
    expect(row).to_contain_text("cards.in")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Outcomes", level=2))
    every = part.get_by_role("row").filter(has=page.get_by_role("cell", name="All", exact=True))
    expect(every).to_be_visible()
    found = fraud.outcomes()["all"]
    assert (found["decided"], found["known"], found["frauds"]) == (3, 2, 1)
    expect(every.get_by_role("cell")).to_have_text(
        ["All", "3", "2", str(found["flagged"]), str(found["caught"]), "1", *_shares(found)]
    )
    fraud.undeploy("sampled")
    fraud.erase("card1", "told")


def test_a_review_that_was_let_pass_says_so_beside_both_cuts(visit, world, simulated):
    fraud, portal = world.masthead.fraud, world.masthead.portal
    fraud.deploy("free", small_fraud.folder() / "model", release_share=1.0, space="free")
    portal.set_thresholds("free", review=0.0, block=0.99)
    one = {"TransactionID": "9300001", "TransactionDT": 15_000_000, "TransactionAmt": 5, "card1": "let"}
    assert fraud.score(one, space="free")["released"]
    page = visit.open("/fraud/transactions/9300001?space=free", "Transaction 9300001")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Decision", level=2))
    expect(part).to_contain_text("pass (released, not reviewed)")
    expect(part).to_contain_text(re.compile(r"Review from\s*0\.000\s*Block from\s*0\.990"))
    page = visit.open("/fraud?space=free", "Fraud")
    lines = page.evaluate(
        "() => getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart"
        ".getOption().series[0].markLine.data.map(one => one.yAxis)"
    )
    assert lines == [0.0, 0.99]
    portal.set_thresholds("free")
    fraud.undeploy("free")
    fraud.erase("card1", "let", space="free")


def _shares(told: dict[str, Any]) -> list[str]:
    return ["-" if told[name] is None else f"{told[name]:.3f}" for name in ("precision", "recall")]


def test_what_is_stored_of_a_customer_is_erased_on_the_page(visit, world, simulated):
    masthead = world.masthead
    found = next(
        one for one in masthead.fraud.find(space=simulated, flagged=False, limit=50).items if "id_20" in one
    )
    page = visit.open(f"/fraud/lists?space={simulated}", "Lists")
    erase = page.locator(".mh-card").filter(has_text="Erase a customer")
    erase.get_by_label("Relation").click()
    page.get_by_role("option", name="card1", exact=True).click()
    erase.get_by_label("Value").fill(found["card1"])
    erase.get_by_role("button", name="Erase").click()
    page.get_by_role("dialog").get_by_role("button", name="Erase").click()
    expect(page.get_by_text(re.compile(r"Erased \d+ transactions"))).to_be_visible()
    assert masthead.portal.entity("card1", found["card1"], space=simulated) == []


@pytest.fixture
def drifting(world: Any) -> Iterator[str]:
    """A deployment whose transactions have amounts that its model never saw: its name."""
    fraud = world.masthead.fraud
    fraud.deploy("drifting", small_fraud.folder() / "model", space="drifts")
    fraud.score_many(
        [
            flat(
                place,
                TransactionID=str(9_100_000 + place),
                TransactionDT=16_000_000 + place,
                TransactionAmt=9e6,
            )
            for place in range(300)
        ],
        space="drifts",
    )
    yield "drifting"
    fraud.undeploy("drifting")


def test_what_has_moved_is_marked_in_the_chart_and_in_its_table(visit, world, simulated, drifting):
    page = visit.open("/fraud/models", "Models")
    part = page.locator(".mh-card").filter(has=page.get_by_role("heading", name="Drift", level=2)).first
    expect(part.get_by_role("status")).to_contain_text("nothing was scored")  # of the first one, cards
    part.get_by_label("Deployment").click()
    page.get_by_role("option", name=drifting, exact=True).click()
    expect(part.get_by_role("status")).to_contain_text("300 transactions from")
    found = world.masthead.fraud.drift(drifting)
    assert "amount" in found["moved"]
    part.get_by_text("The same as a table").click()
    row = part.get_by_role("row").filter(has=page.get_by_role("cell", name="amount", exact=True))
    expect(row).to_contain_text(f"{found['features']['amount']:.3f}")
    expect(row).to_contain_text("moved")
    drawn = page.evaluate(
        "() => { const one = getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart.getOption(); "
        "return [one.yAxis[0].data, one.series[0].data.map(bar => bar.value), one.series[0].markLine.data[0].xAxis]; }"
    )
    names, values, limit = drawn
    assert limit == 0.2
    assert dict(zip(names, values, strict=True))["amount"] == round(found["features"]["amount"], 3)


def test_a_run_of_the_pipeline_is_seen_step_by_step_and_says_where_it_failed(visit, world):
    page = visit.open("/fraud/pipelines", "Pipelines")
    expect(page.get_by_text("No run yet")).to_be_visible()
    run = world.masthead.pipelines.start({"schema": "ieee-cis", "data": ["/nowhere/train.csv"]})
    steps = page.get_by_role("list", name="Steps in their order").get_by_role("listitem")
    expect(steps).to_have_count(12)  # without a reload
    expect(steps.nth(0)).to_contain_text("1. normalise-parameters")
    expect(steps.nth(0)).to_contain_text("done")
    expect(steps.nth(1)).to_contain_text("failed", timeout=60_000)
    expect(steps.nth(1)).to_contain_text("/nowhere/train.csv")
    expect(steps.nth(2)).to_contain_text("waiting")
    expect(page.get_by_role("link", name=run["id"])).to_be_visible()
    page.get_by_role("button", name="Log of normalise-parameters").click()
    expect(page.get_by_role("dialog")).to_contain_text("nothing")
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text(re.compile("attempt 2"))).to_be_visible()
    eventually(lambda: world.masthead.pipelines.get(run["id"])["state"] == "failed", within_s=60)
    world.masthead.pipelines.delete(run["id"])


WIDE = "() => document.documentElement.scrollWidth"


def test_the_pages_of_transactions_fit_a_phone_and_the_dark(browser, world, simulated):
    found = _flagged(world, simulated)
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, color_scheme="dark")
    context.set_default_timeout(15_000)
    world.let_in(context)
    page: Page = context.new_page()
    for path, heading in (
        (f"/fraud?space={simulated}", "Fraud"),
        (f"/fraud/transactions/{found['id']}?space={simulated}", f"Transaction {found['id']}"),
        (f"/fraud/rings?space={simulated}", "Rings"),
        ("/fraud/models", "Models"),
        ("/fraud/pipelines", "Pipelines"),
        (f"/fraud/lists?space={simulated}", "Lists"),
    ):
        page.goto(world.url + path)
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        expect(page.locator("body.body--dark")).to_be_visible()
        assert page.evaluate(WIDE) <= 390, path
        assert not re.findall(r"\b(NaN|None|undefined|null|nan|Traceback)\b", page.inner_text("body")), path
    page.goto(f"{world.url}/fraud/transactions/{found['id']}?space={simulated}")
    shape = """() => {
        const chart = getElement(+document.querySelector('.nicegui-echart').id.slice(1)).chart;
        const box = chart.getModel().getSeriesByIndex(0).coordinateSystem.getBoundingRect();
        return [box.width, box.height]; }"""
    phone = page.evaluate(shape)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.wait_for_function(f"before => String(({shape})()) !== String(before)", arg=phone)
    wide = page.evaluate(shape)
    assert phone[0] / phone[1] < wide[0] / wide[1]
    context.close()
